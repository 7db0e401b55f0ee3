//! Log lines that a client can cause at will, held back so that nobody fills a disk with them.

use log::Level;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// How far apart two lines of one kind are, in milliseconds.
const INTERVAL: u64 = 60_000;

/// Lines of one kind, of which at most one a minute is written. There is no lock in it that a fork could copy.
#[derive(Default)]
pub(crate) struct Throttle {
    /// When the last line was written, in milliseconds since 1970.
    written_at: AtomicU64,
    /// How many were not since then.
    held_back: AtomicU64,
}

impl Throttle {
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

    /// How many lines were held back before the one that may be written now; `None` if it may not.
    fn pass(&self, now: u64) -> Option<u64> {
        let written_at = self.written_at.load(Ordering::Relaxed);
        // A clock that was put back holds nothing back.
        let due = now.abs_diff(written_at) >= INTERVAL;
        // Of several threads, one writes.
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
        assert_eq!(throttle.pass(start - 60_000), Some(1), "the clock was put back");
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
