//! What the tests share: private Redis servers, forked children, cookies.

#![allow(dead_code, missing_docs, unreachable_pub)] // each test file uses its part of it

pub mod bench;
pub mod browser;
pub mod cluster;
pub mod disk;
pub mod example;
pub mod fork;
pub mod load;
pub mod log;
pub mod place;
pub mod proxy;
pub mod redis;
pub mod sentinel;
pub mod shared;
pub mod sick;
pub mod tls;

use multi_process_session::{
    Error, Secret, SessionManager, SessionManagerBuilder, SetCookie, StoreError, StoreErrorKind,
};
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A manager of tests: the same secret in every process.
pub fn manager(url: &str) -> SessionManager {
    builder(url).build().expect("the settings are fine")
}

pub fn builder(url: &str) -> SessionManagerBuilder {
    // Patient, so that a busy machine fails no test that is not about time.
    SessionManager::builder(secret())
        .store_url(url)
        .secure(false)
        .operation_timeout(Duration::from_secs(20))
        // Tests that let time pass are mostly about other timeouts.
        .unconfirmed_timeout(Duration::from_secs(10 * 365 * 24 * 60 * 60))
}

pub fn secret() -> Secret {
    Secret::new("a secret of the tests, of 32 bytes and more").expect("it is long enough")
}

/// A clock that a test turns: what it shows, and what turns it.
pub fn clock() -> (impl Fn() -> SystemTime + Send + Sync + 'static, impl Fn(Duration)) {
    let now = Arc::new(Mutex::new(SystemTime::now()));
    let read = now.clone();
    (move || *read.lock().unwrap(), move |by| *now.lock().unwrap() += by)
}

/// Waits until something is so.
pub fn until(mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < deadline, "it does not come to that");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends the threads of a scope also when the test fails.
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The `Cookie` header that a browser makes of a `Set-Cookie` header.
pub fn cookie(set_cookie: &SetCookie) -> String {
    set_cookie.as_str().split(';').next().expect("a split has a first part").to_owned()
}

/// Makes a session with these values and gives the `Cookie` header for it.
pub fn session_with(manager: &SessionManager, values: &[(&str, &str)]) -> String {
    let mut session = manager.load(None).expect("a new session");
    for (key, value) in values {
        session.set(key, value).expect("a value that fits");
    }
    cookie(&session.save().expect("the store works").expect("a new session has a cookie"))
}

/// The fault of the store that a call ended with.
pub fn fault<T: Debug>(answer: Result<T, Error>) -> StoreError {
    match answer {
        Err(Error::Store(error)) => error,
        other => panic!("expected a fault of the store, got {other:?}"),
    }
}

pub fn kind<T: Debug>(answer: Result<T, Error>) -> StoreErrorKind {
    fault(answer).kind()
}

/// Its kind and its text.
pub fn failure<T: Debug>(answer: Result<T, Error>) -> (StoreErrorKind, String) {
    let error = fault(answer);
    (error.kind(), error.to_string())
}

/// What `call` answers, and that it takes no longer than this.
pub fn in_time<T>(limit: Duration, call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let answer = call();
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
    answer
}

/// Waits until the clock shows another millisecond: then what comes next is later than what was before.
pub fn next_millisecond() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis();
    let start = now();
    until(|| now() > start);
}
