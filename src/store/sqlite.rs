//! Sessions in one SQLite file, which all workers of a machine open.

mod alone;
mod connection;
mod engine;
mod failure;
mod file;
mod forward;
mod group;
mod namespace;
mod permit;
mod room;
mod stores;
mod trace;

use crate::deadline::Deadline;
use crate::defaults;
use crate::error::{ConfigError, StoreError};
use crate::id::PublicId;
use crate::lifetime::Lifetime;
use crate::store::Store;
use crate::store::call::Call;
use crate::store::fork_guard::ForkGuard;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::process::per_process::warn_of_calls;
use crate::store::record::{NewRecord, Record, RecordInfo, SessionInfo, Size, Values, size};
use crate::store::refusal::Refusal;
use crate::store::sqlite::connection::wait_for_locks_until;
use crate::store::sqlite::engine::{Log, Processes};
use crate::store::sqlite::failure::Failure;
use crate::store::sqlite::forward::{Purpose, forward, forwarded, purge};
use crate::store::state::RecordState;
use crate::store::stats::{Counters, Stats};
use crate::store::update::{Change, ChangeSet, Update, Updated, add};
use arc_swap::ArcSwapOption;
use rusqlite::{OptionalExtension, Row, Transaction, TransactionBehavior, params};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many ended sessions, and how many ids that lead nowhere any more, are cleared away when one is created: more than
/// one, so that the file stops growing.
const PURGED: i64 = 3;

/// Keeps sessions in one SQLite file, for any number of processes on one machine. Needs no server.
///
/// `store_url("sqlite:///var/lib/app/sessions.db")` makes one (feature `sqlite`). The file is created where it is
/// missing, for its owner alone; its folder is not.
///
/// # Forks
/// A process must not fork while it has the file open, unless under
/// [`before_fork`](crate::SessionManager::before_fork), which closes it and every other file that a store of this type
/// has open in the process, and holds back the calls to them. The usual server has nothing to do: its parent
/// builds the manager and forks, and only the children use it. A child that was forked from a process with the file
/// open gets [`StoreErrorKind::Forked`](crate::StoreErrorKind::Forked), from this store and every other of this type.
///
/// # The file
/// Give sessions a file of their own, in a folder where the server may create files. Beside it lie three more:
/// - `-wal` is SQLite's log. What was saved last is there and nowhere else.
/// - `-shm` tells the processes what is in the log. These two go when the last process closes the file.
/// - `-reserve` is room for a full disk. It may be deleted at any time, and is made again.
///
/// Never delete the log. If the file, its log or `-shm` is deleted or replaced, a worker notices at its first call after
/// a second, and goes on with what is there then. If the log or `-shm` was deleted, nothing that was saved is lost; but
/// calls wait until all workers have noticed. If one has no call to notice it with, the others get
/// [`StoreErrorKind::Unavailable`](crate::StoreErrorKind::Unavailable) until it is restarted. If the file was replaced,
/// what was saved in that second may be lost.
///
/// The file does not shrink: what ended sessions leave is used for new ones. Timeouts follow the machine's clock. The
/// file must not lie on a network file system. The log warns of a file that somebody else may write: whoever can do that
/// can log in as anybody.
///
/// # Backups
/// `sqlite3 sessions.db "VACUUM INTO 'backup.db'"` makes a backup while workers run; `.backup` does as well. A copy of
/// the file alone lacks what is in the log.
///
/// To restore one, stop all workers, move `sessions.db`, `sessions.db-wal` and `sessions.db-shm` away, and move the
/// backup to `sessions.db`. While the log of another file lies beside it, the backup is refused with
/// [`StoreErrorKind::Unavailable`](crate::StoreErrorKind::Unavailable), or as a damaged file
/// ([`StoreErrorKind::Backend`](crate::StoreErrorKind::Backend)), and is left as it is. Move the backup there; do not
/// copy it over the old file: that cannot be noticed.
///
/// To move the file elsewhere, stop all workers. If a `-wal` file is left then,
/// `sqlite3 sessions.db 'PRAGMA wal_checkpoint(TRUNCATE)'` writes what is in it into the file.
///
/// A backup holds the sessions as they were: who has logged out since is logged in again. So does a damaged log, whose
/// last part SQLite drops. Change the [`Secret`](crate::Secret) after both; then nobody is.
///
/// # A full disk
/// On a full disk sessions can be read and ended: `destroy`, and a group's `clear` and `clear_except`. Everything else
/// is refused with [`StoreErrorKind::Rejected`](crate::StoreErrorKind::Rejected) before the room for that is used up.
/// That room is 1 MiB in the reserve and 2 MiB in the log, so the disk needs some 8 MB beside the sessions. If another
/// program keeps a transaction open on the file, there is room for some 50 logouts until it ends. Sessions that
/// have expired make room for new ones.
///
/// # Durability
/// What was saved survives the death of any process. A power loss, or a crash of the operating system, may take the
/// last saves, logouts included, but damages nothing. With `sqlite:///path?synchronous=full` it takes nothing, and a
/// save waits for the disk.
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
    path: PathBuf,
    full_sync: bool,
    pool_size: u32,
    patience: Duration,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    processes: Arc<Processes>,
    /// The files that were opened last.
    opened: ArcSwapOption<file::Identities>,
    log: Log,
    counters: Arc<Counters>,
}

impl SqliteStore {
    /// A store in this file, as [`store_url`](crate::SessionManagerBuilder::store_url) with its default settings makes
    /// it, but with the time taken from `clock`, so that tests can let timeouts pass. Opens nothing yet.
    pub fn with_clock(path: impl AsRef<Path>, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> SqliteStore {
        let processes = Arc::new(Processes::new());
        stores::register(&processes);
        SqliteStore {
            // So that it stays the same file when the process changes its folder.
            path: std::path::absolute(path.as_ref()).unwrap_or_else(|_| path.as_ref().to_owned()),
            full_sync: false,
            pool_size: defaults::POOL_SIZE,
            patience: defaults::OPERATION_TIMEOUT,
            clock: Box::new(clock),
            processes,
            opened: ArcSwapOption::empty(),
            log: Log::default(),
            counters: Arc::default(),
        }
    }

    pub(crate) fn from_url(url: &str, pool_size: u32, patience: Duration) -> Result<SqliteStore, ConfigError> {
        let expected = "sqlite:///path/to/file, or sqlite:///path/to/file?synchronous=full";
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
        Ok(SqliteStore { full_sync, pool_size, patience, ..SqliteStore::with_clock(path, SystemTime::now) })
    }

    /// Extends the life of a record as it is now, and gives the id that it has now; `None` if it has ended by now.
    fn extend(
        &self,
        sqlite: &mut rusqlite::Connection,
        key: &RecordKey<'_>,
        lifetime: &Lifetime,
    ) -> rusqlite::Result<Option<(RecordInfo, PublicId)>> {
        let transaction = sqlite.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // The lock may have been waited for.
        let now = self.now();
        let Some((found, id)) = find_forwarded(&transaction, key, now)? else { return Ok(None) };
        let Some(mut state) = found.state.alive(lifetime, now) else { return Ok(None) };
        if state.refresh(lifetime.refresh, now) {
            write_life(&transaction, found.serial, &state)?;
            room::commit(transaction)?;
        }
        Ok(Some((state.info(now), id)))
    }

    /// Removes what a group has left, while there is time.
    fn sweep_group(&self, sqlite: &rusqlite::Connection, serial: Option<i64>, call: &Call) {
        if let Some(serial) = serial {
            group::sweep(sqlite, serial, self.now(), call.deadline.halfway());
        }
    }

    /// The time, as exact as it is kept.
    fn now(&self) -> SystemTime {
        time(milliseconds((self.clock)()))
    }
}

impl Store for SqliteStore {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<RecordInfo, Refusal> {
        let size = record.check_size()?;
        self.with(call, |sqlite| {
            let transaction = sqlite.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let now = self.now();
            if let Some(found) = find(&transaction, key, now)? {
                return match found.state.knows(call.nonce) {
                    true => Ok(found.state.info(now)),
                    false => Err(Failure::Refused(Refusal::IdTaken)),
                };
            }
            if trace::is_known(&transaction, key, call.nonce, now)? {
                return Err(Failure::Refused(Refusal::Gone));
            }
            remove(&transaction, key)?;
            clear_away(&transaction, now, PURGED)?;
            let state = RecordState::new(record, call, now);
            let in_group = group::serial(&transaction, key)?;
            transaction
                .prepare_cached(
                    "INSERT INTO sessions
                     (id, namespace, in_group, group_name, version, created, joined, join_order, began, refreshed, ends,
                      idle, own_idle, expires, keys, size, nonces)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
                )?
                .execute(params![
                    key.id.as_bytes(),
                    namespace::serial(&transaction, key.namespace)?,
                    in_group,
                    record.join.map(|join| join.name),
                    state.version as i64,
                    milliseconds(state.created_at),
                    state.joined_at.map(milliseconds),
                    group::next_in_order(&transaction, in_group)?,
                    milliseconds(state.began_at),
                    state.refreshed_at.map(milliseconds),
                    state.ends_at.map(milliseconds),
                    state.idle_timeout.as_millis() as i64,
                    state.has_own_idle_timeout,
                    milliseconds(state.expires_at),
                    size.keys as i64,
                    size.bytes as i64,
                    state.nonces,
                ])?;
            let serial = transaction.last_insert_rowid();
            for (key, json) in &record.values {
                set(&transaction, serial, key, json)?;
            }
            let surplus = match record.join.and_then(|join| join.max_sessions) {
                Some(max_sessions) => group::limit(&transaction, key, max_sessions, now)?,
                None => None,
            };
            room::commit(transaction)?;
            self.sweep_group(sqlite, surplus, call);
            Ok(state.info(now))
        })
    }

    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Option<Record>, StoreError> {
        self.with(call, |sqlite| {
            let now = self.now();
            let found = match read(sqlite, key, now)? {
                Some(found) => Some((found, key.id)),
                None => read_forwarded(&sqlite.transaction()?, key, now)?,
            };
            let Some(((state, group_name, values), mut id)) = found else { return Ok(None) };
            let Some(state) = state.alive(lifetime, now) else { return Ok(None) };
            let (mut info, mut refreshed) = (state.info(now), false);
            if state.is_refresh_due(lifetime.refresh, now) {
                // A refresh that cannot be written does not fail the load, nor take all of its time.
                wait_for_locks_until(call.deadline.halfway());
                match self.extend(sqlite, &RecordKey { id, ..*key }, lifetime) {
                    Ok(Some((extended, now_id))) => {
                        // What was read is of its own version, whatever was written since.
                        info = RecordInfo { version: info.version, ..extended };
                        (id, refreshed) = (now_id, true);
                    }
                    Ok(None) => return Ok(None),
                    Err(error) => log::debug!("session {}: not refreshed: {error}", key.id),
                }
            }
            let forwarded_to = (id != key.id).then_some(id);
            Ok(Some(Record { info, values, group_name, refreshed, forwarded_to }))
        })
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Refusal> {
        self.with(call, |sqlite| {
            let transaction = sqlite.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let now = self.now();
            let found = find_for(&transaction, key, update, call, now)?;
            let Found { serial, size, state, forwarded_to } = found;
            let mut state = state.alive(&update.lifetime, now).ok_or(Failure::Refused(Refusal::Gone))?;
            let mut surplus = None;
            if !state.knows(call.nonce) {
                state = state.after(key, update, call, now).map_err(Failure::Refused)?;
                if let Some((key, json)) = update.holds
                    && get(&transaction, serial, key)?.is_none_or(|held| held != json)
                {
                    return Err(Failure::Refused(Refusal::Conflict));
                }
                let size_after = change_values(&transaction, serial, size, update.changes)?;
                update.check_size(size, size_after).map_err(Failure::Refused)?;
                transaction
                    .prepare_cached(
                        "UPDATE sessions SET version = ?2, keys = ?3, size = ?4, nonces = ?5 WHERE serial = ?1",
                    )?
                    .execute(params![
                        serial,
                        state.version as i64,
                        size_after.keys as i64,
                        size_after.bytes as i64,
                        &state.nonces
                    ])?;
                // Apart from that, for the sake of the indexes: most updates change neither key nor expiry.
                if update.changes.idle_timeout.is_some() || update.new_key.is_some() {
                    write_life(&transaction, serial, &state)?;
                }
                if let Some(new_key) = &update.new_key {
                    move_to(&transaction, serial, new_key, update, &state)?;
                    if new_key.tag == key.tag {
                        forward(&transaction, key, new_key.id, now, update.grace)?;
                    }
                    if let Some(max_sessions) = update.join.and_then(|join| join.max_sessions) {
                        surplus = group::limit(&transaction, new_key, max_sessions, now)?;
                    }
                }
            }
            let mut totals = Vec::new();
            for (key, _) in update.changes.increments() {
                if let Some(total) = get(&transaction, serial, key)?.and_then(|json| json.parse().ok()) {
                    totals.push((key.to_owned(), total));
                }
            }
            room::commit(transaction)?;
            self.sweep_group(sqlite, surplus, call);
            Ok(Updated { info: state.info(now), totals, forwarded_to })
        })
    }

    fn delete(&self, key: &RecordKey<'_>, call: &Call) -> Result<bool, StoreError> {
        self.end_with(call, |sqlite| {
            let now = self.now();
            let transaction = sqlite.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut was_alive = end(&transaction, key, now)?;
            if was_alive.is_none()
                && let Some(key) = forwarded(&transaction, key, Purpose::End, now)?
            {
                was_alive = end(&transaction, &key, now)?;
            }
            transaction.commit()?;
            Ok(was_alive.unwrap_or(false))
        })
    }

    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], call: &Call) -> Result<Vec<SessionInfo>, StoreError> {
        self.with(call, |sqlite| Ok(group::sessions(sqlite, group, keys, self.now())?))
    }

    fn group_len(&self, group: &GroupKey<'_>, call: &Call) -> Result<usize, StoreError> {
        self.with(call, |sqlite| Ok(group::len(sqlite, group, self.now())?))
    }

    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, call: &Call) -> Result<u64, StoreError> {
        self.end_with(call, |sqlite| {
            let (ended, old_serial) = group::end(sqlite, group, except, self.now())?;
            self.sweep_group(sqlite, old_serial, call);
            Ok(ended)
        })
    }

    fn clear_namespace(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        self.end_with(call, |sqlite| {
            if let Some(serial) = namespace::end(sqlite, namespace)? {
                namespace::sweep(sqlite, serial, self.now(), call.deadline.halfway());
            }
            Ok(())
        })
    }

    fn ping(&self, call: &Call) -> Result<(), StoreError> {
        self.with(call, |sqlite| {
            sqlite.prepare_cached("SELECT 1 FROM sessions LIMIT 1")?.exists([])?;
            Ok(())
        })
    }

    fn before_fork(&self) -> ForkGuard {
        let patience = self.patience * 2;
        // What another store of this process has open would make the child mistrust this one, too.
        let (guard, quiet) = stores::hold_all_back(Deadline::after(patience));
        if !quiet {
            warn_of_calls(patience);
        }
        guard
    }

    fn stats(&self) -> Stats {
        self.counters.stats(self.pool_size)
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite://{}", self.path.display())
    }
}

/// A live record, without its values.
struct Found {
    serial: i64,
    size: Size,
    state: RecordState,
    /// The id that it has now, if it was looked for under another.
    forwarded_to: Option<PublicId>,
}

/// Clears some of the sessions away that have ended, and of the ids that lead nowhere any more.
fn clear_away(sqlite: &rusqlite::Connection, now: SystemTime, most: i64) -> rusqlite::Result<()> {
    sqlite
        .prepare_cached(
            "DELETE FROM sessions WHERE serial IN
             (SELECT serial FROM sessions WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        )?
        .execute(params![milliseconds(now), most])?;
    purge(sqlite, now)?;
    trace::purge(sqlite, now)?;
    Ok(())
}

fn find(transaction: &Transaction<'_>, key: &RecordKey<'_>, now: SystemTime) -> rusqlite::Result<Option<Found>> {
    transaction
        .prepare_cached(concat!(
            "SELECT version, created, joined, began, refreshed, ends, idle, own_idle, expires, nonces, serial, keys, size
             FROM sessions WHERE ",
            is_live!(),
        ))?
        .query_row(selector(key, now), |row| {
            let size = Size { keys: unsigned(row, 11)? as usize, bytes: unsigned(row, 12)? as usize };
            Ok(Found { serial: row.get(10)?, size, state: state(row)?, forwarded_to: None })
        })
        .optional()
}

/// The record that an update is for: under its new key already, if this call was made before.
fn find_for(
    transaction: &Transaction<'_>,
    key: &RecordKey<'_>,
    update: &Update<'_>,
    call: &Call,
    now: SystemTime,
) -> Result<Found, Failure<Refusal>> {
    if let Some(new_key) = &update.new_key
        && let Some(found) = find(transaction, new_key, now)?
    {
        return if found.state.knows(call.nonce) { Ok(found) } else { Err(Failure::Refused(Refusal::IdTaken)) };
    }
    // An id that leads elsewhere cannot be replaced once more.
    let found = match update.new_key {
        None => find_forwarded(transaction, key, now)?,
        Some(_) => find(transaction, key, now)?.map(|found| (found, key.id)),
    };
    let (found, id) = found.ok_or(Failure::Refused(Refusal::Gone))?;
    Ok(Found { forwarded_to: (id != key.id).then_some(id), ..found })
}

/// A live record, wherever it has gone, and the id that it has now.
fn find_forwarded(
    transaction: &Transaction<'_>,
    key: &RecordKey<'_>,
    now: SystemTime,
) -> rusqlite::Result<Option<(Found, PublicId)>> {
    if let Some(found) = find(transaction, key, now)? {
        return Ok(Some((found, key.id)));
    }
    let Some(key) = forwarded(transaction, key, Purpose::Use, now)? else { return Ok(None) };
    Ok(find(transaction, &key, now)?.map(|found| (found, key.id)))
}

/// Writes down how long a record lives.
fn write_life(transaction: &Transaction<'_>, serial: i64, state: &RecordState) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "UPDATE sessions SET began = ?2, ends = ?3, idle = ?4, own_idle = ?5, expires = ?6, refreshed = ?7
             WHERE serial = ?1",
        )?
        .execute(params![
            serial,
            milliseconds(state.began_at),
            state.ends_at.map(milliseconds),
            state.idle_timeout.as_millis() as i64,
            state.has_own_idle_timeout,
            milliseconds(state.expires_at),
            state.refreshed_at.map(milliseconds),
        ])
}

/// Moves a record to its new key.
fn move_to(
    transaction: &Transaction<'_>,
    serial: i64,
    new_key: &RecordKey<'_>,
    update: &Update<'_>,
    state: &RecordState,
) -> rusqlite::Result<()> {
    // Nothing alive is there; what has expired may not be cleared away yet.
    remove(transaction, new_key)?;
    let (in_group, name) = (group::serial(transaction, new_key)?, update.join.map(|join| join.name));
    let join_order = match update.join {
        Some(_) => Some(group::next_in_order(transaction, in_group)?),
        None => (in_group == 0).then_some(0),
    };
    transaction
        .prepare_cached(
            "UPDATE sessions
             SET id = ?2, in_group = ?3, joined = ?4, group_name = iif(?3 = 0, NULL, ifnull(?5, group_name)),
                 join_order = ifnull(?6, join_order)
             WHERE serial = ?1",
        )?
        .execute(params![
            serial,
            new_key.id.as_bytes(),
            in_group,
            state.joined_at.map(milliseconds),
            name,
            join_order
        ])?;
    Ok(())
}

/// What a record holds: how it stands, the name of its group, its values.
type Contents = (RecordState, Option<String>, Values);

/// What a record holds, wherever it has gone, and the id that it has now.
fn read_forwarded(
    transaction: &Transaction<'_>,
    key: &RecordKey<'_>,
    now: SystemTime,
) -> rusqlite::Result<Option<(Contents, PublicId)>> {
    let Some(key) = forwarded(transaction, key, Purpose::Use, now)? else { return Ok(None) };
    Ok(read(transaction, &key, now)?.map(|contents| (contents, key.id)))
}

/// One statement, so that what it reads is of one moment.
fn read(sqlite: &rusqlite::Connection, key: &RecordKey<'_>, now: SystemTime) -> rusqlite::Result<Option<Contents>> {
    let mut statement = sqlite.prepare_cached(concat!(
        "SELECT version, created, joined, began, refreshed, ends, idle, own_idle, expires, nonces, group_name, key, json
         FROM sessions LEFT JOIN session_values ON session = serial WHERE ",
        is_live!(),
    ))?;
    let mut rows = statement.query(selector(key, now))?;
    let (mut found, mut values) = (None, Values::new());
    while let Some(row) = rows.next()? {
        if found.is_none() {
            found = Some((state(row)?, row.get(10)?));
        }
        if let Some(key) = row.get(11)? {
            values.insert(key, row.get(12)?);
        }
    }
    Ok(found.map(|(state, group_name)| (state, group_name, values)))
}

/// The serial of the group of the tag `?2`, as SQL; NULL where there is none.
macro_rules! in_group {
    () => {
        "iif(?2 = x'', 0, (SELECT groups.serial FROM groups WHERE groups.tag = ?2))"
    };
}
use in_group;

/// The next serial of a table, as SQL; NULL lets SQLite give it. Where that would be beyond all numbers, somebody wrote
/// it, and a random one does.
macro_rules! next_serial {
    ($table:literal) => {
        concat!(
            "iif(max(ifnull((SELECT max(seq) FROM sqlite_sequence WHERE name = '",
            $table,
            "'), 0), ifnull((SELECT max(serial) FROM ",
            $table,
            "), 0)) < 1 << 62, NULL, (random() & ((1 << 62) - 1)) + 1)"
        )
    };
}
use next_serial;

/// What holds for the live record that a [`selector`] names, as SQL.
macro_rules! is_live {
    () => {
        concat!(
            "id = ?1 AND in_group = ",
            in_group!(),
            " AND expires > ?3 AND namespace = (SELECT namespaces.serial FROM namespaces WHERE namespaces.name = ?4)"
        )
    };
}
use is_live;

/// What names a live record.
fn selector<'a>(key: &'a RecordKey<'_>, now: SystemTime) -> impl rusqlite::Params + 'a {
    (key.id.as_bytes(), tag(key), milliseconds(now), key.namespace)
}

fn tag<'a>(key: &'a RecordKey<'_>) -> &'a [u8] {
    key.tag.as_ref().map_or(&[], |tag| tag.as_bytes())
}

fn remove(sqlite: &rusqlite::Connection, key: &RecordKey<'_>) -> rusqlite::Result<usize> {
    sqlite
        .prepare_cached(concat!("DELETE FROM sessions WHERE id = ?1 AND in_group = ", in_group!()))?
        .execute(params![key.id.as_bytes(), tag(key)])
}

/// Removes a record, be it damaged. Says whether it was alive; `None` if there was none.
fn end(transaction: &Transaction<'_>, key: &RecordKey<'_>, now: SystemTime) -> rusqlite::Result<Option<bool>> {
    let serial = transaction
        .prepare_cached(concat!("SELECT serial FROM sessions WHERE id = ?1 AND in_group = ", in_group!()))?
        .query_row((key.id.as_bytes(), tag(key)), |row| row.get(0))
        .optional()?;
    if let Some(serial) = serial {
        trace::leave(transaction, serial, now)?;
    }
    transaction
        .prepare_cached(concat!(
            "DELETE FROM sessions WHERE id = ?1 AND in_group = ",
            in_group!(),
            " RETURNING expires > ?3 AND namespace IN (SELECT namespaces.serial FROM namespaces)",
        ))?
        .query_row((key.id.as_bytes(), tag(key), milliseconds(now)), |row| row.get(0))
        .optional()
}

/// From the first columns of a row: version, created, joined, began, refreshed, ends, idle, own_idle, expires, nonces.
fn state(row: &Row<'_>) -> rusqlite::Result<RecordState> {
    let optional_time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(time));
    Ok(RecordState {
        version: unsigned(row, 0)?,
        created_at: time(row.get(1)?),
        joined_at: optional_time(2)?,
        began_at: time(row.get(3)?),
        refreshed_at: optional_time(4)?,
        ends_at: optional_time(5)?,
        idle_timeout: Duration::from_millis(unsigned(row, 6)?),
        has_own_idle_timeout: row.get(7)?,
        expires_at: time(row.get(8)?),
        nonces: row.get(9)?,
    })
}

/// A number that we never write below zero, nor near the end of its range.
fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number)
        .ok()
        .filter(|number| *number < 1 << 60)
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// Applies the changes to the values, and gives how large they are then.
fn change_values(
    transaction: &Transaction<'_>,
    serial: i64,
    mut total: Size,
    changes: &ChangeSet,
) -> Result<Size, Failure<Refusal>> {
    if changes.clear {
        transaction.prepare_cached("DELETE FROM session_values WHERE session = ?1")?.execute([serial])?;
        total = Size::default();
    }
    for (key, change) in &changes.keys {
        let before = get(transaction, serial, key)?;
        if let Some(json) = &before {
            total.keys = total.keys.saturating_sub(1);
            total.bytes = total.bytes.saturating_sub(size(key, json));
        }
        let sum;
        let json = match change {
            Change::Remove => {
                transaction
                    .prepare_cached("DELETE FROM session_values WHERE session = ?1 AND key = ?2")?
                    .execute(params![serial, key])?;
                continue;
            }
            Change::Set(json) => json,
            Change::Increment(by) => {
                sum = add(key, before.as_deref(), *by).map_err(Failure::Refused)?.to_string();
                &sum
            }
        };
        set(transaction, serial, key, json)?;
        total.keys += 1;
        total.bytes = total.bytes.saturating_add(size(key, json));
    }
    Ok(total)
}

fn get(transaction: &Transaction<'_>, serial: i64, key: &str) -> rusqlite::Result<Option<String>> {
    transaction
        .prepare_cached("SELECT json FROM session_values WHERE session = ?1 AND key = ?2")?
        .query_row(params![serial, key], |row| row.get(0))
        .optional()
}

fn set(transaction: &Transaction<'_>, serial: i64, key: &str, json: &str) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "INSERT INTO session_values (session, key, json) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET json = excluded.json",
        )?
        .execute(params![serial, key, json])
}

fn milliseconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

fn time(milliseconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds.max(0) as u64)
}
