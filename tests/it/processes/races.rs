//! Logins, new ids and ends of a group that several processes do at the same moment, thousands of times.

use crate::support::fork::{Lines, Signals, child_of, children_of};
use crate::support::place::Place;
use crate::support::{builder, cookie, login, manager, session_with, try_login};
use multi_process_session::{Error, PublicId, SessionManager};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const GRACE: Duration = Duration::from_secs(60);

/// Makes a test for each kind of store that processes share, so that they run side by side.
macro_rules! on_each_shared_store {
    ($($test:ident)*) => {$(
        mod $test {
            use crate::support::fork::in_own_process;
            use crate::support::place::Place;

            #[test]
            fn redis() {
                in_own_process(|| super::$test(&Place::redis()));
            }

            #[test]
            fn sqlite() {
                in_own_process(|| super::$test(&Place::sqlite()));
            }

            #[test]
            fn cluster() {
                in_own_process(|| super::$test(&Place::cluster()));
            }
        }
    )*};
}

on_each_shared_store! {
    after_a_clear_no_older_session_is_alive_and_the_list_is_true
    of_two_new_ids_at_once_one_wins_and_with_a_grace_nobody_is_logged_out
    sixteen_processes_that_log_in_at_once_never_exceed_the_limit
}

/// In a group, a cluster does what a single server does, only slower.
fn rounds(place: &Place, rounds: u32) -> u32 {
    if matches!(place, Place::Cluster(_)) { rounds / 10 } else { rounds }
}

fn id_if_alive(manager: &SessionManager, header: &str) -> Option<PublicId> {
    let session = manager.load(header).unwrap();
    (!session.is_new()).then(|| session.public_id())
}

fn listed(manager: &SessionManager) -> BTreeSet<PublicId> {
    let group = manager.group("ada");
    let ids: BTreeSet<PublicId> = group.sessions().unwrap().iter().map(|session| session.public_id()).collect();
    assert_eq!(group.len().unwrap(), ids.len());
    ids
}

/// Keeps a processor busy for up to `most` microseconds, so that the rounds differ.
fn dawdle(round: u32, most: u32) {
    let until = Instant::now() + Duration::from_micros((round.wrapping_mul(2_654_435_761) % most).into());
    while Instant::now() < until {}
}

fn after_a_clear_no_older_session_is_alive_and_the_list_is_true(place: &Place) {
    let rounds = rounds(place, 20_000);
    let manager = manager(&place.url());
    let go = Signals::new();
    let mut said = Lines::new();
    let mut old = login(&manager, "ada");
    let first = old.clone();
    let worker = child_of(&manager, || {
        let mut old = first;
        for round in 0..rounds {
            let anonymous = (round % 4 == 1).then(|| session_with(&manager, &[("a", "1")]));
            let mut session = manager.load(&old).unwrap();
            said.send("ready");
            go.wait();
            let outcome = match round % 4 {
                0 => try_login(&manager, None, "ada"),
                1 => try_login(&manager, anonymous.as_deref(), "ada"),
                2 => session.set("a", &round).and_then(|()| session.save()).map(|_| old.clone()),
                _ => {
                    session.regenerate_with_grace(GRACE);
                    session.save().map(|set_cookie| cookie(&set_cookie.expect("a new id needs a cookie")))
                }
            };
            match outcome {
                Ok(header) => said.send(&header),
                Err(Error::Gone) => said.send("gone"),
                Err(error) => panic!("{error}"),
            }
            go.wait();
            old = login(&manager, "ada");
            said.send(&old);
        }
        String::new()
    });
    let (mut survived, mut ended) = (0, 0);
    for round in 0..rounds {
        assert_eq!(said.next(), "ready");
        go.send();
        dawdle(round, 200);
        manager.group("ada").clear().unwrap();
        let header = said.next();
        assert_eq!(id_if_alive(&manager, &old), None, "round {round}: it was there before the clear");
        let alive = if header == "gone" { None } else { id_if_alive(&manager, &header) };
        assert!(alive.is_none() || round % 4 < 2, "round {round}: a save or a new id revives nothing");
        assert_eq!(listed(&manager), alive.into_iter().collect(), "round {round}: the list is true");
        match alive {
            Some(_) => survived += 1,
            None => ended += 1,
        }
        if alive.is_some() {
            let _ = manager.destroy(&header).unwrap();
        }
        go.send();
        old = said.next();
    }
    worker.join();
    // They did meet.
    assert!(survived > rounds / 100 && ended > rounds / 2, "{survived}, {ended}");
}

fn of_two_new_ids_at_once_one_wins_and_with_a_grace_nobody_is_logged_out(place: &Place) {
    let rounds = rounds(place, 10_000);
    let manager = manager(&place.url());
    let mut header = login(&manager, "ada");
    let first = header.clone();
    let go = Signals::new();
    let (mut to_rival, mut said) = (Lines::new(), Lines::new());
    let renew = |header: &str, round: u32| {
        let mut session = manager.load(header).unwrap();
        session.increment("count", 1).unwrap();
        if round.is_multiple_of(2) {
            session.regenerate()
        } else {
            session.regenerate_with_grace(GRACE)
        }
        session
    };
    let rival = child_of(&manager, || {
        let mut header = first;
        for round in 0..rounds {
            let mut session = renew(&header, round);
            said.send("ready");
            go.wait();
            said.send(&match session.save() {
                Ok(set_cookie) => set_cookie.map_or("no cookie".to_owned(), |set_cookie| cookie(&set_cookie)),
                Err(Error::Gone) => "gone".to_owned(),
                Err(error) => panic!("{error}"),
            });
            header = to_rival.next();
        }
        String::new()
    });
    let (mut won, mut count) = (0, 0);
    for round in 0..rounds {
        let mut session = renew(&header, round);
        assert_eq!(said.next(), "ready");
        go.send();
        dawdle(round, 60);
        let mine = match session.save() {
            Ok(set_cookie) => set_cookie.map_or("no cookie".to_owned(), |set_cookie| cookie(&set_cookie)),
            Err(Error::Gone) => "gone".to_owned(),
            Err(error) => panic!("{error}"),
        };
        let theirs = said.next();
        let is_cookie = |said: &String| said.contains('=');
        assert!(is_cookie(&mine) ^ is_cookie(&theirs), "round {round}: {mine}, {theirs}");
        won += u32::from(is_cookie(&mine));
        let (new, loser) = if is_cookie(&mine) { (mine, theirs) } else { (theirs, mine) };
        let with_grace = round % 2 == 1;
        assert_eq!(loser, if with_grace { "no cookie" } else { "gone" }, "round {round}");
        count += if with_grace { 2 } else { 1 };
        let winner = manager.load(&new).unwrap();
        assert_eq!(winner.get("count").unwrap(), Some(count), "round {round}: no write was lost");
        assert_eq!(id_if_alive(&manager, &header).is_some(), with_grace, "round {round}: the old id");
        assert_eq!(listed(&manager), [winner.public_id()].into(), "round {round}: one session");
        header = new;
        to_rival.send(&header);
    }
    rival.join();
    assert!((rounds / 50..rounds * 49 / 50).contains(&won), "they did meet: {won}");
}

fn sixteen_processes_that_log_in_at_once_never_exceed_the_limit(place: &Place) {
    const LIMIT: usize = 3;
    let manager =
        builder(&place.url()).max_sessions_per_group(LIMIT).operation_timeout(Duration::from_secs(30)).build().unwrap();
    manager.ping().unwrap();
    let said = children_of(&manager, 16, |number| {
        let mut headers = Vec::new();
        for round in 0..40 {
            let anonymous = (number % 2 == 0).then(|| session_with(&manager, &[("a", "1")]));
            headers.push(try_login(&manager, anonymous.as_deref(), "ada").unwrap());
            let len = manager.group("ada").len().unwrap();
            assert!((1..=LIMIT).contains(&len), "round {round}: {len}");
        }
        headers.join("\n")
    });
    let alive: BTreeSet<PublicId> =
        said.iter().flat_map(|said| said.lines()).filter_map(|header| id_if_alive(&manager, header)).collect();
    assert_eq!((alive.len(), alive), (LIMIT, listed(&manager)));
}
