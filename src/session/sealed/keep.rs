//! Keeps the data key of a session through new ids.

use super::data_key::sealed_bytes;
use super::{KEY, OF_OLD_IDS};
use crate::error::Error;
use crate::seal::WRAPPED_BYTES;
use crate::session::Session;
use crate::session::pending::Pending;
use crate::store::forward::MOST_FORWARDS;
use crate::store::stored_value::StoredValue;
use crate::store::update::{Change, ChangeSet};
use std::cmp::Reverse;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The data key as it is kept for an old id.
struct ForOldId {
    key: String,
    /// The sealed data key, and until when it is kept.
    value: StoredValue,
}

impl Session {
    /// Gives the changes that keep the data key through these changes: sealed for the new id, and through a grace for
    /// the old one too.
    pub(in crate::session) fn kept_data_keys(&self, pending: &Pending) -> Result<ChangeSet, Error> {
        let now = self.record.now().unwrap_or(UNIX_EPOCH);
        let (mut kept, mut removed): (Vec<_>, Vec<_>) = self.for_old_ids().partition(|old| old.until() > now);
        let mut changes = ChangeSet::default();
        if self.is_new() || pending.new_id.is_some() {
            if let Some(data_key) = self.data_key() {
                let identity = pending.new_identity().unwrap_or(&self.identity);
                let wrapped = data_key.wrap(&self.context.namespace, &identity.id)?;
                changes.keys.insert(KEY.to_owned(), Change::Set(StoredValue::Sealed(wrapped)));
            }
            match pending.grace() {
                // The store counts the grace from when it carries the change out.
                Some(grace) => kept.extend(self.for_present_id(now + grace + self.context.operation_timeout)),
                None => removed.append(&mut kept),
            }
            kept.sort_by_key(|old| Reverse(old.until()));
            removed.extend(kept.drain(kept.len().min(MOST_FORWARDS)..));
        }
        kept.retain(|old| !self.record.values.contains_key(&old.key));
        changes.keys.extend(kept.into_iter().map(|old| (old.key, Change::Set(old.value))));
        changes.keys.extend(removed.into_iter().map(|old| (old.key, Change::Remove)));
        Ok(changes)
    }

    fn for_old_ids(&self) -> impl Iterator<Item = ForOldId> {
        let from_there_on = self.record.values.range(OF_OLD_IDS.to_owned()..);
        let of_old_ids = from_there_on.take_while(|(key, _)| key.starts_with(OF_OLD_IDS));
        of_old_ids.map(|(key, value)| ForOldId { key: key.clone(), value: value.clone() })
    }

    /// Gives the data key as it will be kept for the present id, once that is an old one.
    fn for_present_id(&self, until: SystemTime) -> Option<ForOldId> {
        let wrapped = sealed_bytes(self.record.values.get(KEY)?)?;
        let milliseconds = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let value = StoredValue::Sealed([wrapped, &milliseconds.to_be_bytes()].concat());
        Some(ForOldId { key: format!("{OF_OLD_IDS}{}", self.context.public_id(&self.identity)), value })
    }
}

impl ForOldId {
    /// Says until when the data key is kept. The time follows the sealed data key, in milliseconds since 1970.
    fn until(&self) -> SystemTime {
        let milliseconds = sealed_bytes(&self.value).and_then(|bytes| bytes.get(WRAPPED_BYTES..)?.first_chunk());
        let milliseconds = milliseconds.map_or(0, |bytes| u64::from_be_bytes(*bytes));
        UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(UNIX_EPOCH)
    }
}
