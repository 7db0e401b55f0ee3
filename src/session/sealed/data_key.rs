//! The data key of a session, and what is sealed with it.

use super::{KEY, OF_OLD_IDS};
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::seal::{DataKey, WRAPPED_BYTES};
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

    /// Gives the data key of the session, if the record has one for the id of this request.
    pub(super) fn data_key(&self) -> Option<&DataKey> {
        let unwrapped = self.data_key.get_or_init(|| {
            // Whether the values were read before or after the id became an old one does not matter.
            let of_old_id = format!("{OF_OLD_IDS}{}", self.context.public_id(&self.identity));
            [KEY, &of_old_id].into_iter().find_map(|key| {
                let wrapped = sealed_bytes(self.record.values.get(key)?)?.get(..WRAPPED_BYTES)?;
                DataKey::unwrap(&self.context.namespace, &self.identity.id, wrapped)
            })
        });
        unwrapped.as_ref()
    }

    /// Seals the values that this request has set.
    ///
    /// While the first grace of a session that was stored plain is not over, it has no data key, and its values stay
    /// plain. If the data key of a session is damaged, nothing that has to be sealed can be saved.
    pub(in crate::session) fn seal_pending(&mut self) -> Result<(), Error> {
        if !self.context.sealing.is_on {
            return Ok(());
        }
        // A login of another user leaves no value, and no id that could read one.
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
            return match refused.filter(|_| self.record.values.contains_key(KEY)) {
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

    /// Makes sealed values of refused changes plain again. The next save seals them with the data key that the record
    /// has by then.
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

    /// Says whether a change sets a value that has to be sealed.
    pub(super) fn is_to_be_sealed(&self, key: &str, change: &Change) -> bool {
        matches!(change, Change::Set(StoredValue::Json(_))) && self.context.sealing.is_sealed(key)
    }
}

/// The error for a value that cannot be opened.
fn damaged(key: &str) -> StoreError {
    let message = format!("the value of {key:?}, or the data key of the session, is damaged; destroy() still ends it");
    StoreError::new(StoreErrorKind::Corrupt, message)
}

/// Gives the bytes of a sealed value.
pub(super) fn sealed_bytes(value: &StoredValue) -> Option<&[u8]> {
    match value {
        StoredValue::Sealed(bytes) => Some(bytes),
        StoredValue::Json(_) => None,
    }
}
