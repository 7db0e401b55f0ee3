//! The values of groups.

use crate::error::StoreError;
use crate::store::group_update::GroupUpdate;
use crate::store::group_values::GroupValues;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::Values;
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::keys::{field, values_key};
use crate::store::redis::operation::Operation;
use crate::store::redis::state;
use crate::store::redis::wire::commands::Commands;
use crate::store::redis::wire::failure::{Affects, Failure};
use crate::store::refusal::Refusal;
use crate::store::restore::Restored;
use redis::{FromRedisValue, Value};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

/// What plain commands have found out about the values of the group of a record.
pub(crate) enum FoundValues {
    /// They were not read.
    Unknown,
    /// The reply to `HGETALL` of their key.
    Known(Value),
    /// Their slot is moving. The script must not name their key, because it does not run while a key is elsewhere.
    Elsewhere,
}

impl Operation<'_> {
    /// Returns the values of a group.
    pub(crate) fn group_values(&self, group: &GroupKey<'_>) -> Result<Values, StoreError> {
        let (generation_key, values_key) = (self.group_keys(group).swap_remove(0), values_key(group));
        let mut commands = Commands::default();
        commands.add(&["HGETALL", &values_key]);
        commands.add(&["HGET", &generation_key, "began"]);
        let commands = self.marked(commands);
        let proof = Cell::new(Proof::Reads);
        let found =
            self.client()?.request(values_key.as_bytes(), &proof, self.call.deadline, |connection, until| {
                if connection.asking {
                    return Ok(None);
                }
                let mut replies = self.ask_each(connection, until, &commands)?.into_iter();
                match (replies.next(), replies.next()) {
                    (Some(Ok(values)), Some(Ok(began))) => Ok(Some((values, began))),
                    (Some(Err(failure @ Failure::Connection(_))), _) => Err(failure),
                    _ => Ok(None),
                }
            })?;
        let (values, began) = match found {
            Some(found) => found,
            // The slot is moving, or something is damaged.
            None => (self.read_hash(&values_key)?, began(self.read_hash(&generation_key)?)),
        };
        let Value::BulkString(began) = began else { return Ok(Values::new()) };
        Ok(state::generation(&began).map_or_else(Values::new, |generation| read(values, generation)))
    }

    /// Returns the values of a group, and what is stored beside them. While their slot is moving, this waits.
    pub(crate) fn read_group(&self, group: &GroupKey<'_>) -> Result<GroupValues, StoreError> {
        let (generation_key, values_key) = (self.group_keys(group).swap_remove(0), values_key(group));
        let mut commands = Commands::default();
        commands.add(&["HGETALL", &values_key]);
        commands.add(&["PTTL", &values_key]);
        commands.add(&["TIME"]);
        commands.add(&["HGET", &generation_key, "began"]);
        let commands = self.marked(commands);
        let proof = Cell::new(Proof::Reads);
        let (now, [fields, left, began]) =
            self.client()?.request(values_key.as_bytes(), &proof, self.call.deadline, |connection, until| {
                if connection.asking {
                    return Err(Failure::keys_moving());
                }
                let mut replies = self.ask_each(connection, until, &commands)?.into_iter().map(|reply| match reply {
                    // A key holds a value of another type. It counts as missing.
                    Err(Failure::Refused { affects: Affects::ThisRequest, .. }) => Ok(Value::Nil),
                    reply => reply,
                });
                let mut next = || replies.next().unwrap_or_else(|| Err(Failure::not_ours("a reply is missing")));
                let (fields, left, time, began) = (next()?, next()?, next()?, next()?);
                Ok((state::clock(Some(time))?, [fields, left, began]))
            })?;
        let generation = match began {
            Value::BulkString(began) => state::generation(&began).unwrap_or_default(),
            _ => 0,
        };
        let fields = of_generation(fields, generation);
        // Below 0, the key is missing, or never expires.
        let left = u64::from_redis_value(left).unwrap_or_default();
        let expires_at = UNIX_EPOCH + Duration::from_millis(now.saturating_add(left));
        let nonces = ["n0", "n1", "n2", "n3"].map(|name| fields.get(name.as_bytes()).cloned().unwrap_or_default());
        let copied_nonce = fields.get(&b"c"[..]).and_then(|nonce| nonce.as_slice().try_into().ok());
        Ok(GroupValues { values: values(&fields), expires_at, nonces: nonces.concat(), copied_nonce })
    }

    /// Keeps the values of a group as another store has them, unless they were changed here since they came from there.
    pub(crate) fn restore_group(&self, group: &GroupKey<'_>, values: &GroupValues) -> Result<Restored, StoreError> {
        let mut keys = self.group_keys(group);
        keys[2] = values_key(group);
        let call = self.scripts().group_restore.on(keys).arg(values.nonces.clone());
        let call = call.arg(values.copied_nonce.map(Vec::from)).arg(values.expires_at);
        self.run(&call.list(values.values.iter().map(|(key, value)| (field(key), value))).and_wait())?.restored()
    }

    /// Returns the values of the group of a record, by the script, which finds them while their slot is moving.
    pub(crate) fn values_of_record(&self, key: &RecordKey<'_>, generation: u64) -> Result<Values, StoreError> {
        let Some(tag) = key.tag else { return Ok(Values::new()) };
        Ok(read(self.read_hash(&values_key(&key.group(tag)))?, generation))
    }

    fn read_hash(&self, key: &str) -> Result<Value, StoreError> {
        Ok(self.run(&self.scripts().hash_read.on(vec![key.to_owned()]))?.value())
    }

    /// Changes the values of a group, unless this same call has changed them before.
    pub(crate) fn update_group(&self, group: &GroupKey<'_>, update: &GroupUpdate<'_>) -> Result<(), Refusal> {
        let set = update.changes.iter().filter_map(|(key, json)| Some((field(key), json.as_deref()?)));
        let mut keys = self.group_keys(group);
        keys[2] = values_key(group);
        let removed = update.changes.iter().filter(|(_, json)| json.is_none()).map(|(key, _)| field(key));
        let call = self.scripts().group_update.on(keys).arg(update.size_limit);
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

/// Reads the reply to `HGETALL` of a group's values.
pub(crate) fn read(reply: Value, generation: u64) -> Values {
    values(&of_generation(reply, generation))
}

/// The fields of the hash with the values of a group: see prelude.lua.
type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

/// Reads the fields. Those of another generation, and damaged ones, do not count.
fn of_generation(reply: Value, generation: u64) -> Fields {
    let fields = Fields::from_redis_value(reply).unwrap_or_default();
    let of_generation = fields.get(&b"o"[..]).and_then(|packed| state::generation(packed));
    if of_generation == Some(generation) { fields } else { Fields::new() }
}

/// Returns the values. Damaged ones do not count.
fn values(fields: &Fields) -> Values {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    fields.iter().filter_map(|(field, json)| Some((text(field.strip_prefix(b":")?)?, text(json)?.into()))).collect()
}

/// Returns whether there are no values.
pub(crate) fn is_empty(reply: &Value) -> bool {
    match reply {
        Value::Array(list) => list.is_empty(),
        Value::Map(pairs) => pairs.is_empty(),
        _ => true,
    }
}

/// Returns the generation in the reply to `HGETALL` of its key.
fn began(reply: Value) -> Value {
    let pairs = <Vec<(Vec<u8>, Vec<u8>)>>::from_redis_value(reply).unwrap_or_default();
    let began = pairs.into_iter().find(|(field, _)| field == b"began");
    began.map_or(Value::Nil, |(_, packed)| Value::BulkString(packed))
}
