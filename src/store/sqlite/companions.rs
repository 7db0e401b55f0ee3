//! Protects the database if its `-wal` or `-shm` file was deleted while workers still use the deleted file.
//!
//! SQLite keeps the locks of writers in the `-shm` file. When it opens the database, it creates companions that are
//! missing. With two `-shm` files, two workers could write one log at once and ruin the database. So while a companion
//! is missing, a connection is opened only if no other connection of any process is open. Every connection has a shared
//! lock on the database file, so an exclusive lock shows that there is no other one.

use crate::error::{StoreError, StoreErrorKind};
use crate::random;
use crate::store::sqlite::failure::store_error;
use crate::store::sqlite::files::{FileIds, Files};
use crate::store::sqlite::lock_wait::pause;
use rusqlite::config::DbConfig;
use rusqlite::{ErrorCode, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// Waits until both companions exist, or until no other connection has the database open. Waits at most until the
/// deadline of this thread, as for locks. Returns the files that exist then.
pub(crate) fn wait_for_companions(path: &Path, files: &Files) -> Result<FileIds, StoreError> {
    loop {
        let found = files.identities();
        if found.is_whole() || is_alone(path).map_err(|error| store_error(error, path))? {
            return Ok(found);
        }
        // Two workers that try at the same moment disturb each other. With random pauses, they soon try at different
        // times.
        let jitter = random::nonce().map_or(0, |nonce| u64::from(nonce[0]) % 16);
        if !pause(Duration::from_micros(500 * (1 + jitter))) {
            let message = format!(
                "{}: its -wal or -shm file was removed while workers run, and some of them still use it; \
                 they close it at their next request; restart those that get no requests",
                path.display()
            );
            return Err(StoreError::new(StoreErrorKind::Unavailable, message));
        }
    }
}

/// Returns whether no other connection of any process has the database open. Writes nothing.
fn is_alone(path: &Path) -> rusqlite::Result<bool> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sqlite = rusqlite::Connection::open_with_flags(path, flags)?;
    sqlite.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    sqlite.busy_timeout(Duration::ZERO)?;
    if sqlite.is_readonly("main")? {
        return Ok(true);
    }
    // In this mode, SQLite uses its own memory instead of the -shm file, and needs the exclusive lock to read anything.
    sqlite.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    match sqlite.execute_batch("BEGIN EXCLUSIVE; ROLLBACK") {
        Ok(()) => Ok(true),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
        Err(error) => Err(error),
    }
}
