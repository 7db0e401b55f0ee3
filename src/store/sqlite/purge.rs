//! Removes expired rows, a few at a time: when a session is created, when an id is replaced, and when the disk is full.

use crate::store::sqlite::columns::milliseconds;
use rusqlite::{Connection, params};
use std::time::SystemTime;

/// How many expired rows of a table are removed when a row is inserted. That is more than one, so that the file stops
/// growing.
pub(crate) const PURGED: i64 = 3;

/// Removes expired sessions, up to `most`, and some expired forwards, traces and values of groups.
pub(crate) fn purge(sqlite: &Connection, now: SystemTime, most: i64) -> rusqlite::Result<()> {
    let sessions = "DELETE FROM sessions WHERE serial IN
         (SELECT serial FROM sessions WHERE expires <= ?1 ORDER BY expires LIMIT ?2)";
    remove(sqlite, sessions, now, most)?;
    purge_forwards(sqlite, now, PURGED)?;
    purge_group_values(sqlite, now, PURGED)?;
    purge_traces(sqlite, now, PURGED).map(drop)
}

/// Removes expired forwards, up to `most`, and gives their number.
pub(crate) fn purge_forwards(sqlite: &Connection, now: SystemTime, most: i64) -> rusqlite::Result<usize> {
    let forwards = "DELETE FROM forwards WHERE (id, tag) IN
         (SELECT id, tag FROM forwards WHERE expires <= ?1 ORDER BY expires LIMIT ?2)";
    remove(sqlite, forwards, now, most)
}

/// Removes expired values of groups, up to `most` groups, and gives their number.
pub(crate) fn purge_group_values(sqlite: &Connection, now: SystemTime, most: i64) -> rusqlite::Result<usize> {
    let groups = "DELETE FROM kept_groups WHERE tag IN
         (SELECT tag FROM kept_groups WHERE expires <= ?1 ORDER BY expires LIMIT ?2)";
    remove(sqlite, groups, now, most)
}

/// Removes expired traces, up to `most`, and gives their number.
pub(crate) fn purge_traces(sqlite: &Connection, now: SystemTime, most: i64) -> rusqlite::Result<usize> {
    let traces = "DELETE FROM ended WHERE (id, nonce) IN
         (SELECT id, nonce FROM ended WHERE expires <= ?1 ORDER BY expires LIMIT ?2)";
    remove(sqlite, traces, now, most)
}

fn remove(sqlite: &Connection, expired: &str, now: SystemTime, most: i64) -> rusqlite::Result<usize> {
    sqlite.prepare_cached(expired)?.execute(params![milliseconds(now), most])
}
