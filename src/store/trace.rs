//! Traces of sessions that ended soon after their creation.

use crate::store::call::Nonce;
use crate::store::state::RecordState;
use std::time::{Duration, SystemTime};

/// How long after its creation an ended session leaves a trace.
pub(crate) const TRACE: Duration = Duration::from_secs(60);

/// The trace of a session that ended within a minute after its creation. The store keeps it under the session's key for
/// the rest of that minute.
///
/// The call that created the session may be sent again, because its answer was lost. The trace tells that call that the
/// session has ended: without it, the call would bring the session back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// The nonce of the call that created the session.
    pub(crate) nonce: Nonce,
    /// When the minute is over. Then the store can remove the trace.
    pub(crate) ends_at: SystemTime,
}

impl Trace {
    /// Gives the trace of a session that ends now. Gives `None` if its creation was more than a minute ago.
    pub(crate) fn of(state: &RecordState, now: SystemTime) -> Option<Trace> {
        let ends_at = state.created_at.min(now) + TRACE;
        let nonce = *state.nonces.last_chunk()?;
        (now < ends_at).then_some(Trace { nonce, ends_at })
    }

    /// Says whether the call with this nonce created the session.
    pub(crate) fn knows(&self, nonce: Nonce, now: SystemTime) -> bool {
        self.nonce == nonce && now < self.ends_at
    }
}
