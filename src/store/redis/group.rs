//! Groups: listed, limited and cleared, a batch of sessions at a time.

use crate::end_reason::EndReason;
use crate::error::StoreError;
use crate::group_limit::GroupLimit;
use crate::id::PublicId;
use crate::store::forward::MOST_FORWARDS;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::{Cleared, RecordInfo, SessionInfo};
use crate::store::redis::keys::{ended_key, field, own_key};
use crate::store::redis::operation::Operation;
use crate::store::redis::reply::OverLimit;
use std::collections::BTreeSet;
use std::iter;
use std::time::{SystemTime, UNIX_EPOCH};

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
            let call = self.scripts().group_clear.on(keys).arg(replaced_in).arg(self.step_lifetime()).and_wait();
            let mut reply = self.run(&call)?;
            if reply.status() != "forward" {
                let (number, ids, ended_at) = (reply.number()?, reply.ids()?, reply.time()?);
                let ids = self.sweep(group, ids, ended_at, EndReason::LoggedOutElsewhere);
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
    /// that have ended. This takes at most half of the time that the call has left. Returns the sessions that have
    /// ended.
    pub(crate) fn finish_join(
        &self,
        key: &RecordKey<'_>,
        limit: Option<GroupLimit>,
        info: &RecordInfo,
        mut over_limit: OverLimit,
    ) -> Vec<PublicId> {
        let (Some(tag), Some(ended_key)) = (key.tag, self.ended_key(key)) else { return Vec::new() };
        let ends_beyond = limit.and_then(|limit| limit.ends_beyond());
        let deadline = self.call.deadline.halfway();
        while over_limit.more {
            let mut keys = self.all_record_keys(key);
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
        let ended_at = info.joined_at.unwrap_or(UNIX_EPOCH);
        self.sweep(&key.group(tag), over_limit.ended, ended_at, EndReason::OverLimit)
    }

    /// Removes the records of these sessions, and of all others in the ended set of this call. They were alive until
    /// `ended_at`. This takes at most half of the time that the call has left. A record that is not
    /// removed just expires. Returns the sessions.
    fn sweep(
        &self,
        group: &GroupKey<'_>,
        ids: Vec<PublicId>,
        ended_at: SystemTime,
        reason: EndReason,
    ) -> Vec<PublicId> {
        let deadline = self.call.deadline.halfway();
        let mut ended: BTreeSet<PublicId> = ids.iter().copied().collect();
        let mut left = ids;
        while !left.is_empty() {
            let has_time = !deadline.has_passed();
            let records = left.iter().take(BATCH).filter(|_| has_time).map(|id| own_key(&group.session(*id)));
            let call = self
                .scripts()
                .sweep
                .on(iter::once(ended_key(group, self.call.nonce)).chain(records).collect())
                .arg(ended_at)
                .arg(if has_time { BATCH } else { 0 })
                .arg(MOST_BYTES_REMOVED)
                .arg(self.trace_lifetime())
                .arg(reason.letter());
            let until = if has_time { deadline } else { self.call.deadline };
            left = self.run_until(until, &call).and_then(|mut reply| reply.ids()).unwrap_or_else(|error| {
                log::debug!("records of ended sessions are left to expire: {error}");
                Vec::new()
            });
            ended.extend(&left);
        }
        ended.into_iter().collect()
    }
}
