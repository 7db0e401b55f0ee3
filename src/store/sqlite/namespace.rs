//! Namespaces: a session lives only as long as the row of its namespace is there.

use crate::deadline::Deadline;
use crate::store::sqlite::{next_serial, room};
use rusqlite::{Connection, OptionalExtension};
use std::time::SystemTime;

/// The serial of a namespace, which is made if it is missing.
pub(crate) fn serial(sqlite: &Connection, name: &str) -> rusqlite::Result<i64> {
    let known = sqlite
        .prepare_cached("SELECT serial FROM namespaces WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    if let Some(serial) = known {
        return Ok(serial);
    }
    sqlite
        .prepare_cached(concat!("INSERT INTO namespaces (serial, name) VALUES (", next_serial!("namespaces"), ", ?1)"))?
        .execute([name])?;
    Ok(sqlite.last_insert_rowid())
}

/// Ends all sessions of a namespace. Gives the serial that their records are left with.
pub(crate) fn end(sqlite: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    sqlite
        .prepare_cached("DELETE FROM namespaces WHERE name = ?1 RETURNING serial")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Removes the records that a namespace has left, until then.
pub(crate) fn sweep(sqlite: &Connection, serial: i64, now: SystemTime, deadline: Deadline) {
    let batch = "SELECT serial FROM sessions WHERE namespace = ?1 LIMIT ?2";
    room::sweep(sqlite, batch, serial, now, deadline);
}
