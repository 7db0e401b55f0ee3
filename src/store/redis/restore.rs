//! Keeps a session as another store has it.

use crate::error::StoreError;
use crate::store::key::RecordKey;
use crate::store::record::Size;
use crate::store::redis::keys::field;
use crate::store::redis::nonces;
use crate::store::redis::operation::Operation;
use crate::store::redis::state::flags;
use crate::store::restore::Restored;
use crate::store::stored_record::StoredRecord;
use std::time::{SystemTime, UNIX_EPOCH};

/// The largest integers that the packed state and the numbers of Lua can hold.
const LARGEST_VERSION: u64 = (1 << 40) - 1;
const LARGEST_ORDER: u64 = (1 << 53) - 1;

impl Operation<'_> {
    /// Keeps a session as another store has it, unless this store has a later state of it, or knows that it has ended.
    pub(crate) fn restore(&self, key: &RecordKey<'_>, record: &StoredRecord) -> Result<Restored, StoreError> {
        let state = &record.state;
        let version = state.version.min(LARGEST_VERSION);
        let never_or = |time: Option<SystemTime>| time.unwrap_or(UNIX_EPOCH);
        // A record without nonces was not changed by any call that this store can know.
        let nonces =
            if state.nonces.len() < self.call.nonce.len() { self.call.nonce.to_vec() } else { state.nonces.clone() };
        let [n0, n1, n2, n3] = nonces::fields(version, &nonces);
        let call = self
            .scripts()
            .record_restore
            .on(self.keys_with_values(key))
            .arg(version)
            .arg(flags(state.has_own_idle_timeout, state.persistent))
            .arg(Size::of(&record.values))
            .arg((state.created_at, never_or(state.refreshed_at)))
            .arg((state.expires_at, never_or(state.ends_at)))
            .arg(state.idle_timeout)
            .arg(nonces)
            .arg(((n0, n1), (n2, n3)))
            .arg(record.copied_nonce.map(Vec::from))
            .arg(state.joined_at.unwrap_or(state.created_at))
            .arg(record.group_name.as_deref().unwrap_or_default())
            .arg(record.join_order.min(LARGEST_ORDER))
            .arg(state.began_at)
            .list(record.values.iter().map(|(key, value)| (field(key), value)));
        self.run(&call.and_wait())?.restored()
    }
}
