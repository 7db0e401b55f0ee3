//! A pool of connections, built on r2d2. Here r2d2 only keeps the connections, and never opens one.
//!
//! Normally r2d2 opens connections in its own threads. If an attempt fails, r2d2 tries again after growing pauses, and
//! the call gets the error only when its time is up. If the process forks while such a thread holds a lock, the child
//! inherits the lock in its locked state. So here r2d2 keeps entries that are empty at first. A call leases an entry.
//! If the entry is empty, the call opens a connection itself: within its own deadline, and it gets an error at once.
//!
//! Calls do not wait inside r2d2 either, because r2d2 lets a new call overtake one that waits. They wait in a
//! [`Queue`]: a lease that ends goes to the call that has waited longest.

use crate::deadline::Deadline;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::process::queue::Queue;
use crate::store::stats::{Counter, Counters};
use scheduled_thread_pool::ScheduledThreadPool;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Instant;

/// The connections of one process.
pub(crate) struct Pool<C: Send + 'static> {
    entries: r2d2::Pool<NeverConnects<C>>,
    /// The calls that wait for an entry. An entry is free only if no call waits.
    queue: Arc<Queue<Entry<C>>>,
    counters: Arc<Counters>,
    /// Keeps r2d2's thread asleep until the pool is dropped.
    _asleep: Sender<()>,
}

/// The use of one entry of the pool, until the lease is dropped.
pub(crate) struct Lease<C: Send + 'static> {
    /// `None` only while the lease is dropped.
    entry: Option<Entry<C>>,
    queue: Arc<Queue<Entry<C>>>,
    counters: Arc<Counters>,
}

/// What r2d2 keeps: a connection, or nothing yet.
type Entry<C> = r2d2::PooledConnection<NeverConnects<C>>;

/// Makes empty entries where r2d2 asks for connections.
struct NeverConnects<C>(PhantomData<fn() -> C>);

impl<C: Send + 'static> r2d2::ManageConnection for NeverConnects<C> {
    type Connection = Option<C>;
    type Error = Infallible;

    fn connect(&self) -> Result<Option<C>, Infallible> {
        Ok(None)
    }

    fn is_valid(&self, _: &mut Option<C>) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Option<C>) -> bool {
        false
    }
}

impl<C: Send + 'static> Pool<C> {
    /// Makes the pool. Waits for r2d2's thread to start, at most until the deadline.
    pub(crate) fn new(size: u32, deadline: Deadline, counters: Arc<Counters>) -> Result<Pool<C>, StoreError> {
        let thread = ScheduledThreadPool::builder().num_threads(1).thread_name_pattern("session-pool");
        // `build` panics if the operating system cannot start a thread.
        let thread = std::panic::catch_unwind(move || thread.build()).map_err(|_| {
            let message = "the pool cannot start its thread; see the limits on processes (RLIMIT_NPROC, pids.max)";
            StoreError::new(StoreErrorKind::Backend, message)
        })?;
        let thread = Arc::new(thread);
        let entries = r2d2::Pool::builder()
            .max_size(size)
            .test_on_check_out(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .thread_pool(thread.clone())
            .build_unchecked(NeverConnects(PhantomData));
        // The jobs that make the entries are queued by now. The job after them puts the thread to sleep in a channel of
        // the standard library. Otherwise the thread would wait in parking_lot's queues. These are global to the
        // process, and a forked child would inherit them.
        let (_asleep, sleep) = mpsc::channel::<()>();
        let (done, entries_made) = mpsc::channel();
        thread.execute(move || {
            let _ = done.send(());
            let _ = sleep.recv();
        });
        // If a fork has copied a lock of the standard library, the thread may never run in a child. Then calls get no
        // entry, and end by their deadlines.
        let _ = entries_made.recv_timeout(deadline.left());
        Ok(Pool { entries, queue: Arc::new(Queue::new()), counters, _asleep })
    }

    /// Leases an entry. Waits for one until the deadline: first come, first served.
    pub(crate) fn lease(&self, deadline: Deadline) -> Result<Lease<C>, StoreError> {
        if let Some(lease) = self.lease_if_free() {
            return Ok(lease);
        }
        let start = Instant::now();
        let entry = self.queue.wait(deadline, || self.entries.try_get());
        let (waited, size) = (start.elapsed(), self.entries.max_size());
        self.counters.add(Counter::Waits, 1);
        self.counters.add(Counter::Waited, waited.as_micros().try_into().unwrap_or(u64::MAX));
        log::debug!("waited {waited:?} for one of the {size} connections of this process");
        entry.map(|entry| self.lease_of(entry)).ok_or_else(|| {
            let message = format!("all {size} connections of this process are in use");
            StoreError::new(StoreErrorKind::Timeout, message)
        })
    }

    /// Closes all connections that are not leased.
    pub(crate) fn close_idle(&self) {
        let mut leases: Vec<_> = std::iter::from_fn(|| self.lease_if_free()).collect();
        for lease in &mut leases {
            lease.take();
        }
    }

    fn lease_if_free(&self) -> Option<Lease<C>> {
        self.entries.try_get().map(|entry| self.lease_of(entry))
    }

    fn lease_of(&self, entry: Entry<C>) -> Lease<C> {
        if entry.is_some() {
            self.counters.subtract(Counter::Idle, 1);
        }
        self.counters.add(Counter::InUse, 1);
        Lease { entry: Some(entry), queue: self.queue.clone(), counters: self.counters.clone() }
    }
}

impl<C: Send + 'static> Drop for Pool<C> {
    fn drop(&mut self) {
        self.close_idle();
    }
}

impl<C: Send + 'static> Lease<C> {
    /// Takes the connection out of the entry, if there is one.
    pub(crate) fn take(&mut self) -> Option<C> {
        self.entry.as_deref_mut().and_then(Option::take)
    }

    /// Puts a connection into the entry, for the next call.
    pub(crate) fn put_back(&mut self, connection: C) {
        if let Some(entry) = self.entry.as_deref_mut() {
            *entry = Some(connection);
        }
    }
}

impl<C: Send + 'static> Drop for Lease<C> {
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        self.counters.subtract(Counter::InUse, 1);
        if entry.is_some() {
            self.counters.add(Counter::Idle, 1);
        }
        self.queue.hand_over(entry, drop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::thread;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn pool(size: u32) -> (Arc<Pool<u8>>, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (Arc::new(Pool::new(size, Deadline::after(PATIENCE), counters.clone()).unwrap()), counters)
    }

    fn at_once() -> Deadline {
        Deadline::after(Duration::ZERO)
    }

    #[test]
    fn calls_are_served_in_the_order_in_which_they_came() {
        let (pool, _) = pool(1);
        let held = pool.lease(at_once()).ok().unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let calls: Vec<_> = (0..20)
            .map(|number| {
                let (served, queue, order) = (pool.clone(), pool.queue.clone(), order.clone());
                let call = thread::spawn(move || {
                    // Each thread asks again at once, and must not overtake a thread that waits.
                    for _ in 0..3 {
                        let lease = served.lease(Deadline::after(PATIENCE)).ok().unwrap();
                        order.lock().unwrap().push(number);
                        drop(lease);
                        thread::yield_now();
                    }
                });
                while queue.len() <= number {
                    thread::yield_now();
                }
                call
            })
            .collect();
        drop(held);
        calls.into_iter().for_each(|call| call.join().unwrap());
        let first: Vec<usize> = order.lock().unwrap()[..20].to_vec();
        assert_eq!(first, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_call_that_gives_up_leaves_the_queue_and_keeps_no_lease_from_others() {
        let (pool, _) = pool(2);
        let held = [(); 2].map(|()| pool.lease(at_once()).ok().unwrap());
        for _ in 0..3 {
            assert!(pool.lease(Deadline::after(Duration::from_millis(5))).is_err());
        }
        assert_eq!(pool.queue.len(), 0);
        drop(held);
        for _ in 0..100 {
            assert!(pool.lease(at_once()).is_ok());
        }
        // Many calls give up while leases are handed over. No lease may be lost.
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let lease = pool.lease(Deadline::after(Duration::from_micros(50)));
                        thread::yield_now();
                        drop(lease);
                    }
                });
            }
        });
        let all = [(); 2].map(|()| pool.lease(at_once()));
        assert!(all.iter().all(Result::is_ok));
    }

    #[test]
    fn connections_are_counted_while_they_are_open_and_while_they_are_in_use() {
        let (pool, counters) = pool(3);
        let counted = || {
            let stats = counters.stats(3);
            (stats.connections_open, stats.connections_in_use)
        };
        let [mut one, two] = [(); 2].map(|()| pool.lease(at_once()).ok().unwrap());
        assert_eq!(counted(), (2, 2));
        one.put_back(1);
        drop((one, two));
        assert_eq!(counted(), (1, 0), "the other call left no connection behind");
        let again = pool.lease(at_once()).ok().unwrap();
        assert_eq!(counted().1, 1);
        drop(again);
        pool.close_idle();
        assert_eq!(counted(), (0, 0));
        pool.lease(at_once()).ok().unwrap().put_back(2);
        drop(pool);
        assert_eq!(counted(), (0, 0), "a pool that goes closes its connections");
    }
}
