//! Says for many sessions at once whether they are alive, by plain commands: see plain_load.rs.

use crate::error::{StoreError, StoreErrorKind};
use crate::id::PublicId;
use crate::lifetime::Lifetime;
use crate::store::key::RecordKey;
use crate::store::record::Loaded;
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::group_values::FoundValues;
use crate::store::redis::keys::{group_keys, own_key};
use crate::store::redis::operation::Operation;
use crate::store::redis::plain_load::Purpose;
use crate::store::redis::state::{self, StoredState};
use crate::store::redis::wire::commands::Commands;
use redis::Value;
use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The most sessions that are asked for at once.
const BATCH: usize = 1000;

/// What plain commands found out about a session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Present {
    Alive,
    Ended,
    /// The script has to look: the id was replaced, the record is damaged, or its slot is moving.
    Unclear,
}

impl Operation<'_> {
    /// Returns the id that the live session of each key has now.
    pub(crate) fn present_ids(
        &self,
        keys: &[RecordKey<'_>],
        lifetime: &Lifetime,
    ) -> Result<Vec<Option<PublicId>>, StoreError> {
        let mut ids = vec![None; keys.len()];
        for of_one_node in self.by_node(keys)? {
            for batch in of_one_node.chunks(BATCH) {
                let of_batch: Vec<&RecordKey<'_>> = batch.iter().map(|at| &keys[*at]).collect();
                for (at, present) in batch.iter().zip(self.look(&of_batch, lifetime)?) {
                    ids[*at] = match present {
                        Present::Alive => Some(keys[*at].id),
                        Present::Ended => None,
                        Present::Unclear => self.present_id(&keys[*at], lifetime)?,
                    };
                }
            }
        }
        Ok(ids)
    }

    /// Returns the positions of the keys in the list, for each node those that it keeps, as far as is known.
    fn by_node(&self, keys: &[RecordKey<'_>]) -> Result<Vec<Vec<usize>>, StoreError> {
        let (client, mut nodes) = (self.client()?, Vec::<(String, Vec<usize>)>::new());
        for (at, key) in keys.iter().enumerate() {
            let own_key = own_key(key);
            match nodes.iter_mut().find(|(first, _)| client.are_at_one_node(first, &own_key)) {
                Some((_, positions)) => positions.push(at),
                None => nodes.push((own_key, vec![at])),
            }
        }
        Ok(nodes.into_iter().map(|(_, positions)| positions).collect())
    }

    /// Asks the script about one session.
    fn present_id(&self, key: &RecordKey<'_>, lifetime: &Lifetime) -> Result<Option<PublicId>, StoreError> {
        match self.load_by_script(key, lifetime, Purpose::Peek, FoundValues::Known(Value::Nil)) {
            Ok(Loaded::Record(record)) => Ok(Some(record.forwarded_to.unwrap_or(key.id))),
            Ok(Loaded::Ended(_)) => Ok(None),
            Err(error) if error.kind() == StoreErrorKind::Corrupt => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks one node about some sessions.
    fn look(&self, keys: &[&RecordKey<'_>], lifetime: &Lifetime) -> Result<Vec<Present>, StoreError> {
        let mut commands = Commands::default();
        commands.add(&["TIME"]);
        for key in keys {
            let own_key = own_key(key);
            commands.add(&["HMGET", &own_key, "s", "g", "b", "p", "f"]);
            commands.add(&["HGET", &self.shared.generations.key(key.namespace, &own_key), "began"]);
            if let Some(tag) = key.tag {
                let [members, _] = group_keys(&key.group(tag));
                commands.add(&["ZSCORE", &members, &key.id.to_string()]);
            }
        }
        let commands = self.marked(commands);
        let first = own_key(keys[0]);
        self.client()?.request(first.as_bytes(), &Cell::new(Proof::Reads), self.call.deadline, |connection, until| {
            if connection.asking {
                return Ok(vec![Present::Unclear; keys.len()]);
            }
            let mut replies = self.ask_each(connection, until, &commands)?.into_iter().map(Result::ok);
            let now = UNIX_EPOCH + Duration::from_millis(state::clock(replies.next().flatten())?);
            let present = |key: &&RecordKey<'_>| {
                let (fields, began) = (replies.next().flatten(), replies.next().flatten());
                let membership = key.tag.map(|_| replies.next().flatten());
                present(fields, began, membership, lifetime, now).unwrap_or(Present::Unclear)
            };
            Ok(keys.iter().map(present).collect())
        })
    }
}

/// Looks at the replies about one session. Returns `None` if only the script can answer.
fn present(
    fields: Option<Value>,
    began: Option<Value>,
    membership: Option<Option<Value>>,
    lifetime: &Lifetime,
    now: SystemTime,
) -> Option<Present> {
    let Value::Array(fields) = fields? else { return None };
    let [packed, group, began_at, prepared, forward] = <[Value; 5]>::try_from(fields).ok()?;
    let Value::BulkString(packed) = packed else {
        return (forward == Value::Nil).then_some(Present::Ended);
    };
    let joined_at = match group {
        Value::BulkString(group) => Some(state::time(&group)?),
        _ => None,
    };
    let began_at = match began_at {
        Value::BulkString(milliseconds) => {
            let milliseconds = std::str::from_utf8(&milliseconds).ok()?.parse().ok()?;
            Some(UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds))?)
        }
        _ => None,
    };
    let StoredState { state, generation } = StoredState::read(&packed, joined_at, began_at)?;
    let is_of_generation = match began? {
        Value::BulkString(began) => state::generation(&began) == Some(generation),
        _ => false,
    };
    let is_member = match membership {
        None => true,
        Some(score) => score? != Value::Nil,
    };
    let is_alive = is_of_generation && is_member && prepared == Value::Nil && state.alive(lifetime, now).is_some();
    Some(if is_alive { Present::Alive } else { Present::Ended })
}
