//! The connections of one process.

use super::connection::{Address, Connection};
use super::failure::Failure;
use crate::{StoreError, StoreErrorKind};
use r2d2::ManageConnection;
use scheduled_thread_pool::ScheduledThreadPool;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

/// A connection that was idle for longer is opened anew: the way to the server may have forgotten it.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// An r2d2 pool of *places* for connections. A place is filled by the call that needs it, within that call's deadline,
/// and not by r2d2's threads: so a refused connection is told at once, r2d2's retries and their growing waits never
/// come into play, and no thread of r2d2's is ever inside its locks when a process forks.
pub(super) struct Pool {
    address: Arc<Address>,
    places: r2d2::Pool<Places>,
    /// Moves with every failed connection: those opened before are not trusted any more.
    epoch: AtomicU64,
    /// Keeps r2d2's thread asleep until the pool goes.
    _asleep: Sender<()>,
}

/// A place for a connection, and the connection if there is one.
#[derive(Default)]
struct Place {
    open: Option<Open>,
}

struct Open {
    connection: Connection,
    epoch: u64,
    last_used: Instant,
}

struct Places;

impl ManageConnection for Places {
    type Connection = Place;
    type Error = Infallible;

    fn connect(&self) -> Result<Place, Infallible> {
        Ok(Place::default())
    }

    fn is_valid(&self, _: &mut Place) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Place) -> bool {
        false
    }
}

impl Pool {
    pub(super) fn new(address: Arc<Address>, size: u32) -> Pool {
        let thread = ScheduledThreadPool::builder().num_threads(1).thread_name_pattern("session-pool").build();
        let thread = Arc::new(thread);
        let places = r2d2::Pool::builder()
            .max_size(size)
            .test_on_check_out(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .thread_pool(thread.clone())
            .build_unchecked(Places);
        // All places are made by jobs that are queued already. After them the thread sleeps in a channel of std's: left
        // waiting in parking_lot, it would stand in that library's process-wide queues, and a child would inherit them.
        let (_asleep, sleep) = mpsc::channel::<()>();
        let (done, places_made) = mpsc::channel();
        thread.execute(move || {
            let _ = done.send(());
            let _ = sleep.recv();
        });
        let _ = places_made.recv();
        Pool { address, places, epoch: AtomicU64::new(0), _asleep }
    }

    /// Makes a request, and makes it once more, on a fresh connection, if its connection fails: so it must not matter
    /// whether it is carried out twice.
    pub(super) fn request<R>(
        &self,
        deadline: Instant,
        request: impl Fn(&mut Connection, Instant) -> Result<R, Failure>,
    ) -> Result<R, StoreError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut place = self.places.get_timeout(left).map_err(|_| {
            let message = format!("all {} connections of this process are in use", self.places.max_size());
            StoreError::new(StoreErrorKind::Timeout, message)
        })?;
        let mut last_try = false;
        loop {
            let (mut open, reused) = match place.open.take().filter(|open| self.is_trusted(open)) {
                Some(open) => (open, true),
                None => (self.open(deadline)?, false),
            };
            // An idle connection may be dead without a sign. Half of the time is kept for a fresh one.
            let until = if reused { halfway(deadline) } else { deadline };
            match request(&mut open.connection, until) {
                Ok(result) => {
                    open.last_used = Instant::now();
                    place.open = Some(open);
                    return Ok(result);
                }
                Err(failure @ Failure::Connection(_)) => {
                    // Only the first connection of its time to fail moves the epoch.
                    let _ =
                        self.epoch.compare_exchange(open.epoch, open.epoch + 1, Ordering::Relaxed, Ordering::Relaxed);
                    if last_try || until == deadline && failure.is_timeout() {
                        return Err(failure.into_store_error(&self.address));
                    }
                    log::warn!("the connection to {} failed ({failure:?}); trying a fresh one", self.address);
                    last_try = true;
                }
                Err(failure) => {
                    let error = failure.into_store_error(&self.address);
                    if error.kind() != StoreErrorKind::Unavailable {
                        place.open = Some(open);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Closes all idle connections; they are opened again when needed.
    pub(super) fn close_idle(&self) {
        let mut places: Vec<_> = std::iter::from_fn(|| self.places.try_get()).collect();
        for place in &mut places {
            place.open = None;
        }
    }

    fn is_trusted(&self, open: &Open) -> bool {
        open.epoch == self.epoch.load(Ordering::Relaxed) && open.last_used.elapsed() < MAX_IDLE
    }

    fn open(&self, deadline: Instant) -> Result<Open, StoreError> {
        let epoch = self.epoch.load(Ordering::Relaxed);
        let connection =
            Connection::open(&self.address, deadline).map_err(|failure| failure.into_store_error(&self.address))?;
        Ok(Open { connection, epoch, last_used: Instant::now() })
    }
}

fn halfway(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 2
}
