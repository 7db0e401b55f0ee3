//! What a request costs, counted at Redis.

#![allow(missing_docs)]

mod support;

use multi_process_session::{Refresh, SessionManager};
use std::time::Duration;
use support::redis::Redis;
use support::{builder, cookie, session_with};

/// A manager whose scripts Redis knows already, and a session.
fn warm(redis: &Redis, refresh: Refresh) -> (SessionManager, String) {
    let manager = builder(&redis.url()).refresh(refresh).build().unwrap();
    let mut session = manager.load(&*session_with(&manager, &[("a", "1")])).unwrap();
    session.set("b", "2").unwrap();
    session.save().unwrap();
    session.destroy().unwrap();
    let header = session_with(&manager, &[("user", "ada"), ("cart", "full")]);
    (manager, header)
}

#[test]
fn a_request_makes_no_more_round_trips_than_promised() {
    let redis = Redis::start();
    let (manager, header) = warm(&redis, Refresh::default());
    let count = |what: &str, expected: &[&str], request: &dyn Fn()| {
        let (commands, ()) = redis.commands(request);
        assert_eq!(commands, expected, "{what}");
    };
    count("no cookie, nothing set", &[], &|| {
        for header in [None, Some("other=1"), Some("sid=forged")] {
            assert_eq!(manager.load(header).unwrap().save().unwrap(), None);
        }
    });
    count("no cookie, something set", &["evalsha"], &|| drop(session_with(&manager, &[("a", "1")])));
    count("read", &["evalsha"], &|| {
        let mut session = manager.load(&*header).unwrap();
        assert_eq!(session.get::<String>("user").unwrap().unwrap(), "ada");
        assert_eq!(session.save().unwrap(), None);
    });
    count("read and write", &["evalsha", "evalsha"], &|| {
        let mut session = manager.load(&*header).unwrap();
        session.set("cart", "empty").unwrap();
        session.remove("user");
        session.increment("visits", 1).unwrap();
        session.set_idle_timeout(Duration::from_secs(3600));
        assert!(session.save().unwrap().is_some());
        assert_eq!(session.save().unwrap(), None, "a second save has nothing to do");
    });
    count("a transaction", &["evalsha", "evalsha"], &|| {
        manager.transact(&*header, |session| session.set("cart", "full")).unwrap();
    });
    count("logout", &["evalsha"], &|| {
        assert!(manager.destroy(&*header).unwrap().is_some());
    });
    count("a session that has ended", &["evalsha"], &|| {
        assert_eq!(manager.load(&*header).unwrap().save().unwrap(), None);
    });
    let header = session_with(&manager, &[("user", "ada")]);
    count("nothing to take", &["evalsha"], &|| {
        let mut session = manager.load(&*header).unwrap();
        assert_eq!(session.take::<String>("flash").unwrap(), None);
        assert_eq!(session.save().unwrap(), None);
    });
    count("a new id", &["evalsha", "evalsha"], &|| {
        let mut session = manager.load(&*header).unwrap();
        session.regenerate();
        session.set("user", "grace").unwrap();
        assert!(session.save().unwrap().is_some());
    });
}

#[test]
fn a_read_with_a_refresh_is_one_round_trip_too() {
    let redis = Redis::start();
    let (manager, header) = warm(&redis, Refresh::EveryLoad);
    let key = redis.keys().remove(0);
    let _: i64 = redis.run(&["PEXPIRE", &key, "5000"]);
    let (commands, set_cookie) = redis.commands(|| manager.load(&*header).unwrap().save().unwrap());
    assert_eq!(commands, ["evalsha"]);
    assert_eq!(cookie(&set_cookie.expect("refreshed")), header);
    let left: u64 = redis.run(&["PTTL", &key]);
    assert!(left > 6 * 24 * 60 * 60 * 1000, "{left}");
}

#[test]
fn a_server_that_forgot_its_scripts_is_sent_them_again() {
    let redis = Redis::start();
    let (manager, header) = warm(&redis, Refresh::default());
    let _: () = redis.run(&["SCRIPT", "FLUSH"]);
    let (commands, visits) = redis.commands(|| {
        let mut session = manager.load(&*header).unwrap();
        session.increment("visits", 1).unwrap();
        session.save().unwrap();
        session.get::<u32>("visits").unwrap()
    });
    assert_eq!((commands, visits), (["evalsha", "eval"].repeat(2).iter().map(|c| c.to_string()).collect(), Some(1)));
}
