//! The end of all sessions of a cluster, which comes slot by slot.

use crate::support::cluster::Cluster;
use crate::support::{builder, cookie, manager, session_with, until};
use multi_process_session::{Error, Session};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

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
        // Sessions that are made afterwards move as before.
        let mut session = manager.load(&session_with(&manager, &[("a", "1")])).unwrap();
        session.set_group_name("ada");
        assert!(!manager.load(&cookie(&session.save().unwrap().unwrap())).unwrap().is_new());
    }
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
