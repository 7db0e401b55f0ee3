//! "Remember me": how long one session lives, and whether its cookie outlives the browser.

use crate::support::place::Place;
use crate::support::{builder, cookie, login, secret, session_with};
use multi_process_session::{Secret, Session, SessionManager, SetCookie};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn log_in(manager: &SessionManager, header: Option<&str>, remember: Option<Duration>) -> SetCookie {
    let mut session = manager.load(header).unwrap();
    session.set_group_name("ada");
    session.remember_me(remember);
    session.save().unwrap().expect("a login has a cookie")
}

fn is_persistent(set_cookie: &SetCookie) -> bool {
    set_cookie.contains("Max-Age")
}

#[test]
fn a_ticked_box_outlives_the_browser_and_an_unticked_one_does_not() {
    for place in Place::all_and_a_cluster() {
        for by_default in [true, false] {
            let manager = builder(&place.url()).persistent(by_default).idle_timeout(HOUR).build().unwrap();
            let set_cookie = log_in(&manager, None, Some(30 * DAY));
            assert!(set_cookie.ends_with("; Max-Age=2592060"), "{set_cookie}");
            let session = manager.load(set_cookie.pair()).unwrap();
            assert!(session.expires_in().unwrap() > 29 * DAY);
            let set_cookie = log_in(&manager, None, None);
            assert!(!is_persistent(&set_cookie), "{set_cookie}");
            assert!(manager.load(set_cookie.pair()).unwrap().expires_in().unwrap() <= HOUR + HOUR / 50);
            assert_eq!(is_persistent(&login_cookie(&manager)), by_default, "others are as the setting says");
        }
    }
}

fn login_cookie(manager: &SessionManager) -> SetCookie {
    let mut session = manager.load(None).unwrap();
    session.set_group_name("bob");
    session.save().unwrap().expect("a login has a cookie")
}

#[test]
fn the_second_login_may_choose_something_else() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).idle_timeout(HOUR).build().unwrap();
        let ticked = cookie(&log_in(&manager, None, Some(30 * DAY)));
        let unticked = log_in(&manager, Some(&ticked), None);
        assert!(!is_persistent(&unticked));
        let session = manager.load(unticked.pair()).unwrap();
        assert!(session.expires_in().unwrap() <= HOUR + HOUR / 50, "it has the timeout of all sessions again");
        assert!(is_persistent(&log_in(&manager, Some(&cookie(&unticked)), Some(DAY))));
    }
}

#[test]
fn refreshes_new_ids_and_a_new_secret_keep_the_choice() {
    for place in Place::all_and_a_cluster() {
        for ticked in [true, false] {
            let manager = builder(&place.url()).persistent(!ticked).idle_timeout(HOUR).build().unwrap();
            let mut header = cookie(&log_in(&manager, None, ticked.then_some(HOUR)));
            let mut keeps = |manager: &SessionManager, what: &str, change: &dyn Fn(&mut Session)| {
                let mut session = manager.load(&header).unwrap();
                change(&mut session);
                let set_cookie = session.save().unwrap().unwrap_or_else(|| panic!("{what}: a cookie is due"));
                assert_eq!(is_persistent(&set_cookie), ticked, "{what}");
                header = cookie(&set_cookie);
            };
            place.let_time_pass_for_all(HOUR / 2);
            keeps(&manager, "a refresh", &|_| {});
            keeps(&manager, "a new id", &|session| session.regenerate());
            keeps(&manager, "a new id with a grace", &|session| session.regenerate_with_grace(HOUR));
            keeps(&manager, "another login of the same user", &|session| session.set_group_name("ada"));
            let new = Secret::new("another secret of the tests, of 32 bytes and more").unwrap();
            let other = SessionManager::builder(new).accept_secret(secret()).persistent(!ticked).secure(false);
            keeps(&other.store_url(&place.url()).build().unwrap(), "a new secret", &|_| {});
        }
    }
}

#[test]
fn the_choice_ends_with_the_membership() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).build().unwrap();
        let leave: [fn(&mut Session); 2] = [Session::leave_group, |session| session.set_group_name("bob")];
        for leave in leave {
            let header = cookie(&log_in(&manager, None, None));
            let mut session = manager.load(&header).unwrap();
            leave(&mut session);
            assert!(is_persistent(&session.save().unwrap().unwrap()), "the setting decides again");
        }
    }
}

#[test]
fn the_persistence_alone_can_be_changed() {
    for place in Place::all() {
        let manager = builder(&place.url()).build().unwrap();
        for header in [session_with(&manager, &[("a", "1")]), login(&manager, "ada")] {
            let mut session = manager.load(&header).unwrap();
            let before = session.expires_at();
            session.set_persistent(false);
            let set_cookie = session.save().unwrap().expect("the client needs another cookie");
            assert!(!is_persistent(&set_cookie));
            assert_eq!(session.expires_at(), before, "the life is as it was");
            assert_eq!(session.save().unwrap(), None, "once");
            let mut session = manager.load(set_cookie.pair()).unwrap();
            assert_eq!(session.save().unwrap(), None, "the client has it");
        }
        let mut session = manager.load_token(None).unwrap();
        session.set("a", &1).unwrap();
        session.remember_me(None);
        assert_eq!(session.save().unwrap(), None, "a bearer token has no cookie");
    }
}
