//! Removes the records of sessions that have ended with their namespace or their group, so that a full memory has room
//! again.

use crate::deadline::Deadline;
use crate::error::StoreError;
use crate::store::maintenance::Purged;
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::operation::Operation;
use crate::store::redis::reply::Reply;
use crate::store::redis::scan_step::{glob, scan_step};
use crate::store::redis::script::ScriptCall;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::Failure;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::iter;

/// How many keys Redis looks at in one SCAN.
const SCANNED: usize = 500;
/// The most keys that a script gets.
const BATCH: usize = 100;
/// The length of an id, with which the key of a record ends.
const ID: usize = 24;

impl Operation<'_> {
    /// Removes records in small steps, for at most half of the time that the call has left. The records that remain
    /// expire.
    pub(crate) fn sweep_namespace(&self, namespace: &str) {
        if let Err(error) = self.sweep_until(namespace, self.call.deadline.halfway()) {
            log::debug!("records of ended sessions are left to expire: {error}");
        }
    }

    /// Removes records in small steps, and tells how many, and whether some are left.
    pub(crate) fn purge(&self, namespace: &str) -> Result<Purged, StoreError> {
        self.sweep_until(namespace, most_of(self.call.deadline))
    }

    fn sweep_until(&self, namespace: &str, deadline: Deadline) -> Result<Purged, StoreError> {
        let client = self.client()?;
        let tags = client.hash_tag_of_each_node(deadline)?;
        let (removed, more) = (Cell::new(0), Cell::new(false));
        for (at, tag) in tags.iter().enumerate() {
            // Each node gets its share of the time.
            let share = deadline.share_of((tags.len() - at) as u32);
            let key = format!("{namespace}:{{{tag}}}");
            let proof = Cell::new(Proof::Reads);
            client.request(key.as_bytes(), &proof, self.call.deadline, |connection, until| {
                let is_done = self.sweep_node(connection, until, namespace, share, &removed)?;
                more.set(more.get() || !is_done);
                Ok(())
            })?;
        }
        Ok(Purged { removed: removed.get(), more: more.get() })
    }

    /// Sweeps one node, and adds to the number of records that were removed. Returns whether all keys were looked at.
    fn sweep_node(
        &self,
        connection: &mut Connection,
        deadline: Deadline,
        namespace: &str,
        share: Deadline,
        removed: &Cell<u64>,
    ) -> Result<bool, Failure> {
        // On a connection that was idle, there is less time: see `Try`.
        let share = share.min(most_of(deadline));
        let (mut cursor, pattern) = (0, format!("{}:*", glob(namespace)));
        while !share.has_passed() {
            let keys;
            (cursor, keys) = scan_step(connection, deadline, cursor, &pattern, SCANNED)?;
            self.sweep_keys(connection, deadline, &self.sweep_calls(namespace, keys), removed)?;
            if cursor == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn sweep_keys(
        &self,
        connection: &mut Connection,
        deadline: Deadline,
        calls: &[ScriptCall<'_>],
        removed: &Cell<u64>,
    ) -> Result<(), Failure> {
        // A slot that is moving to another node is left out: its records expire.
        let done = |reply: Result<Reply, Failure>| match reply {
            Ok(mut reply) => {
                removed.set(removed.get() + reply.number().unwrap_or(0));
                Ok(())
            }
            Err(Failure::Redirected(_) | Failure::NoScript) => Ok(()),
            Err(failure) => Err(failure),
        };
        let Some((first, others)) = calls.split_first() else { return Ok(()) };
        done(self.ask(connection, deadline, first))?;
        self.ask_all(connection, deadline, others)?.into_iter().try_for_each(done)
    }

    /// Makes the calls of the script for these keys. The keys of one call are all in one slot.
    fn sweep_calls(&self, namespace: &str, keys: Vec<String>) -> Vec<ScriptCall<'_>> {
        let mut by_generation = BTreeMap::<String, Vec<String>>::new();
        for key in keys.into_iter().filter(|key| is_of_sessions(namespace, key)) {
            by_generation.entry(self.shared.generations.key(namespace, &key)).or_default().push(key);
        }
        let mut calls = Vec::new();
        for (generation, keys) in by_generation {
            for batch in keys.chunks(BATCH) {
                let keys = iter::once(&generation).chain(batch).cloned().collect();
                calls.push(self.scripts().namespace_sweep.on(keys).arg(self.trace_lifetime()));
            }
        }
        calls
    }
}

/// Returns whether a key is the key of a record or of one of a group's two sets. The answer for an ended set is no,
/// and so it is for reserved places, because they expire soon.
fn is_of_sessions(namespace: &str, key: &str) -> bool {
    let Some(rest) = key.strip_prefix(namespace).and_then(|rest| rest.strip_prefix(':')) else { return false };
    let in_group = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(_, rest)| rest);
    let is_id = |text: &str| text.len() == ID && !text.contains(':');
    match in_group {
        None => is_id(rest),
        Some("" | ":joined" | ":values") => true,
        Some(rest) => rest.strip_prefix(':').is_some_and(is_id),
    }
}

/// Returns an earlier deadline: a command that is sent by then has time for its reply.
fn most_of(deadline: Deadline) -> Deadline {
    Deadline::after(deadline.left() * 7 / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_of_sessions_are_swept() {
        let id = "A".repeat(ID);
        for key in [format!("mps:{id}"), format!("mps:{{t}}:{id}"), "mps:{t}".into(), "mps:{t}:joined".into()] {
            assert!(is_of_sessions("mps", &key), "{key}");
        }
        for key in ["mps", "mps:generation", "mps:generation:{1}", "mps:{t}:ended:abcdefgh", "mpsx:{t}", "mps:{t", "x"]
        {
            assert!(!is_of_sessions("mps", key), "{key}");
        }
    }
}
