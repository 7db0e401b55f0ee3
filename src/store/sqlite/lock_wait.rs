//! Waits for locks of other connections, until a deadline.
//!
//! SQLite asks a busy handler whether to try for a lock once more. The handler gets no data of ours, so its deadline is
//! kept in a variable of the thread.

use crate::deadline::Deadline;
use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

/// The pause between two tries for a lock. A write holds its lock for about 20 µs. The pause does not grow while a call
/// waits, so that all waiting calls have the same chance.
const SHORT_PAUSE: Duration = Duration::from_micros(50);
/// After this many tries, the pause is longer, because the holder of the lock must be doing something slow.
const SHORT_PAUSES: i32 = 400;
const LONG_PAUSE: Duration = Duration::from_millis(1);

thread_local! {
    /// The deadline until which this thread waits for locks.
    static DEADLINE: Cell<Option<Deadline>> = const { Cell::new(None) };
    /// How long this thread has waited since `take_waited` was called last.
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Lets this thread wait for locks until the deadline.
pub(crate) fn wait_for_locks_until(deadline: Deadline) {
    DEADLINE.set(Some(deadline));
}

/// Adds to the time for which this thread has waited.
pub(crate) fn add_waited(waited: Duration) {
    WAITED.set(WAITED.get() + waited);
}

/// Returns the time for which this thread has waited since this was called last.
pub(crate) fn take_waited() -> Duration {
    WAITED.take()
}

/// Waits before the next try for a lock, after this number of failed tries. Returns whether there was time left. This
/// is SQLite's busy handler.
pub(crate) fn wait_for_lock(tries: i32) -> bool {
    pause(if tries < SHORT_PAUSES { SHORT_PAUSE } else { LONG_PAUSE })
}

/// Waits this long, or until the deadline of this thread. Returns whether there was time left.
pub(crate) fn pause(pause: Duration) -> bool {
    let start = Instant::now();
    match DEADLINE.get().map(Deadline::left) {
        None | Some(Duration::ZERO) => false,
        Some(left) => {
            thread::sleep(pause.min(left));
            add_waited(start.elapsed());
            true
        }
    }
}
