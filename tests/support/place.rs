//! Where sessions are kept that processes share, and a look at what is really there, past the library.

use super::cluster::Cluster;
use super::redis::Redis;
use multi_process_session::store::RecordKey;
use std::time::Duration;
use tempfile::TempDir;

/// A place of the test's own.
pub enum Place {
    Redis(Redis),
    Cluster(Cluster),
    Sqlite(TempDir),
}

impl Place {
    /// One of each kind.
    pub fn all() -> [Place; 2] {
        [Place::redis(), Place::sqlite()]
    }

    /// A cluster too: for what keeps several records, or moves them.
    pub fn all_and_a_cluster() -> [Place; 3] {
        [Place::redis(), Place::sqlite(), Place::Cluster(Cluster::start(3))]
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
            Place::Cluster(cluster) => cluster.url(),
            Place::Sqlite(folder) => format!("sqlite://{}", folder.path().join("sessions.db").display()),
        }
    }

    /// How many records there are.
    pub fn records(&self) -> usize {
        match self {
            Place::Redis(redis) => redis.records().len(),
            Place::Cluster(cluster) => {
                let lives = |key: &&String| cluster.node_of(key).redis.record(key).contains_key("v");
                cluster.records().iter().filter(lives).count()
            }
            Place::Sqlite(_) => {
                let count: u32 = self.sql().query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap();
                count as usize
            }
        }
    }

    /// Lets time pass for one record: all its times lie earlier by as much.
    pub fn let_time_pass_for(&self, key: &RecordKey<'_>, time: Duration) {
        match self {
            Place::Redis(redis) => shift(redis, &redis_key(key), ms(time)),
            Place::Cluster(cluster) => {
                let key = redis_key(key);
                shift(&cluster.node_of(&key).redis, &key, ms(time));
            }
            Place::Sqlite(_) => {
                for sql in earlier("id = ?2") {
                    self.sql().execute(&sql, (ms(time), key.id.as_bytes())).unwrap();
                }
            }
        }
    }

    /// Lets time pass for all records.
    pub fn let_time_pass_for_all(&self, time: Duration) {
        self.shift_all(ms(time));
    }

    /// Puts the clock back for all records: all their times lie later by as much.
    pub fn put_clock_back_for_all(&self, time: Duration) {
        self.shift_all(-ms(time));
    }

    /// Lets all times of all records lie earlier by as many milliseconds.
    fn shift_all(&self, by: i64) {
        match self {
            Place::Redis(redis) => redis.records_and_left_overs().iter().for_each(|key| shift(redis, key, by)),
            Place::Cluster(cluster) => {
                let keys = cluster.records_and_left_overs();
                keys.iter().for_each(|key| shift(&cluster.node_of(key).redis, key, by));
            }
            Place::Sqlite(_) => {
                for sql in earlier("true") {
                    self.sql().execute(&sql, [by]).unwrap();
                }
            }
        }
    }

    pub fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.url().strip_prefix("sqlite://").expect("a SQLite file")).expect("it opens")
    }
}

fn redis_key(key: &RecordKey<'_>) -> String {
    let group = key.tag.map_or(String::new(), |tag| format!(":{{{tag}}}"));
    format!("{}{group}:{}", key.namespace, key.id)
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).expect("not that long")
}

fn earlier(which: &str) -> [String; 2] {
    let times =
        ["expires", "created", "refreshed", "joined", "began", "ends"].map(|time| format!("{time} = {time} - ?1"));
    [
        format!("UPDATE sessions SET {} WHERE {which}", times.join(", ")),
        format!("UPDATE forwards SET grace_ends = grace_ends - ?1, expires = expires - ?1 WHERE {which}"),
    ]
}

/// Lets the times of a record lie earlier by as many milliseconds.
fn shift(redis: &Redis, key: &str, milliseconds: i64) {
    let by = (-milliseconds).to_string();
    let left: i64 = redis.run(&["PTTL", key]);
    for field in ["c", "r", "j", "b", "a", "u"] {
        let value: Option<i64> = redis.run(&["HGET", key, field]);
        if value.is_some_and(|value| value > 0) {
            let _: i64 = redis.run(&["HINCRBY", key, field, &by]);
        }
    }
    let _: i64 = redis.run(&["PEXPIRE", key, &(left - milliseconds).to_string()]);
    if let Some((group, id)) = key.rsplit_once(':').filter(|(group, _)| group.contains('{')) {
        // The order of joining is in microseconds.
        for (set, by) in [(group.to_owned(), by.clone()), (format!("{group}:joined"), format!("{by}000"))] {
            let member: Option<f64> = redis.run(&["ZSCORE", &set, id]);
            if member.is_some() {
                let _: f64 = redis.run(&["ZINCRBY", &set, &by, id]);
            }
        }
    }
}
