//! A Redis that answers, and refuses saves: it is a replica, its memory is full, replicas or rights are missing. The
//! log says so once, connections are kept, and when the address leads to another server, that server is used.

use crate::support::cluster::Cluster;
use crate::support::fork::in_own_process;
use crate::support::log::{collect, take_warnings};
use crate::support::proxy::Proxy;
use crate::support::redis::{Redis, rights};
use crate::support::sentinel::Server;
use crate::support::{builder, kind, manager, save_new, session_with, until};
use log::LevelFilter;
use multi_process_session::store::{Call, Deadline, Store as _};
use multi_process_session::{RedisStore, Refresh, StoreErrorKind};
use std::time::{Duration, Instant};

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

/// Starts a server with a user who has the rights that the guide names. Returns the URL of that user, too.
fn with_user() -> (Redis, Proxy, String) {
    let redis = Redis::start();
    redis.run::<()>(&[&["ACL", "SETUSER", "ada", "on", ">hunter2"], &rights()[..]].concat());
    let proxy = Proxy::start(redis.socket());
    let url = format!("{}?user=ada&pass=hunter2", proxy.url());
    (redis, proxy, url)
}

#[test]
fn a_state_that_refuses_saves_is_told_once_and_costs_few_connections() {
    in_own_process(|| {
        const SAVES: usize = 300;
        collect(LevelFilter::Info);
        for State { code, begin, end } in STATES {
            let (redis, proxy, url) = with_user();
            let manager = manager(&url);
            save_new(&manager, "x").unwrap();
            take_warnings();
            let (before, start) = (proxy.accepted(), Instant::now());
            State::change(&redis, begin);
            for _ in 0..SAVES {
                assert_eq!(kind(save_new(&manager, "x")), StoreErrorKind::Rejected, "{code}");
            }
            // A few connections are opened at once, and then four a second.
            let most = 6 + start.elapsed().as_millis() / 250;
            let opened = proxy.accepted() - before;
            assert!(u128::from(opened) <= most, "{code}: {opened} connections in {:?}", start.elapsed());
            let told = take_warnings();
            let of_state: Vec<_> = told.iter().filter(|line| line.contains("refuses requests: ")).collect();
            assert!(of_state.len() == 1 && told.len() <= 2, "{code}: {told:?}");
            assert!(of_state[0].contains(code) || code == "NOPERM" && of_state[0].contains("can't run"), "{told:?}");
            State::change(&redis, end);
            let mut told = Vec::new();
            until(|| {
                let _ = save_new(&manager, "x");
                told.extend(take_warnings());
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
    // A save would wait for a replica.
    let redis = Redis::start();
    let store = RedisStore::new(&format!("{}?wait_replicas=1", redis.url())).unwrap();
    let call = Call::until(Deadline::after(Duration::from_secs(1))).unwrap();
    assert_eq!(store.check_writes("mps", &call).unwrap_err().kind(), StoreErrorKind::Timeout);
    // One node of a cluster refuses saves.
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
    in_own_process(|| {
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
            take_warnings();
            let retries = manager.stats().retries;
            if reads {
                assert_eq!(manager.load(&header).unwrap().keys(), ["user"]);
            } else {
                save_new(&manager, "x").unwrap();
            }
            let told = take_warnings();
            assert!(told.len() == 1 && told[0].contains("leads to another node now"), "{told:?}");
            assert!(told[0].contains("READONLY"), "{told:?}");
            let (commands, _) = primary.redis.commands(|| {
                for _ in 0..5 {
                    manager.load(&header).unwrap();
                    save_new(&manager, "x").unwrap();
                }
            });
            let asked = commands.iter().any(|command| ["evalsha", "hgetall"].contains(&&**command));
            assert!(!asked, "the old one is left: {commands:?}");
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
            let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| save_new(&manager, "x"))).collect();
            calls.into_iter().for_each(|call| drop(call.join().unwrap().unwrap()));
        });
    };
    // All connections are open when their server becomes a replica.
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
    in_own_process(|| {
        const LOADS: u64 = 200;
        collect(LevelFilter::Info);
        for State { code, begin, end } in &STATES[..3] {
            let (redis, proxy, url) = with_user();
            let manager = builder(&url).refresh(Refresh::EveryLoad).build().unwrap();
            let header = session_with(&manager, &[("user", "ada")]);
            take_warnings();
            let (before, start) = (proxy.accepted(), Instant::now());
            State::change(&redis, begin);
            for _ in 0..LOADS {
                assert_eq!(manager.load(&header).unwrap().keys(), ["user"], "{code}");
            }
            let opened = u128::from(proxy.accepted() - before);
            assert!(opened <= 6 + start.elapsed().as_millis() / 250, "{code}: {opened} connections");
            // A full memory does not refuse a refresh, which adds nothing.
            let refused = if *code == "OOM" { 0 } else { LOADS };
            assert_eq!(manager.stats().refused_refreshes, refused, "{code}");
            assert_eq!(manager.stats().errors.len(), 0);
            let told = take_warnings();
            assert_eq!(told.len(), usize::from(refused > 0), "{code}: {told:?}");
            assert!(told.iter().all(|line| line.contains("refuses requests: ") && line.contains(code)), "{told:?}");
            State::change(&redis, end);
            // Loads alone notice that it is over.
            until(|| {
                manager.load(&header).unwrap();
                told.is_empty() || take_warnings().iter().any(|line| line.contains("no longer refuses requests"))
            });
        }
    });
}

#[test]
fn a_server_that_an_address_has_left_is_left_though_it_lives() {
    let (old, new) = (Redis::start(), Redis::start());
    let proxy = Proxy::start(old.socket());
    let manager = manager(&format!("{}?max_lifetime=1", proxy.url()));
    save_new(&manager, "x").unwrap();
    proxy.lead_to(new.socket());
    until(|| {
        save_new(&manager, "x").unwrap();
        !new.keys().is_empty()
    });
    let (before, stats) = (old.keys().len(), manager.stats());
    for _ in 0..10 {
        save_new(&manager, "x").unwrap();
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
