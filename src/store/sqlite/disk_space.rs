//! Keeps room on the disk, so that sessions can be ended even if the disk is full.
//!
//! A call that ends a session needs room in the log. After a checkpoint has copied the log into the database, the log
//! has room again, but the database may have to grow for this copy. So both kinds of room are kept. The log file is
//! longer than its content. And beside the database lies a reserve, a file that is removed when its room is needed. A
//! call that does not end a session is committed only while the log and the reserve have their full size.

use crate::store::sqlite::{pages, reserve, wal};
use rusqlite::{Transaction, ffi};
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
    let page_size = pages::size(transaction)?;
    let growth = reserve::growth(database, pages::count(transaction)? * page_size);
    // Free pages inside the database count like the reserve, but they do not help with this growth.
    let free = pages::free(transaction)? * page_size;
    Ok(wal::has_room(database, page_size) && reserve::has_room(database, growth, free))
}
