//! The records that remain after their group or their namespace has ended. Nobody finds them; they only take room.

use crate::end_reason::EndReason;
use crate::error::StoreError;
use crate::store::sqlite::failure::Failure;
use crate::store::sqlite::operation::Operation;

/// The most records that are removed in one step. Other calls wait for the lock during a step.
pub(crate) const BATCH: i64 = 500;

/// The records that remain of a group, or of a namespace, by its serial. With those of a group, the reason why their
/// sessions have ended.
#[derive(Clone, Copy)]
pub(crate) enum Remains {
    Group(i64, EndReason),
    Namespace(i64),
}

impl Remains {
    /// Returns the reason why these sessions have ended.
    fn reason(self) -> EndReason {
        match self {
            Remains::Group(_, reason) => reason,
            Remains::Namespace(_) => EndReason::LoggedOutElsewhere,
        }
    }
}

impl Operation<'_> {
    /// Removes some records, and gives their number. On a full disk, removes one.
    pub(crate) fn remove_batch(&self, remains: Remains) -> Result<usize, Failure<StoreError>> {
        let (batch, serial) = match remains {
            Remains::Group(serial, _) => {
                ("SELECT serial FROM sessions WHERE in_group = ?1 AND in_group > 0 LIMIT ?2", serial)
            }
            Remains::Namespace(serial) => ("SELECT serial FROM sessions WHERE namespace = ?1 LIMIT ?2", serial),
        };
        let most = if self.disk_is_full { 1 } else { BATCH };
        let (now, transaction) = (self.now(), self.begin()?);
        let mut statement = transaction.prepare_cached(batch)?;
        let serials: Vec<i64> = statement.query_map([serial, most], |row| row.get(0))?.collect::<Result<_, _>>()?;
        drop(statement);
        for serial in &serials {
            self.leave_trace(&transaction, *serial, remains.reason(), now)?;
            transaction.prepare_cached("DELETE FROM sessions WHERE serial = ?1")?.execute([serial])?;
        }
        transaction.commit()?;
        Ok(serials.len())
    }
}
