//! A manager and its fork: each process has connections and random numbers of its own.

use crate::support::fork::{
    Lines, Signals, child, children, each_process_has_sockets_of_its_own, in_own_process, open_sockets,
};
use crate::support::place::Place;
use crate::support::redis::Redis;
use crate::support::wait::StopOnDrop;
use crate::support::{builder, kind, manager, session_with, until, with_timeout};
use multi_process_session::{Error, SessionManager, StoreErrorKind};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{Uid, getuid, setuid};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[test]
fn children_of_a_warm_parent_never_make_the_same_token() {
    in_own_process(|| {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        session_with(&manager, &[("warm", "yes")]);
        let said =
            children(8, |_| (0..200).map(|_| session_with(&manager, &[("a", "1")])).collect::<Vec<_>>().join("\n"));
        let tokens: BTreeSet<&str> = said.iter().flat_map(|text| text.lines()).collect();
        assert_eq!(tokens.len(), 8 * 200);
        assert_eq!(redis.keys().len(), 8 * 200 + 1);
    });
}

#[test]
fn a_manager_used_before_the_fork_is_every_processs_own_after_it() {
    in_own_process(|| {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        let headers: Vec<String> = (0..5).map(|who| session_with(&manager, &[("who", &who.to_string())])).collect();
        each_process_has_sockets_of_its_own(&manager, 4, |who| {
            for _ in 0..1200 {
                let session = manager.load(&headers[who]).expect("no error");
                assert_eq!(session.get::<String>("who").unwrap().expect("it is there"), who.to_string());
            }
        });
    });
}

#[test]
fn a_busy_parent_forks_under_a_guard() {
    in_own_process(|| {
        let redis = Redis::start();
        // There are fewer connections than threads, so some threads always wait in the pool.
        let manager = builder(&redis.url()).pool_size(2).build().unwrap();
        let headers: Vec<String> = (0..5).map(|who| session_with(&manager, &[("who", &who.to_string())])).collect();
        let use_it = |who: usize| {
            let mut session = manager.load(&headers[who]).expect("no error");
            assert_eq!(session.get::<String>("who").unwrap().expect("it is there"), who.to_string());
            session.increment("uses", 1).unwrap();
            session.save().expect("no error");
        };
        let (stop, uses) = (AtomicBool::new(false), AtomicU32::new(0));
        thread::scope(|scope| {
            for who in 0..4 {
                let (use_it, stop, uses) = (&use_it, &stop, &uses);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        use_it(who);
                        uses.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let _stop = StopOnDrop(&stop);
            for round in 0..100 {
                // Before each fork all threads are at work again.
                let before = uses.load(Ordering::Relaxed);
                while uses.load(Ordering::Relaxed) < before + 4 {
                    thread::yield_now();
                }
                let guard = manager.before_fork();
                let forked = child(|| {
                    assert_eq!(open_sockets(), Vec::<String>::new(), "no call is under way, nothing is open");
                    drop(manager.before_fork()); // a child may fork again
                    use_it(4);
                    "right".to_owned()
                });
                drop(guard);
                assert_eq!(forked.join(), "right", "round {round}");
            }
        });
        let uses_by = |who: usize| manager.load(&headers[who]).unwrap().get::<u32>("uses").unwrap().unwrap();
        assert_eq!((0..4).map(uses_by).sum::<u32>(), uses.into_inner());
        assert_eq!(uses_by(4), 100);
    });
}

#[test]
fn a_guard_closes_what_is_open_and_holds_calls_back() {
    in_own_process(|| {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        let header = session_with(&manager, &[("a", "1")]);
        let guard = manager.before_fork();
        assert_eq!(open_sockets(), Vec::<String>::new());
        let answered = AtomicBool::new(false);
        thread::scope(|scope| {
            let call = scope.spawn(|| {
                let loaded = manager.load(&header).map(|session| session.len());
                answered.store(true, Ordering::SeqCst);
                loaded
            });
            // Whatever the thread does in the meantime, no answer can come.
            let forked = child(|| open_sockets().join(" "));
            assert_eq!(forked.join(), "", "nothing is inherited");
            assert!(!answered.load(Ordering::SeqCst));
            drop(guard);
            assert_eq!(call.join().unwrap().unwrap(), 1);
        });
    });
}

#[test]
fn a_parent_whose_first_call_is_under_way_forks_under_a_guard() {
    in_own_process(|| {
        let redis = Redis::start();
        let header = session_with(&manager(&redis.url()), &[("a", "1")]);
        // Rust's standard library holds a lock while a thread starts or ends, and a fork may copy that. So one thread
        // makes all calls, and the managers, which have threads too, are kept.
        let managers: Vec<SessionManager> = (0..50).map(|_| manager(&redis.url())).collect();
        let (next, calls) = mpsc::sync_channel::<&SessionManager>(0);
        thread::scope(|scope| {
            scope.spawn(|| calls.into_iter().for_each(|fresh| assert!(!fresh.load(&header).unwrap().is_new())));
            for fresh in &managers {
                next.send(fresh).unwrap();
                let guard = fresh.before_fork();
                let forked = child(|| fresh.load(&header).unwrap().is_new().to_string());
                drop(guard);
                assert_eq!(forked.join(), "false");
            }
            drop(next);
        });
    });
}

#[test]
fn guards_of_two_threads_do_not_wait_for_each_other() {
    let redis = Redis::start();
    let manager = with_timeout(&redis.url(), Duration::from_millis(200));
    let (one, two) = (manager.before_fork(), manager.before_fork());
    drop(one);
    assert!(manager.ping().is_err(), "the other one still holds calls back");
    thread::scope(|scope| drop(scope.spawn(|| drop(two)).join()));
    manager.ping().unwrap();
}

#[test]
fn what_the_parent_closes_is_closed_though_children_inherited_it() {
    in_own_process(|| {
        let redis = Redis::start();
        let manager = builder(&redis.url()).pool_size(1).build().unwrap();
        let clients = || redis.run::<String>(&["CLIENT", "LIST"]).lines().count();
        let alone = clients();
        let wait = Signals::new();
        let idle: Vec<_> = (0..5)
            .map(|_| {
                manager.ping().unwrap();
                let forked = child(|| {
                    wait.wait();
                    String::new()
                });
                drop(manager.before_fork());
                forked
            })
            .collect();
        until(|| clients() == alone);
        idle.iter().for_each(|_| wait.send());
        idle.into_iter().for_each(|child| drop(child.join()));
    });
}

#[test]
fn a_closed_connection_is_no_signal_and_a_missing_thread_no_panic() {
    in_own_process(|| {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        let said = child(|| {
            // SAFETY: this is the default action, so no handler of ours runs.
            unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl).unwrap() };
            manager.ping().unwrap();
            let _: i64 = redis.run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            manager.ping().map(|()| "fine".to_owned()).unwrap()
        });
        assert_eq!(said.join(), "fine");
        let said = child(|| {
            // The limit does not hold for root.
            if getuid().is_root() {
                setuid(Uid::from_raw(65534)).unwrap();
            }
            setrlimit(Resource::RLIMIT_NPROC, 0, 0).unwrap();
            match manager.ping() {
                Err(Error::Store(error)) => format!("{:?} {error}", error.kind()),
                other => format!("{other:?}"),
            }
        });
        assert!(said.join().starts_with("Backend the pool cannot start its thread"));
    });
}

#[test]
fn children_and_grandchildren_that_drop_the_manager_harm_nobody() {
    in_own_process(|| {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        let header = session_with(&manager, &[("a", "1")]);
        // This is the only handle: if a child takes it out of the cell and drops it, nothing of it is left.
        let only = Cell::new(Some(manager));
        let use_and_drop = || {
            let manager = only.take().expect("every process has its own cell");
            let values = manager.load(&header).expect("no error").len();
            drop(manager);
            values.to_string()
        };
        let said = child(|| {
            let grandchild = child(use_and_drop).join();
            grandchild + &use_and_drop()
        });
        assert_eq!(said.join(), "11");
        assert_eq!(child(|| only.take().is_some().to_string()).join(), "true", "unused");
        assert_eq!(use_and_drop(), "1");
    });
}

#[test]
fn memory_is_not_shared_with_a_forked_process() {
    crate::support::fork::in_own_process(|| {
        let manager = builder("memory:").build().unwrap();
        let header = session_with(&manager, &[("a", "1")]);
        let said = crate::support::fork::child(|| match manager.load(&header) {
            Err(Error::Store(error)) => format!("{:?}", error.kind()),
            other => format!("{other:?}"),
        });
        assert_eq!(said.join(), format!("{:?}", StoreErrorKind::Forked));
        assert_eq!(manager.load(&header).unwrap().keys(), ["a"]);
    });
}

#[test]
fn a_process_that_got_the_id_of_an_earlier_one_does_not_take_what_that_had_open_for_its_own() {
    in_own_process(|| {
        let (redis, sqlite) = (Place::redis(), Place::sqlite());
        let managers = [manager(&redis.url()), manager(&sqlite.url())];
        let headers = managers.each_ref().map(|manager| session_with(manager, &[("user", "ada")]));
        drop(managers);
        let managers = [manager(&redis.url()), manager(&sqlite.url())];
        let said = child(|| {
            // The next process that this one forks has a namespace of process ids of its own.
            let user = if getuid().is_root() { CloneFlags::empty() } else { CloneFlags::CLONE_NEWUSER };
            unshare(CloneFlags::CLONE_NEWPID | user).expect("this test needs root, or user namespaces to be allowed");
            child(|| reuse_the_id_of_a_process(&managers, &headers)).join()
        });
        assert_eq!(said.join(), "redis: fine, none inherited; sqlite: Forked; memory: Forked; 1 call");
    });
}

/// Runs as the first process of its namespace. A second process uses the managers, forks a daemon without a guard, and
/// ends. The daemon forks a worker, which gets the id of the second process.
fn reuse_the_id_of_a_process(managers: &[SessionManager; 2], headers: &[String; 2]) -> String {
    let mut lines = Lines::new();
    let gone = Signals::new();
    let first = child(|| {
        for (manager, header) in managers.iter().zip(headers) {
            assert!(!manager.load(&**header).unwrap().is_new());
        }
        let memory = manager("memory:");
        let inherited = open_sockets();
        child(|| {
            gone.wait();
            let mut tries = 0;
            loop {
                fs::write("/proc/sys/kernel/ns_last_pid", (second_id() - 1).to_string()).unwrap();
                let worker = child(|| {
                    if std::process::id() != second_id() {
                        return String::new();
                    }
                    let [redis, sqlite] = managers;
                    let redis = match redis.load(&headers[0]) {
                        Ok(session) if session.get::<String>("user").unwrap().is_some() => "fine",
                        _ => "wrong",
                    };
                    let own = open_sockets().iter().filter(|socket| !inherited.contains(socket)).count();
                    let told = [sqlite, &memory].map(|manager| kind(manager.ping()));
                    let none = if own == 1 { "none inherited" } else { "an inherited connection is used" };
                    let calls = managers[0].stats().calls;
                    format!("redis: {redis}, {none}; sqlite: {:?}; memory: {:?}; {calls} call", told[0], told[1])
                });
                let said = worker.join();
                tries += 1;
                if !said.is_empty() || tries > 100 {
                    lines.send(&said);
                    return String::new();
                }
            }
        });
        String::new()
    });
    assert_eq!(first.pid().as_raw() as u32, second_id());
    first.join();
    gone.send();
    lines.next()
}

/// The id of the second process of a namespace.
fn second_id() -> u32 {
    2
}
