//! An r2d2 pool of *places* for connections.
//!
//! A place is filled by the call that needs it, within that call's deadline, and not by r2d2's threads: so a failed
//! attempt to connect is told at once, r2d2's retries and their growing waits never come into play, and no thread of
//! r2d2's is ever inside its locks when a process forks.

use super::metrics::{Counted, Counters};
use crate::{StoreError, StoreErrorKind};
use scheduled_thread_pool::ScheduledThreadPool;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Instant;

/// So many places for connections of one process.
pub(super) struct Places<C: Send + 'static> {
    pool: r2d2::Pool<Empty<C>>,
    counters: Arc<Counters>,
    /// Keeps r2d2's thread asleep until the pool goes.
    _asleep: Sender<()>,
}

/// A place, and the connection in it if there is one.
pub(super) type Place<C> = r2d2::PooledConnection<Empty<C>>;

pub(super) struct Empty<C>(PhantomData<fn() -> C>);

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
    pub(super) fn new(size: u32, counters: Arc<Counters>) -> Result<Places<C>, StoreError> {
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
        Ok(Places { pool, counters, _asleep })
    }

    /// Takes a place, waiting for one until the deadline.
    pub(super) fn take(&self, deadline: Instant) -> Result<Place<C>, StoreError> {
        if let Some(place) = self.pool.try_get() {
            return Ok(place);
        }
        let start = Instant::now();
        let place = self.pool.get_timeout(deadline.saturating_duration_since(start));
        let (waited, size) = (start.elapsed(), self.pool.max_size());
        self.counters.add(Counted::Waits, 1);
        self.counters.add(Counted::Waited, waited.as_micros().try_into().unwrap_or(u64::MAX));
        log::debug!("waited {waited:?} for one of the {size} connections of this process");
        place.map_err(|_| {
            let message = format!("all {size} connections of this process are in use");
            StoreError::new(StoreErrorKind::Timeout, message)
        })
    }

    /// Closes all idle connections; they are opened again when needed.
    pub(super) fn close_idle(&self) {
        let mut places: Vec<_> = std::iter::from_fn(|| self.pool.try_get()).collect();
        for place in &mut places {
            place.take();
        }
    }
}
