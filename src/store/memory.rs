//! Sessions in the memory of this process.

use crate::end_reason::EndReason;
use crate::error::{StoreError, StoreErrorKind};
use crate::id::PublicId;
use crate::lifetime::Lifetime;
use crate::process::Process;
use crate::store::call::Call;
use crate::store::entries::Entries;
use crate::store::entry::Entry;
use crate::store::group_update::GroupUpdate;
use crate::store::group_values::GroupValues;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::maintained_entries::MaintainedEntries;
use crate::store::maintenance::{Figure, Finding, Located, Maintenance, Page, Purged, Scan};
use crate::store::record::{Cleared, Created, Loaded, NewRecord, SessionInfo, Values};
use crate::store::refusal::Refusal;
use crate::store::restore::Restored;
use crate::store::store_trait::Store;
use crate::store::stored_record::StoredRecord;
use crate::store::update::{Update, Updated};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Keeps sessions in the memory of the one process that made it: for examples, tests and single-process servers.
///
/// `store_url("memory:")` makes one. Sessions end with the process. Processes cannot share this memory. So a process
/// that was forked from the one that made the store gets [`StoreErrorKind::Forked`].
///
/// # Examples
/// ```
/// use multi_process_session::{MemoryStore, Secret, SessionManager};
///
/// let manager = SessionManager::builder(Secret::generate()?).store(MemoryStore::new()).build()?;
/// # Ok::<(), multi_process_session::ConfigError>(())
/// ```
pub struct MemoryStore {
    process: Process,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    map: Mutex<Map>,
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> MemoryStore {
        MemoryStore::with_clock(SystemTime::now)
    }

    /// Makes an empty store that takes the time from `clock`, so that tests can let timeouts pass.
    pub fn with_clock(clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> MemoryStore {
        MemoryStore { process: Process::this(), clock: Box::new(clock), map: Mutex::default() }
    }

    fn lock(&self) -> Result<(MutexGuard<'_, Map>, SystemTime), StoreError> {
        if !self.process.is_this() {
            return Err(StoreError::new(
                StoreErrorKind::Forked,
                "sessions in memory belong to the process that made the store, and this one was forked from it; \
                 use SQLite or Redis, or make the manager after forking",
            ));
        }
        // Even if the lock is poisoned, the map is whole: nothing panics between two changes.
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)();
        map.sweep(now);
        Ok((map, now))
    }
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl Store for MemoryStore {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<Created, Refusal> {
        let (mut map, now) = self.lock()?;
        map.create(key, record, call, now)
    }

    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, _: &Call) -> Result<Loaded, StoreError> {
        let (mut map, now) = self.lock()?;
        map.load(key, lifetime, now)
    }

    fn peek(&self, key: &RecordKey<'_>, lifetime: &Lifetime, _: &Call) -> Result<Loaded, StoreError> {
        let (map, now) = self.lock()?;
        map.peek(key, lifetime, now)
    }

    fn present_ids(
        &self,
        keys: &[RecordKey<'_>],
        lifetime: &Lifetime,
        _: &Call,
    ) -> Result<Vec<Option<PublicId>>, StoreError> {
        let (map, now) = self.lock()?;
        map.present_ids(keys, lifetime, now)
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Refusal> {
        let (mut map, now) = self.lock()?;
        map.update(key, update, call, now)
    }

    fn delete(&self, key: &RecordKey<'_>, reason: EndReason, _: &Call) -> Result<Option<PublicId>, StoreError> {
        let (mut map, now) = self.lock()?;
        map.delete(key, reason, now)
    }

    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], _: &Call) -> Result<Vec<SessionInfo>, StoreError> {
        let (map, now) = self.lock()?;
        map.group_sessions(group, keys, now)
    }

    fn group_len(&self, group: &GroupKey<'_>, _: &Call) -> Result<usize, StoreError> {
        let (map, now) = self.lock()?;
        map.group_len(group, now)
    }

    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, _: &Call) -> Result<Cleared, StoreError> {
        let (mut map, now) = self.lock()?;
        map.clear_group(group, except, now)
    }

    fn group_values(&self, group: &GroupKey<'_>, _: &Call) -> Result<Values, StoreError> {
        let (map, now) = self.lock()?;
        map.group_values(group, now)
    }

    fn update_group(&self, group: &GroupKey<'_>, update: &GroupUpdate<'_>, call: &Call) -> Result<(), Refusal> {
        let (mut map, now) = self.lock()?;
        map.update_group(group, update, call, now)
    }

    fn clear_namespace(&self, namespace: &str, _: &Call) -> Result<(), StoreError> {
        let (mut map, now) = self.lock()?;
        map.clear_namespace(namespace, now)
    }

    fn ping(&self, _: &Call) -> Result<(), StoreError> {
        self.lock().map(drop)
    }
}

impl Maintenance for MemoryStore {
    fn scan(&self, scan: &Scan<'_>, _: &Call) -> Result<Page, StoreError> {
        let (map, now) = self.lock()?;
        map.scan(scan, now)
    }

    fn find(&self, namespace: &str, id: PublicId, _: &Call) -> Result<Option<Located>, StoreError> {
        let (map, now) = self.lock()?;
        map.find(namespace, id, now)
    }

    fn read(
        &self,
        namespace: &str,
        places: &[Located],
        with_values: bool,
        _: &Call,
    ) -> Result<Vec<(Located, StoredRecord)>, StoreError> {
        let (map, now) = self.lock()?;
        map.read(namespace, places, with_values, now)
    }

    fn restore(&self, key: &RecordKey<'_>, record: &StoredRecord, _: &Call) -> Result<Restored, StoreError> {
        let (mut map, now) = self.lock()?;
        map.restore(key, record, now)
    }

    fn read_group(&self, group: &GroupKey<'_>, _: &Call) -> Result<GroupValues, StoreError> {
        let (map, now) = self.lock()?;
        map.read_group(group, now)
    }

    fn restore_group(&self, group: &GroupKey<'_>, values: &GroupValues, _: &Call) -> Result<Restored, StoreError> {
        let (mut map, now) = self.lock()?;
        map.restore_group(group, values, now)
    }

    fn purge(&self, namespace: &str, _: &Call) -> Result<Purged, StoreError> {
        let (mut map, now) = self.lock()?;
        map.purge(namespace, now)
    }

    /// Returns nothing: this store has no settings.
    fn findings(&self, _: &str, _: &Call) -> Result<Vec<Finding>, StoreError> {
        self.lock().map(|_| Vec::new())
    }

    fn figures(&self, _: &Call) -> Result<Vec<Figure>, StoreError> {
        let (map, _) = self.lock()?;
        Ok(vec![Figure { name: "entries".to_owned(), value: map.entries.len() as f64 }])
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory:")
    }
}

/// All entries, by name.
#[derive(Default)]
struct Map {
    entries: BTreeMap<String, Entry>,
    /// The number of entries at which the outdated ones are removed.
    sweep_at: usize,
}

impl Map {
    /// Removes outdated entries when there are twice as many entries as the last time left.
    fn sweep(&mut self, now: SystemTime) {
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, entry| entry.outdated_at() > now);
            self.sweep_at = (self.entries.len() * 2).max(64);
        }
    }
}

impl Entries for Map {
    fn get(&self, name: &str) -> Result<Option<Entry>, StoreError> {
        Ok(self.entries.get(name).cloned())
    }

    fn put(&mut self, name: &str, entry: Entry) -> Result<(), StoreError> {
        self.entries.insert(name.to_owned(), entry);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), StoreError> {
        self.entries.remove(name);
        Ok(())
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let from_prefix = self.entries.range(prefix.to_owned()..).map(|(name, _)| name);
        Ok(from_prefix.take_while(|name| name.starts_with(prefix)).cloned().collect())
    }
}
