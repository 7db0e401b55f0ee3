//! Removes what is left of sessions that have ended: all of it, in steps.

use crate::end_reason::EndReason;
use crate::error::StoreError;
use crate::store::call::Call;
use crate::store::maintenance::Purged;
use crate::store::sqlite::columns::milliseconds;
use crate::store::sqlite::database::Database;
use crate::store::sqlite::failure::Failure;
use crate::store::sqlite::operation::Operation;
use crate::store::sqlite::purge::{purge_forwards, purge_group_values, purge_traces};
use crate::store::sqlite::remains::BATCH;
use rusqlite::params;

/// How many rows one step looks at.
const LOOKED_AT: i64 = 2000;

/// The SQL condition for a row whose session has ended. `?2` is the time.
macro_rules! has_ended {
    () => {
        "(expires <= ?2 OR namespace NOT IN (SELECT serial FROM namespaces)
          OR in_group > 0 AND in_group NOT IN (SELECT serial FROM groups))"
    };
}

/// Some rows that were looked at.
struct Looked {
    /// The serials of the rows whose sessions have ended.
    ended: Vec<i64>,
    /// The serial of the last row. `None` if there were no rows.
    last: Option<i64>,
}

impl Database {
    /// Removes the rows of ended sessions, and expired forwards, traces and values of groups, for as long as the call
    /// has time.
    ///
    /// Only the removal waits for other writers. Each step of it waits for its turn, so that other calls come between.
    pub(crate) fn purge(&self, call: &Call) -> Result<Purged, StoreError> {
        let mut purged = Purged { removed: 0, more: true };
        while !call.deadline.has_passed() {
            if self.write(call, |operation| operation.purge_left_overs())? == 0 {
                purged.more = false;
                break;
            }
        }
        let mut last = Some(i64::MIN);
        while let Some(after) = last {
            if call.deadline.has_passed() {
                return Ok(Purged { more: true, ..purged });
            }
            let looked = self.read(call, |operation| operation.look_for_ended(after))?;
            for serials in looked.ended.chunks(BATCH as usize) {
                purged.removed += self.write(call, |operation| operation.remove_ended(serials))?;
            }
            last = looked.last;
        }
        Ok(purged)
    }
}

impl Operation<'_> {
    /// Removes some expired forwards, traces and values of groups, and gives their number.
    fn purge_left_overs(&self) -> Result<usize, Failure<StoreError>> {
        let transaction = self.begin()?;
        let now = self.now();
        let removed = purge_forwards(&transaction, now, BATCH)?
            + purge_traces(&transaction, now, BATCH)?
            + purge_group_values(&transaction, now, BATCH)?;
        transaction.commit()?;
        Ok(removed)
    }

    /// Looks at the rows that come after this serial.
    fn look_for_ended(&self, after: i64) -> Result<Looked, Failure<StoreError>> {
        let mut statement = self.sqlite.prepare_cached(concat!(
            "SELECT serial, ",
            has_ended!(),
            " FROM sessions WHERE serial > ?1 ORDER BY serial LIMIT ?3"
        ))?;
        let mut rows = statement.query(params![after, milliseconds(self.now()), LOOKED_AT])?;
        let mut looked = Looked { ended: Vec::new(), last: None };
        while let Some(row) = rows.next()? {
            let serial = row.get(0)?;
            looked.last = Some(serial);
            if row.get(1)? {
                looked.ended.push(serial);
            }
        }
        Ok(looked)
    }

    /// Removes those of these rows whose sessions have ended, and gives their number. A serial may belong to another
    /// session by now.
    fn remove_ended(&self, serials: &[i64]) -> Result<u64, Failure<StoreError>> {
        let transaction = self.begin()?;
        let now = self.now();
        let mut removed = 0;
        for serial in serials {
            let still_ended = transaction
                .prepare_cached(concat!("SELECT 1 FROM sessions WHERE serial = ?1 AND ", has_ended!()))?
                .exists(params![serial, milliseconds(now)])?;
            if still_ended {
                self.leave_trace(&transaction, *serial, EndReason::LoggedOutElsewhere, now)?;
                removed += transaction.prepare_cached("DELETE FROM sessions WHERE serial = ?1")?.execute([serial])?;
            }
        }
        transaction.commit()?;
        Ok(removed as u64)
    }
}
