//! New ids in a cluster. They take several steps: the new record is prepared, the old one ends, the new one comes to
//! life.

use crate::support::cluster::Cluster;
use crate::support::redis::record_key;
use crate::support::{builder, cookie, fault, kind, login, manager, session_with, try_login, with_timeout};
use multi_process_session::{AtLimit, Error, Refresh, Session, SessionEnd, StoreErrorKind};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// Forbids a command to all scripts, such as `-pttl`, or permits it again: `+pttl`.
fn permit(cluster: &Cluster, command: &str) {
    for node in &cluster.nodes {
        node.redis.run::<()>(&["ACL", "SETUSER", "default", command]);
    }
}

/// Saves a new id that does not come to life: the step for that needs a command that no other step here needs.
fn break_off(cluster: &Cluster, session: &mut Session) {
    permit(cluster, "-pttl");
    fault(session.save());
    permit(cluster, "+pttl");
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
    // The other request saves between load and save, and by the old id while the new one is not alive yet.
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
    // The fault comes when everything but the expiry is written.
    permit(&cluster, "-pexpireat");
    fault(session.save());
    permit(&cluster, "+pexpireat");
    assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(1));
    // Another request asks for a new id, which does not come to life.
    let mut other = manager.load(&header).unwrap();
    other.regenerate_with_grace(Duration::from_secs(60));
    break_off(&cluster, &mut other);
    session.save().unwrap();
    assert_eq!(session.get("count").unwrap(), Some(1));
    let new = cookie(&other.save().unwrap().expect("a new id needs a cookie"));
    assert_eq!(manager.load(&new).unwrap().get("count").unwrap(), Some(1));
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
    let manager = with_timeout(&cluster.url(), Duration::from_millis(700));
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
                // On a busy machine something else may take too long.
                if error.to_string().contains("ForkGuard") {
                    assert!(!unhindered.load(&header).unwrap().is_new(), "logged out half way");
                }
                held_back += 1;
                tell.send(()).unwrap();
                may_go_on.recv().unwrap();
            }
        });
        for round in 0..ROUNDS {
            // In the middle of a login: at its first round trip, its second, and so on.
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
        // A save by the old id does not make it live longer.
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

/// Calls the scripts themselves. No test can make the network so late that the steps of two attempts at one new id, and
/// a logout by the old id in its grace, come in this order.
#[test]
fn a_new_id_that_is_prepared_again_after_a_logout_does_not_come_to_life() {
    macro_rules! lua {
        ($name:literal) => {
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/redis/scripts/", $name, ".lua"))
        };
    }
    macro_rules! script {
        ($name:literal) => {
            [
                lua!("prelude"),
                lua!("shared/damage"),
                lua!("shared/state"),
                lua!("shared/record"),
                lua!("shared/change"),
                lua!("shared/group"),
                lua!($name),
            ]
            .concat()
        };
    }
    let redis = crate::support::redis::Redis::start();
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("a", "1")]);
    let (old, id) = (record_key(&manager, &header), "A".repeat(24));
    let new = format!("mps:{id}");
    let run = |script: &str, key: &str, arguments: &[&str]| -> String {
        let reply: redis::Value = redis.run(&[&["EVAL", script, "2", "mps:generation", key], arguments].concat());
        let words: Vec<redis::Value> = redis::from_redis_value(reply).unwrap();
        redis::from_redis_value(words[1].clone()).unwrap()
    };
    let prepare = || {
        let arguments = ["nonce001", "2", "1", "", "9999999", "0", "1", "3", "60000", "0", "", "", "0", "1", ":a", "1"];
        run(&script!("handover_prepare"), &new, &arguments)
    };
    let settings = ["60000", "9999999", ""];
    // The version and the nonce of its last change: see state.lua.
    let state: Vec<u8> = redis.run(&["HGET", &old, "s"]);
    let last_change = String::from_utf8([&state[..5], &state[50..]].concat()).expect("a nonce is text");
    let end = || {
        let arguments = [&["nonce001"][..], &settings, &[&last_change, "20000", "60000", &id, "60000"]].concat();
        run(&script!("handover_end"), &old, &arguments)
    };
    assert_eq!((prepare(), end()), ("ok".to_owned(), "ok".to_owned()));
    assert!(!manager.load(&header).unwrap().is_new(), "the old id leads to it already");
    for _ in 0..2 {
        let _ = manager.destroy(&header).unwrap();
    }
    assert_eq!((prepare(), end()), ("gone".to_owned(), "ok".to_owned()));
    let no_nonces = ["4", "", "", "", ""];
    let arguments = [&["nonce001"][..], &settings, &["0", "", "0", "60000", "1", ""], &no_nonces, &["0"]].concat();
    assert_eq!(run(&script!("handover_activate"), &new, &arguments), "gone");
    assert!(manager.load(&header).unwrap().is_new());
}

#[test]
fn a_damaged_group_is_found_before_the_session_is_ended() {
    let cluster = Cluster::start(3);
    let manager = manager(&cluster.url());
    login(&manager, "ada");
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
fn logins_that_can_be_refused_lose_nothing_while_their_group_is_ended() {
    let cluster = Cluster::start(3);
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = {
        let told = Arc::clone(&told);
        move |end: &SessionEnd| told.lock().unwrap().push(end.public_id)
    };
    let manager = builder(&cluster.url()).max_sessions_per_group(2).at_limit(AtLimit::RefuseNewest);
    let manager = manager.on_end(tell).build().unwrap();
    let group = manager.group("ada");
    let logged_in = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let log_in_often = || {
            for _ in 0..60 {
                let visitor = session_with(&manager, &[("cart", "full")]);
                let mut session = manager.load(&visitor).unwrap();
                session.set_group_name("ada");
                match session.save() {
                    Ok(_) => logged_in.lock().unwrap().push(session.public_id()),
                    Err(Error::TooManySessions { .. }) => {
                        assert_eq!(manager.load(&visitor).unwrap().keys(), ["cart"], "it is refused before it ends");
                    }
                    Err(error) => panic!("{error}"),
                }
                assert!(group.sessions().unwrap().len() <= 2);
            }
        };
        let logins: Vec<_> = (0..3).map(|_| scope.spawn(log_in_often)).collect();
        while !logins.iter().all(|logins| logins.is_finished()) {
            group.clear().unwrap();
        }
    });
    assert_eq!(group.len().unwrap(), group.sessions().unwrap().len(), "no place stays taken");
    group.clear().unwrap();
    let (mut told, mut logged_in) = (told.lock().unwrap().clone(), logged_in.into_inner().unwrap());
    told.sort();
    logged_in.sort();
    assert_eq!(told, logged_in, "the end of each is told once");
}

#[test]
fn a_login_that_is_broken_off_keeps_its_place_while_it_can_still_go_on() {
    let cluster = Cluster::start(3);
    let manager = builder(&cluster.url()).max_sessions_per_group(2).at_limit(AtLimit::RefuseNewest).build().unwrap();
    let group = manager.group("ada");
    let mut broken_off = manager.load(&session_with(&manager, &[("a", "1")])).unwrap();
    broken_off.set_group_name("ada");
    break_off(&cluster, &mut broken_off);
    assert_eq!((group.len().unwrap(), group.clear().unwrap()), (0, 0), "it is no session yet");
    login(&manager, "ada");
    assert!(matches!(try_login(&manager, None, "ada"), Err(Error::TooManySessions { limit: 2, .. })));
    assert!(broken_off.save().unwrap().is_some());
    assert_eq!((group.len().unwrap(), group.sessions().unwrap().len()), (2, 2));
}
