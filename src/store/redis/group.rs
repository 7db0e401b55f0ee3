//! Groups, a batch of sessions at a time.

use crate::error::StoreError;
use crate::store::forward::MOST_FORWARDS;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::SessionInfo;
use crate::store::redis::keys::{ended_key, field, own_key};
use crate::store::redis::operation::Operation;
use crate::store::redis::optional;
use crate::store::redis::reply::Surplus;
use crate::token::PublicId;
use std::collections::BTreeSet;

/// How many sessions a script reads or removes, and how many ids it lists: so many take Redis a few milliseconds.
const BATCH: usize = 500;
const PAGE: usize = 5_000;
/// How many values a script looks for, and after how many bytes of them it stops.
const LOOKUPS: usize = 15_000;
const ROOM: usize = 256 * 1024;
/// After how many bytes of removed records a script stops.
const SWEPT: usize = 4 << 20;

impl Operation<'_> {
    pub(crate) fn read_group(&self, group: &GroupKey<'_>, keys: &[&str]) -> Result<Vec<SessionInfo>, StoreError> {
        let ids: Vec<PublicId> = self.ids(group)?.into_iter().collect();
        let (script, mut ids, mut sessions) = (&self.scripts().group_read, &*ids, Vec::new());
        let most = (LOOKUPS / (keys.len() + 6)).clamp(1, BATCH);
        while !ids.is_empty() {
            let batch = &ids[..ids.len().min(most)];
            let own_keys = batch.iter().map(|id| own_key(&group.session(*id)));
            let command_keys: Vec<String> = self.group_keys(group).into_iter().chain(own_keys).collect();
            let mut command = self.command(script, &command_keys);
            command.arg(ROOM);
            for key in keys {
                command.arg(field(key));
            }
            let mut reply = self.run(script, &command)?;
            sessions.extend(reply.sessions(keys)?);
            ids = &ids[reply.number::<usize>()?.clamp(1, batch.len())..];
        }
        Ok(sessions)
    }

    /// The ids of a group's sessions. One that is used meanwhile may come twice, on a later page.
    fn ids(&self, group: &GroupKey<'_>) -> Result<BTreeSet<PublicId>, StoreError> {
        let script = &self.scripts().group_ids;
        let (mut ids, mut from, mut left_out) = (BTreeSet::new(), String::new(), 0);
        loop {
            let mut command = self.command(script, &self.group_keys(group));
            command.arg(from).arg(left_out).arg(PAGE);
            let mut page = self.run(script, &command)?;
            ids.extend(page.ids()?);
            (from, left_out) = (page.text()?, page.number::<usize>()?);
            if from.is_empty() {
                return Ok(ids);
            }
        }
    }

    pub(crate) fn end_group(&self, group: &GroupKey<'_>, except: Option<PublicId>) -> Result<u64, StoreError> {
        let script = &self.scripts().group_clear;
        let (mut except, mut since, mut forwards) = (except, None::<u64>, 0);
        loop {
            let mut keys = self.group_keys(group);
            keys.push(ended_key(group, self.call.nonce));
            keys.extend(except.map(|id| own_key(&group.session(id))));
            let mut command = self.command(script, &keys);
            command.arg(optional(since)).arg(BATCH).arg(self.memory());
            let mut reply = self.run(script, &command)?;
            if reply.status() == "forward" {
                forwards += 1;
                // One that leads on and on leads to no session that could stay.
                except = Some(reply.id()?).filter(|_| forwards <= MOST_FORWARDS);
                let since_then = reply.number()?;
                since = Some(since.map_or(since_then, |before| before.min(since_then)));
                continue;
            }
            let (ended, ids) = (reply.number()?, reply.ids()?);
            self.sweep(group, ids);
            return Ok(ended);
        }
    }

    /// After a login in the group of this key: ends the sessions that are too many still, and removes the records of
    /// all that have ended, within half of the time that the call has left.
    pub(crate) fn finish_login(&self, key: &RecordKey<'_>, max_sessions: Option<usize>, mut surplus: Surplus) {
        let (Some(tag), Some(ended_key)) = (key.tag, self.ended_key(key)) else { return };
        let (script, deadline) = (&self.scripts().group_limit, self.call.deadline.halfway());
        while surplus.more {
            let mut keys = self.keys(key);
            keys.push(ended_key.clone());
            let mut command = self.command(script, &keys);
            command.arg(optional(max_sessions)).arg(self.memory());
            match self.run_until(deadline, script, &command).and_then(|mut reply| reply.surplus()) {
                Ok(next) => {
                    surplus.more = next.more;
                    surplus.ended.extend(next.ended);
                }
                Err(error) => {
                    log::warn!("a group has more sessions than its limit until the next login: {error}");
                    break;
                }
            }
        }
        for batch in surplus.ended.chunks(BATCH) {
            self.sweep(&key.group(tag), batch.to_vec());
        }
    }

    /// Removes these records, and all others that the call has ended, within half of the time that it has left. They
    /// are dead already; what is left of them expires.
    fn sweep(&self, group: &GroupKey<'_>, mut ids: Vec<PublicId>) {
        let script = &self.scripts().sweep;
        let deadline = self.call.deadline.halfway();
        while !ids.is_empty() {
            let has_time = !deadline.has_passed();
            let own_keys = ids.iter().filter(|_| has_time).map(|id| own_key(&group.session(*id)));
            let keys: Vec<String> = std::iter::once(ended_key(group, self.call.nonce)).chain(own_keys).collect();
            let mut command = self.command(script, &keys);
            command.arg(if has_time { BATCH } else { 0 }).arg(SWEPT).arg(self.memory());
            let until = if has_time { deadline } else { self.call.deadline };
            match self.run_until(until, script, &command).and_then(|mut reply| reply.ids()) {
                Ok(more) => ids = more,
                Err(error) => return log::debug!("records of ended sessions are left to expire: {error}"),
            }
        }
    }
}
