//! Where sessions are kept that processes share, and a look at what is really there, past the library.

use super::redis::Redis;
use multi_process_session::RecordKey;
use std::time::Duration;
use tempfile::TempDir;

/// A place of the test's own.
pub enum Place {
    Redis(Redis),
    Sqlite(TempDir),
}

impl Place {
    /// One of each kind.
    pub fn all() -> [Place; 2] {
        [Place::redis(), Place::sqlite()]
    }

    pub fn redis() -> Place {
        Place::Redis(Redis::start())
    }

    pub fn sqlite() -> Place {
        Place::Sqlite(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn url(&self) -> String {
        match self {
            Place::Redis(redis) => redis.url(),
            Place::Sqlite(folder) => format!("sqlite://{}", folder.path().join("sessions.db").display()),
        }
    }

    /// How many records there are.
    pub fn records(&self) -> usize {
        match self {
            Place::Redis(redis) => redis.keys().len(),
            Place::Sqlite(_) => {
                let count: u32 = self.sql().query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap();
                count as usize
            }
        }
    }

    /// Lets time pass for one record: all its times lie earlier by as much.
    pub fn let_time_pass_for(&self, key: &RecordKey<'_>, time: Duration) {
        match self {
            Place::Redis(redis) => let_time_pass(redis, &format!("{}:{}", key.namespace, key.id), time),
            Place::Sqlite(_) => drop(self.sql().execute(&earlier("id = ?2"), (ms(time), key.id.as_bytes())).unwrap()),
        }
    }

    /// Lets time pass for all records.
    pub fn let_time_pass_for_all(&self, time: Duration) {
        match self {
            Place::Redis(redis) => redis.keys().iter().for_each(|key| let_time_pass(redis, key, time)),
            Place::Sqlite(_) => drop(self.sql().execute(&earlier("true"), [ms(time)]).unwrap()),
        }
    }

    fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.url().strip_prefix("sqlite://").expect("a SQLite file")).expect("it opens")
    }
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).expect("not that long")
}

fn earlier(which: &str) -> String {
    format!("UPDATE sessions SET expires = expires - ?1, created = created - ?1, ends = ends - ?1 WHERE {which}")
}

fn let_time_pass(redis: &Redis, key: &str, time: Duration) {
    let left: i64 = redis.run(&["PTTL", key]);
    for field in ["c", "a"] {
        let value: Option<i64> = redis.run(&["HGET", key, field]);
        if value.is_some_and(|value| value > 0) {
            let _: i64 = redis.run(&["HINCRBY", key, field, &(-ms(time)).to_string()]);
        }
    }
    let _: i64 = redis.run(&["PEXPIRE", key, &(left - ms(time)).to_string()]);
}
