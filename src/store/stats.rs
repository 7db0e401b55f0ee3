//! The counters of one process: its calls to the store, and what happens to its sessions.

pub(crate) mod folder;
pub(crate) mod histogram;
mod json;
mod openmetrics;
mod sum;

use crate::error::StoreErrorKind;
use crate::process::Process;
use crate::store::stats::histogram::{Histogram, Recorder};
use arc_swap::{ArcSwap, Guard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// The counters of this process since it was started or forked, for a metrics page.
///
/// All numbers but `pool_size`, `connections_open` and `connections_in_use` only grow.
/// [`SessionManager::stats`](crate::SessionManager::stats) gives them, [`to_openmetrics`](Stats::to_openmetrics) makes
/// a page for Prometheus, and a [`StatsFolder`](crate::StatsFolder) adds the counters of all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// When this process began to count: when it built the manager, or when it first used the manager after a fork. Of
    /// a sum, the earliest. `None` for counters that are not of a process.
    pub since: Option<SystemTime>,
    /// Calls to the store: loads, saves, logouts and all others.
    pub calls: u64,
    /// How long these calls took, by this process's monotonic clock.
    pub call_durations: Histogram,
    /// Calls to the store that failed, by kind. A kind that never occurred is not in the map.
    pub errors: BTreeMap<StoreErrorKind, u64>,
    /// Sessions created. If this rises and logins do not, the application sets values in the sessions of visitors who
    /// never log in, crawlers included. Each of these sessions takes room in the store.
    pub created: u64,
    /// Loads that extended the life of their session.
    pub refreshed: u64,
    /// Sessions ended by a call: logouts, and all members of a group that was ended. Sessions that end by a timeout or
    /// a [limit](crate::SessionManagerBuilder::max_sessions_per_group) are not counted, nor those that
    /// [`destroy_every_session`](crate::SessionManager::destroy_every_session) ends.
    pub ended: u64,
    /// Loads with a token of ours whose session the store does not have. Some are normal: a session has ended or timed
    /// out, and the browser still has its cookie. A sudden rise means that the store has lost sessions: it was emptied
    /// (`FLUSHALL`), it evicts records (see Redis's `maxmemory-policy`), or a failover went to a node that did not have
    /// them.
    pub not_found: u64,
    /// Calls that ended with [`Error::Gone`](crate::Error::Gone): the session ended, or got a new id, between its load
    /// and its save. A high number means that requests take long, or that several at once ask for a new id without a
    /// grace.
    pub gone: u64,
    /// Saves within [`transact`](crate::SessionManager::transact) that met another request's change, and were tried
    /// again. A high number means that too many requests work on one session at once.
    pub conflicts: u64,
    /// Tokens refused without asking the store, because they are malformed or not signed by one of our secrets. A few
    /// are scans. A rise after a release of the application means that a setting that tokens are bound to was changed,
    /// or that a worker has another secret.
    pub refused: u64,
    /// Requests treated as requests without a session, because they brought two live sessions, or more than 8 cookies
    /// of our name. If this rises, somebody plants cookies, from a neighbouring subdomain or over plain http.
    pub tossed: u64,
    /// The number of connections that this process may have open; in a cluster, to each node. 0 for stores without
    /// connections.
    pub pool_size: u32,
    /// Connections opened, for both Redis and SQLite. A high number for Redis means that Redis or the network closes
    /// connections.
    pub connections: u64,
    /// Connections that are open now: those in use, and those kept for the next call.
    pub connections_open: u64,
    /// Connections in use now. If this is often the pool size, the pool is too small.
    pub connections_in_use: u64,
    /// Calls that found all connections in use. A high number means that the pool is too small.
    pub waits: u64,
    /// The total time that these calls waited.
    pub waited: Duration,
    /// SQLite: calls that waited for another writer, in this process or in another one.
    pub lock_waits: u64,
    /// SQLite: the total time that these calls waited.
    pub lock_waited: Duration,
    /// Requests sent to Redis. Waits for replicas are not counted. Nor is a script that is sent in full because Redis
    /// does not have it.
    pub round_trips: u64,
    /// Requests sent a second time to the same node, on a fresh connection.
    pub retries: u64,
    /// Loads that were answered although Redis refused to extend the life of the session: it may be a replica, or its
    /// memory may be full. If this goes on, users are logged out while they use the site.
    pub refused_refreshes: u64,
}

impl Stats {
    /// Returns the numbers that are added up, by name.
    fn numbers(&mut self) -> [(&'static str, &mut u64); 17] {
        [
            ("calls", &mut self.calls),
            ("created", &mut self.created),
            ("refreshed", &mut self.refreshed),
            ("ended", &mut self.ended),
            ("not_found", &mut self.not_found),
            ("gone", &mut self.gone),
            ("conflicts", &mut self.conflicts),
            ("refused", &mut self.refused),
            ("tossed", &mut self.tossed),
            ("connections", &mut self.connections),
            ("connections_open", &mut self.connections_open),
            ("connections_in_use", &mut self.connections_in_use),
            ("waits", &mut self.waits),
            ("lock_waits", &mut self.lock_waits),
            ("round_trips", &mut self.round_trips),
            ("retries", &mut self.retries),
            ("refused_refreshes", &mut self.refused_refreshes),
        ]
    }
}

/// The counters of this process. A forked child begins with zeros.
pub(crate) struct Counters {
    current: ArcSwap<OfProcess>,
}

/// The name of a counter.
#[derive(Clone, Copy)]
pub(crate) enum Counter {
    Error(StoreErrorKind),
    Created,
    Refreshed,
    Ended,
    NotFound,
    Gone,
    Conflicts,
    Refused,
    Tossed,
    Connections,
    /// The open connections that no call uses. Goes up and down.
    Idle,
    /// The connections in use. Goes up and down.
    InUse,
    Waits,
    /// In microseconds.
    Waited,
    RoundTrips,
    Retries,
    RefusedRefreshes,
    LockWaits,
    /// In microseconds.
    LockWaited,
}

impl Counters {
    /// Adds to a counter, and gives its value from before.
    pub(crate) fn add(&self, counter: Counter, number: u64) -> u64 {
        self.of_this_process().values.get(counter).fetch_add(number, Ordering::Relaxed)
    }

    /// Subtracts from a counter that goes up and down.
    #[cfg(any(feature = "redis", feature = "sqlite"))]
    pub(crate) fn subtract(&self, counter: Counter, number: u64) {
        self.of_this_process().values.get(counter).fetch_sub(number, Ordering::Relaxed);
    }

    /// Counts a call to the store, which took this long.
    pub(crate) fn count_call(&self, duration: Duration) {
        self.of_this_process().call_durations.record(duration);
    }

    pub(crate) fn stats(&self, pool_size: u32) -> Stats {
        let current = self.of_this_process();
        let get = |counter| current.values.get(counter).load(Ordering::Relaxed);
        let errors = KINDS.map(|kind| (kind, get(Counter::Error(kind))));
        let call_durations = current.call_durations.histogram();
        Stats {
            since: Some(current.since),
            calls: call_durations.count(),
            call_durations,
            errors: errors.into_iter().filter(|(_, number)| *number > 0).collect(),
            created: get(Counter::Created),
            refreshed: get(Counter::Refreshed),
            ended: get(Counter::Ended),
            not_found: get(Counter::NotFound),
            gone: get(Counter::Gone),
            conflicts: get(Counter::Conflicts),
            refused: get(Counter::Refused),
            tossed: get(Counter::Tossed),
            pool_size,
            connections: get(Counter::Connections),
            connections_open: get(Counter::InUse).wrapping_add(get(Counter::Idle)),
            connections_in_use: get(Counter::InUse),
            waits: get(Counter::Waits),
            waited: Duration::from_micros(get(Counter::Waited)),
            lock_waits: get(Counter::LockWaits),
            lock_waited: Duration::from_micros(get(Counter::LockWaited)),
            round_trips: get(Counter::RoundTrips),
            retries: get(Counter::Retries),
            refused_refreshes: get(Counter::RefusedRefreshes),
        }
    }

    fn of_this_process(&self) -> Guard<Arc<OfProcess>> {
        let mut current = self.current.load();
        while !current.process.is_probably_this() {
            // This process is a forked child. If several threads find this at once, only one of them sets the zeros.
            self.current.compare_and_swap(&current, Arc::new(OfProcess::this()));
            current = self.current.load();
        }
        current
    }
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { current: ArcSwap::from_pointee(OfProcess::this()) }
    }
}

/// The values of one process. A forked child must not continue with them.
struct OfProcess {
    process: Process,
    since: SystemTime,
    values: Values,
    call_durations: Recorder,
}

impl OfProcess {
    fn this() -> OfProcess {
        OfProcess {
            process: Process::this(),
            since: SystemTime::now(),
            values: Values::default(),
            call_durations: Recorder::default(),
        }
    }
}

#[derive(Default)]
struct Values {
    unavailable: AtomicU64,
    timeout: AtomicU64,
    rejected: AtomicU64,
    corrupt: AtomicU64,
    forked: AtomicU64,
    backend: AtomicU64,
    created: AtomicU64,
    refreshed: AtomicU64,
    ended: AtomicU64,
    not_found: AtomicU64,
    gone: AtomicU64,
    conflicts: AtomicU64,
    refused: AtomicU64,
    tossed: AtomicU64,
    connections: AtomicU64,
    idle: AtomicU64,
    in_use: AtomicU64,
    waits: AtomicU64,
    waited: AtomicU64,
    round_trips: AtomicU64,
    retries: AtomicU64,
    refused_refreshes: AtomicU64,
    lock_waits: AtomicU64,
    lock_waited: AtomicU64,
}

const KINDS: [StoreErrorKind; 6] = [
    StoreErrorKind::Unavailable,
    StoreErrorKind::Timeout,
    StoreErrorKind::Rejected,
    StoreErrorKind::Corrupt,
    StoreErrorKind::Forked,
    StoreErrorKind::Backend,
];

/// Returns the name of a kind of errors, in metrics and in files.
fn label(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::Unavailable => "unavailable",
        StoreErrorKind::Timeout => "timeout",
        StoreErrorKind::Rejected => "rejected",
        StoreErrorKind::Corrupt => "corrupt",
        StoreErrorKind::Forked => "forked",
        StoreErrorKind::Backend => "backend",
    }
}

impl Values {
    fn get(&self, counter: Counter) -> &AtomicU64 {
        match counter {
            Counter::Error(StoreErrorKind::Unavailable) => &self.unavailable,
            Counter::Error(StoreErrorKind::Timeout) => &self.timeout,
            Counter::Error(StoreErrorKind::Rejected) => &self.rejected,
            Counter::Error(StoreErrorKind::Corrupt) => &self.corrupt,
            Counter::Error(StoreErrorKind::Forked) => &self.forked,
            Counter::Error(StoreErrorKind::Backend) => &self.backend,
            Counter::Created => &self.created,
            Counter::Refreshed => &self.refreshed,
            Counter::Ended => &self.ended,
            Counter::NotFound => &self.not_found,
            Counter::Gone => &self.gone,
            Counter::Conflicts => &self.conflicts,
            Counter::Refused => &self.refused,
            Counter::Tossed => &self.tossed,
            Counter::Connections => &self.connections,
            Counter::Idle => &self.idle,
            Counter::InUse => &self.in_use,
            Counter::Waits => &self.waits,
            Counter::Waited => &self.waited,
            Counter::RoundTrips => &self.round_trips,
            Counter::Retries => &self.retries,
            Counter::RefusedRefreshes => &self.refused_refreshes,
            Counter::LockWaits => &self.lock_waits,
            Counter::LockWaited => &self.lock_waited,
        }
    }
}
