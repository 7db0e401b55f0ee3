//! Keeps the data key of a session through new ids.

use super::data_key::sealed_bytes;
use super::{DATA_KEY_NAME, OLD_DATA_KEY_PREFIX};
use crate::error::Error;
use crate::seal::SEALED_BYTES;
use crate::session::Session;
use crate::session::pending::Pending;
use crate::store::forward::MOST_FORWARDS;
use crate::store::stored_value::StoredValue;
use crate::store::update::Change;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The data key of the session, sealed for an old id.
struct OldDataKey {
    key: String,
    /// The sealed data key, and until when it is kept.
    value: StoredValue,
}

impl Session {
    /// Returns the changes that a save adds for the data key. If the session gets a new id, the data key is sealed for
    /// it. If the old id has a grace, the data key stays sealed for the old id too.
    pub(in crate::session) fn kept_data_keys(&self, pending: &Pending) -> Result<BTreeMap<String, Change>, Error> {
        let now = self.record.now().unwrap_or(UNIX_EPOCH);
        let (mut kept, mut removed): (Vec<_>, Vec<_>) = self.old_data_keys().partition(|old| old.until() > now);
        let mut changes = BTreeMap::new();
        if self.is_new() || pending.new_id.is_some() {
            if let Some(data_key) = self.data_key() {
                let identity = pending.new_identity().unwrap_or(&self.identity);
                let sealed = data_key.seal_for(&self.context.namespace, &identity.id)?;
                changes.insert(DATA_KEY_NAME.to_owned(), Change::Set(StoredValue::Sealed(sealed)));
            }
            match pending.grace() {
                // The store counts the grace from when it carries the change out.
                Some(grace) => kept.extend(self.future_old_data_key(now + grace + self.context.operation_timeout)),
                None => removed.append(&mut kept),
            }
            kept.sort_by_key(|old| Reverse(old.until()));
            removed.extend(kept.drain(kept.len().min(MOST_FORWARDS)..));
        }
        kept.retain(|old| !self.record.values.contains_key(&old.key));
        changes.extend(kept.into_iter().map(|old| (old.key, Change::Set(old.value))));
        changes.extend(removed.into_iter().map(|old| (old.key, Change::Remove)));
        Ok(changes)
    }

    fn old_data_keys(&self) -> impl Iterator<Item = OldDataKey> {
        let from_there_on = self.record.values.range(OLD_DATA_KEY_PREFIX.to_owned()..);
        let of_old_ids = from_there_on.take_while(|(key, _)| key.starts_with(OLD_DATA_KEY_PREFIX));
        of_old_ids.map(|(key, value)| OldDataKey { key: key.clone(), value: value.clone() })
    }

    /// Returns the data key as it will be kept for the present id, once that is an old one.
    fn future_old_data_key(&self, until: SystemTime) -> Option<OldDataKey> {
        let sealed = sealed_bytes(self.record.values.get(DATA_KEY_NAME)?)?;
        let milliseconds = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let value = StoredValue::Sealed([sealed, &milliseconds.to_be_bytes()].concat());
        Some(OldDataKey { key: format!("{OLD_DATA_KEY_PREFIX}{}", self.context.public_id(&self.identity)), value })
    }
}

impl OldDataKey {
    /// Returns the time until which the data key is kept. The time follows the sealed data key, in milliseconds since
    /// 1970.
    fn until(&self) -> SystemTime {
        let milliseconds = sealed_bytes(&self.value).and_then(|bytes| bytes.get(SEALED_BYTES..)?.first_chunk());
        let milliseconds = milliseconds.map_or(0, |bytes| u64::from_be_bytes(*bytes));
        UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(UNIX_EPOCH)
    }
}
