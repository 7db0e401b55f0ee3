//! Namespaces: a session lives only as long as the row of its namespace is there.

use super::connection::wait_for_locks_until;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Instant;

/// How many records of ended sessions are removed in one step: others wait for so long.
const BATCH: i64 = 500;

/// The serial of a namespace, which is made if it is missing.
pub(super) fn serial(sqlite: &Connection, name: &str) -> rusqlite::Result<i64> {
    let known = sqlite
        .prepare_cached("SELECT serial FROM namespaces WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    if let Some(serial) = known {
        return Ok(serial);
    }
    sqlite.prepare_cached("INSERT INTO namespaces (name) VALUES (?1)")?.execute([name])?;
    Ok(sqlite.last_insert_rowid())
}

/// Ends all sessions of a namespace. Gives the serial that their records are left with.
pub(super) fn end(sqlite: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    sqlite
        .prepare_cached("DELETE FROM namespaces WHERE name = ?1 RETURNING serial")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Removes the records that a namespace has left, until then. They are dead already; what is left of them expires.
pub(super) fn sweep(sqlite: &Connection, serial: i64, deadline: Instant) {
    wait_for_locks_until(deadline);
    let batch = || {
        sqlite
            .prepare_cached(
                "DELETE FROM sessions WHERE serial IN
                 (SELECT serial FROM sessions WHERE namespace = ?1 LIMIT ?2)",
            )?
            .execute(params![serial, BATCH])
    };
    while Instant::now() < deadline {
        match batch() {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => return log::debug!("records of ended sessions are left to expire: {error}"),
        }
    }
}
