//! A Redis that answers and refuses: a replica, a full memory, missing replicas, missing rights. The log says so once,
//! connections are kept, and when an address leads to another server, that one is used.

#![allow(missing_docs)]

mod support;

use log::{Level, LevelFilter};
use multi_process_session::store::{Call, Deadline, Store as _};
use multi_process_session::{Error, RedisStore, Refresh, SessionManager, StoreErrorKind};
use std::time::{Duration, Instant};
use support::cluster::Cluster;
use support::fork::in_own_process;
use support::log::{collect, take};
use support::proxy::{Fault, Proxy};
use support::redis::{Redis, rights};
use support::sentinel::Server;
use support::{builder, kind, manager, session_with, until};

fn save(manager: &SessionManager) -> Result<(), Error> {
    let mut session = manager.load(None)?;
    session.set("a", &1)?;
    session.save().map(drop)
}

/// What was logged of servers as a warning or worse.
fn warnings() -> Vec<String> {
    let of_server = |(level, line): &(Level, String)| *level <= Level::Warn && !line.starts_with("session ");
    take().into_iter().filter(of_server).map(|(_, line)| line).collect()
}

/// A state in which a server refuses saves.
struct State {
    code: &'static str,
    begin: &'static [&'static [&'static str]],
    end: &'static [&'static [&'static str]],
}

const STATES: [State; 5] = [
    State { code: "OOM", begin: &[&["CONFIG", "SET", "maxmemory", "1"]], end: &[&["CONFIG", "SET", "maxmemory", "0"]] },
    State { code: "READONLY", begin: &[&["REPLICAOF", "127.0.0.1", "1"]], end: &[&["REPLICAOF", "NO", "ONE"]] },
    State {
        code: "NOREPLICAS",
        begin: &[&["CONFIG", "SET", "min-replicas-to-write", "1"]],
        end: &[&["CONFIG", "SET", "min-replicas-to-write", "0"]],
    },
    State {
        code: "NOPERM",
        begin: &[&["ACL", "SETUSER", "ada", "-hset"]],
        end: &[&["ACL", "SETUSER", "ada", "+hset"]],
    },
    State {
        code: "WRONGPASS",
        begin: &[&["ACL", "SETUSER", "ada", "resetpass", ">other"], &["CLIENT", "KILL", "USER", "ada"]],
        end: &[&["ACL", "SETUSER", "ada", ">hunter2"]],
    },
];

impl State {
    fn change(redis: &Redis, commands: &[&[&str]]) {
        for command in commands {
            redis.run::<redis::Value>(command);
        }
    }
}

/// A server with a user that has the rights that the README names, and a URL of that user.
fn with_user() -> (Redis, Proxy, String) {
    let redis = Redis::start();
    redis.run::<()>(&[&["ACL", "SETUSER", "ada", "on", ">hunter2"], &rights()[..]].concat());
    let proxy = Proxy::start(redis.socket());
    let url = format!("{}?user=ada&pass=hunter2", proxy.url());
    (redis, proxy, url)
}

#[test]
fn a_state_that_refuses_saves_is_told_once_and_costs_few_connections() {
    in_own_process("a_state_that_refuses_saves_is_told_once_and_costs_few_connections", || {
        const SAVES: usize = 300;
        collect(LevelFilter::Info);
        for State { code, begin, end } in STATES {
            let (redis, proxy, url) = with_user();
            let manager = manager(&url);
            save(&manager).unwrap();
            warnings();
            let (before, start) = (proxy.accepted(), Instant::now());
            State::change(&redis, begin);
            for _ in 0..SAVES {
                assert_eq!(kind(save(&manager)), StoreErrorKind::Rejected, "{code}");
            }
            // A few at once, and then four a second.
            let most = 6 + start.elapsed().as_millis() / 250;
            let opened = proxy.accepted() - before;
            assert!(u128::from(opened) <= most, "{code}: {opened} connections in {:?}", start.elapsed());
            let told = warnings();
            let of_state: Vec<_> = told.iter().filter(|line| line.contains("refuses requests: ")).collect();
            assert!(of_state.len() == 1 && told.len() <= 2, "{code}: {told:?}");
            assert!(of_state[0].contains(code) || code == "NOPERM" && of_state[0].contains("can't run"), "{told:?}");
            State::change(&redis, end);
            let mut told = Vec::new();
            until(|| {
                let _ = save(&manager);
                told.extend(warnings());
                !told.is_empty()
            });
            assert_eq!(told.len(), 1, "{told:?}");
            let met = told[0].split_once(&format!("no longer refuses requests ({code}); requests that it refused: "));
            let met: usize = met.and_then(|(_, met)| met.split(',').next()?.parse().ok()).expect(&told[0]);
            assert!(met >= SAVES, "{told:?}");
            assert!(!told[0].contains("hunter2"));
        }
    });
}

#[test]
fn a_check_that_writes_says_why_saves_would_be_refused() {
    let check = |store: &RedisStore| {
        let call = Call::until(Deadline::after(Duration::from_secs(20))).unwrap();
        store.check_writes("mps", &call)
    };
    for State { code, begin, end } in STATES {
        let (redis, _proxy, url) = with_user();
        let store = RedisStore::new(&url).unwrap();
        check(&store).unwrap();
        State::change(&redis, begin);
        let refused = check(&store).expect_err(code);
        assert_eq!(refused.kind(), StoreErrorKind::Rejected);
        let text = refused.to_string();
        assert!(text.contains(code) || code == "NOPERM" && text.contains("(HSET)"), "{text}");
        State::change(&redis, end);
        until(|| check(&store).is_ok());
        assert_eq!(redis.run::<Vec<String>>(&["KEYS", "*"]), [""; 0], "nothing is left behind");
    }
    // What a save has to wait for.
    let redis = Redis::start();
    let store = RedisStore::new(&format!("{}?wait_replicas=1", redis.url())).unwrap();
    let call = Call::until(Deadline::after(Duration::from_secs(1))).unwrap();
    assert_eq!(store.check_writes("mps", &call).unwrap_err().kind(), StoreErrorKind::Timeout);
    // One node of a cluster.
    let cluster = Cluster::start(3);
    let store = RedisStore::new(&cluster.url()).unwrap();
    check(&store).unwrap();
    for node in &cluster.nodes {
        node.redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        assert!(check(&store).unwrap_err().to_string().contains("OOM"));
        node.redis.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
        check(&store).unwrap();
    }
    assert_eq!(cluster.keys(), [""; 0]);
}

#[test]
fn behind_one_address_the_new_primary_is_found_by_workers_that_only_read() {
    in_own_process("behind_one_address_the_new_primary_is_found_by_workers_that_only_read", || {
        collect(LevelFilter::Info);
        let mut primary = Server::primary(&[]);
        let mut replica = primary.replica();
        let proxy = Proxy::start(primary.redis.socket());
        let manager = builder(&proxy.url()).refresh(Refresh::EveryLoad).build().unwrap();
        let header = session_with(&manager, &[("user", "ada")]);
        for reads in [true, false] {
            primary.wait_for(&replica);
            replica.become_primary();
            primary.become_replica_of(&replica);
            proxy.lead_to(replica.redis.socket());
            warnings();
            let retries = manager.stats().retries;
            if reads {
                assert_eq!(manager.load(&header).unwrap().keys(), ["user"]);
            } else {
                save(&manager).unwrap();
            }
            let told = warnings();
            assert!(told.len() == 1 && told[0].contains("leads to another node now"), "{told:?}");
            assert!(told[0].contains("READONLY"), "{told:?}");
            let (commands, _) = primary.redis.commands(|| {
                for _ in 0..5 {
                    manager.load(&header).unwrap();
                    save(&manager).unwrap();
                }
            });
            assert!(!commands.iter().any(|command| command == "evalsha"), "the old one is left: {commands:?}");
            assert_eq!(manager.stats().retries, retries + 1);
            assert_eq!(manager.stats().refused_refreshes, 0);
            until(|| primary.redis.run::<String>(&["INFO", "replication"]).contains("master_link_status:up"));
            std::mem::swap(&mut primary, &mut replica);
        }
    });
}

#[test]
fn calls_that_a_failover_surprises_at_once_all_find_the_new_primary() {
    let primary = Server::primary(&[]);
    let replica = primary.replica();
    let proxy = Proxy::start(primary.redis.socket());
    let manager = manager(&proxy.url());
    let calls = || {
        std::thread::scope(|scope| {
            let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| save(&manager))).collect();
            calls.into_iter().for_each(|call| call.join().unwrap().unwrap());
        });
    };
    // All connections are open, and then lead to a replica.
    primary.redis.run::<()>(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    std::thread::scope(|scope| {
        let opened = scope.spawn(calls);
        until(|| proxy.accepted() == 8);
        primary.redis.run::<()>(&["CLIENT", "UNPAUSE"]);
        opened.join().unwrap();
    });
    primary.wait_for(&replica);
    replica.become_primary();
    primary.become_replica_of(&replica);
    proxy.lead_to(replica.redis.socket());
    for _ in 0..10 {
        calls();
    }
}

#[test]
fn a_refresh_that_is_refused_fails_no_load_and_is_told_and_counted() {
    in_own_process("a_refresh_that_is_refused_fails_no_load_and_is_told_and_counted", || {
        const LOADS: u64 = 200;
        collect(LevelFilter::Info);
        for State { code, begin, end } in &STATES[..3] {
            let (redis, proxy, url) = with_user();
            let manager = builder(&url).refresh(Refresh::EveryLoad).build().unwrap();
            let header = session_with(&manager, &[("user", "ada")]);
            warnings();
            let (before, start) = (proxy.accepted(), Instant::now());
            State::change(&redis, begin);
            for _ in 0..LOADS {
                assert_eq!(manager.load(&header).unwrap().keys(), ["user"], "{code}");
            }
            let opened = u128::from(proxy.accepted() - before);
            assert!(opened <= 6 + start.elapsed().as_millis() / 250, "{code}: {opened} connections");
            // A full memory takes what makes a life longer: that adds nothing.
            let refused = if *code == "OOM" { 0 } else { LOADS };
            assert_eq!(manager.stats().refused_refreshes, refused, "{code}");
            assert_eq!(manager.stats().errors.len(), 0);
            let told = warnings();
            assert_eq!(told.len(), usize::from(refused > 0), "{code}: {told:?}");
            assert!(told.iter().all(|line| line.contains("refuses requests: ") && line.contains(code)), "{told:?}");
            State::change(&redis, end);
            // Loads alone find out that it is over.
            until(|| {
                manager.load(&header).unwrap();
                told.is_empty() || warnings().iter().any(|line| line.contains("no longer refuses requests"))
            });
        }
    });
}

#[test]
fn a_server_that_an_address_has_left_is_left_though_it_lives() {
    let (old, new) = (Redis::start(), Redis::start());
    let proxy = Proxy::start(old.socket());
    let manager = manager(&format!("{}?max_lifetime=1", proxy.url()));
    save(&manager).unwrap();
    proxy.lead_to(new.socket());
    until(|| {
        save(&manager).unwrap();
        !new.keys().is_empty()
    });
    let (before, stats) = (old.keys().len(), manager.stats());
    for _ in 0..10 {
        save(&manager).unwrap();
    }
    assert_eq!(old.keys().len(), before);
    assert_eq!((stats.retries, stats.errors.len()), (0, 0));
    for wrong in ["0", "86401", "", "-1", "+1", "1s"] {
        let error = builder(&format!("redis://a?max_lifetime={wrong}")).build().unwrap_err().to_string();
        assert!(error.contains("max_lifetime=300"), "{wrong}: {error}");
    }
    for fine in ["redis://a", "redis-sentinel://a", "redis-cluster://a"] {
        builder(&format!("{fine}?max_lifetime=60{}", if fine.contains("sentinel") { "#n" } else { "" }))
            .build()
            .unwrap();
    }
}

#[test]
fn an_idle_connection_that_the_server_closes_is_opened_again_without_a_warning() {
    in_own_process("an_idle_connection_that_the_server_closes_is_opened_again_without_a_warning", || {
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
    in_own_process("one_request_that_is_too_slow_is_no_outage_and_a_silent_server_is", || {
        collect(LevelFilter::Info);
        let redis = Redis::start();
        let proxy = Proxy::start(redis.socket());
        let manager = builder(&proxy.url()).operation_timeout(Duration::from_millis(500)).build().unwrap();
        manager.ping().unwrap();
        for _ in 0..3 {
            proxy.next(&[Fault::Silence]);
            assert_eq!(kind(manager.ping()), StoreErrorKind::Timeout);
            manager.ping().unwrap();
        }
        assert_eq!(warnings(), [""; 0]);
        proxy.next(&[Fault::Silence, Fault::Silence]);
        for _ in 0..2 {
            assert_eq!(kind(manager.ping()), StoreErrorKind::Timeout);
        }
        let told = warnings();
        assert!(told.len() == 1 && told[0].contains("cannot be used"), "{told:?}");
    });
}

#[test]
fn the_first_connection_of_a_process_tells_the_log_of_the_server() {
    in_own_process("the_first_connection_of_a_process_tells_the_log_of_the_server", || {
        collect(LevelFilter::Info);
        let redis = Redis::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
        let version = redis.run::<String>(&["INFO", "server"]);
        let version = version.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap().to_owned();
        redis.run::<()>(&[&["ACL", "SETUSER", "ada", "on", ">hunter2"], &rights()[..]].concat());
        for protocol in ["resp2", "resp3"] {
            let told = |url: &str| {
                let manager = builder(url).pool_size(3).build().unwrap();
                manager.ping().unwrap();
                save(&manager).unwrap();
                take()
            };
            let told_default = told(&format!("{}?protocol={protocol}", redis.url()));
            assert_eq!(told_default.len(), 2, "{told_default:?}");
            let line = format!(": redis {version}, maxmemory-policy allkeys-lru, up to 3 connections of this process");
            assert!(told_default[0].0 == Level::Info && told_default[0].1.ends_with(&line), "{told_default:?}");
            assert!(told_default[1].0 == Level::Warn && told_default[1].1.contains("set noeviction"));
            // The user that the README describes may not ask for all of it.
            let told_limited = told(&format!("{}?user=ada&pass=hunter2&protocol={protocol}", redis.url()));
            assert_eq!(told_limited.len(), 1, "{told_limited:?}");
            assert!(told_limited[0].1.contains(&format!("redis {version}, maxmemory-policy unknown")));
        }
        // What does not understand the questions is used all the same.
        let proxy = Proxy::start(redis.socket());
        proxy.next(&[Fault::LoseReply]);
        manager(&proxy.url()).ping().unwrap();
    });
}

#[test]
fn a_user_without_a_password_is_refused() {
    for (url, words) in [
        ("redis://alice@a", "user:password@"),
        ("redis://alice:@a", "user:password@"),
        ("rediss://alice@a", "user:password@"),
        ("redis+unix:///a.sock?user=alice", "&pass=password"),
        ("redis+unix:///a.sock?user=alice&pass=", "&pass=password"),
        ("redis-sentinel://alice@a#n", "user:password@"),
        ("redis-sentinel://:b@a?sentinel_user=alice#n", "sentinel_pass=password"),
        ("redis-sentinel://a?sentinel_user=alice&sentinel_pass=#n", "sentinel_pass=password"),
        ("redis-cluster://alice@a,b", "user:password@"),
        ("rediss-cluster://alice@a,b", "user:password@"),
    ] {
        let error = builder(url).build().expect_err(url).to_string();
        assert!(error.contains("names a user but no password") && error.contains(words), "{url}: {error}");
        assert!(!error.contains("alice"), "{error}");
    }
    for fine in ["redis://:b@a", "redis://alice:b@a", "redis+unix:///a.sock?user=alice&pass=b", "redis://a"] {
        builder(fine).build().unwrap();
    }
}
