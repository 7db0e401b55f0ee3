//! The stores of a test that processes can share, and ways to look at their data without the library.

use super::builder;
use super::cluster::Cluster;
use super::redis::{Redis, run};
use super::sqlite::Sqlite;
use multi_process_session::SessionManagerBuilder;
use multi_process_session::store::RecordKey;
use std::time::Duration;

/// Runs a test in memory, on a Redis and on a SQLite file.
pub fn on_every_store(test: impl Fn(SessionManagerBuilder)) {
    test(builder("memory:"));
    for place in Place::all() {
        test(builder(&place.url()));
    }
}

/// A place where sessions are kept.
pub enum Place {
    Redis(Redis),
    Cluster(Cluster),
    Sqlite(Sqlite),
}

impl Place {
    /// A Redis server and a SQLite file.
    pub fn all() -> [Place; 2] {
        [Place::redis(), Place::sqlite()]
    }

    /// Returns all three places, with a cluster. For tests that keep several records, or move records.
    pub fn all_and_a_cluster() -> [Place; 3] {
        [Place::redis(), Place::sqlite(), Place::cluster()]
    }

    pub fn redis() -> Place {
        Place::Redis(Redis::start())
    }

    pub fn cluster() -> Place {
        Place::Cluster(Cluster::start(3))
    }

    pub fn sqlite() -> Place {
        Place::Sqlite(Sqlite::new())
    }

    pub fn url(&self) -> String {
        match self {
            Place::Redis(redis) => redis.url(),
            Place::Cluster(cluster) => cluster.url(),
            Place::Sqlite(sqlite) => sqlite.url(),
        }
    }

    /// How many records there are.
    pub fn records(&self) -> usize {
        match self {
            Place::Redis(redis) => redis.records().len(),
            Place::Cluster(cluster) => cluster.nodes.iter().map(|node| live_records(&node.redis)).sum(),
            Place::Sqlite(sqlite) => sqlite.count("sessions"),
        }
    }

    /// Fails if a group keeps members that it should not have, or is kept without any.
    #[track_caller]
    pub fn assert_groups_sound(&self) {
        match self {
            Place::Redis(redis) => {
                for index in redis.keys().iter().filter(|key| key.ends_with('}')) {
                    assert_eq!(redis.members(index), redis.members(&format!("{index}:joined")));
                }
            }
            Place::Cluster(_) => {}
            Place::Sqlite(sqlite) => sqlite.assert_sound(),
        }
    }

    /// Lets time pass for one record and the values of its group: moves all their times into the past.
    pub fn let_time_pass_for(&self, key: &RecordKey<'_>, time: Duration) {
        match self {
            Place::Redis(redis) => shift(redis, &redis_keys(key), ms(time)),
            Place::Cluster(cluster) => {
                let keys = redis_keys(key);
                shift(&cluster.node_of(&keys[0]).redis, &keys, ms(time));
            }
            Place::Sqlite(sqlite) => {
                for sql in earlier("id = ?2") {
                    sqlite.connect().execute(&sql, (ms(time), key.id.as_bytes())).unwrap();
                }
                let tag = key.tag.map(|tag| tag.as_bytes().to_vec());
                sqlite.connect().execute(&group_values_earlier("tag = ?2"), (ms(time), tag)).unwrap();
            }
        }
    }

    /// Lets time pass for all records.
    pub fn let_time_pass_for_all(&self, time: Duration) {
        self.shift_all(ms(time));
    }

    /// Puts the clock back for all records: moves all their times into the future.
    pub fn put_clock_back_for_all(&self, time: Duration) {
        self.shift_all(-ms(time));
    }

    /// Moves all times of all records into the past, by this number of milliseconds.
    fn shift_all(&self, by: i64) {
        match self {
            Place::Redis(redis) => shift(redis, &redis.records_and_left_overs(), by),
            Place::Cluster(cluster) => {
                cluster.nodes.iter().for_each(|node| shift(&node.redis, &node.redis.records_and_left_overs(), by));
            }
            Place::Sqlite(sqlite) => {
                for sql in earlier("true").into_iter().chain([group_values_earlier("true")]) {
                    sqlite.connect().execute(&sql, [by]).unwrap();
                }
            }
        }
    }
}

/// The key of a record, and that of the values of its group.
fn redis_keys(key: &RecordKey<'_>) -> Vec<String> {
    match key.tag {
        None => vec![format!("{}:{}", key.namespace, key.id)],
        Some(tag) => {
            [key.id.to_string(), "values".to_owned()].map(|name| format!("{}:{{{tag}}}:{name}", key.namespace)).into()
        }
    }
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).expect("not that long")
}

fn earlier(which: &str) -> [String; 3] {
    let times =
        ["expires", "created", "refreshed", "joined", "began", "ends"].map(|time| format!("{time} = {time} - ?1"));
    [
        format!("UPDATE sessions SET {} WHERE {which}", times.join(", ")),
        format!("UPDATE ended SET expires = expires - ?1 WHERE {which}"),
        format!("UPDATE forwards SET grace_ends = grace_ends - ?1, expires = expires - ?1 WHERE {which}"),
    ]
}

fn group_values_earlier(which: &str) -> String {
    format!("UPDATE kept_groups SET expires = expires - ?1 WHERE {which}")
}

/// How many records there are on this node, without those that are only prepared.
fn live_records(redis: &Redis) -> usize {
    let connection = &mut redis.connect();
    redis.records().iter().filter(|key| run(connection, &["HEXISTS", key, "s"])).count()
}

/// Moves all times of a record into the past by a number of milliseconds: those in the packed state (see state.lua),
/// when it joined its group, and those in fields of their own.
const SHIFT: &str = r"
local key, by = KEYS[1], ARGV[1]
local state, group, began_at, grace_ends = unpack(redis.call('HMGET', key, 's', 'g', 'b', 'u'))
local function shifted(packed, first, last)
  for at = first, last, 6 do
    local time = struct.unpack('>I6', packed, at)
    packed = packed:sub(1, at - 1) .. struct.pack('>I6', time > 0 and time - by or 0) .. packed:sub(at + 6)
  end
  return packed
end
if state then redis.call('HSET', key, 's', shifted(state, 14, 32)) end
if group then redis.call('HSET', key, 'g', shifted(group, 1, 1)) end
if began_at then redis.call('HINCRBY', key, 'b', -by) end
if grace_ends then redis.call('HINCRBY', key, 'u', -by) end
redis.call('PEXPIRE', key, redis.call('PTTL', key) - by)";

/// Moves all times of these records into the past.
fn shift(redis: &Redis, keys: &[String], milliseconds: i64) {
    let connection = &mut redis.connect();
    let by = (-milliseconds).to_string();
    for key in keys {
        let _: redis::Value = run(connection, &["EVAL", SHIFT, "1", key, &milliseconds.to_string()]);
        if let Some((group, id)) = key.rsplit_once(':').filter(|(group, _)| group.contains('{')) {
            // The order of joining is in microseconds.
            for (set, by) in [(group.to_owned(), by.clone()), (format!("{group}:joined"), format!("{by}000"))] {
                let member: Option<f64> = run(connection, &["ZSCORE", &set, id]);
                if member.is_some() {
                    let _: f64 = run(connection, &["ZINCRBY", &set, &by, id]);
                }
            }
        }
    }
}
