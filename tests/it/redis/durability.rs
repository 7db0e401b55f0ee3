//! Changes that wait until replicas, or the disk, have them.

use crate::support::redis::{Redis, rights};
use crate::support::sentinel::Server;
use crate::support::{fault, let_it_know_the_scripts, login, session_with, with_timeout};
use multi_process_session::{Error, SessionManager, StoreErrorKind};
use nix::sys::signal::{Signal, kill};
use std::time::Duration;

/// Makes a manager of a user who has the rights that the guide names, and no others.
fn waiting(redis: &Redis, parameter: &str, limit: Duration) -> SessionManager {
    redis.run::<()>(&[&["ACL", "SETUSER", "sessions", "on", ">password"], &rights()[..], &["+wait"]].concat());
    let _ = redis.try_run::<()>(&["ACL", "SETUSER", "sessions", "+waitaof"]); // from Redis 7.2 on
    let url = format!("{}?user=sessions&pass=password&{parameter}", redis.url());
    with_timeout(&url, limit)
}

#[test]
fn every_change_waits_for_a_replica_and_no_load_does() {
    let primary = Server::primary(&[]);
    let _replica = primary.replica();
    let manager = waiting(&primary.redis, "wait_replicas=1", Duration::from_secs(30));
    let login = || login(&manager, "ada");
    // Lets Redis know the scripts.
    let_it_know_the_scripts(&primary.redis.url());
    let header = login();
    let mut session = manager.load(&header).unwrap();
    session.set("a", &1).unwrap();
    session.save().unwrap();
    session.destroy().unwrap();
    login();
    manager.group("ada").clear().unwrap();

    let mut header = String::new();
    let commands = |work: &mut dyn FnMut()| {
        primary.redis.commands(work).0.into_iter().filter(|name| name != "replconf").collect::<Vec<_>>()
    };
    assert_eq!(commands(&mut || header = login()), ["evalsha", "wait"]);
    assert_eq!(commands(&mut || drop(manager.load(&header).unwrap())), ["hgetall"]);
    let mut session = manager.load(&header).unwrap();
    session.set("a", &1).unwrap();
    assert_eq!(commands(&mut || drop(session.save().unwrap())), ["evalsha", "wait"]);
    session.regenerate();
    assert_eq!(commands(&mut || drop(session.save().unwrap())), ["evalsha", "wait"]);
    // Nothing waits for the removal of the records: they are dead already.
    assert_eq!(commands(&mut || assert_eq!(manager.group("ada").clear().unwrap(), 1)), ["evalsha", "wait", "evalsha"]);
    let header = login();
    assert_eq!(commands(&mut || drop(manager.destroy(&header).unwrap())), ["evalsha", "wait"]);
}

#[test]
fn what_a_replica_lacks_is_told_and_can_be_waited_for_again() {
    let primary = Server::primary(&[]);
    let replica = primary.replica();
    let manager = waiting(&primary.redis, "wait_replicas=1", Duration::from_secs(2));
    // A new replica counts only after a second.
    let patient = waiting(&primary.redis, "wait_replicas=1", Duration::from_secs(30));
    let [header, other] = [(), ()].map(|()| session_with(&patient, &[("a", "1")]));
    let mut member = patient.load(None).unwrap();
    member.set_group_name("ada");
    member.save().unwrap();
    let mut session = manager.load(&header).unwrap();
    session.increment("count", 1).unwrap();
    kill(replica.redis.pid(), Signal::SIGSTOP).unwrap();
    for _ in 0..2 {
        let error = fault(session.save());
        assert_eq!(error.kind(), StoreErrorKind::Timeout);
        assert!(error.to_string().contains("the change was made"), "{error}");
        // The next call waits again, also on another connection.
        primary.redis.run::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }
    for _ in 0..2 {
        assert_eq!(fault(manager.destroy(&other)).kind(), StoreErrorKind::Timeout);
        primary.redis.run::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }
    assert!(manager.load(&other).unwrap().is_new(), "the change was made");
    for _ in 0..2 {
        assert_eq!(fault(manager.group("ada").clear()).kind(), StoreErrorKind::Timeout);
        primary.redis.run::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }
    assert_eq!(manager.group("ada").len().unwrap(), 0, "the change was made");
    // A full memory does not refuse a call that was made before.
    primary.redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let again: [&mut dyn FnMut() -> Result<(), Error>; 3] =
        [&mut || session.save().map(drop), &mut || manager.destroy(&other).map(drop), &mut || {
            manager.group("ada").clear().map(drop)
        }];
    for call in again {
        assert_eq!(fault(call()).kind(), StoreErrorKind::Timeout);
        primary.redis.run::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }
    primary.redis.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    kill(replica.redis.pid(), Signal::SIGCONT).unwrap();
    crate::support::until(|| session.save().is_ok());
    assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(1));
    crate::support::until(|| manager.destroy(&other).is_ok());
}

#[test]
fn a_server_that_is_made_a_replica_while_it_is_waited_for_is_no_primary() {
    let primary = Server::primary(&[]);
    let replica = primary.replica();
    let patient = waiting(&primary.redis, "wait_replicas=1", Duration::from_secs(30));
    let mut session = patient.load(&session_with(&patient, &[("a", "1")])).unwrap();
    session.set("a", &2).unwrap();
    kill(replica.redis.pid(), Signal::SIGSTOP).unwrap();
    std::thread::scope(|scope| {
        let save = scope.spawn(|| fault(session.save()));
        crate::support::until(|| primary.redis.run::<String>(&["INFO", "clients"]).contains("blocked_clients:1"));
        primary.become_replica_of(&replica);
        let error = save.join().unwrap();
        assert_eq!(error.kind(), StoreErrorKind::Rejected);
        assert!(error.to_string().contains("UNBLOCKED") && !error.to_string().contains("wait_aof"), "{error}");
    });
    // The change that was made before does not count as kept either.
    let error = fault(session.save());
    assert_eq!(error.kind(), StoreErrorKind::Rejected);
    assert!(error.to_string().contains("READONLY"), "{error}");
    kill(replica.redis.pid(), Signal::SIGCONT).unwrap();
}

#[test]
fn the_disk_is_waited_for_where_the_server_can() {
    let redis = Redis::start_with(&["--appendonly", "yes"]);
    let manager = waiting(&redis, "wait_aof=1", Duration::from_secs(30));
    let save = || manager.load(None).and_then(|mut new| new.set("a", &1).and_then(|()| new.save()));
    let info: String = redis.run(&["INFO", "server"]);
    // Other servers say which version of Redis they are compatible with.
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).expect("a version");
    let mut numbers = version.split('.').map(|number| number.trim().parse::<u32>().unwrap_or_default());
    if (numbers.next(), numbers.next()) >= (Some(7), Some(2)) {
        save().unwrap();
        redis.run::<()>(&["CONFIG", "SET", "appendonly", "no"]);
    }
    let before = redis.records().len();
    let error = fault(save());
    assert!(error.to_string().contains("wait_aof needs Redis 7.2 and appendonly yes"), "{error}");
    assert_eq!(redis.records().len(), before + 1, "the change was made");
}
