//! Groups, a batch of sessions at a time.

use super::RedisStore;
use super::keys::{ended_key, field, group_keys, own_key};
use crate::StoreError;
use crate::group::SessionInfo;
use crate::store::{Call, GroupKey, RecordKey, halfway};
use crate::token::PublicId;

/// How many sessions a script reads or removes: so many take Redis less than a millisecond or two, and others wait.
const BATCH: usize = 500;

impl RedisStore {
    pub(super) fn read_group(
        &self,
        group: &GroupKey<'_>,
        keys: &[&str],
        call: &Call,
    ) -> Result<Vec<SessionInfo>, StoreError> {
        let scripts = &self.scripts;
        let ids = self.run(&scripts.group_ids, &scripts.group_ids.call(&group_keys(group), call), call)?.ids()?;
        let mut sessions = Vec::with_capacity(ids.len());
        for batch in ids.chunks(BATCH) {
            let own_keys = batch.iter().map(|id| own_key(&group.session(*id)));
            let command_keys: Vec<String> = group_keys(group).into_iter().chain(own_keys).collect();
            let mut command = scripts.group_read.call(&command_keys, call);
            for key in keys {
                command.arg(field(key));
            }
            sessions.extend(self.run(&scripts.group_read, &command, call)?.sessions(keys)?);
        }
        Ok(sessions)
    }

    pub(super) fn end_group(
        &self,
        group: &GroupKey<'_>,
        except: Option<PublicId>,
        call: &Call,
    ) -> Result<u64, StoreError> {
        let script = &self.scripts.group_clear;
        let mut except = except;
        loop {
            let ended_key = ended_key(group, call.nonce);
            let keys =
                group_keys(group).into_iter().chain([ended_key]).chain(except.map(|id| own_key(&group.session(id))));
            let mut command = script.call(&keys.collect::<Vec<_>>(), call);
            command.arg(except.map_or_else(String::new, |id| id.to_string())).arg(BATCH);
            let mut reply = self.run(script, &command, call)?;
            if reply.status() == "forward" {
                except = Some(reply.id()?);
                continue;
            }
            let (ended, ids) = (reply.number()?, reply.ids()?);
            self.sweep(group, ids, call);
            return Ok(ended);
        }
    }

    /// Removes the records of sessions that a call has ended in the group of this key.
    pub(super) fn sweep_ended(&self, key: &RecordKey<'_>, ids: &[PublicId], call: &Call) {
        let Some(tag) = key.tag else { return };
        for batch in ids.chunks(BATCH) {
            self.sweep(&key.group(tag), batch.to_vec(), call);
        }
    }

    /// Removes these records, and all others that the call has ended, within half of the time that it has left. They are
    /// dead already; what is left of them expires.
    fn sweep(&self, group: &GroupKey<'_>, mut ids: Vec<PublicId>, call: &Call) {
        let script = &self.scripts.sweep;
        let call = &Call { deadline: halfway(call.deadline), ..*call };
        while !ids.is_empty() {
            let own_keys = ids.iter().map(|id| own_key(&group.session(*id)));
            let keys: Vec<String> = std::iter::once(ended_key(group, call.nonce)).chain(own_keys).collect();
            let mut command = script.call(&keys, call);
            command.arg(BATCH);
            match self.run(script, &command, call).and_then(|mut reply| reply.ids()) {
                Ok(more) => ids = more,
                Err(error) => return log::debug!("records of ended sessions are left to expire: {error}"),
            }
        }
    }
}
