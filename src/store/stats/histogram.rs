//! A histogram of durations.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The counters of a histogram: one for each bound, and one for all that is longer.
const COUNTERS: usize = Histogram::BOUNDS.len() + 1;

/// How many calls took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// For each bound, the calls that took at most this long, and longer than the bound before.
    pub(super) counts: [u64; COUNTERS],
    pub(super) sum: Duration,
}

impl Histogram {
    /// The bounds of the buckets: from 0.1 milliseconds to 2.5 seconds.
    pub const BOUNDS: [Duration; 14] = [
        Duration::from_micros(100),
        Duration::from_micros(250),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2_500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_millis(2_500),
    ];

    /// Returns the number of all calls.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().copied().fold(0, u64::saturating_add)
    }

    /// Returns the time that all calls together took.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Returns for each of the [bounds](Histogram::BOUNDS) the number of calls that took at most this long.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let up_to = self.counts.iter().scan(0_u64, |sum, count| {
            *sum = sum.saturating_add(*count);
            Some(*sum)
        });
        Histogram::BOUNDS.into_iter().zip(up_to)
    }

    /// Adds the calls of another histogram.
    pub(super) fn add(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
        self.sum = self.sum.saturating_add(other.sum);
    }
}

/// Records durations. Each of them costs two additions.
#[derive(Default)]
pub(super) struct Recorder {
    counts: [AtomicU64; COUNTERS],
    nanoseconds: AtomicU64,
}

impl Recorder {
    pub(super) fn record(&self, duration: Duration) {
        let bucket = Histogram::BOUNDS.partition_point(|bound| *bound < duration);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = duration.as_nanos().try_into().unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn histogram(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_up_to_the_first_bound_that_it_does_not_exceed() {
        let recorder = Recorder::default();
        let longer = Duration::from_nanos(100_001);
        for duration in [Duration::ZERO, Histogram::BOUNDS[0], longer, Histogram::BOUNDS[13], Duration::from_secs(9)] {
            recorder.record(duration);
        }
        let mut histogram = recorder.histogram();
        let buckets: Vec<u64> = histogram.buckets().map(|(_, calls)| calls).collect();
        assert_eq!(buckets, [2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4]);
        let sum = Histogram::BOUNDS[0] + longer + Histogram::BOUNDS[13] + Duration::from_secs(9);
        assert_eq!((histogram.count(), histogram.sum()), (5, sum));
        histogram.add(&recorder.histogram());
        assert_eq!((histogram.count(), histogram.sum(), histogram.counts[0]), (10, sum * 2, 4));
    }

    #[test]
    fn the_bounds_rise() {
        assert!(Histogram::BOUNDS.is_sorted_by(|earlier, later| earlier < later));
    }
}
