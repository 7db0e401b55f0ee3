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

    /// A request has failed; it may be one if the servers are the reason.
    pub(super) fn note_failure(&self, servers: impl fmt::Display, error: &StoreError) {
        if !matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Timeout) {
            return;
        }
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if !self.under_way.swap(true, Ordering::Relaxed) {
            log::error!("{servers} cannot be used: {error}");
        }
    }

    pub(super) fn note_success(&self, servers: impl fmt::Display) {
        if !self.is_under_way() {
            return;
        }
        let last_failure = *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = last_failure.is_none_or(|failure| failure.elapsed() >= CALM);
        if is_over && self.under_way.swap(false, Ordering::Relaxed) {
            log::warn!("{servers} can be used again");
        }
    }
}
