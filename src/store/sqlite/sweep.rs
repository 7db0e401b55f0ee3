//! Removes the records that remain after a group or a namespace has ended.

use crate::store::sqlite::checkpoint::{Checkpoint, checkpoint};
use crate::store::sqlite::failure::is_disk_full;
use crate::store::sqlite::lock_wait::wait_for_locks_until;
use crate::store::sqlite::operation::Operation;
use crate::store::sqlite::wal;

/// The most records that are removed in one step. Other calls wait for the lock during a step.
pub(crate) const BATCH: i64 = 500;
/// Between two steps, a log of more pages than this is copied into the database.
const LONG_LOG: u32 = 1000;

impl Operation<'_> {
    /// Removes records within half of the time that the call has left. `batch` is SQL that selects some records of the
    /// group or namespace with this serial. Their sessions have ended; a record that remains expires.
    pub(crate) fn sweep(&self, batch: &str, serial: i64) {
        let (mut operation, mut most) = (*self, BATCH);
        let deadline = self.call.deadline.halfway();
        wait_for_locks_until(deadline);
        while !deadline.has_passed() {
            match operation.remove_batch(batch, serial, most.max(1)) {
                Ok(0) => return,
                Ok(_) => {}
                // A full disk may have room for a smaller step.
                Err(error) if is_disk_full(&error) && most > 1 => {
                    operation.disk_is_full = true;
                    most /= 8;
                }
                Err(error) => return log::debug!("records of ended sessions are left to expire: {error}"),
            }
            if wal::pages() > LONG_LOG {
                let _ = checkpoint(self.sqlite, Checkpoint::Passive);
            }
        }
    }

    fn remove_batch(&self, batch: &str, serial: i64, most: i64) -> rusqlite::Result<usize> {
        let (now, transaction) = (self.now(), self.begin()?);
        let mut statement = transaction.prepare_cached(batch)?;
        let serials: Vec<i64> = statement.query_map([serial, most], |row| row.get(0))?.collect::<Result<_, _>>()?;
        drop(statement);
        for serial in &serials {
            self.leave_trace(&transaction, *serial, now)?;
            transaction.prepare_cached("DELETE FROM sessions WHERE serial = ?1")?.execute([serial])?;
        }
        transaction.commit()?;
        Ok(serials.len())
    }
}
