//! The connections of one process, and what becomes of a request when one fails.

use super::address::Address;
use super::connection::Connection;
use super::failure::Failure;
use crate::StoreError;
use crate::store::halfway;
use crate::store::places::Places;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A connection that was idle for longer is opened anew: the way to the server may have forgotten it.
const MAX_IDLE: Duration = Duration::from_secs(60);

pub(super) struct Pool {
    address: Arc<Address>,
    places: Places<Open>,
    /// Moves with every failed connection: those opened before are not trusted any more.
    epoch: AtomicU64,
}

struct Open {
    connection: Connection,
    epoch: u64,
    last_used: Instant,
}

impl Pool {
    pub(super) fn new(address: Arc<Address>, size: u32) -> Result<Pool, StoreError> {
        Ok(Pool { address, places: Places::new(size)?, epoch: AtomicU64::new(0) })
    }

    /// Makes a request, and makes it once more, on a fresh connection, if its connection fails: so it must not matter
    /// whether it is carried out twice.
    pub(super) fn request<R>(
        &self,
        deadline: Instant,
        request: impl Fn(&mut Connection, Instant) -> Result<R, Failure>,
    ) -> Result<R, StoreError> {
        let mut place = self.places.take(deadline)?;
        let mut last_try = false;
        loop {
            let (mut open, reused) = match place.take().filter(|open| self.is_trusted(open)) {
                Some(open) => (open, true),
                None => (self.open(deadline)?, false),
            };
            // An idle connection may be dead without a sign. Half of the time is kept for a fresh one.
            let until = if reused { halfway(deadline) } else { deadline };
            match request(&mut open.connection, until) {
                Ok(result) => {
                    open.last_used = Instant::now();
                    *place = Some(open);
                    return Ok(result);
                }
                Err(Failure::Refused { error, reusable: true }) => {
                    *place = Some(open);
                    return Err(error);
                }
                Err(Failure::Refused { error, reusable: false }) => {
                    self.distrust(&open);
                    return Err(error);
                }
                // Nothing was sent, so the connection is as good as before.
                Err(failure @ Failure::TooLate) => {
                    *place = Some(open);
                    return Err(failure.into_store_error(&self.address));
                }
                Err(failure) => {
                    self.distrust(&open);
                    if last_try || until == deadline && failure.is_timeout() {
                        return Err(failure.into_store_error(&self.address));
                    }
                    log::warn!("the connection to {} failed ({failure:?}); trying a fresh one", self.address);
                    last_try = true;
                }
            }
        }
    }

    pub(super) fn close_idle(&self) {
        self.places.close_idle();
    }

    fn is_trusted(&self, open: &Open) -> bool {
        open.epoch == self.epoch.load(Ordering::Relaxed) && open.last_used.elapsed() < MAX_IDLE
    }

    /// Of this connection and those of its time.
    fn distrust(&self, open: &Open) {
        // Only the first one of its time to fail moves the epoch.
        let _ = self.epoch.compare_exchange(open.epoch, open.epoch + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn open(&self, deadline: Instant) -> Result<Open, StoreError> {
        let epoch = self.epoch.load(Ordering::Relaxed);
        let connection =
            Connection::open(&self.address, deadline).map_err(|failure| failure.into_store_error(&self.address))?;
        Ok(Open { connection, epoch, last_used: Instant::now() })
    }
}
