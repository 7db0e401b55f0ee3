//! A Redis whose memory or disk is full: it refuses saves, nothing is half done, and logouts need no memory.

use crate::support::disk::mount_small_disk;
use crate::support::fork::{child, in_own_process};
use crate::support::redis::{Redis, WRITES_FIRST, rights};
use crate::support::{builder, cookie, is_alive, kind, login_on, manager, save_new, session_with, until, with_timeout};
use multi_process_session::{Error, Refresh, SessionManager, StoreErrorKind};
use std::fs;
use std::time::Duration;

/// A large value that says whose it is.
fn large(who: usize) -> String {
    format!("{who} {}", "x".repeat(20_000))
}

fn value(manager: &SessionManager, header: &str) -> Option<String> {
    manager.load(header).unwrap().get("value").unwrap()
}

#[test]
fn a_full_memory_without_eviction() {
    let redis = Redis::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]);
    let manager = manager(&redis.url());
    let mut headers = Vec::new();
    let refused = loop {
        match save_new(&manager, &large(headers.len())) {
            Ok(header) => headers.push(header),
            refused => break refused,
        }
        assert!(headers.len() < 1000, "the memory is never full");
    };
    assert_eq!(kind(refused), StoreErrorKind::Rejected);
    assert_eq!(redis.keys().len(), headers.len(), "what was refused is not there, not even in part");
    // A change of several keys is made as a whole, or not at all.
    let mut session = manager.load(&headers[0]).unwrap();
    let key = format!("mps:{}", session.public_id());
    let before = redis.record(&key);
    session.set("value", &large(999)).unwrap();
    session.set("other", &large(999)).unwrap();
    session.increment("count", 1).unwrap();
    assert_eq!(kind(session.save()), StoreErrorKind::Rejected);
    assert_eq!(redis.record(&key), before);
    for (who, header) in headers.iter().enumerate() {
        assert_eq!(value(&manager, header), Some(large(who)));
    }
    for header in headers.drain(1..) {
        let _ = manager.destroy(&header).unwrap();
        assert!(manager.load(&header).unwrap().is_new());
    }
    session.save().unwrap();
    assert_eq!(value(&manager, &headers[0]), Some(large(999)));
    assert_eq!(redis.keys(), [key]);
}

#[test]
fn a_full_memory_has_room_again_when_all_sessions_have_ended() {
    let redis = Redis::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]);
    redis.run::<()>(&[&["ACL", "SETUSER", "sessions", "on", ">password"], &rights()[..]].concat());
    let url = format!("{}?user=sessions&pass=password", redis.url());
    let manager = with_timeout(&url, Duration::from_secs(20));
    let spared = ["mps:settings", "other:AAAAAAAAAAAAAAAAAAAAAAAA", "mps:BBBBBBBBBBBBBBBBBBBBBBBB"];
    for key in spared {
        redis.run::<()>(&["HSET", key, "a", "b"]);
    }
    let (mut headers, mut session) = (Vec::new(), manager.load(None).unwrap());
    let log_in = |group: &str| {
        let mut session = manager.load(None).unwrap();
        session.set("value", &"x".repeat(300)).unwrap();
        session.set_group_name(group);
        session.save().map(|set_cookie| cookie(&set_cookie.unwrap()))
    };
    let refused = loop {
        match log_in(&(headers.len() % 100).to_string()).and_then(|_| save_new(&manager, &"y".repeat(300))) {
            Ok(header) => headers.push(header),
            refused => break refused,
        }
        assert!(headers.len() < 10_000, "the memory is never full");
    };
    assert_eq!(kind(refused), StoreErrorKind::Rejected);
    manager.destroy_every_session().unwrap();
    assert_eq!(redis.keys().iter().filter(|key| !spared.contains(&key.as_str())).count(), 0);
    assert!(spared.iter().all(|key| redis.run::<bool>(&["EXISTS", key])));
    session.set("a", &1).unwrap();
    session.save().unwrap();
    let header = log_in("0").unwrap();
    assert_eq!(manager.group("0").len().unwrap(), 1);
    manager.check_writes().unwrap();
    assert!(!manager.load(&header).unwrap().is_new());
}

#[test]
fn a_full_memory_with_eviction() {
    let redis = Redis::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "volatile-ttl"]);
    let manager = manager(&redis.url());
    let mut headers = vec![save_new(&manager, &large(0)).unwrap()];
    let mut evicted = manager.load(&headers[0]).unwrap();
    while !manager.load(&headers[0]).unwrap().is_new() {
        headers.push(save_new(&manager, &large(headers.len())).unwrap());
        assert!(headers.len() < 2000, "nothing is ever evicted");
    }
    evicted.set("a", &1).unwrap();
    assert!(matches!(evicted.save(), Err(Error::Gone)), "what is gone is not brought back");
    for _ in 0..100 {
        headers.push(save_new(&manager, &large(headers.len())).unwrap());
    }
    let live = headers.iter().enumerate().filter(|(who, header)| match value(&manager, header) {
        Some(value) => value == large(*who) || panic!("session {who} has another's value"),
        None => false,
    });
    let live = live.count();
    assert!(live > 0 && live < headers.len(), "{live} of {}", headers.len());
}

#[test]
fn a_full_disk() {
    in_own_process(|| {
        let disk = tempfile::tempdir().unwrap();
        let done = child(|| {
            mount_small_disk(disk.path(), "4m");
            let mut redis = Redis::start_in(disk.path(), &WRITES_FIRST);
            // Every load tries to refresh the session. That fails for the same reason, and the load works all the same.
            let manager = builder(&redis.url()).refresh(Refresh::EveryLoad).build().unwrap();
            let [header, other] = ["one", "two"].map(|text| save_new(&manager, text).unwrap());
            let filler = disk.path().join("filler");
            assert!(fs::write(&filler, vec![b'x'; 8 << 20]).is_err(), "it does not fit");
            let count_one = || {
                let mut session = manager.load(&header)?;
                session.increment("count", 1)?;
                session.save().map(drop)
            };
            // Redis keeps the first change that it cannot write in memory, and refuses those after it.
            let mut acknowledged = 0;
            let refused = loop {
                match count_one() {
                    Ok(()) => acknowledged += 1,
                    Err(error) => break error,
                }
                assert!(acknowledged < 10_000, "the disk is never full");
            };
            assert!(refused.to_string().contains("MISCONF"), "{refused}");
            assert_eq!(kind::<()>(Err(refused)), StoreErrorKind::Rejected);
            let count = || manager.load(&header).unwrap().get("count").unwrap();
            assert_eq!(count(), Some(acknowledged), "what is there can be read, and is whole");
            assert_eq!(kind(manager.destroy(&other)), StoreErrorKind::Rejected);
            assert_eq!(value(&manager, &other).as_deref(), Some("two"), "no logout is claimed that was none");
            fs::remove_file(&filler).unwrap();
            until(|| count_one().is_ok());
            acknowledged += 1;
            let _ = manager.destroy(&other).unwrap();
            redis.kill();
            redis.restart();
            assert_eq!(count(), Some(acknowledged), "all that was acknowledged is on the disk");
            assert_eq!(value(&manager, &other), None);
            "done".to_owned()
        });
        assert_eq!(done.join(), "done");
    });
}

#[test]
fn a_full_memory_refuses_changes_and_loses_nothing() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("user", "ada"), ("cart", "full")]);
    let key = redis.keys().remove(0);
    let _: () = redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let _: i64 = redis.run(&["PEXPIRE", &key, "60000"]);
    let mut session = manager.load(&header).unwrap();
    let before = redis.record(&key);
    assert_eq!(session.keys(), ["cart", "user"]);
    session.clear();
    session.set("a", &1).unwrap();
    for _ in 0..2 {
        assert_eq!(kind(session.save()), StoreErrorKind::Rejected);
        assert_eq!(redis.record(&key), before);
        session.regenerate();
    }
    assert!(matches!(manager.load(None).and_then(|mut new| new.set("a", &1).and_then(|()| new.save())),
        Err(Error::Store(error)) if error.kind() == StoreErrorKind::Rejected));
    assert_eq!(redis.keys(), [key]);
    // A logout needs no memory.
    let _ = manager.destroy(&header).unwrap();
    assert_eq!(redis.keys(), Vec::<String>::new());
}

#[test]
fn a_full_memory_refuses_logins_and_not_logouts() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let [phone, laptop] = ["phone", "laptop"].map(|device| login_on(&manager, "ada", device));
    let alone = session_with(&manager, &[("a", "1")]);
    let keys = redis.keys();
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    for header in [Some(&*alone), Some(&*phone), None] {
        let mut session = manager.load(header).unwrap();
        session.set_group_name("grace");
        assert_eq!(kind(session.save()), StoreErrorKind::Rejected);
        assert_eq!(redis.keys(), keys, "nothing was half done");
    }
    place_time_passes(&redis, Duration::from_secs(3600));
    let mut session = manager.load(&phone).expect("a refresh that cannot be written fails no load");
    assert_eq!(session.save().unwrap(), None, "it was not refreshed");
    assert_eq!(kind(manager.group("ada").clear_except(&session)), StoreErrorKind::Rejected);
    assert!(is_alive(&manager, &phone) && is_alive(&manager, &laptop), "nothing was half done");
    assert!(manager.group("ada").remove(manager.load(&laptop).unwrap().public_id()).unwrap());
    assert_eq!(manager.group("ada").clear().unwrap(), 1);
    assert!(!is_alive(&manager, &phone) && !is_alive(&manager, &laptop));
}

fn place_time_passes(redis: &Redis, time: Duration) {
    for key in redis.keys() {
        let left: i64 = redis.run(&["PTTL", &key]);
        redis.run::<i64>(&["PEXPIRE", &key, &(left - time.as_millis() as i64).to_string()]);
    }
}
