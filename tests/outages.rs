//! Outages of real Redis servers: stopped, killed, restarted, full, overrun. No acknowledged change is lost, none is
//! applied twice, and when the server is well again, so are all workers.

#![allow(missing_docs)]

mod support;

use multi_process_session::{Error, Refresh, SessionManager, StoreErrorKind};
use nix::sys::signal::{Signal, kill};
use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};
use support::cluster::Cluster;
use support::disk::mount_small_disk;
use support::fork::{child, in_own_process};
use support::load::Load;
use support::redis::{Redis, rights};
use support::{builder, cookie, kind, manager, session_with};

/// How soon a Redis that is back is to be noticed.
const SOON: Duration = Duration::from_secs(2);

/// A Redis that hands each change to the system before it acknowledges it, and so keeps it though it is killed. With
/// `everysec` it may acknowledge first; with `always` it would wait for the disk, and end itself when that is full.
const WRITES_FIRST: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "no"];

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: not so");
        thread::sleep(Duration::from_millis(1));
    }
}

/// What a fresh session with this value leads to.
fn save(manager: &SessionManager, value: &str) -> Result<String, Error> {
    let mut session = manager.load(None)?;
    session.set("value", value)?;
    let set_cookie = session.save()?.expect("a new session has a cookie");
    Ok(support::cookie(&set_cookie))
}

// ---- under load ----

#[test]
fn a_server_that_is_stopped_and_goes_on() {
    in_own_process("a_server_that_is_stopped_and_goes_on", || {
        let redis = Redis::start();
        let manager = builder(&redis.url()).operation_timeout(Duration::from_millis(300)).build().unwrap();
        let load = Load::start(&manager);
        for _ in 0..3 {
            load.wait_for_changes(20);
            kill(redis.pid(), Signal::SIGSTOP).unwrap();
            load.wait_for_faults();
            kill(redis.pid(), Signal::SIGCONT).unwrap();
            assert!(load.wait_for_changes(1) < SOON);
        }
        assert_eq!(load.end(&manager), kinds(&["Timeout"]));
    });
}

fn kinds(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn a_server_that_is_killed_and_restarted() {
    in_own_process("a_server_that_is_killed_and_restarted", || {
        let mut redis = Redis::start_with(&WRITES_FIRST);
        let manager = manager(&redis.url());
        let load = Load::start(&manager);
        for _ in 0..3 {
            load.wait_for_changes(20);
            redis.kill();
            load.wait_for_faults();
            redis.restart();
            assert!(load.wait_for_changes(1) < SOON);
        }
        let faults = load.end(&manager);
        assert!(faults.contains("Unavailable") && faults.is_subset(&kinds(&["Unavailable", "Timeout"])), "{faults:?}");
    });
}

#[test]
fn a_server_that_forgets_its_scripts_all_the_time() {
    in_own_process("a_server_that_forgets_its_scripts_all_the_time", || {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        let load = Load::start(&manager);
        let mut connection = redis.connect();
        for _ in 0..100 {
            redis::cmd("SCRIPT").arg("FLUSH").exec(&mut connection).unwrap();
            load.wait_for_changes(1);
        }
        assert_eq!(load.end(&manager), kinds(&[]));
    });
}

#[test]
fn a_server_that_closes_all_connections_again_and_again() {
    in_own_process("a_server_that_closes_all_connections_again_and_again", || {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        let load = Load::start(&manager);
        let mut connection = redis.connect();
        let mut close_all = || -> usize {
            redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).query(&mut connection).unwrap()
        };
        // No call meets two of these: after each, every worker gets past the call that it was in.
        let mut closed = 0;
        for _ in 0..30 {
            load.wait_for_changes(2);
            closed += close_all();
        }
        assert!(closed > 30, "{closed}");
        load.wait_for_changes(1);
        assert_eq!(load.end(&manager), kinds(&[]));

        // Faster than anybody can make a call.
        let load = Load::start(&manager);
        load.wait_for_changes(1);
        for _ in 0..1000 {
            close_all();
        }
        assert!(load.wait_for_changes(1) < SOON);
        assert!(load.end(&manager).is_subset(&kinds(&["Unavailable"])));
    });
}

// ---- connections ----

#[test]
fn a_server_that_closes_idle_connections() {
    let redis = Redis::start_with(&["--timeout", "1"]);
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("user", "ada")]);
    let clients = || redis.run::<String>(&["CLIENT", "LIST"]).lines().count();
    let alone = 1;
    assert!(clients() > alone);
    wait_until("the server has closed them", || clients() == alone);
    let mut session = manager.load(&header).unwrap();
    wait_until("the server has closed them", || clients() == alone);
    session.increment("count", 1).unwrap();
    session.save().unwrap();
    assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(1));
}

#[test]
fn a_server_that_has_too_many_clients() {
    let redis = Redis::start_with(&["--maxclients", "10"]);
    let early = manager(&redis.url());
    let header = session_with(&early, &[("user", "ada")]);
    let late = builder(&redis.url()).operation_timeout(Duration::from_secs(30)).build().unwrap();
    let others: Vec<_> = std::iter::from_fn(|| redis.try_connect()).collect();
    assert!(!others.is_empty());
    let start = Instant::now();
    assert_eq!(kind(late.load(&header)), StoreErrorKind::Unavailable);
    assert_eq!(kind(save(&late, "a")), StoreErrorKind::Unavailable);
    assert!(start.elapsed() < Duration::from_secs(20), "it is not waited out");
    assert_eq!(early.load(&header).unwrap().keys(), ["user"], "whoever is connected is served");
    drop(others);
    wait_until("there is room again", || late.ping().is_ok());
    assert_eq!(late.load(&header).unwrap().keys(), ["user"]);
}

// ---- memory and disk ----

/// A value that takes some room, and tells whose it is.
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
        match save(&manager, &large(headers.len())) {
            Ok(header) => headers.push(header),
            refused => break refused,
        }
        assert!(headers.len() < 1000, "the memory is never full");
    };
    assert_eq!(kind(refused), StoreErrorKind::Rejected);
    assert_eq!(redis.keys().len(), headers.len(), "what was refused is not there, not even in part");
    // A change of several keys: all of it or nothing.
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
    let manager = builder(&url).operation_timeout(Duration::from_secs(20)).build().unwrap();
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
        match log_in(&(headers.len() % 100).to_string()).and_then(|_| save(&manager, &"y".repeat(300))) {
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
fn the_records_of_all_sessions_are_removed_from_every_node_of_a_cluster() {
    let cluster = Cluster::start(3);
    let [manager, other] = ["mps", "other"].map(|namespace| {
        builder(&cluster.url()).namespace(namespace).operation_timeout(Duration::from_secs(20)).build().unwrap()
    });
    for number in 0..30 {
        for manager in [&manager, &other] {
            session_with(manager, &[("a", "1")]);
            let mut session = manager.load(None).unwrap();
            session.set_group_name(&number.to_string());
            session.save().unwrap();
        }
    }
    let spared = cluster.keys().iter().filter(|key| key.starts_with("other:")).count();
    manager.destroy_every_session().unwrap();
    let keys = cluster.keys();
    assert_eq!(keys.iter().filter(|key| key.starts_with("mps:")).count(), 0, "{keys:?}");
    assert_eq!((keys.len(), spared), (spared, 30 + 3 * 30));
}

#[test]
fn a_full_memory_with_eviction() {
    let redis = Redis::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "volatile-ttl"]);
    let manager = manager(&redis.url());
    let mut headers = vec![save(&manager, &large(0)).unwrap()];
    let mut evicted = manager.load(&headers[0]).unwrap();
    while !manager.load(&headers[0]).unwrap().is_new() {
        headers.push(save(&manager, &large(headers.len())).unwrap());
        assert!(headers.len() < 2000, "nothing is ever evicted");
    }
    evicted.set("a", &1).unwrap();
    assert!(matches!(evicted.save(), Err(Error::Gone)), "what is gone is not brought back");
    for _ in 0..100 {
        headers.push(save(&manager, &large(headers.len())).unwrap());
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
    in_own_process("a_full_disk", || {
        let disk = tempfile::tempdir().unwrap();
        let done = child(|| {
            mount_small_disk(disk.path(), "4m");
            let mut redis = Redis::start_in(disk.path(), &WRITES_FIRST);
            // Every load wants to extend the session's life, which fails for the same reason and spoils no load.
            let manager = builder(&redis.url()).refresh(Refresh::EveryLoad).build().unwrap();
            let [header, other] = ["one", "two"].map(|text| save(&manager, text).unwrap());
            let filler = disk.path().join("filler");
            assert!(fs::write(&filler, vec![b'x'; 8 << 20]).is_err(), "it does not fit");
            let count_one = || {
                let mut session = manager.load(&header)?;
                session.increment("count", 1)?;
                session.save().map(drop)
            };
            // The first change that cannot be written is kept in memory; Redis refuses those after it.
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
            wait_until("changes are taken again", || count_one().is_ok());
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
