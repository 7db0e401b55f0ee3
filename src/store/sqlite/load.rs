//! Loads a record, and refreshes it if that is due.

use crate::error::StoreError;
use crate::id::PublicId;
use crate::lifetime::Lifetime;
use crate::store::call::Call;
use crate::store::key::RecordKey;
use crate::store::record::{Loaded, RecordInfo};
use crate::store::sqlite::database::Database;
use crate::store::sqlite::record::Found;

impl Database {
    /// Loads a record. Waits for other writers only if a refresh is due.
    pub(crate) fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError> {
        let Found { at, mut record, is_refresh_due } =
            match self.read(call, |operation| operation.load(key, lifetime))? {
                Ok(found) => found,
                Err(reason) => return Ok(Loaded::Ended(reason)),
            };
        if is_refresh_due {
            // If the refresh cannot be written, the load still succeeds. The refresh gets half of the time.
            let call = Call { deadline: call.deadline.halfway(), ..*call };
            match self.write(&call, |operation| operation.refresh(&at, lifetime)) {
                Ok(Some((at, refreshed))) => {
                    record.forwarded_to = at.forwarded_from(key);
                    // Keep the version that was read together with the values.
                    record.info = RecordInfo { version: record.info.version, ..refreshed };
                    record.refreshed = true;
                }
                Ok(None) => return self.peek(key, lifetime, &call),
                Err(error) => log::debug!("session {}: the refresh was not written: {error}", key.id),
            }
        }
        Ok(Loaded::Record(record))
    }

    /// Loads a record, and leaves its life as it is.
    pub(crate) fn peek(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError> {
        let found = self.read(call, |operation| operation.load(key, lifetime))?;
        Ok(found.map_or_else(Loaded::Ended, |found| Loaded::Record(found.record)))
    }

    /// Returns the id that the live session of each key has now.
    pub(crate) fn present_ids(
        &self,
        keys: &[RecordKey<'_>],
        lifetime: &Lifetime,
        call: &Call,
    ) -> Result<Vec<Option<PublicId>>, StoreError> {
        self.read(call, |operation| {
            // One transaction sees one moment of the database.
            let _transaction = operation.sqlite.unchecked_transaction()?;
            keys.iter().map(|key| operation.present_id(key, lifetime)).collect()
        })
    }
}
