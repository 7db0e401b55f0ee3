//! A connection to the file: opened with the right mode and schema, and patient until a deadline.

use super::failure::store_error;
use super::permit::Permit;
use crate::{StoreError, StoreErrorKind};
use rusqlite::{OpenFlags, TransactionBehavior};
use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, mem, thread};

/// Tells our files from other SQLite databases: "mps" and a byte.
const APPLICATION_ID: i64 = 0x6d_70_73_01;
const SCHEMA: &str = include_str!("schema.sql");
const SCHEMA_VERSION: i64 = 2;

/// How long to wait between two looks at a lock. A write holds it for some 20 µs, and whoever looks again after the same
/// short time, however long it has waited, has the same chance to get it.
const LOOK_AGAIN: Duration = Duration::from_micros(50);
/// After this many looks something slow is under way.
const SHORT_WAITS: i32 = 400;
const LOOK_AGAIN_LATER: Duration = Duration::from_millis(1);
const LOOK_FOR_FILE: Duration = Duration::from_secs(1);

thread_local! {
    /// Until when this thread waits for a lock.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

pub(super) struct Connection {
    pub(super) sqlite: rusqlite::Connection,
    /// The file that was opened (device and inode), and when it was last seen to stand under its name.
    file: (u64, u64),
    seen: Cell<Instant>,
    // Given back after the connection above it has been closed.
    _permit: Permit,
}

/// Lets this thread wait for locks until then.
pub(super) fn wait_for_locks_until(deadline: Instant) {
    DEADLINE.set(Some(deadline));
}

/// SQLite's busy handler: whether to try for the lock once more.
fn wait_for_lock(looks: i32) -> bool {
    let pause = if looks < SHORT_WAITS { LOOK_AGAIN } else { LOOK_AGAIN_LATER };
    match DEADLINE.get().map(|deadline| deadline.saturating_duration_since(Instant::now())) {
        None | Some(Duration::ZERO) => false,
        Some(left) => {
            thread::sleep(pause.min(left));
            true
        }
    }
}

impl Connection {
    /// Opens the file, and makes it what it has to be where it is new. Waits for locks as [`wait_for_locks_until`] says.
    pub(super) fn open(path: &Path, full_sync: bool) -> Result<Connection, StoreError> {
        let permit = Permit::get()?;
        create_file(path)?;
        let fault = |error| store_error(error, path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut sqlite = rusqlite::Connection::open_with_flags(path, flags).map_err(fault)?;
        sqlite.busy_handler(Some(wait_for_lock)).map_err(fault)?;
        let is_new = !has_schema(&sqlite, path)?;
        write_ahead(&sqlite, path)?;
        sqlite.pragma_update(None, "synchronous", if full_sync { "FULL" } else { "NORMAL" }).map_err(fault)?;
        if is_new {
            create_schema(&mut sqlite, path)?;
        }
        // After a large session the log does not stay as large.
        sqlite.pragma_update(None, "journal_size_limit", 16 << 20).map_err(fault)?;
        sqlite.set_prepared_statement_cache_capacity(32);
        let file = file_at(path).unwrap_or_default();
        Ok(Connection { sqlite, file, seen: Cell::new(Instant::now()), _permit: permit })
    }

    /// Whether the file still stands under its name. Looks once a second.
    pub(super) fn is_current(&self, path: &Path) -> bool {
        if self.seen.get().elapsed() < LOOK_FOR_FILE {
            return true;
        }
        self.seen.set(Instant::now());
        file_at(path) == Some(self.file)
    }
}

fn file_at(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Makes the file if there is none, for its owner alone; SQLite gives its side files the same mode.
fn create_file(path: &Path) -> Result<(), StoreError> {
    let mut log = OsString::from(path);
    log.push("-wal");
    if !path.exists() && Path::new(&log).exists() {
        let message = format!(
            "{}: it is missing, and its log is there; put the file back, or take the -wal and -shm files away too",
            path.display()
        );
        return Err(StoreError::new(StoreErrorKind::Unavailable, message));
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(file) => {
            // Closing it would take away the locks that another thread may have on it by now (fcntl(2)).
            mem::forget(file);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => {
            let advice = match error.kind() {
                io::ErrorKind::NotFound => "its folder is missing; create it first",
                _ => "it cannot be created",
            };
            let message = format!("{}: {advice}", path.display());
            Err(StoreError::new(StoreErrorKind::Unavailable, message).caused_by(error))
        }
    }
}

/// Whether the file holds our schema; `false` if it holds nothing yet. Anything else is refused.
fn has_schema(sqlite: &rusqlite::Connection, path: &Path) -> Result<bool, StoreError> {
    let about = "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) \
                 FROM pragma_application_id, pragma_user_version";
    let about: (i64, i64, i64) = sqlite
        .query_row(about, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .map_err(|error| store_error(error, path))?;
    let refusal = match about {
        (APPLICATION_ID, SCHEMA_VERSION, _) => return Ok(true),
        (0, 0, 0) => return Ok(false),
        (APPLICATION_ID, version, _) => format!(
            "its schema is version {version}, and this program knows version {SCHEMA_VERSION} only; \
             use the newer version of multi-process-session that wrote it, or another file"
        ),
        _ => "it holds something else; give sessions a file of their own".to_owned(),
    };
    Err(StoreError::new(StoreErrorKind::Backend, format!("{}: {refusal}", path.display())))
}

/// With a write-ahead log, reading and writing do not wait for each other. The file remembers it.
fn write_ahead(sqlite: &rusqlite::Connection, path: &Path) -> Result<(), StoreError> {
    let mut looks = 0;
    loop {
        // SQLite does not ask the busy handler when it changes the mode.
        match sqlite.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let message = format!("{}: no write-ahead log can be kept there (mode {mode:?})", path.display());
                return Err(StoreError::new(StoreErrorKind::Backend, message));
            }
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
                looks += 1;
                if !wait_for_lock(looks) {
                    return Err(store_error(error, path));
                }
            }
            Err(error) => return Err(store_error(error, path)),
        }
    }
}

fn create_schema(sqlite: &mut rusqlite::Connection, path: &Path) -> Result<(), StoreError> {
    let fault = |error| store_error(error, path);
    let transaction = sqlite.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
    // Another process may have been faster.
    if !has_schema(&transaction, path)? {
        transaction.execute_batch(SCHEMA).map_err(fault)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(fault)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(fault)?;
    }
    transaction.commit().map_err(fault)
}
