//! The log: its lines have public ids only, and those that a client or an outage can cause at will are rare.

use crate::support::fork::in_own_process;
use crate::support::log::{collect, take, take_lines, take_warnings};
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::{Redis, rights};
use crate::support::wait::next_millisecond;
use crate::support::{builder, cookie, kind, manager, save_new, session_with, until, with_timeout};
use log::{Level, LevelFilter};
use multi_process_session::{Error, MemoryStore, Refresh, Session, StoreErrorKind};
use std::sync::Arc;
use std::time::Duration;

fn lines<R>(work: impl FnOnce() -> R) -> Vec<String> {
    drop(work());
    take_lines()
}

#[test]
fn what_a_client_can_cause_is_logged_by_public_ids_alone_and_once_a_minute() {
    in_own_process(|| {
        collect(LevelFilter::Trace);
        let store = Arc::new(MemoryStore::new());
        // Each manager has a minute of its own.
        let manager = || builder("memory:").store(store.clone()).refresh(Refresh::EveryLoad).build().unwrap();
        let header = session_with(&manager(), &[("user", "ada")]);
        let load = || manager().load(&header).unwrap();
        let calm = |change: fn(&mut Session)| {
            let mut session = load();
            change(&mut session);
            let _ = session.save();
            session
        };

        assert_eq!(lines(|| calm(|_| {})), Vec::<String>::new());
        assert_eq!(lines(|| calm(|session| session.set("a", &1).unwrap())), Vec::<String>::new());
        assert_eq!(lines(|| manager().load(None).unwrap()), Vec::<String>::new());
        assert_eq!(lines(|| load().destroy().is_ok()), Vec::<String>::new());
        let header = session_with(&manager(), &[("user", "ada")]);
        let load = || manager().load(&header).unwrap();

        let unsaved = |change: fn(&mut Session)| {
            let mut session = load();
            let id = session.public_id();
            let _ = session.save();
            change(&mut session);
            let warned = lines(move || session);
            assert_eq!(warned, [format!("session {id}: dropped with unsaved changes; call save()")]);
        };
        unsaved(|session| session.set("a", &1).unwrap());
        unsaved(|session| assert!(session.remove("user")));
        unsaved(|session| session.increment("n", 1).unwrap());
        unsaved(Session::clear);
        unsaved(Session::regenerate);
        unsaved(|session| session.set_idle_timeout(std::time::Duration::from_secs(9)));
        unsaved(|session| {
            session.increment("user", 1).unwrap();
            assert!(matches!(session.save(), Err(Error::NotAnInteger { .. })));
            // The application knows of the failed save, but not of the change after it.
            session.set("b", &1).unwrap();
        });
        let mut failed = load();
        failed.increment("user", 1).unwrap();
        assert!(failed.save().is_err());
        assert_eq!(lines(move || failed), Vec::<String>::new(), "the application knows");
        let owing = lines(|| drop(load()));
        assert!(owing[0].ends_with("dropped with a cookie to renew; a page that calls save() sends it"), "{owing:?}");

        let transacted = lines(|| {
            let set = |session: &mut Session| session.set("a", &1);
            manager().transact(&header, set).unwrap().1.unwrap()
        });
        assert_eq!(transacted, Vec::<String>::new(), "it was saved, and its cookie given");

        // Two of our sessions in one request are worth a line, and junk is not.
        let other = session_with(&manager(), &[("user", "grace")]);
        let id = |header: &str| manager().load(header).map(|mut session| session.save().map(|_| session.public_id()));
        let ids = [id(&header), id(&other)].map(|id| id.unwrap().unwrap());
        let both = format!("{header}; {other}");
        let many = ["sid=x"; 9].join("; ");
        assert_eq!(lines(|| manager().load("sid=x; sid=y").unwrap()), Vec::<String>::new());
        let one_manager = manager();
        let tossed = lines(|| [&both, &both, &many, &both, &many].map(|header| one_manager.load(&**header).unwrap()));
        let start = "a request with several sessions is taken for one with none";
        let expected =
            [format!("{start}: {} and {}", ids[0], ids[1]), format!("{start}: more than 8 cookies of our name")];
        assert_eq!(tossed, expected, "each once");
        assert_eq!(one_manager.stats().tossed, 5);
        let dropped = lines(|| {
            for _ in 0..3 {
                one_manager.load(&header).unwrap().set("a", &1).unwrap();
                next_millisecond();
                drop(one_manager.load(&header).unwrap());
            }
        });
        assert_eq!(dropped.len(), 2, "{dropped:?}");
        for line in tossed.iter().chain(&owing).chain(&dropped) {
            for cookie in [&header, &other] {
                assert!(!line.contains(&cookie["sid=".len()..]), "{line}");
            }
        }
    });
}

#[test]
fn outages_retries_and_damaged_records_are_logged_by_public_ids_alone() {
    in_own_process(|| {
        collect(LevelFilter::Debug);
        let mut redis = Redis::start();
        let manager = manager(&redis.url());
        let header = session_with(&manager, &[("user", "ada")]);
        let mut session = manager.load(&header).unwrap();
        let told = take();
        assert_eq!((told.len(), told[0].0), (1, Level::Info), "{told:?}");

        // A connection that was closed is worth a line, and so are the beginning and the end of an outage.
        redis.run::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        session.set("a", &1).unwrap();
        session.save().unwrap();
        let retried = take();
        assert_eq!((retried.len(), retried[0].0), (1, Level::Warn));
        assert!(retried[0].1.contains("trying a fresh one"), "{retried:?}");
        redis.kill();
        let retries = manager.stats().retries;
        for _ in 0..5 {
            manager.load(&header).unwrap_err();
        }
        assert_eq!(manager.stats().retries, retries, "nothing was sent again");
        let outage: Vec<_> = take().into_iter().filter(|(level, _)| *level == Level::Error).collect();
        assert_eq!(outage.len(), 1, "{outage:?}");
        assert!(outage[0].1.contains("cannot be used"), "{outage:?}");
        redis.restart();
        // The outage is over when nothing has failed for a second.
        let mut back = Vec::new();
        until(|| {
            assert!(manager.load(&header).unwrap().is_new());
            back.extend(take());
            !back.is_empty()
        });
        assert_eq!(back.len(), 1, "{back:?}");
        assert!(back[0].1.contains("can be used again; requests that failed: 5, in "), "{back:?}");

        let header = session_with(&manager, &[("user", "ada")]);
        let id = manager.load(&header).unwrap().public_id();
        redis.run::<i64>(&["HDEL", &redis.records()[0], "s"]);
        for _ in 0..3 {
            manager.load(&header).unwrap_err();
        }
        let damaged = take();
        assert_eq!((damaged.len(), damaged[0].0), (1, Level::Error), "once a minute: {damaged:?}");
        assert!(damaged[0].1.starts_with(&format!("session {id}: ")), "{damaged:?}");
        for (_, line) in retried.iter().chain(&outage).chain(&back).chain(&damaged) {
            assert!(!line.contains(&header["sid=".len()..]) && !line.contains("ada"), "{line}");
        }
        let mut session = manager.load(None).unwrap();
        session.set("a", &1).unwrap();
        drop(cookie(&session.save().unwrap().unwrap()));
    });
}

#[test]
fn an_idle_connection_that_the_server_closes_is_opened_again_without_a_warning() {
    in_own_process(|| {
        collect(LevelFilter::Debug);
        let redis = Redis::start_with(&["--timeout", "1"]);
        let manager = manager(&redis.url());
        let header = session_with(&manager, &[("user", "ada")]);
        take();
        until(|| redis.run::<String>(&["CLIENT", "LIST"]).lines().count() == 1);
        manager.load(&header).unwrap();
        let told = take();
        assert!(told.len() == 1 && told[0].0 == Level::Debug, "{told:?}");
        assert!(told[0].1.contains("trying a fresh one"), "{told:?}");
    });
}

#[test]
fn one_request_that_is_too_slow_is_no_outage_and_a_silent_server_is() {
    in_own_process(|| {
        collect(LevelFilter::Info);
        let redis = Redis::start();
        let proxy = Proxy::start(redis.socket());
        let manager = with_timeout(&proxy.url(), Duration::from_millis(500));
        manager.ping().unwrap();
        for _ in 0..3 {
            proxy.next(&[Fault::Silence]);
            assert_eq!(kind(manager.ping()), StoreErrorKind::Timeout);
            manager.ping().unwrap();
        }
        assert_eq!(take_warnings(), [""; 0]);
        proxy.next(&[Fault::Silence, Fault::Silence]);
        for _ in 0..2 {
            assert_eq!(kind(manager.ping()), StoreErrorKind::Timeout);
        }
        let told = take_warnings();
        assert!(told.len() == 1 && told[0].contains("cannot be used"), "{told:?}");
    });
}

#[test]
fn the_first_connection_of_a_process_tells_the_log_of_the_server() {
    in_own_process(|| {
        collect(LevelFilter::Info);
        let redis = Redis::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
        let version = redis.run::<String>(&["INFO", "server"]);
        let version = version.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap().to_owned();
        redis.run::<()>(&[&["ACL", "SETUSER", "ada", "on", ">hunter2"], &rights()[..]].concat());
        for protocol in ["resp2", "resp3"] {
            let told = |url: &str| {
                let manager = builder(url).pool_size(3).build().unwrap();
                manager.ping().unwrap();
                save_new(&manager, "x").unwrap();
                take()
            };
            let told_default = told(&format!("{}?protocol={protocol}", redis.url()));
            assert_eq!(told_default.len(), 2, "{told_default:?}");
            let line = format!(": redis {version}, maxmemory-policy allkeys-lru, up to 3 connections of this process");
            assert!(told_default[0].0 == Level::Info && told_default[0].1.ends_with(&line), "{told_default:?}");
            assert!(told_default[1].0 == Level::Warn && told_default[1].1.contains("set noeviction"));
            // The user that the guide describes may not ask for everything.
            let told_limited = told(&format!("{}?user=ada&pass=hunter2&protocol={protocol}", redis.url()));
            assert_eq!(told_limited.len(), 1, "{told_limited:?}");
            assert!(told_limited[0].1.contains(&format!("redis {version}, maxmemory-policy unknown")));
        }
        // A server that does not answer these questions is used all the same.
        let proxy = Proxy::start(redis.socket());
        proxy.next(&[Fault::LoseReply]);
        manager(&proxy.url()).ping().unwrap();
    });
}
