//! Begins to seal the values of a session that was stored plain.

use super::KEY;
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
    /// Brings a data key into the record of a session that was stored before its values were sealed, if the changes of
    /// this request may need one: they set something, or they give the session a new id, for which a data key that
    /// another request has just brought in would have to be sealed anew.
    ///
    /// This is a step of its own, on the condition that no other request has changed the record. It waits until no old
    /// id is in its grace: the requests with that id could not read what is sealed.
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
            let has_grace = !ends_graces && self.previous_ids().next().is_some();
            if self.record.forwarded_to.is_some() || has_grace || self.record.values.contains_key(KEY) {
                break;
            }
            if deadline.has_passed() {
                let message = "other requests changed the session all the time; try again";
                return Err(StoreError::new(StoreErrorKind::Timeout, message).into());
            }
            let data_key = DataKey::random()?;
            let wrapped = StoredValue::Sealed(data_key.wrap(&self.context.namespace, &self.identity.id)?);
            let changes = ChangeSet { keys: [(KEY.to_owned(), Change::Set(wrapped))].into(), ..ChangeSet::default() };
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
