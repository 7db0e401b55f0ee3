//! The connections of one process to one node, and the rules for which of them are used again.
//!
//! If a connection fails, those that were opened before may be dead too: the node may have been restarted, or replaced.
//! So connections belong to epochs. An epoch ends when one of its connections fails, or when another node takes the
//! place of this one. A connection of an ended epoch is not used for another request.

use crate::deadline::Deadline;
use crate::error::StoreError;
use crate::random;
use crate::store::process::pool::{Lease, Pool};
use crate::store::redis::wire::connection::Connection;
use crate::store::stats::Counters;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The longest time for which an unused connection is kept. After that, a firewall on the way to the node may have
/// forgotten it.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// After this time without a request, a connection counts as idle: the other side may be gone without our noticing.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// The number of an epoch. When an epoch ends, the connections that were opened in it are not used again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

impl Epoch {
    /// Returns the number of the epoch. A later epoch has a larger one.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

pub(crate) struct Connections {
    pool: Pool<PooledConnection>,
    epoch: AtomicU64,
}

pub(crate) struct PooledConnection {
    pub(crate) connection: Connection,
    pub(crate) epoch: Epoch,
    last_used: Instant,
    expires: Instant,
}

impl Connections {
    pub(crate) fn new(size: u32, deadline: Deadline, counters: Arc<Counters>) -> Result<Connections, StoreError> {
        Ok(Connections { pool: Pool::new(size, deadline, counters)?, epoch: AtomicU64::new(0) })
    }

    /// Waits until the call may use one of the connections, at most until the deadline.
    pub(crate) fn lease(&self, deadline: Deadline) -> Result<Lease<PooledConnection>, StoreError> {
        self.pool.lease(deadline)
    }

    /// Returns whether a connection may be used for another request.
    pub(crate) fn may_use(&self, pooled: &PooledConnection) -> bool {
        let now = Instant::now();
        let is_worn = now >= pooled.expires || now.saturating_duration_since(pooled.last_used) >= MAX_IDLE;
        pooled.epoch == self.epoch() && !is_worn
    }

    /// Returns the present epoch.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }

    /// Ends the epoch of a connection that failed.
    pub(crate) fn distrust(&self, pooled: &PooledConnection) {
        self.end(pooled.epoch);
    }

    /// Ends an epoch because another node has taken the place of this one, and closes the idle connections. Returns the
    /// epoch that begins, or `None` if the old one had ended already.
    pub(crate) fn replace_node(&self, epoch: Epoch) -> Option<Epoch> {
        let next = self.end(epoch)?;
        self.close_idle();
        Some(next)
    }

    /// Ends the present epoch, whichever it is. The caller has to close the idle connections.
    pub(crate) fn end_current_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn close_idle(&self) {
        self.pool.close_idle();
    }

    /// Ends this epoch, unless it has ended already.
    fn end(&self, Epoch(epoch): Epoch) -> Option<Epoch> {
        self.epoch.compare_exchange(epoch, epoch + 1, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(Epoch(epoch + 1))
    }
}

impl PooledConnection {
    /// Makes an entry for the pool out of a new connection.
    pub(crate) fn new(connection: Connection, epoch: Epoch, max_lifetime: Duration) -> PooledConnection {
        // The lifetime is up to a fifth shorter, at random, so that not all connections are opened again at the same
        // time.
        let [chance] = random::bytes().unwrap_or([0]);
        let lifetime = max_lifetime - max_lifetime / 5 * u32::from(chance) / 255;
        let now = Instant::now();
        PooledConnection { connection, epoch, last_used: now, expires: now + lifetime }
    }

    /// Returns whether the connection was idle for so much time that the other side may be gone without our noticing.
    pub(crate) fn was_idle(&self) -> bool {
        self.last_used.elapsed() >= IDLE_AFTER
    }

    pub(crate) fn note_use(&mut self) {
        self.last_used = Instant::now();
    }
}
