//! The helpers for the tests of applications.

use crate::support::sqlite::Sqlite;
use crate::support::{builder_with_own_timeouts, secret};
use multi_process_session::test_util::{TestClock, cookie, token};
use multi_process_session::{Error, Refresh, SessionManager, SqliteStore};
use std::time::{Duration, SystemTime};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn a_clock_begins_now_and_moves_only_when_it_is_told_to() {
    let before = SystemTime::now();
    let (clock, other) = (TestClock::new(), TestClock::new());
    let (start, same, read) = (clock.now(), clock.clone(), clock.reader());
    assert!(before <= start && start <= SystemTime::now());
    clock.advance(DAY);
    same.advance(Duration::from_nanos(1));
    assert_eq!([clock.now(), same.now(), read()], [start + DAY + Duration::from_nanos(1); 3]);
    assert!(other.now() < start + DAY);
}

#[test]
fn sessions_expire_by_the_clock_of_the_test() {
    let (clock, file) = (TestClock::new(), Sqlite::new());
    let sqlite = SqliteStore::with_clock(file.url().trim_start_matches("sqlite://"), clock.reader());
    let builder = || builder_with_own_timeouts("memory:").idle_timeout(3 * DAY);
    for manager in [builder().store(clock.store()).build().unwrap(), builder().store(sqlite).build().unwrap()] {
        // A session without a login too has its full life, because its cookie has come back.
        let visitor = cookie(&manager, |session| session.set("a", &1)).unwrap();
        let user = cookie(&manager, |session| {
            session.set_group_name("ada");
            Ok(())
        });
        let (user, bearer) = (user.unwrap(), token(&manager, |session| session.set("a", &1)).unwrap());
        clock.advance(2 * DAY);
        assert_eq!(manager.load(&visitor).unwrap().get("a").unwrap(), Some(1));
        assert_eq!(manager.load(&user).unwrap().group_name(), Some("ada"));
        assert_eq!(manager.load_token(Some(&bearer)).unwrap().get("a").unwrap(), Some(1));
        clock.advance(2 * DAY);
        assert_eq!(manager.load(&user).unwrap().group_name(), Some("ada"), "a use extends the life");
        clock.advance(4 * DAY);
        for header in [&visitor, &user] {
            assert!(manager.load(header).unwrap().is_new());
        }
        assert!(manager.load_token(Some(&bearer)).unwrap().is_new());
    }
}

#[test]
fn a_ready_session_is_what_was_asked_for_and_nothing_more() {
    let clock = TestClock::new();
    for refresh in [Refresh::default(), Refresh::EveryLoad, Refresh::Never] {
        let builder = builder_with_own_timeouts("memory:").store(clock.store()).refresh(refresh);
        let manager = builder.build().unwrap();
        let empty = cookie(&manager, |_| Ok(())).unwrap();
        let mut session = manager.load(&empty).unwrap();
        assert!(!session.is_new() && session.is_empty() && session.group_name().is_none());
        assert!(session.save().unwrap().is_none(), "no cookie is due");
        let short = cookie(&manager, |session| {
            session.set_idle_timeout(5 * MINUTE);
            session.set("a", &1)
        });
        let short = short.unwrap();
        clock.advance(6 * MINUTE);
        assert!(manager.load(&short).unwrap().is_new());
        assert!(!manager.load(&empty).unwrap().is_new());
        assert!(!manager.load_token(Some(&token(&manager, |_| Ok(())).unwrap())).unwrap().is_new());
        // Each call makes a session of its own.
        assert_ne!(cookie(&manager, |_| Ok(())).unwrap(), cookie(&manager, |_| Ok(())).unwrap());
        let refused = cookie(&manager, |session| session.set("\0", &1));
        assert!(matches!(refused, Err(Error::ReservedKey { .. })));
    }
}

#[test]
fn a_cookie_of_another_secret_is_worth_nothing() {
    let clock = TestClock::new();
    let store = std::sync::Arc::new(clock.store());
    let other = multi_process_session::Secret::generate().unwrap();
    let manager = |secret| SessionManager::builder(secret).store(store.clone()).build().unwrap();
    let header = cookie(&manager(secret()), |session| session.set("a", &1)).unwrap();
    assert!(!manager(secret()).load(&header).unwrap().is_new());
    assert!(manager(other).load(&header).unwrap().is_new());
}
