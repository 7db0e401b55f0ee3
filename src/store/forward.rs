//! Ids that were replaced, and how they lead to the present id of the session.

use crate::id::PublicId;
use crate::store::key::RecordKey;
use std::time::{Duration, SystemTime};

/// The longest [grace](crate::store::Update::grace). A grace that seems to end later counts as over: it was given
/// before the clock was put back.
pub const LONGEST_GRACE: Duration = Duration::from_secs(5 * 60);

/// The trail of a move: as long as it lasts, [`Store::delete`](crate::store::Store::delete) with the old id ends the
/// session.
pub const TRAIL: Duration = Duration::from_secs(60 * 60);

/// The most steps from an old id to the present one, where each id leads to the next.
pub(crate) const MOST_FORWARDS: usize = 100;

/// The end of a grace that was not given, or was taken away. It is not the present time: a call may have read the clock
/// before the change, and the store after it.
pub(crate) const NO_GRACE: SystemTime = SystemTime::UNIX_EPOCH;

/// The reason why a call follows an old id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The call uses the session. An old id leads to the session until its grace ends.
    Use,
    /// The call ends the session. An old id leads to the session until its trail ends.
    End,
}

/// The new id of a session whose id was replaced. The store keeps this under the old key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    /// The id that replaced it, in the same group.
    pub(crate) new_id: PublicId,
    /// When the [grace](crate::store::Update::grace) ends.
    pub(crate) grace_ends: SystemTime,
    /// When the [trail](TRAIL) ends. Then the store can remove this.
    pub(crate) trail_ends: SystemTime,
}

impl Forward {
    /// Makes the forward that a move to `new_id` leaves under the old key.
    pub(crate) fn new(new_id: PublicId, grace: Option<Duration>, now: SystemTime) -> Forward {
        let grace_ends = grace.map_or(NO_GRACE, |grace| now + grace);
        Forward { new_id, grace_ends, trail_ends: now + TRAIL.max(grace.unwrap_or_default()) }
    }

    /// Returns whether the old id leads a call with this purpose to the session.
    pub(crate) fn leads(&self, purpose: Purpose, now: SystemTime) -> bool {
        match purpose {
            Purpose::Use => now < self.grace_ends && self.grace_ends <= now + LONGEST_GRACE,
            Purpose::End => now < self.trail_ends.max(self.grace_ends),
        }
    }
}

/// Returns the key that a session has now: `key`, or the key that `key` leads to. `forward` gives what the store keeps
/// under a key of an old id, and `None` for every other key.
///
/// Stops after 100 steps, because forwards that are damaged can lead in a circle.
pub(crate) fn follow<'a, E>(
    key: &RecordKey<'a>,
    purpose: Purpose,
    now: SystemTime,
    mut forward: impl FnMut(&RecordKey<'a>) -> Result<Option<Forward>, E>,
) -> Result<RecordKey<'a>, E> {
    let mut key = *key;
    for _ in 0..MOST_FORWARDS {
        match forward(&key)? {
            Some(forward) if forward.leads(purpose, now) => key.id = forward.new_id,
            _ => break,
        }
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn an_old_id_uses_the_session_in_its_grace_and_ends_it_for_an_hour() {
        let start = UNIX_EPOCH + 1000 * MINUTE;
        let forward = Forward::new(PublicId::from_bytes([1; 18]), Some(MINUTE), start);
        let leads = |purpose, after| forward.leads(purpose, start + after);
        assert!(leads(Purpose::Use, Duration::ZERO) && !leads(Purpose::Use, MINUTE));
        assert!(leads(Purpose::End, 59 * MINUTE) && !leads(Purpose::End, 60 * MINUTE));
        let without = Forward::new(PublicId::from_bytes([1; 18]), None, start);
        assert!(!without.leads(Purpose::Use, start - MINUTE) && without.leads(Purpose::End, start));
    }

    #[test]
    fn a_grace_that_was_given_before_the_clock_was_put_back_is_over() {
        let start = UNIX_EPOCH + 1000 * MINUTE;
        let forward = Forward::new(PublicId::from_bytes([1; 18]), Some(LONGEST_GRACE), start);
        assert!(forward.leads(Purpose::Use, start));
        assert!(!forward.leads(Purpose::Use, start - Duration::from_millis(1)));
        assert!(forward.leads(Purpose::End, start - MINUTE));
    }
}
