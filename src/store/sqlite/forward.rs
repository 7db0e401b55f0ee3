//! Ids that were replaced, and where they lead.

use crate::id::PublicId;
use crate::store::forward::{TRAIL, follow};
use crate::store::key::RecordKey;
use crate::store::sqlite::{PURGED, milliseconds, tag};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::{Duration, SystemTime};

/// For what an old id is followed.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// To use the session: as long as its grace lasts.
    Use,
    /// To end it: as long as the trail is there, and never shorter than it can be used.
    End,
}

/// The key that a record has now, if that is another one. To be asked in a transaction with what is done then, and only
/// of a key that has no record: that spares most calls the question.
pub(crate) fn forwarded<'a>(
    sqlite: &Connection,
    key: &RecordKey<'a>,
    purpose: Purpose,
    now: SystemTime,
) -> rusqlite::Result<Option<RecordKey<'a>>> {
    let query = match purpose {
        Purpose::Use => {
            // Five minutes are the longest grace.
            "SELECT new_id FROM forwards
             WHERE id = ?1 AND tag = ?2 AND grace_ends BETWEEN ?3 + 1 AND ?3 + 300000 AND length(new_id) = 18"
        }
        Purpose::End => {
            "SELECT new_id FROM forwards
             WHERE id = ?1 AND tag = ?2 AND max(grace_ends, expires) > ?3 AND length(new_id) = 18"
        }
    };
    let found = follow(*key, |key| {
        sqlite
            .prepare_cached(query)?
            .query_row(params![key.id.as_bytes(), tag(key), milliseconds(now)], |row| {
                row.get(0).map(PublicId::from_bytes)
            })
            .optional()
    })?;
    Ok((found.id != key.id).then_some(found))
}

/// Lets a key lead to another id of its group, or of none, from now on.
pub(crate) fn forward(
    sqlite: &Connection,
    key: &RecordKey<'_>,
    new_id: PublicId,
    now: SystemTime,
    grace: Option<Duration>,
) -> rusqlite::Result<()> {
    purge(sqlite, now)?;
    let grace = grace.unwrap_or_default();
    sqlite
        .prepare_cached(
            "INSERT OR REPLACE INTO forwards (id, tag, new_id, grace_ends, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            key.id.as_bytes(),
            tag(key),
            new_id.as_bytes(),
            milliseconds(now + grace),
            milliseconds(now + TRAIL.max(grace)),
        ])?;
    Ok(())
}

/// Ends the graces in which old ids reach the session of this key.
pub(crate) fn end_graces(sqlite: &Connection, key: &RecordKey<'_>, now: SystemTime) -> rusqlite::Result<usize> {
    sqlite
        .prepare_cached("UPDATE forwards SET grace_ends = min(grace_ends, ?3) WHERE new_id = ?1 AND tag = ?2")?
        .execute(params![key.id.as_bytes(), tag(key), milliseconds(now)])
}

/// Clears some of those away that lead nowhere any more: more than one, so that they do not pile up.
pub(crate) fn purge(sqlite: &Connection, now: SystemTime) -> rusqlite::Result<usize> {
    sqlite
        .prepare_cached(
            "DELETE FROM forwards WHERE (id, tag) IN
             (SELECT id, tag FROM forwards WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        )?
        .execute(params![milliseconds(now), PURGED])
}
