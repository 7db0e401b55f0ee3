//! How long a session lives: idle and absolute timeouts, new sessions, stricter settings, a clock that was put back.

use crate::support::place::{Place, on_every_store};
use crate::support::{builder, builder_with_own_timeouts, clock, cookie, is_alive, login, manager, session_with};
use multi_process_session::{Error, MemoryStore, Refresh};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn a_session_tells_when_it_was_created_and_when_it_ends() {
    on_every_store(|builder| {
        let manager = builder.idle_timeout(Duration::from_secs(1000)).build().unwrap();
        let mut session = manager.load(None).unwrap();
        assert_eq!((session.created_at(), session.expires_at()), (None, None));
        session.set("a", &1).unwrap();
        let header = cookie(&session.save().unwrap().unwrap());
        for session in [session, manager.load(&header).unwrap()] {
            let (created, expires) = (session.created_at().unwrap(), session.expires_at().unwrap());
            let life = expires.duration_since(created).unwrap();
            // The refresh interval comes on top, and so do rounding and the time of the calls.
            assert!((1009..1020).contains(&life.as_secs()), "{life:?}");
            assert!(created.elapsed().unwrap() < Duration::from_secs(60));
        }
    });
}

#[test]
fn the_idle_timeout_runs_from_the_last_use() {
    let (now, pass) = clock();
    let store = MemoryStore::with_clock(now);
    let manager = builder("memory:").store(store).idle_timeout(100 * SECOND).build().unwrap();
    let mut header = session_with(&manager, &[("a", "1")]);
    // The refresh interval is a hundredth of the timeout: one second.
    for _ in 0..5 {
        pass(SECOND);
        assert_eq!(manager.load(&header).unwrap().save().unwrap(), None, "not due yet");
        pass(99 * SECOND);
        let set_cookie = manager.load(&header).unwrap().save().unwrap().expect("due");
        assert!(set_cookie.as_str().ends_with("; Max-Age=101"));
        header = cookie(&set_cookie);
    }
    // It never ends early: if it is used just before a refresh is due, it lives for a whole timeout.
    pass(SECOND);
    assert_eq!(manager.load(&header).unwrap().save().unwrap(), None);
    pass(100 * SECOND - Duration::from_millis(1));
    assert!(!manager.load(&header).unwrap().is_new());
    pass(101 * SECOND);
    assert!(manager.load(&header).unwrap().is_new());
}

#[test]
fn a_renewal_that_no_answer_carried_is_due_again() {
    let (now, pass) = clock();
    let store = MemoryStore::with_clock(now);
    let manager = builder("memory:").store(store).idle_timeout(100 * SECOND).build().unwrap();
    let header = session_with(&manager, &[("a", "1")]);
    // Of each two requests, the first one refreshes the session, and its page does not save.
    for _ in 0..3 {
        pass(50 * SECOND);
        drop(manager.load(&header).unwrap());
        pass(SECOND / 2);
        let mut session = manager.load(&header).unwrap();
        let renewed = session.save().unwrap().expect("the first request's answer had no cookie");
        assert!(renewed.as_str().ends_with("; Max-Age=101"));
        assert_eq!(session.save().unwrap(), None, "once");
        assert_eq!(manager.load(&cookie(&renewed)).unwrap().save().unwrap(), None, "the client has it now");
    }
}

#[test]
fn the_cookie_of_a_session_that_outlives_every_cookie_is_renewed_in_time() {
    let (now, pass) = clock();
    let store = MemoryStore::with_clock(now);
    let builder = builder("memory:").store(store).idle_timeout(10_000 * DAY);
    let manager = builder.refresh(Refresh::Never).build().unwrap();
    let new = session_with(&manager, &[("a", "1")]);
    let header = cookie(&manager.load(&new).unwrap().save().unwrap().expect("the first load confirms the session"));
    let renewed = || manager.load(&header).unwrap().save().unwrap();
    pass(29 * DAY);
    assert_eq!(renewed(), None);
    pass(2 * DAY);
    // No answer carries this renewal.
    drop(manager.load(&header).unwrap());
    assert!(renewed().unwrap().as_str().ends_with("; Max-Age=34560000"));
}

#[test]
fn the_absolute_timeout_holds_however_much_a_session_is_used() {
    let (now, pass) = clock();
    let store = MemoryStore::with_clock(now);
    let manager =
        builder("memory:").store(store).idle_timeout(100 * SECOND).absolute_timeout(250 * SECOND).build().unwrap();
    let mut header = session_with(&manager, &[("a", "1")]);
    for _ in 0..2 {
        pass(80 * SECOND);
        assert!(manager.load(&header).unwrap().save().unwrap().is_some());
    }
    let mut session = manager.load(&header).unwrap();
    session.set_idle_timeout(1000 * SECOND);
    assert!(session.save().unwrap().unwrap().as_str().ends_with("; Max-Age=90"));
    // A new id does not start the absolute timeout again.
    session.regenerate();
    let set_cookie = session.save().unwrap().unwrap();
    assert!(set_cookie.as_str().ends_with("; Max-Age=90"));
    header = cookie(&set_cookie);
    pass(89 * SECOND);
    assert_eq!(manager.load(&header).unwrap().save().unwrap(), None, "no refresh goes past the end");
    pass(SECOND);
    assert!(manager.load(&header).unwrap().is_new());
}

#[test]
fn refresh_on_every_load_or_never() {
    let (now, pass) = clock();
    let store = MemoryStore::with_clock(now);
    let manager =
        builder("memory:").store(store).idle_timeout(100 * SECOND).refresh(Refresh::EveryLoad).build().unwrap();
    let header = session_with(&manager, &[("a", "1")]);
    for _ in 0..3 {
        pass(99 * SECOND);
        assert!(manager.load(&header).unwrap().save().unwrap().unwrap().as_str().ends_with("; Max-Age=100"));
    }
    let (now, pass) = clock();
    let store = MemoryStore::with_clock(now);
    let manager = builder("memory:").store(store).idle_timeout(100 * SECOND).refresh(Refresh::Never).build().unwrap();
    let header = session_with(&manager, &[("a", "1")]);
    pass(99 * SECOND);
    let mut session = manager.load(&header).unwrap();
    session.set("b", "2").unwrap();
    assert_eq!(session.save().unwrap(), None);
    pass(SECOND);
    assert!(manager.load(&header).unwrap().is_new());
    assert!(matches!(session.set("c", "3").and_then(|()| session.save()), Err(Error::Gone)));
}

#[test]
fn a_session_that_nobody_comes_back_for_ends_after_half_an_hour() {
    for place in Place::all_and_a_cluster() {
        let manager = builder_with_own_timeouts(&place.url()).build().unwrap();
        let mut session = manager.load(None).unwrap();
        session.set("visits", &1).unwrap();
        let set_cookie = session.save().unwrap().unwrap();
        assert!(set_cookie.as_str().ends_with("; Max-Age=604860"), "the cookie is to come back");
        let forgotten = cookie(&set_cookie);
        let used = session_with(&manager, &[("visits", "1")]);

        // A second save of the same request does not confirm the session.
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
        let manager = builder_with_own_timeouts(&place.url()).build().unwrap();
        let header = login(&manager, "ada");
        place.let_time_pass_for_all(6 * DAY);
        assert!(is_alive(&manager, &header));
    }
}

#[test]
fn new_ids_do_not_confirm_a_session_whose_cookie_has_not_come_back() {
    for place in Place::all_and_a_cluster() {
        let manager = builder_with_own_timeouts(&place.url()).build().unwrap();
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
fn stricter_timeouts_reach_the_sessions_that_exist() {
    for place in Place::all_and_a_cluster() {
        let lax = builder_with_own_timeouts(&place.url()).build().unwrap();
        let strict = builder_with_own_timeouts(&place.url())
            .idle_timeout(30 * MINUTE)
            .absolute_timeout(DAY / 2)
            .build()
            .unwrap();
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
fn a_session_in_use_survives_a_stricter_idle_timeout() {
    for place in Place::all_and_a_cluster() {
        let lax =
            builder_with_own_timeouts(&place.url()).idle_timeout(7 * DAY).refresh(Refresh::After(DAY)).build().unwrap();
        let strict = builder_with_own_timeouts(&place.url()).idle_timeout(30 * MINUTE).build().unwrap();
        let header = login(&lax, "ada");
        // Nothing is written down of a use within a hundredth of the idle timeout.
        place.let_time_pass_for_all(100 * MINUTE);
        assert!(is_alive(&lax, &header));
        assert!(is_alive(&strict, &header));
        place.let_time_pass_for_all(31 * MINUTE);
        assert!(!is_alive(&strict, &header));
    }
}

#[test]
fn a_clock_that_was_put_back_makes_no_session_live_longer() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let header = session_with(&manager, &[("a", "1")]);
        // Then the stored times lie in the future.
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
            let manager = builder_with_own_timeouts(&place.url())
                .idle_timeout(DAY)
                .absolute_timeout(DAY)
                .refresh(refresh)
                .build()
                .unwrap();
            let logged_in = login(&manager, "ada");
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
        let manager = builder_with_own_timeouts(&place.url()).build().unwrap();
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
