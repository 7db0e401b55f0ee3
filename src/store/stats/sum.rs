//! Adds the counters of several processes.

use crate::store::stats::Stats;
use std::iter::Sum;
use std::ops::AddAssign;

/// Adds the counters of another process, or of another manager. If two managers share one store, both count its
/// connections and its requests.
impl AddAssign for Stats {
    fn add_assign(&mut self, mut other: Stats) {
        for ((_, sum), (_, number)) in self.numbers().into_iter().zip(other.numbers()) {
            *sum = sum.saturating_add(*number);
        }
        for (kind, number) in other.errors {
            let sum = self.errors.entry(kind).or_default();
            *sum = sum.saturating_add(number);
        }
        self.call_durations.add(&other.call_durations);
        self.pool_size = self.pool_size.saturating_add(other.pool_size);
        self.waited = self.waited.saturating_add(other.waited);
        self.lock_waited = self.lock_waited.saturating_add(other.lock_waited);
        self.since = [self.since, other.since].into_iter().flatten().min();
    }
}

impl Sum for Stats {
    fn sum<I: Iterator<Item = Stats>>(all: I) -> Stats {
        all.fold(Stats::default(), |mut sum, stats| {
            sum += stats;
            sum
        })
    }
}
