//! Room on the disk: sessions can be ended however full the disk is.
//!
//! A call that ends a session needs room in the log. The log has room again once it has been copied into the database,
//! by a checkpoint, and the database may have to grow for that. So both kinds of room are kept: the log is longer than
//! what is in it, and beside the database lies a reserve, which is given up when it is needed. Calls that do not end
//! sessions are written only while the log and the reserve are whole.

use crate::store::sqlite::{reserve, wal};
use rusqlite::{Transaction, ffi};
use std::fs;
use std::path::Path;

/// Commits a change that does not end sessions, if that leaves room for those that do.
pub(crate) fn commit(transaction: Transaction<'_>) -> rusqlite::Result<()> {
    if has_room(&transaction)? {
        return transaction.commit();
    }
    // The same error as if SQLite had found the disk full.
    Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None))
}

fn has_room(transaction: &Transaction<'_>) -> rusqlite::Result<bool> {
    let Some(database) = transaction.path().map(Path::new) else { return Ok(true) };
    let number = |pragma: &str| -> rusqlite::Result<u64> {
        transaction.prepare_cached(pragma)?.query_row([], |row| row.get(0).map(i64::unsigned_abs))
    };
    let page_size = number("PRAGMA page_size")?;
    let size = number("PRAGMA page_count")? * page_size;
    // What the database grows by at the next checkpoint.
    let growth = size.saturating_sub(fs::metadata(database).map_or(0, |file| file.len()));
    // Free pages inside the database serve as well as the reserve, but not for that growth.
    let free = number("PRAGMA freelist_count")? * page_size;
    Ok(wal::has_room(database, page_size) && reserve::has_room(database, growth, free))
}
