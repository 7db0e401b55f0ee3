//! What is counted on the way to the store.

use super::{Call, ForkGuard, GroupKey, NewRecord, Record, RecordInfo, RecordKey, Store, Update, Updated};
use crate::group::SessionInfo;
use crate::lifetime::Lifetime;
use crate::token::PublicId;
use crate::{Error, StoreError, StoreErrorKind};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What this process has done at its store since it was started or forked: for a metrics page.
///
/// All numbers but `pool_size` only grow. See [`SessionManager::stats`](crate::SessionManager::stats).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls to the store: loads, saves, logouts and all others.
    pub calls: u64,
    /// How many of them failed, by kind. What never happened is not in it.
    pub errors: BTreeMap<StoreErrorKind, u64>,
    /// How many connections this process may have open: at each node, in a cluster. 0 for stores that have none.
    pub pool_size: u32,
    /// Connections opened. Many of them tell of a server, or a network, that drops them.
    pub connections: u64,
    /// Calls that found all connections in use. If they are many, the pool is too small.
    pub waits: u64,
    /// How long they waited, together.
    pub waited: Duration,
    /// Requests made to a server: not counting what waits for replicas, and scripts that are sent in full once.
    pub round_trips: u64,
    /// Requests sent a second time to the same server, on a fresh connection.
    pub retries: u64,
}

/// Counters of this process: a forked child begins anew.
pub(crate) struct Counters {
    current: ArcSwap<Numbers>,
}

struct Numbers {
    process: u32,
    numbers: [AtomicU64; NUMBERS],
}

impl Numbers {
    fn of_this_process() -> Numbers {
        Numbers { process: std::process::id(), numbers: Default::default() }
    }
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { current: ArcSwap::from_pointee(Numbers::of_this_process()) }
    }
}

const NUMBERS: usize = 12;

#[derive(Clone, Copy)]
pub(crate) enum Counted {
    Calls,
    Connections,
    Waits,
    Waited, // in microseconds
    RoundTrips,
    Retries,
    Error(StoreErrorKind),
}

const KINDS: [StoreErrorKind; 6] = [
    StoreErrorKind::Unavailable,
    StoreErrorKind::Timeout,
    StoreErrorKind::Rejected,
    StoreErrorKind::Corrupt,
    StoreErrorKind::Forked,
    StoreErrorKind::Backend,
];

impl Counters {
    pub(crate) fn add(&self, what: Counted, number: u64) {
        self.with_number(what, |counter| counter.fetch_add(number, Ordering::Relaxed));
    }

    fn get(&self, what: Counted) -> u64 {
        self.with_number(what, |counter| counter.load(Ordering::Relaxed))
    }

    fn with_number(&self, what: Counted, work: impl FnOnce(&AtomicU64) -> u64) -> u64 {
        let mut current = self.current.load();
        while current.process != std::process::id() {
            // A fork made this a child. Of several threads that notice, one puts new counters in place.
            self.current.compare_and_swap(&current, Arc::new(Numbers::of_this_process()));
            current = self.current.load();
        }
        let at = match what {
            Counted::Calls => 0,
            Counted::Connections => 1,
            Counted::Waits => 2,
            Counted::Waited => 3,
            Counted::RoundTrips => 4,
            Counted::Retries => 5,
            Counted::Error(kind) => 6 + KINDS.iter().position(|other| *other == kind).unwrap_or(5),
        };
        work(&current.numbers[at])
    }

    pub(crate) fn stats(&self, pool_size: u32) -> Stats {
        let errors = KINDS.map(|kind| (kind, self.get(Counted::Error(kind))));
        Stats {
            calls: self.get(Counted::Calls),
            errors: errors.into_iter().filter(|(_, number)| *number > 0).collect(),
            pool_size,
            connections: self.get(Counted::Connections),
            waits: self.get(Counted::Waits),
            waited: Duration::from_micros(self.get(Counted::Waited)),
            round_trips: self.get(Counted::RoundTrips),
            retries: self.get(Counted::Retries),
        }
    }
}

/// A store whose calls are counted, and whose damaged records are logged.
pub(crate) struct Metered {
    store: Box<dyn Store>,
    counters: Counters,
}

impl Metered {
    pub(crate) fn new(store: Box<dyn Store>) -> Metered {
        Metered { store, counters: Counters::default() }
    }

    /// Counts a call, and its error.
    fn count<R>(&self, id: Option<PublicId>, answer: Result<R, StoreError>) -> Result<R, StoreError> {
        self.counters.add(Counted::Calls, 1);
        answer.inspect_err(|error| self.count_error(id, error))
    }

    fn count_refusable<R>(&self, id: PublicId, answer: Result<R, Error>) -> Result<R, Error> {
        self.counters.add(Counted::Calls, 1);
        answer.inspect_err(|error| {
            if let Error::Store(error) = error {
                self.count_error(Some(id), error);
            }
        })
    }

    fn count_error(&self, id: Option<PublicId>, error: &StoreError) {
        self.counters.add(Counted::Error(error.kind()), 1);
        if let (StoreErrorKind::Corrupt, Some(id)) = (error.kind(), id) {
            log::error!("session {id}: {error}");
        }
    }
}

impl Store for Metered {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<Option<RecordInfo>, Error> {
        self.count_refusable(key.id, self.store.create(key, record, call))
    }

    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Option<Record>, StoreError> {
        self.count(Some(key.id), self.store.load(key, lifetime, call))
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Error> {
        self.count_refusable(key.id, self.store.update(key, update, call))
    }

    fn delete(&self, key: &RecordKey<'_>, call: &Call) -> Result<bool, StoreError> {
        self.count(Some(key.id), self.store.delete(key, call))
    }

    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], call: &Call) -> Result<Vec<SessionInfo>, StoreError> {
        self.count(None, self.store.group_sessions(group, keys, call))
    }

    fn group_len(&self, group: &GroupKey<'_>, call: &Call) -> Result<usize, StoreError> {
        self.count(None, self.store.group_len(group, call))
    }

    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, call: &Call) -> Result<u64, StoreError> {
        self.count(None, self.store.clear_group(group, except, call))
    }

    fn clear_namespace(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        self.count(None, self.store.clear_namespace(namespace, call))
    }

    fn check_writes(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        self.count(None, self.store.check_writes(namespace, call))
    }

    fn ping(&self, call: &Call) -> Result<(), StoreError> {
        self.count(None, self.store.ping(call))
    }

    fn before_fork(&self) -> ForkGuard {
        self.store.before_fork()
    }

    fn stats(&self) -> Stats {
        let own = self.counters.stats(0);
        Stats { calls: own.calls, errors: own.errors, ..self.store.stats() }
    }
}

impl fmt::Debug for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}
