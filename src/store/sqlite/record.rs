//! The operations on one session.

use crate::end_reason::EndReason;
use crate::error::StoreError;
use crate::id::PublicId;
use crate::lifetime::Lifetime;
use crate::store::forward::{Forward, Purpose};
use crate::store::key::RecordKey;
use crate::store::record::{Created, NewRecord, Record, RecordInfo, Size, Values};
use crate::store::refusal::Refusal;
use crate::store::sqlite::failure::Failure;
use crate::store::sqlite::operation::Operation;
use crate::store::sqlite::purge::{PURGED, purge, purge_forwards};
use crate::store::sqlite::remains::Remains;
use crate::store::sqlite::rows::{LiveRow, Move, NewRow};
use crate::store::sqlite::{forward, group, group_values, namespace, rows, trace, values};
use crate::store::state::RecordState;
use crate::store::update::{Update, Updated};
use rusqlite::Connection;
use std::time::SystemTime;

/// A record that was loaded, and its present key.
pub(crate) struct Found<'a> {
    pub(crate) at: RecordKey<'a>,
    pub(crate) record: Record,
    pub(crate) is_refresh_due: bool,
}

impl Operation<'_> {
    /// Creates a record whose values have this size. Returns the records that remain of sessions that this ends.
    pub(crate) fn create(
        &self,
        key: &RecordKey<'_>,
        record: &NewRecord<'_>,
        size: Size,
    ) -> Result<(Created, Option<Remains>), Failure<Refusal>> {
        let transaction = self.begin()?;
        let now = self.now();
        if let Some(found) = rows::find(&transaction, key, now)? {
            let made_before = found.state.knows(self.call.nonce);
            let created = Created { info: found.state.info(now), ended: Vec::new() };
            return if made_before { Ok((created, None)) } else { Err(Refusal::IdTaken.into()) };
        }
        if trace::is_known(&transaction, key, self.call.nonce, now)? {
            return Err(Refusal::Gone.into());
        }
        // An expired record may still have this key.
        rows::remove(&transaction, key, now)?;
        purge(&transaction, now, PURGED)?;
        let state = RecordState::new(record, self.call, now);
        let in_group = group::serial(&transaction, key)?;
        let row = NewRow {
            key,
            namespace: namespace::serial(&transaction, key.namespace)?,
            in_group,
            group_name: record.join.map(|join| join.name),
            join_order: group::next_in_order(&transaction, in_group, now)?,
            size,
            state: &state,
        };
        let serial = rows::insert(&transaction, &row)?;
        for (key, json) in &record.values {
            values::set(&transaction, serial, key, json)?;
        }
        group_values::keep_until(&transaction, key, state.expires_at, now)?;
        let (ended, remains) = self.limit_group(&transaction, key, record.join, now)?;
        self.disk_space.commit(transaction)?;
        Ok((Created { info: state.info(now), ended }, remains))
    }

    /// Loads a record, and says whether a refresh is due. If the session has ended, gives the reason.
    pub(crate) fn load<'a>(
        &self,
        key: &RecordKey<'a>,
        lifetime: &Lifetime,
    ) -> Result<Result<Found<'a>, EndReason>, Failure<StoreError>> {
        let now = self.now();
        let found = match rows::read(self.sqlite, key, now)? {
            Some(found) => Some((*key, found)),
            None => {
                let transaction = self.sqlite.unchecked_transaction()?;
                forward::on_present_record(&transaction, key, Purpose::Use, now, |key| {
                    rows::read(&transaction, key, now)
                })?
            }
        };
        let Some((at, found)) = found else { return Ok(Err(self.reason(key, now)?)) };
        let Some(state) = found.state.alive(lifetime, now) else { return Ok(Err(EndReason::Expired)) };
        let group_values = match at.tag {
            Some(tag) => group_values::read(self.sqlite, &at.group(tag), now)?,
            None => Values::new(),
        };
        let record = Record {
            info: state.info(now),
            values: found.values,
            group_name: found.group_name,
            group_values,
            refreshed: false,
            forwarded_to: at.forwarded_from(key),
        };
        Ok(Ok(Found { at, record, is_refresh_due: state.is_refresh_due(lifetime.refresh, now) }))
    }

    /// Returns the reason why the session of this key, or of the key that this one leads to, has ended.
    fn reason(&self, key: &RecordKey<'_>, now: SystemTime) -> rusqlite::Result<EndReason> {
        trace::reason(self.sqlite, &forward::present_key(self.sqlite, key, Purpose::Use, now)?, now)
    }

    /// Returns the id that the live session of this key has now. A damaged record counts as ended.
    pub(crate) fn present_id(
        &self,
        key: &RecordKey<'_>,
        lifetime: &Lifetime,
    ) -> Result<Option<PublicId>, Failure<StoreError>> {
        let now = self.now();
        let found = match find(self.sqlite, key, now) {
            // A column holds something of another type.
            Err(error) if error.sqlite_error_code().is_none() => None,
            found => found?,
        };
        Ok(found.and_then(|(at, found)| found.state.alive(lifetime, now).map(|_| at.id)))
    }

    /// Refreshes a record, and gives the key and the state that it has now. Returns `None` if the session has ended
    /// meanwhile.
    pub(crate) fn refresh<'a>(
        &self,
        key: &RecordKey<'a>,
        lifetime: &Lifetime,
    ) -> Result<Option<(RecordKey<'a>, RecordInfo)>, Failure<StoreError>> {
        let transaction = self.begin()?;
        let now = self.now();
        let Some((at, mut found)) = find(&transaction, key, now)? else { return Ok(None) };
        let Some(state) = found.state.alive(lifetime, now) else { return Ok(None) };
        found.state = state;
        if found.state.refresh(lifetime.refresh, now) {
            rows::write_life(&transaction, &found)?;
            group_values::keep_until(&transaction, &at, found.state.expires_at, now)?;
            self.disk_space.commit(transaction)?;
        }
        Ok(Some((at, found.state.info(now))))
    }

    /// Applies a change set. Returns the records that remain of sessions that this ends.
    pub(crate) fn update(
        &self,
        key: &RecordKey<'_>,
        update: &Update<'_>,
    ) -> Result<(Updated, Option<Remains>), Failure<Refusal>> {
        let transaction = self.begin()?;
        let now = self.now();
        let (mut found, forwarded_to) = self.find_for(&transaction, key, update, now)?;
        found.state = found.state.alive(&update.lifetime, now).ok_or(Refusal::Gone)?;
        let (mut ended, mut remains) = (Vec::new(), None);
        if !found.state.knows(self.call.nonce) {
            found.state = found.state.after(key, update, self.call, now)?;
            change(&transaction, &found, update)?;
            if let Some(new_key) = &update.new_key {
                self.move_to(&transaction, &found, key, new_key, update, now)?;
                (ended, remains) = self.limit_group(&transaction, new_key, update.join, now)?;
            }
            let at = update.new_key.as_ref().unwrap_or(key);
            group_values::keep_until(&transaction, at, found.state.expires_at, now)?;
        }
        let totals = values::totals(&transaction, found.serial, update.changes)?;
        self.disk_space.commit(transaction)?;
        Ok((Updated { info: found.state.info(now), totals, forwarded_to, ended }, remains))
    }

    /// Finds the record for an update. If the record was found by a forward, gives its present id too. If this call was
    /// made before, the record has its new key already.
    fn find_for(
        &self,
        sqlite: &Connection,
        key: &RecordKey<'_>,
        update: &Update<'_>,
        now: SystemTime,
    ) -> Result<(LiveRow, Option<PublicId>), Failure<Refusal>> {
        let Some(new_key) = &update.new_key else {
            let (at, found) = find(sqlite, key, now)?.ok_or(Refusal::Gone)?;
            return Ok((found, at.forwarded_from(key)));
        };
        match rows::find(sqlite, new_key, now)? {
            Some(found) if found.state.knows(self.call.nonce) => Ok((found, None)),
            Some(_) => Err(Refusal::IdTaken.into()),
            // An id that was replaced cannot be replaced again.
            None => Ok((rows::find(sqlite, key, now)?.ok_or(Refusal::Gone)?, None)),
        }
    }

    /// Ends a session, and gives its id if it was alive.
    pub(crate) fn delete(
        &self,
        key: &RecordKey<'_>,
        reason: EndReason,
    ) -> Result<Option<PublicId>, Failure<StoreError>> {
        let now = self.now();
        let transaction = self.begin()?;
        let ended = forward::on_present_record(&transaction, key, Purpose::End, now, |key| {
            if let Some(serial) = rows::serial(&transaction, key)? {
                self.leave_trace(&transaction, serial, reason, now)?;
            }
            rows::remove(&transaction, key, now)
        })?;
        transaction.commit()?;
        Ok(ended.and_then(|(at, was_alive)| was_alive.then_some(at.id)))
    }

    /// Moves a record from `key` to its new key.
    fn move_to(
        &self,
        sqlite: &Connection,
        found: &LiveRow,
        key: &RecordKey<'_>,
        new_key: &RecordKey<'_>,
        update: &Update<'_>,
        now: SystemTime,
    ) -> rusqlite::Result<()> {
        // An expired record may still have the new key.
        rows::remove(sqlite, new_key, now)?;
        let in_group = group::serial(sqlite, new_key)?;
        let join_order = match update.join {
            Some(_) => Some(group::next_in_order(sqlite, in_group, now)?),
            None => (in_group == 0).then_some(0),
        };
        if new_key.tag == key.tag {
            purge_forwards(sqlite, now, PURGED)?;
            forward::insert(sqlite, key, &Forward::new(new_key.id, update.grace, now))?;
        } else {
            self.leave_trace(sqlite, found.serial, EndReason::NewId, now)?;
        }
        let to = Move { new_key, in_group, group_name: update.join.map(|join| join.name), join_order };
        rows::write_key(sqlite, found, &to).map(drop)
    }
}

/// Finds the live record of a key, or of the key that this one leads to.
fn find<'a>(
    sqlite: &Connection,
    key: &RecordKey<'a>,
    now: SystemTime,
) -> rusqlite::Result<Option<(RecordKey<'a>, LiveRow)>> {
    forward::on_present_record(sqlite, key, Purpose::Use, now, |key| rows::find(sqlite, key, now))
}

/// Changes the values of a record, and writes its state.
fn change(sqlite: &Connection, found: &LiveRow, update: &Update<'_>) -> Result<(), Failure<Refusal>> {
    if let Some((key, value)) = update.holds
        && values::get(sqlite, found.serial, key)?.as_ref() != Some(value)
    {
        return Err(Refusal::Conflict.into());
    }
    let size = values::change(sqlite, found.serial, found.size, update.changes)?;
    update.check_size(found.size, size)?;
    rows::write_change(sqlite, found, size)?;
    let changes = update.changes;
    if changes.idle_timeout.is_some() || changes.persistent.is_some() || update.new_key.is_some() {
        rows::write_life(sqlite, found)?;
    }
    Ok(())
}
