//! The data key of a session, and what is sealed with it.

use super::{DATA_KEY_NAME, OLD_DATA_KEY_PREFIX};
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::seal::{DataKey, SEALED_BYTES};
use crate::session::Session;
use crate::store::stored_value::StoredValue;
use crate::store::update::{Change, ChangeSet};
use std::mem;

impl Session {
    /// Opens a sealed value.
    pub(super) fn open(&self, key: &str, sealed: &[u8]) -> Result<String, Error> {
        let opened = self.data_key().and_then(|data_key| data_key.open(&self.context.namespace, key, sealed));
        opened.ok_or_else(|| {
            let error = damaged(key);
            self.context.store.count_error(Some(self.public_id()), &error);
            error.into()
        })
    }

    /// Returns the data key of the session, if the record has one for the id of this request.
    pub(super) fn data_key(&self) -> Option<&DataKey> {
        let opened = self.data_key.get_or_init(|| {
            // The id may have been replaced before the values were read. Then its data key is under the second name.
            let of_old_id = format!("{OLD_DATA_KEY_PREFIX}{}", self.context.public_id(&self.identity));
            [DATA_KEY_NAME, &of_old_id].into_iter().find_map(|key| {
                let sealed = sealed_bytes(self.record.values.get(key)?)?.get(..SEALED_BYTES)?;
                DataKey::open_for(&self.context.namespace, &self.identity.id, sealed)
            })
        });
        opened.as_ref()
    }

    /// Seals the values that this request has set.
    ///
    /// A session that was stored plain has no data key while an old id is in its grace, and its values stay plain until
    /// then. If the data key of a session is damaged, nothing that has to be sealed can be saved.
    pub(in crate::session) fn seal_pending(&mut self) -> Result<(), Error> {
        if !self.context.sealing.is_on {
            return Ok(());
        }
        // A login of another user removes all values, and no old id works any more. So the session gets a new data key.
        let begins_anew = self.pending.changes.clear && self.pending.new_id.is_some() && self.pending.grace().is_none();
        if begins_anew {
            // An earlier save that failed may have sealed some of them.
            let mut changes = mem::take(&mut self.pending.changes);
            self.open_refused(&mut changes);
            self.pending.changes = changes;
        }
        if begins_anew || self.is_new() && self.data_key.get().is_none_or(Option::is_none) {
            self.data_key = Some(DataKey::random()?).into();
        }
        let Some(data_key) = self.data_key().cloned() else {
            let is_to_be_sealed = |(key, change): &(&String, &Change)| self.is_to_be_sealed(key, change);
            let refused = self.pending.changes.keys.iter().find(is_to_be_sealed);
            return match refused.filter(|_| self.record.values.contains_key(DATA_KEY_NAME)) {
                Some((key, _)) => Err(damaged(key).into()),
                None => Ok(()),
            };
        };
        for (key, change) in &mut self.pending.changes.keys {
            if let Change::Set(StoredValue::Json(json)) = change
                && self.context.sealing.is_sealed(key)
            {
                *change = Change::Set(StoredValue::Sealed(data_key.seal(&self.context.namespace, key, json)?));
            }
        }
        Ok(())
    }

    /// Opens the sealed values in changes that the store refused. The next save seals them with the data key that the
    /// record has by then.
    pub(in crate::session) fn open_refused(&mut self, refused: &mut ChangeSet) {
        for (key, change) in &mut refused.keys {
            if let Change::Set(StoredValue::Sealed(sealed)) = change
                && let Ok(json) = self.open(key, sealed)
            {
                *change = Change::Set(StoredValue::Json(json));
            }
        }
        if !self.is_new() {
            self.data_key.take();
        }
    }

    /// Returns whether a change sets a value that has to be sealed.
    pub(super) fn is_to_be_sealed(&self, key: &str, change: &Change) -> bool {
        matches!(change, Change::Set(StoredValue::Json(_))) && self.context.sealing.is_sealed(key)
    }
}

/// The error for a value that cannot be opened.
fn damaged(key: &str) -> StoreError {
    let message = format!(
        "cannot open the value of {key:?}: it, or the data key of its session, is damaged; destroy() still ends the \
         session"
    );
    StoreError::new(StoreErrorKind::Corrupt, message)
}

/// Returns the bytes of a sealed value.
pub(super) fn sealed_bytes(value: &StoredValue) -> Option<&[u8]> {
    match value {
        StoredValue::Sealed(bytes) => Some(bytes),
        StoredValue::Json(_) => None,
    }
}
