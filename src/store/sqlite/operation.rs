//! One try of a call, on one connection.

use crate::error::StoreError;
use crate::store::call::Call;
use crate::store::sqlite::columns::{milliseconds, time};
use crate::store::sqlite::disk_space::DiskSpace;
use crate::store::sqlite::failure::Failure;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::time::SystemTime;

/// One try of a call. More tries follow if the disk is full, or if the connection does not work any more.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    pub(crate) sqlite: &'a Connection,
    pub(crate) disk_space: &'a DiskSpace,
    pub(crate) call: &'a Call,
    pub(crate) clock: &'a (dyn Fn() -> SystemTime + Send + Sync),
    /// Whether an earlier try found the disk full.
    pub(crate) disk_is_full: bool,
}

impl<'a> Operation<'a> {
    /// Begins a transaction that writes. This may wait for the lock, so call `now` only afterwards.
    pub(crate) fn begin(&self) -> rusqlite::Result<Transaction<'a>> {
        Transaction::new_unchecked(self.sqlite, TransactionBehavior::Immediate)
    }

    /// Checks that the file can be read.
    pub(crate) fn ping(&self) -> Result<(), Failure<StoreError>> {
        self.sqlite.prepare_cached("SELECT 1 FROM sessions LIMIT 1")?.exists([])?;
        Ok(())
    }

    /// Returns the time, rounded down to milliseconds as in the columns.
    pub(crate) fn now(&self) -> SystemTime {
        time(milliseconds((self.clock)()))
    }
}
