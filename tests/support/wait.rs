//! Waiting, and the time that calls take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a test waits for something before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a condition holds.
#[track_caller]
pub fn until(mut so: impl FnMut() -> bool) {
    until_some(|| so().then_some(()));
}

/// Looks again until there is something, and gives it.
#[track_caller]
pub fn until_some<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < PATIENCE, "this does not come true within {PATIENCE:?}");
        // Less often if it takes longer, to leave the processor to the tests that run beside this one.
        thread::sleep((start.elapsed() / 16).clamp(Duration::from_micros(500), Duration::from_millis(20)));
    }
}

/// Waits until the clock shows another millisecond, so that whatever comes next is later than whatever was before.
pub fn next_millisecond() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis();
    let start = now();
    until(|| now() != start);
}

/// Lets idle connections rest for so long that the library does not trust them any more: a call on one of them keeps
/// half of its time for a fresh one.
pub fn let_connections_rest() {
    thread::sleep(Duration::from_millis(1050));
}

/// Makes a call, gives its answer, and checks that it ended by its deadline. On a busy machine it may take 6 times as
/// long.
#[track_caller]
pub fn in_time<T>(deadline: Duration, call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let answer = call();
    assert!(start.elapsed() < deadline * 6, "{:?} instead of {deadline:?}", start.elapsed());
    answer
}

/// Tells the threads of a scope to stop, also when the test fails.
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
