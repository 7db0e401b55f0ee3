//! Removes records of sessions that have ended with their namespace, so that a full memory has room again.

use crate::deadline::Deadline;
use crate::error::StoreError;
use crate::store::redis::operation::Operation;
use crate::store::redis::servers::health::Shows;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::Failure;
use redis::{Cmd, FromRedisValue, Value, cmd};
use std::cell::Cell;
use std::collections::BTreeMap;

/// At how many keys Redis looks for each request, and how many of them a script is given.
const SCANNED: usize = 500;
const BATCH: usize = 100;
/// How long an id is, as a key ends with it.
const ID: usize = 24;

impl Operation<'_> {
    /// Removes what it finds within half of the time that the call has left, in small steps. The rest is dead, too, and
    /// expires.
    pub(crate) fn sweep_namespace(&self, namespace: &str) {
        if let Err(error) = self.try_to_sweep(namespace) {
            log::debug!("records of ended sessions are left to expire: {error}");
        }
    }

    fn try_to_sweep(&self, namespace: &str) -> Result<(), StoreError> {
        let deadline = self.call.deadline.halfway();
        let servers = self.servers()?;
        let tags = servers.a_tag_for_each(deadline)?;
        for (at, tag) in tags.iter().enumerate() {
            // Each server gets its share of the time.
            let enough = deadline.share_of((tags.len() - at) as u32);
            let key = format!("{namespace}:{{{tag}}}");
            let shows = Cell::new(Shows::Reads);
            servers.request(key.as_bytes(), &shows, self.call.deadline, |connection, until| {
                self.sweep_server(connection, until, namespace, enough)
            })?;
        }
        Ok(())
    }

    fn sweep_server(
        &self,
        connection: &mut Connection,
        deadline: Deadline,
        namespace: &str,
        enough: Deadline,
    ) -> Result<(), Failure> {
        let mut cursor = 0_u64;
        while !enough.has_passed() {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{namespace}:*")).arg("COUNT").arg(SCANNED);
            let keys;
            (cursor, keys) = scanned(connection.request(&scan, deadline)?)?;
            self.run_sweeps(connection, deadline, &self.sweeps(namespace, keys))?;
            if cursor == 0 {
                break;
            }
        }
        Ok(())
    }

    fn run_sweeps(&self, connection: &mut Connection, deadline: Deadline, commands: &[Cmd]) -> Result<(), Failure> {
        // A slot may be on its way to another node, which then does without.
        let done = |reply| match reply {
            Ok(_) | Err(Failure::Redirected(_) | Failure::NoScript) => Ok(()),
            Err(failure) => Err(failure),
        };
        let Some((first, others)) = commands.split_first() else { return Ok(()) };
        done(self.reply(connection, deadline, &self.scripts().namespace_sweep, first))?;
        self.replies(connection, deadline, others)?.into_iter().try_for_each(done)
    }

    /// The calls of the script for these keys: each is given only keys of one slot.
    fn sweeps(&self, namespace: &str, keys: Vec<String>) -> Vec<Cmd> {
        let mut by_generation = BTreeMap::<String, Vec<String>>::new();
        for key in keys.into_iter().filter(|key| is_of_sessions(namespace, key)) {
            by_generation.entry(self.store.generations.key(namespace, &key)).or_default().push(key);
        }
        let mut commands = Vec::new();
        for (generation, keys) in by_generation {
            for batch in keys.chunks(BATCH) {
                let mut command =
                    self.command(&self.scripts().namespace_sweep, &[std::slice::from_ref(&generation), batch].concat());
                command.arg(self.memory());
                commands.push(command);
            }
        }
        commands
    }
}

/// Whether a key is that of a record, or one of a group's sets. What is left to be swept of a group expires soon.
fn is_of_sessions(namespace: &str, key: &str) -> bool {
    let Some(rest) = key.strip_prefix(namespace).and_then(|rest| rest.strip_prefix(':')) else { return false };
    let in_group = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(_, rest)| rest);
    let is_id = |text: &str| text.len() == ID && !text.contains(':');
    match in_group {
        None => is_id(rest),
        Some("" | ":joined") => true,
        Some(rest) => rest.strip_prefix(':').is_some_and(is_id),
    }
}

/// Where the next scan goes on (0: nowhere), and the keys of this one. Keys that are no text are not ours.
fn scanned(reply: Value) -> Result<(u64, Vec<String>), Failure> {
    let nonsense = || Failure::not_ours("SCAN came back with something else");
    let (cursor, keys) = <(u64, Vec<Vec<u8>>)>::from_redis_value(reply).map_err(|_| nonsense())?;
    Ok((cursor, keys.into_iter().filter_map(|key| String::from_utf8(key).ok()).collect()))
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
