//! Sessions in the memory of this process.

use super::standing::Standing;
use super::{Call, NewRecord, Record, RecordInfo, RecordKey, Store, Update, Updated, Values, total_size};
use crate::lifetime::Refresh;
use crate::token::{GroupTag, PublicId};
use crate::{Error, StoreError, StoreErrorKind};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

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
    records: HashMap<Key, Kept>,
    /// How many records there may be before the dead ones are cleared away.
    sweep_at: usize,
}

type Key = (PublicId, Option<GroupTag>);

struct Kept {
    standing: Standing,
    values: Values,
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
                 use SQLite or Redis, or make the manager after forking",
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

impl Shelf {
    fn live(&mut self, key: Key, now: SystemTime) -> Option<&mut Kept> {
        self.records.get_mut(&key).filter(|kept| kept.standing.is_live(now))
    }

    /// Clears the dead away each time the number of records has doubled.
    fn sweep(&mut self, now: SystemTime) {
        if self.records.len() >= self.sweep_at {
            self.records.retain(|_, kept| kept.standing.is_live(now));
            self.sweep_at = (self.records.len() * 2).max(64);
        }
    }
}

impl Kept {
    fn apply(&mut self, update: &Update<'_>, call: &Call, now: SystemTime) -> Result<(), Error> {
        if self.standing.knows(call.nonce) {
            return Ok(());
        }
        let standing = self.standing.clone().after(update, call, now)?;
        if update.holds.is_some_and(|(key, json)| self.values.get(key).is_none_or(|held| held != json)) {
            return Err(Error::Conflict);
        }
        let values = update.changes.apply(&self.values)?;
        update.check_size(total_size(&self.values), total_size(&values))?;
        (self.standing, self.values) = (standing, values);
        Ok(())
    }

    fn integer(&self, key: &str) -> Option<i64> {
        self.values.get(key)?.parse().ok()
    }
}

impl Store for MemoryStore {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord, call: &Call) -> Result<Option<RecordInfo>, Error> {
        record.check_size()?;
        let (mut shelf, now) = self.open()?;
        if let Some(kept) = shelf.live((key.id, key.tag), now) {
            return Ok(kept.standing.knows(call.nonce).then(|| kept.standing.info(now)));
        }
        let standing = Standing::new(record, call, now);
        let info = standing.info(now);
        shelf.sweep(now);
        shelf.records.insert((key.id, key.tag), Kept { standing, values: record.values.clone() });
        Ok(Some(info))
    }

    fn load(&self, key: &RecordKey<'_>, refresh: Refresh, _: &Call) -> Result<Option<Record>, StoreError> {
        let (mut shelf, now) = self.open()?;
        Ok(shelf.live((key.id, key.tag), now).map(|kept| {
            let refreshed = kept.standing.refresh(refresh, now);
            Record { info: kept.standing.info(now), values: kept.values.clone(), refreshed }
        }))
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Error> {
        let (mut shelf, now) = self.open()?;
        let new_key = update.new_key.map(|key| (key.id, key.tag));
        let mut key = (key.id, key.tag);
        if let Some(new_key) = new_key
            && let Some(kept) = shelf.live(new_key, now)
        {
            if !kept.standing.knows(call.nonce) {
                return Err(Error::id_taken());
            }
            key = new_key; // This call was made before.
        }
        let kept = shelf.live(key, now).ok_or(Error::Gone)?;
        kept.apply(update, call, now)?;
        let totals = update.changes.increments().filter_map(|(key, _)| Some((key.to_owned(), kept.integer(key)?)));
        let updated = Updated { info: kept.standing.info(now), totals: totals.collect() };
        if let Some(new_key) = new_key
            && let Some(kept) = shelf.records.remove(&key)
        {
            shelf.records.insert(new_key, kept);
        }
        Ok(updated)
    }

    fn delete(&self, key: &RecordKey<'_>, _: &Call) -> Result<(), StoreError> {
        self.open()?.0.records.remove(&(key.id, key.tag));
        Ok(())
    }

    fn ping(&self, _: &Call) -> Result<(), StoreError> {
        self.open().map(drop)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory:")
    }
}
