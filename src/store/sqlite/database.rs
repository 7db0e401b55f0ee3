//! Runs each call on a connection. If the disk is full, makes room. After the call, keeps the log short.

use crate::deadline::Deadline;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::call::Call;
use crate::store::process::per_process::PerProcess;
use crate::store::sqlite::checkpoint::{Checkpoints, Due};
use crate::store::sqlite::connection::{Connection, NotOpened};
use crate::store::sqlite::connections::Connections;
use crate::store::sqlite::failure::{Failure, is_disk_full, is_locked, is_worth_reopening, store_error};
use crate::store::sqlite::files::{FileIds, Files};
use crate::store::sqlite::full_disk::Room;
use crate::store::sqlite::lock_wait::{take_waited, wait_for_locks_until};
use crate::store::sqlite::operation::Operation;
use crate::store::sqlite::write_queue::Turn;
use crate::store::sqlite::{open_stores, reserve};
use crate::store::stats::{Counter, Counters};
use arc_swap::ArcSwapOption;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

/// The pause before a file that was just replaced is opened again.
const PAUSE: Duration = Duration::from_millis(1);

/// The file of a store, and the connections to it.
pub(crate) struct Database {
    pub(crate) path: PathBuf,
    pub(crate) full_sync: bool,
    pub(crate) pool_size: u32,
    pub(crate) clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    pub(crate) connections: Arc<PerProcess<Connections>>,
    pub(crate) counters: Arc<Counters>,
    /// The files that were opened last.
    opened: ArcSwapOption<FileIds>,
    checkpoints: Checkpoints,
}

/// What a call does.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    Read,
    /// Changes something. Fails if the disk is still full after room was made in the log.
    Write,
    /// Ends sessions. If the disk is full, uses the reserve.
    End,
}

impl Database {
    /// Describes a database, and opens nothing yet.
    pub(crate) fn new(
        path: PathBuf,
        pool_size: u32,
        clock: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> Database {
        let connections = Arc::new(PerProcess::new());
        open_stores::register(&connections);
        Database {
            path,
            full_sync: false,
            pool_size,
            clock: Box::new(clock),
            connections,
            counters: Arc::default(),
            opened: ArcSwapOption::empty(),
            checkpoints: Checkpoints::default(),
        }
    }

    /// Does `work` that only reads. It waits for no writer.
    pub(crate) fn read<R, E: From<StoreError>>(
        &self,
        call: &Call,
        work: impl Fn(&Operation<'_>) -> Result<R, Failure<E>>,
    ) -> Result<R, E> {
        self.run(call, Access::Read, &work)
    }

    /// Does `work` that writes.
    pub(crate) fn write<R, E: From<StoreError>>(
        &self,
        call: &Call,
        work: impl Fn(&Operation<'_>) -> Result<R, Failure<E>>,
    ) -> Result<R, E> {
        self.run(call, Access::Write, &work)
    }

    /// Does `work` that ends sessions. If the disk is full, uses the reserve.
    pub(crate) fn end<R>(
        &self,
        call: &Call,
        work: impl Fn(&Operation<'_>) -> Result<R, Failure<StoreError>>,
    ) -> Result<R, StoreError> {
        self.run(call, Access::End, &work)
    }

    /// Does `work` on a connection of this process, and counts the time for which it has waited for other writers.
    fn run<R, E: From<StoreError>>(
        &self,
        call: &Call,
        access: Access,
        work: &impl Fn(&Operation<'_>) -> Result<R, Failure<E>>,
    ) -> Result<R, E> {
        let result = self.try_to_run(call, access, work);
        self.count_waits();
        result
    }

    fn try_to_run<R, E: From<StoreError>>(
        &self,
        call: &Call,
        access: Access,
        work: &impl Fn(&Operation<'_>) -> Result<R, Failure<E>>,
    ) -> Result<R, E> {
        let (mut reopened, mut gave_up_reserve, mut room) = (false, false, Room::AsItWas);
        loop {
            let process = self.connections.enter(call.deadline)?;
            let connections =
                process.get_or_open(|| Connections::new(self.pool_size, call.deadline, &self.counters))?;
            // A thread that waits for its turn has no connection, so it keeps none from readers.
            let mut turn = match access {
                Access::Read => None,
                Access::Write | Access::End => Some(self.wait_for_turn(connections, call.deadline)?),
            };
            let mut lease = connections.pool.lease(call.deadline)?;
            wait_for_locks_until(call.deadline);
            let idle = lease.take();
            let is_reused = idle.is_some();
            let connection = match self.connection(idle) {
                Ok(connection) => connection,
                Err(NotOpened::Replaced) if !call.deadline.has_passed() => {
                    drop((lease, turn));
                    drop(process);
                    open_stores::close_all(call.deadline);
                    thread::sleep(PAUSE);
                    continue;
                }
                Err(NotOpened::Replaced) => {
                    let message = format!("{}: the file or its log is being replaced", self.path.display());
                    return Err(StoreError::new(StoreErrorKind::Unavailable, message).into());
                }
                Err(NotOpened::Fault(error)) => {
                    let by_disk = matches!(error.kind(), StoreErrorKind::Rejected | StoreErrorKind::Unavailable);
                    if by_disk && !gave_up_reserve && reserve::give_up_for_companions(Files::of(&self.path).database())
                    {
                        gave_up_reserve = true;
                        continue;
                    }
                    return Err(error.into());
                }
            };
            if connections.is_first_caller() {
                self.announce(&connection);
            }
            let result = self.work_on(&connection, call, room != Room::AsItWas, work);
            if is_full(&result) {
                if room != Room::InLog {
                    // Making room may take long. Others may end sessions meanwhile.
                    turn = None;
                }
                let ends_sessions = access == Access::End;
                let more = room.make_more(&connection.sqlite, call.deadline, (self.clock)(), ends_sessions);
                self.checkpoints.end();
                if let Some(more) = more {
                    room = more;
                    lease.put_back(connection);
                    continue;
                }
            }
            if result.is_ok()
                && access != Access::Read
                && let Some(due) = self.checkpoints.due()
            {
                if due == Due::First {
                    drop(turn);
                }
                self.keep_log_short(&connection, call.deadline);
            }
            match result {
                Err(Failure::Sqlite(error)) if is_reused && !reopened && is_worth_reopening(&error) => reopened = true,
                Err(Failure::Sqlite(error)) => {
                    // A connection that failed in any other way is not used again.
                    if connection.sqlite.is_autocommit() && (is_locked(&error) || is_disk_full(&error)) {
                        lease.put_back(connection);
                    }
                    return Err(store_error(error, &self.path).into());
                }
                Err(Failure::Refused(refusal)) => {
                    lease.put_back(connection);
                    return Err(refusal);
                }
                Ok(result) => {
                    lease.put_back(connection);
                    return Ok(result);
                }
            }
        }
    }

    /// Waits until this thread may ask SQLite for the lock of writers.
    fn wait_for_turn<'a>(&self, connections: &'a Connections, deadline: Deadline) -> Result<Turn<'a>, StoreError> {
        connections.write_queue.wait(deadline).ok_or_else(|| {
            let message = format!("{}: other threads of this process kept it locked", self.path.display());
            StoreError::new(StoreErrorKind::Timeout, message)
        })
    }

    /// Counts the time for which this thread has waited for other writers.
    fn count_waits(&self) {
        let waited = take_waited();
        if !waited.is_zero() {
            self.counters.add(Counter::LockWaits, 1);
            self.counters.add(Counter::LockWaited, waited.as_micros().try_into().unwrap_or(u64::MAX));
        }
    }

    /// Returns the connection of a lease, or a new one.
    fn connection(&self, open: Option<Connection>) -> Result<Connection, NotOpened> {
        match open {
            Some(connection) if connection.is_current(&self.path) => Ok(connection),
            Some(connection) => {
                connection.rescue_deleted_log();
                Err(NotOpened::Replaced)
            }
            None => {
                self.counters.add(Counter::Connections, 1);
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
        connection: &Connection,
        call: &Call,
        disk_is_full: bool,
        work: &impl Fn(&Operation<'_>) -> Result<R, Failure<E>>,
    ) -> Result<R, Failure<E>> {
        let Connection { sqlite, disk_space, .. } = connection;
        self.checkpoints.begin();
        let result = work(&Operation { sqlite, disk_space, call, clock: &*self.clock, disk_is_full });
        self.checkpoints.end();
        result
    }

    fn keep_log_short(&self, connection: &Connection, deadline: Deadline) {
        self.count_waits();
        if let Err(error) = self.checkpoints.keep_log_short(&connection.sqlite, deadline) {
            log::debug!("{}: the log was not copied into the database: {error}", self.path.display());
        }
        // Readers are waited for, not other writers.
        take_waited();
    }

    /// Logs what this process uses.
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

fn is_full<R, E>(result: &Result<R, Failure<E>>) -> bool {
    matches!(result, Err(Failure::Sqlite(error)) if is_disk_full(error))
}
