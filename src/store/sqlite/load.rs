//! Loads a record, and refreshes it if that is due.

use crate::error::StoreError;
use crate::lifetime::Lifetime;
use crate::store::call::Call;
use crate::store::key::RecordKey;
use crate::store::record::{Record, RecordInfo};
use crate::store::sqlite::database::Database;
use crate::store::sqlite::record::Loaded;

impl Database {
    /// Loads a record. Waits for other writers only if a refresh is due.
    pub(crate) fn load(
        &self,
        key: &RecordKey<'_>,
        lifetime: &Lifetime,
        call: &Call,
    ) -> Result<Option<Record>, StoreError> {
        let loaded = self.read(call, |operation| operation.load(key, lifetime))?;
        let Some(Loaded { at, mut record, is_refresh_due }) = loaded else { return Ok(None) };
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
                Ok(None) => return Ok(None),
                Err(error) => log::debug!("session {}: the refresh was not written: {error}", key.id),
            }
        }
        Ok(Some(record))
    }
}
