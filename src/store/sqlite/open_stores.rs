//! The stores of this process: their connections are closed together.

use crate::deadline::Deadline;
use crate::store::fork_guard::ForkGuard;
use crate::store::process::per_process::PerProcess;
use crate::store::sqlite::connections::Connections;
use arc_swap::ArcSwapOption;
use std::sync::{Arc, Weak};

/// The pools of all stores. The list is swapped, never locked: a fork could copy a lock while it is held.
static STORES: ArcSwapOption<Vec<Weak<PerProcess<Connections>>>> = ArcSwapOption::const_empty();

/// Adds a store to the list.
pub(crate) fn register(store: &Arc<PerProcess<Connections>>) {
    STORES.rcu(|stores| {
        let known = stores.iter().flat_map(|stores| stores.iter());
        let mut stores: Vec<_> = known.filter(|store| store.strong_count() > 0).cloned().collect();
        stores.push(Arc::downgrade(store));
        Some(Arc::new(stores))
    });
}

/// Closes all connections of this process. The old connections to a database have to be closed before the first new one
/// is opened. Returns whether all calls under way have ended by the deadline.
pub(crate) fn close_all(deadline: Deadline) -> bool {
    hold_all_back(deadline).1
}

/// Closes all connections of this process, and holds new calls back until the guard is dropped. Returns whether all
/// calls under way have ended by the deadline.
pub(crate) fn hold_all_back(deadline: Deadline) -> (ForkGuard, bool) {
    let stores = STORES.load_full();
    let stores: Vec<Arc<PerProcess<Connections>>> =
        stores.iter().flat_map(|stores| stores.iter()).filter_map(Weak::upgrade).collect();
    let held: Vec<_> = stores.iter().map(|store| store.hold_back(deadline, Connections::close_idle)).collect();
    let quiet = held.iter().all(|(_, quiet)| *quiet);
    (ForkGuard::new(move || drop(held)), quiet)
}
