//! Tokens against cross-site request forgery.

#![allow(missing_docs)]

mod support;

use multi_process_session::{Secret, SessionManager};
use std::collections::BTreeSet;
use support::place::Place;
use support::redis::Redis;
use support::{builder, cookie, manager, secret, session_with};

#[test]
fn a_token_is_good_for_its_session_and_for_no_other() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let (one, two) = (session_with(&manager, &[("a", "1")]), session_with(&manager, &[("a", "2")]));
    let mut session = manager.load(&*one).unwrap();
    let tokens: BTreeSet<String> = (0..100).map(|_| session.csrf_token()).collect();
    assert_eq!(tokens.len(), 100, "masked anew each time");
    for position in 0..64 {
        let letters: BTreeSet<u8> = tokens.iter().map(|token| token.as_bytes()[position]).collect();
        assert!(letters.len() > 20, "letter {position} hardly changes");
    }
    let (commands, ()) = redis.commands(|| assert_eq!(session.save().unwrap(), None));
    assert_eq!(commands, Vec::<String>::new(), "nothing is stored");

    let token = tokens.first().unwrap();
    let session = manager.load(&*one).unwrap();
    assert!(tokens.iter().all(|token| session.verify_csrf(token)));
    for position in 0..token.len() {
        assert!(!session.verify_csrf(&token[..position]));
        for letter in ["A", "z", "-", "=", " ", "é", "\0"] {
            let mut forged = token.clone();
            forged.replace_range(position..=position, letter);
            assert_eq!(session.verify_csrf(&forged), forged == *token, "{forged}");
        }
    }
    assert!(!session.verify_csrf(&format!("{token}A")) && !session.verify_csrf(&one["sid=".len()..]));
    assert!(!manager.load(&*two).unwrap().verify_csrf(token));
    assert!(!manager.load(None).unwrap().verify_csrf(token));
}

#[test]
fn a_new_session_is_kept_because_of_it() {
    for place in Place::all() {
        let manager = manager(&place.url());
        let mut session = manager.load(None).unwrap();
        let token = session.csrf_token();
        assert!(session.is_empty());
        let header = cookie(&session.save().unwrap().expect("it is kept"));
        assert_eq!((session.save().unwrap(), place.records()), (None, 1));
        assert!(manager.load(&*header).unwrap().verify_csrf(&token));
    }
}

#[test]
fn it_changes_with_the_id() {
    let manager = manager("memory:");
    let header = session_with(&manager, &[("a", "1")]);
    let mut session = manager.load(&*header).unwrap();
    let before = session.csrf_token();
    session.regenerate();
    let after = session.csrf_token();
    assert!(session.verify_csrf(&before), "the form that made this request");
    let new_header = cookie(&session.save().unwrap().unwrap());
    let session = manager.load(&*new_header).unwrap();
    assert!(session.verify_csrf(&after) && !session.verify_csrf(&before));

    // A refused save does not change what was put into a page.
    let mut session = manager.load(&*new_header).unwrap();
    session.regenerate();
    let token = session.csrf_token();
    session.increment("a", 1).unwrap();
    assert!(session.save().is_err());
    session.remove("a");
    let header = cookie(&session.save().unwrap().unwrap());
    assert!(manager.load(&*header).unwrap().verify_csrf(&token));
}

#[test]
fn accepted_secrets_are_good_and_others_are_not() {
    let place = Place::redis();
    let mut old = manager(&place.url()).load(None).unwrap();
    let token = old.csrf_token();
    let header = cookie(&old.save().unwrap().unwrap());
    let new_secret = || SessionManager::builder(Secret::new([7; 32]).unwrap()).store_url(&place.url()).secure(false);
    let mut session = new_secret().accept_secret(secret()).build().unwrap().load(&*header).unwrap();
    assert!(session.verify_csrf(&token));
    let renewed = session.csrf_token();
    let header = cookie(&session.save().unwrap().unwrap());
    let session = new_secret().build().unwrap().load(&*header).unwrap();
    assert!(!session.verify_csrf(&token) && session.verify_csrf(&renewed));
    let other_setting = builder(&place.url()).path("/app").build().unwrap();
    assert!(!other_setting.load(None).unwrap().verify_csrf(&token));
}
