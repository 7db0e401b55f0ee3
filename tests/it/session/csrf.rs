//! Tokens against cross-site request forgery: they belong to one session, and outlive a change of its id by a grace.

use crate::support::place::Place;
use crate::support::redis::Redis;
use crate::support::wait::next_millisecond;
use crate::support::{builder, clock, cookie, manager, rotate, secret, session_with};
use multi_process_session::{Error, MemoryStore, Secret, SessionManager};
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn a_token_is_good_for_its_session_and_for_no_other() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let (one, two) = (session_with(&manager, &[("a", "1")]), session_with(&manager, &[("a", "2")]));
    let mut session = manager.load(&one).unwrap();
    let tokens: BTreeSet<String> = (0..100).map(|_| session.csrf_token()).collect();
    assert_eq!(tokens.len(), 100, "masked anew each time");
    for position in 0..64 {
        let letters: BTreeSet<u8> = tokens.iter().map(|token| token.as_bytes()[position]).collect();
        assert!(letters.len() > 20, "letter {position} hardly changes");
    }
    let (commands, ()) = redis.commands(|| assert_eq!(session.save().unwrap(), None));
    assert_eq!(commands, Vec::<String>::new(), "nothing is stored");

    let token = tokens.first().unwrap();
    let session = manager.load(&one).unwrap();
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
    assert!(!manager.load(&two).unwrap().verify_csrf(token));
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
        assert!(manager.load(&header).unwrap().verify_csrf(&token));
    }
}

#[test]
fn it_changes_with_the_id() {
    let manager = manager("memory:");
    let header = session_with(&manager, &[("a", "1")]);
    let mut session = manager.load(&header).unwrap();
    let before = session.csrf_token();
    session.regenerate();
    let after = session.csrf_token();
    assert!(session.verify_csrf(&before), "the form that made this request");
    let new_header = cookie(&session.save().unwrap().unwrap());
    let session = manager.load(&new_header).unwrap();
    assert!(session.verify_csrf(&after) && !session.verify_csrf(&before));

    // A token that is in a page already stays good when the save is refused at first.
    let mut session = manager.load(&new_header).unwrap();
    session.regenerate();
    let token = session.csrf_token();
    session.increment("a", 1).unwrap();
    assert!(session.save().is_err());
    session.remove("a");
    let header = cookie(&session.save().unwrap().unwrap());
    assert!(manager.load(&header).unwrap().verify_csrf(&token));
}

const GRACE: Duration = Duration::from_secs(60);

fn form(manager: &SessionManager, header: &str) -> String {
    manager.load(header).unwrap().csrf_token()
}

#[test]
fn a_form_outlives_a_change_of_id_by_its_grace() {
    let urls = Place::all_and_a_cluster();
    for url in urls.iter().map(Place::url).chain(["memory:".to_owned()]) {
        let manager = manager(&url);
        let mut session = manager.load(None).unwrap();
        session.set("a", "1").unwrap();
        session.set_group_name("ada");
        let mut header = cookie(&session.save().unwrap().unwrap());
        let accepts = |header: &str, form: &String| manager.load(header).unwrap().verify_csrf(form);
        let mut forms = vec![form(&manager, &header)];
        // The id changes several times, and all graces last.
        for _ in 0..3 {
            let new = rotate(&manager, &header, GRACE);
            assert!(accepts(&header, &forms[0]), "the old id with the old form");
            forms.push(form(&manager, &new));
            assert!(accepts(&header, forms.last().unwrap()), "the old id with a new form");
            // In the meantime a request with the old id saves.
            let mut late = manager.load(&header).unwrap();
            late.increment("count", 1).unwrap();
            late.save().unwrap();
            header = new;
            assert!(forms.iter().all(|form| accepts(&header, form)));
        }
        let stranger = session_with(&manager, &[("a", "1")]);
        assert!(!forms.iter().any(|form| accepts(&stranger, form)));

        // The application sees nothing of this.
        let mut session = manager.load(&header).unwrap();
        assert_eq!((session.keys(), session.len()), (vec!["a", "count"], 2));
        // A session that forgets all values still knows its forms.
        session.clear();
        session.save().unwrap();
        assert!(session.is_empty() && forms.iter().all(|form| session.verify_csrf(form)));
        let session = manager.load(&header).unwrap();
        assert!(session.is_empty() && forms.iter().all(|form| session.verify_csrf(form)));

        // A login makes all old forms worthless.
        let mut session = manager.load(&header).unwrap();
        session.set_group_name("ada");
        let header = cookie(&session.save().unwrap().unwrap());
        assert!(!forms.iter().any(|form| accepts(&header, form)));
    }
}

#[test]
fn each_grace_ends_by_itself() {
    let (now, pass) = clock();
    let manager = builder("memory:").store(MemoryStore::with_clock(now)).build().unwrap();
    let mut headers = vec![session_with(&manager, &[("a", "1")])];
    let mut forms = vec![form(&manager, &headers[0])];
    for _ in 0..3 {
        headers.push(rotate(&manager, headers.last().unwrap(), GRACE));
        forms.push(form(&manager, headers.last().unwrap()));
        pass(GRACE / 4);
    }
    let accepted = || {
        let session = manager.load(headers.last().unwrap().as_str()).unwrap();
        forms.iter().map(|form| session.verify_csrf(form)).collect::<Vec<_>>()
    };
    assert_eq!(accepted(), [true; 4]);
    pass(GRACE / 4 + Duration::from_secs(1));
    assert_eq!(accepted(), [false, true, true, true]);
    pass(GRACE / 4);
    assert_eq!(accepted(), [false, false, true, true]);
    pass(GRACE);
    assert_eq!(accepted(), [false, false, false, true]);
}

#[test]
fn of_two_changes_at_once_the_form_outlives_the_one_that_was_made() {
    for place in Place::all() {
        let manager = manager(&place.url());
        let old = session_with(&manager, &[("a", "1")]);
        let form = form(&manager, &old);
        let [mut first, mut second] = [(), ()].map(|()| manager.load(&old).unwrap());
        first.regenerate_with_grace(GRACE);
        second.regenerate_with_grace(GRACE);
        second.set("second", &1).unwrap();
        let new = cookie(&first.save().unwrap().unwrap());
        assert_eq!(second.save().unwrap(), None, "the first was faster");
        for header in [&old, &new] {
            let session = manager.load(&**header).unwrap();
            assert!(session.verify_csrf(&form) && session.contains_key("second"));
        }
        // A change of id is refused at first, and made later.
        let mut session = manager.load(&new).unwrap();
        session.regenerate_with_grace(GRACE);
        session.set("a", "text").unwrap();
        session.increment("second", i64::MAX).unwrap();
        assert!(matches!(session.save(), Err(Error::NotAnInteger { .. })));
        session.remove("second");
        let newer = cookie(&session.save().unwrap().unwrap());
        assert!(manager.load(&newer).unwrap().verify_csrf(&form));
    }
}

#[test]
fn what_is_kept_for_it_is_little_and_takes_nothing_from_the_application() {
    let redis = Redis::start();
    let manager = builder(&redis.url()).max_session_bytes(100).build().unwrap();
    let mut session = manager.load(None).unwrap();
    session.set("a", &"x".repeat(97)).unwrap();
    let mut header = cookie(&session.save().unwrap().unwrap());
    let kept = || {
        let fields = redis.records().into_iter().flat_map(|key| redis.record(&key).into_keys());
        fields.filter(|field| field.contains("before")).count()
    };
    let mut forms = Vec::new();
    for _ in 0..20 {
        next_millisecond();
        forms.push(form(&manager, &header));
        header = rotate(&manager, &header, GRACE);
        // No two graces end in the same millisecond.
        next_millisecond();
    }
    let session = manager.load(&header).unwrap();
    let accepted = forms.iter().filter(|form| session.verify_csrf(form)).count();
    assert_eq!((accepted, kept()), (16, 16));
    assert!(session.verify_csrf(&forms[4]) && !session.verify_csrf(&forms[3]), "the latest are kept");

    // The limit for the application is as before.
    let set = |length: usize| {
        let mut session = manager.load(&header).unwrap();
        session.set("b", &"x".repeat(length)).unwrap();
        session.remove("a");
        session.save().map(drop)
    };
    set(97).unwrap();
    let mut session = manager.load(&header).unwrap();
    session.set("c", &1).unwrap();
    assert!(matches!(session.save(), Err(Error::TooLarge { key, .. }) if key == "c"));
    drop(session);

    // Nothing is left after a change without a grace. Whatever belongs to a grace that has ended is gone after the next
    // change.
    let mut session = manager.load(&header).unwrap();
    session.regenerate();
    header = cookie(&session.save().unwrap().unwrap());
    assert_eq!(kept(), 0);
    for _ in 0..3 {
        header = rotate(&manager, &header, Duration::from_millis(1));
        (0..3).for_each(|_| next_millisecond());
    }
    assert_eq!(kept(), 1);
}

#[test]
fn it_takes_no_round_trip_more() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("a", "1")]);
    let form = form(&manager, &header);
    let header = rotate(&manager, &rotate(&manager, &header, GRACE), GRACE);
    let (commands, header) = redis.commands(|| rotate(&manager, &header, GRACE));
    assert_eq!(commands.len(), 2, "a load and a save: {commands:?}");
    let (commands, ()) = redis.commands(|| assert!(manager.load(&header).unwrap().verify_csrf(&form)));
    assert_eq!(commands.len(), 1);
}

#[test]
fn accepted_secrets_are_good_and_others_are_not() {
    let place = Place::redis();
    let mut old = manager(&place.url()).load(None).unwrap();
    let token = old.csrf_token();
    let header = cookie(&old.save().unwrap().unwrap());
    let new_secret = || SessionManager::builder(Secret::new([7; 32]).unwrap()).store_url(&place.url()).secure(false);
    let mut session = new_secret().accept_secret(secret()).build().unwrap().load(&header).unwrap();
    assert!(session.verify_csrf(&token));
    let renewed = session.csrf_token();
    let header = cookie(&session.save().unwrap().unwrap());
    let session = new_secret().build().unwrap().load(&header).unwrap();
    assert!(!session.verify_csrf(&token) && session.verify_csrf(&renewed));
    let other_setting = builder(&place.url()).path("/app").build().unwrap();
    assert!(!other_setting.load(None).unwrap().verify_csrf(&token));
}

#[test]
fn forms_of_another_tab_survive_a_login_if_the_application_asks_for_it() {
    let (now, pass) = clock();
    let manager = builder("memory:").store(MemoryStore::with_clock(now)).build().unwrap();
    let log_in = |header: Option<&str>, user: &str, grace: Option<Duration>| {
        let mut session = manager.load(header).unwrap();
        session.set_group_name(user);
        if let Some(grace) = grace {
            session.keep_forms_for(grace);
        }
        cookie(&session.save().unwrap().unwrap())
    };
    let visitor = session_with(&manager, &[("a", "1")]);
    let form = manager.load(&visitor).unwrap().csrf_token();
    let without = log_in(Some(&visitor), "ada", None);
    assert!(!manager.load(&without).unwrap().verify_csrf(&form), "by default, a planted id is worth nothing");

    let visitor = session_with(&manager, &[("a", "1")]);
    let form = manager.load(&visitor).unwrap().csrf_token();
    let ada = log_in(Some(&visitor), "ada", Some(Duration::from_secs(60)));
    assert!(manager.load(&ada).unwrap().verify_csrf(&form));
    pass(Duration::from_secs(58));
    assert!(manager.load(&ada).unwrap().verify_csrf(&form));
    pass(Duration::from_secs(2));
    assert!(!manager.load(&ada).unwrap().verify_csrf(&form), "the grace has ended");

    let form = manager.load(&ada).unwrap().csrf_token();
    let again = log_in(Some(&ada), "ada", Some(Duration::from_secs(24 * 60 * 60)));
    assert!(manager.load(&again).unwrap().verify_csrf(&form), "a login of the same user");
    pass(Duration::from_secs(5 * 60 + 1));
    assert!(!manager.load(&again).unwrap().verify_csrf(&form), "a grace has at most 5 minutes");
    let form = manager.load(&again).unwrap().csrf_token();
    let bob = log_in(Some(&again), "bob", Some(Duration::from_secs(60)));
    assert!(!manager.load(&bob).unwrap().verify_csrf(&form), "forms of another user are never kept");
    let form = manager.load(&bob).unwrap().csrf_token();
    let mut session = manager.load(&bob).unwrap();
    session.keep_forms_for(Duration::from_secs(60));
    session.leave_group();
    let left = cookie(&session.save().unwrap().unwrap());
    assert!(!manager.load(&left).unwrap().verify_csrf(&form), "nor after the user has left");
}
