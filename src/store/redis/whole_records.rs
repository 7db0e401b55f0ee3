//! Reads whole records by plain commands, many in one round trip.
//!
//! As in plain_load.rs, the record is read first. Whether the session is alive is looked at after that.

use crate::deadline::Deadline;
use crate::error::StoreError;
use crate::store::key::RecordKey;
use crate::store::maintenance::Located;
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::fields::Fields;
use crate::store::redis::nonces;
use crate::store::redis::operation::Operation;
use crate::store::redis::state::{self, StoredState};
use crate::store::redis::wire::commands::Commands;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::{Affects, Failure};
use crate::store::stored_record::StoredRecord;
use redis::{FromRedisValue, Value};
use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The fields of a record that are not values.
const OWN_FIELDS: [&str; 11] = ["s", "g", "b", "p", "c", "t", "f", "n0", "n1", "n2", "n3"];

/// What was found under some keys.
#[derive(Default)]
pub(crate) struct WholeRecords {
    /// The sessions that are alive.
    pub(crate) live: Vec<(Located, StoredRecord)>,
    /// The places that another node keeps by now.
    pub(crate) elsewhere: Vec<Located>,
}

/// Replies to the commands for one record.
type Replies<'r> = &'r mut dyn Iterator<Item = Result<Value, Failure>>;

impl Operation<'_> {
    /// Reads the records at these places. Those that this node does not keep any more are read where they are now.
    pub(crate) fn read_elsewhere(
        &self,
        namespace: &str,
        places: Vec<Located>,
        with_values: bool,
    ) -> Result<Vec<(Located, StoredRecord)>, StoreError> {
        let mut live = Vec::new();
        for at in places {
            let keys = self.record_keys(&at.key(namespace));
            let proof = Cell::new(Proof::Reads);
            live.extend(self.client()?.request(
                keys[1].as_bytes(),
                &proof,
                self.call.deadline,
                |connection, until| {
                    if connection.asking {
                        // Some keys of the session may still be at the other node.
                        return Err(Failure::keys_moving());
                    }
                    let mut found = self.read_whole(connection, until, namespace, &[at], with_values)?;
                    match found.elsewhere.is_empty() {
                        true => Ok(found.live.pop()),
                        false => Err(Failure::keys_moving()),
                    }
                },
            )?);
        }
        Ok(live)
    }

    /// Reads the records at these places on this connection. Damaged ones are left out.
    pub(crate) fn read_whole(
        &self,
        connection: &mut Connection,
        deadline: Deadline,
        namespace: &str,
        places: &[Located],
        with_values: bool,
    ) -> Result<WholeRecords, Failure> {
        let mut found = WholeRecords::default();
        if places.is_empty() {
            return Ok(found);
        }
        let mut commands = Commands::default();
        for at in places {
            self.add_commands(&mut commands, &at.key(namespace), with_values);
        }
        commands.add(&["TIME"]);
        let mut replies = self.ask_each(connection, deadline, &self.marked(commands))?;
        let now = UNIX_EPOCH + Duration::from_millis(state::clock(replies.pop().transpose()?)?);
        let mut replies = replies.into_iter();
        for at in places {
            let of_record: Vec<_> = replies.by_ref().take(if at.tag.is_some() { 4 } else { 2 }).collect();
            match record(&mut of_record.into_iter(), at, with_values, now) {
                Ok(record) => found.live.extend(record.map(|record| (*at, record))),
                Err(Failure::Redirected(_)) => found.elsewhere.push(*at),
                // A key holds a value of another type.
                Err(Failure::Refused { affects: Affects::ThisRequest, .. }) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(found)
    }

    fn add_commands(&self, commands: &mut Commands, key: &RecordKey<'_>, with_values: bool) {
        let (keys, id) = (self.record_keys(key), key.id.to_string());
        if with_values {
            commands.add(&["HGETALL", &keys[1]]);
        } else {
            let mut words = vec!["HMGET", &keys[1]];
            words.extend(OWN_FIELDS);
            commands.add(&words);
        }
        if let [_, _, members, joined] = &*keys {
            commands.add(&["ZSCORE", members, &id]);
            commands.add(&["ZSCORE", joined, &id]);
        }
        commands.add(&["HGET", &keys[0], "began"]);
    }
}

/// Reads the replies for one record. Returns `None` if there is no live session, or if its record is damaged.
fn record(
    replies: Replies<'_>,
    at: &Located,
    with_values: bool,
    now: SystemTime,
) -> Result<Option<StoredRecord>, Failure> {
    let mut next = || replies.next().unwrap_or_else(|| Err(Failure::not_ours("a reply is missing")));
    let fields = next()?;
    let (member, order) = if at.tag.is_some() { (next()?, next()?) } else { (Value::Int(0), Value::Int(0)) };
    let generation = next()?;
    let Value::BulkString(generation) = generation else { return Ok(None) };
    if member == Value::Nil {
        return Ok(None);
    }
    let fields = if with_values { fields } else { with_names(fields) };
    Ok(live(fields, order, &generation, now))
}

fn live(fields: Value, order: Value, generation: &[u8], now: SystemTime) -> Option<StoredRecord> {
    let Fields { values, state: packed, joined_at, group_name, began_at, is_prepared, copied_nonce, nonces, .. } =
        Fields::read(fields)?;
    let StoredState { mut state, generation: of_record } = StoredState::read(&packed?, joined_at, began_at)?;
    let is_alive = state.expires_at > now && state.ends_at.is_none_or(|end| end > now);
    if is_prepared || !is_alive || state::generation(generation) != Some(of_record) {
        return None;
    }
    state.nonces = nonces::joined(state.version, &state.nonces, &nonces);
    // Redis may have evicted the order of joining. Such a session counts as one that joined first.
    let join_order = f64::from_redis_value(order).unwrap_or_default() as u64;
    Some(StoredRecord { group_name, join_order, values, state, copied_nonce })
}

/// Gives the reply to `HMGET` the form of a reply to `HGETALL`.
fn with_names(values: Value) -> Value {
    let Value::Array(values) = values else { return values };
    let pairs = OWN_FIELDS.iter().zip(values).filter(|(_, value)| *value != Value::Nil);
    let name = |name: &str| Value::BulkString(name.as_bytes().to_vec());
    Value::Array(pairs.flat_map(|(field, value)| [name(field), value]).collect())
}
