//! The rule by which a session of another store takes the place of one that is there already.

use crate::store::state::RecordState;
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
    /// The session has ended in this store, as far as the store still knows, or its life is over. It was not brought
    /// back.
    Ended,
}

/// Says whether the life of a session is over.
pub(crate) fn is_over(given: &RecordState, now: SystemTime) -> bool {
    given.expires_at <= now || given.ends_at.is_some_and(|end| end <= now)
}

/// Says whether the session that is there (`found`) is an earlier state of the given one: the given session has all of
/// its changes, and it has more changes, or a life that was extended later.
pub(crate) fn is_earlier(found: &RecordState, given: &RecordState) -> bool {
    let knows_all = found.nonces.first_chunk().is_some_and(|last| given.knows(*last));
    let is_extended = || found.refreshed_at <= given.refreshed_at && life(found) != life(given);
    knows_all && (found.version < given.version || found.version == given.version && is_extended())
}

/// Gives the given state. If the session that is there was used later, with the life that it has.
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

    fn state(version: u64, nonces: &[&str], refreshed_at: u64) -> RecordState {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        RecordState {
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
        }
    }

    #[test]
    fn only_an_earlier_state_is_replaced() {
        let found = state(2, &["22222222", "11111111"], 5);
        for (given, expected) in [
            (state(2, &["22222222", "11111111"], 5), false),
            (state(2, &["22222222", "11111111"], 6), true),
            (state(2, &["22222222", "11111111"], 4), false),
            (state(3, &["33333333", "22222222"], 4), true),
            (state(3, &["33333333", "xxxxxxxx", "11111111"], 6), false),
            (state(1, &["11111111"], 6), false),
        ] {
            assert_eq!(is_earlier(&found, &given), expected, "{given:?}");
        }
        assert!(!is_earlier(&RecordState { nonces: Vec::new(), ..found.clone() }, &found));
    }

    #[test]
    fn parts_of_a_millisecond_do_not_count() {
        let found = state(2, &["22222222"], 5);
        let mut given = found.clone();
        given.refreshed_at = given.refreshed_at.map(|at| at + Duration::from_micros(999));
        assert!(!is_earlier(&found, &given));
    }
}
