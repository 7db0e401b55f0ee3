//! A limit for log lines that a client can cause. Without it, a client could fill the disk with them.

use log::Level;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The time between two lines of one kind, in milliseconds.
const INTERVAL: u64 = 60_000;

/// Writes at most one line a minute of one kind. It has no lock, because a fork could copy a lock while it is held.
#[derive(Default)]
pub(crate) struct Throttle {
    /// When the last line was written, in milliseconds since 1970.
    written_at: AtomicU64,
    /// The number of lines since then that were not written.
    held_back: AtomicU64,
}

impl Throttle {
    /// Writes the line, or counts it as held back.
    pub(crate) fn log(&self, level: Level, line: fmt::Arguments<'_>) {
        if !log::log_enabled!(level) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match self.pass(now.as_millis().try_into().unwrap_or(u64::MAX)) {
            Some(0) => log::log!(level, "{line}"),
            Some(held_back) => log::log!(level, "{line} ({held_back} more such lines were not written)"),
            None => {}
        }
    }

    /// If a line may be written now, gives the number of lines that were held back before it. Otherwise gives `None`.
    fn pass(&self, now: u64) -> Option<u64> {
        let written_at = self.written_at.load(Ordering::Relaxed);
        // A clock that was set back does not hold lines back.
        let due = now.abs_diff(written_at) >= INTERVAL;
        // If several threads are here at once, one of them writes.
        if due && self.written_at.compare_exchange(written_at, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return Some(self.held_back.swap(0, Ordering::Relaxed));
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_passes_and_says_how_many_did_not() {
        let (throttle, start) = (Throttle::default(), 1_700_000_000_000);
        assert_eq!(throttle.pass(start), Some(0));
        assert_eq!([0, 1, 59_999].map(|later| throttle.pass(start + later)), [None; 3]);
        assert_eq!(throttle.pass(start + 60_000), Some(3));
        assert_eq!(throttle.pass(start + 60_001), None);
        assert_eq!(throttle.pass(start - 60_000), Some(1), "the clock was set back");
    }

    #[test]
    fn of_many_threads_one_passes() {
        let (throttle, start) = (Throttle::default(), 1_700_000_000_000);
        let passed = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| throttle.pass(start))).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).count()
        });
        assert_eq!((passed, throttle.pass(start + INTERVAL)), (1, Some(7)));
    }
}
