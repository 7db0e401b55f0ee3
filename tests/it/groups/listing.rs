//! Where a user is logged in: the list of a group, and the age of a login.

use crate::support::place::Place;
use crate::support::wait::next_millisecond;
use crate::support::{builder, login_on, manager, until};
use multi_process_session::{Error, MemoryStore, PublicId, Refresh};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn where_a_user_is_logged_in_is_listed_with_what_the_application_asks_for() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).refresh(Refresh::EveryLoad).build().unwrap();
        let group = manager.group("ada");
        assert!(group.sessions().unwrap().is_empty());
        let headers = ["phone", "laptop", "tablet"].map(|device| {
            next_millisecond();
            login_on(&manager, "ada", device)
        });
        login_on(&manager, "grace", "phone");
        let ids: Vec<PublicId> =
            headers.iter().rev().map(|header| manager.load(&**header).unwrap().public_id()).collect();
        let listed = group.sessions_with(&["device", "none"]).unwrap();
        assert_eq!(listed.iter().map(|session| session.public_id()).collect::<Vec<_>>(), ids, "latest login first");
        for (session, device) in listed.iter().zip(["tablet", "laptop", "phone"]) {
            assert_eq!(session.get::<String>("device").unwrap().as_deref(), Some(device));
            assert!(matches!(session.get::<u32>("device"), Err(Error::Decode { key, .. }) if key == "device"));
            assert_eq!(session.get::<String>("none").unwrap(), None);
            assert!(session.created_at() <= session.joined_at() && session.joined_at() <= session.refreshed_at());
            let life = session.expires_at().duration_since(session.refreshed_at()).unwrap();
            assert!(life.abs_diff(7 * DAY) < Duration::from_secs(1), "{life:?}");
            let text = format!("{session:?} {group:?}");
            assert!(text.contains(&session.public_id().to_string()) && !text.contains("ada"), "{text}");
        }
        assert_eq!(group.sessions().unwrap()[0].get::<String>("device").unwrap(), None, "it was not asked for");

        // A list does not count as a use of the sessions, and a load does.
        place.let_time_pass_for_all(DAY);
        manager.load(&headers[1]).unwrap().save().unwrap();
        for session in group.sessions_with(&["device"]).unwrap() {
            let ago = SystemTime::now().duration_since(session.refreshed_at()).unwrap();
            let used = session.get::<String>("device").unwrap().unwrap() == "laptop";
            assert_eq!(ago > DAY / 2, !used, "{session:?}");
        }
    }
}

#[test]
fn the_age_of_a_login_is_told_by_the_stores_clock() {
    let minute = Duration::from_secs(60);
    // One store has a clock that is a year behind the clock of this machine, the other one a year ahead.
    for start in [SystemTime::now() - 365 * DAY, SystemTime::now() + 365 * DAY] {
        let passed = Arc::new(AtomicI64::new(0));
        let clock = passed.clone();
        let store = MemoryStore::with_clock(move || {
            let minutes = clock.load(Ordering::Relaxed);
            let time = minute * minutes.unsigned_abs() as u32;
            if minutes < 0 { start - time } else { start + time }
        });
        let manager = builder("memory:").store(store).build().unwrap();
        let header = login_on(&manager, "ada", "phone");
        let load = || manager.load(&header).unwrap();
        let listed = || {
            let sessions = manager.group("ada").sessions().unwrap();
            sessions[0].listed_at().duration_since(sessions[0].joined_at()).unwrap()
        };
        assert!(load().authenticated_within(minute) && listed().is_zero());
        passed.store(10, Ordering::Relaxed);
        assert!(load().authenticated_within(11 * minute) && !load().authenticated_within(9 * minute));
        assert_eq!(listed(), 10 * minute);
        // The clock was put back: a login in 10 minutes counts as one 10 minutes ago.
        passed.store(-10, Ordering::Relaxed);
        assert!(load().authenticated_within(11 * minute) && !load().authenticated_within(9 * minute));
        assert!(!manager.load(None).unwrap().authenticated_within(Duration::MAX), "nobody has logged in");
    }
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let header = login_on(&manager, "ada", "phone");
        let session = manager.load(&header).unwrap();
        assert!(session.authenticated_within(minute));
        // The age grows while a request works with its session.
        until(|| !session.authenticated_within(Duration::from_millis(20)));
        place.let_time_pass_for_all(10 * minute);
        let session = manager.load(&header).unwrap();
        assert!(session.authenticated_within(11 * minute) && !session.authenticated_within(9 * minute));
        let listed = manager.group("ada").sessions().unwrap().remove(0);
        let ago = listed.listed_at().duration_since(listed.joined_at()).unwrap();
        assert!((10 * minute..11 * minute).contains(&ago), "{ago:?}");
    }
}

#[test]
fn a_large_group_is_listed_and_shrunk_in_pieces() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        for _ in 0..1100 {
            login_on(&manager, "ada", "phone");
        }
        let mut session = manager.load(None).unwrap();
        let keys: Vec<String> = (0..9000).map(|number| format!("key {number}")).collect();
        session.set(&keys[0], &1).unwrap();
        session.set(&keys[8999], &2).unwrap();
        session.set_group_name("ada");
        session.save().unwrap();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let listed = manager.group("ada").sessions_with(&["device"]).unwrap();
        assert_eq!(listed.len(), 1101);
        assert_eq!(listed.iter().filter(|session| session.get::<String>("device").unwrap().is_some()).count(), 1100);
        // All but five end, and their records are removed.
        let limited = builder(&place.url()).max_sessions_per_group(5).build().unwrap();
        login_on(&limited, "ada", "phone");
        assert_eq!(place.records(), 5);
        // Any number of keys can be asked for.
        let mut session = manager.load(None).unwrap();
        session.set(keys[0], &1).unwrap();
        session.set(keys[8999], &2).unwrap();
        session.set_group_name("grace");
        session.save().unwrap();
        let listed = manager.group("grace").sessions_with(&keys).unwrap();
        let value = |key: &str| listed[0].get::<u32>(key).unwrap();
        assert_eq!((value(keys[0]), value(keys[1]), value(keys[8999])), (Some(1), None, Some(2)));
    }
}
