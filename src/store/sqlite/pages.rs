//! The pages of the database, as a transaction sees them.

use rusqlite::{Connection, Result};

/// Returns the size of a page, in bytes.
pub(crate) fn size(sqlite: &Connection) -> Result<u64> {
    number(sqlite, "PRAGMA page_size")
}

/// Returns the number of pages.
pub(crate) fn count(sqlite: &Connection) -> Result<u64> {
    number(sqlite, "PRAGMA page_count")
}

/// Returns the number of pages that hold nothing.
pub(crate) fn free(sqlite: &Connection) -> Result<u64> {
    number(sqlite, "PRAGMA freelist_count")
}

fn number(sqlite: &Connection, pragma: &str) -> Result<u64> {
    sqlite.prepare_cached(pragma)?.query_row([], |row| row.get(0).map(i64::unsigned_abs))
}
