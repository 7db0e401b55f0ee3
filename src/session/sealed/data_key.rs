//! The data key of a session: made, kept through new ids, and used.

use super::{KEY, OF_OLD_IDS};
use crate::deadline::Deadline;
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::seal::{DataKey, WRAPPED_BYTES};
use crate::session::pending::Pending;
use crate::session::{Session, Transaction};
use crate::store::call::Call;
use crate::store::forward::MOST_FORWARDS;
use crate::store::record::Loaded;
use crate::store::refusal::Refusal;
use crate::store::store_trait::Store;
use crate::store::stored_value::StoredValue;
use crate::store::update::{Change, ChangeSet, OWN, Update};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    fn data_key(&self) -> Option<&DataKey> {
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

    /// Gives the changes that keep the data key through these changes: sealed for the new id, and through a grace for
    /// the old one too.
    pub(in crate::session) fn kept_data_keys(&self, pending: &Pending) -> Result<ChangeSet, Error> {
        let mut kept = ChangeSet::default();
        let now = self.record.now().unwrap_or(UNIX_EPOCH);
        let of_old_ids = self.record.values.range(OF_OLD_IDS.to_owned()..);
        let mut of_old_ids: Vec<(String, SystemTime, StoredValue)> = of_old_ids
            .map_while(|(key, value)| key.starts_with(OF_OLD_IDS).then(|| (key.clone(), until(value), value.clone())))
            .collect();
        kept.keys.extend(of_old_ids.iter().filter(|(_, until, _)| *until <= now).map(|(key, ..)| removal(key)));
        of_old_ids.retain(|(_, until, _)| *until > now);
        if self.is_new() || pending.new_id.is_some() {
            if let Some(data_key) = self.data_key() {
                let identity = pending.new_identity().unwrap_or(&self.identity);
                let wrapped = data_key.wrap(&self.context.namespace, &identity.id)?;
                kept.keys.insert(KEY.to_owned(), Change::Set(StoredValue::Sealed(wrapped)));
            }
            match pending.grace() {
                // The store counts the grace from when it carries the change out.
                Some(grace) => of_old_ids.extend(self.for_old_id(now + grace + self.context.operation_timeout)),
                None => kept.keys.extend(of_old_ids.drain(..).map(|(key, ..)| removal(&key))),
            }
            of_old_ids.sort_by_key(|(_, until, _)| std::cmp::Reverse(*until));
            kept.keys.extend(of_old_ids.iter().skip(MOST_FORWARDS).map(|(key, ..)| removal(key)));
            of_old_ids.truncate(MOST_FORWARDS);
        }
        let is_known = |key: &String, value: &StoredValue| self.record.values.get(key) == Some(value);
        of_old_ids.retain(|(key, _, value)| !is_known(key, value));
        kept.keys.extend(of_old_ids.into_iter().map(|(key, _, value)| (key, Change::Set(value))));
        Ok(kept)
    }

    /// Gives the data key as it is kept for the present id, once that is an old one.
    fn for_old_id(&self, until: SystemTime) -> Option<(String, SystemTime, StoredValue)> {
        let wrapped = sealed_bytes(self.record.values.get(KEY)?)?;
        let milliseconds = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let value = StoredValue::Sealed([wrapped, &milliseconds.to_be_bytes()].concat());
        Some((format!("{OF_OLD_IDS}{}", self.context.public_id(&self.identity)), until, value))
    }

    /// Says whether a change sets a value that has to be sealed.
    fn is_to_be_sealed(&self, key: &str, change: &Change) -> bool {
        matches!(change, Change::Set(StoredValue::Json(_))) && self.context.sealing.is_sealed(key)
    }
}

fn damaged(key: &str) -> StoreError {
    let message = format!("the value of {key:?}, or the data key of the session, is damaged; destroy() still ends it");
    StoreError::new(StoreErrorKind::Corrupt, message)
}

fn removal(key: &str) -> (String, Change) {
    (key.to_owned(), Change::Remove)
}

fn sealed_bytes(value: &StoredValue) -> Option<&[u8]> {
    match value {
        StoredValue::Sealed(bytes) => Some(bytes),
        StoredValue::Json(_) => None,
    }
}

/// Reads until when the data key is kept for an old id. It is the time that follows the sealed data key.
fn until(value: &StoredValue) -> SystemTime {
    let milliseconds = sealed_bytes(value).and_then(|bytes| bytes.get(WRAPPED_BYTES..)?.first_chunk());
    let milliseconds = milliseconds.map_or(0, |bytes| u64::from_be_bytes(*bytes));
    UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(UNIX_EPOCH)
}
