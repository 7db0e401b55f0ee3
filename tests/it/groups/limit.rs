//! How many sessions a group may have.

use crate::support::place::Place;
use crate::support::wait::next_millisecond;
use crate::support::{builder, cookie, devices, is_alive, login_on, public_id, session_with};
use multi_process_session::{AtLimit, Error};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn a_group_has_no_more_sessions_than_the_setting_allows() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).max_sessions_per_group(2).build().unwrap();
        let remembered = |device: &str| {
            next_millisecond();
            let mut session = manager.load(None).unwrap();
            session.set("device", device).unwrap();
            session.set_idle_timeout(90 * DAY);
            session.set_group_name("ada");
            cookie(&session.save().unwrap().unwrap())
        };
        let [first, second] = ["first", "second"].map(remembered);
        next_millisecond();
        // It has the shortest timeout, and it has joined last.
        let mut short = manager.load(&session_with(&manager, &[("device", "short")])).unwrap();
        short.set_idle_timeout(Duration::from_secs(60));
        short.set_group_name("ada");
        let short = cookie(&short.save().unwrap().unwrap());
        assert!(!is_alive(&manager, &first) && is_alive(&manager, &second) && is_alive(&manager, &short));
        assert_eq!(devices(&manager.group("ada")), ["second", "short"]);
        assert_eq!(place.records(), 2, "what had to go is removed");
        // A new id is not a new login.
        let mut session = manager.load(&second).unwrap();
        session.regenerate();
        let second = cookie(&session.save().unwrap().unwrap());
        remembered("third");
        assert_eq!(devices(&manager.group("ada")), ["short", "third"]);
        assert!(!is_alive(&manager, &second));
        // Nor does a second login of the same session count as another session.
        let mut session = manager.load(&short).unwrap();
        next_millisecond();
        session.set_group_name("ada");
        let short = cookie(&session.save().unwrap().unwrap());
        remembered("fourth");
        assert_eq!(devices(&manager.group("ada")), ["fourth", "short"], "who has logged in again came last");
        assert!(is_alive(&manager, &short));
    }
}

#[test]
fn of_logins_within_a_millisecond_the_first_one_ends() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).max_sessions_per_group(3).build().unwrap();
        manager.ping().unwrap();
        for round in 0..50 {
            let user = round.to_string();
            let headers = ["one", "two", "three", "four"].map(|device| login_on(&manager, &user, device));
            let alive = headers.each_ref().map(|header| is_alive(&manager, header));
            assert_eq!(alive, [false, true, true, true], "round {round}");
        }
    }
}

#[test]
fn the_order_of_joining_survives_a_clock_that_was_put_back() {
    for place in [Place::redis(), Place::cluster()] {
        let manager = builder(&place.url()).max_sessions_per_group(2).build().unwrap();
        let [first, second] = ["first", "second"].map(|device| login_on(&manager, "ada", device));
        place.put_clock_back_for_all(DAY);
        let [third, fourth] = ["third", "fourth"].map(|device| login_on(&manager, "ada", device));
        let alive = [&first, &second, &third, &fourth].map(|header| is_alive(&manager, header));
        assert_eq!(alive, [false, false, true, true], "the later ones have joined last all the same");
    }
}

#[test]
fn a_login_beyond_the_limit_can_be_refused() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).max_sessions_per_group(2).at_limit(AtLimit::RefuseNewest).build().unwrap();
        let headers = ["one", "two"].map(|device| login_on(&manager, "ada", device));
        for header in [None, Some(session_with(&manager, &[("cart", "full")]))] {
            let mut session = manager.load(header.as_deref()).unwrap();
            session.set("device", "three").unwrap();
            session.set_group_name("ada");
            let refused = session.save();
            assert!(matches!(refused, Err(Error::TooManySessions { limit: 2, .. })), "{refused:?}");
            assert_eq!(refused.unwrap_err().http_status(), 409);
            assert_eq!(devices(&manager.group("ada")), ["one", "two"], "nobody is logged out");
            if let Some(header) = &header {
                let session = manager.load(header).unwrap();
                assert_eq!((session.keys(), session.group_name()), (vec!["cart"], None), "the client is not logged in");
            }
            // The same session can be saved once there is room.
            let _ = manager.destroy(&login_on(&manager, "bob", "other")).unwrap();
        }
        let mut waiting = manager.load(None).unwrap();
        waiting.set("device", "three").unwrap();
        waiting.set_group_name("ada");
        assert!(waiting.save().is_err());
        let _ = manager.destroy(&headers[0]).unwrap();
        assert!(waiting.save().unwrap().is_some());
        assert_eq!(devices(&manager.group("ada")), ["three", "two"]);
        assert_eq!(waiting.ended_by_login(), []);
    }
}

#[test]
fn a_login_can_have_a_limit_of_its_own() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).max_sessions_per_group(2).build().unwrap();
        let [one, two] = ["one", "two"].map(|device| login_on(&manager, "ada", device));
        let ids = [&one, &two].map(|header| public_id(&manager, header));
        let log_in = |sessions: usize, at_limit: AtLimit| {
            let mut session = manager.load(None).unwrap();
            session.set("device", "own").unwrap();
            // The order of the calls does not matter.
            session.limit_group(sessions, at_limit);
            session.set_group_name("ada");
            session.save().map(|_| session.ended_by_login().to_vec())
        };
        assert!(matches!(log_in(2, AtLimit::RefuseNewest), Err(Error::TooManySessions { limit: 2, .. })));
        assert_eq!(log_in(3, AtLimit::RefuseNewest).unwrap(), []);
        let mut ended = log_in(2, AtLimit::EndOldest).unwrap();
        ended.sort();
        let mut expected = ids.to_vec();
        expected.sort();
        assert_eq!(ended, expected, "the caller is told whom the login has logged out");
        assert_eq!(log_in(0, AtLimit::EndOldest).unwrap().len(), 2, "a limit of 0 counts as 1");
        assert_eq!(manager.group("ada").len().unwrap(), 1);
        // The next login has the limit of all.
        login_on(&manager, "ada", "next");
        assert_eq!(manager.group("ada").len().unwrap(), 2);
    }
}
