//! Sessions in Redis: one hash a session, one script an operation, one round trip a call.

mod connection;
mod failure;
mod pool;
mod reply;

use self::connection::{Address, Connection};
use self::failure::Failure;
use self::pool::Pool;
use self::reply::Reply;
use super::per_process::PerProcess;
use super::{Call, Change, ForkGuard, NewRecord, Record, RecordInfo, RecordKey, Store, Update, Updated};
use crate::builder::default;
use crate::lifetime::Refresh;
use crate::{ConfigError, Error, StoreError};
use redis::{Arg, Cmd, Value, cmd};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Keeps sessions in Redis, for any number of processes and machines.
///
/// `store_url("redis://…")` makes one. Every process opens a pool of its own on first use; what a forked process
/// inherits it leaves alone.
pub struct RedisStore {
    address: Arc<Address>,
    pool_size: u32,
    patience: Duration,
    scripts: Scripts,
    pools: PerProcess<Pool>,
}

/// A script and the hash that Redis knows it by.
struct Script {
    text: String,
    hash: String,
}

impl Script {
    fn new(body: &str) -> Script {
        let text = [include_str!("redis/prelude.lua"), body].join("\n");
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Script { text, hash }
    }

    /// A call of this script on these keys, its nonce the first argument.
    fn call(&self, keys: &[String], call: &Call) -> Cmd {
        let mut command = cmd("EVALSHA");
        command.arg(&self.hash).arg(keys.len()).arg(keys).arg(&call.nonce);
        command
    }

    /// The same call for a server that does not have the script.
    fn in_full(&self, call: &Cmd) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(&self.text);
        for argument in call.args_iter().skip(2) {
            if let Arg::Simple(bytes) = argument {
                command.arg(bytes);
            }
        }
        command
    }
}

/// Made with the store, and not on first use: a lock that is held while they are made could be copied by a fork.
struct Scripts {
    create: Script,
    load: Script,
    update: Script,
    delete: Script,
}

impl Scripts {
    fn new() -> Scripts {
        Scripts {
            create: Script::new(include_str!("redis/create.lua")),
            load: Script::new(include_str!("redis/load.lua")),
            update: Script::new(include_str!("redis/update.lua")),
            delete: Script::new(include_str!("redis/delete.lua")),
        }
    }
}

impl RedisStore {
    /// A store at this URL, as [`store_url`](crate::SessionManagerBuilder::store_url) with its default settings makes it.
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// [`ConfigError::StoreUrl`].
    pub fn new(url: &str) -> Result<RedisStore, ConfigError> {
        RedisStore::from_url(url, default::POOL_SIZE, default::OPERATION_TIMEOUT)
    }

    /// `patience` is the operation timeout of its callers.
    pub(crate) fn from_url(url: &str, pool_size: u32, patience: Duration) -> Result<RedisStore, ConfigError> {
        let expected = "redis://[user:password@]host[:port][/database] or redis+unix:///path/to/socket";
        let address = Address::parse(url).ok_or(ConfigError::StoreUrl { expected })?;
        Ok(RedisStore {
            address: Arc::new(address),
            pool_size,
            patience,
            scripts: Scripts::new(),
            pools: PerProcess::new(),
        })
    }

    fn request<R>(
        &self,
        call: &Call,
        request: impl Fn(&mut Connection, Instant) -> Result<R, Failure>,
    ) -> Result<R, StoreError> {
        let process = self.pools.enter(call.deadline)?;
        let pool = process.get_or_open(|| Pool::new(self.address.clone(), self.pool_size))?;
        pool.request(call.deadline, request)
    }

    /// Runs a script; sends its text only where the server does not have it.
    fn run(&self, script: &Script, command: &Cmd, call: &Call) -> Result<Reply, StoreError> {
        self.request(call, |connection, deadline| {
            let reply = match connection.request(command, deadline) {
                Err(Failure::NoScript) => connection.request(&script.in_full(command), deadline)?,
                reply => reply?,
            };
            Reply::new(reply, call.nonce)
        })
    }
}

impl Store for RedisStore {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord, call: &Call) -> Result<Option<RecordInfo>, Error> {
        let bytes = record.check_size()?;
        let mut command = self.scripts.create.call(&[redis_key(key)], call);
        command
            .arg(optional(record.absolute_timeout.map(milliseconds)))
            .arg(milliseconds(record.idle_timeout))
            .arg(interval(record.refresh))
            .arg(bytes);
        for (key, json) in &record.values {
            command.arg(field(key)).arg(json);
        }
        let mut reply = self.run(&self.scripts.create, &command, call)?;
        match reply.status() {
            "exists" => Ok(None),
            _ => Ok(Some(reply.info()?)),
        }
    }

    fn load(&self, key: &RecordKey<'_>, refresh: Refresh, call: &Call) -> Result<Option<Record>, StoreError> {
        let mut command = self.scripts.load.call(&[redis_key(key)], call);
        command.arg(interval(refresh));
        let mut reply = self.run(&self.scripts.load, &command, call)?;
        if reply.status() == "gone" {
            return Ok(None);
        }
        let info = reply.info()?;
        Ok(Some(Record { info, refreshed: reply.number::<u8>()? == 1, values: reply.values()? }))
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Error> {
        let changes = update.changes;
        let keys: Vec<String> = std::iter::once(key).chain(&update.new_key).map(redis_key).collect();
        let [mut sets, mut removes, mut increments] = [const { Vec::new() }; 3];
        for (key, change) in &changes.keys {
            match change {
                Change::Set(json) => sets.extend([field(key), json.clone()]),
                Change::Remove => removes.push(field(key)),
                Change::Increment(by) => increments.extend([field(key), by.to_string()]),
            }
        }
        let mut command = self.scripts.update.call(&keys, call);
        command
            .arg(optional(update.expected))
            .arg(update.max_bytes)
            .arg(interval(update.refresh))
            .arg(optional(changes.idle_timeout.map(milliseconds)))
            .arg(update.holds.map_or_else(String::new, |(key, _)| field(key)))
            .arg(update.holds.map_or("", |(_, json)| json))
            .arg(u8::from(changes.clear))
            .arg(sets.len() / 2)
            .arg(removes.len())
            .arg(increments.len() / 2)
            .arg(sets)
            .arg(removes)
            .arg(increments);
        let mut reply = self.run(&self.scripts.update, &command, call)?;
        match reply.status() {
            "gone" => Err(Error::Gone),
            "conflict" => Err(Error::Conflict),
            "exists" => Err(Error::id_taken()),
            "not an integer" => Err(Error::not_an_integer(reply.key()?)),
            "too large" => Err(Error::too_large(changes.largest_key(), reply.number()?, update.max_bytes)),
            _ => {
                let info = reply.info()?;
                let keys = changes.increments().map(|(key, _)| key.to_owned());
                Ok(Updated { info, totals: reply.totals(keys)? })
            }
        }
    }

    fn delete(&self, key: &RecordKey<'_>, call: &Call) -> Result<(), StoreError> {
        self.run(&self.scripts.delete, &self.scripts.delete.call(&[redis_key(key)], call), call).map(drop)
    }

    fn ping(&self, call: &Call) -> Result<(), StoreError> {
        let mut ping = cmd("PING");
        ping.arg(&call.nonce);
        self.request(call, |connection, deadline| match connection.request(&ping, deadline)? {
            Value::BulkString(echo) if echo == call.nonce => Ok(()),
            _ => Err(Failure::not_ours("a PING came back with another text")),
        })
    }

    fn before_fork(&self) -> ForkGuard {
        self.pools.before_fork(self.patience * 2, Pool::close_idle)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)
    }
}

/// `<namespace>:<id>`; within a group `<namespace>:{<tag>}:<id>`, so that session and group share a cluster slot.
fn redis_key(key: &RecordKey<'_>) -> String {
    match key.tag {
        None => format!("{}:{}", key.namespace, key.id),
        Some(tag) => format!("{}:{{{tag}}}:{}", key.namespace, key.id),
    }
}

/// The hash field of a key: values stand under `:key`.
fn field(key: &str) -> String {
    format!(":{key}")
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// The refresh interval in milliseconds, as the scripts take it.
fn interval(refresh: Refresh) -> i64 {
    match refresh {
        Refresh::After(interval) => interval.as_millis().try_into().unwrap_or(i64::MAX),
        Refresh::EveryLoad => 0,
        Refresh::Never => -1,
    }
}

fn optional(number: Option<u64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}
