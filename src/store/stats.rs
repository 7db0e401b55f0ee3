//! The counters of calls to the store.

use crate::error::StoreErrorKind;
use crate::process::Process;
use arc_swap::{ArcSwap, Guard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The counters of this process since it was started or forked, for a metrics page.
///
/// All numbers but `pool_size`, `connections_open` and `connections_in_use` only grow. See
/// [`SessionManager::stats`](crate::SessionManager::stats).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls to the store: loads, saves, logouts and all others.
    pub calls: u64,
    /// Calls to the store that failed, by kind. A kind that never occurred is not in the map.
    pub errors: BTreeMap<StoreErrorKind, u64>,
    /// Sessions created. If this rises and logins do not, the application sets values in the sessions of visitors who
    /// never log in, crawlers included. Each of these sessions takes a place in the store.
    pub created: u64,
    /// Loads that extended the life of their session.
    pub refreshed: u64,
    /// Sessions ended by a call: logouts, and all members of a group that was ended. Sessions that end by a timeout or
    /// a [limit](crate::SessionManagerBuilder::max_sessions_per_group) are not counted, nor those that
    /// [`destroy_every_session`](crate::SessionManager::destroy_every_session) ends.
    pub ended: u64,
    /// Loads with a token of ours whose session the store does not have. Some are normal: a session has ended or timed
    /// out, and the browser still has its cookie. A sudden rise means that the store has lost sessions. It was emptied
    /// (`FLUSHALL`), it evicts them (see Redis's `maxmemory-policy`), or a failover went to a server that did not have
    /// them.
    pub not_found: u64,
    /// Calls that ended with [`Error::Gone`](crate::Error::Gone): the session ended between its load and its save. A
    /// high number means that requests take long, or that several at once ask for a new id without a grace.
    pub gone: u64,
    /// Saves within [`transact`](crate::SessionManager::transact) that met another request's change, and were tried
    /// again. A high number means that too many requests work on one session at once.
    pub conflicts: u64,
    /// Tokens refused without asking the store, because they are malformed or not signed by an accepted secret. A few
    /// are scans. A rise after a deployment means that a setting that tokens are bound to was changed, or that a worker
    /// has another secret.
    pub refused: u64,
    /// Requests treated as ones without a session, because they brought two live sessions, or more than 8 cookies of
    /// our name. Somebody plants cookies, from a neighbouring subdomain or over plain http.
    pub tossed: u64,
    /// The number of connections that this process may have open; in a cluster, at each node. 0 for stores without
    /// connections.
    pub pool_size: u32,
    /// Connections opened. A high number means that a server, or a network, drops connections.
    pub connections: u64,
    /// Connections that are open now: those in use, and those kept for the next call.
    pub connections_open: u64,
    /// Connections in use now. If this is often the pool size, the pool is too small.
    pub connections_in_use: u64,
    /// Calls that found all connections in use. A high number means that the pool is too small.
    pub waits: u64,
    /// The total time that these calls waited.
    pub waited: Duration,
    /// SQLite: calls that found the file locked by another writer.
    pub lock_waits: u64,
    /// SQLite: the total time that these calls waited for the file.
    pub lock_waited: Duration,
    /// Requests made to a server. Waits for replicas are not counted, nor scripts that are sent in full once.
    pub round_trips: u64,
    /// Requests sent a second time to the same server, on a fresh connection.
    pub retries: u64,
    /// Loads that were answered, although the server refused to extend the life of the session: the server may be a
    /// replica, or its memory may be full. If this goes on, users are logged out while they click.
    pub refused_refreshes: u64,
}

/// The counters of this process. A forked child begins anew.
pub(crate) struct Counters {
    current: ArcSwap<Numbers>,
}

/// The counters, by name.
#[derive(Clone, Copy)]
pub(crate) enum Counted {
    Calls,
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
    /// Goes up and down.
    Idle,
    /// Goes up and down.
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

/// The counters of one process.
struct Numbers {
    process: Process,
    counters: Named,
}

#[derive(Default)]
struct Named {
    calls: AtomicU64,
    errors: Errors,
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

#[derive(Default)]
struct Errors {
    unavailable: AtomicU64,
    timeout: AtomicU64,
    rejected: AtomicU64,
    corrupt: AtomicU64,
    forked: AtomicU64,
    backend: AtomicU64,
}

const KINDS: [StoreErrorKind; 6] = [
    StoreErrorKind::Unavailable,
    StoreErrorKind::Timeout,
    StoreErrorKind::Rejected,
    StoreErrorKind::Corrupt,
    StoreErrorKind::Forked,
    StoreErrorKind::Backend,
];

impl Numbers {
    fn of_this_process() -> Numbers {
        Numbers { process: Process::this(), counters: Named::default() }
    }
}

impl Named {
    fn counter(&self, what: Counted) -> &AtomicU64 {
        match what {
            Counted::Calls => &self.calls,
            Counted::Error(kind) => self.errors.counter(kind),
            Counted::Created => &self.created,
            Counted::Refreshed => &self.refreshed,
            Counted::Ended => &self.ended,
            Counted::NotFound => &self.not_found,
            Counted::Gone => &self.gone,
            Counted::Conflicts => &self.conflicts,
            Counted::Refused => &self.refused,
            Counted::Tossed => &self.tossed,
            Counted::Connections => &self.connections,
            Counted::Idle => &self.idle,
            Counted::InUse => &self.in_use,
            Counted::Waits => &self.waits,
            Counted::Waited => &self.waited,
            Counted::RoundTrips => &self.round_trips,
            Counted::Retries => &self.retries,
            Counted::RefusedRefreshes => &self.refused_refreshes,
            Counted::LockWaits => &self.lock_waits,
            Counted::LockWaited => &self.lock_waited,
        }
    }
}

impl Errors {
    fn counter(&self, kind: StoreErrorKind) -> &AtomicU64 {
        match kind {
            StoreErrorKind::Unavailable => &self.unavailable,
            StoreErrorKind::Timeout => &self.timeout,
            StoreErrorKind::Rejected => &self.rejected,
            StoreErrorKind::Corrupt => &self.corrupt,
            StoreErrorKind::Forked => &self.forked,
            StoreErrorKind::Backend => &self.backend,
        }
    }
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { current: ArcSwap::from_pointee(Numbers::of_this_process()) }
    }
}

impl Counters {
    /// Adds to a counter, and gives its value from before.
    pub(crate) fn add(&self, what: Counted, number: u64) -> u64 {
        self.numbers().counters.counter(what).fetch_add(number, Ordering::Relaxed)
    }

    /// Subtracts from a counter that goes up and down.
    #[cfg(any(feature = "redis", feature = "sqlite"))]
    pub(crate) fn subtract(&self, what: Counted, number: u64) {
        self.numbers().counters.counter(what).fetch_sub(number, Ordering::Relaxed);
    }

    fn numbers(&self) -> Guard<Arc<Numbers>> {
        let mut current = self.current.load();
        while !current.process.is_this() {
            // A fork made this a child. Of several threads that notice, one puts new counters in place.
            self.current.compare_and_swap(&current, Arc::new(Numbers::of_this_process()));
            current = self.current.load();
        }
        current
    }

    pub(crate) fn stats(&self, pool_size: u32) -> Stats {
        let numbers = self.numbers();
        let get = |what| numbers.counters.counter(what).load(Ordering::Relaxed);
        let errors = KINDS.map(|kind| (kind, get(Counted::Error(kind))));
        Stats {
            calls: get(Counted::Calls),
            errors: errors.into_iter().filter(|(_, number)| *number > 0).collect(),
            created: get(Counted::Created),
            refreshed: get(Counted::Refreshed),
            ended: get(Counted::Ended),
            not_found: get(Counted::NotFound),
            gone: get(Counted::Gone),
            conflicts: get(Counted::Conflicts),
            refused: get(Counted::Refused),
            tossed: get(Counted::Tossed),
            pool_size,
            connections: get(Counted::Connections),
            connections_open: get(Counted::InUse).wrapping_add(get(Counted::Idle)),
            connections_in_use: get(Counted::InUse),
            waits: get(Counted::Waits),
            waited: Duration::from_micros(get(Counted::Waited)),
            lock_waits: get(Counted::LockWaits),
            lock_waited: Duration::from_micros(get(Counted::LockWaited)),
            round_trips: get(Counted::RoundTrips),
            retries: get(Counted::Retries),
            refused_refreshes: get(Counted::RefusedRefreshes),
        }
    }
}
