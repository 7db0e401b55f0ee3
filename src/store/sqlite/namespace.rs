//! Namespaces. A session is alive only while the row of its namespace exists.

use crate::error::StoreError;
use crate::store::sqlite::failure::Failure;
use crate::store::sqlite::operation::Operation;
use crate::store::sqlite::remains::Remains;
use crate::store::sqlite::serial::next_serial;
use rusqlite::{Connection, OptionalExtension};

impl Operation<'_> {
    /// Ends all sessions of a namespace. Returns the records that remain.
    pub(crate) fn clear_namespace(&self, name: &str) -> Result<Option<Remains>, Failure<StoreError>> {
        let serial = self
            .sqlite
            .prepare_cached("DELETE FROM namespaces WHERE name = ?1 RETURNING serial")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        Ok(serial.map(Remains::Namespace))
    }
}

/// Returns the serial of a namespace. If there is no such namespace, creates it.
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
