//! A connection to the file.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::sqlite::checkpoint::{Checkpoint, checkpoint};
use crate::store::sqlite::companions::wait_for_companions;
use crate::store::sqlite::disk_space::DiskSpace;
use crate::store::sqlite::failure::store_error;
use crate::store::sqlite::files::{FileIds, Files};
use crate::store::sqlite::foreign_log::{foreign_log, refuse_foreign_log};
use crate::store::sqlite::lock_wait::wait_for_lock;
use crate::store::sqlite::open_connections::Permit;
use crate::store::sqlite::schema::{create_schema, has_schema};
use crate::store::sqlite::wal;
use crate::store::sqlite::wal::LOG_LENGTH;
use rusqlite::config::DbConfig;
use rusqlite::{ErrorCode, OpenFlags};
use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often a connection checks whether its files still have their names.
const LOOK_AT_FILES: Duration = Duration::from_secs(1);

/// A connection, and the files that it has open.
pub(crate) struct Connection {
    pub(crate) sqlite: rusqlite::Connection,
    pub(crate) disk_space: DiskSpace,
    files: Files,
    opened: FileIds,
    /// When this was last checked: the files still had their names.
    seen: Cell<Instant>,
    // The last field, so it is dropped after the SQLite connection was closed.
    _permit: Permit,
}

/// The reason why a connection was not opened.
pub(crate) enum NotOpened {
    /// The database or a companion was replaced by another file. This process has to close the old files first.
    Replaced,
    Fault(StoreError),
}

impl From<StoreError> for NotOpened {
    fn from(error: StoreError) -> NotOpened {
        NotOpened::Fault(error)
    }
}

impl Connection {
    /// Opens the file, and creates it with our schema if it is missing. Waits for locks until the deadline of this
    /// thread.
    ///
    /// `before` holds the files that this store opened last.
    pub(crate) fn open(path: &Path, full_sync: bool, before: Option<FileIds>) -> Result<Connection, NotOpened> {
        let files = Files::of(path);
        files.create()?;
        let found = files.identities();
        if let Some(before) = before
            && before.log.is_some()
            && (before.log == found.log && before.database != found.database)
        {
            return Err(foreign_log(path).into());
        }
        let permit = Permit::get(found)?.ok_or(NotOpened::Replaced)?;
        let opening = wait_for_companions(path, &files)?;
        let fault = |error| store_error(error, path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sqlite = rusqlite::Connection::open_with_flags(path, flags).map_err(fault)?;
        // Do not copy the log into the database until it is clear that the log was written for this file.
        let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        sqlite.set_db_config(no_checkpoint, true).map_err(fault)?;
        sqlite.busy_handler(Some(wait_for_lock)).map_err(fault)?;
        let is_new = !has_schema(&sqlite, path)?;
        if opening.is_whole() && files.identities() != opening {
            // A companion was removed just now, and SQLite created a new one. A new -shm file must not stay beside a
            // log that other processes write.
            drop(sqlite);
            files.remove_new_shared_memory(&opening);
            return Err(NotOpened::Replaced);
        }
        if !is_new && !permit.has_others(opening) {
            refuse_foreign_log(&sqlite, path, &files, &opening)?;
        }
        use_write_ahead_log(&sqlite, path)?;
        sqlite.pragma_update(None, "synchronous", if full_sync { "FULL" } else { "NORMAL" }).map_err(fault)?;
        if is_new {
            create_schema(&sqlite, path, &opening)?;
        }
        wal::limit_length(&sqlite, LOG_LENGTH).map_err(fault)?;
        let disk_space = DiskSpace::of(&sqlite).map_err(fault)?;
        sqlite.set_prepared_statement_cache_capacity(64);
        wal::watch(&sqlite);
        let opened = files.identities();
        if opened.database != opening.database || !opened.is_whole() {
            return Err(NotOpened::Replaced);
        }
        permit.note_files(opened);
        sqlite.set_db_config(no_checkpoint, false).map_err(fault)?;
        Ok(Connection { sqlite, disk_space, files, opened, seen: Cell::new(Instant::now()), _permit: permit })
    }

    /// Returns whether the database and its companions are still the files that this connection has open. Checks once a
    /// second.
    pub(crate) fn is_current(&self, path: &Path) -> bool {
        if self.seen.get().elapsed() < LOOK_AT_FILES {
            return true;
        }
        self.seen.set(Instant::now());
        self.disk_space.forget_length();
        Files::of(path).identities() == self.opened
    }

    pub(crate) fn opened(&self) -> FileIds {
        self.opened
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// If the log was deleted and there is no new log, copies the deleted log into the database. Without this, the
    /// latest saves would be lost.
    pub(crate) fn rescue_deleted_log(&self) {
        let now = self.files.identities();
        if now.database == self.opened.database && now.log.is_none() {
            let _ = checkpoint(&self.sqlite, Checkpoint::Restart);
        }
    }
}

impl Drop for Connection {
    /// When SQLite closes the last connection to a file, it copies the log into the database, and deletes the log by
    /// its name. If another file has one of the names now, this prevents it.
    fn drop(&mut self) {
        let now = self.files.identities();
        let is_ours = |now: Option<_>, opened| now.is_none() || now == opened;
        let may_copy = now.database == self.opened.database
            && is_ours(now.log, self.opened.log)
            && is_ours(now.shared_memory, self.opened.shared_memory);
        if !may_copy {
            let _ = self.sqlite.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }
}

/// Sets the WAL journal mode, in which readers and writers do not wait for each other. The file keeps the mode.
fn use_write_ahead_log(sqlite: &rusqlite::Connection, path: &Path) -> Result<(), StoreError> {
    let mut tries = 0;
    loop {
        // SQLite does not ask the busy handler when it changes the mode.
        match sqlite.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let message = format!("{}: its file system does not support WAL mode (mode {mode:?})", path.display());
                return Err(StoreError::new(StoreErrorKind::Backend, message));
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                tries += 1;
                if !wait_for_lock(tries) {
                    return Err(store_error(error, path));
                }
            }
            Err(error) => return Err(store_error(error, path)),
        }
    }
}
