//! Every store that comes with the library passes the suite.

#![allow(missing_docs)]

mod support;

use multi_process_session::contract::{Subject, check, check_shared};
use multi_process_session::{MemoryStore, RecordKey, RedisStore, SqliteStore, Store, StoreErrorKind};
use std::collections::HashMap;
use std::time::{Duration, SystemTime};
use support::cluster::Cluster;
use support::fork::{children, in_own_process};
use support::place::Place;
use support::redis::{Redis, rights};
use support::{clock, failure, kind, manager, session_with};

struct ByClock<S, F>(S, F);

impl<S: Store, F: Fn(Duration)> Subject for ByClock<S, F> {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn let_time_pass(&self, _: &RecordKey<'_>, time: Duration) {
        (self.1)(time);
    }
}

struct ByPlace<S>(S, Place);

impl<S: Store> Subject for ByPlace<S> {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn let_time_pass(&self, key: &RecordKey<'_>, time: Duration) {
        self.1.let_time_pass_for(key, time);
    }
}

#[test]
fn memory_keeps_the_contract() {
    let (now, pass) = clock();
    check(&ByClock(MemoryStore::with_clock(now), pass));
}

#[test]
fn sqlite_keeps_the_contract() {
    let (now, pass) = clock();
    let folder = tempfile::tempdir().unwrap();
    check(&ByClock(SqliteStore::with_clock(folder.path().join("sessions.db"), now), pass));
    let place = Place::sqlite();
    check(&ByPlace(open_sqlite(&place), place));
}

#[test]
fn redis_keeps_the_contract() {
    let redis = Redis::start();
    check(&ByPlace(RedisStore::new(&redis.url()).unwrap(), Place::Redis(redis)));
}

#[test]
fn the_rights_that_the_readme_names_are_enough() {
    let redis = Redis::start();
    assert!(rights().contains(&"~mps:*"));
    redis.run::<()>(&[&["ACL", "SETUSER", "sessions", "on", ">password"], &rights()[..]].concat());
    let url = format!("{}?user=sessions&pass=password", redis.url());
    let manager = manager(&url);
    manager.ping().unwrap();
    let mut session = manager.load(None).unwrap();
    session.set_group_name("ada");
    session.save().unwrap();
    let header = session_with(&manager, &[("a", "1")]);
    assert_eq!(manager.group("ada").clear().unwrap(), 1);
    let as_user = redis::Client::open(&*url).unwrap();
    for dangerous in [["CLIENT", "LIST"], ["CONFIG", "RESETSTAT"], ["KEYS", "*"], ["FLUSHALL", "SYNC"]] {
        let answer = redis::cmd(dangerous[0]).arg(dangerous[1]).exec(&mut as_user.get_connection().unwrap());
        assert_eq!(answer.unwrap_err().code(), Some("NOPERM"), "{dangerous:?}");
    }
    redis.run::<()>(&["ACL", "SETUSER", "sessions", "-time"]);
    assert_eq!(kind(manager.load(&*header)), StoreErrorKind::Rejected);
    // The suite has namespaces of its own.
    redis.run::<()>(&["ACL", "SETUSER", "sessions", "+time", "allkeys"]);
    check(&ByPlace(RedisStore::new(&url).unwrap(), Place::Redis(redis)));
}

/// The commands that came after this version of Redis, such as 6.0, as this server tells.
fn newer_commands(redis: &Redis, version: (u32, u32)) -> Vec<String> {
    let Ok(docs) = redis.try_run::<HashMap<String, HashMap<String, redis::Value>>>(&["COMMAND", "DOCS"]) else {
        return Vec::new(); // Before Redis 7 servers do not tell.
    };
    let is_newer = |about: &HashMap<String, redis::Value>| {
        let since: String = redis::from_redis_value(about["since"].clone()).unwrap();
        let mut numbers = since.split('.').map(|number| number.parse::<u32>().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap()) > version
    };
    docs.into_iter().filter(|(_, about)| is_newer(about)).map(|(name, _)| name).collect()
}

#[test]
fn no_command_that_redis_6_0_lacks_is_needed() {
    let redis = Redis::start();
    let newer = newer_commands(&redis, (6, 0));
    for name in &newer {
        redis.run::<()>(&["ACL", "SETUSER", "default", &format!("-{name}")]);
    }
    assert!(newer.is_empty() || newer.iter().any(|name| name == "zmscore"), "{newer:?}");
    check(&ByPlace(RedisStore::new(&redis.url()).unwrap(), Place::Redis(redis)));
}

#[test]
fn a_new_id_that_a_missing_right_breaks_off_is_never_said_to_be_saved() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let mut session = manager.load(None).unwrap();
    session.set_group_name("ada");
    session.save().unwrap();
    session.regenerate();
    redis.run::<()>(&["ACL", "SETUSER", "default", "-zrem"]);
    assert_eq!(kind(session.save()), StoreErrorKind::Rejected);
    for right in ["-zrem", "+zrem"] {
        redis.run::<()>(&["ACL", "SETUSER", "default", right]);
        let (what, message) = failure(session.save());
        assert!(what == StoreErrorKind::Backend && message.contains("rights"), "{message}");
    }
}

#[test]
fn a_cluster_keeps_the_contract() {
    let cluster = Cluster::start(3);
    check(&ByPlace(RedisStore::new(&cluster.url()).unwrap(), Place::Cluster(cluster)));
}

#[test]
fn a_cluster_keeps_the_contract_among_processes() {
    in_own_process("a_cluster_keeps_the_contract_among_processes", || {
        let cluster = Cluster::start(3);
        check_shared(|| RedisStore::new(&cluster.url()).unwrap(), in_children);
    });
}

#[test]
fn sqlite_keeps_the_contract_among_processes() {
    in_own_process("sqlite_keeps_the_contract_among_processes", || {
        let place = Place::sqlite();
        check_shared(|| open_sqlite(&place), in_children);
    });
}

#[test]
fn redis_keeps_the_contract_among_processes() {
    in_own_process("redis_keeps_the_contract_among_processes", || {
        let redis = Redis::start();
        check_shared(|| RedisStore::new(&redis.url()).unwrap(), in_children);
    });
}

fn open_sqlite(place: &Place) -> SqliteStore {
    SqliteStore::with_clock(place.url().strip_prefix("sqlite://").unwrap(), SystemTime::now)
}

fn in_children(count: usize, work: &dyn Fn(usize)) {
    children(count, |number| {
        work(number);
        String::new()
    });
}
