//! Ids that were replaced with a grace, and where they lead.

use super::{PURGED, RecordKey, milliseconds, tag};
use crate::PublicId;
use crate::store::follow;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::{Duration, SystemTime};

/// The key that a record has now, if that is another one. To be asked in a transaction with what is done then, and only
/// of a key that has no record: that spares most calls the question.
pub(super) fn forwarded<'a>(
    sqlite: &Connection,
    key: &RecordKey<'a>,
    now: SystemTime,
) -> rusqlite::Result<Option<RecordKey<'a>>> {
    let found = follow(*key, |key| {
        sqlite
            .prepare_cached("SELECT new_id FROM forwards WHERE id = ?1 AND tag = ?2 AND expires > ?3")?
            .query_row(params![key.id.as_bytes(), tag(key), milliseconds(now)], |row| {
                row.get(0).map(PublicId::from_bytes)
            })
            .optional()
    })?;
    Ok((found.id != key.id).then_some(found))
}

/// Lets a key lead to another id of its group from now on.
pub(super) fn forward(
    sqlite: &Connection,
    key: &RecordKey<'_>,
    new_id: PublicId,
    now: SystemTime,
    grace: Duration,
) -> rusqlite::Result<()> {
    purge(sqlite, now)?;
    sqlite
        .prepare_cached("INSERT OR REPLACE INTO forwards (id, tag, new_id, expires) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![key.id.as_bytes(), tag(key), new_id.as_bytes(), milliseconds(now + grace)])?;
    Ok(())
}

/// Clears some of those away that lead nowhere any more: more than one, so that they do not pile up.
pub(super) fn purge(sqlite: &Connection, now: SystemTime) -> rusqlite::Result<usize> {
    sqlite
        .prepare_cached(
            "DELETE FROM forwards WHERE (id, tag) IN
             (SELECT id, tag FROM forwards WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        )?
        .execute(params![milliseconds(now), PURGED])
}
