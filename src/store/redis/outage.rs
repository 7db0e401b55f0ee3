//! Tells the log when servers cannot be used, and when they can again.

use crate::{StoreError, StoreErrorKind};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For so long nothing may have failed when it is over: where only some requests fail, the log is not told of each.
const CALM: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Outage {
    under_way: AtomicBool,
    last_failure: Mutex<Option<Instant>>,
}

impl Outage {
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed)
    }

    /// A request has failed. It may be the servers' fault.
    pub(super) fn note_failure(&self, servers: impl fmt::Display, error: &StoreError) {
        let is_outage = matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Timeout);
        if is_outage && self.begins(Instant::now()) {
            log::error!("{servers} cannot be used: {error}");
        }
    }

    pub(super) fn note_success(&self, servers: impl fmt::Display) {
        if self.is_under_way() && self.ends(Instant::now()) {
            log::warn!("{servers} can be used again");
        }
    }

    fn begins(&self, now: Instant) -> bool {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        !self.under_way.swap(true, Ordering::Relaxed)
    }

    fn ends(&self, now: Instant) -> bool {
        let last_failure = *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        let is_calm = last_failure.is_none_or(|failure| now.saturating_duration_since(failure) >= CALM);
        is_calm && self.under_way.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_once_and_ends_when_nothing_has_failed_for_a_while() {
        let (outage, start) = (Outage::default(), Instant::now());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(!outage.ends(at(0)));
        assert!(outage.begins(at(0)));
        // Some succeed, and some fail.
        assert!(!outage.ends(at(900)));
        assert!(!outage.begins(at(950)));
        assert!(!outage.ends(at(1900)));
        assert!(outage.ends(at(1950)));
        assert!(!outage.ends(at(9000)));
        assert!(outage.begins(at(9000)));
    }
}
