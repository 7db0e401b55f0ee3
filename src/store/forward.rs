//! Ids that were replaced, and how they lead to the present one.

use crate::id::PublicId;
use crate::store::key::RecordKey;
use std::time::Duration;

/// The longest [grace](Update::grace). A grace that ends later than that is over: it was given before the clock was put
/// back.
pub const LONGEST_GRACE: Duration = Duration::from_secs(5 * 60);

/// How long an id that was replaced still ends the session, by [`Store::delete`].
pub const TRAIL: Duration = Duration::from_secs(60 * 60);

/// The most steps from an old id to the present one, where each id leads to the next.
pub(crate) const MOST_FORWARDS: usize = 100;

/// Follows an id to the one that the session has now.
pub(crate) fn follow<E>(
    mut key: RecordKey<'_>,
    mut next: impl FnMut(&RecordKey<'_>) -> Result<Option<PublicId>, E>,
) -> Result<RecordKey<'_>, E> {
    for _ in 0..MOST_FORWARDS {
        match next(&key)? {
            Some(id) => key.id = id,
            None => break,
        }
    }
    Ok(key)
}
