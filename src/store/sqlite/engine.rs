//! How a call gets a connection, and what is done around its work.

use crate::deadline::Deadline;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::call::Call;
use crate::store::process::per_process::PerProcess;
use crate::store::process::pool::Places;
use crate::store::sqlite::connection::{Connection, NotOpened, take_waited, wait_for_locks_until};
use crate::store::sqlite::failure::{Failure, is_worth_reopening, store_error};
use crate::store::sqlite::file::Files;
use crate::store::sqlite::room::Checkpoint;
use crate::store::sqlite::{SqliteStore, clear_away, room, stores, trace};
use crate::store::stats::Counted;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// How many ended sessions are cleared away at once where the disk is full.
const CLEARED_AT_ONCE: i64 = 50;
/// The log is copied into the database when it has this many pages; a page has 4 kB.
const CHECKPOINT_AT: u32 = 1000;
/// With this many it is to begin anew, and readers are waited for, for this long for each thousand.
const RESTART_AT: u32 = 2 * CHECKPOINT_AT;
/// How long to wait before a file that was just replaced is opened again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_millis(100);

pub(crate) type Processes = PerProcess<Opened>;

/// What one process has open.
pub(crate) struct Opened {
    places: Places<Connection>,
    announced: AtomicBool,
}

/// The state of SQLite's log, as far as this store knows.
#[derive(Default)]
pub(crate) struct Log {
    pages: AtomicU32,
    checkpoint_at: AtomicU32,
}

/// Closes the connections that no call uses.
pub(crate) fn close_idle(opened: &Opened) {
    opened.places.close_idle();
}

impl SqliteStore {
    /// Does some work on a connection of this process.
    pub(crate) fn with<R, E: From<StoreError>>(
        &self,
        call: &Call,
        work: impl FnMut(&mut rusqlite::Connection) -> Result<R, Failure<E>>,
    ) -> Result<R, E> {
        self.work(call, false, work)
    }

    /// Does some work that ends sessions: on a full disk, too.
    pub(crate) fn end_with<R>(
        &self,
        call: &Call,
        work: impl FnMut(&mut rusqlite::Connection) -> Result<R, Failure<StoreError>>,
    ) -> Result<R, StoreError> {
        self.work(call, true, work)
    }

    fn work<R, E: From<StoreError>>(
        &self,
        call: &Call,
        ends: bool,
        mut work: impl FnMut(&mut rusqlite::Connection) -> Result<R, Failure<E>>,
    ) -> Result<R, E> {
        let (mut reopened, mut gave_up) = (false, false);
        loop {
            let process = self.processes.enter(call.deadline)?;
            let opened = process.get_or_open(|| {
                let places = Places::new(self.pool_size, self.counters.clone())?;
                Ok(Opened { places, announced: AtomicBool::new(false) })
            })?;
            let mut place = opened.places.take(call.deadline)?;
            wait_for_locks_until(call.deadline);
            let is_reused = place.is_some();
            let mut connection = match self.connection(place.take()) {
                Ok(connection) => connection,
                Err(NotOpened::Replaced) if !call.deadline.has_passed() => {
                    drop((place, process));
                    stores::close_all(call.deadline);
                    thread::sleep(LOOK_AGAIN);
                    continue;
                }
                Err(NotOpened::Replaced) => {
                    let message = format!("{}: the file, or its log, is being replaced", self.path.display());
                    return Err(StoreError::new(StoreErrorKind::Unavailable, message).into());
                }
                Err(NotOpened::Fault(error)) => {
                    let by_disk = matches!(error.kind(), StoreErrorKind::Rejected | StoreErrorKind::Unavailable);
                    if by_disk && !gave_up && room::make_for_companions(&Files::of(&self.path).database) {
                        gave_up = true;
                        continue;
                    }
                    return Err(error.into());
                }
            };
            if !opened.announced.swap(true, Ordering::Relaxed) {
                self.announce(&connection);
            }
            let result = self.work_on(&mut connection, call, ends, &mut work);
            match result {
                Err(Failure::Sqlite(error)) if is_reused && !reopened && is_worth_reopening(&error) => reopened = true,
                // A connection that failed is opened anew.
                Err(Failure::Sqlite(error)) => return Err(store_error(error, &self.path).into()),
                Err(Failure::Refused(refusal)) => {
                    *place = Some(connection);
                    return Err(refusal);
                }
                Ok(result) => {
                    *place = Some(connection);
                    return Ok(result);
                }
            }
        }
    }

    /// The connection of a place, or a new one.
    fn connection(&self, open: Option<Connection>) -> Result<Connection, NotOpened> {
        match open {
            Some(connection) if connection.is_current(&self.path) => Ok(connection),
            Some(connection) => {
                connection.rescue();
                Err(NotOpened::Replaced)
            }
            None => {
                self.counters.add(Counted::Connections, 1);
                let before = self.opened.load().as_deref().copied();
                let connection = Connection::open(&self.path, self.full_sync, before)?;
                if before != Some(connection.opened()) {
                    self.opened.store(Some(Arc::new(connection.opened())));
                }
                Ok(connection)
            }
        }
    }

    fn work_on<R, E>(
        &self,
        connection: &mut Connection,
        call: &Call,
        ends: bool,
        mut work: impl FnMut(&mut rusqlite::Connection) -> Result<R, Failure<E>>,
    ) -> Result<R, Failure<E>> {
        let is_full = |result: &Result<R, _>| matches!(result, Err(Failure::Sqlite(error)) if room::is_full(error));
        room::set_log_pages(self.log.pages.load(Ordering::Relaxed));
        trace::set_disk_is_full(false);
        let mut result = work(&mut connection.sqlite);
        if is_full(&result) {
            trace::set_disk_is_full(true);
            // What is in the log may be copied away.
            let mode = if ends { Checkpoint::Restart } else { Checkpoint::Passive };
            wait_for_locks_until(call.deadline.halfway());
            let is_copied = matches!(room::checkpoint(&connection.sqlite, mode), Ok(true));
            wait_for_locks_until(call.deadline);
            if is_copied && !ends {
                let _ = room::shorten_log(&connection.sqlite);
            }
            result = work(&mut connection.sqlite);
        }
        if is_full(&result) && ends && room::give_up(&connection.sqlite) {
            // Somebody reads the log, so it has to grow.
            result = work(&mut connection.sqlite);
        }
        if is_full(&result) && !ends {
            // Room for the next one.
            let _ = clear_away(&connection.sqlite, self.now(), CLEARED_AT_ONCE);
        }
        let waited = take_waited();
        if !waited.is_zero() {
            self.counters.add(Counted::LockWaits, 1);
            self.counters.add(Counted::LockWaited, waited.as_micros().try_into().unwrap_or(u64::MAX));
        }
        if result.is_ok() {
            self.keep_log_short(&connection.sqlite, call);
        }
        self.log.pages.store(room::log_pages(), Ordering::Relaxed);
        result
    }

    /// Copies the log into the database where it has grown long: at first what can be without a wait, and then, holding
    /// other writers back, all of it. New readers do not need the log then, and those before are waited for.
    fn keep_log_short(&self, sqlite: &rusqlite::Connection, call: &Call) {
        let pages = room::log_pages();
        let due = self.log.checkpoint_at.load(Ordering::Relaxed);
        if pages < CHECKPOINT_AT {
            return self.log.checkpoint_at.store(CHECKPOINT_AT, Ordering::Relaxed);
        }
        let next = pages + CHECKPOINT_AT / 4;
        let is_ours =
            || self.log.checkpoint_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if pages < due || !is_ours() {
            return;
        }
        let mut checkpoint = room::checkpoint(sqlite, Checkpoint::Passive);
        if pages >= RESTART_AT {
            // The longer the log, the longer the wait; and after one in vain the next comes when it is twice as long.
            let patience = Deadline::after(pages / CHECKPOINT_AT * PATIENCE);
            wait_for_locks_until(patience.min(call.deadline.share_of(4)));
            checkpoint = room::checkpoint(sqlite, Checkpoint::Restart);
            take_waited();
            let next = if matches!(checkpoint, Ok(true)) { CHECKPOINT_AT } else { pages.saturating_mul(2) };
            self.log.checkpoint_at.store(next, Ordering::Relaxed);
        }
        if let Err(error) = checkpoint {
            log::debug!("{}: the log was not copied into the database: {error}", self.path.display());
        }
    }

    /// Says once in each process what it uses.
    fn announce(&self, connection: &Connection) {
        let pragma = |name| connection.sqlite.pragma_query_value(None, name, |row| row.get::<_, String>(0));
        log::info!(
            "{}: SQLite {}, journal mode {}, synchronous={}, up to {} connections in this process",
            self.path.display(),
            rusqlite::version(),
            pragma("journal_mode").unwrap_or_default(),
            if self.full_sync { "full" } else { "normal" },
            self.pool_size,
        );
        connection.files().warn_of_other_writers();
    }
}
