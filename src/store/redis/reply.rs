//! The replies of the scripts, read in order as the scripts list them.

use crate::end_reason::EndReason;
use crate::error::{StoreError, StoreErrorKind};
use crate::id::PublicId;
use crate::store::call::Nonce;
use crate::store::record::{RecordInfo, SessionInfo};
use crate::store::redis::fields::Fields;
use crate::store::redis::state::{self, StoredState};
use crate::store::redis::wire::failure::Failure;
use crate::store::restore::Restored;
use crate::store::stored_value::StoredValue;
use crate::store::update::ChangeSet;
use redis::Value;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A reply that carries the nonce of its call.
pub(crate) struct Reply {
    status: String,
    parts: std::vec::IntoIter<Value>,
}

/// What a join has done to the sessions that were over the limit of the group.
pub(crate) struct OverLimit {
    /// The sessions that the join has ended.
    pub(crate) ended: Vec<PublicId>,
    /// Whether more sessions have to end.
    pub(crate) more: bool,
}

impl Reply {
    /// Reads a reply. It has to begin with the nonce of its call, followed by a status. Any other reply belongs to
    /// another call, and is an error of the connection.
    pub(crate) fn new(value: Value, nonce: Nonce) -> Result<Reply, Failure> {
        let Value::Array(parts) = value else { return Err(Failure::not_ours("the reply is not an array")) };
        let mut parts = parts.into_iter();
        match parts.next() {
            Some(Value::BulkString(echo)) if echo == nonce => {}
            _ => return Err(Failure::not_ours("the reply belongs to another call")),
        }
        let status = parts.next().and_then(text).ok_or_else(|| Failure::not_ours("the reply has no status"))?;
        if status == "corrupt" {
            return Err(Failure::of_this_request(corrupt("its own fields are missing or damaged")));
        }
        Ok(Reply { status, parts })
    }

    pub(crate) fn status(&self) -> &str {
        &self.status
    }

    /// Returns the reason for which Redis refused the refresh of a load, or `None` if there was no refusal. The record
    /// comes next in the reply.
    pub(crate) fn refused_refresh(&mut self) -> Result<Option<Failure>, Failure> {
        if self.status != "not refreshed" {
            return Ok(None);
        }
        match self.parts.next() {
            Some(Value::BulkString(text)) => Ok(Some(Failure::caught_by_script(&String::from_utf8_lossy(&text)))),
            _ => Err(Failure::not_ours("the reply does not say why there was no refresh")),
        }
    }

    /// Returns the error for a status that the script never gives.
    pub(crate) fn unexpected(&self) -> StoreError {
        corrupt("the script answered with an unknown status")
    }

    pub(crate) fn number<N: FromStr>(&mut self) -> Result<N, StoreError> {
        self.parts.next().and_then(number).ok_or_else(|| corrupt("a number is missing"))
    }

    /// Returns whether the next part is a 1. The answer is `false` if there are no more parts.
    pub(crate) fn flag(&mut self) -> bool {
        self.parts.next().and_then(number::<u8>) == Some(1)
    }

    pub(crate) fn time(&mut self) -> Result<SystemTime, StoreError> {
        Ok(UNIX_EPOCH + Duration::from_millis(self.number()?))
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        self.parts.next().and_then(text).ok_or_else(|| corrupt("a text is missing"))
    }

    /// Returns the reason why a session has ended.
    pub(crate) fn end_reason(&mut self) -> EndReason {
        self.parts.next().and_then(bytes).map_or(EndReason::Expired, |letter| EndReason::of_letter(&letter))
    }

    /// Returns the key of a value, whose hash field is the key with a colon before it.
    pub(crate) fn key(&mut self) -> Result<String, StoreError> {
        let field = self.parts.next().and_then(text).ok_or_else(|| corrupt("a field is missing"))?;
        Ok(field.strip_prefix(':').unwrap_or(&field).to_owned())
    }

    /// The state of a record: see `info` in record.lua.
    pub(crate) fn info(&mut self) -> Result<RecordInfo, StoreError> {
        let packed = self.parts.next().and_then(bytes);
        packed.and_then(|packed| state::info(&packed)).ok_or_else(|| corrupt("its state is missing"))
    }

    /// Returns the fields of a record, and the generation to which it belongs.
    pub(crate) fn fields(&mut self) -> Result<(Fields, u64), StoreError> {
        let nonsense = || corrupt("one of its fields makes no sense");
        let fields = self.parts.next().and_then(Fields::read).ok_or_else(nonsense)?;
        let stored = fields.state.as_ref().and_then(|packed| StoredState::read(packed, None, None));
        let generation = stored.ok_or_else(nonsense)?.generation;
        Ok((fields, generation))
    }

    /// Returns the next part as it is.
    pub(crate) fn value(&mut self) -> Value {
        self.parts.next().unwrap_or(Value::Nil)
    }

    /// What a restore did.
    pub(crate) fn restored(&mut self) -> Result<Restored, StoreError> {
        match self.text()?.as_str() {
            "created" => Ok(Restored::Created),
            "updated" => Ok(Restored::Updated),
            "kept" => Ok(Restored::Kept),
            "ended" => Ok(Restored::Ended),
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn id(&mut self) -> Result<PublicId, StoreError> {
        self.parts.next().and_then(id).ok_or_else(|| corrupt("an id is missing"))
    }

    /// Returns a list of ids. A text that is not an id is left out, because no record can have it.
    pub(crate) fn ids(&mut self) -> Result<Vec<PublicId>, StoreError> {
        Ok(self.list()?.into_iter().filter_map(id).collect())
    }

    /// The sessions that a join has ended in its group.
    pub(crate) fn over_limit(&mut self) -> Result<OverLimit, StoreError> {
        Ok(OverLimit { ended: self.ids()?, more: self.flag() })
    }

    /// Returns the sessions of a group, with their values of these keys. Damaged sessions are left out.
    pub(crate) fn sessions(&mut self, keys: &[&str]) -> Result<Vec<SessionInfo>, StoreError> {
        let now = self.time()?;
        let session = |session: Value| {
            let Value::Array(parts) = session else { return None };
            let [own_id, packed, joined_at, expires_at, Value::Array(values)] = <[Value; 5]>::try_from(parts).ok()?
            else {
                return None;
            };
            let mut state = StoredState::read(&bytes(packed)?, state::time(&bytes(joined_at)?), None)?.state;
            state.expires_at = UNIX_EPOCH.checked_add(Duration::from_millis(number(expires_at)?))?;
            let values = keys
                .iter()
                .zip(values)
                .filter_map(|(key, value)| Some((key.to_string(), StoredValue::from_bytes(bytes(value)?)?)));
            Some(SessionInfo::new(id(own_id)?, state.info(now), values.collect()))
        };
        Ok(self.list()?.into_iter().filter_map(session).collect())
    }

    /// Returns the totals of a change set's increments. If this call was made before, another call may have set the key
    /// to something that is not an integer. Such a key is left out.
    pub(crate) fn totals(&mut self, changes: &ChangeSet) -> Result<Vec<(String, i64)>, StoreError> {
        let totals = changes.increments().zip(self.list()?);
        Ok(totals.filter_map(|((key, _), total)| Some((key.to_owned(), number(total)?))).collect())
    }

    pub(crate) fn list(&mut self) -> Result<Vec<Value>, StoreError> {
        match self.parts.next() {
            Some(Value::Array(list)) => Ok(list),
            _ => Err(corrupt("a list is missing")),
        }
    }
}

fn id(value: Value) -> Option<PublicId> {
    text(value)?.parse().ok()
}

fn corrupt(what: &str) -> StoreError {
    let message = format!("the session's record is damaged: {what}; destroy() still ends it");
    StoreError::new(StoreErrorKind::Corrupt, message)
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn number<N: FromStr>(value: Value) -> Option<N> {
    match value {
        Value::Int(number) => number.to_string().parse().ok(),
        value => text(value)?.parse().ok(),
    }
}
