//! Counts the calls to a store, and logs damaged records.

use crate::end_reason::EndReason;
use crate::error::{StoreError, StoreErrorKind};
use crate::id::PublicId;
use crate::lifetime::Lifetime;
use crate::store::call::Call;
use crate::store::fork_guard::ForkGuard;
use crate::store::group_update::GroupUpdate;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::{Cleared, Created, Loaded, NewRecord, SessionInfo, Values};
use crate::store::refusal::Refusal;
use crate::store::stats::{Counter, Counters, Stats};
use crate::store::store_trait::Store;
use crate::store::update::{Update, Updated};
use crate::throttle::Throttle;
use log::Level;
use std::fmt;
use std::time::Instant;

/// Passes each call on to a store, counts it, and logs the damaged records that it finds.
pub(crate) struct CountedStore {
    store: Box<dyn Store>,
    counters: Counters,
    damage: Throttle,
}

impl CountedStore {
    pub(crate) fn new(store: Box<dyn Store>) -> CountedStore {
        CountedStore { store, counters: Counters::default(), damage: Throttle::default() }
    }

    /// Adds to a counter. Callers use this for events outside of the store, and for what the answers of the store show.
    pub(crate) fn add(&self, counter: Counter, number: u64) {
        if number > 0 {
            self.counters.add(counter, number);
        }
    }

    /// Makes a call, and counts it, its duration, and its error if there is one.
    fn count<R>(&self, id: Option<PublicId>, call: impl FnOnce() -> Result<R, StoreError>) -> Result<R, StoreError> {
        self.time(call).inspect_err(|error| self.count_error(id, error))
    }

    fn count_refusable<R>(
        &self,
        id: Option<PublicId>,
        call: impl FnOnce() -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        self.time(call).inspect_err(|error| {
            if let Refusal::Fault(error) = error {
                self.count_error(id, error);
            }
        })
    }

    fn time<R>(&self, call: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let answer = call();
        self.counters.count_call(start.elapsed());
        answer
    }

    /// Counts an error, and logs it if a record is damaged. Callers use this for damage that the store cannot see.
    pub(crate) fn count_error(&self, id: Option<PublicId>, error: &StoreError) {
        self.counters.add(Counter::Error(error.kind()), 1);
        if let (StoreErrorKind::Corrupt, Some(id)) = (error.kind(), id) {
            self.damage.log(Level::Error, format_args!("session {id}: {error}"));
        }
    }
}

impl Store for CountedStore {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<Created, Refusal> {
        let created = self.count_refusable(Some(key.id), || self.store.create(key, record, call));
        created.inspect(|_| self.add(Counter::Created, 1))
    }

    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError> {
        let loaded = self.count(Some(key.id), || self.store.load(key, lifetime, call));
        loaded.inspect(|loaded| {
            let refreshed = matches!(loaded, Loaded::Record(record) if record.refreshed);
            self.add(Counter::Refreshed, refreshed.into());
        })
    }

    fn peek(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError> {
        self.count(Some(key.id), || self.store.peek(key, lifetime, call))
    }

    fn present_ids(
        &self,
        keys: &[RecordKey<'_>],
        lifetime: &Lifetime,
        call: &Call,
    ) -> Result<Vec<Option<PublicId>>, StoreError> {
        self.count(None, || self.store.present_ids(keys, lifetime, call))
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Refusal> {
        self.count_refusable(Some(key.id), || self.store.update(key, update, call))
    }

    fn delete(&self, key: &RecordKey<'_>, reason: EndReason, call: &Call) -> Result<Option<PublicId>, StoreError> {
        let ended = self.count(Some(key.id), || self.store.delete(key, reason, call));
        ended.inspect(|ended| self.add(Counter::Ended, ended.is_some().into()))
    }

    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], call: &Call) -> Result<Vec<SessionInfo>, StoreError> {
        self.count(None, || self.store.group_sessions(group, keys, call))
    }

    fn group_len(&self, group: &GroupKey<'_>, call: &Call) -> Result<usize, StoreError> {
        self.count(None, || self.store.group_len(group, call))
    }

    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, call: &Call) -> Result<Cleared, StoreError> {
        let ended = self.count(None, || self.store.clear_group(group, except, call));
        ended.inspect(|cleared| self.add(Counter::Ended, cleared.number))
    }

    fn group_values(&self, group: &GroupKey<'_>, call: &Call) -> Result<Values, StoreError> {
        self.count(None, || self.store.group_values(group, call))
    }

    fn update_group(&self, group: &GroupKey<'_>, update: &GroupUpdate<'_>, call: &Call) -> Result<(), Refusal> {
        self.count_refusable(None, || self.store.update_group(group, update, call))
    }

    fn clear_namespace(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        self.count(None, || self.store.clear_namespace(namespace, call))
    }

    fn check_writes(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        self.count(None, || self.store.check_writes(namespace, call))
    }

    fn ping(&self, call: &Call) -> Result<(), StoreError> {
        self.count(None, || self.store.ping(call))
    }

    fn before_fork(&self) -> ForkGuard {
        self.store.before_fork()
    }

    fn stats(&self) -> Stats {
        // The store itself counts its connections and requests. All other counters are here.
        let Stats {
            since,
            calls,
            call_durations,
            errors,
            created,
            refreshed,
            ended,
            not_found,
            gone,
            conflicts,
            refused,
            tossed,
            ..
        } = self.counters.stats(0);
        Stats {
            since,
            calls,
            call_durations,
            errors,
            created,
            refreshed,
            ended,
            not_found,
            gone,
            conflicts,
            refused,
            tossed,
            ..self.store.stats()
        }
    }
}

impl fmt::Debug for CountedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}
