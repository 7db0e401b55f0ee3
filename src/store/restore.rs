//! The rule by which a session of another store takes the place of one that is there already.

use crate::store::call::Nonce;
use crate::store::state::RecordState;
use crate::store::stored_record::StoredRecord;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What [`restore`](crate::store::Maintenance::restore) or
/// [`restore_group`](crate::store::Maintenance::restore_group) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// The session, or the values, were not there, and are there now.
    Created,
    /// An earlier state was there, and was replaced.
    Updated,
    /// This state was there already, or a later one, or one with changes of its own. It stays as it is.
    Kept,
    /// This store remembers that the session ended here, or the session has expired. Nothing was written.
    Ended,
}

/// Returns whether the life of a session is over.
pub(crate) fn is_over(given: &RecordState, now: SystemTime) -> bool {
    given.expires_at <= now || given.ends_at.is_some_and(|end| end <= now)
}

/// Returns whether the session that is there (`found`) is an earlier state of the given one: the given session has all
/// of its changes, and it has more changes, or a life that was extended later.
///
/// A record remembers its last changes only. But if the session that is there has not changed since it was copied, or
/// if the given one was copied from it, then all its changes are in the given one too.
pub(crate) fn is_earlier(found: &RecordState, copied_nonce: Option<Nonce>, record: &StoredRecord) -> bool {
    let given = &record.state;
    let knows_all = found
        .nonces
        .first_chunk()
        .is_some_and(|last| given.knows(*last) || [copied_nonce, record.copied_nonce].contains(&Some(*last)));
    let is_extended = || found.refreshed_at <= given.refreshed_at && life(found) != life(given);
    knows_all && (found.version < given.version || found.version == given.version && is_extended())
}

/// Returns the given state. If the existing session was used later, the state gets that session's life.
pub(crate) fn with_later_life(found: &RecordState, given: RecordState) -> RecordState {
    if found.refreshed_at <= given.refreshed_at {
        return given;
    }
    let expires_at = given.ends_at.map_or(found.expires_at, |end| end.min(found.expires_at));
    RecordState { refreshed_at: found.refreshed_at, expires_at, ..given }
}

/// The times of a life, in milliseconds: stores that keep times in milliseconds give the same times later.
fn life(state: &RecordState) -> [u128; 5] {
    let milliseconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis();
    let RecordState { began_at, refreshed_at, ends_at, idle_timeout, expires_at, .. } = state;
    let optional = |time: &Option<SystemTime>| time.map_or(0, milliseconds);
    let [refreshed_at, ends_at] = [refreshed_at, ends_at].map(optional);
    [milliseconds(*began_at), refreshed_at, ends_at, idle_timeout.as_millis(), milliseconds(*expires_at)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::Values;

    fn record(version: u64, nonces: &[&str], refreshed_at: u64) -> StoredRecord {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let state = RecordState {
            version,
            created_at: at(1),
            joined_at: None,
            began_at: at(1),
            refreshed_at: Some(at(refreshed_at)),
            ends_at: None,
            idle_timeout: Duration::from_secs(60),
            has_own_idle_timeout: false,
            persistent: None,
            expires_at: at(refreshed_at + 60),
            nonces: nonces.concat().into_bytes(),
        };
        StoredRecord { group_name: None, join_order: 0, values: Values::new(), state, copied_nonce: None }
    }

    #[test]
    fn only_an_earlier_state_is_replaced() {
        let found = record(2, &["22222222", "11111111"], 5).state;
        for (given, expected) in [
            (record(2, &["22222222", "11111111"], 5), false),
            (record(2, &["22222222", "11111111"], 6), true),
            (record(2, &["22222222", "11111111"], 4), false),
            (record(3, &["33333333", "22222222"], 4), true),
            (record(3, &["33333333", "xxxxxxxx", "11111111"], 6), false),
            (record(1, &["11111111"], 6), false),
        ] {
            assert_eq!(is_earlier(&found, None, &given), expected, "{given:?}");
        }
        let without_nonces = RecordState { nonces: Vec::new(), ..found };
        assert!(!is_earlier(&without_nonces, None, &record(3, &["22222222"], 5)));
    }

    #[test]
    fn a_copy_that_was_left_alone_is_an_earlier_state_after_any_number_of_changes() {
        let found = record(2, &["22222222", "11111111"], 5).state;
        let given = record(90, &["90909090", "89898989"], 6);
        assert!(!is_earlier(&found, None, &given), "some of its changes may be its own");
        assert!(is_earlier(&found, Some(*b"22222222"), &given), "it was copied, and left alone");
        assert!(!is_earlier(&found, Some(*b"11111111"), &given), "it was copied, and changed");
        let copied = StoredRecord { copied_nonce: Some(*b"22222222"), ..given };
        assert!(is_earlier(&found, None, &copied), "the given one is a copy of it");
        assert!(!is_earlier(&found, Some(*b"22222222"), &record(1, &["xxxxxxxx"], 9)), "it has more changes");
    }

    #[test]
    fn parts_of_a_millisecond_do_not_count() {
        let found = record(2, &["22222222"], 5).state;
        let mut given = record(2, &["22222222"], 5);
        given.state.refreshed_at = given.state.refreshed_at.map(|at| at + Duration::from_micros(999));
        assert!(!is_earlier(&found, None, &given));
    }
}
