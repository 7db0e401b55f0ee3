//! How long sessions live: until their cookie comes back, under stricter settings, and when all of them end at once.

#![allow(missing_docs)]

mod support;

use multi_process_session::{Refresh, SessionManager, SessionManagerBuilder};
use std::time::Duration;
use support::place::Place;
use support::{cookie, manager, secret, session_with};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// With the library's own timeouts.
fn builder(place: &Place) -> SessionManagerBuilder {
    SessionManager::builder(secret()).store_url(&place.url()).secure(false).operation_timeout(20 * MINUTE / 60)
}

fn is_alive(manager: &SessionManager, header: &str) -> bool {
    !manager.load(header).unwrap().is_new()
}

#[test]
fn a_session_that_nobody_comes_back_for_ends_after_half_an_hour() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place).build().unwrap();
        let mut session = manager.load(None).unwrap();
        session.set("visits", &1).unwrap();
        let set_cookie = session.save().unwrap().unwrap();
        assert!(set_cookie.as_str().ends_with("; Max-Age=604860"), "the cookie is to come back");
        let forgotten = cookie(&set_cookie);
        let used = session_with(&manager, &[("visits", "1")]);

        // A second save of the same request does not confirm it.
        session.set_idle_timeout(DAY);
        assert!(session.save().unwrap().unwrap().as_str().ends_with("; Max-Age=86460"));
        place.let_time_pass_for_all(20 * MINUTE);
        let mut session = manager.load(&used).unwrap();
        session.increment("count", 1).unwrap();
        let set_cookie = session.save().unwrap().expect("it has its full life now, and the cookie has to know");
        assert!(set_cookie.as_str().ends_with("; Max-Age=604860"));
        place.let_time_pass_for_all(11 * MINUTE);
        assert!(!is_alive(&manager, &forgotten));
        place.let_time_pass_for_all(6 * DAY);
        assert!(is_alive(&manager, &used));
    }
}

#[test]
fn a_session_that_begins_with_a_login_lives_its_full_life_at_once() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place).build().unwrap();
        let mut session = manager.load(None).unwrap();
        session.set_group_name("ada");
        let header = cookie(&session.save().unwrap().unwrap());
        place.let_time_pass_for_all(6 * DAY);
        assert!(is_alive(&manager, &header));
    }
}

#[test]
fn stricter_timeouts_reach_the_sessions_that_exist() {
    for place in Place::all_and_a_cluster() {
        let lax = builder(&place).build().unwrap();
        let strict = builder(&place).idle_timeout(30 * MINUTE).absolute_timeout(DAY / 2).build().unwrap();
        let logged_in = |idle_timeout: Option<Duration>| {
            let mut session = lax.load(None).unwrap();
            session.set_group_name("ada");
            if let Some(timeout) = idle_timeout {
                session.set_idle_timeout(timeout);
            }
            cookie(&session.save().unwrap().unwrap())
        };
        let [used, unused, remembered] = [logged_in(None), logged_in(None), logged_in(Some(7 * DAY))];
        for _ in 0..46 {
            place.let_time_pass_for_all(15 * MINUTE);
            assert!(is_alive(&strict, &used));
        }
        assert!(!is_alive(&strict, &unused), "it was idle for longer than half an hour");
        assert!(is_alive(&strict, &remembered), "it has an idle timeout of its own");
        for _ in 0..3 {
            place.let_time_pass_for_all(15 * MINUTE);
            strict.load(&used).unwrap();
        }
        assert!(!is_alive(&strict, &used) && !is_alive(&strict, &remembered), "the absolute timeout ends them");
    }
}

#[test]
fn a_clock_that_was_put_back_makes_no_session_live_longer() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let header = session_with(&manager, &[("a", "1")]);
        // What is stored lies in the future then.
        place.put_clock_back_for_all(30 * DAY);
        let mut session = manager.load(&header).unwrap();
        assert!(session.save().unwrap().is_some(), "the cookie is renewed");
        place.let_time_pass_for_all(2 * MINUTE);
        let mut session = manager.load(&header).unwrap();
        assert!(session.save().unwrap().is_some(), "and renewed again when that is due");
        place.let_time_pass_for_all(8 * DAY);
        assert!(!is_alive(&manager, &header));
    }
}

#[test]
fn an_absolute_timeout_does_not_wait_for_a_clock_that_was_put_back() {
    for place in Place::all_and_a_cluster() {
        for refresh in [Refresh::default(), Refresh::Never] {
            let manager = builder(&place).idle_timeout(DAY).absolute_timeout(DAY).refresh(refresh).build().unwrap();
            let mut session = manager.load(None).unwrap();
            session.set_group_name("ada");
            let logged_in = cookie(&session.save().unwrap().unwrap());
            let headers = [logged_in, session_with(&manager, &[("a", "1")])];
            place.put_clock_back_for_all(365 * DAY);
            for hour in 0..24 {
                assert!(headers.iter().all(|header| is_alive(&manager, header)), "{hour}");
                place.let_time_pass_for_all(60 * MINUTE);
            }
            assert!(!headers.iter().any(|header| is_alive(&manager, header)));
        }
    }
}

#[test]
fn a_grace_does_not_wait_for_a_clock_that_was_put_back() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place).build().unwrap();
        let old = session_with(&manager, &[("a", "1")]);
        let mut session = manager.load(&old).unwrap();
        session.regenerate_with_grace(4 * MINUTE);
        let new = cookie(&session.save().unwrap().unwrap());
        assert!(is_alive(&manager, &old));
        place.put_clock_back_for_all(2 * MINUTE);
        assert!(!is_alive(&manager, &old), "six minutes are left of it, and the longest has five");
        assert!(is_alive(&manager, &new));
        let _ = manager.destroy(&old).unwrap();
        assert!(!is_alive(&manager, &new), "it still ends the session");
    }
}

#[test]
fn a_session_in_use_survives_a_stricter_idle_timeout() {
    for place in Place::all_and_a_cluster() {
        let lax = builder(&place).idle_timeout(7 * DAY).refresh(Refresh::After(DAY)).build().unwrap();
        let strict = builder(&place).idle_timeout(30 * MINUTE).build().unwrap();
        let mut session = lax.load(None).unwrap();
        session.set_group_name("ada");
        let header = cookie(&session.save().unwrap().unwrap());
        // Of a use within a hundredth of its idle timeout nothing is written down.
        place.let_time_pass_for_all(100 * MINUTE);
        assert!(is_alive(&lax, &header));
        assert!(is_alive(&strict, &header));
        place.let_time_pass_for_all(31 * MINUTE);
        assert!(!is_alive(&strict, &header));
    }
}

#[test]
fn new_ids_do_not_confirm_a_session_whose_cookie_has_not_come_back() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place).build().unwrap();
        let mut session = manager.load(None).unwrap();
        session.set("visits", &1).unwrap();
        session.save().unwrap();
        let mut headers = Vec::new();
        for _ in 0..5 {
            place.let_time_pass_for_all(4 * MINUTE);
            session.regenerate();
            headers.push(cookie(&session.save().unwrap().unwrap()));
        }
        assert_eq!(place.records(), 1);
        place.let_time_pass_for_all(11 * MINUTE);
        assert!(!headers.iter().any(|header| is_alive(&manager, header)));
        let mut session = manager.load(None).unwrap();
        session.set("visits", &1).unwrap();
        session.save().unwrap();
        session.set_group_name("ada");
        let header = cookie(&session.save().unwrap().unwrap());
        place.let_time_pass_for_all(6 * DAY);
        assert!(is_alive(&manager, &header), "a login does");
    }
}

#[test]
fn a_cookie_is_renewed_before_browsers_drop_it() {
    for place in Place::all_and_a_cluster() {
        let long = 800 * DAY;
        for builder in [builder(&place).absolute_timeout(long), builder(&place).refresh(Refresh::Never)] {
            let manager = builder.idle_timeout(long).build().unwrap();
            let mut session = manager.load(None).unwrap();
            session.set_group_name("ada");
            let header = cookie(&session.save().unwrap().unwrap());
            place.let_time_pass_for_all(29 * DAY);
            assert!(manager.load(&header).unwrap().save().unwrap().is_none(), "not yet");
            place.let_time_pass_for_all(2 * DAY);
            let mut session = manager.load(&header).unwrap();
            assert!(session.save().unwrap().is_some());
            assert!(manager.load(&header).unwrap().save().unwrap().is_none(), "once");
            manager.group("ada").clear().unwrap();
        }
    }
}

#[test]
fn every_session_ends_at_once() {
    for place in Place::all_and_a_cluster() {
        let [manager, other] = ["mps", "other"].map(|namespace| builder(&place).namespace(namespace).build().unwrap());
        let logged_in = |manager: &SessionManager, name: &str| {
            let mut session = manager.load(None).unwrap();
            session.set_group_name(name);
            cookie(&session.save().unwrap().unwrap())
        };
        let mut before: Vec<String> = (0..20).map(|user| logged_in(&manager, &user.to_string())).collect();
        before.extend((0..20).map(|_| session_with(&manager, &[("a", "1")])));
        let spared = logged_in(&other, "ada");
        let mut under_way = manager.load(&before[0]).unwrap();
        under_way.set("a", &2).unwrap();

        manager.destroy_every_session().unwrap();
        assert!(before.iter().all(|header| !is_alive(&manager, header)));
        assert!(under_way.save().is_err());
        assert!((0..20).all(|user| manager.group(&user.to_string()).len().unwrap() == 0));
        assert!(is_alive(&other, &spared));
        let after = logged_in(&manager, "0");
        assert!(is_alive(&manager, &after) && manager.group("0").sessions().unwrap().len() == 1);
        manager.check_writes().unwrap();
        assert!(is_alive(&manager, &after));
    }
}

#[test]
fn a_device_is_logged_out_by_the_id_that_a_list_showed() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place).build().unwrap();
        let mut session = manager.load(None).unwrap();
        session.set_group_name("ada");
        let header = cookie(&session.save().unwrap().unwrap());
        let group = manager.group("ada");
        let listed = group.sessions().unwrap()[0].public_id();
        let mut session = manager.load(&header).unwrap();
        session.regenerate();
        let header = cookie(&session.save().unwrap().unwrap());
        assert!(group.remove(listed).unwrap(), "it has another id since");
        assert!(!is_alive(&manager, &header));
        assert!(!group.remove(listed).unwrap());
    }
}

#[test]
fn a_session_that_is_larger_than_it_may_be_now_is_still_of_use() {
    for place in Place::all_and_a_cluster() {
        let before = builder(&place).build().unwrap();
        let mut session = before.load(None).unwrap();
        session.set_group_name("ada");
        (0..100).for_each(|key| session.set(&key.to_string(), &key).unwrap());
        let header = cookie(&session.save().unwrap().unwrap());

        let manager = builder(&place).max_session_keys(2).max_session_bytes(10).build().unwrap();
        let mut session = manager.load(&header).unwrap();
        session.regenerate_with_grace(MINUTE);
        session.set("7", &8).unwrap();
        let header = cookie(&session.save().unwrap().unwrap());
        let mut session = manager.load(&header).unwrap();
        session.set("new", &1).unwrap();
        assert!(matches!(session.save(), Err(multi_process_session::Error::TooLarge { key, .. }) if key == "new"));
        session.remove("new");
        (10..100).for_each(|key| assert!(session.remove(&key.to_string())));
        session.save().unwrap();
        assert_eq!(manager.load(&header).unwrap().len(), 10);
    }
}

#[test]
fn a_logout_is_not_hindered_by_cookies_that_somebody_planted() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place).build().unwrap();
        let logged_in = |name: &str| {
            let mut session = manager.load(None).unwrap();
            session.set_group_name(name);
            cookie(&session.save().unwrap().unwrap())
        };
        let planted: Vec<String> = (0..20).map(|_| logged_in("mallory")).collect();
        let own = logged_in("ada");
        let _ = manager.destroy(&format!("{}; {own}", planted.join("; "))).unwrap();
        assert!(!is_alive(&manager, &own));
    }
}
