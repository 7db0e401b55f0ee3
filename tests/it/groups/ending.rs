//! How the sessions of a group end: one, all others or all of them by a logout, and each by its timeouts.

use crate::support::place::Place;
use crate::support::{builder, clock, cookie, devices, is_alive, login, login_on, manager, public_id, session_with};
use multi_process_session::{Error, MemoryStore, Session};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn one_session_or_all_others_or_all_can_be_ended() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let group = manager.group("ada");
        let [phone, laptop, tablet] = ["phone", "laptop", "tablet"].map(|device| login_on(&manager, "ada", device));
        let other = login_on(&manager, "grace", "phone");
        let alone = session_with(&manager, &[("a", "1")]);
        assert!(!group.remove(public_id(&manager, &other)).unwrap(), "it is in another group");
        assert!(!group.remove(public_id(&manager, &alone)).unwrap(), "it is in none");
        let tablet_id = public_id(&manager, &tablet);
        let mut under_way = manager.load(&tablet).unwrap();
        under_way.set("a", &1).unwrap();
        assert!(group.remove(tablet_id.to_string().parse().unwrap()).unwrap());
        place.assert_groups_sound();
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
        place.assert_groups_sound();
        // A later login works.
        let next = login_on(&manager, "ada", "phone");
        assert!(is_alive(&manager, &next) && !is_alive(&manager, &phone));
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
        // The ten days began again with the login.
        for _ in 0..3 {
            place.let_time_pass_for_all(3 * DAY);
            assert_eq!(devices(&manager.group("ada")), ["phone"]);
            assert!(is_alive(&manager, &header));
        }
        place.let_time_pass_for_all(DAY + Duration::from_secs(1));
        assert_eq!((devices(&manager.group("ada")), is_alive(&manager, &header)), (vec![], false));

        // A session with a short timeout and one with a long timeout: the group outlives both.
        let [short, long] = ["short", "long"].map(|device| login_on(&manager, "ada", device));
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
                login_on(&manager, "ada", "phone");
            }
            assert_eq!(manager.group("ada").len().unwrap(), 50);
            assert_eq!(place.records(), 50);
            if let Place::Redis(redis) = &place {
                for set in [redis.group_index(), format!("{}:joined", redis.group_index())] {
                    assert_eq!(redis.members(&set).len(), 50, "round {round}: {set}");
                }
            }
            place.let_time_pass_for_all(8 * DAY);
        }
    }
}

#[test]
fn memory_clears_the_dead_of_groups_away_too() {
    let (now, pass) = clock();
    let manager = builder("memory:").store(MemoryStore::with_clock(now)).build().unwrap();
    for _ in 0..10 {
        for _ in 0..100 {
            login_on(&manager, "ada", "phone");
        }
        assert_eq!(manager.group("ada").len().unwrap(), 100);
        pass(8 * DAY);
        assert_eq!(manager.group("ada").clear().unwrap(), 0, "what has expired does not count");
    }
}

#[test]
fn a_device_is_logged_out_by_the_id_that_a_list_showed() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let header = login(&manager, "ada");
        let group = manager.group("ada");
        let listed = group.sessions().unwrap()[0].public_id();
        let mut session = manager.load(&header).unwrap();
        session.regenerate();
        let header = cookie(&session.save().unwrap().unwrap());
        assert!(group.remove(listed).unwrap(), "it has another id since");
        assert!(!is_alive(&manager, &header));
        assert!(!group.remove(listed).unwrap());
    }
}
