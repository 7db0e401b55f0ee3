//! Sessions in the memory of this process.

use super::{Call, NewRecord, Nonce, Record, RecordInfo, RecordKey, Store, Update, Updated, Values, size};
use crate::lifetime::Refresh;
use crate::token::PublicId;
use crate::{Error, StoreError, StoreErrorKind};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// How many nonces a record remembers.
const REMEMBERED: usize = 8;

/// Keeps sessions in the memory of the one process that made it: for examples, tests and single-process servers.
///
/// `store_url("memory:")` makes one. Sessions end with the process. Memory cannot be shared, so a process forked from
/// the one that made it gets [`StoreErrorKind::Forked`] instead of sessions that no other worker sees.
///
/// # Examples
/// ```
/// use multi_process_session::{MemoryStore, Secret, SessionManager};
///
/// let manager = SessionManager::builder(Secret::generate()?).store(MemoryStore::new()).build()?;
/// # Ok::<(), multi_process_session::ConfigError>(())
/// ```
pub struct MemoryStore {
    process: u32,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    records: HashMap<PublicId, Kept>,
    /// How many records there may be before the dead ones are cleared away.
    sweep_at: usize,
}

struct Kept {
    values: Values,
    version: u64,
    created_at: SystemTime,
    ends_at: Option<SystemTime>,
    idle_timeout: Duration,
    expires_at: SystemTime,
    nonces: VecDeque<Nonce>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> MemoryStore {
        MemoryStore::with_clock(SystemTime::now)
    }

    /// An empty store that takes the time from `clock`, so that tests can let timeouts pass.
    pub fn with_clock(clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> MemoryStore {
        MemoryStore { process: std::process::id(), clock: Box::new(clock), shelf: Mutex::default() }
    }

    fn open(&self) -> Result<(MutexGuard<'_, Shelf>, SystemTime), StoreError> {
        if std::process::id() != self.process {
            return Err(StoreError::new(
                StoreErrorKind::Forked,
                "sessions in memory belong to the process that made the store, and this one was forked from it; \
                 use Redis, or make the manager after forking",
            ));
        }
        // A poisoned shelf is sound: nothing panics between two writes.
        Ok((self.shelf.lock().unwrap_or_else(PoisonError::into_inner), (self.clock)()))
    }
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory:")
    }
}

impl Shelf {
    fn live(&mut self, key: &RecordKey<'_>, now: SystemTime) -> Option<&mut Kept> {
        self.records.get_mut(&key.id).filter(|kept| kept.expires_at > now)
    }

    /// Clears the dead away each time the number of records has doubled.
    fn sweep(&mut self, now: SystemTime) {
        if self.records.len() >= self.sweep_at {
            self.records.retain(|_, kept| kept.expires_at > now);
            self.sweep_at = (self.records.len() * 2).max(64);
        }
    }
}

impl Kept {
    fn info(&self, now: SystemTime) -> RecordInfo {
        RecordInfo {
            version: self.version,
            created_at: self.created_at,
            ends_at: self.ends_at,
            idle_timeout: self.idle_timeout,
            expires_at: self.expires_at,
            expires_in: self.left(now),
        }
    }

    fn left(&self, now: SystemTime) -> Duration {
        self.expires_at.duration_since(now).unwrap_or_default()
    }

    /// Gives it a full life from now, within its absolute timeout.
    fn extend(&mut self, refresh: Refresh, now: SystemTime) {
        let full = now + refresh.stored_life(self.idle_timeout);
        self.expires_at = self.ends_at.map_or(full, |end| end.min(full));
    }

    fn integer(&self, key: &str) -> Option<i64> {
        self.values.get(key)?.parse().ok()
    }

    fn remember(&mut self, nonce: Nonce) {
        self.nonces.push_front(nonce);
        self.nonces.truncate(REMEMBERED);
    }

    fn apply(&mut self, update: &Update<'_>, call: &Call, now: SystemTime) -> Result<(), Error> {
        if self.nonces.contains(&call.nonce) {
            return Ok(());
        }
        if update.expected.is_some_and(|expected| expected != self.version) {
            return Err(Error::Conflict);
        }
        let values = update.changes.apply(&self.values)?;
        let bytes = total_size(&values);
        if bytes > update.max_bytes && bytes > total_size(&self.values) {
            return Err(Error::too_large(update.changes.largest_key(), bytes, update.max_bytes));
        }
        self.values = values;
        self.version += 1;
        self.remember(call.nonce);
        self.idle_timeout = update.changes.idle_timeout.unwrap_or(self.idle_timeout);
        if update.changes.idle_timeout.is_some() || update.new_key.is_some() {
            self.extend(update.refresh, now);
        }
        Ok(())
    }
}

fn total_size(values: &Values) -> usize {
    values.iter().map(|(key, json)| size(key, json)).sum()
}

impl Store for MemoryStore {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord, call: &Call) -> Result<Option<RecordInfo>, Error> {
        let (mut shelf, now) = self.open()?;
        if let Some(kept) = shelf.live(key, now) {
            return Ok(kept.nonces.contains(&call.nonce).then(|| kept.info(now)));
        }
        record.check_size()?;
        let mut kept = Kept {
            values: record.values.clone(),
            version: 1,
            created_at: now,
            ends_at: record.absolute_timeout.map(|timeout| now + timeout),
            idle_timeout: record.idle_timeout,
            expires_at: now,
            nonces: VecDeque::from([call.nonce]),
        };
        kept.extend(record.refresh, now);
        let info = kept.info(now);
        shelf.sweep(now);
        shelf.records.insert(key.id, kept);
        Ok(Some(info))
    }

    fn load(&self, key: &RecordKey<'_>, refresh: Refresh, _: &Call) -> Result<Option<Record>, StoreError> {
        let (mut shelf, now) = self.open()?;
        Ok(shelf.live(key, now).map(|kept| {
            let before = kept.expires_at;
            if refresh.is_due(kept.left(now), kept.idle_timeout) {
                kept.extend(refresh, now);
            }
            Record { info: kept.info(now), values: kept.values.clone(), refreshed: kept.expires_at > before }
        }))
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Error> {
        let (mut shelf, now) = self.open()?;
        let mut id = key.id;
        if let Some(new_key) = &update.new_key
            && let Some(kept) = shelf.live(new_key, now)
        {
            if !kept.nonces.contains(&call.nonce) {
                return Err(Error::id_taken());
            }
            id = new_key.id; // This call was made before.
        }
        let kept = shelf.live(&RecordKey { id, ..*key }, now).ok_or(Error::Gone)?;
        kept.apply(update, call, now)?;
        let totals = update.changes.increments().filter_map(|(key, _)| Some((key.to_owned(), kept.integer(key)?)));
        let updated = Updated { info: kept.info(now), totals: totals.collect() };
        if let Some(new_key) = &update.new_key
            && let Some(kept) = shelf.records.remove(&id)
        {
            shelf.records.insert(new_key.id, kept);
        }
        Ok(updated)
    }

    fn delete(&self, key: &RecordKey<'_>, _: &Call) -> Result<(), StoreError> {
        self.open()?.0.records.remove(&key.id);
        Ok(())
    }

    fn ping(&self, _: &Call) -> Result<(), StoreError> {
        self.open().map(drop)
    }
}

impl NewRecord {
    /// Whether the values fit the limit.
    pub(crate) fn check_size(&self) -> Result<usize, Error> {
        let bytes = total_size(&self.values);
        if bytes > self.max_bytes {
            let largest = self.values.iter().max_by_key(|(key, json)| size(key, json));
            return Err(Error::too_large(largest.map_or("", |(key, _)| key), bytes, self.max_bytes));
        }
        Ok(bytes)
    }
}
