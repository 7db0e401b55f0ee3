//! Traces of sessions that have ended.

use crate::end_reason::EndReason;
use crate::store::call::Nonce;
use crate::store::state::RecordState;
use std::time::{Duration, SystemTime};

/// How long the trace of a session is kept after its end.
pub(crate) const TRACE: Duration = Duration::from_secs(5 * 60);

/// The trace of a session that has ended. The store keeps it under the session's key for 5 minutes.
///
/// It tells the client's next request why the session has ended. And it stops the call that created the session, if
/// that call is sent again because its answer was lost: without the trace, the call would bring the session back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// The nonce of the call that created the session.
    pub(crate) nonce: Nonce,
    /// Why the session has ended.
    pub(crate) reason: EndReason,
    /// When the 5 minutes are over. Then the store can remove the trace.
    pub(crate) ends_at: SystemTime,
}

impl Trace {
    /// Returns the trace of a session that ends now.
    pub(crate) fn of(state: &RecordState, reason: EndReason, now: SystemTime) -> Trace {
        let nonce = state.nonces.last_chunk().copied().unwrap_or_default();
        Trace { nonce, reason, ends_at: now + TRACE }
    }

    /// Returns whether the call with this nonce created the session.
    pub(crate) fn knows(&self, nonce: Nonce, now: SystemTime) -> bool {
        self.nonce == nonce && now < self.ends_at
    }
}
