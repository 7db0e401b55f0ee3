//! A cluster whose slots are being moved.

use crate::support::cluster::Cluster;
use crate::support::fork::{Signals, child, in_own_process};
use crate::support::redis::record_key;
use crate::support::{builder, kind, login, manager, public_id, session_with, until, with_timeout};
use multi_process_session::{Refresh, StoreErrorKind};
use nix::sys::signal::{Signal, kill};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn a_moved_slot_is_followed_and_one_on_the_move_asked_for() {
    let cluster = Cluster::start(2);
    let manager = manager(&cluster.url());
    manager.ping().unwrap();
    for _ in 0..4 {
        let header = session_with(&manager, &[("a", "1")]);
        let key = record_key(&manager, &header);
        let (slot, (from, to)) = (cluster.slot_of(&key), cluster.node_of_and_another(&key));
        let write = |value: u32| {
            let mut session = manager.load(&header).unwrap();
            assert!(!session.is_new());
            session.set("a", &value).unwrap();
            session.increment("count", 1).unwrap();
            session.save().unwrap();
        };
        Cluster::begin_to_move(slot, from, to);
        write(2); // The record is still there.
        Cluster::move_keys(slot, from, to);
        write(3); // The record is gone, and the slot is still there.
        cluster.end_to_move(slot, to);
        write(4);
        // A node that does not know the scripts yet gets them in full, whether it serves the slot or only asks for it.
        to.redis.run::<()>(&["SCRIPT", "FLUSH"]);
        Cluster::begin_to_move(slot, to, from);
        Cluster::move_keys(slot, to, from);
        from.redis.run::<()>(&["SCRIPT", "FLUSH"]);
        write(5);
        cluster.end_to_move(slot, from);
        assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(4));
        // From then on all scripts are sent to the right node.
        manager.load(&header).unwrap();
        let before = cluster.requests();
        manager.load(&header).unwrap();
        assert_eq!(cluster.requests() - before, 1);
    }
}

#[test]
fn while_a_slot_moves_the_sessions_of_a_user_work_as_long_as_their_keys_are_on_one_node() {
    let cluster = Cluster::start(2);
    let manager = builder(&cluster.url()).operation_timeout(Duration::from_secs(5)).build().unwrap();
    let every_load = builder(&cluster.url()).refresh(Refresh::EveryLoad).build().unwrap();
    for (user, has_values) in [("ada", false), ("grace", true)] {
        let header = login(&manager, user);
        let group = manager.group(user);
        if has_values {
            group.set_value("role", "admin").unwrap();
        }
        let role = has_values.then_some("admin");
        let id = public_id(&manager, &header);
        let key = cluster.records().into_iter().find(|key| key.ends_with(&format!("}}:{id}"))).unwrap();
        let (slot, (from, to)) = (cluster.slot_of(&key), cluster.node_of_and_another(&key));
        let works = || {
            let mut session = manager.load(&header).unwrap();
            assert_eq!(session.group_value::<String>("role").unwrap().as_deref(), role);
            session.increment("count", 1).unwrap();
            session.save().unwrap();
            assert_eq!(manager.peek(&header).unwrap().group_value::<String>("role").unwrap().as_deref(), role);
            assert_eq!(group.value::<String>("role").unwrap().as_deref(), role);
            assert_eq!((group.len().unwrap(), group.sessions().unwrap().len()), (1, 1));
            assert!(session.to_handle().unwrap().is_alive().unwrap());
        };
        works();
        Cluster::begin_to_move(slot, from, to);
        works();
        if has_values {
            assert!(!every_load.load(&header).unwrap().is_new());
        }
        let values = format!("{}:values", key.rsplit_once(':').unwrap().0);
        if has_values {
            // Only this key has moved yet.
            let to_port = to.port.to_string();
            from.redis.run::<()>(&["MIGRATE", "127.0.0.1", &to_port, "", "0", "5000", "KEYS", &values]);
            let session = manager.load(&header).unwrap();
            assert_eq!(session.group_value::<String>("role").unwrap().as_deref(), role);
            assert_eq!(group.value::<String>("role").unwrap().as_deref(), role);
        }
        Cluster::move_keys(slot, from, to);
        let session = manager.load(&header).unwrap();
        assert_eq!(session.group_value::<String>("role").unwrap().as_deref(), role);
        cluster.end_to_move(slot, to);
        works();
        let _ = manager.destroy(&header).unwrap();
    }
}

#[test]
fn slots_move_under_load_and_nothing_is_lost() {
    in_own_process(|| {
        let cluster = Cluster::start(3);
        let manager = manager(&cluster.url());
        manager.ping().unwrap();
        let headers: Vec<String> = (0..12).map(|_| session_with(&manager, &[("a", "1")])).collect();
        let user = login(&manager, "ada");
        let (ready, stop) = (Signals::new(), [Signals::new(), Signals::new(), Signals::new()]);
        let guard = manager.before_fork();
        let workers: Vec<_> = stop
            .iter()
            .map(|stop| {
                child(|| {
                    let stopped = AtomicBool::new(false);
                    std::thread::scope(|scope| {
                        scope.spawn(|| {
                            stop.wait();
                            stopped.store(true, Ordering::Relaxed);
                        });
                        let mut rounds = 0;
                        while !stopped.load(Ordering::Relaxed) {
                            for header in headers.iter().chain([&user]) {
                                let mut session = manager.load(&**header).unwrap();
                                session.increment("count", 1).unwrap();
                                session.save().unwrap();
                            }
                            rounds += 1;
                            if rounds == 3 {
                                ready.send();
                            }
                        }
                        rounds.to_string()
                    })
                })
            })
            .collect();
        drop(guard);
        stop.iter().for_each(|_| ready.wait());
        let mut keys = cluster.records();
        keys.extend(cluster.keys().into_iter().filter(|key| key.ends_with('}')));
        for _ in 0..2 {
            for key in &keys {
                let slot = cluster.slot_of(key);
                let from = cluster.nodes.iter().position(|node| node.port == cluster.node_of(key).port).unwrap();
                cluster.move_slot(slot, &cluster.nodes[from], &cluster.nodes[(from + 1) % 3]);
            }
        }
        stop.iter().for_each(Signals::send);
        let rounds: u32 = workers.into_iter().map(|worker| worker.join().parse::<u32>().unwrap()).sum();
        for header in headers.iter().chain([&user]) {
            assert_eq!(manager.load(&**header).unwrap().get("count").unwrap(), Some(rounds));
        }
    });
}

#[test]
fn nodes_that_are_to_be_called_by_names_which_nobody_gave_them_are_found() {
    let cluster = Cluster::start(2);
    let hostname = ["CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname"];
    for node in &cluster.nodes {
        if node.redis.try_run::<()>(&hostname).is_err() {
            return; // Before Redis 7 nodes have no names.
        }
    }
    let manager = manager(&cluster.url());
    manager.ping().unwrap();
    let header = session_with(&manager, &[("a", "1")]);
    let key = record_key(&manager, &header);
    let (slot, (from, to)) = (cluster.slot_of(&key), cluster.node_of_and_another(&key));
    Cluster::begin_to_move(slot, from, to);
    Cluster::move_keys(slot, from, to);
    cluster.end_to_move(slot, to);
    assert!(!manager.load(&header).unwrap().is_new());
}

#[test]
fn a_silent_node_that_a_request_is_sent_on_to_is_a_timeout() {
    let cluster = Cluster::start(2);
    let patient = manager(&cluster.url());
    let manager = with_timeout(&cluster.url(), Duration::from_millis(500));
    let header = session_with(&patient, &[("a", "1")]);
    until(|| manager.load(&header).is_ok());
    let key = record_key(&patient, &header);
    let (slot, (from, to)) = (cluster.slot_of(&key), cluster.node_of_and_another(&key));
    Cluster::begin_to_move(slot, from, to);
    Cluster::move_keys(slot, from, to);
    kill(to.redis.pid(), Signal::SIGSTOP).unwrap();
    assert_eq!(kind(manager.load(&header)), StoreErrorKind::Timeout);
    kill(to.redis.pid(), Signal::SIGCONT).unwrap();
}
