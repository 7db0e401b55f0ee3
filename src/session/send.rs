//! Sends changes to the store, and handles its answer.

use crate::deadline::Deadline;
use crate::end_reason::EndReason;
use crate::error::Error;
use crate::random;
use crate::session::new_id::{GroupChange, NewId};
use crate::session::pending::{InFlight, Pending};
use crate::session::{Session, Transaction, own_keys};
use crate::store::call::Call;
use crate::store::record::{Created, NewRecord, RecordInfo, Size};
use crate::store::refusal::Refusal;
use crate::store::store_trait::Store;
use crate::store::update::{ChangeSet, Update, Updated};
use std::mem;

impl Session {
    /// Sends the changes that are in flight, if there are any. After a refusal they are pending again. After a fault of
    /// the store they stay in flight.
    pub(super) fn send(&mut self, deadline: Deadline) -> Result<(), Error> {
        let Some(InFlight { nonce, mut pending }) = self.in_flight.take() else { return Ok(()) };
        let call = Call { deadline, nonce };
        let answer = match &self.record.info {
            None => self.create(&pending, &call),
            Some(info) => self.update(info, &pending, &call),
        };
        match answer {
            Ok(updated) => {
                self.confirm(pending, updated);
                Ok(())
            }
            Err(Refusal::Fault(error)) => {
                self.in_flight = Some(InFlight { nonce, pending });
                // The changes may have been applied, and other requests may have changed the record since.
                self.record.is_complete = false;
                Err(error.into())
            }
            // Another request may have changed the id first. Its new id serves as well.
            Err(Refusal::Gone) if pending.grace().is_some() => self.send_without_new_id(pending, deadline),
            Err(mut refusal) => {
                own_keys::subtract_own(&mut refusal, self.size_of_own_values(&pending.changes));
                match refusal {
                    Refusal::Conflict if self.transaction == Transaction::Running => {
                        self.transaction = Transaction::Conflicted;
                    }
                    // The next save draws another id.
                    Refusal::IdTaken => pending.forget_new_identity(),
                    _ => {}
                }
                self.take_back(pending);
                Err(refusal.into())
            }
        }
    }

    fn create(&self, pending: &Pending, call: &Call) -> Result<Updated, Refusal> {
        let (limits, changes) = (&self.context.limits, &pending.changes);
        let join = pending.join(limits.group_limit);
        let record = NewRecord {
            values: changes.apply(&self.record.values)?,
            size_limit: limits.size_limit + self.size_of_own_values(changes),
            lifetime: limits.lifetime,
            idle_timeout: changes.idle_timeout.flatten(),
            persistent: changes.persistent.flatten(),
            // A robot has no password. So the session of a login has its full life at once.
            unconfirmed_timeout: join.is_none().then_some(limits.unconfirmed_timeout),
            join,
        };
        let identity = pending.new_identity().unwrap_or(&self.identity);
        let Created { info, ended } = self.context.store.create(&self.context.key(identity), &record, call)?;
        let totals = changes.increments().map(|(key, by)| (key.to_owned(), by)).collect();
        Ok(Updated { info, totals, forwarded_to: None, ended })
    }

    fn update(&self, info: &RecordInfo, pending: &Pending, call: &Call) -> Result<Updated, Refusal> {
        let update = Update {
            new_key: pending.new_identity().map(|identity| self.context.key(identity)),
            grace: pending.grace(),
            join: pending.join(self.context.limits.group_limit),
            known: self.record.is_complete.then_some((info, &self.record.values)),
            ..self.update_of(info, &pending.changes)
        };
        self.context.store.update(&self.key(), &update, call)
    }

    /// Returns the update that makes these changes under the present id.
    pub(super) fn update_of<'a>(&'a self, info: &RecordInfo, changes: &'a ChangeSet) -> Update<'a> {
        let limits = &self.context.limits;
        let (limit, own) = (limits.size_limit, self.size_of_own_values(changes));
        // The session may be larger than the limit, if the limit was larger before. Then it may keep its size.
        let now = self.size_of_application_values();
        let limit = Size { keys: limit.keys.max(now.keys), bytes: limit.bytes.max(now.bytes) };
        Update {
            changes,
            expected: self.is_in_transaction().then_some(info.version),
            holds: None,
            size_limit: limit + own,
            lifetime: limits.lifetime,
            new_key: None,
            grace: None,
            join: None,
            known: None,
        }
    }

    /// Takes over the changes that the store has made.
    fn confirm(&mut self, pending: Pending, mut updated: Updated) {
        let is_created = self.is_new();
        let changes = &pending.changes;
        self.cookie_due |= is_created || pending.new_id.is_some();
        self.cookie_due |= changes.idle_timeout.is_some() || changes.persistent.is_some();
        self.context.tell_ends(&updated.ended, EndReason::OverLimit);
        self.ended_by_login.append(&mut updated.ended);
        self.record.is_unconfirmed |= is_created;
        if let Some(NewId { identity, group, .. }) = pending.new_id {
            self.identity = identity.unwrap_or_else(|| self.identity.clone());
            if group != GroupChange::Stay {
                self.record.group_values.clear();
            }
            match group {
                GroupChange::Join(name) => {
                    self.record.group_name = Some(name);
                    self.record.is_unconfirmed = false;
                }
                GroupChange::Leave => self.record.group_name = None,
                GroupChange::Stay => {}
            }
        }
        self.record.update(pending.changes, updated);
    }

    /// Makes refused changes pending again.
    fn take_back(&mut self, mut refused: Pending) {
        own_keys::remove_own(&mut refused.changes);
        #[cfg(feature = "seal")]
        self.open_refused(&mut refused.changes);
        self.pending = refused.followed_by(mem::take(&mut self.pending));
    }

    /// Sends changes once more, without the new id that was the reason for the refusal.
    fn send_without_new_id(&mut self, mut refused: Pending, deadline: Deadline) -> Result<(), Error> {
        let nonce = match random::nonce() {
            Ok(nonce) => nonce,
            Err(error) => {
                self.take_back(refused);
                return Err(error);
            }
        };
        let new_id = refused.new_id.take();
        own_keys::remove_own(&mut refused.changes);
        self.in_flight = Some(InFlight { nonce, pending: refused });
        let answer = self.send(deadline);
        if !matches!(answer, Ok(()) | Err(Error::Store(_))) {
            // No other request has changed the id: the session has ended.
            self.take_back(Pending { new_id, ..Pending::default() });
        }
        answer
    }
}
