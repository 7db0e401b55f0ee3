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
use super::{Call, Change, End, ForkGuard, NewRecord, Record, RecordInfo, RecordKey, Store, Update, Updated, Values};
use crate::lifetime::Refresh;
use crate::{ConfigError, Error, StoreError};
use redis::{Cmd, Value, cmd};
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Keeps sessions in Redis, for any number of processes and machines.
///
/// `store_url("redis://…")` makes one. Every process opens a pool of its own on first use; what a forked process
/// inherits it leaves alone.
pub struct RedisStore {
    address: Arc<Address>,
    pool_size: u32,
    patience: Duration,
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
}

static CREATE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis/create.lua")));
static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis/load.lua")));
static UPDATE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis/update.lua")));
static DELETE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis/delete.lua")));

impl RedisStore {
    /// A store at this `redis://` or `redis+unix://` URL, with so many connections a process. `patience` is the
    /// operation timeout of its callers. Connects to nothing yet.
    pub(crate) fn new(url: &str, pool_size: u32, patience: Duration) -> Result<RedisStore, ConfigError> {
        let expected = "redis://[user:password@]host[:port][/database] or redis+unix:///path/to/socket";
        let address = Address::parse(url).ok_or(ConfigError::StoreUrl { expected })?;
        Ok(RedisStore { address: Arc::new(address), pool_size, patience, pools: PerProcess::new() })
    }

    fn request<R>(
        &self,
        call: &Call,
        request: impl Fn(&mut Connection, std::time::Instant) -> Result<R, Failure>,
    ) -> Result<R, StoreError> {
        let process = self.pools.enter(call.deadline)?;
        process.get_or_open(|| Pool::new(self.address.clone(), self.pool_size)).request(call.deadline, request)
    }

    /// Runs a script; sends its text only where the server does not have it.
    fn run(
        &self,
        script: &Script,
        key: &RecordKey<'_>,
        call: &Call,
        arguments: &Arguments,
    ) -> Result<Reply, StoreError> {
        let key = redis_key(key);
        let command = |verb: &str, script: &str| {
            let mut command = Cmd::with_capacity(arguments.0.len() + 5, arguments.1 + 128);
            command.arg(verb).arg(script).arg(1).arg(&key).arg(&call.nonce);
            for argument in &arguments.0 {
                command.arg(argument.as_slice());
            }
            command
        };
        let by_hash = command("EVALSHA", &script.hash);
        self.request(call, |connection, deadline| {
            let reply = match connection.request(&by_hash, deadline) {
                Err(Failure::NoScript) => connection.request(&command("EVAL", &script.text), deadline)?,
                reply => reply?,
            };
            Reply::new(reply, call.nonce)
        })
    }

    fn run_update(
        &self,
        key: &RecordKey<'_>,
        update: &Update<'_>,
        seen: Option<u64>,
        call: &Call,
    ) -> Result<Reply, Error> {
        let changes = update.changes;
        let mut sets = Arguments::default();
        let mut removes = Arguments::default();
        let mut increments = Arguments::default();
        for (key, change) in &changes.keys {
            match change {
                Change::Set(json) => sets.field(key).push(json),
                Change::Remove => removes.field(key),
                Change::Increment(by) => increments.field(key).push(by),
            };
        }
        let mut arguments = Arguments::default();
        arguments
            .push(optional(update.expected))
            .push(optional(seen))
            .push(update.max_bytes)
            .push(interval(update.refresh))
            .push(optional(changes.idle_timeout.map(|timeout| timeout.as_millis())))
            .push(u8::from(changes.clear))
            .push(sets.0.len() / 2)
            .push(removes.0.len())
            .push(increments.0.len() / 2);
        for group in [sets, removes, increments] {
            arguments.append(group);
        }
        let mut reply = self.run(&UPDATE, key, call, &arguments)?;
        match reply.status() {
            "gone" => Err(Error::Gone),
            "conflict" => Err(Error::Conflict),
            "not an integer" => Err(Error::not_an_integer(reply.field()?)),
            "too large" => Err(Error::too_large(changes.largest_key(), reply.number::<usize>()?, update.max_bytes)),
            _ => Ok(reply),
        }
    }
}

impl Store for RedisStore {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord, call: &Call) -> Result<Option<RecordInfo>, Error> {
        let bytes = record.check_size()?;
        let (end, end_time) = match record.end {
            End::Never => ("never", 0),
            End::After(timeout) => ("after", timeout.as_millis()),
            End::At(time) => ("at", since_epoch(time)),
        };
        let mut arguments = Arguments::default();
        arguments
            .push(record.created_at.map_or(0, since_epoch))
            .push(end)
            .push(end_time)
            .push(record.idle_timeout.as_millis())
            .push(interval(record.refresh))
            .push(bytes);
        for (key, json) in &record.values {
            arguments.field(key).push(json);
        }
        let mut reply = self.run(&CREATE, key, call, &arguments)?;
        match reply.status() {
            "exists" => Ok(None),
            _ => Ok(Some(reply.info()?)),
        }
    }

    fn load(&self, key: &RecordKey<'_>, refresh: Refresh, call: &Call) -> Result<Option<Record>, StoreError> {
        let mut arguments = Arguments::default();
        arguments.push(interval(refresh));
        let mut reply = self.run(&LOAD, key, call, &arguments)?;
        if reply.status() == "gone" {
            return Ok(None);
        }
        let info = reply.info()?;
        Ok(Some(Record { info, refreshed: reply.number::<u8>()? == 1, values: reply.values()? }))
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Error> {
        let mut reply = self.run_update(key, update, None, call)?;
        let info = reply.info()?;
        let totals = reply.numbers()?;
        let keys = update.changes.increments().map(|(key, _)| key.to_owned());
        Ok(Updated { info, totals: keys.zip(totals).collect() })
    }

    fn retire(
        &self,
        key: &RecordKey<'_>,
        update: &Update<'_>,
        seen: u64,
        call: &Call,
    ) -> Result<Option<Values>, Error> {
        let mut reply = self.run_update(key, update, Some(seen), call)?;
        match reply.status() {
            "moved" => Ok(Some(reply.values()?)),
            _ => Ok(None),
        }
    }

    fn delete(&self, key: &RecordKey<'_>, call: &Call) -> Result<(), StoreError> {
        self.run(&DELETE, key, call, &Arguments::default()).map(drop)
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

/// The arguments of a script, and how many bytes they are.
#[derive(Default)]
struct Arguments(Vec<Vec<u8>>, usize);

impl Arguments {
    fn push(&mut self, argument: impl ToString) -> &mut Self {
        self.bytes(argument.to_string().into_bytes())
    }

    /// The hash field of a key: values stand under `:key`.
    fn field(&mut self, key: &str) -> &mut Self {
        self.bytes(format!(":{key}").into_bytes())
    }

    fn bytes(&mut self, argument: Vec<u8>) -> &mut Self {
        self.1 += argument.len();
        self.0.push(argument);
        self
    }

    fn append(&mut self, mut other: Arguments) {
        self.0.append(&mut other.0);
        self.1 += other.1;
    }
}

fn optional(number: Option<impl ToString>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

fn interval(refresh: Refresh) -> i128 {
    match refresh {
        Refresh::After(interval) => interval.as_millis() as i128,
        Refresh::EveryLoad => 0,
        Refresh::Never => -1,
    }
}

fn since_epoch(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}
