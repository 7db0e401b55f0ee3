//! A resource that each process opens for itself.

use crate::deadline::Deadline;
use crate::error::{StoreError, StoreErrorKind};
use crate::process::Process;
use crate::store::fork_guard::ForkGuard;
use arc_swap::ArcSwap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{fmt, mem, thread};

/// Holds one `T` for each process, opened on first use.
///
/// This type has no lock, because a fork could copy a lock while it is held. Instead, the state is swapped atomically,
/// and calls are counted. A child never uses or drops the `T` that it inherits. That `T` belongs to the parent, and in
/// the child its locks may stay locked for ever.
pub(crate) struct PerProcess<T> {
    current: ArcSwap<State<T>>,
}

/// The state of one process.
struct State<T> {
    process: Process,
    gate: Gate,
    resource: OnceLock<T>,
}

impl<T: Send + Sync + 'static> PerProcess<T> {
    pub(crate) fn new() -> PerProcess<T> {
        PerProcess { current: ArcSwap::new(State::of_this_process()) }
    }

    /// Begins a call. Waits while a fork is being made, at most until the deadline.
    pub(crate) fn enter(&self, deadline: Deadline) -> Result<Entered<T>, StoreError> {
        let state = self.of_this_process();
        if state.gate.enter(deadline) {
            Ok(Entered { state })
        } else {
            Err(StoreError::new(StoreErrorKind::Timeout, "the call waited for a ForkGuard until its time was up"))
        }
    }

    /// Waits until no call is under way, at most for `patience`. Then calls `close` with the resource of this process.
    /// New calls wait until the guard is dropped.
    #[cfg(feature = "redis")]
    pub(crate) fn before_fork(&self, patience: Duration, close: impl FnOnce(&T)) -> ForkGuard {
        let (guard, quiet) = self.hold_back(Deadline::after(patience), close);
        if !quiet {
            warn_of_calls(patience);
        }
        guard
    }

    /// Holds new calls back until the guard is dropped, waits for the calls under way, and calls `close` with the
    /// resource of this process. Returns whether all calls have ended by the deadline.
    pub(crate) fn hold_back(&self, deadline: Deadline, close: impl FnOnce(&T)) -> (ForkGuard, bool) {
        let state = self.of_this_process();
        state.gate.close();
        let mut quiet = state.gate.wait_until_empty(deadline);
        if let Some(resource) = state.resource.get() {
            // Several threads may be here at once, and each closes some of the connections. No thread may fork before
            // all threads are done, so closing counts as a call.
            state.gate.begin();
            close(resource);
            state.gate.leave();
            quiet &= state.gate.wait_until_empty(deadline);
        }
        (ForkGuard::new(move || state.gate.open()), quiet)
    }

    fn of_this_process(&self) -> Arc<State<T>> {
        loop {
            let current = self.current.load_full();
            if current.process.is_this() {
                return current;
            }
            // This process is a forked child. If several threads find this at once, only one of them replaces the
            // state.
            let previous = self.current.compare_and_swap(&current, State::of_this_process());
            if Arc::ptr_eq(&previous, &current) {
                mem::forget(current);
            }
        }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let current = self.current.load_full();
        if !current.process.is_this() {
            mem::forget(current);
        }
    }
}

impl<T> State<T> {
    fn of_this_process() -> Arc<State<T>> {
        Arc::new(State { process: Process::this(), gate: Gate::default(), resource: OnceLock::new() })
    }
}

impl<T> fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerProcess")
    }
}

/// Logs that calls did not end before a fork.
pub(crate) fn warn_of_calls(patience: Duration) {
    log::error!("before_fork: calls are still under way after {patience:?}; forking now may hang the child");
}

/// A call under way.
pub(crate) struct Entered<T> {
    state: Arc<State<T>>,
}

impl<T> Entered<T> {
    /// Returns the resource of this process. Opens it if no call has done so yet.
    pub(crate) fn get_or_open(&self, open: impl FnOnce() -> Result<T, StoreError>) -> Result<&T, StoreError> {
        if let Some(resource) = self.state.resource.get() {
            return Ok(resource);
        }
        let new = open()?;
        // If several threads open a resource at once, the first one is kept.
        Ok(self.state.resource.get_or_init(|| new))
    }
}

impl<T> Drop for Entered<T> {
    fn drop(&mut self) {
        self.state.gate.leave();
    }
}

/// Counts the calls under way, and holds new calls back while forks are made.
///
/// Forks are rare, so a waiting call just looks at the count again and again. A queue of waiting calls would be copied
/// by the fork.
#[derive(Default)]
struct Gate(AtomicU64);

/// The number that each guard adds while it keeps the gate closed. The lower bits count the calls under way.
const CLOSED: u64 = 1 << 32;
const LOOK_AGAIN: Duration = Duration::from_micros(100);

impl Gate {
    fn enter(&self, deadline: Deadline) -> bool {
        wait(deadline, || {
            let open = self.begin() < CLOSED;
            if !open {
                self.leave();
            }
            open
        })
    }

    /// Counts a call, and gives the count from before.
    fn begin(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Acquire)
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Release);
    }

    fn close(&self) {
        self.0.fetch_add(CLOSED, Ordering::Acquire);
    }

    fn open(&self) {
        self.0.fetch_sub(CLOSED, Ordering::Release);
    }

    /// Waits until no call is under way. Returns whether that is so by the deadline.
    fn wait_until_empty(&self, deadline: Deadline) -> bool {
        wait(deadline, || self.0.load(Ordering::Acquire).is_multiple_of(CLOSED))
    }
}

/// Waits until a condition holds, at most until the deadline. Returns whether it holds.
fn wait(deadline: Deadline, mut is_so: impl FnMut() -> bool) -> bool {
    loop {
        if is_so() {
            return true;
        }
        if deadline.has_passed() {
            return false;
        }
        thread::sleep(LOOK_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_millis(20))
    }

    #[test]
    fn a_closed_gate_holds_calls_back_until_all_have_opened_it() {
        let gate = Gate::default();
        assert!(gate.enter(soon()));
        gate.close();
        assert!(!gate.wait_until_empty(soon()), "a call is under way");
        gate.leave();
        assert!(gate.wait_until_empty(soon()));
        assert!(!gate.enter(soon()), "closed");
        gate.close();
        gate.open();
        assert!(!gate.enter(soon()), "closed by another");
        gate.open();
        assert!(gate.enter(soon()));
    }
}
