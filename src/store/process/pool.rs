//! An r2d2 pool of *places* for connections.
//!
//! A place is filled by the call that needs it, within that call's deadline, and not by r2d2's threads: so a failed
//! attempt to connect is told at once, r2d2's retries and their growing waits never come into play, and no thread of
//! r2d2's is ever inside its locks when a process forks.
//!
//! Calls do not wait inside r2d2 either: there, whoever comes next may be faster than one who waits. They wait in a queue
//! here, and a place that becomes free is handed to the first of them.

use crate::deadline::Deadline;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::stats::{Counted, Counters};
use scheduled_thread_pool::ScheduledThreadPool;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The places for connections of one process.
pub(crate) struct Places<C: Send + 'static> {
    pool: r2d2::Pool<Empty<C>>,
    /// The calls that wait for a place, in the order in which they came. While there are any, no place is free.
    waiting: Arc<Queue<C>>,
    counters: Arc<Counters>,
    /// Keeps r2d2's thread asleep until the pool goes.
    _asleep: Sender<()>,
}

type Queue<C> = Mutex<VecDeque<Arc<Waiter<C>>>>;
type Pooled<C> = r2d2::PooledConnection<Empty<C>>;

/// A call that waits, and the place that is handed to it.
struct Waiter<C: Send + 'static> {
    place: Mutex<Option<Pooled<C>>>,
    handed: Condvar,
}

/// A place, and the connection in it if there is one.
pub(crate) struct Place<C: Send + 'static> {
    /// `None` only while it is dropped.
    pooled: Option<Pooled<C>>,
    waiting: Arc<Queue<C>>,
    counters: Arc<Counters>,
}

struct Empty<C>(PhantomData<fn() -> C>);

impl<C: Send + 'static> r2d2::ManageConnection for Empty<C> {
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

impl<C: Send + 'static> Places<C> {
    pub(crate) fn new(size: u32, counters: Arc<Counters>) -> Result<Places<C>, StoreError> {
        let thread = ScheduledThreadPool::builder().num_threads(1).thread_name_pattern("session-pool");
        // It panics where the operating system gives it no thread.
        let thread = std::panic::catch_unwind(move || thread.build()).map_err(|_| {
            let message = "no thread can be started for the pool; see the limits on processes (RLIMIT_NPROC, pids.max)";
            StoreError::new(StoreErrorKind::Backend, message)
        })?;
        let thread = Arc::new(thread);
        let pool = r2d2::Pool::builder()
            .max_size(size)
            .test_on_check_out(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .thread_pool(thread.clone())
            .build_unchecked(Empty(PhantomData));
        // All places are made by jobs that are queued already. After them the thread sleeps in a channel of std's: left
        // waiting in parking_lot, it would stand in that library's process-wide queues, and a child would inherit them.
        let (_asleep, sleep) = mpsc::channel::<()>();
        let (done, places_made) = mpsc::channel();
        thread.execute(move || {
            let _ = done.send(());
            let _ = sleep.recv();
        });
        let _ = places_made.recv();
        Ok(Places { pool, waiting: Arc::default(), counters, _asleep })
    }

    /// Takes a place, waiting for one until the deadline. First come, first served.
    pub(crate) fn take(&self, deadline: Deadline) -> Result<Place<C>, StoreError> {
        if let Some(place) = self.try_take() {
            return Ok(place);
        }
        let start = Instant::now();
        let place = self.wait(deadline);
        let (waited, size) = (start.elapsed(), self.pool.max_size());
        self.counters.add(Counted::Waits, 1);
        self.counters.add(Counted::Waited, waited.as_micros().try_into().unwrap_or(u64::MAX));
        log::debug!("waited {waited:?} for one of the {size} connections of this process");
        place.ok_or_else(|| {
            let message = format!("all {size} connections of this process are in use");
            StoreError::new(StoreErrorKind::Timeout, message)
        })
    }

    /// Closes all idle connections; they are opened again when needed.
    pub(crate) fn close_idle(&self) {
        let mut places: Vec<_> = std::iter::from_fn(|| self.try_take()).collect();
        for place in &mut places {
            place.take();
        }
    }

    /// A free place. While calls wait there is none.
    fn try_take(&self) -> Option<Place<C>> {
        self.pool.try_get().map(|pooled| self.place(pooled))
    }

    fn place(&self, pooled: Pooled<C>) -> Place<C> {
        if pooled.is_some() {
            self.counters.subtract(Counted::Idle, 1);
        }
        self.counters.add(Counted::InUse, 1);
        Place { pooled: Some(pooled), waiting: self.waiting.clone(), counters: self.counters.clone() }
    }

    fn wait(&self, deadline: Deadline) -> Option<Place<C>> {
        let waiter = Arc::new(Waiter { place: Mutex::new(None), handed: Condvar::new() });
        let mut waiting = lock(&self.waiting);
        // One may have become free before the queue was locked.
        if let Some(place) = self.try_take() {
            return Some(place);
        }
        waiting.push_back(waiter.clone());
        drop(waiting);
        let mut place = lock(&waiter.place);
        while place.is_none() {
            let left = deadline.left();
            if left == Duration::ZERO {
                drop(place);
                lock(&self.waiting).retain(|other| !Arc::ptr_eq(other, &waiter));
                // It may have been handed over at the last moment.
                return lock(&waiter.place).take().map(|pooled| self.place(pooled));
            }
            place = waiter.handed.wait_timeout(place, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        place.take().map(|pooled| self.place(pooled))
    }
}

impl<C: Send + 'static> Drop for Places<C> {
    fn drop(&mut self) {
        self.close_idle();
    }
}

/// Hands the place to the call that has waited longest, or back to the pool.
impl<C: Send + 'static> Drop for Place<C> {
    fn drop(&mut self) {
        let Some(pooled) = self.pooled.take() else { return };
        self.counters.subtract(Counted::InUse, 1);
        if pooled.is_some() {
            self.counters.add(Counted::Idle, 1);
        }
        let mut waiting = lock(&self.waiting);
        match waiting.pop_front() {
            Some(first) => {
                *lock(&first.place) = Some(pooled);
                first.handed.notify_one();
            }
            // While the queue is locked: who is about to join it looks for a free place once more.
            None => drop(pooled),
        }
    }
}

impl<C: Send + 'static> Deref for Place<C> {
    type Target = Option<C>;

    fn deref(&self) -> &Option<C> {
        self.pooled.as_deref().expect("it is there until it is dropped")
    }
}

impl<C: Send + 'static> DerefMut for Place<C> {
    fn deref_mut(&mut self) -> &mut Option<C> {
        self.pooled.as_deref_mut().expect("it is there until it is dropped")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn places(size: u32) -> (Arc<Places<u8>>, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (Arc::new(Places::new(size, counters.clone()).unwrap()), counters)
    }

    #[test]
    fn calls_are_served_in_the_order_in_which_they_came() {
        let (places, _) = places(1);
        let held = places.take(Deadline::after(Duration::ZERO)).ok().unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let calls: Vec<_> = (0..20)
            .map(|number| {
                let (served, queue, order) = (places.clone(), places.waiting.clone(), order.clone());
                let call = thread::spawn(move || {
                    // Each comes back at once: it must not overtake those who wait.
                    for _ in 0..3 {
                        let place = served.take(Deadline::after(PATIENCE)).ok().unwrap();
                        lock(&order).push(number);
                        drop(place);
                        thread::yield_now();
                    }
                });
                while lock(&queue).len() <= number {
                    thread::yield_now();
                }
                call
            })
            .collect();
        drop(held);
        calls.into_iter().for_each(|call| call.join().unwrap());
        let first: Vec<usize> = lock(&order)[..20].to_vec();
        assert_eq!(first, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_call_that_gives_up_leaves_the_queue_and_keeps_no_place_from_others() {
        let (places, _) = places(2);
        let held = [(); 2].map(|()| places.take(Deadline::after(Duration::ZERO)).ok().unwrap());
        for _ in 0..3 {
            assert!(places.take(Deadline::after(Duration::from_millis(5))).is_err());
        }
        assert!(lock(&places.waiting).is_empty());
        drop(held);
        for _ in 0..100 {
            assert!(places.take(Deadline::after(Duration::ZERO)).is_ok());
        }
        // Many give up while places are handed over: none is lost.
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let place = places.take(Deadline::after(Duration::from_micros(50)));
                        thread::yield_now();
                        drop(place);
                    }
                });
            }
        });
        let all = [(); 2].map(|()| places.take(Deadline::after(Duration::ZERO)));
        assert!(all.iter().all(Result::is_ok));
    }

    #[test]
    fn connections_are_counted_while_they_are_open_and_while_they_are_in_use() {
        let (places, counters) = places(3);
        let counted = || {
            let stats = counters.stats(3);
            (stats.connections_open, stats.connections_in_use)
        };
        let [mut one, two] = [(); 2].map(|()| places.take(Deadline::after(Duration::ZERO)).ok().unwrap());
        assert_eq!(counted(), (2, 2));
        *one = Some(1);
        drop((one, two));
        assert_eq!(counted(), (1, 0), "the other call left no connection behind");
        let again = places.take(Deadline::after(Duration::ZERO)).ok().unwrap();
        assert_eq!(counted().1, 1);
        drop(again);
        places.close_idle();
        assert_eq!(counted(), (0, 0));
        *places.take(Deadline::after(Duration::ZERO)).ok().unwrap() = Some(2);
        drop(places);
        assert_eq!(counted(), (0, 0), "a pool that goes closes its connections");
    }
}
