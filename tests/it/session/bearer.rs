//! Bearer tokens: sessions of clients that send an `Authorization` header.

use crate::support::place::Place;
use crate::support::redis::Redis;
use crate::support::{builder, clock, manager, secret, session_with};
use multi_process_session::{Error, MemoryStore, Secret, Session, SessionManager};
use std::sync::Arc;
use std::time::Duration;

/// Makes a session with one value, and gives its token.
fn token_with(manager: &SessionManager, key: &str, value: &str) -> String {
    let mut session = manager.load_token(None).unwrap();
    assert_eq!(session.token(), None, "nothing is kept yet");
    session.set(key, value).unwrap();
    assert_eq!(session.save().unwrap(), None, "a token's session has no cookie");
    session.token().unwrap()
}

#[test]
fn a_token_names_its_session_until_it_ends() {
    for place in Place::all() {
        let manager = manager(&place.url());
        let token = token_with(&manager, "user", "ada");
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        let mut session = manager.load_token(Some(&token)).unwrap();
        assert_eq!(session.get::<String>("user").unwrap().unwrap(), "ada");
        assert_eq!(session.token(), Some(token.clone()), "the same, as long as the id is");

        session.regenerate();
        assert_eq!(session.save().unwrap(), None);
        let renewed = session.token().unwrap();
        assert_ne!(renewed, token);
        assert!(manager.load_token(Some(&token)).unwrap().is_new());
        assert_eq!(session.destroy().unwrap(), None, "nor one to take away");
        assert!(manager.load_token(Some(&renewed)).unwrap().is_new());

        let token = token_with(&manager, "user", "ada");
        manager.destroy_token(Some(&token)).unwrap();
        manager.destroy_token(Some(&token)).unwrap();
        manager.destroy_token(None).unwrap();
        assert!(manager.load_token(Some(&token)).unwrap().is_new());
        assert_eq!(place.records(), 0);
    }
}

#[test]
fn a_cookie_is_no_token_and_a_token_is_no_cookie() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let token = token_with(&manager, "user", "ada");
    let header = session_with(&manager, &[("user", "grace")]);
    let (commands, ()) = redis.commands(|| {
        let value = header.strip_prefix("sid=").unwrap();
        for no_token in [value, &header, "", "Bearer ", &format!("Bearer {token}"), &token[1..], &format!("{token} ")] {
            assert!(manager.load_token(Some(no_token)).unwrap().is_new(), "{no_token}");
            manager.destroy_token(Some(no_token)).unwrap();
        }
        for no_cookie in [format!("sid={token}"), token.clone()] {
            assert!(manager.load(&no_cookie).unwrap().is_new());
            let _ = manager.destroy(&no_cookie).unwrap();
        }
    });
    assert_eq!(commands, Vec::<String>::new());
    assert!(!manager.load_token(Some(&token)).unwrap().is_new());
    assert!(!manager.load(&header).unwrap().is_new());
}

#[test]
fn cookie_settings_do_not_log_tokens_out_and_the_namespace_does() {
    let place = Place::redis();
    let token = token_with(&manager(&place.url()), "user", "ada");
    let other_cookie = builder(&place.url()).cookie_name("other").path("/app").domain("example.com").build().unwrap();
    assert!(!other_cookie.load_token(Some(&token)).unwrap().is_new());
    let other_application = builder(&place.url()).namespace("other").build().unwrap();
    assert!(other_application.load_token(Some(&token)).unwrap().is_new());
}

#[test]
fn a_token_of_an_accepted_secret_is_signed_anew() {
    let place = Place::redis();
    let token = token_with(&manager(&place.url()), "user", "ada");
    let new_secret = Secret::new([7; 32]).unwrap();
    let builder = || SessionManager::builder(new_secret.clone()).store_url(&place.url());
    let manager = builder().accept_secret(secret()).build().unwrap();
    let renewed = manager.load_token(Some(&token)).unwrap().token().unwrap();
    assert_ne!(renewed, token);
    let without = builder().build().unwrap();
    assert!(without.load_token(Some(&token)).unwrap().is_new());
    assert!(!without.load_token(Some(&renewed)).unwrap().is_new());
}

#[test]
fn a_transaction_gives_the_token() {
    let manager = manager("memory:");
    let add_one = |session: &mut Session| -> Result<u32, Error> {
        let count = session.get("count")?.unwrap_or(0) + 1;
        session.set("count", &count)?;
        Ok(count)
    };
    let (count, token) = manager.transact_token(None, add_one).unwrap();
    let token = token.unwrap();
    assert_eq!(count, 1);
    assert_eq!(manager.transact_token(Some(&token), add_one).unwrap(), (2, Some(token.clone())));
    assert_eq!(manager.transact_token(None, |_| Ok::<_, Error>(())).unwrap(), ((), None), "nothing was set");
}

#[test]
fn a_used_token_lives_on_without_being_renewed() {
    let (now, pass) = clock();
    let store = Arc::new(MemoryStore::with_clock(now));
    let hour = Duration::from_secs(3600);
    let manager = builder("memory:").store(store).idle_timeout(hour).build().unwrap();
    let token = token_with(&manager, "user", "ada");
    for _ in 0..5 {
        pass(hour);
        assert_eq!(manager.load_token(Some(&token)).unwrap().save().unwrap(), None);
    }
    pass(hour * 2);
    assert!(manager.load_token(Some(&token)).unwrap().is_new());
}
