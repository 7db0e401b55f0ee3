//! Outages of a server under load: it is stopped or killed, forgets its scripts, or closes connections. No acknowledged
//! change is lost, none is applied twice, and when the server works again, all workers go on.

use crate::support::fork::in_own_process;
use crate::support::load::Load;
use crate::support::redis::{Redis, WRITES_FIRST};
use crate::support::{kind, manager, save_new, session_with, until, with_timeout};
use multi_process_session::StoreErrorKind;
use nix::sys::signal::{Signal, kill};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How soon workers notice that Redis is back.
const SOON: Duration = Duration::from_secs(2);

#[test]
fn a_server_that_is_stopped_and_goes_on() {
    in_own_process(|| {
        let redis = Redis::start();
        let manager = with_timeout(&redis.url(), Duration::from_millis(300));
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
    in_own_process(|| {
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
    in_own_process(|| {
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
    in_own_process(|| {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        let load = Load::start(&manager);
        let mut connection = redis.connect();
        let mut close_all = || -> usize {
            redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).query(&mut connection).unwrap()
        };
        // No call meets two of these: after each of them, every worker ends the call that it was in.
        let mut closed = 0;
        for _ in 0..30 {
            load.wait_for_changes(2);
            closed += close_all();
        }
        assert!(closed > 30, "{closed}");
        load.wait_for_changes(1);
        assert_eq!(load.end(&manager), kinds(&[]));

        // Now faster than anybody can make a call.
        let load = Load::start(&manager);
        load.wait_for_changes(1);
        for _ in 0..1000 {
            close_all();
        }
        assert!(load.wait_for_changes(1) < SOON);
        assert!(load.end(&manager).is_subset(&kinds(&["Unavailable"])));
    });
}

#[test]
fn a_server_that_closes_idle_connections() {
    let redis = Redis::start_with(&["--timeout", "1"]);
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("user", "ada")]);
    let clients = || redis.run::<String>(&["CLIENT", "LIST"]).lines().count();
    let alone = 1;
    assert!(clients() > alone);
    until(|| clients() == alone);
    let mut session = manager.load(&header).unwrap();
    until(|| clients() == alone);
    session.increment("count", 1).unwrap();
    session.save().unwrap();
    assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(1));
}

#[test]
fn a_server_that_has_too_many_clients() {
    let redis = Redis::start_with(&["--maxclients", "10"]);
    let early = manager(&redis.url());
    let header = session_with(&early, &[("user", "ada")]);
    let late = with_timeout(&redis.url(), Duration::from_secs(30));
    let others: Vec<_> = std::iter::from_fn(|| redis.try_connect()).collect();
    assert!(!others.is_empty());
    let start = Instant::now();
    assert_eq!(kind(late.load(&header)), StoreErrorKind::Unavailable);
    assert_eq!(kind(save_new(&late, "a")), StoreErrorKind::Unavailable);
    assert!(start.elapsed() < Duration::from_secs(20), "it is not waited out");
    assert_eq!(early.load(&header).unwrap().keys(), ["user"], "whoever is connected is served");
    drop(others);
    until(|| late.ping().is_ok());
    assert_eq!(late.load(&header).unwrap().keys(), ["user"]);
}
