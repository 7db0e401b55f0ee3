//! A resource that every process opens for itself, however often it forks.

use crate::deadline::Deadline;
use crate::error::{StoreError, StoreErrorKind};
use crate::process;
use crate::store::fork_guard::ForkGuard;
use arc_swap::ArcSwap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{fmt, mem, thread};

/// Holds one `T` per process, opened on first use.
///
/// No lock is held anywhere that a fork could copy in its locked state: the holder is swapped, and calls are counted.
/// What a child inherits it never touches again, and never drops: it is the parent's, and its locks may be held for ever.
pub(crate) struct PerProcess<T> {
    current: ArcSwap<Process<T>>,
}

struct Process<T> {
    process: process::Process,
    gate: Gate,
    resource: OnceLock<T>,
}

impl<T: Send + Sync + 'static> PerProcess<T> {
    pub(crate) fn new() -> PerProcess<T> {
        PerProcess { current: ArcSwap::new(Process::this()) }
    }

    /// Begins a call: waits while a fork is being made, at most until the deadline.
    pub(crate) fn enter(&self, deadline: Deadline) -> Result<Entered<T>, StoreError> {
        let process = self.of_this_process();
        if process.gate.enter(deadline) {
            Ok(Entered { process })
        } else {
            Err(StoreError::new(StoreErrorKind::Timeout, "held back until the end of the call by a ForkGuard"))
        }
    }

    /// Waits, at most this long, until no call is under way; then `close`s what this process has open. New calls wait
    /// for the guard to be dropped.
    #[cfg(feature = "redis")]
    pub(crate) fn before_fork(&self, patience: Duration, close: impl FnOnce(&T)) -> ForkGuard {
        let (guard, quiet) = self.hold_back(Deadline::after(patience), close);
        if !quiet {
            warn_of_calls(patience);
        }
        guard
    }

    /// Holds new calls back until the guard is dropped, waits for those under way, and `close`s what this process has
    /// open. Says whether all calls have ended by the deadline.
    pub(crate) fn hold_back(&self, deadline: Deadline, close: impl FnOnce(&T)) -> (ForkGuard, bool) {
        let process = self.of_this_process();
        process.gate.close();
        let mut quiet = process.gate.wait_until_empty(deadline);
        if let Some(resource) = process.resource.get() {
            // Several threads may be here at once, and each closes a part. None may fork before all are done: so this
            // counts as a call.
            process.gate.begin();
            close(resource);
            process.gate.leave();
            quiet &= process.gate.wait_until_empty(deadline);
        }
        (ForkGuard::new(move || process.gate.open()), quiet)
    }

    fn of_this_process(&self) -> Arc<Process<T>> {
        loop {
            let current = self.current.load_full();
            if current.process.is_this() {
                return current;
            }
            // A fork made this a child. Of several threads that notice, one puts the new state in place.
            let previous = self.current.compare_and_swap(&current, Process::this());
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

impl<T> Process<T> {
    fn this() -> Arc<Process<T>> {
        Arc::new(Process { process: process::Process::this(), gate: Gate::default(), resource: OnceLock::new() })
    }
}

impl<T> fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerProcess")
    }
}

/// Tells that calls did not end before a fork.
pub(crate) fn warn_of_calls(patience: Duration) {
    log::error!("before_fork: calls are still under way after {patience:?}; forking now may hang the child");
}

/// A call under way.
pub(crate) struct Entered<T> {
    process: Arc<Process<T>>,
}

impl<T> Entered<T> {
    /// This process's resource.
    pub(crate) fn get_or_open(&self, open: impl FnOnce() -> Result<T, StoreError>) -> Result<&T, StoreError> {
        if let Some(resource) = self.process.resource.get() {
            return Ok(resource);
        }
        let new = open()?;
        // Of several threads that are here, one puts its own in place.
        Ok(self.process.resource.get_or_init(|| new))
    }
}

impl<T> Drop for Entered<T> {
    fn drop(&mut self) {
        self.process.gate.leave();
    }
}

/// Counts the calls under way, and holds new ones back while forks are made.
///
/// Forks are rare, so waiting is done by looking again; there is no queue that a child could inherit.
#[derive(Default)]
struct Gate(AtomicU64);

/// Those who keep the gate closed are counted in the upper half, the calls under way in the lower.
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

    /// Counts a call, and gives the state of before.
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

    /// Whether the calls that were under way when it was closed have ended.
    fn wait_until_empty(&self, deadline: Deadline) -> bool {
        wait(deadline, || self.0.load(Ordering::Acquire).is_multiple_of(CLOSED))
    }
}

fn wait(deadline: Deadline, mut until: impl FnMut() -> bool) -> bool {
    loop {
        if until() {
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
