//! The reason of an end: it is that of something that can have ended the session.
//!
//! So if exactly one operation can have ended it, the reason has to be that of this operation.

use super::super::history::{Applied, Operation, Reason};

/// How long a store surely remembers the reason of an end, in nanoseconds. The promise is 5 minutes.
const REMEMBERED: u64 = 4 * 60 * 1_000_000_000;

/// Whether the session that `load` found dead can have ended for this reason. The causes are all operations that can
/// have ended it, each with its reason.
pub(super) fn fits(reason: Reason, load: &Operation, causes: &[(&Operation, Reason)]) -> bool {
    causes.iter().any(|(cause, of_cause)| {
        let is_clean = cause.applied() == Applied::Surely && !cause.resent && cause.completed < load.invoked;
        match (reason, of_cause) {
            // In a cluster, a worker that is killed while the session gets a new id may end it.
            (Reason::Expired, Reason::NewId) if cause.applied() != Applied::Surely => true,
            (Reason::Expired, _) => cause.invoked + REMEMBERED < load.completed,
            // Redis writes this reason after the end. Until then, it knows only that the session is not a member.
            (Reason::LoggedOutElsewhere, Reason::OverLimit) => !is_clean,
            (reason, of_cause) => reason == *of_cause,
        }
    })
}
