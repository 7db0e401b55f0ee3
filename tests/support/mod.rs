//! Helpers of the tests: servers, files, managers, sessions and processes.

pub mod browser;
pub mod cluster;
pub mod disk;
pub mod fork;
pub mod load;
pub mod log;
pub mod operator;
pub mod place;
pub mod ports;
pub mod proxy;
pub mod redis;
pub mod sentinel;
pub mod shared;
pub mod sick;
pub mod sqlite;
pub mod tls;
pub mod wait;

use multi_process_session::{
    Error, Group, PublicId, Refresh, Secret, SessionInfo, SessionManager, SessionManagerBuilder, SetCookie, StoreError,
    StoreErrorKind,
};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
pub use wait::until;

// ---- managers ----

/// Makes a manager. All managers of the tests have the same secret, in every process.
pub fn manager(url: &str) -> SessionManager {
    builder(url).build().expect("the settings are fine")
}

/// Makes a manager with this operation timeout. Use it if a test expects a timeout, or checks that one is kept.
pub fn with_timeout(url: &str, timeout: Duration) -> SessionManager {
    builder(url).operation_timeout(timeout).build().expect("the settings are fine")
}

/// Makes the builder of a manager whose new sessions get their full life at once. Most tests that let time pass are
/// about other timeouts.
pub fn builder(url: &str) -> SessionManagerBuilder {
    builder_with_own_timeouts(url).unconfirmed_timeout(Duration::from_secs(10 * 365 * 24 * 60 * 60))
}

/// Starts a manager whose sessions have the library's own timeouts.
pub fn builder_with_own_timeouts(url: &str) -> SessionManagerBuilder {
    // Calls have a long time, so that a busy machine fails no test that is not about time.
    SessionManager::builder(secret()).store_url(url).secure(false).operation_timeout(Duration::from_secs(20))
}

pub fn secret() -> Secret {
    Secret::new("a secret of the tests, of 32 bytes and more").expect("it is long enough")
}

/// Makes a clock that stands still: gives the function that reads it, and the one that moves it forward.
pub fn clock() -> (impl Fn() -> SystemTime + Send + Sync + 'static, impl Fn(Duration)) {
    let now = Arc::new(Mutex::new(SystemTime::now()));
    let read = now.clone();
    (move || *read.lock().unwrap(), move |by| *now.lock().unwrap() += by)
}

// ---- sessions ----

/// Returns the `Cookie` header that a browser sends after this `Set-Cookie` header.
pub fn cookie(set_cookie: &SetCookie) -> String {
    set_cookie.pair().to_owned()
}

/// Makes a session with these values, and gives the `Cookie` header for it.
pub fn session_with(manager: &SessionManager, values: &[(&str, &str)]) -> String {
    let mut session = manager.load(None).expect("a new session");
    for (key, value) in values {
        session.set(key, value).expect("a value that fits");
    }
    cookie(&session.save().expect("the store works").expect("a new session has a cookie"))
}

/// Saves a new session with this value, and gives the `Cookie` header for it.
pub fn save_new(manager: &SessionManager, value: &str) -> Result<String, Error> {
    let mut session = manager.load(None)?;
    session.set("value", value)?;
    Ok(cookie(&session.save()?.expect("a new session has a cookie")))
}

/// Logs a user in, in a new session, and gives the `Cookie` header for it.
pub fn login(manager: &SessionManager, user: &str) -> String {
    try_login(manager, None, user).expect("the store works")
}

/// Logs a user in, in the session of this `Cookie` header or in a new one, and gives the new header.
pub fn try_login(manager: &SessionManager, header: Option<&str>, user: &str) -> Result<String, Error> {
    let mut session = manager.load(header)?;
    session.set("user", user)?;
    session.set_group_name(user);
    Ok(cookie(&session.save()?.expect("a login has a cookie")))
}

/// Logs a user in on a device, in a new session, and gives the `Cookie` header for it.
pub fn login_on(manager: &SessionManager, user: &str, device: &str) -> String {
    let mut session = manager.load(None).expect("a new session");
    session.set("device", device).expect("a value that fits");
    session.set_group_name(user);
    cookie(&session.save().expect("the store works").expect("a login has a cookie"))
}

/// The devices on which the user of this group is logged in.
#[track_caller]
pub fn devices(group: &Group) -> Vec<String> {
    let sessions = group.sessions_with(&["device"]).expect("the store works");
    let device = |session: &SessionInfo| session.get("device").expect("text").expect("it was set");
    let mut devices: Vec<String> = sessions.iter().map(device).collect();
    devices.sort();
    assert_eq!(group.len().expect("the store works"), devices.len());
    devices
}

/// Gives a session a new id with a grace, and returns the new `Cookie` header.
pub fn rotate(manager: &SessionManager, header: &str, grace: Duration) -> String {
    let mut session = manager.load(header).expect("the store works");
    session.regenerate_with_grace(grace);
    cookie(&session.save().expect("the store works").expect("a new id has a cookie"))
}

pub fn public_id(manager: &SessionManager, header: &str) -> PublicId {
    manager.load(header).expect("the store works").public_id()
}

pub fn is_alive(manager: &SessionManager, header: &str) -> bool {
    !manager.load(header).expect("the store works").is_new()
}

// ---- errors ----

/// The fault of the store that a call ended with.
#[track_caller]
pub fn fault<T: Debug>(answer: Result<T, Error>) -> StoreError {
    match answer {
        Err(Error::Store(error)) => error,
        other => panic!("expected a fault of the store, got {other:?}"),
    }
}

#[track_caller]
pub fn kind<T: Debug>(answer: Result<T, Error>) -> StoreErrorKind {
    fault(answer).kind()
}

/// The kind of the fault, and its text.
#[track_caller]
pub fn failure<T: Debug>(answer: Result<T, Error>) -> (StoreErrorKind, String) {
    let error = fault(answer);
    (error.kind(), error.to_string())
}

/// Lets a Redis know the scripts for sessions, so that no call has to send one in full.
pub fn let_it_know_the_scripts(url: &str) {
    let manager = builder(url).refresh(Refresh::EveryLoad).build().unwrap();
    let mut session = manager.load(&login(&manager, "somebody")).unwrap();
    session.set("a", &1).unwrap();
    session.save().unwrap();
    session.regenerate();
    session.save().unwrap();
    session.destroy().unwrap();
    manager.group("somebody").set_value("a", &1).unwrap();
}
