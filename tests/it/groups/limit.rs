//! How many sessions a group may have.

use crate::support::place::Place;
use crate::support::wait::next_millisecond;
use crate::support::{builder, cookie, devices, is_alive, login_on, session_with};
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
