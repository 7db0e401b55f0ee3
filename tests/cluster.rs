//! A Redis Cluster: redirections, slots on the move, lost nodes.

#![allow(missing_docs)]

mod support;

use log::LevelFilter;
use multi_process_session::{Error, Refresh, Session, SessionManager, StoreErrorKind};
use nix::sys::signal::{Signal, kill};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::cluster::{Cluster, Node, slot_of};
use support::fork::{Signals, child, in_own_process};
use support::log::{collect, lines};
use support::redis::rights;
use support::sick::{Act, Sick};
use support::tls::{Authority, path, silent};
use support::{builder, cookie, failure, fault, kind, manager, session_with, until};

fn login(manager: &SessionManager, header: Option<&str>) -> String {
    let mut session = manager.load(header).unwrap();
    session.set("user", "ada").unwrap();
    session.set_group_name("ada");
    cookie(&session.save().unwrap().unwrap())
}

/// How many scripts all nodes were asked to run so far, those that they sent elsewhere included.
fn scripts(cluster: &Cluster) -> usize {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<usize>().ok()).unwrap_or_default();
    let of_node = |node: &Node| {
        let info: String = node.redis.run(&["INFO", "commandstats"]);
        let lines = info.lines().filter(|line| line.starts_with("cmdstat_eval")).map(str::to_owned);
        lines
            .map(|line| {
                let value = |name: &str| number(line.split([':', ',']).find_map(|part| part.strip_prefix(name)));
                value("calls=") + value("rejected_calls=")
            })
            .sum::<usize>()
    };
    cluster.nodes.iter().map(of_node).sum()
}

/// How often the nodes were asked where the slots are.
fn maps_asked_for(cluster: &Cluster) -> usize {
    let of_node = |node: &Node| {
        let info: String = node.redis.run(&["INFO", "commandstats"]);
        let calls = info.lines().filter(|line| line.starts_with("cmdstat_cluster"));
        calls.filter_map(|line| line.split(['=', ',']).nth(1)?.parse::<usize>().ok()).sum::<usize>()
    };
    cluster.nodes.iter().map(of_node).sum()
}

/// The key of a session of no group.
fn key(manager: &SessionManager, header: &str) -> String {
    format!("mps:{}", manager.load(header).unwrap().public_id())
}

#[test]
fn a_request_makes_few_round_trips() {
    let cluster = Cluster::start(3);
    let manager = manager(&cluster.url());
    manager.ping().unwrap();
    // All nodes get to know all scripts.
    for number in 0..60 {
        let header = session_with(&manager, &[("a", "1")]);
        let mut session = manager.load(&header).unwrap();
        session.set("a", &2).unwrap();
        session.save().unwrap();
        session.regenerate();
        session.save().unwrap();
        session.set_group_name(&number.to_string());
        session.save().unwrap();
        manager.group(&number.to_string()).sessions().unwrap();
        manager.group(&number.to_string()).clear().unwrap();
    }
    for _ in 0..10 {
        let header = session_with(&manager, &[("a", "1")]);
        let count = |what: &str, expected: usize, request: &mut dyn FnMut()| {
            let before = scripts(&cluster);
            request();
            assert_eq!(scripts(&cluster) - before, expected, "{what}");
        };
        count("a read", 1, &mut || drop(manager.load(&header).unwrap()));
        count("read and write", 2, &mut || {
            let mut session = manager.load(&header).unwrap();
            session.set("a", &3).unwrap();
            session.save().unwrap();
        });
        let mut header = header.clone();
        // Prepare the new record, end the old one, bring the new one to life.
        count("a login", 4, &mut || header = login(&manager, Some(&header)));
        count("a new id in a group", 2, &mut || {
            let mut session = manager.load(&header).unwrap();
            session.regenerate();
            header = cookie(&session.save().unwrap().unwrap());
        });
        count("a list", 2, &mut || assert_eq!(manager.group("ada").sessions().unwrap().len(), 1));
        count("logout everywhere", 2, &mut || assert_eq!(manager.group("ada").clear().unwrap(), 1));
    }
}

#[test]
fn a_moved_slot_is_followed_and_one_on_the_move_asked_for() {
    let cluster = Cluster::start(2);
    let [one, two] = &cluster.nodes[..] else { unreachable!() };
    let manager = manager(&cluster.url());
    manager.ping().unwrap();
    for _ in 0..4 {
        let header = session_with(&manager, &[("a", "1")]);
        let key = key(&manager, &header);
        let (from, to) = if cluster.node_of(&key).port == one.port { (one, two) } else { (two, one) };
        let slot = slot_of(one, &key);
        let write = |value: u32| {
            let mut session = manager.load(&header).unwrap();
            assert!(!session.is_new());
            session.set("a", &value).unwrap();
            session.increment("count", 1).unwrap();
            session.save().unwrap();
        };
        Cluster::begin_to_move(slot, from, to);
        write(2); // It is there still.
        Cluster::move_keys(slot, from, to);
        write(3); // It is gone, and the slot is not.
        cluster.end_to_move(slot, to);
        write(4);
        // The scripts that the other node does not know yet are sent to it in full, asked for or not.
        to.redis.run::<()>(&["SCRIPT", "FLUSH"]);
        Cluster::begin_to_move(slot, to, from);
        Cluster::move_keys(slot, to, from);
        from.redis.run::<()>(&["SCRIPT", "FLUSH"]);
        write(5);
        cluster.end_to_move(slot, from);
        assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(4));
        // From then on nothing is sent the wrong way.
        manager.load(&header).unwrap();
        let before = scripts(&cluster);
        manager.load(&header).unwrap();
        assert_eq!(scripts(&cluster) - before, 1);
    }
}

#[test]
fn slots_move_under_load_and_nothing_is_lost() {
    in_own_process("slots_move_under_load_and_nothing_is_lost", || {
        let cluster = Cluster::start(3);
        let manager = builder(&cluster.url()).operation_timeout(Duration::from_secs(20)).build().unwrap();
        manager.ping().unwrap();
        let headers: Vec<String> = (0..12).map(|_| session_with(&manager, &[("a", "1")])).collect();
        let user = login(&manager, None);
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
                let slot = slot_of(&cluster.nodes[0], key);
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
fn a_lost_node_is_replaced_by_its_replica() {
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        let mut cluster = Cluster::start(3);
        cluster.add_replicas();
        serve_what_is_left(&cluster);
        let limit = Duration::from_millis(800);
        let manager = builder(&cluster.url()).operation_timeout(limit).build().unwrap();
        let headers: Vec<String> = (0..30).map(|_| session_with(&manager, &[("a", "1")])).collect();
        let keys: Vec<String> = headers.iter().map(|header| key(&manager, header)).collect();
        let lost = &cluster.nodes[0];
        let on_lost: Vec<bool> = keys.iter().map(|key| cluster.node_of(key).port == lost.port).collect();
        assert!(on_lost.contains(&true) && on_lost.contains(&false));
        until(|| {
            let acknowledged = lost.redis.run::<i64>(&["WAIT", "1", "100"]);
            acknowledged == 1
        });
        kill(lost.redis.pid(), signal).unwrap();
        // The others go on, and whoever asks for what is lost is told so in time.
        let mut failures = 0;
        for (header, on_lost) in headers.iter().zip(&on_lost) {
            let start = Instant::now();
            let answer = manager.load(&**header);
            assert!(start.elapsed() < limit * 3, "{signal}: {:?}", start.elapsed());
            match answer {
                Ok(session) => assert!(!session.is_new()),
                Err(Error::Store(error)) => {
                    assert!(on_lost, "{signal}: a node that is well: {error}");
                    assert!(matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Timeout), "{error}");
                    failures += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(failures > 0, "{signal}");
        let is_back = |header: &String| manager.load(&**header).is_ok_and(|session| !session.is_new());
        until(|| headers.iter().all(is_back));
        let mut session = manager.load(&headers[0]).unwrap();
        session.set("a", &2).unwrap();
        session.save().unwrap();
        manager.ping().unwrap();
        let _ = kill(lost.redis.pid(), Signal::SIGCONT);
    }
}

#[test]
fn the_log_is_told_of_the_end_also_where_a_node_is_replaced() {
    in_own_process("the_log_is_told_of_the_end_also_where_a_node_is_replaced", || {
        let mut cluster = Cluster::start(3);
        cluster.add_replicas();
        serve_what_is_left(&cluster);
        // The lost node is in the URL of the one, and not in that of the other.
        let few = format!("redis-cluster://127.0.0.1:{}", cluster.nodes[1].port);
        let managers = [cluster.url(), few]
            .map(|url| builder(&url).operation_timeout(Duration::from_millis(800)).build().unwrap());
        let headers: Vec<String> = (0..30).map(|_| session_with(&managers[0], &[("a", "1")])).collect();
        managers[1].ping().unwrap();
        let lost = &cluster.nodes[0];
        until(|| lost.redis.run::<i64>(&["WAIT", "1", "100"]) == 1);
        collect(LevelFilter::Warn);
        kill(lost.redis.pid(), Signal::SIGKILL).unwrap();
        let name = format!("redis://127.0.0.1:{} ", lost.port);
        let mut told = Vec::new();
        let count = |told: &[String], words: &str| told.iter().filter(|line| line.contains(words)).count();
        until(|| {
            for header in &headers {
                managers.iter().for_each(|manager| drop(manager.load(&**header)));
            }
            told.extend(lines());
            count(&told, &format!("{name}cannot be used")) == 2
                && count(&told, "cannot be used")
                    == count(&told, "can be used again") + count(&told, "is not asked any more")
        });
        assert_eq!(count(&told, &format!("{name}is not asked any more: it is not a primary")), 2, "{told:?}");
    });
}

/// Lets no script use this command, such as `-hexists`, or lets all do so again: `+hexists`.
fn permit(cluster: &Cluster, command: &str) {
    for node in &cluster.nodes {
        node.redis.run::<()>(&["ACL", "SETUSER", "default", command]);
    }
}

/// Saves a new id, which is not brought to life: that takes a command which nothing else here needs.
fn break_off(cluster: &Cluster, session: &mut Session) {
    permit(cluster, "-hexists");
    fault(session.save());
    permit(cluster, "+hexists");
}

#[test]
fn a_new_id_that_is_asked_for_again_after_a_fault_loses_no_write_of_another_request() {
    let cluster = Cluster::start(3);
    let manager = manager(&cluster.url());
    let set = |header: &str| {
        let mut session = manager.load(header).unwrap();
        session.set("other", "acknowledged").unwrap();
        session.increment("count", 1).unwrap();
        session.save().unwrap();
    };
    // Between load and save, and by the old id while the new one is not brought to life yet.
    for with_grace in [false, true] {
        let header = session_with(&manager, &[("other", "old")]);
        let mut session = manager.load(&header).unwrap();
        session.set("mine", &1).unwrap();
        match with_grace {
            true => session.regenerate_with_grace(Duration::from_secs(60)),
            false => session.regenerate(),
        }
        set(&header);
        break_off(&cluster, &mut session);
        if with_grace {
            set(&header);
        }
        let new = cookie(&session.save().unwrap().expect("a new id needs a cookie"));
        let session = manager.load(&new).unwrap();
        assert_eq!(session.get::<String>("other").unwrap().as_deref(), Some("acknowledged"));
        assert_eq!(session.get("mine").unwrap(), Some(1));
        assert_eq!(session.get("count").unwrap(), Some(1 + u32::from(with_grace)));
        assert_eq!(manager.load(&header).unwrap().is_new(), !with_grace, "the old id");
    }
}

#[test]
fn a_save_that_was_made_before_is_known_while_a_new_id_is_only_prepared() {
    let cluster = Cluster::start(3);
    let manager = manager(&cluster.url());
    let header = session_with(&manager, &[("a", "1")]);
    let mut session = manager.load(&header).unwrap();
    session.increment("count", 1).unwrap();
    session.set_idle_timeout(Duration::from_secs(1000));
    // A fault that comes when all but the expiry is written.
    permit(&cluster, "-pexpireat");
    fault(session.save());
    permit(&cluster, "+pexpireat");
    assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(1));
    // Another request's new id, which is not brought to life.
    let mut other = manager.load(&header).unwrap();
    other.regenerate_with_grace(Duration::from_secs(60));
    break_off(&cluster, &mut other);
    session.save().unwrap();
    assert_eq!(session.get("count").unwrap(), Some(1));
    let new = cookie(&other.save().unwrap().expect("a new id needs a cookie"));
    assert_eq!(manager.load(&new).unwrap().get("count").unwrap(), Some(1));
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
    let [one, two] = &cluster.nodes[..] else { unreachable!() };
    let header = session_with(&manager, &[("a", "1")]);
    let key = key(&manager, &header);
    let (from, to) = if cluster.node_of(&key).port == one.port { (one, two) } else { (two, one) };
    let slot = slot_of(one, &key);
    Cluster::begin_to_move(slot, from, to);
    Cluster::move_keys(slot, from, to);
    cluster.end_to_move(slot, to);
    assert!(!manager.load(&header).unwrap().is_new());
}

#[test]
fn a_logout_between_the_steps_of_a_new_id_holds() {
    let cluster = Cluster::start(3);
    let manager = manager(&cluster.url());
    let header = session_with(&manager, &[("a", "1")]);
    let mut session = manager.load(&header).unwrap();
    session.regenerate_with_grace(Duration::from_secs(60));
    break_off(&cluster, &mut session);
    assert!(!manager.load(&header).unwrap().is_new(), "the old id leads to it already");
    let _ = manager.destroy(&header).unwrap();
    assert!(matches!(session.save(), Err(Error::Gone)));
    assert!(manager.load(&header).unwrap().is_new());
}

#[test]
fn a_fork_waits_for_all_steps_of_a_new_id() {
    const ROUNDS: u64 = 8;
    let cluster = Cluster::start(3);
    let unhindered = manager(&cluster.url());
    let manager = builder(&cluster.url()).operation_timeout(Duration::from_millis(700)).build().unwrap();
    let ((tell, told), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
    std::thread::scope(|scope| {
        let (manager, unhindered) = (&manager, &unhindered);
        let worker = scope.spawn(move || {
            let mut held_back = 0;
            while held_back < ROUNDS {
                let header = session_with(unhindered, &[("a", "1")]);
                let login = manager.load(&header).and_then(|mut session| {
                    session.set_group_name("ada");
                    session.save()
                });
                let Err(error) = login else { continue };
                // On a busy machine it may be something else that takes too long.
                if error.to_string().contains("ForkGuard") {
                    assert!(!unhindered.load(&header).unwrap().is_new(), "logged out half way");
                }
                held_back += 1;
                tell.send(()).unwrap();
                may_go_on.recv().unwrap();
            }
        });
        for round in 0..ROUNDS {
            // In the midst of a login: at its first request, its second, and so on.
            let before = manager.stats().round_trips;
            while manager.stats().round_trips <= before + round % 4 && !worker.is_finished() {
                std::hint::spin_loop();
            }
            let guard = manager.before_fork();
            told.recv_timeout(Duration::from_secs(30)).unwrap();
            drop(guard);
            go_on.send(()).unwrap();
        }
    });
}

#[test]
fn what_is_only_prepared_lives_for_as_long_as_the_call_may_take() {
    let cluster = Cluster::start(3);
    for timeout in [5, 200] {
        let manager = builder(&cluster.url())
            .operation_timeout(Duration::from_secs(timeout))
            .refresh(Refresh::EveryLoad)
            .build()
            .unwrap();
        let header = session_with(&manager, &[("a", "1")]);
        let mut session = manager.load(&header).unwrap();
        session.regenerate_with_grace(Duration::from_secs(60));
        break_off(&cluster, &mut session);
        // Whoever reaches it by the old id does not keep it.
        let mut other = manager.load(&header).unwrap();
        other.set_idle_timeout(Duration::from_secs(1000));
        other.save().unwrap();
        let is_prepared = |key: &String| cluster.node_of(key).redis.run::<bool>(&["HEXISTS", key, "p"]);
        let prepared = cluster.records().into_iter().find(is_prepared).unwrap();
        let lives = || cluster.node_of(&prepared).redis.run::<u64>(&["PTTL", &prepared]) / 1000;
        let most = timeout.max(60);
        assert!((most - 10..=most).contains(&lives()), "{timeout}: {}", lives());
        session.save().unwrap();
        assert!((990..=1010).contains(&lives()), "{timeout}: {}", lives());
        let _ = manager.destroy(&header).unwrap();
    }
}

#[test]
fn a_full_memory_does_not_break_a_new_id_off_at_its_last_step() {
    let cluster = Cluster::start(3);
    let manager = manager(&cluster.url());
    let header = session_with(&manager, &[("a", "1")]);
    let mut session = manager.load(&header).unwrap();
    session.set_group_name("ada");
    break_off(&cluster, &mut session);
    for node in &cluster.nodes {
        node.redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    }
    let new = cookie(&session.save().unwrap().expect("a new id needs a cookie"));
    assert_eq!(manager.load(&new).unwrap().keys(), ["a"]);
}

#[test]
fn a_new_id_that_is_refused_leaves_nothing_in_the_way_of_the_next_save() {
    let cluster = Cluster::start(3);
    let manager = manager(&cluster.url());
    let header = session_with(&manager, &[("a", "1")]);
    let mut session = manager.load(&header).unwrap();
    session.increment("count", 1).unwrap();
    session.set_group_name("ada");
    let mut other = manager.load(&header).unwrap();
    other.set("count", "text").unwrap();
    other.save().unwrap();
    assert!(matches!(session.save(), Err(Error::NotAnInteger { .. })));
    session.remove("count");
    let new = cookie(&session.save().unwrap().expect("a new id needs a cookie"));
    assert_eq!(manager.load(&new).unwrap().keys(), ["a"]);
}

/// What the scripts do if the steps of two attempts at one new id, and a logout by the old one in its grace, come in
/// this order: no test can make the network so late.
#[test]
fn a_new_id_that_is_prepared_again_after_a_logout_does_not_come_to_life() {
    macro_rules! script {
        ($name:literal) => {
            concat!(
                include_str!("../src/store/redis/scripts/prelude.lua"),
                include_str!("../src/store/redis/scripts/shared/record.lua"),
                include_str!("../src/store/redis/scripts/shared/change.lua"),
                include_str!("../src/store/redis/scripts/shared/group.lua"),
                include_str!(concat!("../src/store/redis/scripts/", $name, ".lua"))
            )
        };
    }
    let redis = support::redis::Redis::start();
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("a", "1")]);
    let (old, id) = (key(&manager, &header), "A".repeat(24));
    let new = format!("mps:{id}");
    let run = |script: &str, key: &str, arguments: &[&str]| -> String {
        let reply: redis::Value = redis.run(&[&["EVAL", script, "2", "mps:generation", key], arguments].concat());
        let words: Vec<redis::Value> = redis::from_redis_value(reply).unwrap();
        redis::from_redis_value(words[1].clone()).unwrap()
    };
    let prepare = || {
        let arguments = ["nonce001", "2", "1", "", "9999999", "0", "1", "3", "60000", "0", "", "1", ":a", "1"];
        run(script!("handover_prepare"), &new, &arguments)
    };
    let settings = ["60000", "9999999", ""];
    let end = || {
        let arguments = [&["nonce001"][..], &settings, &["1", "20000", "60000", &id, "60000"]].concat();
        run(script!("handover_end"), &old, &arguments)
    };
    assert_eq!((prepare(), end()), ("ok".to_owned(), "ok".to_owned()));
    assert!(!manager.load(&header).unwrap().is_new(), "the old id leads to it already");
    for _ in 0..2 {
        let _ = manager.destroy(&header).unwrap();
    }
    assert_eq!((prepare(), end()), ("gone".to_owned(), "ok".to_owned()));
    let no_nonces = ["4", "", "", "", ""];
    let arguments = [&["nonce001"][..], &settings, &["0", "", "60000", "0", "1", ""], &no_nonces, &["0"]].concat();
    assert_eq!(run(script!("handover_activate"), &new, &arguments), "gone");
    assert!(manager.load(&header).unwrap().is_new());
}

#[test]
fn no_login_takes_a_session_past_the_end_of_all_of_them() {
    let cluster = Cluster::start(3);
    let manager = manager(&cluster.url());
    for _ in 0..5 {
        let sessions: Vec<Session> =
            (0..200).map(|_| manager.load(&session_with(&manager, &[("a", "1")])).unwrap()).collect();
        let begun = AtomicUsize::new(0);
        let log_in = |mut session: Session| {
            begun.fetch_add(1, Ordering::Relaxed);
            session.set_group_name("ada");
            match session.save() {
                Ok(set_cookie) => Some(cookie(&set_cookie.unwrap())),
                Err(Error::Gone) => None,
                Err(error) => panic!("{error}"),
            }
        };
        let new: Vec<String> = std::thread::scope(|scope| {
            let logins = scope.spawn(|| sessions.into_iter().filter_map(log_in).collect());
            until(|| begun.load(Ordering::Relaxed) > 10);
            manager.destroy_every_session().unwrap();
            logins.join().unwrap()
        });
        assert!(new.iter().all(|header| manager.load(&**header).unwrap().is_new()));
        assert_eq!(manager.group("ada").len().unwrap(), 0);
    }
}

#[test]
fn no_session_outlives_the_end_of_all_of_them_by_moving_on_and_on() {
    let cluster = Cluster::start(3);
    let manager = manager(&cluster.url());
    for _ in 0..8 {
        let stop = AtomicBool::new(false);
        let moves = AtomicUsize::new(0);
        let move_on = |header: String| {
            let mut headers = vec![header];
            for turn in 0.. {
                let mut session = manager.load(headers.last().unwrap().as_str()).unwrap();
                if session.is_new() || stop.load(Ordering::Relaxed) {
                    break;
                }
                match turn % 3 {
                    0 => session.set_group_name("ada"),
                    1 => session.leave_group(),
                    _ => session.regenerate(),
                }
                match session.save() {
                    Ok(set_cookie) => headers.push(cookie(&set_cookie.unwrap())),
                    Err(Error::Gone) => break,
                    Err(error) => panic!("{error}"),
                }
                moves.fetch_add(1, Ordering::Relaxed);
            }
            headers
        };
        let starts: Vec<String> = (0..6).map(|_| session_with(&manager, &[("a", "1")])).collect();
        let headers: Vec<String> = std::thread::scope(|scope| {
            let movers: Vec<_> = starts.into_iter().map(|header| scope.spawn(|| move_on(header))).collect();
            until(|| moves.load(Ordering::Relaxed) > 20);
            manager.destroy_every_session().unwrap();
            stop.store(true, Ordering::Relaxed);
            movers.into_iter().flat_map(|mover| mover.join().unwrap()).collect()
        });
        let alive = headers.iter().filter(|header| !manager.load(header.as_str()).unwrap().is_new());
        assert_eq!(alive.count(), 0);
        assert_eq!(manager.group("ada").len().unwrap(), 0);
        // And who comes afterwards moves as before.
        let mut session = manager.load(&session_with(&manager, &[("a", "1")])).unwrap();
        session.set_group_name("ada");
        assert!(!manager.load(&cookie(&session.save().unwrap().unwrap())).unwrap().is_new());
    }
}

#[test]
fn a_damaged_group_is_found_before_the_session_is_ended() {
    let cluster = Cluster::start(3);
    let manager = manager(&cluster.url());
    login(&manager, None);
    let joined = cluster.keys().into_iter().find(|key| key.ends_with(":joined")).unwrap();
    let node = cluster.node_of(&joined);
    node.redis.run::<i64>(&["DEL", &joined]);
    node.redis.run::<()>(&["SET", &joined, "something else", "EX", "100"]);
    let header = session_with(&manager, &[("a", "1")]);
    let mut session = manager.load(&header).unwrap();
    session.set_group_name("ada");
    assert_eq!(kind(session.save()), StoreErrorKind::Corrupt);
    assert_eq!(manager.load(&header).unwrap().keys(), ["a"]);
}

#[test]
fn a_missing_replica_keeps_no_new_id_from_coming_to_life() {
    let cluster = Cluster::start(2);
    let url = format!("{}?wait_replicas=1", cluster.url());
    let waiting = builder(&url).operation_timeout(Duration::from_secs(4)).build().unwrap();
    let manager = manager(&cluster.url());
    let mut session = waiting.load(&session_with(&manager, &[("a", "1")])).unwrap();
    session.set_group_name("ada");
    assert_eq!(kind(session.save()), StoreErrorKind::Timeout);
    assert_eq!(manager.group("ada").len().unwrap(), 1, "the change was made");
    // The nodes are well, so nobody asks where the slots are.
    let before = maps_asked_for(&cluster);
    let mut new = waiting.load(None).unwrap();
    new.set("a", &1).unwrap();
    assert_eq!(kind(new.save()), StoreErrorKind::Timeout);
    assert_eq!(maps_asked_for(&cluster), before);
}

/// A node that is cut off from the others: it takes itself for the one of all slots up to this one, and serves none.
fn cut_off(last: u16) -> Sick {
    let sick = Sick::tcp();
    let port: u16 = sick.url().rsplit(':').next().unwrap().parse().unwrap();
    sick.answer(move |request| match &*request.name() {
        "CLUSTER" => {
            vec![Act::Say(format!("*1\r\n*3\r\n:0\r\n:{last}\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n").into_bytes())]
        }
        _ => vec![Act::Say(b"-CLUSTERDOWN The cluster is down\r\n".to_vec())],
    });
    sick
}

/// `DELSLOTS` or `ADDSLOTS` of the second half of all slots.
fn change_second_half(node: &Node, command: &str) -> bool {
    let slots: Vec<String> = (8192..16384).map(|slot: u16| slot.to_string()).collect();
    let words = ["CLUSTER", command].into_iter().chain(slots.iter().map(String::as_str));
    node.redis.try_run::<()>(&words.collect::<Vec<_>>()).is_ok()
}

/// Nodes go on also where some slots are nobody's, and while those of a lost node are.
fn serve_what_is_left(cluster: &Cluster) {
    for node in &cluster.nodes {
        node.redis.run::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
}

/// Nobody has the second half of all slots any more, and the first is served all the same.
fn lose_second_half(cluster: &Cluster) {
    serve_what_is_left(cluster);
    // Each node may tell the other once more that it has them, before it hears that it has not.
    until(|| {
        for node in &cluster.nodes {
            change_second_half(node, "DELSLOTS");
        }
        cluster.nodes.iter().all(|node| node.info("cluster_slots_assigned:8192"))
    });
}

#[test]
fn a_node_that_knows_less_than_others_is_not_believed() {
    let cluster = Cluster::start(2);
    let host = |cut_off: &Sick| cut_off.url().strip_prefix("redis://").unwrap().to_owned();
    let patient = |url: &str| builder(url).operation_timeout(Duration::from_secs(5)).build().unwrap();
    let before = |cut_off: &Sick| patient(&cluster.url().replace("://", &format!("://{},", host(cut_off))));
    let after = |cut_off: &Sick| patient(&format!("{},{}", cluster.url(), host(cut_off)));
    let mut headers = Vec::new();
    for last in [0, 16383] {
        let cut_off = cut_off(last);
        let manager = before(&cut_off);
        headers.extend((0..20).map(|_| session_with(&manager, &[("a", "1")])));
    }
    // Nor is one that claims to know as much.
    let unhindered = manager(&cluster.url());
    headers.retain(|header| slot_of(&cluster.nodes[0], &key(&unhindered, header)) < 8192);
    lose_second_half(&cluster);
    let cut_off = cut_off(8191);
    for manager in [before(&cut_off), after(&cut_off)] {
        for header in &headers {
            assert!(!manager.load(&**header).unwrap().is_new());
        }
    }
}

#[test]
fn where_no_node_gives_the_map_it_is_said_why() {
    let cluster = Cluster::start(2);
    for node in &cluster.nodes {
        node.redis.run::<()>(&["ACL", "SETUSER", "ada", "on", ">hunter2", "~*", "+@all", "-cluster"]);
    }
    let told = |login: &str, limit| {
        let url = cluster.url().replace("://", &format!("://{login}@"));
        let manager = builder(&url).operation_timeout(Duration::from_millis(limit)).build().unwrap();
        let (what, message) = failure(manager.ping());
        assert!(!message.contains("hunter"), "{message}");
        (what, message)
    };
    let (what, message) = told("ada:hunter3", 5000);
    assert!(what == StoreErrorKind::Rejected && message.contains("WRONGPASS"), "{message}");
    let (what, message) = told("ada:hunter2", 5000);
    assert!(what == StoreErrorKind::Rejected && message.contains("NOPERM"), "{message}");
    cluster.nodes.iter().for_each(|node| kill(node.redis.pid(), Signal::SIGSTOP).unwrap());
    let (what, message) = told("ada:hunter2", 500);
    cluster.nodes.iter().for_each(|node| kill(node.redis.pid(), Signal::SIGCONT).unwrap());
    assert!(what == StoreErrorKind::Timeout, "{message}");
}

#[test]
fn a_silent_node_of_the_url_leaves_time_to_ask_the_next() {
    let cluster = Cluster::start(2);
    let (_listener, silent) = silent();
    let url = cluster.url().replace("://", &format!("://127.0.0.1:{silent},"));
    let manager = builder(&url).operation_timeout(Duration::from_secs(3)).build().unwrap();
    manager.ping().unwrap();
    session_with(&manager, &[("a", "1")]);
}

#[test]
fn a_silent_node_that_a_request_is_sent_on_to_is_a_timeout() {
    let cluster = Cluster::start(2);
    let [one, two] = &cluster.nodes[..] else { unreachable!() };
    let patient = manager(&cluster.url());
    let manager = builder(&cluster.url()).operation_timeout(Duration::from_millis(500)).build().unwrap();
    let header = session_with(&patient, &[("a", "1")]);
    until(|| manager.load(&header).is_ok());
    let key = key(&patient, &header);
    let (from, to) = if cluster.node_of(&key).port == one.port { (one, two) } else { (two, one) };
    let slot = slot_of(one, &key);
    Cluster::begin_to_move(slot, from, to);
    Cluster::move_keys(slot, from, to);
    kill(to.redis.pid(), Signal::SIGSTOP).unwrap();
    assert_eq!(kind(manager.load(&header)), StoreErrorKind::Timeout);
    kill(to.redis.pid(), Signal::SIGCONT).unwrap();
}

#[test]
fn forked_children_use_connections_of_their_own() {
    in_own_process("forked_children_use_connections_of_their_own", || {
        let cluster = Cluster::start(2);
        let manager = manager(&cluster.url());
        let headers: Vec<String> =
            (0..20).map(|number| session_with(&manager, &[("name", &number.to_string())])).collect();
        let check = || {
            for _ in 0..20 {
                for (number, header) in headers.iter().enumerate() {
                    let name: Option<String> = manager.load(&**header).unwrap().get("name").unwrap();
                    assert_eq!(name, Some(number.to_string()));
                }
            }
            String::new()
        };
        let children: Vec<_> = (0..3).map(|_| child(check)).collect();
        check();
        children.into_iter().for_each(|child| drop(child.join()));
        check();
    });
}

#[test]
fn a_cluster_may_speak_tls_and_resp3_and_ask_for_a_password() {
    let authority = Authority::new();
    let certified = authority.certify(&["127.0.0.1"]);
    let cluster = Cluster::start_with_tls(&authority, &certified, &["--tls-auth-clients", "no"]);
    for node in &cluster.nodes {
        let user = ["ACL", "SETUSER", "ada", "on", ">hunter2"];
        node.redis.run::<()>(&[&user, &rights()[..], &["+cluster|slots"]].concat());
        node.redis.run::<()>(&["ACL", "SETUSER", "default", "resetpass", "on", ">other"]);
    }
    let hosts: Vec<String> = cluster.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let url = format!("rediss-cluster://ada:hunter2@{}?ca={}&protocol=resp3", hosts.join(","), path(&authority.ca()));
    let manager = manager(&url);
    manager.ping().unwrap();
    for _ in 0..10 {
        let header = login(&manager, Some(&session_with(&manager, &[("a", "1")])));
        assert_eq!(manager.load(&header).unwrap().keys(), ["a", "user"]);
    }
    assert_eq!(manager.group("ada").clear().unwrap(), 10);
    assert!(!format!("{manager:?}").contains("hunter2"));
    assert!(format!("{manager:?}").contains(&format!("rediss-cluster://{}", hosts.join(","))));
    assert!(format!("{:?}", builder("redis-cluster://[::1]").build().unwrap()).contains("redis-cluster://[::1]:6379"));
    // Somebody else's authority, and no TLS.
    let somebody = Authority::new();
    let other = url.replace(path(&authority.ca()), path(&somebody.ca()));
    for refused in [other, url.replace("rediss-", "redis-").replace(&format!("ca={}&", path(&authority.ca())), "")] {
        let manager = builder(&refused).operation_timeout(Duration::from_millis(500)).build().unwrap();
        assert!(matches!(kind(manager.ping()), StoreErrorKind::Unavailable | StoreErrorKind::Timeout));
    }
    for refused in [
        "redis-cluster://a:1/1",
        "redis-cluster://",
        "redis-cluster://a,,b",
        "redis-cluster://a:x",
        "redis-cluster://a?x=y",
    ] {
        let error = builder(refused).build().unwrap_err().to_string();
        assert!(error.contains("redis-cluster://[user:password@]host[:port],host[:port]"), "{refused}: {error}");
    }
}

#[test]
fn what_is_no_sound_cluster_is_a_typed_error() {
    let cluster = Cluster::start(2);
    let [one, two] = &cluster.nodes[..] else { unreachable!() };
    // A plain URL that leads to a node of a cluster.
    let plain = manager(&format!("redis://127.0.0.1:{}", one.port));
    let answers: Vec<_> =
        (0..20).map(|_| plain.load(None).and_then(|mut new| new.set("a", &1).and_then(|()| new.save()))).collect();
    let refused = answers.iter().find_map(|answer| answer.as_ref().err()).expect("half of the slots are elsewhere");
    assert!(refused.to_string().contains("redis-cluster://"), "{refused}");
    // A cluster URL that leads to a plain server.
    let single = support::redis::Redis::start_with(&["--port", &support::redis::free_port().to_string()]);
    let port: Vec<String> = single.run(&["CONFIG", "GET", "port"]);
    let no_cluster = manager(&format!("redis-cluster://127.0.0.1:{}", port[1]));
    let (what, message) = failure(no_cluster.ping());
    assert_eq!(what, StoreErrorKind::Backend);
    assert!(message.contains("cluster support disabled"), "{message}");
    // Nobody has some of the slots.
    let manager = manager(&cluster.url());
    manager.ping().unwrap();
    // Each node may tell the other once more that it has them, before it hears that it has not.
    until(|| {
        for node in [one, two] {
            let _ = node.redis.try_run::<()>(&["CLUSTER", "DELSLOTS", "0"]);
            let _ = node.redis.try_run::<()>(&["CLUSTER", "DELSLOTS", "16383"]);
        }
        one.info("cluster_state:fail") && two.info("cluster_state:fail")
    });
    assert_eq!(kind(manager.ping()), StoreErrorKind::Unavailable);
    let limited = builder(&cluster.url()).operation_timeout(Duration::from_millis(300)).build().unwrap();
    let start = Instant::now();
    let answer = limited.load(None).and_then(|mut new: Session| new.set("a", &1).and_then(|()| new.save()));
    assert_eq!(kind(answer), StoreErrorKind::Unavailable);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn the_log_is_told_once_of_slots_that_nobody_serves() {
    in_own_process("the_log_is_told_once_of_slots_that_nobody_serves", || {
        collect(LevelFilter::Warn);
        let cluster = Cluster::start(2);
        let manager = builder(&cluster.url()).operation_timeout(Duration::from_millis(200)).build().unwrap();
        lose_second_half(&cluster);
        let try_often = || {
            let answers: Vec<bool> = (0..20)
                .map(|_| manager.load(None).and_then(|mut new| new.set("a", &1).and_then(|()| new.save())).is_ok())
                .collect();
            (answers.contains(&true), answers.contains(&false))
        };
        // What busy nodes are told of by themselves is another matter.
        let of_cluster = || lines().into_iter().filter(|line| line.starts_with("redis-cluster://"));
        assert_eq!(try_often(), (true, true));
        let told: Vec<String> = of_cluster().collect();
        assert!(told.first().is_some_and(|line| line.contains("cannot be used")), "{told:?}");
        assert!(told.len() < 4, "{told:?}");
        until(|| change_second_half(&cluster.nodes[1], "ADDSLOTS"));
        until(|| {
            try_often();
            of_cluster().any(|line| line.contains("can be used again"))
        });
        // A node that says so itself is told of, too.
        let cut_off = cut_off(16383);
        let manager = builder(&cut_off.url().replace("redis://", "redis-cluster://"));
        let manager = manager.operation_timeout(Duration::from_millis(1000)).build().unwrap();
        assert_eq!(
            kind(manager.load(&session_with(&support::manager("memory:"), &[("a", "1")]))),
            StoreErrorKind::Unavailable
        );
        let told: Vec<String> = of_cluster().collect();
        assert!(told.len() == 1 && told[0].contains("CLUSTERDOWN"), "{told:?}");
        // So it is where the URL names that node alone, and no cluster.
        let url = cut_off.url();
        let plain = support::manager(url);
        for _ in 0..3 {
            assert_eq!(kind(plain.group("ada").len()), StoreErrorKind::Unavailable);
        }
        let told: Vec<String> = lines().into_iter().filter(|line| line.starts_with(url)).collect();
        assert!(told.len() == 1 && told[0].contains("cannot be used: Redis answered"), "{told:?}");
    });
}
