//! Removes the records that remain after a group or a namespace has ended, in steps.

use crate::store::call::Call;
use crate::store::sqlite::database::Database;
use crate::store::sqlite::remains::Remains;

impl Database {
    /// Removes these records within half of the time that the call has left. A record that is left expires.
    pub(crate) fn sweep(&self, call: &Call, remains: Option<Remains>) {
        let Some(remains) = remains else { return };
        let call = Call { deadline: call.deadline.halfway(), ..*call };
        while !call.deadline.has_passed() {
            // Each step waits for its turn, so that other calls come between.
            match self.write(&call, |operation| operation.remove_batch(remains)) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => return log::debug!("records of ended sessions are left to expire: {error}"),
            }
        }
    }
}
