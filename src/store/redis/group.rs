//! Groups: listed, limited and cleared, a batch of sessions at a time.

use crate::end_reason::EndReason;
use crate::error::StoreError;
use crate::group_limit::GroupLimit;
use crate::id::PublicId;
use crate::store::forward::MOST_FORWARDS;
use crate::store::group_update::GroupUpdate;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::{Cleared, SessionInfo, Values};
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::fields::group_values;
use crate::store::redis::keys::{ended_key, field, own_key};
use crate::store::redis::operation::Operation;
use crate::store::redis::reply::OverLimit;
use crate::store::redis::state;
use crate::store::redis::wire::commands::Commands;
use crate::store::refusal::Refusal;
use redis::Value;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::{iter, mem};

// Redis serves nobody else while a script runs. These limits keep each script within a few milliseconds.

/// The most sessions that a script reads or removes.
const BATCH: usize = 500;
/// The most ids that a script lists.
const PAGE: usize = 5_000;
/// The most fields that a script reads.
const LOOKUPS: usize = 15_000;
/// The fields of a record that a script reads besides values.
const OWN_FIELDS: usize = 6;
/// A script that reads values stops after this many bytes of them.
const MOST_BYTES_READ: usize = 256 * 1024;
/// A script that removes records stops after this many bytes of values.
const MOST_BYTES_REMOVED: usize = 4 << 20;

impl Operation<'_> {
    pub(crate) fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str]) -> Result<Vec<SessionInfo>, StoreError> {
        let ids: Vec<PublicId> = self.group_ids(group)?.into_iter().collect();
        let (mut ids, mut sessions) = (&*ids, Vec::new());
        let most_sessions = (LOOKUPS / (keys.len() + OWN_FIELDS)).clamp(1, BATCH);
        while !ids.is_empty() {
            let batch = &ids[..ids.len().min(most_sessions)];
            let records = batch.iter().map(|id| own_key(&group.session(*id)));
            let call = self
                .scripts()
                .group_read
                .on(self.group_keys(group).into_iter().chain(records).collect())
                .arg(MOST_BYTES_READ)
                .list(keys.iter().map(|key| field(key)));
            let mut reply = self.run(&call)?;
            sessions.extend(reply.sessions(keys)?);
            let seen: usize = reply.number()?;
            ids = &ids[seen.clamp(1, batch.len())..];
        }
        Ok(sessions)
    }

    /// Lists the ids of a group's sessions, by expiry. If a session is refreshed meanwhile, its new expiry moves it to
    /// a later page, and it is read twice. The set keeps it once.
    fn group_ids(&self, group: &GroupKey<'_>) -> Result<BTreeSet<PublicId>, StoreError> {
        let (mut ids, mut from, mut left_out) = (BTreeSet::new(), String::new(), 0);
        loop {
            let call = self.scripts().group_ids.on(self.group_keys(group)).arg(from).arg(left_out).arg(PAGE);
            let mut page = self.run(&call)?;
            ids.extend(page.ids()?);
            (from, left_out) = (page.text()?, page.number::<usize>()?);
            if from.is_empty() {
                return Ok(ids);
            }
        }
    }

    pub(crate) fn group_len(&self, group: &GroupKey<'_>) -> Result<usize, StoreError> {
        self.run(&self.scripts().group_len.on(self.group_keys(group)))?.number()
    }

    pub(crate) fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>) -> Result<Cleared, StoreError> {
        let (mut except, mut replaced_in, mut forwards) = (except, None::<u64>, 0);
        loop {
            let mut keys = self.group_keys(group);
            keys.push(ended_key(group, self.call.nonce));
            keys.extend(except.map(|id| own_key(&group.session(id))));
            let call =
                self.scripts().group_clear.on(keys).arg(replaced_in).arg(BATCH).arg(self.step_lifetime()).and_wait();
            let mut reply = self.run(&call)?;
            if reply.status() != "forward" {
                let (number, ids) = (reply.number()?, reply.ids()?);
                let ids = self.sweep(group, ids, EndReason::LoggedOutElsewhere);
                return Ok(Cleared { number, ids });
            }
            forwards += 1;
            // If the id still leads to another id, it is damaged. Then no session stays.
            except = Some(reply.id()?).filter(|_| forwards <= MOST_FORWARDS);
            let version = reply.number()?;
            replaced_in = Some(replaced_in.map_or(version, |earlier| earlier.min(version)));
        }
    }

    /// Finishes a join: ends the other sessions that are still over the group's limit, and removes the records of all
    /// that have ended. This takes at most half of the time that the call has left. Gives the sessions that have ended.
    pub(crate) fn finish_join(
        &self,
        key: &RecordKey<'_>,
        limit: Option<GroupLimit>,
        mut over_limit: OverLimit,
    ) -> Vec<PublicId> {
        let (Some(tag), Some(ended_key)) = (key.tag, self.ended_key(key)) else { return Vec::new() };
        let ends_beyond = limit.and_then(|limit| limit.ends_beyond());
        let deadline = self.call.deadline.halfway();
        while over_limit.more {
            let mut keys = self.record_keys(key);
            keys.push(ended_key.clone());
            let call = self.scripts().group_limit.on(keys).arg(ends_beyond).arg(self.step_lifetime());
            match self.run_until(deadline, &call).and_then(|mut reply| reply.over_limit()) {
                Ok(next) => {
                    over_limit.more = next.more;
                    over_limit.ended.extend(next.ended);
                }
                Err(error) => {
                    log::warn!("a group has more sessions than its limit until the next login: {error}");
                    break;
                }
            }
        }
        let mut ended: BTreeSet<PublicId> = over_limit.ended.iter().copied().collect();
        for batch in over_limit.ended.chunks(BATCH) {
            ended.extend(self.sweep(&key.group(tag), batch.to_vec(), EndReason::OverLimit));
        }
        ended.into_iter().collect()
    }

    /// Removes these records, and all others in the ended set of this call. This takes at most half of the time that
    /// the call has left. The sessions have ended already, so a record that is not removed just expires. Gives the
    /// sessions whose records it has removed, and that were alive until this call has ended them.
    fn sweep(&self, group: &GroupKey<'_>, mut ids: Vec<PublicId>, reason: EndReason) -> Vec<PublicId> {
        let (deadline, mut were_alive) = (self.call.deadline.halfway(), Vec::new());
        while !ids.is_empty() {
            let has_time = !deadline.has_passed();
            let records = ids.iter().filter(|_| has_time).map(|id| own_key(&group.session(*id)));
            let call = self
                .scripts()
                .sweep
                .on(iter::once(ended_key(group, self.call.nonce)).chain(records).collect())
                .arg(if has_time { BATCH } else { 0 })
                .arg(MOST_BYTES_REMOVED)
                .arg(self.trace_lifetime())
                .arg(reason.letter());
            let until = if has_time { deadline } else { self.call.deadline };
            match self.run_until(until, &call).and_then(|mut reply| Ok((reply.ids()?, reply.ids()?))) {
                Ok((more, swept)) => {
                    ids = more;
                    were_alive.extend(swept);
                }
                Err(error) => {
                    log::debug!("records of ended sessions are left to expire: {error}");
                    break;
                }
            }
        }
        were_alive
    }

    /// Gives the values of a group.
    pub(crate) fn group_values(&self, group: &GroupKey<'_>) -> Result<Values, StoreError> {
        let [generation_key, _, _, values_key] = &*self.group_keys(group) else { return Ok(Values::new()) };
        let mut commands = Commands::default();
        commands.add(&["HGETALL", values_key]);
        commands.add(&["HGET", generation_key, "began"]);
        let commands = self.marked(commands);
        let proof = Cell::new(Proof::Reads);
        self.client()?.request(values_key.as_bytes(), &proof, self.call.deadline, |connection, until| match &mut *self
            .ask_plainly(
            connection, until, &commands,
        )? {
            [values, Value::BulkString(began)] => {
                let generation = state::generation(began).unwrap_or_default();
                Ok(group_values(mem::replace(values, Value::Nil), generation))
            }
            _ => Ok(Values::new()),
        })
    }

    /// Changes the values of a group, unless this same call has changed them before.
    pub(crate) fn update_group(&self, group: &GroupKey<'_>, update: &GroupUpdate<'_>) -> Result<(), Refusal> {
        let set = update.changes.iter().filter_map(|(key, json)| Some((field(key), json.as_deref()?)));
        let removed = update.changes.iter().filter(|(_, json)| json.is_none()).map(|(key, _)| field(key));
        let call = self.scripts().group_update.on(self.group_keys(group)).arg(update.size_limit);
        let mut reply = self.run(&call.arg(update.idle_timeout).list(set).list(removed).and_wait())?;
        let (key, limit) = (|| update.largest_key().to_owned(), update.size_limit);
        match reply.status() {
            "ok" => Ok(()),
            "too large" => Err(Refusal::TooLarge { key: key(), bytes: reply.number()?, limit: limit.bytes }),
            "too many keys" => Err(Refusal::TooManyKeys { key: key(), keys: reply.number()?, limit: limit.keys }),
            _ => Err(reply.unexpected().into()),
        }
    }
}
