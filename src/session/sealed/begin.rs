//! Begins to seal the values of a session that was stored plain.

use super::DATA_KEY_NAME;
use crate::deadline::Deadline;
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::seal::DataKey;
use crate::session::pending::Pending;
use crate::session::{Session, Transaction};
use crate::store::call::Call;
use crate::store::record::Loaded;
use crate::store::refusal::Refusal;
use crate::store::store_trait::Store;
use crate::store::stored_value::StoredValue;
use crate::store::update::{Change, ChangeSet, OWN, Update};

impl Session {
    /// Brings a data key into the record of a session that was stored plain. This happens if the request sets a value
    /// that has to be sealed. It also happens if the request gives the session a new id: another request may have
    /// brought in a data key meanwhile, and the record with the new id must not lose it.
    ///
    /// This is a step of its own, on the condition that no other request has changed the record. While an old id may be
    /// in its grace, nothing happens, and the values stay plain: requests with the old id could not open a sealed
    /// value.
    pub(in crate::session) fn begin_to_seal(&mut self, deadline: Deadline) -> Result<(), Error> {
        let Pending { changes, new_id, .. } = &self.pending;
        let sets = changes.keys.iter().any(|(key, change)| self.is_to_be_sealed(key, change));
        let ends_graces = new_id.as_ref().is_some_and(|new_id| new_id.grace.is_none());
        if !self.context.sealing.is_on || !(sets || new_id.is_some()) || self.is_new() {
            return Ok(());
        }
        // Other requests may have changed the record since its values were read, and this request may have saved then.
        let mut is_known = self.record.is_complete;
        while self.data_key().is_none() {
            if !is_known {
                self.read_again(deadline)?;
                is_known = true;
                continue;
            }
            let may_have_grace = !ends_graces && self.old_ids().next().is_some();
            if self.record.forwarded_to.is_some() || may_have_grace || self.record.values.contains_key(DATA_KEY_NAME) {
                break;
            }
            if deadline.has_passed() {
                let message = "other requests changed the session again and again, until the deadline; try again";
                return Err(StoreError::new(StoreErrorKind::Timeout, message).into());
            }
            let data_key = DataKey::random()?;
            let sealed = StoredValue::Sealed(data_key.seal_for(&self.context.namespace, &self.identity.id)?);
            let changes =
                ChangeSet { keys: [(DATA_KEY_NAME.to_owned(), Change::Set(sealed))].into(), ..ChangeSet::default() };
            let Some(info) = &self.record.info else { return Ok(()) };
            let update = Update { expected: Some(info.version), ..self.update_of(info, &changes) };
            match self.context.store.update(&self.key(), &update, &Call::until(deadline)?) {
                Ok(updated) => {
                    self.record.update(changes, updated);
                    self.data_key = Some(data_key).into();
                }
                Err(Refusal::Conflict) if self.transaction == Transaction::None => is_known = false,
                Err(refusal) => {
                    if matches!(refusal, Refusal::Conflict) {
                        self.transaction = Transaction::Conflicted;
                    }
                    return Err(refusal.into());
                }
            }
        }
        Ok(())
    }

    /// Reads what other requests have made of the record, as far as the data key depends on it.
    fn read_again(&mut self, deadline: Deadline) -> Result<(), Error> {
        let lifetime = &self.context.limits.lifetime;
        let loaded = self.context.store.peek(&self.key(), lifetime, &Call::until(deadline)?)?;
        let Loaded::Record(record) = loaded else { return Err(Error::Gone) };
        self.record.hear(record.info, record.forwarded_to);
        self.record.is_complete = false;
        self.record.values.retain(|key, _| !key.starts_with(OWN));
        self.record.values.extend(record.values.into_iter().filter(|(key, _)| key.starts_with(OWN)));
        self.data_key.take();
        Ok(())
    }
}
