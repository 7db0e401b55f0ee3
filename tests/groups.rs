//! Groups: joining and leaving, listing, and ending all of a user's sessions.

#![allow(missing_docs)]

mod support;

use multi_process_session::{
    Error, Group, MemoryStore, Oversize, PublicId, Refresh, Secret, Session, SessionManager, StoreErrorKind,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};
use support::cluster::Cluster;
use support::place::Place;
use support::proxy::{Fault, Proxy};
use support::redis::Redis;
use support::{builder, clock, cookie, kind, manager, next_millisecond, session_with, until};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Logs somebody in, in a session of its own, and gives the `Cookie` header for it.
fn login(manager: &SessionManager, user: &str, device: &str) -> String {
    let mut session = manager.load(None).unwrap();
    session.set("device", device).unwrap();
    session.set_group_name(user);
    cookie(&session.save().unwrap().expect("a new session has a cookie"))
}

fn is_alive(manager: &SessionManager, header: &str) -> bool {
    !manager.load(header).unwrap().is_new()
}

fn devices(group: &Group) -> Vec<String> {
    let sessions = group.sessions_with(&["device"]).unwrap();
    let mut devices: Vec<String> = sessions.iter().map(|session| session.get("device").unwrap().unwrap()).collect();
    devices.sort();
    assert_eq!(group.len().unwrap(), devices.len());
    devices
}

#[test]
fn a_name_that_is_too_long_is_refused_and_nothing_is_written() {
    let places = Place::all();
    for url in places.iter().map(Place::url).chain(["memory:".to_owned()]) {
        let manager = builder(&url).max_session_bytes(1024).build().unwrap();
        let (longest, too_long) =
            ("é".repeat(Session::MAX_GROUP_NAME_BYTES / 2), "n".repeat(Session::MAX_GROUP_NAME_BYTES + 1));
        let refused = |session: &mut Session, name: &str| {
            session.set_group_name(name);
            session.set("a", &2).unwrap();
            let error = session.save().unwrap_err();
            let Error::TooLarge { what: Oversize::GroupName, size, limit: 1024, .. } = &error else {
                panic!("{error:?}")
            };
            assert_eq!(*size, name.len());
            assert!(!error.to_string().contains("nnn") && !format!("{error:?}").contains("nnn"), "{error:?}");
        };
        let mut new = manager.load(None).unwrap();
        for name in [too_long.as_str(), &"n".repeat(1 << 20), &"n".repeat(50 << 20)] {
            refused(&mut new, name);
        }
        assert!(new.is_new());
        let anonymous = session_with(&manager, &[("a", "1")]);
        let mut session = manager.load(&anonymous).unwrap();
        refused(&mut session, &too_long);
        let now = manager.load(&anonymous).unwrap();
        assert_eq!((now.get::<String>("a").unwrap().as_deref(), now.group_name()), (Some("1"), None));
        assert_eq!(manager.group(&too_long).sessions().unwrap().len(), 0);
        assert_eq!(manager.group(&too_long).clear().unwrap(), 0);

        // Another name, or none, and all that was set with it is saved.
        session.set_group_name(&longest);
        let header = cookie(&session.save().unwrap().unwrap());
        let mut session = manager.load(&header).unwrap();
        assert_eq!((session.group_name(), session.get("a").unwrap()), (Some(&*longest), Some(2)));
        assert_eq!(manager.group(&longest).len().unwrap(), 1);
        refused(&mut session, &too_long);
        session.leave_group();
        session.save().unwrap();
        assert_eq!((session.group_name(), manager.group(&longest).len().unwrap()), (None, 0));
        new.leave_group();
        assert!(new.save().unwrap().is_some());
    }
}

#[test]
fn the_age_of_a_login_is_told_by_the_stores_clock() {
    let minute = Duration::from_secs(60);
    // A store whose clock is a year behind this machine's, and one whose clock is as far ahead.
    for start in [SystemTime::now() - 365 * DAY, SystemTime::now() + 365 * DAY] {
        let passed = Arc::new(AtomicI64::new(0));
        let clock = passed.clone();
        let store = MemoryStore::with_clock(move || {
            let minutes = clock.load(Ordering::Relaxed);
            let time = minute * minutes.unsigned_abs() as u32;
            if minutes < 0 { start - time } else { start + time }
        });
        let manager = builder("memory:").store(store).build().unwrap();
        let header = login(&manager, "ada", "phone");
        let load = || manager.load(&header).unwrap();
        let listed = || {
            let sessions = manager.group("ada").sessions().unwrap();
            sessions[0].listed_at().duration_since(sessions[0].joined_at()).unwrap()
        };
        assert!(load().authenticated_within(minute) && listed().is_zero());
        passed.store(10, Ordering::Relaxed);
        assert!(load().authenticated_within(11 * minute) && !load().authenticated_within(9 * minute));
        assert_eq!(listed(), 10 * minute);
        // It was put back: a login that lies ahead is no more recent than one as far behind.
        passed.store(-10, Ordering::Relaxed);
        assert!(load().authenticated_within(11 * minute) && !load().authenticated_within(9 * minute));
        assert!(!manager.load(None).unwrap().authenticated_within(Duration::MAX), "nobody has logged in");
    }
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let header = login(&manager, "ada", "phone");
        let session = manager.load(&header).unwrap();
        assert!(session.authenticated_within(minute));
        // The time goes on while a request works with its session.
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
fn a_login_gives_a_new_id_and_the_old_one_is_dead() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let anonymous = session_with(&manager, &[("cart", "full")]);
        let mut session = manager.load(&anonymous).unwrap();
        assert_eq!((session.group_name(), session.authenticated_at()), (None, None));
        let (old_id, csrf) = (session.public_id(), session.csrf_token());
        session.set("user", "ada").unwrap();
        session.set_group_name("ada");
        assert_eq!(session.group_name(), Some("ada"), "as it is going to be");
        let header = cookie(&session.save().unwrap().expect("a new id needs a cookie"));
        assert_ne!(session.public_id(), old_id);
        assert!(!is_alive(&manager, &anonymous), "an id that was planted before is worth nothing");

        let mut session = manager.load(&header).unwrap();
        assert_eq!(session.group_name(), Some("ada"));
        assert_eq!(session.keys(), ["cart", "user"], "the name is none of the values");
        let authenticated_at = session.authenticated_at().expect("it has joined");
        assert!(authenticated_at >= session.created_at().unwrap());
        assert!(SystemTime::now().duration_since(authenticated_at).unwrap() < Duration::from_secs(60));
        assert!(!session.verify_csrf(&csrf), "a form of before the login");
        assert_eq!(session.save().unwrap(), None);

        // Its values may go; it stays logged in.
        session.clear();
        session.save().unwrap();
        let mut session = manager.load(&header).unwrap();
        assert_eq!((session.group_name(), session.len()), (Some("ada"), 0));

        // The password once more.
        next_millisecond();
        session.set_group_name("ada");
        let again = cookie(&session.save().unwrap().expect("a new id needs a cookie"));
        assert!(session.authenticated_at() > Some(authenticated_at));
        assert!(!is_alive(&manager, &header));
        assert_eq!(manager.group("ada").sessions().unwrap().len(), 1);
        assert_eq!(place.records(), 1);
        assert!(is_alive(&manager, &again));
    }
}

#[test]
fn a_session_changes_and_leaves_its_group() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let [ada, grace] = ["ada", "grace"].map(|name| manager.group(name));
        let header = login(&manager, "ada", "phone");
        let mut session = manager.load(&header).unwrap();
        session.set_group_name("grace");
        let header = cookie(&session.save().unwrap().unwrap());
        assert_eq!((devices(&ada), devices(&grace)), (vec![], vec!["phone".to_owned()]));
        assert_eq!(ada.clear().unwrap(), 0);

        let mut session = manager.load(&header).unwrap();
        session.leave_group();
        assert_eq!(session.group_name(), None, "as it is going to be");
        let alone = cookie(&session.save().unwrap().expect("a new id needs a cookie"));
        assert!(!is_alive(&manager, &header));
        assert_eq!((devices(&grace), grace.clear().unwrap()), (vec![], 0));
        let mut session = manager.load(&alone).unwrap();
        assert_eq!((session.group_name(), session.authenticated_at(), session.len()), (None, None, 1));

        // It is in none: there is nothing to leave.
        session.leave_group();
        assert_eq!(session.save().unwrap(), None);
        // What was asked for last counts.
        session.set_group_name("ada");
        session.leave_group();
        let header = cookie(&session.save().unwrap().expect("a new id all the same"));
        assert_eq!((manager.load(&header).unwrap().group_name(), devices(&ada)), (None, vec![]));
        let mut session = manager.load(None).unwrap();
        session.set_group_name("ada");
        session.leave_group();
        assert_eq!(session.save().unwrap(), None, "nothing was set");
    }
}

#[test]
fn any_name_is_a_group_of_its_own() {
    let long = "x".repeat(Session::MAX_GROUP_NAME_BYTES);
    let names = ["", " ", "ada", "Ada", "ada ", "a{d}a", "\0", "\r\n", "\u{1F980}", "e\u{301}", "é", "*", "'", &long];
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let headers = names.map(|name| login(&manager, name, "phone"));
        for (name, header) in names.iter().zip(&headers) {
            assert!(manager.load(&**header).unwrap().group_name() == Some(name), "{:?}", &name[..name.len().min(20)]);
            assert_eq!(manager.group(name).len().unwrap(), 1);
        }
        for (ended, name) in names.iter().enumerate() {
            assert_eq!(manager.group(name).clear().unwrap(), 1);
            let alive: Vec<bool> = headers.iter().map(|header| is_alive(&manager, header)).collect();
            assert_eq!(alive, (0..names.len()).map(|number| number > ended).collect::<Vec<_>>());
        }
        // The same name in another application.
        let other = builder(&place.url()).namespace("other").build().unwrap();
        let (ours, theirs) = (login(&manager, "ada", "phone"), login(&other, "ada", "phone"));
        assert_eq!(manager.group("ada").clear().unwrap(), 1);
        assert!(!is_alive(&manager, &ours) && is_alive(&other, &theirs));
    }
}

#[test]
fn where_a_user_is_logged_in_is_listed_with_what_the_application_asks_for() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).refresh(Refresh::EveryLoad).build().unwrap();
        let group = manager.group("ada");
        assert!(group.sessions().unwrap().is_empty());
        let headers = ["phone", "laptop", "tablet"].map(|device| {
            next_millisecond();
            login(&manager, "ada", device)
        });
        login(&manager, "grace", "phone");
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

        // A list is no use of the sessions; a load is.
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
fn one_session_or_all_others_or_all_can_be_ended() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let group = manager.group("ada");
        let [phone, laptop, tablet] = ["phone", "laptop", "tablet"].map(|device| login(&manager, "ada", device));
        let other = login(&manager, "grace", "phone");
        let alone = session_with(&manager, &[("a", "1")]);
        let id = |header: &str| manager.load(header).unwrap().public_id();
        assert!(!group.remove(id(&other)).unwrap(), "it is in another group");
        assert!(!group.remove(id(&alone)).unwrap(), "it is in none");
        let tablet_id = id(&tablet);
        let mut under_way = manager.load(&tablet).unwrap();
        under_way.set("a", &1).unwrap();
        assert!(group.remove(tablet_id.to_string().parse().unwrap()).unwrap());
        no_index_of_nobody(&place);
        assert!(!group.remove(tablet_id).unwrap(), "it has ended already");
        assert!(matches!(under_way.save(), Err(Error::Gone)));
        assert_eq!(devices(&group), ["laptop", "phone"]);

        let mut session = manager.load(&phone).unwrap();
        assert_eq!(group.clear_except(&session).unwrap(), 1);
        assert_eq!((devices(&group), is_alive(&manager, &laptop)), (vec!["phone".to_owned()], false));
        session.set("a", &1).unwrap();
        session.save().unwrap();

        let mut loaded = manager.load(&phone).unwrap();
        loaded.set("late", &1).unwrap();
        assert_eq!(group.clear_except(&manager.load(&other).unwrap()).unwrap(), 1, "that one is not among them");
        assert!(matches!(loaded.save(), Err(Error::Gone)));
        assert_eq!((group.clear().unwrap(), devices(&group)), (0, vec![]));
        assert!(is_alive(&manager, &other) && is_alive(&manager, &alone));
        assert_eq!(place.records(), 2, "what has ended is removed");
        no_index_of_nobody(&place);
        // And there can be a next login.
        let next = login(&manager, "ada", "phone");
        assert!(is_alive(&manager, &next) && !is_alive(&manager, &phone));
    }
}

#[test]
fn a_group_has_no_more_sessions_than_the_setting_allows() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).max_sessions_per_group(2).build().unwrap();
        let remembered = |device: &str| {
            next_millisecond();
            let mut session = manager.load(None).unwrap();
            session.set("device", device).unwrap();
            session.set_idle_timeout(90 * DAY);
            session.set_group_name("ada");
            cookie(&session.save().unwrap().unwrap())
        };
        let [first, second] = ["first", "second"].map(remembered);
        next_millisecond();
        // It lives the shortest of all, and has come last.
        let mut short = manager.load(&session_with(&manager, &[("device", "short")])).unwrap();
        short.set_idle_timeout(Duration::from_secs(60));
        short.set_group_name("ada");
        let short = cookie(&short.save().unwrap().unwrap());
        assert!(!is_alive(&manager, &first) && is_alive(&manager, &second) && is_alive(&manager, &short));
        assert_eq!(devices(&manager.group("ada")), ["second", "short"]);
        assert_eq!(place.records(), 2, "what had to go is removed");
        // A new id is no new login.
        let mut session = manager.load(&second).unwrap();
        session.regenerate();
        let second = cookie(&session.save().unwrap().unwrap());
        remembered("third");
        assert_eq!(devices(&manager.group("ada")), ["short", "third"]);
        assert!(!is_alive(&manager, &second));
        // Nor is the same one once more.
        let mut session = manager.load(&short).unwrap();
        next_millisecond();
        session.set_group_name("ada");
        let short = cookie(&session.save().unwrap().unwrap());
        remembered("fourth");
        assert_eq!(devices(&manager.group("ada")), ["fourth", "short"], "who has logged in again came last");
        assert!(is_alive(&manager, &short));
    }
}

#[test]
fn timeouts_hold_in_groups_too() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).absolute_timeout(10 * DAY).build().unwrap();
        let header = session_with(&manager, &[("device", "phone")]);
        place.let_time_pass_for_all(6 * DAY);
        let mut session = manager.load(&header).unwrap();
        session.set_group_name("ada");
        let header = cookie(&session.save().unwrap().unwrap());
        // The login has begun the ten days anew.
        for _ in 0..3 {
            place.let_time_pass_for_all(3 * DAY);
            assert_eq!(devices(&manager.group("ada")), ["phone"]);
            assert!(is_alive(&manager, &header));
        }
        place.let_time_pass_for_all(DAY + Duration::from_secs(1));
        assert_eq!((devices(&manager.group("ada")), is_alive(&manager, &header)), (vec![], false));

        // A short one beside a long one: the group outlives both.
        let [short, long] = ["short", "long"].map(|device| login(&manager, "ada", device));
        let mut session = manager.load(&long).unwrap();
        session.set_idle_timeout(9 * DAY);
        session.save().unwrap();
        let mut session = manager.load(&short).unwrap();
        session.set_idle_timeout(DAY);
        session.save().unwrap();
        place.let_time_pass_for_all(2 * DAY);
        assert_eq!((devices(&manager.group("ada")), is_alive(&manager, &short)), (vec!["long".to_owned()], false));
        assert!(is_alive(&manager, &long));
        assert_eq!(manager.group("ada").clear().unwrap(), 1);
        assert!(!is_alive(&manager, &long));
    }
}

#[test]
fn an_idle_timeout_of_one_users_own_ends_with_their_login() {
    let places = Place::all_and_a_cluster();
    for url in places.iter().map(Place::url).chain(["memory:".to_owned()]) {
        let manager = builder(&url).idle_timeout(DAY).build().unwrap();
        let life = |session: &Session| session.expires_at().unwrap().duration_since(SystemTime::now()).unwrap();
        let about =
            |session: &Session, days: u32| life(session) > (days * DAY) / 2 && life(session) < (days * DAY) * 3 / 2;
        let mut session = manager.load(None).unwrap();
        session.set_group_name("ada");
        session.set_idle_timeout(30 * DAY);
        session.save().unwrap();
        session.regenerate();
        let header = cookie(&session.save().unwrap().unwrap());
        assert!(about(&session, 30), "it is the same login: {:?}", life(&session));

        let mut left = manager.load(&header).unwrap();
        left.leave_group();
        let header = cookie(&left.save().unwrap().unwrap());
        assert!(about(&left, 1) && about(&manager.load(&header).unwrap(), 1), "{:?}", life(&left));

        left.set_group_name("grace");
        left.set_idle_timeout(30 * DAY);
        left.save().unwrap();
        assert!(about(&left, 30), "{:?}", life(&left));
        left.set_group_name("ada");
        left.save().unwrap();
        assert!(about(&left, 1), "the next login, of another user: {:?}", life(&left));
    }
}

#[test]
fn logins_over_time_leave_no_more_than_who_is_alive() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        for round in 0..20 {
            for _ in 0..50 {
                login(&manager, "ada", "phone");
            }
            assert_eq!(manager.group("ada").len().unwrap(), 50);
            assert_eq!(place.records(), 50);
            if let Place::Redis(redis) = &place {
                for set in [index(redis), format!("{}:joined", index(redis))] {
                    assert_eq!(members(redis, &set).len(), 50, "round {round}: {set}");
                }
            }
            place.let_time_pass_for_all(8 * DAY);
        }
    }
}

/// Who stands in one set of a group stands in the other, and a group without sessions leaves nothing.
fn no_index_of_nobody(place: &Place) {
    match place {
        Place::Redis(redis) => {
            for index in redis.keys().iter().filter(|key| key.ends_with('}')) {
                assert_eq!(members(redis, index), members(redis, &format!("{index}:joined")));
            }
        }
        Place::Cluster(_) => {}
        Place::Sqlite(_) => {
            let sql = "SELECT count(*) FROM groups WHERE serial NOT IN (SELECT in_group FROM sessions)";
            let empty: u32 = place.sql().query_row(sql, [], |row| row.get(0)).unwrap();
            assert_eq!(empty, 0);
        }
    }
}

/// The sessions in one set of a group. The index also says which generation of the namespace it is of.
fn members(redis: &Redis, set: &str) -> BTreeSet<String> {
    let mut members: BTreeSet<String> = redis.run(&["ZRANGE", set, "0", "-1"]);
    members.remove("generation");
    members
}

/// The key of the group's index.
fn index(redis: &Redis) -> String {
    redis.keys().into_iter().find(|key| key.ends_with('}')).expect("there is a group")
}

fn no_key_without_an_expiry(redis: &Redis) {
    for key in redis.keys() {
        assert!(redis.run::<i64>(&["PTTL", &key]) > 0, "{key}");
    }
}

#[test]
fn every_key_expires_and_the_index_last() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let [phone, laptop] = ["phone", "laptop"].map(|device| login(&manager, "ada", device));
    let lives = || {
        no_key_without_an_expiry(&redis);
        let index = index(&redis);
        let of_records = redis.records().iter().map(|key| redis.expires(key)).max().unwrap();
        for key in [&*index, &format!("{index}:joined")] {
            assert_eq!(redis.expires(key), of_records, "{key}");
        }
        Duration::from_millis(redis.run::<i64>(&["PTTL", &index]).unsigned_abs())
    };
    assert!(lives() < 8 * DAY);
    let mut session = manager.load(&phone).unwrap();
    session.set_idle_timeout(30 * DAY);
    session.save().unwrap();
    assert!(lives() > 29 * DAY);
    let mut session = manager.load(&phone).unwrap();
    session.regenerate_with_grace(Duration::from_secs(10));
    let phone = cookie(&session.save().unwrap().unwrap());
    assert!(lives() > 29 * DAY);
    let mut session = manager.load(&laptop).unwrap();
    session.set_idle_timeout(DAY);
    session.save().unwrap();
    assert!(lives() > 29 * DAY, "it outlives the longest");
    let _ = manager.destroy(&phone).unwrap();
    no_key_without_an_expiry(&redis);
    assert!(is_alive(&manager, &laptop));
    manager.group("ada").clear_except(&manager.load(&laptop).unwrap()).unwrap();
    no_key_without_an_expiry(&redis);
    manager.group("ada").clear().unwrap();
    for key in redis.keys() {
        assert!(redis.run::<u64>(&["PTTL", &key]) <= 10_000, "only the old id with a grace is left");
    }
}

#[test]
fn a_lost_index_ends_sessions_and_keeps_none() {
    let redis = Redis::start();
    let manager = builder(&redis.url()).max_sessions_per_group(2).build().unwrap();
    let [phone, laptop] = ["phone", "laptop"].map(|device| login(&manager, "ada", device));
    let mut under_way = manager.load(&laptop).unwrap();
    under_way.set("a", &1).unwrap();
    let index = index(&redis);
    // The order of joining alone can be done without.
    assert_eq!(redis.run::<i64>(&["DEL", &format!("{index}:joined")]), 1);
    assert!(is_alive(&manager, &phone) && is_alive(&manager, &laptop));
    let tablet = login(&manager, "ada", "tablet");
    assert!(is_alive(&manager, &tablet));
    assert_eq!(manager.group("ada").len().unwrap(), 2, "the limit holds");
    assert_eq!(redis.run::<i64>(&["DEL", &index]), 1);
    assert!([&phone, &laptop, &tablet].iter().all(|header| !is_alive(&manager, header)));
    assert!(matches!(under_way.save(), Err(Error::Gone)));
    assert_eq!(manager.group("ada").sessions().unwrap().len(), 0);
    // What Redis evicts is not listed.
    let [phone, laptop] = ["phone", "laptop"].map(|device| login(&manager, "ada", device));
    let key = redis.records().into_iter().find(|key| key.ends_with(&id(&manager, &phone))).unwrap();
    assert_eq!(redis.run::<i64>(&["DEL", &key]), 1);
    assert_eq!(devices(&manager.group("ada")).len(), 1);
    assert!(is_alive(&manager, &laptop));
}

#[test]
fn the_order_of_joining_is_mended_after_an_eviction() {
    let redis = Redis::start();
    let open = builder(&redis.url()).build().unwrap();
    let limited = builder(&redis.url()).max_sessions_per_group(3).build().unwrap();
    let old = ["one", "two"].map(|device| login(&open, "ada", device));
    let joined = format!("{}:joined", index(&redis));
    assert_eq!(redis.run::<i64>(&["DEL", &joined]), 1);
    let newer = ["three", "four", "five"].map(|device| {
        next_millisecond();
        login(&limited, "ada", device)
    });
    assert!(!old.iter().any(|header| is_alive(&open, header)), "who is missing there has joined first");
    assert!(newer.iter().all(|header| is_alive(&open, header)));
    // Who was there when the index was lost does not stay in the other set.
    for _ in 0..3 {
        assert_eq!(redis.run::<i64>(&["DEL", &index(&redis)]), 1);
        login(&open, "ada", "phone");
        assert_eq!(redis.run::<i64>(&["ZCARD", &joined]), 1);
    }
}

#[test]
fn a_large_group_is_listed_and_shrunk_in_pieces() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        for _ in 0..1100 {
            login(&manager, "ada", "phone");
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
        // All of them go but five, and what they leave is removed.
        let limited = builder(&place.url()).max_sessions_per_group(5).build().unwrap();
        login(&limited, "ada", "phone");
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

#[test]
fn of_logins_within_a_millisecond_the_first_one_ends() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).max_sessions_per_group(3).build().unwrap();
        manager.ping().unwrap();
        for round in 0..50 {
            let user = round.to_string();
            let headers = ["one", "two", "three", "four"].map(|device| login(&manager, &user, device));
            let alive = headers.each_ref().map(|header| is_alive(&manager, header));
            assert_eq!(alive, [false, true, true, true], "round {round}");
        }
    }
}

#[test]
fn the_order_of_joining_survives_a_clock_that_was_put_back() {
    for place in [Place::redis(), Place::Cluster(Cluster::start(3))] {
        let manager = builder(&place.url()).max_sessions_per_group(2).build().unwrap();
        let [first, second] = ["first", "second"].map(|device| login(&manager, "ada", device));
        place.put_clock_back_for_all(DAY);
        let [third, fourth] = ["third", "fourth"].map(|device| login(&manager, "ada", device));
        let alive = [&first, &second, &third, &fourth].map(|header| is_alive(&manager, header));
        assert_eq!(alive, [false, false, true, true], "the later ones have joined last all the same");
    }
}

/// Members of a group that have no record, past the library: so many, by milliseconds of life that are left. The first
/// one has joined first.
fn add_members(redis: &Redis, count: usize, life: i64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
    let index = index(redis);
    let (mut by_expiry, mut by_joining) = (redis::cmd("ZADD"), redis::cmd("ZADD"));
    by_expiry.arg(&index);
    by_joining.arg(format!("{index}:joined"));
    for number in 0..count as i64 {
        by_expiry.arg(now + life + number).arg(format!("{number:024}"));
        by_joining.arg(now * 1000 - DAY.as_micros() as i64 + number).arg(format!("{number:024}"));
    }
    let mut connection = redis.connect();
    by_expiry.exec(&mut connection).unwrap();
    by_joining.exec(&mut connection).unwrap();
}

#[test]
fn a_login_clears_a_part_of_those_away_that_have_expired_and_none_counts() {
    let redis = Redis::start();
    let manager = builder(&redis.url()).max_sessions_per_group(2).build().unwrap();
    let group = manager.group("ada");
    login(&manager, "ada", "phone");
    let members = || redis.run::<usize>(&["ZCARD", &index(&redis)]);
    add_members(&redis, 2_000, -60_000);
    assert_eq!(devices(&group), ["phone"]);
    login(&manager, "ada", "laptop");
    assert_eq!(members(), 1_503, "500 in one step");
    // They have joined before those that are alive, and do not keep the limit from being met.
    let tablet = login(&manager, "ada", "tablet");
    assert_eq!(devices(&group), ["laptop", "tablet"]);
    assert!(members() < 1_100);
    login(&manager, "ada", "watch");
    assert_eq!((devices(&group), members()), (vec!["tablet".to_owned(), "watch".to_owned()], 3));
    assert!(is_alive(&manager, &tablet));
}

#[test]
fn a_new_limit_ends_very_many_in_one_step() {
    let redis = Redis::start();
    let open = manager(&redis.url());
    for (limit, is_disordered) in [(2, false), (2, true), (1_000, false), (1_000, true), (1_200, false), (1_200, true)]
    {
        let limited = builder(&redis.url()).max_sessions_per_group(limit).build().unwrap();
        login(&open, "ada", "phone");
        add_members(&redis, 3_000, 3_600_000);
        let laptop = login(&open, "ada", "laptop");
        assert_eq!(open.group("ada").len().unwrap(), 3_002);
        if is_disordered {
            assert_eq!(redis.run::<i64>(&["DEL", &format!("{}:joined", index(&redis))]), 1);
        }
        let tablet = login(&limited, "ada", "tablet");
        assert_eq!(open.group("ada").len().unwrap(), limit, "limit {limit}, disordered {is_disordered}");
        assert!(is_alive(&open, &tablet) && (is_disordered || is_alive(&open, &laptop)));
        let joined = redis.run::<usize>(&["ZCARD", &format!("{}:joined", index(&redis))]);
        assert!(joined == limit || (is_disordered && joined <= limit), "{joined}");
        no_key_without_an_expiry(&redis);
        assert!(!redis.all_keys().iter().any(|key| key.contains(":ended:")), "all is swept");
        redis.run::<()>(&["FLUSHALL"]);
    }
}

#[test]
fn a_list_comes_in_pages_and_in_answers_of_bounded_size() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    for _ in 0..20 {
        let mut session = manager.load(None).unwrap();
        session.set("device", "phone").unwrap();
        session.set("picture", &"x".repeat(100_000)).unwrap();
        session.set_group_name("ada");
        session.save().unwrap();
    }
    let index = index(&redis);
    let members: Vec<String> = redis.run(&["ZRANGE", &index, "0", "-1"]);
    // All of them expire at once, and so do those that Redis has evicted, more than a page has.
    add_members(&redis, 6_000, 3_600_000);
    let mut connection = redis.connect();
    let all: Vec<String> = redis.run(&["ZRANGE", &index, "1", "-1"]);
    let expires = redis.expires(&index).to_string();
    let mut same = redis::cmd("ZADD");
    same.arg(&index);
    all.iter().for_each(|id| _ = same.arg(&expires).arg(id));
    same.exec(&mut connection).unwrap();
    assert_eq!(all.len(), 6_020);
    let (commands, listed) = redis.commands(|| manager.group("ada").sessions_with(&["picture"]).unwrap());
    let mut ids: Vec<String> = listed.iter().map(|session| session.public_id().to_string()).collect();
    ids.push("generation".to_owned());
    ids.sort();
    let mut expected = members;
    expected.sort();
    assert_eq!(ids, expected);
    // Two pages of ids, 13 batches of them, and a few more since three pictures are enough for one answer.
    assert!((15 + 5..15 + 9).contains(&commands.len()), "{}", commands.len());
    assert_eq!(manager.group("ada").len().unwrap(), 20, "what Redis has evicted is found out");
}

fn id(manager: &SessionManager, header: &str) -> String {
    manager.load(header).unwrap().public_id().to_string()
}

#[test]
fn a_damaged_index_is_a_typed_error_and_a_logout_works() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    for damaged in ["", ":joined"] {
        let header = login(&manager, "ada", "phone");
        let alone = session_with(&manager, &[("a", "1")]);
        let key = format!("{}{damaged}", index(&redis));
        redis.run::<i64>(&["DEL", &key]);
        redis.run::<()>(&["SET", &key, "something else", "EX", "100"]);
        let before = redis.record(&redis.records()[0]);
        if damaged.is_empty() {
            assert_eq!(kind(manager.load(&header)), StoreErrorKind::Corrupt);
            assert_eq!(kind(manager.group("ada").sessions()), StoreErrorKind::Corrupt);
        }
        let mut session = manager.load(&alone).unwrap();
        session.set_group_name("ada");
        session.set("a", &2).unwrap();
        assert_eq!(kind(session.save()), StoreErrorKind::Corrupt);
        assert_eq!(redis.record(&redis.records()[0]), before, "nothing was half done");
        assert!(manager.load(&alone).unwrap().get::<String>("a").unwrap().as_deref() == Some("1"));
        let _ = manager.destroy(&header).unwrap();
        let _ = manager.destroy(&alone).unwrap();
        manager.group("ada").clear().unwrap();
        assert_eq!(redis.records(), Vec::<String>::new());
        redis.run::<()>(&["FLUSHALL"]);
    }
}

#[test]
fn a_full_memory_refuses_logins_and_not_logouts() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let [phone, laptop] = ["phone", "laptop"].map(|device| login(&manager, "ada", device));
    let alone = session_with(&manager, &[("a", "1")]);
    let keys = redis.keys();
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    for header in [Some(&*alone), Some(&*phone), None] {
        let mut session = manager.load(header).unwrap();
        session.set_group_name("grace");
        assert_eq!(kind(session.save()), StoreErrorKind::Rejected);
        assert_eq!(redis.keys(), keys, "nothing was half done");
    }
    place_time_passes(&redis, Duration::from_secs(3600));
    let mut session = manager.load(&phone).expect("a refresh that cannot be written fails no load");
    assert_eq!(session.save().unwrap(), None, "it was not refreshed");
    assert_eq!(kind(manager.group("ada").clear_except(&session)), StoreErrorKind::Rejected);
    assert!(is_alive(&manager, &phone) && is_alive(&manager, &laptop), "nothing was half done");
    assert!(manager.group("ada").remove(manager.load(&laptop).unwrap().public_id()).unwrap());
    assert_eq!(manager.group("ada").clear().unwrap(), 1);
    assert!(!is_alive(&manager, &phone) && !is_alive(&manager, &laptop));
}

fn place_time_passes(redis: &Redis, time: Duration) {
    for key in redis.keys() {
        let left: i64 = redis.run(&["PTTL", &key]);
        redis.run::<i64>(&["PEXPIRE", &key, &(left - time.as_millis() as i64).to_string()]);
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
    let created = losing(&|| login(&manager, "ada", "laptop"));
    assert_eq!(devices(&group), ["laptop", "phone"]);
    // With the limit, too.
    let third = losing(&|| login(&manager, "ada", "tablet"));
    assert_eq!(devices(&group), ["laptop", "tablet"]);
    assert_eq!(losing(&|| group.len().unwrap().to_string()), "2");
    assert_eq!(losing(&|| group.sessions_with(&["device"]).unwrap().len().to_string()), "2");
    // A clear that is sent again does not end who came in between, and counts once.
    proxy.next(&[Fault::LoseReply]);
    assert_eq!(group.clear().unwrap(), 2);
    assert!([&header, &created, &third].iter().all(|header| !is_alive(&manager, header)));
    // What the third login ended is dead; the reply that named it was lost, so its record is left to expire.
    no_key_without_an_expiry(&redis);
    assert_eq!(redis.keys().len(), 1);
}

#[test]
fn a_login_that_is_saved_again_after_its_group_ended_is_told_so() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = manager(&proxy.url());
    let _ = manager.destroy(&login(&manager, "ada", "phone")).unwrap(); // Redis knows the script now.
    let mut session = manager.load(None).unwrap();
    session.set_group_name("ada");
    proxy.next(&[Fault::LoseReply, Fault::LoseReply]);
    assert!(matches!(session.save(), Err(Error::Store(_))));
    assert_eq!(redis.run::<i64>(&["DEL", &index(&redis)]), 1);
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
fn a_bearer_token_can_log_in_too() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let mut session = manager.load_token(None).unwrap();
        session.set("device", "app").unwrap();
        session.set_group_name("ada");
        assert_eq!(session.save().unwrap(), None);
        let token = session.token().unwrap();
        assert_eq!(manager.load_token(Some(&token)).unwrap().group_name(), Some("ada"));
        let browser = login(&manager, "ada", "browser");
        assert_eq!(devices(&manager.group("ada")), ["app", "browser"]);
        // One group, two transports: a token is refused as a cookie and the reverse.
        let name = browser.split('=').next().unwrap();
        assert!(manager.load(&format!("{name}={token}")).unwrap().is_new());
        assert!(manager.load_token(Some(browser.split_once('=').unwrap().1)).unwrap().is_new());
        assert_eq!(manager.group("ada").clear().unwrap(), 2);
        assert!(manager.load_token(Some(&token)).unwrap().is_new());
    }
}

#[test]
fn a_secret_can_be_changed_under_a_group() {
    for place in Place::all_and_a_cluster() {
        let old = manager(&place.url());
        let header = login(&old, "ada", "phone");
        let new = SessionManager::builder(Secret::new("a newer secret of the tests, of 32 bytes").unwrap())
            .store_url(&place.url())
            .secure(false)
            .accept_secret(support::secret())
            .build()
            .unwrap();
        let mut session = new.load(&header).unwrap();
        assert_eq!(session.group_name(), Some("ada"));
        let renewed = cookie(&session.save().unwrap().expect("signed anew"));
        assert_ne!(renewed, header);
        assert_eq!(new.load(&renewed).unwrap().group_name(), Some("ada"));
        assert_eq!(new.group("ada").clear().unwrap(), 1, "the group does not depend on the secret");
        assert!(!is_alive(&new, &renewed) && !is_alive(&old, &header));
    }
}

#[test]
fn a_refused_login_changes_nothing_and_can_be_made_again() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).max_session_bytes(200).build().unwrap();
        for existing in [None, Some(session_with(&manager, &[("device", "phone")]))] {
            let mut session = manager.load(existing.as_deref()).unwrap();
            session.set_group_name("ada");
            session.set("device", "phone").unwrap();
            session.set("a", &"x".repeat(100)).unwrap();
            session.set("b", &"x".repeat(100)).unwrap();
            assert!(matches!(session.save(), Err(Error::TooLarge { .. })));
            assert_eq!(devices(&manager.group("ada")), Vec::<String>::new());
            assert_eq!((session.group_name(), session.authenticated_at()), (Some("ada"), None));
            session.remove("b");
            let header = cookie(&session.save().unwrap().unwrap());
            assert_eq!(devices(&manager.group("ada")), ["phone"]);
            assert_eq!(manager.load(&header).unwrap().group_name(), Some("ada"));
            manager.group("ada").clear().unwrap();
        }
    }
}

#[test]
fn a_login_within_a_transaction_meets_the_session_as_it_was_loaded() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let header = session_with(&manager, &[("device", "phone")]);
        let mut attempts = 0;
        let (_, set_cookie) = manager
            .transact(&header, |session: &mut Session| -> Result<(), Error> {
                attempts += 1;
                if attempts == 1 {
                    let mut other = manager.load(&header)?;
                    other.set("other", &1)?;
                    other.save()?;
                }
                session.set_group_name("ada");
                Ok(())
            })
            .unwrap();
        let session = manager.load(&cookie(&set_cookie.unwrap())).unwrap();
        assert_eq!((attempts, session.group_name(), session.keys()), (2, Some("ada"), vec!["device", "other"]));
        assert_eq!(devices(&manager.group("ada")), ["phone"]);
    }
}

#[test]
fn memory_clears_the_dead_of_groups_away_too() {
    let (now, pass) = clock();
    let manager = builder("memory:").store(MemoryStore::with_clock(now)).build().unwrap();
    for _ in 0..10 {
        for _ in 0..100 {
            login(&manager, "ada", "phone");
        }
        assert_eq!(manager.group("ada").len().unwrap(), 100);
        pass(8 * DAY);
        assert_eq!(manager.group("ada").clear().unwrap(), 0, "what has expired does not count");
    }
}
