//! Sessions move from one store to another, and users notice nothing.

use crate::support::operator::{call, copy, scan, store};
use crate::support::place::Place;
use crate::support::redis::Redis;
use crate::support::sqlite::Sqlite;
use crate::support::{builder, is_alive, login, manager, public_id, session_with};
use multi_process_session::StoreErrorKind;
use multi_process_session::store::{GroupKey, Maintenance};

/// Fills a store with this number of sessions, half of them logged in, and gives their cookies.
fn fill(url: &str, number: usize) -> Vec<String> {
    let manager = manager(url);
    let cookie = |at: usize| match at % 2 {
        0 => session_with(&manager, &[("number", &at.to_string())]),
        _ => login(&manager, &format!("user {}", at % 50)),
    };
    (0..number).map(cookie).collect()
}

#[test]
fn a_thousand_sessions_go_from_sqlite_to_redis_and_back() {
    let (old, redis, new) = (Sqlite::new(), Redis::start(), Sqlite::new());
    let cookies = fill(&old.url(), 1000);
    let [a, b, c] = [old.url(), redis.url(), new.url()].map(|url| store(&url));
    assert_eq!(copy(&*a, &*b), [1000, 0]);
    assert_eq!(copy(&*a, &*b), [0, 0], "they are there");
    assert_eq!(redis.records().len(), 1000);
    redis.assert_every_key_expires();
    assert_eq!(copy(&*b, &*c), [1000, 0]);
    new.assert_sound();
    for url in [redis.url(), new.url()] {
        let manager = manager(&url);
        for (at, cookie) in cookies.iter().enumerate() {
            let session = manager.load(cookie).unwrap();
            match at % 2 {
                0 => assert_eq!(session.get::<String>("number").unwrap(), Some(at.to_string())),
                _ => assert_eq!(session.group_name(), Some(&*format!("user {}", at % 50))),
            }
        }
        assert_eq!(manager.group("user 1").len().unwrap(), 20);
        assert_eq!(manager.group("user 1").clear().unwrap(), 20, "they end as one");
        assert!(!is_alive(&manager, &cookies[1]) && is_alive(&manager, &cookies[3]));
    }
}

#[test]
fn a_second_copy_brings_the_changes_of_meanwhile() {
    for to in Place::all_and_a_cluster() {
        let from = Sqlite::new();
        let cookies = fill(&from.url(), 6);
        let [old, new] = [from.url(), to.url()].map(|url| store(&url));
        assert_eq!(copy(&*old, &*new), [6, 0]);
        let [before, after] = [from.url(), to.url()].map(|url| manager(&url));
        let mut changed = before.load(&cookies[0]).unwrap();
        changed.set("more", &1).unwrap();
        changed.save().unwrap();
        let more = login(&before, "ada");
        // A user who has come to the new store already goes on there.
        drop(after.destroy(&cookies[1]).unwrap());
        let mut own = after.load(&cookies[2]).unwrap();
        own.set("own", &2).unwrap();
        own.save().unwrap();
        let mut lost = before.load(&cookies[2]).unwrap();
        lost.set("own", &1).unwrap();
        lost.save().unwrap();
        assert_eq!(copy(&*old, &*new), [1, 1]);
        assert_eq!(after.load(&cookies[0]).unwrap().get::<i32>("more").unwrap(), Some(1));
        assert_eq!(after.load(&cookies[2]).unwrap().get::<i32>("own").unwrap(), Some(2));
        assert!(is_alive(&after, &more) && !is_alive(&after, &cookies[1]));
    }
}

#[test]
fn a_limit_ends_the_same_session_after_a_copy() {
    for to in Place::all_and_a_cluster() {
        let from = Sqlite::new();
        let before = manager(&from.url());
        let cookies = [(); 3].map(|()| login(&before, "ada"));
        let [old, new] = [from.url(), to.url()].map(|url| store(&url));
        let after = builder(&to.url()).max_sessions_per_group(4).build().unwrap();
        // This one comes to the new store before the others are copied.
        let early = login(&after, "ada");
        assert_eq!(copy(&*old, &*new), [3, 0]);
        let last = login(&after, "ada");
        let [a, b, c] = cookies;
        assert_eq!([&a, &b, &c, &early, &last].map(|cookie| is_alive(&after, cookie)), [false, true, true, true, true]);
    }
}

#[test]
fn an_operator_names_a_group_and_finds_a_session_as_the_application_does() {
    for place in Place::all_and_a_cluster() {
        let (manager, store) = (manager(&place.url()), store(&place.url()));
        let cookie = login(&manager, "ada");
        let call = call();
        let group = GroupKey::named("mps", "ada");
        let sessions = store.group_sessions(&group, &["user"], &call).unwrap();
        let id = public_id(&manager, &cookie);
        assert_eq!(sessions.iter().map(|session| session.public_id()).collect::<Vec<_>>(), [id]);
        let found = Maintenance::find(&*store, "mps", id, &call).unwrap().unwrap();
        assert_eq!(found.key("mps"), group.session(id));
        assert!(store.delete(&found.key("mps"), &call).unwrap());
        assert!(!is_alive(&manager, &cookie));
    }
}

#[test]
fn a_full_redis_refuses_a_restore_and_keeps_what_it_has() {
    let (from, redis) = (Sqlite::new(), Redis::start());
    let cookie = login(&manager(&from.url()), "ada");
    let [old, new] = [from.url(), redis.url()].map(|url| store(&url));
    assert_eq!(copy(&*old, &*new), [1, 0]);
    let before = manager(&from.url());
    let mut changed = before.load(&cookie).unwrap();
    changed.set("more", &1).unwrap();
    changed.save().unwrap();
    let more = login(&before, "grace");
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    for (at, record) in scan(&*old) {
        let error = new.restore(&at.key("mps"), &record, &call()).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Rejected);
    }
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    let after = manager(&redis.url());
    assert_eq!(after.load(&cookie).unwrap().get::<String>("user").unwrap().as_deref(), Some("ada"));
    assert!(after.load(&cookie).unwrap().get::<i32>("more").unwrap().is_none() && !is_alive(&after, &more));
    assert_eq!(copy(&*old, &*new), [1, 1]);
    assert!(after.load(&cookie).unwrap().get::<i32>("more").unwrap().is_some() && is_alive(&after, &more));
}
