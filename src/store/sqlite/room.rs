//! Room on the disk: sessions can be ended however full it is.
//!
//! What ends a session needs room in the log, and the log finds room when it has been copied into the database (a
//! checkpoint), which may have to grow for that. So both are there before: the log is longer than what is in it, and
//! beside the database lies a reserve, a file of zeros, which is given up where a checkpoint finds the disk full, or
//! where the log has to grow since somebody reads it.
//! Whatever is not there to end sessions is written only while both are whole.

use crate::deadline::Deadline;
use crate::store::sqlite::connection::wait_for_locks_until;
use crate::store::sqlite::file::{create_new, length_of_regular, open_regular, with_ending};
use crate::store::sqlite::trace;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, ffi};
use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The least that the reserve holds beyond what the database has yet to grow.
const RESERVE: u64 = 1 << 20;
/// A reserve that is this many times as large as it has to be is made smaller.
const LARGE_RESERVE: u64 = 8;
/// How much longer the log is than what is in it. A logout takes some 30 kB.
pub(crate) const LOG_ROOM: u64 = 2 << 20;
/// What the companions of the database take when they are made.
const COMPANIONS: u64 = 1 << 17;
/// What SQLite keeps in the log beside each page.
const FRAME_HEADER: u64 = 24;
/// How many records of ended sessions are removed in one step: others wait for so long.
pub(crate) const BATCH: i64 = 500;
/// With this many pages in the log it is copied into the database between two steps.
const LONG_LOG: u32 = 1000;
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

thread_local! {
    /// How many pages the log held when this thread heard of it last.
    static LOG_PAGES: Cell<u32> = const { Cell::new(0) };
}

/// Tells how many pages the log held before this thread works.
pub(crate) fn set_log_pages(pages: u32) {
    LOG_PAGES.set(pages);
}

/// How many pages the log holds, as far as this thread knows.
pub(crate) fn log_pages() -> u32 {
    LOG_PAGES.get()
}

/// Commits what is not there to end sessions, if that leaves room for what is.
pub(crate) fn commit(transaction: Transaction<'_>) -> rusqlite::Result<()> {
    if has_room(&transaction)? {
        return transaction.commit();
    }
    // As if SQLite had said so.
    Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None))
}

/// Lets this thread hear how many pages the log holds after each commit, in place of SQLite's own checkpoints.
pub(crate) fn watch_log(sqlite: &rusqlite::Connection) {
    sqlite.wal_hook(Some(|_, pages| {
        set_log_pages(pages.unsigned_abs());
        Ok(())
    }));
}

/// Copies the log into the database: what others let, and if it is to restart, waiting for them as for locks. Says
/// whether all of it was copied, and the log can begin anew.
pub(crate) fn checkpoint(sqlite: &rusqlite::Connection, mode: Checkpoint) -> rusqlite::Result<bool> {
    let sql = match mode {
        Checkpoint::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Checkpoint::Restart => "PRAGMA wal_checkpoint(RESTART)",
        Checkpoint::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    let run = || {
        let mut statement = sqlite.prepare_cached(sql)?;
        statement.query_row([], |row| Ok(!row.get(0)? && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?))
    };
    let is_whole = match run() {
        // The database is to grow by pages that are in the log alone.
        Err(error) if is_full(&error) && give_up(sqlite) => run(),
        done => done,
    }?;
    if is_whole {
        set_log_pages(0);
    }
    Ok(is_whole)
}

/// Gives back what a log has that was copied, beyond the room that is kept in it: the next commit does, if nobody
/// reads it.
pub(crate) fn shorten_log(sqlite: &rusqlite::Connection) -> rusqlite::Result<()> {
    let is_long = |database| length_of_regular(&log_of(Path::new(database))) > LOG_ROOM + LOG_ROOM / 8;
    if sqlite.path().is_some_and(is_long) {
        sqlite.prepare_cached("UPDATE file SET touched = touched + 1")?.execute([])?;
    }
    Ok(())
}

/// Removes the records of sessions that have ended, until then: `batch` selects as many of this serial as it is told.
/// They are dead already; what is left of them expires.
pub(crate) fn sweep(sqlite: &Connection, batch: &str, serial: i64, now: SystemTime, deadline: Deadline) {
    wait_for_locks_until(deadline);
    let mut most = BATCH;
    while !deadline.has_passed() {
        match remove_batch(sqlite, batch, serial, most.max(1), now) {
            Ok(0) => return,
            Ok(_) => {}
            // On a full disk fewer may do.
            Err(error) if is_full(&error) && most > 1 => {
                trace::set_disk_is_full(true);
                most /= 8;
            }
            Err(error) => return log::debug!("records of ended sessions are left to expire: {error}"),
        }
        if log_pages() > LONG_LOG {
            let _ = checkpoint(sqlite, Checkpoint::Passive);
        }
    }
}

fn remove_batch(sqlite: &Connection, batch: &str, serial: i64, most: i64, now: SystemTime) -> rusqlite::Result<usize> {
    let transaction = Transaction::new_unchecked(sqlite, TransactionBehavior::Immediate)?;
    let mut statement = transaction.prepare_cached(batch)?;
    let serials: Vec<i64> = statement.query_map([serial, most], |row| row.get(0))?.collect::<Result<_, _>>()?;
    drop(statement);
    for serial in &serials {
        trace::leave(&transaction, *serial, now)?;
        transaction.prepare_cached("DELETE FROM sessions WHERE serial = ?1")?.execute([serial])?;
    }
    transaction.commit()?;
    Ok(serials.len())
}

#[derive(Clone, Copy)]
pub(crate) enum Checkpoint {
    Passive,
    Restart,
    Truncate,
}

/// Gives the reserve up where the disk is so full that the companions of the database cannot be made.
pub(crate) fn make_for_companions(database: &Path) -> bool {
    let probe = PathBuf::from(with_ending(database, "-probe"));
    let added = create_new(&probe).and_then(|file| add(file, COMPANIONS));
    let _ = fs::remove_file(probe);
    is_refused(added) && fs::remove_file(reserve_of(database)).is_ok()
}

/// Gives the reserve up. Says whether there was one.
pub(crate) fn give_up(sqlite: &rusqlite::Connection) -> bool {
    sqlite.path().is_some_and(|database| fs::remove_file(reserve_of(Path::new(database))).is_ok())
}

pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        // A quota that is used up is not ENOSPC.
        || error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_WRITE)
}

fn has_room(transaction: &Transaction<'_>) -> rusqlite::Result<bool> {
    let Some(database) = transaction.path().map(Path::new) else { return Ok(true) };
    let number = |pragma: &str| -> rusqlite::Result<u64> {
        transaction.prepare_cached(pragma)?.query_row([], |row| row.get(0).map(i64::unsigned_abs))
    };
    let page = number("PRAGMA page_size")?;
    let size = number("PRAGMA page_count")? * page;
    // What the database is to grow at the next checkpoint.
    let growth = size.saturating_sub(length(database));
    // Free pages inside the database do as well, but for that growth.
    let free = number("PRAGMA freelist_count")? * page;
    let in_log = u64::from(log_pages()) * (page + FRAME_HEADER);
    Ok(has_log(database, in_log + LOG_ROOM) && has_reserve(database, growth, RESERVE.saturating_sub(free)))
}

/// Whether the log has this length, made longer if need be. That is safe while others write to it: zeros go to its end,
/// where SQLite writes over them.
fn has_log(database: &Path, bytes: u64) -> bool {
    let log = log_of(database);
    let now = length_of_regular(&log);
    now >= bytes || !is_refused(append_to(&log).and_then(|log| add(log, bytes - now)))
}

/// Whether the reserve holds what the database is to grow, and as much more as is needed.
fn has_reserve(database: &Path, growth: u64, needed: u64) -> bool {
    let reserve = reserve_of(database);
    let (now, whole) = (length_of_regular(&reserve), growth + RESERVE);
    if now > LARGE_RESERVE * whole {
        // Kept for a database that has grown since, or did not grow after all.
        let _ = append_to(&reserve).and_then(|file| file.set_len(whole));
        return true;
    }
    let open = || match create_new(&reserve) {
        Ok(file) => {
            // Whoever may write the database may write this.
            file.set_permissions(fs::metadata(database)?.permissions())?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => append_to(&reserve),
        Err(error) => Err(error),
    };
    now >= whole
        || !is_refused(open().and_then(|file| add(file, whole - now)))
        || length_of_regular(&reserve) >= growth + needed
}

fn log_of(database: &Path) -> PathBuf {
    with_ending(database, "-wal").into()
}

fn reserve_of(database: &Path) -> PathBuf {
    with_ending(database, "-reserve").into()
}

fn append_to(path: &Path) -> io::Result<File> {
    open_regular(path, OpenOptions::new().append(true))
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

fn add(mut file: File, zeros: u64) -> io::Result<()> {
    let mut left = zeros as usize;
    while left > 0 {
        left -= file.write(&ZEROS[..left.min(ZEROS.len())])?;
    }
    Ok(())
}

/// Whether there is no room for it. Where the process may not write such a file at all, nothing is known of that.
fn is_refused(added: io::Result<()>) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    added.is_err_and(|error| matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge))
}
