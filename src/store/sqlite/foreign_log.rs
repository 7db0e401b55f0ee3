//! Refuses a log that was written for another file. If a backup is restored under an old log, SQLite would ruin it.
//!
//! The database holds the creation time of its file (its birth). A file that was copied or restored has another
//! creation time. If there is no log beside such a file, the new time is written into it.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::sqlite::checkpoint::{Checkpoint, checkpoint};
use crate::store::sqlite::failure::store_error;
use crate::store::sqlite::files::{FileIds, Files};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::path::Path;

/// Refuses the log beside the database if it was written for another file. `opening` holds the files that exist now.
pub(crate) fn refuse_foreign_log(
    sqlite: &Connection,
    path: &Path,
    files: &Files,
    opening: &FileIds,
) -> Result<(), StoreError> {
    let fault = |error| store_error(error, path);
    let birth = birth_of_file(opening);
    if known_birth(sqlite).map_err(fault)? == birth {
        return Ok(());
    }
    let is_log_empty = || files.is_log_empty().unwrap_or(false);
    // A read-only database keeps its old birth.
    if sqlite.is_readonly("main").map_err(fault)? {
        return if is_log_empty() { Ok(()) } else { Err(foreign_log(path)) };
    }
    let transaction = Transaction::new_unchecked(sqlite, TransactionBehavior::Immediate).map_err(fault)?;
    // Another process may have been faster.
    if known_birth(&transaction).map_err(fault)? == birth {
        return Ok(());
    }
    if !is_log_empty() {
        return Err(foreign_log(path));
    }
    transaction.execute("DELETE FROM file", []).map_err(fault)?;
    write_birth(&transaction, opening).map_err(fault)?;
    transaction.commit().map_err(fault)?;
    // Now the birth survives a loss of the log, too.
    let _ = checkpoint(sqlite, Checkpoint::Truncate);
    Ok(())
}

/// The error for a log that was written for another file.
pub(crate) fn foreign_log(path: &Path) -> StoreError {
    let message = format!(
        "{}: another file was put in its place, but the log beside it belongs to the earlier file; \
         move the -wal and -shm files away",
        path.display()
    );
    StoreError::new(StoreErrorKind::Unavailable, message)
}

/// Writes the birth of its file into the database.
pub(crate) fn write_birth(sqlite: &Connection, opening: &FileIds) -> rusqlite::Result<()> {
    sqlite.execute("INSERT INTO file (born) VALUES (?1)", [birth_of_file(opening)]).map(drop)
}

fn birth_of_file(opening: &FileIds) -> Option<i64> {
    opening.database.map(|file| file.birth())
}

/// Returns the birth that the database holds, or `None` if it holds none.
fn known_birth(sqlite: &Connection) -> rusqlite::Result<Option<i64>> {
    sqlite.query_row("SELECT born FROM file", [], |row| row.get(0)).optional().map(Option::flatten)
}
