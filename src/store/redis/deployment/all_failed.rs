//! The error of a request that several nodes could not answer.

use crate::error::{StoreError, StoreErrorKind};

/// Makes one error out of the errors of all nodes. If these are of different kinds, the kind is `Unavailable`.
pub(crate) fn all_failed(what: String, failures: &[StoreError]) -> StoreError {
    let kind = match failures {
        [first, rest @ ..] if rest.iter().all(|failure| failure.kind() == first.kind()) => first.kind(),
        _ => StoreErrorKind::Unavailable,
    };
    let reasons: Vec<String> = failures.iter().map(ToString::to_string).collect();
    StoreError::new(kind, if reasons.is_empty() { what } else { format!("{what}: {}", reasons.join("; ")) })
}
