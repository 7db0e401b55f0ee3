//! Sealed sessions that several processes use at the same time.

use crate::support::fork::{children_of, in_own_process};
use crate::support::place::Place;
use crate::support::{builder, cookie, login};
use multi_process_session::{Error, SessionManager};
use std::time::Duration;

const PROCESSES: usize = 4;
const ROUNDS: usize = 25;

fn sealing(place: &Place) -> SessionManager {
    let manager = builder(&place.url()).seal_values().readable(["count"]).build().unwrap();
    manager.ping().unwrap();
    manager
}

/// Runs a test on every store: with a session that is sealed from its beginning, and with one that begins in all
/// processes at once.
fn on_sessions(test: impl Fn(&SessionManager, &str)) {
    for place in Place::all_and_a_cluster() {
        let manager = sealing(&place);
        let plain = builder(&place.url()).build().unwrap();
        for header in [login(&manager, "ada"), login(&plain, "grace")] {
            test(&manager, &header);
        }
    }
}

#[test]
fn no_write_of_overlapping_requests_is_lost() {
    in_own_process(|| {
        on_sessions(|manager, header| {
            children_of(manager, PROCESSES, |own| {
                for round in 0..ROUNDS {
                    let mut session = manager.load(header).unwrap();
                    assert!(session.get::<String>("user").unwrap().is_some());
                    session.set(&format!("own {own}"), &round.to_string()).unwrap();
                    session.increment("count", 1).unwrap();
                    session.save().unwrap();
                }
                String::new()
            });
            let session = manager.load(header).unwrap();
            assert_eq!(session.get("count").unwrap(), Some(PROCESSES * ROUNDS));
            for own in 0..PROCESSES {
                let last = session.get::<String>(&format!("own {own}")).unwrap();
                assert_eq!(last, Some((ROUNDS - 1).to_string()), "process {own}");
            }
        });
    });
}

#[test]
fn all_values_stay_readable_while_ids_are_replaced() {
    in_own_process(|| {
        on_sessions(|manager, first| {
            let last = children_of(manager, PROCESSES, |own| {
                let mut header = first.to_owned();
                for round in 0..ROUNDS {
                    let mut session = manager.load(&header).unwrap();
                    for key in session.keys() {
                        let value = session.get::<serde_json::Value>(key);
                        assert!(value.is_ok(), "{key} in round {round}: {value:?}");
                    }
                    session.set(&format!("own {own}"), &round).unwrap();
                    if own == 0 && round % 5 == 2 {
                        session.regenerate_with_grace(Duration::from_secs(120));
                    }
                    match session.save() {
                        Ok(set_cookie) => header = set_cookie.map_or(header, |new| cookie(&new)),
                        Err(error) => assert!(matches!(error, Error::Conflict), "{error}"),
                    }
                }
                header
            });
            let session = manager.load(&last[0]).unwrap();
            for own in 0..PROCESSES {
                assert_eq!(session.get(&format!("own {own}")).unwrap(), Some(ROUNDS - 1), "process {own}");
            }
        });
    });
}
