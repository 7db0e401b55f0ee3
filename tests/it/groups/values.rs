//! Values of a group: changed in one place, and seen by the next load of all its sessions.

use crate::support::place::{Place, on_every_store};
use crate::support::{builder, login, manager, session_with};
use multi_process_session::{Error, Oversize, Refresh, SessionManager};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn role(manager: &SessionManager, header: &str) -> Option<String> {
    let (loaded, peeked) = (manager.load(header).unwrap(), manager.peek(header).unwrap());
    let role = loaded.group_value("role").unwrap();
    assert_eq!(role, peeked.group_value::<String>("role").unwrap());
    role
}

#[test]
fn a_change_is_seen_by_the_next_load_of_every_session_of_the_user() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let headers = [(); 3].map(|()| login(&manager, "ada"));
        let (bob, visitor) = (login(&manager, "bob"), session_with(&manager, &[("a", "1")]));
        let ada = manager.group("ada");
        assert_eq!(role(&manager, &headers[0]), None);
        for new in [Some("editor"), Some("admin"), None, Some("reader")] {
            match new {
                Some(new) => ada.set_value("role", new).unwrap(),
                None => ada.remove_value("role").unwrap(),
            }
            assert_eq!(ada.value::<String>("role").unwrap().as_deref(), new);
            for header in &headers {
                assert_eq!(role(&manager, header).as_deref(), new);
            }
            for header in [&bob, &visitor] {
                assert_eq!(role(&manager, header), None, "it is the value of one user");
            }
        }
        let session = manager.load(&headers[0]).unwrap();
        assert_eq!(session.keys(), ["user"], "the values of the group are not those of the session");
        assert!(matches!(session.group_value::<u8>("role"), Err(Error::Decode { .. })));
    });
}

#[test]
fn a_session_that_changes_its_group_sees_no_value_of_the_old_one() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        manager.group("ada").set_value("role", "admin").unwrap();
        for leave in [false, true] {
            let mut session = manager.load(&login(&manager, "ada")).unwrap();
            assert_eq!(session.group_value::<String>("role").unwrap().as_deref(), Some("admin"));
            if leave {
                session.leave_group();
            } else {
                session.set_group_name("bob");
            }
            assert_eq!(session.group_value::<String>("role").unwrap(), None, "before the save");
            let header = session.save().unwrap().unwrap().pair().to_owned();
            assert_eq!(session.group_value::<String>("role").unwrap(), None, "after the save");
            assert_eq!(role(&manager, &header), None, "in the next request");
        }
        let mut session = manager.load(&login(&manager, "ada")).unwrap();
        session.regenerate();
        session.save().unwrap();
        assert_eq!(session.group_value::<String>("role").unwrap().as_deref(), Some("admin"), "a new id keeps them");
    }
}

#[test]
fn values_are_kept_as_long_as_a_session_lives() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).idle_timeout(HOUR).build().unwrap();
        manager.group("ada").set_value("role", "admin").unwrap();
        let header = login(&manager, "ada");
        for _ in 0..5 {
            place.let_time_pass_for_all(HOUR / 2);
            assert_eq!(role(&manager, &header).as_deref(), Some("admin"), "each use keeps them");
        }
        let _ = manager.destroy(&header).unwrap();
        assert_eq!(role(&manager, &login(&manager, "ada")).as_deref(), Some("admin"), "a logout does not remove them");
        place.let_time_pass_for_all(2 * HOUR);
        assert_eq!(manager.group("ada").value::<String>("role").unwrap(), None, "nobody has used them for too long");
    }
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let group = manager.group("ada");
        group.set_value("role", "admin").unwrap();
        assert!(matches!(group.set_value("\0flash:a", "1"), Err(Error::ReservedKey { .. })));
        assert!(matches!(group.set_value(&"k".repeat(2000), "1"), Err(Error::TooLarge { what: Oversize::Key, .. })));
        assert!(matches!(group.set_value("a", &f64::NAN), Err(Error::Encode { .. })));
        let answer = group.set_value("large", &"x".repeat(64 << 10));
        assert!(matches!(answer, Err(Error::TooLarge { what: Oversize::Session, .. })), "{answer:?}");
        for number in 0..99 {
            group.set_value(&number.to_string(), &number).unwrap();
        }
        let answer = group.set_value("one more", "1");
        assert!(matches!(answer, Err(Error::TooLarge { what: Oversize::Keys, .. })), "{answer:?}");
        assert_eq!(group.value::<u8>("98").unwrap(), Some(98));
        assert_eq!(group.value::<String>("one more").unwrap(), None);
    });
}

#[test]
fn damaged_values_do_not_hinder_the_sessions_of_the_user() {
    let redis = crate::support::redis::Redis::start();
    let manager = manager(&redis.url());
    let every_load = builder(&redis.url()).refresh(Refresh::EveryLoad).build().unwrap();
    let header = login(&manager, "ada");
    manager.group("ada").set_value("role", "admin").unwrap();
    let key = redis.all_keys().into_iter().find(|key| key.ends_with(":values")).unwrap();
    let damage: [&[&str]; 4] = [
        &["HSET", &key, ":role", "\u{fffd}\u{0}"],
        &["HSET", &key, "o", "x"],
        &["HDEL", &key, "o"],
        &["SET", &key, "something else"],
    ];
    for damage in damage {
        redis.run::<::redis::Value>(damage);
        for manager in [&manager, &every_load] {
            let mut session = manager.load(&header).unwrap();
            let role = session.group_value::<String>("role");
            assert!(matches!(role, Ok(None) | Err(Error::Decode { .. })), "{damage:?}: {role:?}");
            session.increment("count", 1).unwrap();
            session.set_idle_timeout(HOUR);
            session.save().unwrap();
            let role = manager.group("ada").value::<String>("role");
            assert!(matches!(role, Ok(None) | Err(Error::Decode { .. })), "{damage:?}: {role:?}");
        }
    }
    manager.group("ada").set_value("role", "reader").unwrap();
    assert_eq!(role(&manager, &header).as_deref(), Some("reader"), "a new value replaces what was damaged");
}
