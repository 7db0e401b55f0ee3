//! Sessions in Redis: one hash a session, one script an operation, one round trip a call.

mod generation;
mod group;
mod handover;
mod keys;
mod namespace;
mod namespace_sweep;
mod operation;
mod probe;
mod reply;
mod scripts;
mod servers;
mod wait;
mod wire;

use crate::defaults;
use crate::error::{ConfigError, StoreError, StoreErrorKind};
use crate::lifetime::{LONGEST_TIMEOUT, Lifetime, Refresh};
use crate::store::Store;
use crate::store::call::Call;
use crate::store::fork_guard::ForkGuard;
use crate::store::forward::TRAIL;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::process::per_process::PerProcess;
use crate::store::record::{NewRecord, Record, RecordInfo, SessionInfo};
use crate::store::redis::generation::Generations;
use crate::store::redis::keys::{field, own_key};
use crate::store::redis::operation::{Operation, Reached};
use crate::store::redis::scripts::Scripts;
use crate::store::redis::servers::{Servers, Source};
use crate::store::redis::wait::Wait;
use crate::store::redis::wire::failure::Failure;
use crate::store::refusal::Refusal;
use crate::store::stats::{Counters, Stats};
use crate::store::update::{Change, Update, Updated};
use crate::token::PublicId;
use redis::{Cmd, Value, cmd};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Keeps sessions in Redis, for any number of processes and machines.
///
/// `store_url("redis://…")` makes one. Every process opens a pool of its own on first use; what a forked process
/// inherits it leaves alone.
pub struct RedisStore {
    source: Source,
    /// What a change waits for.
    wait: Option<Wait>,
    pool_size: u32,
    patience: Duration,
    scripts: Scripts,
    generations: Generations,
    servers: PerProcess<Servers>,
    counters: Arc<Counters>,
}

impl RedisStore {
    /// A store at this URL, as [`store_url`](crate::SessionManagerBuilder::store_url) with its default settings makes it.
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// As [`store_url`](crate::SessionManagerBuilder::store_url).
    pub fn new(url: &str) -> Result<RedisStore, ConfigError> {
        RedisStore::from_url(url, defaults::POOL_SIZE, defaults::OPERATION_TIMEOUT)
    }

    /// `patience` is the operation timeout of its callers.
    pub(crate) fn from_url(url: &str, pool_size: u32, patience: Duration) -> Result<RedisStore, ConfigError> {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        if cfg!(not(feature = "tls")) && scheme.starts_with("rediss") {
            return Err(ConfigError::FeatureMissing { scheme: scheme.to_owned(), feature: "tls" });
        }
        let (url, wait) = Wait::take(url)?;
        let source = Source::parse(&url)?;
        Ok(RedisStore {
            generations: source.generations(),
            source,
            wait,
            pool_size,
            patience,
            scripts: Scripts::new(),
            servers: PerProcess::new(),
            counters: Arc::default(),
        })
    }

    fn update_command(&self, operation: &Operation<'_>, at: &Reached<'_>, update: &Update<'_>) -> Cmd {
        let mut keys = operation.keys(&at.key);
        if let Some(new_key) = &update.new_key {
            // Without a group, its own stands in the places of the group's.
            keys.resize(4, own_key(&at.key));
            keys.extend_from_slice(&operation.keys(new_key)[1..]);
            keys.extend(operation.ended_key(new_key));
        }
        let [mut sets, mut removes, mut increments] = [const { Vec::new() }; 3];
        for (key, change) in &update.changes.keys {
            match change {
                Change::Set(json) => sets.extend([field(key), json.clone()]),
                Change::Remove => removes.push(field(key)),
                Change::Increment(by) => increments.extend([field(key), by.to_string()]),
            }
        }
        let mut command = operation.command(&self.scripts.update, &keys);
        command
            .arg(&lifetime(&update.lifetime))
            .arg(optional(at.since))
            .arg(u8::from(at.made_before))
            .arg(optional(update.expected))
            .arg(update.size_limit.keys)
            .arg(update.size_limit.bytes)
            .arg(optional(update.changes.idle_timeout.map(milliseconds)))
            .arg(update.holds.map_or_else(String::new, |(key, _)| field(key)))
            .arg(update.holds.map_or("", |(_, json)| json))
            .arg(optional(update.grace.map(milliseconds)))
            .arg(milliseconds(TRAIL))
            .arg(u8::from(update.join.is_some()))
            .arg(update.join.map_or("", |join| join.name))
            .arg(optional(update.join.and_then(|join| join.max_sessions)))
            .arg(operation.memory())
            .arg(u8::from(update.changes.clear))
            .arg(sets.len() / 2)
            .arg(removes.len())
            .arg(increments.len() / 2)
            .arg(sets)
            .arg(removes)
            .arg(increments);
        command
    }
}

impl Store for RedisStore {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<RecordInfo, Refusal> {
        let size = record.check_size()?;
        let operation = Operation::begin(self, call)?;
        let mut keys = operation.keys(key);
        keys.extend(operation.ended_key(key));
        let max_sessions = record.join.and_then(|join| join.max_sessions);
        let idle_timeout = record.idle_timeout.unwrap_or(record.lifetime.idle_timeout);
        let mut command = operation.command(&self.scripts.create, &keys);
        command
            .arg(&lifetime(&Lifetime { idle_timeout, ..record.lifetime }))
            .arg(u8::from(record.idle_timeout.is_some()))
            .arg(optional(record.unconfirmed_timeout.map(milliseconds)))
            .arg(size.keys)
            .arg(size.bytes)
            .arg(record.join.map_or("", |join| join.name))
            .arg(optional(max_sessions))
            .arg(operation.memory());
        for (key, json) in &record.values {
            command.arg(field(key)).arg(json);
        }
        let mut reply = operation.run(&self.scripts.create, &command)?;
        match reply.status() {
            "ok" => {}
            "gone" => return Err(Refusal::Gone),
            "exists" => return Err(Refusal::IdTaken),
            _ => return Err(reply.unexpected().into()),
        }
        let info = reply.info()?;
        operation.finish_login(key, max_sessions, reply.surplus()?);
        Ok(info)
    }

    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Option<Record>, StoreError> {
        Operation::begin(self, call)?.load(key, lifetime)
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Refusal> {
        let operation = Operation::begin(self, call)?;
        if let Some(new_key) = &update.new_key
            && !self.source.are_together(&own_key(key), &own_key(new_key))
        {
            return operation.hand_over(key, new_key, update);
        }
        let (changes, limit) = (update.changes, update.size_limit);
        let (reply, at) =
            operation.run_on(&self.scripts.update, key, |at| self.update_command(&operation, at, update))?;
        let Some(mut reply) = reply else { return Err(Refusal::Gone) };
        match reply.status() {
            "ok" => {
                let (info, surplus) = (reply.info()?, reply.surplus()?);
                let totals = reply.totals(changes.increments().map(|(key, _)| key.to_owned()))?;
                if let Some(new_key) = &update.new_key {
                    operation.finish_login(new_key, update.join.and_then(|join| join.max_sessions), surplus);
                }
                Ok(Updated { info, totals, forwarded_to: at.forwarded_to })
            }
            "conflict" => Err(Refusal::Conflict),
            "exists" => Err(Refusal::IdTaken),
            "not an integer" => Err(Refusal::NotAnInteger { key: reply.key()? }),
            "too large" => Err(Refusal::TooLarge {
                key: changes.largest_key().to_owned(),
                bytes: reply.number()?,
                limit: limit.bytes,
            }),
            "too many keys" => Err(Refusal::TooManyKeys {
                key: changes.largest_key().to_owned(),
                keys: reply.number()?,
                limit: limit.keys,
            }),
            "gone" => Err(Refusal::Gone),
            "broken off" => {
                let message = "the server broke the change off half way; look whether its user has all rights that the \
                               README names, and load the session again";
                Err(StoreError::new(StoreErrorKind::Backend, message).into())
            }
            _ => Err(reply.unexpected().into()),
        }
    }

    fn delete(&self, key: &RecordKey<'_>, call: &Call) -> Result<bool, StoreError> {
        let script = &self.scripts.delete;
        let operation = Operation::begin(self, call)?;
        let (reply, at) = operation.run_on(script, key, |at| {
            let mut command = operation.command(script, &operation.keys(&at.key));
            command.arg(operation.memory());
            command
        })?;
        Ok(at.was_alive || reply.is_some_and(|mut reply| reply.is_true()))
    }

    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], call: &Call) -> Result<Vec<SessionInfo>, StoreError> {
        Operation::begin(self, call)?.read_group(group, keys)
    }

    fn group_len(&self, group: &GroupKey<'_>, call: &Call) -> Result<usize, StoreError> {
        let operation = Operation::begin(self, call)?;
        let command = operation.command(&self.scripts.group_len, &operation.group_keys(group));
        operation.run(&self.scripts.group_len, &command)?.number()
    }

    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, call: &Call) -> Result<u64, StoreError> {
        Operation::begin(self, call)?.end_group(group, except)
    }

    /// Ends them at once, and then removes records for half of the time that the call has left at most, so that a full
    /// memory has room again. The others expire.
    fn clear_namespace(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        let operation = Operation::begin(self, call)?;
        operation.end_namespace(namespace)?;
        operation.sweep_namespace(namespace);
        Ok(())
    }

    fn check_writes(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        Operation::begin(self, call)?.check_writes(namespace)
    }

    fn ping(&self, call: &Call) -> Result<(), StoreError> {
        let mut ping = cmd("PING");
        ping.arg(&call.nonce);
        let operation = Operation::begin(self, call)?;
        operation.servers()?.ask_all(call.deadline, |connection, deadline| {
            match connection.request(&ping, deadline)? {
                Value::BulkString(echo) if echo == call.nonce => Ok(()),
                _ => Err(Failure::not_ours("a PING came back with another text")),
            }
        })
    }

    fn before_fork(&self) -> ForkGuard {
        self.servers.before_fork(self.patience * 2, Servers::close_idle)
    }

    fn stats(&self) -> Stats {
        self.counters.stats(self.pool_size)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)
    }
}

/// No longer than a timeout can be, so that no script has to count further than Lua's numbers go.
fn milliseconds(duration: Duration) -> u64 {
    duration.min(LONGEST_TIMEOUT).as_millis() as u64
}

/// Refresh interval (below 0 never), idle timeout and absolute timeout, as the scripts take them.
fn lifetime(lifetime: &Lifetime) -> [String; 3] {
    let interval = match lifetime.refresh {
        Refresh::After(interval) => milliseconds(interval).to_string(),
        Refresh::EveryLoad => "0".to_owned(),
        Refresh::Never => "-1".to_owned(),
    };
    let absolute_timeout = optional(lifetime.absolute_timeout.map(milliseconds));
    [interval, milliseconds(lifetime.idle_timeout).to_string(), absolute_timeout]
}

fn optional(number: Option<impl ToString>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}
