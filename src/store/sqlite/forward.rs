//! Forwards, from ids that were replaced to the present id of the session.

use crate::id::PublicId;
use crate::store::forward::{Forward, NO_GRACE, Purpose, follow};
use crate::store::key::RecordKey;
use crate::store::sqlite::columns::{milliseconds, tag, time};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

/// Does `work` on the record of a key. If there is no such record, follows forwards, and does `work` on the record that
/// they lead to. `work` gives `None` if there is no record. Returns the key of the record, and the result of `work`.
///
/// Most calls find a record at once, and need no look at the forwards. The caller has to hold one transaction for all.
pub(crate) fn on_present_record<'a, T>(
    sqlite: &Connection,
    key: &RecordKey<'a>,
    purpose: Purpose,
    now: SystemTime,
    mut work: impl FnMut(&RecordKey<'a>) -> rusqlite::Result<Option<T>>,
) -> rusqlite::Result<Option<(RecordKey<'a>, T)>> {
    if let Some(done) = work(key)? {
        return Ok(Some((*key, done)));
    }
    let at = present_key(sqlite, key, purpose, now)?;
    if at.id == key.id {
        return Ok(None);
    }
    Ok(work(&at)?.map(|done| (at, done)))
}

/// Follows forwards, and gives the key that the session has now.
pub(crate) fn present_key<'a>(
    sqlite: &Connection,
    key: &RecordKey<'a>,
    purpose: Purpose,
    now: SystemTime,
) -> rusqlite::Result<RecordKey<'a>> {
    follow(key, purpose, now, |key| get(sqlite, key))
}

fn get(sqlite: &Connection, key: &RecordKey<'_>) -> rusqlite::Result<Option<Forward>> {
    sqlite
        .prepare_cached(
            "SELECT new_id, grace_ends, expires FROM forwards WHERE id = ?1 AND tag = ?2 AND length(new_id) = 18",
        )?
        .query_row(params![key.id.as_bytes(), tag(key)], |row| {
            Ok(Forward {
                new_id: PublicId::from_bytes(row.get(0)?),
                grace_ends: time(row.get(1)?),
                trail_ends: time(row.get(2)?),
            })
        })
        .optional()
}

/// Adds a forward from an old key to the id that replaced it.
pub(crate) fn insert(sqlite: &Connection, key: &RecordKey<'_>, forward: &Forward) -> rusqlite::Result<usize> {
    sqlite
        .prepare_cached(
            "INSERT OR REPLACE INTO forwards (id, tag, new_id, grace_ends, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            key.id.as_bytes(),
            tag(key),
            forward.new_id.as_bytes(),
            milliseconds(forward.grace_ends),
            milliseconds(forward.trail_ends),
        ])
}

/// Ends the graces in which old ids lead to the session of this key.
pub(crate) fn end_graces(sqlite: &Connection, key: &RecordKey<'_>) -> rusqlite::Result<usize> {
    sqlite.prepare_cached("UPDATE forwards SET grace_ends = ?3 WHERE new_id = ?1 AND tag = ?2")?.execute(params![
        key.id.as_bytes(),
        tag(key),
        milliseconds(NO_GRACE)
    ])
}
