//! Sessions in one SQLite file, which all workers of a machine open.

mod checkpoint;
mod columns;
mod companions;
mod connection;
mod connections;
mod database;
mod disk_space;
mod ended;
mod failure;
mod files;
mod findings;
mod foreign_log;
mod forward;
mod full_disk;
mod group;
mod group_values;
mod load;
mod lock_wait;
mod machine;
mod namespace;
mod open_connections;
mod open_stores;
mod operation;
mod pages;
mod purge;
mod record;
mod regular_file;
mod remains;
mod reserve;
mod restore;
mod rows;
mod scan;
mod schema;
mod serial;
mod sweep;
mod trace;
mod values;
mod wal;
mod write_queue;

use crate::deadline::Deadline;
use crate::defaults;
use crate::end_reason::EndReason;
use crate::error::{ConfigError, StoreError};
use crate::id::PublicId;
use crate::lifetime::Lifetime;
use crate::store::call::Call;
use crate::store::fork_guard::ForkGuard;
use crate::store::group_update::GroupUpdate;
use crate::store::group_values::GroupValues;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::maintenance::{Figure, Finding, Located, Maintenance, Page, Purged, Scan};
use crate::store::process::per_process::warn_of_calls;
use crate::store::record::{Cleared, Created, Loaded, NewRecord, SessionInfo, Values};
use crate::store::refusal::Refusal;
use crate::store::restore::Restored;
use crate::store::sqlite::database::Database;
use crate::store::stats::Stats;
use crate::store::store_trait::Store;
use crate::store::stored_record::StoredRecord;
use crate::store::update::{Update, Updated};
use std::fmt;
use std::path::{Path, absolute};
use std::time::{Duration, SystemTime};

/// Keeps sessions in one SQLite file, for any number of processes on one machine. It needs no server.
///
/// `store_url("sqlite:///var/lib/app/sessions.db")` makes one (feature `sqlite`). The file is created if it is missing,
/// for its owner alone. Its folder is not created.
///
/// [The guide](crate::guide::sqlite) says how to run the store: the folder, backups, a deleted file, a full disk.
///
/// # Forks
/// A process must not fork while it has the file open, unless it holds the guard of
/// [`before_fork`](crate::SessionManager::before_fork). That call closes the files of all SQLite stores in the process,
/// and makes new calls to these stores wait. The usual server has nothing to do: its parent builds the manager and
/// forks, and only the children use the manager.
///
/// A child that was forked from a process with the file open gets
/// [`StoreErrorKind::Forked`](crate::StoreErrorKind::Forked) from every SQLite store.
///
/// # Durability
/// A save survives if any process is killed. A power loss, or a crash of the operating system, can lose the last saves,
/// logouts included, but does not damage the file. With `sqlite:///path?synchronous=full`, each save waits for the
/// disk, and a power loss loses no save.
///
/// # Time
/// Timeouts follow the machine's clock.
///
/// # Examples
/// ```
/// use multi_process_session::{Secret, SessionManager};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("sessions.db");
/// let url = format!("sqlite://{}", path.display());
/// let manager = SessionManager::builder(Secret::generate()?).store_url(&url).build()?;
/// manager.ping()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SqliteStore {
    database: Database,
    operation_timeout: Duration,
}

impl SqliteStore {
    /// Makes a store in this file, like [`store_url`](crate::SessionManagerBuilder::store_url) with the default
    /// settings. This does not open the file yet.
    ///
    /// # Examples
    /// ```
    /// use multi_process_session::{Secret, SessionManager, SqliteStore};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// let store = SqliteStore::new(folder.path().join("sessions.db"));
    /// let manager = SessionManager::builder(Secret::generate()?).store(store).build()?;
    /// manager.ping()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(path: impl AsRef<Path>) -> SqliteStore {
        SqliteStore::with_clock(path, SystemTime::now)
    }

    /// Makes a store like [`new`](SqliteStore::new) that takes the time from `clock`, so that tests can let timeouts
    /// pass.
    pub fn with_clock(path: impl AsRef<Path>, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> SqliteStore {
        // An absolute path leads to the same file when the process changes its folder.
        let path = absolute(path.as_ref()).unwrap_or_else(|_| path.as_ref().to_owned());
        SqliteStore {
            database: Database::new(path, defaults::POOL_SIZE, clock),
            operation_timeout: defaults::OPERATION_TIMEOUT,
        }
    }

    /// Makes the store of a URL. `operation_timeout` is that of its callers.
    pub(crate) fn from_url(url: &str, pool_size: u32, operation_timeout: Duration) -> Result<SqliteStore, ConfigError> {
        let expected = "sqlite:///path/to/file with an absolute path, or sqlite:///path/to/file?synchronous=full";
        let refused = ConfigError::StoreUrl { expected };
        let Some(rest) = url.strip_prefix("sqlite://") else { return Err(refused) };
        let (path, full_sync) = match rest.split_once('?').unwrap_or((rest, "synchronous=normal")) {
            (path, "synchronous=normal") => (path, false),
            (path, "synchronous=full") => (path, true),
            _ => return Err(refused),
        };
        if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
            return Err(refused);
        }
        let mut store = SqliteStore::new(path);
        (store.database.full_sync, store.database.pool_size) = (full_sync, pool_size);
        store.operation_timeout = operation_timeout;
        Ok(store)
    }
}

impl Store for SqliteStore {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<Created, Refusal> {
        let size = record.check_size()?;
        let (created, remains) = self.database.write(call, |operation| operation.create(key, record, size))?;
        self.database.sweep(call, remains);
        Ok(created)
    }

    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError> {
        self.database.load(key, lifetime, call)
    }

    fn peek(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError> {
        self.database.peek(key, lifetime, call)
    }

    fn present_ids(
        &self,
        keys: &[RecordKey<'_>],
        lifetime: &Lifetime,
        call: &Call,
    ) -> Result<Vec<Option<PublicId>>, StoreError> {
        self.database.present_ids(keys, lifetime, call)
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Refusal> {
        let (updated, remains) = self.database.write(call, |operation| operation.update(key, update))?;
        self.database.sweep(call, remains);
        Ok(updated)
    }

    fn delete(&self, key: &RecordKey<'_>, reason: EndReason, call: &Call) -> Result<Option<PublicId>, StoreError> {
        self.database.end(call, |operation| operation.delete(key, reason))
    }

    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], call: &Call) -> Result<Vec<SessionInfo>, StoreError> {
        self.database.read(call, |operation| operation.group_sessions(group, keys))
    }

    fn group_len(&self, group: &GroupKey<'_>, call: &Call) -> Result<usize, StoreError> {
        self.database.read(call, |operation| operation.group_len(group))
    }

    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, call: &Call) -> Result<Cleared, StoreError> {
        let (cleared, remains) = self.database.end(call, |operation| operation.clear_group(group, except))?;
        self.database.sweep(call, remains);
        Ok(cleared)
    }

    fn group_values(&self, group: &GroupKey<'_>, call: &Call) -> Result<Values, StoreError> {
        self.database.read(call, |operation| operation.group_values(group))
    }

    fn update_group(&self, group: &GroupKey<'_>, update: &GroupUpdate<'_>, call: &Call) -> Result<(), Refusal> {
        self.database.write(call, |operation| operation.update_group(group, update))
    }

    fn clear_namespace(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        let remains = self.database.end(call, |operation| operation.clear_namespace(namespace))?;
        self.database.sweep(call, remains);
        Ok(())
    }

    fn ping(&self, call: &Call) -> Result<(), StoreError> {
        self.database.read(call, |operation| operation.ping())
    }

    /// Closes the files of all stores of this type. If one of them stayed open, the child could use none of them.
    fn before_fork(&self) -> ForkGuard {
        let timeout = self.operation_timeout * 2;
        let (guard, quiet) = open_stores::hold_all_back(Deadline::after(timeout));
        if !quiet {
            warn_of_calls(timeout);
        }
        guard
    }

    fn stats(&self) -> Stats {
        self.database.counters.stats(self.database.pool_size)
    }
}

impl Maintenance for SqliteStore {
    fn scan(&self, scan: &Scan<'_>, call: &Call) -> Result<Page, StoreError> {
        self.database.read(call, |operation| operation.scan(scan))
    }

    fn find(&self, namespace: &str, id: PublicId, call: &Call) -> Result<Option<Located>, StoreError> {
        self.database.read(call, |operation| operation.find(namespace, id))
    }

    fn read(
        &self,
        namespace: &str,
        places: &[Located],
        with_values: bool,
        call: &Call,
    ) -> Result<Vec<(Located, StoredRecord)>, StoreError> {
        self.database.read(call, |operation| operation.read(namespace, places, with_values))
    }

    fn restore(&self, key: &RecordKey<'_>, record: &StoredRecord, call: &Call) -> Result<Restored, StoreError> {
        self.database.write(call, |operation| operation.restore(key, record))
    }

    fn read_group(&self, group: &GroupKey<'_>, call: &Call) -> Result<GroupValues, StoreError> {
        self.database.read(call, |operation| operation.read_group(group))
    }

    fn restore_group(&self, group: &GroupKey<'_>, values: &GroupValues, call: &Call) -> Result<Restored, StoreError> {
        self.database.write(call, |operation| operation.restore_group(group, values))
    }

    /// Removes what is left of ended sessions in the whole file: most of it does not tell its namespace any more.
    fn purge(&self, _: &str, call: &Call) -> Result<Purged, StoreError> {
        self.database.purge(call)
    }

    fn findings(&self, _: &str, call: &Call) -> Result<Vec<Finding>, StoreError> {
        self.database.read(call, |operation| operation.findings(self.database.full_sync))
    }

    fn figures(&self, call: &Call) -> Result<Vec<Figure>, StoreError> {
        self.database.read(call, |operation| operation.figures())
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite://{}", self.database.path.display())
    }
}
