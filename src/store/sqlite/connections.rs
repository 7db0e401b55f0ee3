//! The connections of one process.

use crate::deadline::Deadline;
use crate::error::StoreError;
use crate::store::process::pool::Pool;
use crate::store::sqlite::connection::Connection;
use crate::store::sqlite::write_queue::WriteQueue;
use crate::store::stats::Counters;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What one process has open.
pub(crate) struct Connections {
    pub(crate) pool: Pool<Connection>,
    pub(crate) write_queue: WriteQueue,
    was_announced: AtomicBool,
}

impl Connections {
    pub(crate) fn new(size: u32, deadline: Deadline, counters: &Arc<Counters>) -> Result<Connections, StoreError> {
        Ok(Connections {
            pool: Pool::new(size, deadline, counters.clone())?,
            write_queue: WriteQueue::new(),
            was_announced: AtomicBool::new(false),
        })
    }

    /// Gives `true` to the first caller in each process.
    pub(crate) fn is_first_caller(&self) -> bool {
        !self.was_announced.swap(true, Ordering::Relaxed)
    }

    /// Closes the connections that are not in use.
    pub(crate) fn close_idle(&self) {
        self.pool.close_idle();
    }
}
