//! Ids that were replaced with a grace, and where they lead.

use super::{RecordKey, milliseconds, tag};
use crate::PublicId;
use crate::store::follow;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::{Duration, SystemTime};

/// The key that a record has now, and its id if that is another one than was asked for. Only what has no record of its
/// own is to be asked for: that spares most calls the question.
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
    sqlite.prepare_cached("DELETE FROM forwards WHERE expires <= ?1")?.execute([milliseconds(now)])?;
    sqlite
        .prepare_cached("INSERT OR REPLACE INTO forwards (id, tag, new_id, expires) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![key.id.as_bytes(), tag(key), new_id.as_bytes(), milliseconds(now + grace)])?;
    Ok(())
}
