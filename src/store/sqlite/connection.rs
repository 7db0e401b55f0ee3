//! A connection to the file: opened with the right mode and schema, and patient until a deadline.

use crate::deadline::Deadline;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::sqlite::failure::store_error;
use crate::store::sqlite::file::{Files, Identities};
use crate::store::sqlite::permit::Permit;
use crate::store::sqlite::room::{Checkpoint, LOG_ROOM};
use crate::store::sqlite::{alone, room};
use rusqlite::config::DbConfig;
use rusqlite::{OpenFlags, OptionalExtension, TransactionBehavior};
use std::cell::Cell;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

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
    static DEADLINE: Cell<Option<Deadline>> = const { Cell::new(None) };
    /// How long it has waited since this was asked last.
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

pub(crate) struct Connection {
    pub(crate) sqlite: rusqlite::Connection,
    files: Files,
    /// The files that were opened, and when they were last seen to stand under their names.
    opened: Identities,
    seen: Cell<Instant>,
    // Given back after the connection above it has been closed.
    _permit: Permit,
}

/// Why there is no connection.
pub(crate) enum NotOpened {
    /// The file or its companions are others than those that this process has open. It is to close those first.
    Replaced,
    Fault(StoreError),
}

impl From<StoreError> for NotOpened {
    fn from(error: StoreError) -> NotOpened {
        NotOpened::Fault(error)
    }
}

/// Lets this thread wait for locks until then.
pub(crate) fn wait_for_locks_until(deadline: Deadline) {
    DEADLINE.set(Some(deadline));
}

/// How long this thread has waited for locks since it was asked last.
pub(crate) fn take_waited() -> Duration {
    WAITED.take()
}

/// SQLite's busy handler: whether to try for the lock once more.
fn wait_for_lock(looks: i32) -> bool {
    wait(if looks < SHORT_WAITS { LOOK_AGAIN } else { LOOK_AGAIN_LATER })
}

/// Waits for a lock, for this long or until the deadline. Says whether there was time left.
pub(crate) fn wait(pause: Duration) -> bool {
    let start = Instant::now();
    match DEADLINE.get().map(Deadline::left) {
        None | Some(Duration::ZERO) => false,
        Some(left) => {
            thread::sleep(pause.min(left));
            WAITED.set(WAITED.get() + start.elapsed());
            true
        }
    }
}

impl Connection {
    /// Opens the file, and makes it what it has to be where it is new. Waits for locks as [`wait_for_locks_until`] says.
    ///
    /// `before` is what this store had open last.
    pub(crate) fn open(path: &Path, full_sync: bool, before: Option<Identities>) -> Result<Connection, NotOpened> {
        let files = Files::of(path);
        files.create()?;
        let found = files.identities();
        if let Some(before) = before
            && before.log.is_some()
            && (before.log == found.log && before.database != found.database)
        {
            return Err(other_log(path).into());
        }
        let permit = Permit::get(found)?.ok_or(NotOpened::Replaced)?;
        let opening = alone::wait_for_companions(path, &files)?;
        let fault = |error| store_error(error, path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut sqlite = rusqlite::Connection::open_with_flags(path, flags).map_err(fault)?;
        // Until the log is known to be that of the file, none of it is written there.
        let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        sqlite.set_db_config(no_checkpoint, true).map_err(fault)?;
        sqlite.busy_handler(Some(wait_for_lock)).map_err(fault)?;
        let is_new = !has_schema(&sqlite, path)?;
        if opening.is_whole() && files.identities() != opening {
            // Removed at this very moment. A new -shm beside a log that others write must not stay.
            drop(sqlite);
            files.remove_new_shared_memory(&opening);
            return Err(NotOpened::Replaced);
        }
        if !is_new && !permit.has_others(opening) {
            check_log(&mut sqlite, path, &files, &opening)?;
        }
        write_ahead(&sqlite, path)?;
        sqlite.pragma_update(None, "synchronous", if full_sync { "FULL" } else { "NORMAL" }).map_err(fault)?;
        if is_new {
            create_schema(&mut sqlite, path, &opening)?;
        }
        // The log does not stay as long as it once was, nor does it give up the room that is kept in it.
        sqlite.pragma_update(None, "journal_size_limit", LOG_ROOM as i64).map_err(fault)?;
        sqlite.set_prepared_statement_cache_capacity(64);
        room::watch_log(&sqlite);
        let opened = files.identities();
        if opened.database != opening.database || !opened.is_whole() {
            return Err(NotOpened::Replaced);
        }
        permit.settle(opened);
        sqlite.set_db_config(no_checkpoint, false).map_err(fault)?;
        Ok(Connection { sqlite, files, opened, seen: Cell::new(Instant::now()), _permit: permit })
    }

    /// Whether the file and its companions still stand under their names. Looks once a second.
    pub(crate) fn is_current(&self, path: &Path) -> bool {
        if self.seen.get().elapsed() < LOOK_FOR_FILE {
            return true;
        }
        self.seen.set(Instant::now());
        Files::of(path).identities() == self.opened
    }

    pub(crate) fn opened(&self) -> Identities {
        self.opened
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// Saves what is only in a log that was taken away, where nobody has begun another one.
    pub(crate) fn rescue(&self) {
        let now = self.files.identities();
        if now.database == self.opened.database && now.log.is_none() {
            let _ = room::checkpoint(&self.sqlite, Checkpoint::Restart);
        }
    }
}

impl Drop for Connection {
    /// The last one to close the file copies its log into the database, and deletes it by its name: not where that is
    /// another log by now.
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

fn other_log(path: &Path) -> StoreError {
    let message = format!(
        "{}: another file was put in its place, and the log beside it is that of the file before; \
         move the -wal and -shm files away",
        path.display()
    );
    StoreError::new(StoreErrorKind::Unavailable, message)
}

/// Refuses a log that was written for another file: a backup under it would be ruined. The database knows when its file
/// was made. One that was put here without a log is told that anew.
fn check_log(
    sqlite: &mut rusqlite::Connection,
    path: &Path,
    files: &Files,
    opening: &Identities,
) -> Result<(), StoreError> {
    let fault = |error| store_error(error, path);
    let birth = opening.database.map(|file| file.birth());
    if birth_of_file(sqlite).map_err(fault)? == birth {
        return Ok(());
    }
    // Where the file cannot be written there is no telling it anything.
    let cannot_write = sqlite.is_readonly("main").map_err(fault)?;
    let log_is_empty = || files.is_log_empty().unwrap_or(false);
    if cannot_write {
        return if log_is_empty() { Ok(()) } else { Err(other_log(path)) };
    }
    let transaction = sqlite.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
    // Another process may have been faster.
    if birth_of_file(&transaction).map_err(fault)? == birth {
        return Ok(());
    }
    if !log_is_empty() {
        return Err(other_log(path));
    }
    transaction.execute("DELETE FROM file", []).map_err(fault)?;
    transaction.execute("INSERT INTO file (born) VALUES (?1)", [birth]).map_err(fault)?;
    transaction.commit().map_err(fault)?;
    // So that it survives a loss of the log, too.
    let _ = room::checkpoint(sqlite, Checkpoint::Truncate);
    Ok(())
}

fn birth_of_file(sqlite: &rusqlite::Connection) -> rusqlite::Result<Option<i64>> {
    // It was not known where it is NULL.
    sqlite.query_row("SELECT born FROM file", [], |row| row.get(0)).optional().map(Option::flatten)
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

fn create_schema(sqlite: &mut rusqlite::Connection, path: &Path, opening: &Identities) -> Result<(), StoreError> {
    let fault = |error| store_error(error, path);
    let transaction = sqlite.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
    // Another process may have been faster.
    if !has_schema(&transaction, path)? {
        transaction.execute_batch(SCHEMA).map_err(fault)?;
        let birth = opening.database.map(|file| file.birth());
        transaction.execute("INSERT INTO file (born) VALUES (?1)", [birth]).map_err(fault)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(fault)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(fault)?;
    }
    transaction.commit().map_err(fault)
}
