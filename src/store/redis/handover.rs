//! Gives a session a new id whose key is in another slot of a cluster. No single script can move the record there.
//!
//! 1. *Prepare* the new record. It is complete, but nobody knows its id, and it expires soon.
//! 2. *End* the old record, if it still has the version that was read. Otherwise begin again.
//! 3. *Activate* the new record: the session goes on there. Only now is the new id handed out.
//!
//! So exactly one of several calls wins, no write of another process is lost, and two ids are never alive at once. If a
//! worker dies between step 2 and step 3, the session has ended. If a call is refused after step 1, it *discards* the
//! prepared record.

use crate::store::forward::TRAIL;
use crate::store::key::RecordKey;
use crate::store::record::{Loaded, RecordInfo, Size, Values};
use crate::store::redis::keys::{field, own_key};
use crate::store::redis::operation::Operation;
use crate::store::redis::plain_load::Purpose;
use crate::store::redis::record::too_many_sessions;
use crate::store::redis::reply::Reply;
use crate::store::redis::state;
use crate::store::refusal::Refusal;
use crate::store::update::{Update, Updated};
use redis::Value;
use std::borrow::Cow;

/// An update that gives a session a new id in another slot.
pub(crate) struct Handover<'a> {
    operation: &'a Operation<'a>,
    key: &'a RecordKey<'a>,
    new_key: &'a RecordKey<'a>,
    update: &'a Update<'a>,
}

impl<'a> Handover<'a> {
    /// Returns the handover that this update needs. Returns `None` if one script can make the update.
    pub(crate) fn needed(
        operation: &'a Operation<'a>,
        key: &'a RecordKey<'a>,
        update: &'a Update<'a>,
    ) -> Option<Handover<'a>> {
        let new_key = update.new_key.as_ref()?;
        let is_one_slot = operation.shared.deployment.are_in_one_slot(&own_key(key), &own_key(new_key));
        (!is_one_slot).then_some(Handover { operation, key, new_key, update })
    }

    pub(crate) fn run(&self) -> Result<Updated, Refusal> {
        let mut copy = self.update.known.map(|(info, values)| (info.clone(), Cow::Borrowed(values)));
        // Only the first attempt of a call has the caller's copy. If this is a later attempt, an earlier one may have
        // prepared the new record.
        let mut may_be_prepared = copy.is_none();
        loop {
            let (info, values) = match copy.take() {
                Some(copy) => copy,
                None => match self.operation.load(self.key, &self.update.lifetime, Purpose::Peek)? {
                    Loaded::Record(record) if record.forwarded_to.is_none() => (record.info, Cow::Owned(record.values)),
                    // The old record has ended. If an earlier attempt of this call ended it, the handover goes on.
                    _ => return self.end_and_activate(None)?.ok_or(Refusal::Gone),
                },
            };
            match self.prepare(&info, &values) {
                Ok(()) => may_be_prepared = true,
                Err(fault @ Refusal::Fault(_)) => return Err(fault),
                // The caller's copy may be out of date, so read the record itself.
                Err(_) if matches!(values, Cow::Borrowed(_)) => continue,
                Err(refusal) => {
                    if may_be_prepared {
                        self.discard();
                    }
                    return Err(refusal);
                }
            }
            if let Some(updated) = self.end_and_activate(Some(&info))? {
                return Ok(updated);
            }
        }
    }

    /// Prepares the new record. If an earlier attempt of this call has activated the record, the record is not changed.
    fn prepare(&self, info: &RecordInfo, values: &Values) -> Result<(), Refusal> {
        let update = self.update;
        let has_other_version = update.expected.is_some_and(|expected| {
            let is_other_change = |known: &RecordInfo| known.version == expected && known.last_nonce != info.last_nonce;
            expected != info.version || update.known.is_some_and(|(known, _)| is_other_change(known))
        });
        let lacks_value = update.holds.is_some_and(|(key, value)| values.get(key) != Some(value));
        if has_other_version || lacks_value {
            return Err(Refusal::Conflict);
        }
        let size_before = Size::of(values);
        let values = update.changes.apply(values)?;
        let size = Size::of(&values);
        update.check_size(size_before, size)?;
        let idle_timeout = update.new_idle_timeout(self.key).map_or(info.idle_timeout, |(timeout, _)| timeout);
        let (kept_flags, new_flags) = state::changed_flags(update, self.key);
        let flags = state::flags(info.has_own_idle_timeout, info.persistent) & kept_flags | new_flags;
        let limit = update.join.and_then(|join| join.limit);
        let operation = self.operation;
        let call = operation
            .scripts()
            .handover_prepare
            .on(operation.all_record_keys(self.new_key))
            .arg(info.version + 1)
            .arg(info.created_at)
            .arg(info.ends_at)
            .arg(idle_timeout)
            .arg(flags)
            .arg(size)
            .arg(operation.step_lifetime())
            .arg(update.join.is_some())
            .arg(update.join.map(|join| join.name))
            .arg(limit)
            .list(values.iter().map(|(key, value)| (field(key), value)));
        let reply = operation.run(&call)?;
        match reply.status() {
            "ok" | "activated" => Ok(()),
            "exists" => Err(Refusal::IdTaken),
            "too many sessions" => Err(too_many_sessions(limit)),
            "gone" => Err(Refusal::Gone),
            _ => Err(reply.unexpected().into()),
        }
    }

    /// Ends the old record if nobody has changed it since it was read as `info`, and activates the new one. Gives
    /// `None` if somebody has. Without `info`, activates the new record only if an earlier attempt of this call has
    /// ended the old one.
    fn end_and_activate(&self, info: Option<&RecordInfo>) -> Result<Option<Updated>, Refusal> {
        let operation = self.operation;
        let is_same_group = self.key.tag == self.new_key.tag;
        let end = operation
            .scripts()
            .handover_end
            .on(operation.record_keys(self.key))
            .arg(&self.update.lifetime)
            .arg(info.map_or(Vec::new(), state::last_change))
            .arg(self.update.grace)
            .arg(is_same_group.then_some(TRAIL))
            .arg(self.new_key.id)
            .arg(operation.trace_lifetime());
        let reply = operation.run(&end)?;
        match reply.status() {
            "ok" => {
                let updated = self.activate(reply);
                // Only now wait until the end of the old record is on the replicas and, if asked for, on disk. If this
                // wait fails, the new record is alive already. The script runs again, because WAIT looks only at the
                // writes of its own connection.
                if operation.shared.wait.is_some() {
                    operation.run(&end.and_wait())?;
                }
                updated.map(Some)
            }
            "changed" => Ok(None),
            "gone" => {
                self.discard();
                Err(Refusal::Gone)
            }
            _ => Err(reply.unexpected().into()),
        }
    }

    /// Activates the new record. `ended` is the reply of the script that ended the old one.
    fn activate(&self, mut ended: Reply) -> Result<Updated, Refusal> {
        let (operation, update) = (self.operation, self.update);
        let nonces = ended.list()?.into_iter().map(|nonces| match nonces {
            Value::BulkString(nonces) => nonces,
            _ => Vec::new(),
        });
        let (began_at, unconfirmed_until) = (ended.text()?, ended.text()?);
        let limit = update.join.and_then(|join| join.limit);
        let mut keys = operation.all_record_keys(self.new_key);
        keys.extend(operation.ended_key(self.new_key));
        let call = operation
            .scripts()
            .handover_activate
            .on(keys)
            .arg(&update.lifetime)
            .arg(update.join.is_some())
            .arg(limit)
            .arg(operation.step_lifetime())
            .arg(began_at)
            .arg(unconfirmed_until)
            .list(nonces)
            .list(update.changes.increments().map(|(key, _)| field(key)));
        let mut reply = operation.run(&call.and_wait())?;
        match reply.status() {
            "ok" => {}
            "gone" => return Err(Refusal::Gone),
            _ => return Err(reply.unexpected().into()),
        }
        let info = reply.info()?;
        let totals = reply.totals(update.changes)?;
        let ended = operation.finish_join(self.new_key, limit, &info, reply.over_limit()?);
        Ok(Updated { info, totals, forwarded_to: None, ended })
    }

    /// Removes the prepared record. If that fails, it expires.
    fn discard(&self) {
        let call = self.operation.scripts().handover_discard.on(self.operation.all_record_keys(self.new_key));
        if let Err(error) = self.operation.run(&call) {
            log::debug!("a prepared record was not removed, and expires: {error}");
        }
    }
}
