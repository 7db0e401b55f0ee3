//! Groups, a batch of sessions at a time.

use super::keys::{ended_key, field, group_keys, own_key};
use super::operation::Operation;
use crate::StoreError;
use crate::group::SessionInfo;
use crate::store::{GroupKey, RecordKey, halfway};
use crate::token::PublicId;

/// How many sessions a script reads or removes: so many take Redis less than a millisecond or two, and others wait.
const BATCH: usize = 500;

impl Operation<'_> {
    pub(super) fn read_group(&self, group: &GroupKey<'_>, keys: &[&str]) -> Result<Vec<SessionInfo>, StoreError> {
        let scripts = self.scripts();
        let ids = self.run(&scripts.group_ids, &self.command(&scripts.group_ids, &group_keys(group)))?.ids()?;
        let mut sessions = Vec::with_capacity(ids.len());
        for batch in ids.chunks(BATCH) {
            let own_keys = batch.iter().map(|id| own_key(&group.session(*id)));
            let command_keys: Vec<String> = group_keys(group).into_iter().chain(own_keys).collect();
            let mut command = self.command(&scripts.group_read, &command_keys);
            for key in keys {
                command.arg(field(key));
            }
            sessions.extend(self.run(&scripts.group_read, &command)?.sessions(keys)?);
        }
        Ok(sessions)
    }

    pub(super) fn end_group(&self, group: &GroupKey<'_>, except: Option<PublicId>) -> Result<u64, StoreError> {
        let script = &self.scripts().group_clear;
        let mut except = except;
        loop {
            let ended_key = ended_key(group, self.call.nonce);
            let keys =
                group_keys(group).into_iter().chain([ended_key]).chain(except.map(|id| own_key(&group.session(id))));
            let mut command = self.command(script, &keys.collect::<Vec<_>>());
            command.arg(except.map_or_else(String::new, |id| id.to_string())).arg(BATCH).arg(self.memory());
            let mut reply = self.run(script, &command)?;
            if reply.status() == "forward" {
                except = Some(reply.id()?);
                continue;
            }
            let (ended, ids) = (reply.number()?, reply.ids()?);
            self.sweep(group, ids);
            return Ok(ended);
        }
    }

    /// Removes the records of sessions that a call has ended in the group of this key.
    pub(super) fn sweep_ended(&self, key: &RecordKey<'_>, ids: &[PublicId]) {
        let Some(tag) = key.tag else { return };
        for batch in ids.chunks(BATCH) {
            self.sweep(&key.group(tag), batch.to_vec());
        }
    }

    /// Removes these records, and all others that the call has ended, within half of the time that it has left. They are
    /// dead already; what is left of them expires.
    fn sweep(&self, group: &GroupKey<'_>, mut ids: Vec<PublicId>) {
        let script = &self.scripts().sweep;
        let deadline = halfway(self.call.deadline);
        while !ids.is_empty() {
            let own_keys = ids.iter().map(|id| own_key(&group.session(*id)));
            let keys: Vec<String> = std::iter::once(ended_key(group, self.call.nonce)).chain(own_keys).collect();
            let mut command = self.command(script, &keys);
            command.arg(BATCH).arg(self.memory());
            match self.run_until(deadline, script, &command).and_then(|mut reply| reply.ids()) {
                Ok(more) => ids = more,
                Err(error) => return log::debug!("records of ended sessions are left to expire: {error}"),
            }
        }
    }
}
