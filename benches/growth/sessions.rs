//! Makes sessions, loads them and saves them.

use crate::support::copies::Copier;
use crate::support::place::Place;
use crate::support::{VALUES, builder_with_own_timeouts, cookie};
use multi_process_session::{Refresh, Session, SessionManager};
use std::time::Duration;

/// Makes a manager whose sessions are not refreshed after their first load, while the bench runs.
pub(crate) fn manager(place: &Place) -> SessionManager {
    builder_with_own_timeouts(&place.url()).refresh(Refresh::After(Duration::from_secs(3600))).build().unwrap()
}

/// Makes sessions of five small values, and gives their `Cookie` headers.
pub(crate) fn fill(manager: &SessionManager, count: usize) -> Vec<String> {
    (0..count).map(|_| create(manager, &small_values(), None)).collect()
}

/// Like `fill`, but most sessions are copies without a cookie. Of each thousand sessions, the library creates 25; the
/// others are copies.
pub(crate) fn fill_fast(place: &Place, manager: &SessionManager, count: usize) -> Vec<String> {
    let mut copier = Copier::new(place, manager);
    let mut headers = Vec::new();
    for _ in 0..count.div_ceil(1_000) {
        headers.extend(fill(manager, 25));
        copier.copy_last(headers.last().unwrap(), 975);
    }
    headers
}

/// Makes a session, and gives its `Cookie` header.
pub(crate) fn create(manager: &SessionManager, values: &[(String, String)], group: Option<&str>) -> String {
    let mut session = manager.load(None).unwrap();
    values.iter().for_each(|(key, value)| session.set(key, value).unwrap());
    group.into_iter().for_each(|group| session.set_group_name(group));
    cookie(&session.save().unwrap().unwrap())
}

pub(crate) fn small_values() -> Vec<(String, String)> {
    VALUES.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
}

/// Returns this number of values, each of this length.
pub(crate) fn values_of(count: usize, bytes: usize) -> Vec<(String, String)> {
    (0..count).map(|number| (format!("key-{number}"), "x".repeat(bytes))).collect()
}

pub(crate) fn load(manager: &SessionManager, header: &str) {
    assert!(!manager.load(header).unwrap().is_new());
}

pub(crate) fn save(session: &mut Session, number: usize) {
    session.set("changed", &number).unwrap();
    let _ = session.save().unwrap();
}
