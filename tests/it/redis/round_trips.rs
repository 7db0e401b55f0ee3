//! How many round trips a request makes, counted at Redis.

use crate::support::cluster::Cluster;
use crate::support::redis::Redis;
use crate::support::{builder, cookie, let_it_know_the_scripts, manager, session_with, try_login};
use multi_process_session::{AtLimit, EndReason, Error, Refresh, Session, SessionManager};
use std::time::Duration;

/// Returns a manager whose scripts Redis knows already, and a session.
fn warm(redis: &Redis, refresh: Refresh) -> (SessionManager, String) {
    let manager = builder(&redis.url()).refresh(refresh).build().unwrap();
    let_it_know_the_scripts(&redis.url());
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
    count("read", &["hgetall"], &|| {
        let mut session = manager.load(&header).unwrap();
        assert_eq!(session.get::<String>("user").unwrap().unwrap(), "ada");
        assert_eq!(session.save().unwrap(), None);
    });
    count("read and write", &["hgetall", "evalsha"], &|| {
        let mut session = manager.load(&header).unwrap();
        session.set("cart", "empty").unwrap();
        session.remove("user");
        session.increment("visits", 1).unwrap();
        session.set_idle_timeout(Duration::from_secs(3600));
        assert!(session.save().unwrap().is_some());
        assert_eq!(session.save().unwrap(), None, "a second save has nothing to do");
    });
    count("a transaction", &["hgetall", "evalsha"], &|| {
        manager.transact(&header, |session| session.set("cart", "full")).unwrap();
    });
    count("a peek", &["hgetall"], &|| {
        let mut session = manager.peek(&header).unwrap();
        assert!(session.expires_in().is_some());
        assert_eq!(session.save().unwrap(), None);
    });
    let mut handle = manager.load(&header).unwrap().to_handle().unwrap();
    count("still alive", &["time"], &|| assert!(handle.clone().is_alive().unwrap()));
    count("logout", &["evalsha"], &|| {
        let _ = manager.destroy(&header).unwrap();
    });
    let handle = &std::cell::RefCell::new(&mut handle);
    count("not alive any more", &["time"], &|| assert!(!handle.borrow_mut().is_alive().unwrap()));
    count("and then nobody asks", &[], &|| assert!(!handle.borrow_mut().is_alive().unwrap()));
    count("a session that has ended", &["hgetall"], &|| {
        assert_eq!(manager.load(&header).unwrap().save().unwrap(), None);
    });
    let header = session_with(&manager, &[("user", "ada")]);
    count("nothing to take", &["hgetall"], &|| {
        let mut session = manager.load(&header).unwrap();
        assert_eq!(session.take::<String>("flash").unwrap(), None);
        assert_eq!(session.save().unwrap(), None);
    });
    count("a new id", &["hgetall", "evalsha"], &|| {
        let mut session = manager.load(&header).unwrap();
        session.regenerate();
        session.set("user", "grace").unwrap();
        assert!(session.save().unwrap().is_some());
    });
}

#[test]
fn a_login_and_a_group_make_no_more_round_trips_than_promised() {
    let redis = Redis::start();
    let manager = builder(&redis.url()).max_sessions_per_group(600).build().unwrap();
    let join = |manager: &SessionManager, header: Option<&str>| {
        let mut session = manager.load(header).unwrap();
        session.set("device", "phone").unwrap();
        session.set_group_name("ada");
        cookie(&session.save().unwrap().expect("a new id"))
    };
    let group = manager.group("ada");
    let limited = builder(&redis.url()).max_sessions_per_group(1).build().unwrap();
    // Lets Redis know all scripts.
    let_it_know_the_scripts(&redis.url());
    for _ in 0..2 {
        let header = join(&limited, Some(&session_with(&manager, &[("a", "1")])));
        group.sessions_with(&["device"]).unwrap();
        group.len().unwrap();
        limited.load(&header).unwrap();
    }
    group.clear().unwrap();
    let header = join(&manager, None);
    let _ = manager.destroy(&header).unwrap();

    let count = |what: &str, expected: usize, request: &mut dyn FnMut()| {
        let (commands, ()) = redis.commands(request);
        assert_eq!(commands.len(), expected, "{what}: {commands:?}");
    };
    let ended = session_with(&manager, &[("a", "1")]);
    let _ = manager.destroy(&ended).unwrap();
    let memory = crate::support::manager("memory:");
    let anonymous = session_with(&manager, &[("a", "1")]);
    let mut header = String::new();
    count("a login", 2, &mut || header = join(&manager, Some(&anonymous)));
    count("a login with no cookie", 1, &mut || drop(join(&manager, None)));
    count("a read in a group", 1, &mut || assert!(!manager.load(&header).unwrap().is_new()));
    count("read and write in a group", 2, &mut || {
        let mut session = manager.load(&header).unwrap();
        session.set("a", &2).unwrap();
        session.save().unwrap();
    });
    for renew in [Session::regenerate, |session: &mut Session| session.regenerate_with_grace(Duration::from_secs(9))] {
        count("a new id in a group", 2, &mut || {
            let mut session = manager.load(&header).unwrap();
            renew(&mut session);
            header = cookie(&session.save().unwrap().unwrap());
        });
    }
    count("a peek in a group", 1, &mut || assert!(!manager.peek(&header).unwrap().is_new()));
    count("setting a value of the group", 1, &mut || group.set_value("role", "admin").unwrap());
    count("reading it", 1, &mut || assert_eq!(group.value::<String>("role").unwrap().as_deref(), Some("admin")));
    count("reading it with the session", 1, &mut || {
        let session = manager.load(&header).unwrap();
        assert_eq!(session.group_value::<String>("role").unwrap().as_deref(), Some("admin"));
    });
    count("a login that is refused", 2, &mut || {
        let mut session = manager.load(&session_with(&memory, &[("a", "1")])).unwrap();
        session.set_group_name("ada");
        session.limit_group(1, AtLimit::RefuseNewest);
        assert!(matches!(session.save(), Err(Error::TooManySessions { .. })));
    });
    count("why it ended", 1, &mut || {
        let session = manager.load(&ended).unwrap();
        assert_eq!(session.ended_because(), Some(EndReason::LoggedOut));
    });
    let mut handles: Vec<_> =
        (0..1000).map(|at| manager.load([&header, &anonymous, &ended][at % 2]).unwrap().to_handle()).collect();
    let mut handles: Vec<_> = handles.iter_mut().flatten().collect();
    count("a thousand handles", 1, &mut || {
        let alive = manager.are_alive(handles.iter_mut().map(|handle| &mut **handle)).unwrap();
        assert!(alive.len() >= 500 && alive[0]);
    });
    count("how many", 1, &mut || assert_eq!(group.len().unwrap(), 2));
    count("a list", 2, &mut || assert_eq!(group.sessions().unwrap().len(), 2));
    count("a list with values", 2, &mut || {
        assert!(group.sessions_with(&["device", "user_agent"]).unwrap()[0].get::<String>("device").unwrap().is_some());
    });
    let id = manager.load(&header).unwrap().public_id();
    count("ending one", 1, &mut || assert!(group.remove(id).unwrap()));
    // One round trip ends all of them, and one removes up to 500 records.
    count("ending all", 2, &mut || assert_eq!(group.clear().unwrap(), 1));
    count("ending none", 1, &mut || assert_eq!(group.clear().unwrap(), 0));
    let anonymous = session_with(&manager, &[("a", "1")]);
    let mut session = limited.load(&join(&limited, None)).unwrap();
    session.save().unwrap();
    count("a login that ends another session", 3, &mut || drop(join(&limited, Some(&anonymous))));
    let session = limited.load(&join(&limited, None)).unwrap();
    join(&manager, None);
    count("log out everywhere else", 2, &mut || assert_eq!(group.clear_except(&session).unwrap(), 1));
    for _ in 0..501 {
        join(&manager, None);
    }
    count("a list of 502", 3, &mut || assert_eq!(group.sessions().unwrap().len(), 502));
    let mut commands = Vec::new();
    count("ending 502", 3, &mut || commands.push(group.clear().unwrap()));
    assert_eq!(commands, [502]);
    count("step-up and remember-me", 2, &mut || {
        let mut session = manager.load(None).unwrap();
        session.set_group_name("ada");
        session.save().unwrap();
        session.set_idle_timeout(Duration::from_secs(30 * 24 * 60 * 60));
        assert!(session.authenticated_at().is_some());
        session.save().unwrap();
    });
    let header = session_with(&manager, &[("a", "1")]);
    count("a token against forgery", 1, &mut || {
        let mut session = manager.load(&header).unwrap();
        let token = session.csrf_token();
        assert!(session.verify_csrf(&token));
        assert_eq!(session.save().unwrap(), None);
    });
}

#[test]
fn a_read_with_a_refresh_is_one_round_trip_too() {
    let redis = Redis::start();
    let (manager, header) = warm(&redis, Refresh::EveryLoad);
    let key = redis.keys().remove(0);
    let _: i64 = redis.run(&["PEXPIRE", &key, "5000"]);
    let (commands, set_cookie) = redis.commands(|| manager.load(&header).unwrap().save().unwrap());
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
        let mut session = manager.load(&header).unwrap();
        session.increment("visits", 1).unwrap();
        session.save().unwrap();
        session.get::<u32>("visits").unwrap()
    });
    assert_eq!((commands, visits), (["hgetall", "evalsha", "eval"].map(str::to_owned).to_vec(), Some(1)));
}

#[test]
fn a_request_to_a_cluster_makes_few_round_trips() {
    let cluster = Cluster::start(3);
    let manager = manager(&cluster.url());
    manager.ping().unwrap();
    // Lets all nodes know all scripts.
    for number in 0..60 {
        let header = session_with(&manager, &[("a", "1")]);
        let mut session = manager.load(&header).unwrap();
        session.set("a", &2).unwrap();
        session.save().unwrap();
        session.regenerate();
        session.save().unwrap();
        session.set_group_name(&number.to_string());
        session.save().unwrap();
        session.regenerate();
        session.save().unwrap();
        manager.group(&number.to_string()).sessions().unwrap();
        manager.group(&number.to_string()).clear().unwrap();
    }
    for _ in 0..10 {
        let header = session_with(&manager, &[("a", "1")]);
        let count = |what: &str, expected: usize, request: &mut dyn FnMut()| {
            let before = cluster.requests();
            request();
            assert_eq!(cluster.requests() - before, expected, "{what}");
        };
        count("a read", 1, &mut || drop(manager.load(&header).unwrap()));
        count("read and write", 2, &mut || {
            let mut session = manager.load(&header).unwrap();
            session.set("a", &3).unwrap();
            session.save().unwrap();
        });
        let mut header = header.clone();
        // Load, prepare the new record, end the old one, bring the new one to life.
        count("a login", 4, &mut || header = try_login(&manager, Some(&header), "ada").unwrap());
        count("a new id in a group", 2, &mut || {
            let mut session = manager.load(&header).unwrap();
            session.regenerate();
            header = cookie(&session.save().unwrap().unwrap());
        });
        count("a list", 2, &mut || assert_eq!(manager.group("ada").sessions().unwrap().len(), 1));
        count("logout everywhere", 2, &mut || assert_eq!(manager.group("ada").clear().unwrap(), 1));
    }
}
