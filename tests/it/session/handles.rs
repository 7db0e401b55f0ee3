//! Handles that outlive their request: is the session still alive?

use crate::support::place::{Place, on_every_store};
use crate::support::redis::Redis;
use crate::support::{builder, cookie, kind, login, manager, rotate, session_with};
use multi_process_session::{SessionHandle, SessionManager, StoreErrorKind};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn handle(manager: &SessionManager, header: &str) -> SessionHandle {
    manager.load(header).unwrap().to_handle().expect("the session is saved")
}

#[test]
fn a_handle_answers_as_long_as_the_session_lives() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        assert!(manager.load(None).unwrap().to_handle().is_none(), "nothing is saved yet");
        let (alone, grouped) = (session_with(&manager, &[("a", "1")]), login(&manager, "ada"));
        let mut handles = [&alone, &grouped].map(|header| handle(&manager, header));
        assert!(handles.iter_mut().all(|handle| handle.is_alive().unwrap()));
        assert!(!format!("{handles:?}").contains(&alone["sid=".len()..]), "Debug shows no token");
        manager.group("ada").clear().unwrap();
        assert_eq!(manager.are_alive(&mut handles).unwrap(), [true, false]);
        manager.load(&alone).unwrap().destroy().unwrap();
        assert_eq!(manager.are_alive(&mut handles).unwrap(), [false, false]);
        assert_eq!(manager.are_alive(&mut []).unwrap(), [false; 0]);
    });
}

#[test]
fn a_handle_extends_nothing() {
    for place in Place::all() {
        let manager = builder(&place.url()).idle_timeout(HOUR).build().unwrap();
        let mut handle = handle(&manager, &login(&manager, "ada"));
        place.let_time_pass_for_all(HOUR / 2);
        assert!(handle.is_alive().unwrap());
        place.let_time_pass_for_all(HOUR / 2 + HOUR / 50);
        assert!(!handle.is_alive().unwrap());
    }
}

#[test]
fn a_handle_ends_with_its_id_and_follows_a_grace() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).build().unwrap();
        let header = login(&manager, "ada");
        let [mut asked, mut late] = [(); 2].map(|()| handle(&manager, &header));
        let new = rotate(&manager, &header, HOUR);
        assert!(asked.is_alive().unwrap(), "the old id still leads to the session");
        place.let_time_pass_for_all(HOUR);
        assert!(asked.is_alive().unwrap(), "it has taken over the new id in the grace");
        assert!(!late.is_alive().unwrap(), "it was not asked in the grace");
        let mut session = manager.load(&new).unwrap();
        session.regenerate();
        session.save().unwrap();
        assert!(!asked.is_alive().unwrap(), "whoever planted the old id is cut off");
        let mut saved = session.to_handle().unwrap();
        assert!(saved.is_alive().unwrap(), "after the save it has the new id");
        session.set_group_name("ada");
        let again = cookie(&session.save().unwrap().unwrap());
        assert!(!saved.is_alive().unwrap(), "a login has a new id too");
        assert!(handle(&manager, &again).is_alive().unwrap());
    }
}

#[test]
fn a_handle_of_another_manager_is_asked_there() {
    let [one, other] = [manager("memory:"), manager("memory:")];
    let mut handles = [&one, &other, &one, &other].map(|manager| handle(manager, &login(manager, "ada")));
    assert_eq!(one.are_alive(&mut handles).unwrap(), [true; 4]);
    other.group("ada").clear().unwrap();
    assert_eq!(one.are_alive(&mut handles).unwrap(), [true, false, true, false]);
}

#[test]
fn whether_a_session_lives_is_not_guessed() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let mut handle = handle(&manager, &login(&manager, "ada"));
    drop(redis);
    assert_eq!(kind(handle.is_alive()), StoreErrorKind::Unavailable);
    assert_eq!(kind(manager.are_alive([&mut handle])), StoreErrorKind::Unavailable);
}
