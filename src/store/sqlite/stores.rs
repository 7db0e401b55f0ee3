//! The stores of this process, whose connections are closed together.

use crate::deadline::Deadline;
use crate::store::fork_guard::ForkGuard;
use crate::store::sqlite::engine;
use crate::store::sqlite::engine::Processes;
use arc_swap::ArcSwapOption;
use std::sync::{Arc, Weak};

/// Swapped, never locked: a fork could copy a lock while it is held.
static STORES: ArcSwapOption<Vec<Weak<Processes>>> = ArcSwapOption::const_empty();

/// Counts a store in.
pub(crate) fn register(store: &Arc<Processes>) {
    STORES.rcu(|stores| {
        let known = stores.iter().flat_map(|stores| stores.iter());
        let mut stores: Vec<_> = known.filter(|store| store.strong_count() > 0).cloned().collect();
        stores.push(Arc::downgrade(store));
        Some(Arc::new(stores))
    });
}

/// Closes all connections of this process: those to one database must have ended before the first one of a new
/// beginning. Says whether all calls under way have ended by the deadline.
pub(crate) fn close_all(deadline: Deadline) -> bool {
    hold_all_back(deadline).1
}

/// Closes all connections of this process, and holds new calls back until the guard is dropped. Says whether all calls
/// under way have ended by the deadline.
pub(crate) fn hold_all_back(deadline: Deadline) -> (ForkGuard, bool) {
    let stores = STORES.load_full();
    let stores: Vec<Arc<Processes>> =
        stores.iter().flat_map(|stores| stores.iter()).filter_map(Weak::upgrade).collect();
    let held: Vec<_> = stores.iter().map(|store| store.hold_back(deadline, engine::close_idle)).collect();
    let quiet = held.iter().all(|(_, quiet)| *quiet);
    (ForkGuard::new(move || drop(held)), quiet)
}
