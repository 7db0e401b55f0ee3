//! Lost replies: a call that is sent again, by the library or by the application, is applied once.

use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::wait::let_connections_rest;
use crate::support::{
    builder, cookie, devices, fault, is_alive, kind, let_it_know_the_scripts, login_on, manager, session_with,
    with_timeout,
};
use multi_process_session::{Error, SessionManager};
use std::slice::from_ref;
use std::time::Duration;

/// Half of this is enough for a call, also on a busy machine. A silent connection is given up after half of it.
const LONG: Duration = Duration::from_secs(3);

#[test]
fn what_is_sent_twice_is_applied_once() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = with_timeout(&proxy.url(), LONG);
    for fault in [Fault::LoseReply, Fault::HalfReply, Fault::HalfReplyThenSilence] {
        let next = |faults: &[Fault]| {
            if fault.is_silent() {
                manager.ping().unwrap();
                let_connections_rest();
            }
            proxy.next(faults);
        };
        // A new session.
        let mut session = manager.load(None).unwrap();
        session.increment("count", 1).unwrap();
        next(from_ref(&fault));
        let header = cookie(&session.save().unwrap().unwrap());
        // A change.
        session.increment("count", 10).unwrap();
        next(from_ref(&fault));
        assert_eq!(session.save().unwrap(), None);
        assert_eq!(session.get("count").unwrap(), Some(11), "{fault:?}");
        // A new id.
        session.regenerate();
        session.increment("count", 100).unwrap();
        next(from_ref(&fault));
        let new_header = cookie(&session.save().unwrap().expect("a new id needs a cookie"));
        assert!(manager.load(&header).unwrap().is_new());
        assert_eq!(manager.load(&new_header).unwrap().get("count").unwrap(), Some(111), "{fault:?}");
        // In a transaction, only the load has a connection that was idle.
        let fault = if fault.is_silent() { Fault::LoseReply } else { fault };
        proxy.next(&[Fault::Pass, fault.clone()]);
        manager.transact(&new_header, |session| session.increment("count", 1000)).unwrap();
        assert_eq!(manager.load(&new_header).unwrap().get("count").unwrap(), Some(1111), "{fault:?}");
    }
}

#[test]
fn a_save_that_failed_can_be_made_again() {
    let redis = Redis::start();
    let_it_know_the_scripts(&redis.url());
    redis.run::<()>(&["FLUSHALL"]);
    let proxy = Proxy::start(redis.socket());
    let manager = with_timeout(&proxy.url(), LONG);
    for fault in [Fault::LoseReply, Fault::Silence] {
        let both = if fault.is_silent() { vec![fault.clone()] } else { vec![fault.clone(); 2] };
        let mut session = manager.load(None).unwrap();
        session.increment("count", 1).unwrap();
        proxy.next(&both);
        kind(session.save());
        assert!(session.is_new());
        session.increment("count", 10).unwrap();
        assert_eq!(session.get("count").unwrap(), Some(11));
        let header = cookie(&session.save().unwrap().expect("a new session has a cookie"));
        assert_eq!(session.get("count").unwrap(), Some(11), "{fault:?}");

        session.increment("count", 100).unwrap();
        session.set("text", "one").unwrap();
        session.regenerate();
        proxy.next(&both);
        kind(session.save());
        session.set("text", "two").unwrap();
        session.increment("count", 1000).unwrap();
        let (commands, set_cookie) = redis.commands(|| session.save().unwrap());
        assert_eq!(commands, ["evalsha", "evalsha"], "what was sent, under the id it was sent with, and the rest");
        let new_header = cookie(&set_cookie.expect("a new id needs a cookie"));
        assert!(manager.load(&header).unwrap().is_new(), "{fault:?}");
        assert_eq!(redis.keys(), [format!("mps:{}", session.public_id())]);
        let now = manager.load(&new_header).unwrap();
        assert_eq!(now.get("count").unwrap(), Some(1111), "{fault:?}");
        assert_eq!(now.get::<String>("text").unwrap().unwrap(), "two");
        let _ = manager.destroy(&new_header).unwrap();
    }
    // A logout after an unanswered save ends the session that the save may have made.
    let mut session = manager.load(None).unwrap();
    session.set("a", &1).unwrap();
    proxy.next(&[Fault::LoseReply, Fault::LoseReply]);
    kind(session.save());
    let keys = redis.keys();
    session.destroy().unwrap();
    assert_eq!(redis.keys().len(), keys.len() - 1);
    let mut session = manager.load(None).unwrap();
    session.set("a", &1).unwrap();
    let _ = session.save().unwrap();
    session.regenerate();
    proxy.next(&[Fault::LoseReply, Fault::LoseReply]);
    kind(session.save());
    session.destroy().unwrap();
    assert_eq!(redis.keys().len(), keys.len() - 1);
}

#[test]
fn what_was_cleared_after_a_save_without_an_answer_stays_cleared() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = with_timeout(&proxy.url(), LONG);
    let header = session_with(&manager, &[("text", "no number")]);
    let mut session = manager.load(&header).unwrap();
    session.set("old", &1).unwrap();
    session.increment("text", 1).unwrap();
    proxy.next(&[Fault::LoseReply, Fault::LoseReply]);
    kind(session.save());
    session.clear();
    session.set("new", &2).unwrap();
    // The unanswered changes are sent again and refused. The next save has only those that came later.
    assert!(matches!(session.save(), Err(Error::NotAnInteger { .. })));
    session.save().unwrap();
    assert_eq!(manager.load(&header).unwrap().keys(), ["new"]);
}

#[test]
fn what_is_sent_again_is_applied_once_though_two_dozen_other_changes_came_between() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let (manager, other) = (with_timeout(&proxy.url(), LONG), manager(&redis.url()));
    let header = session_with(&manager, &[("user", "ada")]);
    let mut session = manager.load(&header).unwrap();
    for round in 1..40 {
        session.increment("count", 1).unwrap();
        proxy.next(&[Fault::LoseReply, Fault::LoseReply]);
        kind(session.save());
        for _ in 0..24 {
            other.transact(&header, |session| session.increment("others", 1)).unwrap();
        }
        session.save().unwrap();
        assert_eq!(other.load(&header).unwrap().get("count").unwrap(), Some(round));
    }
}

#[test]
fn what_is_sent_again_is_done_once() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = builder(&proxy.url()).max_sessions_per_group(2).build().unwrap();
    let group = manager.group("ada");
    let header = session_with(&manager, &[("device", "phone")]);
    let losing = |work: &dyn Fn() -> String| {
        proxy.next(&[Fault::LoseReply]);
        let result = work();
        assert_eq!(proxy.left(), 0, "a reply was lost");
        result
    };
    let mut session = manager.load(&header).unwrap();
    session.increment("logins", 1).unwrap();
    session.set_group_name("ada");
    proxy.next(&[Fault::LoseReply]);
    let header = cookie(&session.save().unwrap().unwrap());
    assert_eq!(manager.load(&header).unwrap().get("logins").unwrap(), Some(1));
    assert_eq!(devices(&group), ["phone"]);
    let created = losing(&|| login_on(&manager, "ada", "laptop"));
    assert_eq!(devices(&group), ["laptop", "phone"]);
    // The same with the limit. The repeated call tells which session it has ended.
    let phone = manager.load(&header).unwrap().public_id();
    let mut session = manager.load(None).unwrap();
    session.set("device", "tablet").unwrap();
    session.set_group_name("ada");
    proxy.next(&[Fault::LoseReply]);
    let third = cookie(&session.save().unwrap().unwrap());
    assert_eq!(proxy.left(), 0, "a reply was lost");
    assert_eq!(session.ended_by_login(), [phone]);
    assert_eq!(devices(&group), ["laptop", "tablet"]);
    assert_eq!(losing(&|| group.len().unwrap().to_string()), "2");
    assert_eq!(losing(&|| group.sessions_with(&["device"]).unwrap().len().to_string()), "2");
    // A clear that is sent again does not end sessions that joined in between, and it counts once.
    proxy.next(&[Fault::LoseReply]);
    assert_eq!(group.clear().unwrap(), 2);
    assert!([&header, &created, &third].iter().all(|header| !is_alive(&manager, header)));
    redis.assert_every_key_expires();
    assert_eq!(redis.keys(), Vec::<String>::new(), "the record of the session that the third login ended is removed");
}

#[test]
fn a_login_that_is_saved_again_after_its_group_ended_is_told_so() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = manager(&proxy.url());
    let _ = manager.destroy(&login_on(&manager, "ada", "phone")).unwrap(); // Redis knows the script now.
    let mut session = manager.load(None).unwrap();
    session.set_group_name("ada");
    proxy.next(&[Fault::LoseReply, Fault::LoseReply]);
    assert!(matches!(session.save(), Err(Error::Store(_))));
    assert_eq!(redis.run::<i64>(&["DEL", &redis.group_index()]), 1);
    assert!(matches!(session.save(), Err(Error::Gone)));
    assert_eq!(manager.group("ada").len().unwrap(), 0);
}

#[test]
fn a_login_that_was_not_answered_is_not_forgotten_for_a_later_wish() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = builder(&proxy.url()).max_session_bytes(200).build().unwrap();
    let header = session_with(&manager, &[("device", "phone")]);
    let mut session = manager.load(&header).unwrap();
    session.set("mine", &"x".repeat(100)).unwrap();
    session.set_group_name("ada");
    proxy.next(&[Fault::Answer(b"-LOADING not yet\r\n")]);
    assert!(matches!(session.save(), Err(Error::Store(_))));
    let mut other = manager.load(&header).unwrap();
    other.set("other", &"x".repeat(100)).unwrap();
    other.save().unwrap();
    session.regenerate_with_grace(Duration::from_secs(9));
    assert!(matches!(session.save(), Err(Error::TooLarge { .. })));
    assert_eq!(session.group_name(), Some("ada"));
    session.remove("mine");
    assert!(session.save().unwrap().is_some());
    assert_eq!(devices(&manager.group("ada")), ["phone"]);
    assert!(!is_alive(&manager, &header), "a login leaves no grace");
}

#[test]
fn a_login_that_was_ended_before_its_answer_came_is_not_made_again() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let (manager, other) = (manager(&proxy.url()), manager(&redis.url()));
    type End = fn(&SessionManager);
    let ends: [End; 2] = [
        |manager| {
            let logged_in = manager.group("ada").sessions().unwrap();
            assert_eq!(logged_in.len(), 1);
            assert!(manager.group("ada").remove(logged_in[0].public_id()).unwrap());
        },
        |manager| assert_eq!(manager.group("ada").clear().unwrap(), 1),
    ];
    for end in ends {
        for is_new in [true, false] {
            // Lets Redis know the scripts.
            let mut warm = other.load(&session_with(&other, &[("a", "1")])).unwrap();
            warm.set_group_name("grace");
            warm.save().unwrap();
            let header = (!is_new).then(|| session_with(&other, &[("a", "1")]));
            let mut session = manager.load(header.as_deref()).unwrap();
            session.set_group_name("ada");
            proxy.next(&[Fault::LoseReply, Fault::LoseReply]);
            fault(session.save());
            end(&other);
            assert!(matches!(session.save(), Err(Error::Gone)), "new: {is_new}");
            assert_eq!(other.group("ada").len().unwrap(), 0);
            // The trace of its end expires soon, too.
            other.group("grace").clear().unwrap();
            let mut traces: Vec<String> = redis.run(&["KEYS", "*"]);
            traces.retain(|key| key != "mps:generation");
            assert!(traces.iter().all(|key| (1..=300_000).contains(&redis.run::<i64>(&["PTTL", key]))), "{traces:?}");
        }
    }
}
