//! Looking at a session without using it: its life stays as it is, nothing is written, and no cookie is owed.

use crate::support::place::{Place, on_every_store};
use crate::support::{builder, builder_with_own_timeouts, clock, cookie, login, rotate, secret, session_with};
use multi_process_session::{MemoryStore, Refresh, Secret};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

#[test]
fn a_peek_gives_what_a_load_gives() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = login(&manager, "ada");
        let (peeked, loaded) = (manager.peek(&header).unwrap(), manager.load(&header).unwrap());
        assert_eq!(peeked.get::<String>("user").unwrap().as_deref(), Some("ada"));
        assert_eq!((peeked.public_id(), peeked.group_name()), (loaded.public_id(), loaded.group_name()));
        assert_eq!((peeked.created_at(), peeked.expires_at()), (loaded.created_at(), loaded.expires_at()));
        assert!(manager.peek(None).unwrap().is_new() && manager.peek("sid=forged").unwrap().is_new());
        let old = header;
        let new = rotate(&manager, &old, HOUR);
        assert_eq!(manager.peek(&old).unwrap().public_id(), manager.peek(&new).unwrap().public_id());
    });
}

#[test]
fn a_peek_does_not_extend_a_life_and_owes_no_cookie() {
    let (now, pass) = clock();
    let store = MemoryStore::with_clock(now);
    let manager = builder_with_own_timeouts("memory:").store(store).idle_timeout(100 * SECOND);
    let manager = manager.unconfirmed_timeout(50 * SECOND).build().unwrap();
    let header = session_with(&manager, &[("a", "1")]);
    // A peek does not confirm a new session.
    assert!(manager.peek(&header).unwrap().expires_in().unwrap() <= 50 * SECOND);
    let header = cookie(&manager.load(&header).unwrap().save().unwrap().expect("the first load confirms it"));
    for left in (1..=100).rev() {
        pass(SECOND);
        let mut peeked = manager.peek(&header).unwrap();
        let expires_in = peeked.expires_in().unwrap();
        assert!((left - 1..=left).contains(&(expires_in.as_secs() as i32)), "{left}: {expires_in:?}");
        assert_eq!(peeked.save().unwrap(), None, "no cookie is owed");
    }
    pass(SECOND);
    let ended = manager.peek(&header).unwrap();
    assert!(ended.is_new(), "whoever only polls is logged out");
    assert_eq!(ended.expires_in(), None);
}

#[test]
fn no_setting_makes_a_peek_write() {
    for place in Place::all_and_a_cluster() {
        for refresh in [Refresh::EveryLoad, Refresh::default(), Refresh::Never] {
            let manager = builder(&place.url()).refresh(refresh).idle_timeout(HOUR).build().unwrap();
            let header = login(&manager, "ada");
            place.let_time_pass_for_all(HOUR / 2);
            let before = manager.peek(&header).unwrap().expires_at();
            let mut session = manager.peek(&header).unwrap();
            assert_eq!((session.save().unwrap(), session.expires_at()), (None, before), "{refresh:?}");
            let mut session = manager.load(&header).unwrap();
            assert_eq!(session.save().unwrap().is_some(), refresh != Refresh::Never, "a load is a use");
        }
    }
}

#[test]
fn what_is_changed_after_a_peek_is_saved_and_extends_nothing() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = session_with(&manager, &[("a", "1")]);
        let mut session = manager.peek(&header).unwrap();
        let before = session.expires_at();
        session.set("a", "2").unwrap();
        assert_eq!(session.save().unwrap(), None);
        let session = manager.peek(&header).unwrap();
        assert_eq!(session.get::<String>("a").unwrap().as_deref(), Some("2"));
        assert_eq!(session.expires_at(), before);
        // A login after a peek has its cookie.
        let mut session = manager.peek(&header).unwrap();
        session.set_group_name("ada");
        assert!(session.save().unwrap().is_some());
    });
}

#[test]
fn a_cookie_of_an_accepted_secret_is_not_renewed_by_a_peek() {
    let place = Place::redis();
    let header = session_with(&builder(&place.url()).build().unwrap(), &[("a", "1")]);
    let new = Secret::new("another secret of the tests, of 32 bytes and more").unwrap();
    let manager = multi_process_session::SessionManager::builder(new).accept_secret(secret());
    let manager = manager.store_url(&place.url()).secure(false).build().unwrap();
    assert_eq!(manager.peek(&header).unwrap().save().unwrap(), None);
    assert!(manager.load(&header).unwrap().save().unwrap().is_some(), "a load renews it");
}

#[test]
fn a_bearer_token_can_be_looked_at_too() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let mut session = manager.load_token(None).unwrap();
        session.set("user", "ada").unwrap();
        session.save().unwrap();
        let token = session.token().unwrap();
        let peeked = manager.peek_token(Some(&token)).unwrap();
        assert_eq!(peeked.get::<String>("user").unwrap().as_deref(), Some("ada"));
        assert_eq!(peeked.token().as_deref(), Some(&*token));
        assert!(manager.peek(&*format!("sid={token}")).unwrap().is_new(), "a bearer token is not a cookie");
    });
}
