//! The replies of the scripts, read in order as the scripts list them.

use crate::error::{StoreError, StoreErrorKind};
use crate::id::PublicId;
use crate::store::call::Nonce;
use crate::store::record::{RecordInfo, SessionInfo, Values};
use crate::store::redis::wire::failure::Failure;
use crate::store::update::ChangeSet;
use redis::Value;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

/// A reply that carries the nonce of its call.
pub(crate) struct Reply {
    status: String,
    parts: std::vec::IntoIter<Value>,
}

/// The sessions of a group that were over its limit.
pub(crate) struct OverLimit {
    /// Those that have ended.
    pub(crate) ended: Vec<PublicId>,
    /// Whether others are still to end.
    pub(crate) more: bool,
}

impl Reply {
    /// Takes a reply that begins with the nonce of its call, and then has a status. Anything else is the reply to
    /// another call, and is not believed.
    pub(crate) fn new(value: Value, nonce: Nonce) -> Result<Reply, Failure> {
        let Value::Array(parts) = value else { return Err(Failure::not_ours("the reply is not an array")) };
        let mut parts = parts.into_iter();
        match parts.next() {
            Some(Value::BulkString(echo)) if echo == nonce => {}
            _ => return Err(Failure::not_ours("the reply belongs to another call")),
        }
        let status = parts.next().and_then(text).ok_or_else(|| Failure::not_ours("the reply has no status"))?;
        if status == "corrupt" {
            return Err(Failure::of_this_request(corrupt("its fields are missing")));
        }
        Ok(Reply { status, parts })
    }

    pub(crate) fn status(&self) -> &str {
        &self.status
    }

    /// Why Redis refused to write the refresh of a load. What the load has read comes next in the reply.
    pub(crate) fn refused_refresh(&mut self) -> Result<Option<Failure>, Failure> {
        if self.status != "not refreshed" {
            return Ok(None);
        }
        match self.parts.next() {
            Some(Value::BulkString(text)) => Ok(Some(Failure::met_by_script(&String::from_utf8_lossy(&text)))),
            _ => Err(Failure::not_ours("the reply does not say why there was no refresh")),
        }
    }

    /// The error for a status that the script does not give.
    pub(crate) fn unexpected(&self) -> StoreError {
        corrupt("the script answered with something else")
    }

    pub(crate) fn number<N: FromStr>(&mut self) -> Result<N, StoreError> {
        self.parts.next().and_then(number).ok_or_else(|| corrupt("a number is missing"))
    }

    /// Whether the next part is a 1. It is not if there is none.
    pub(crate) fn flag(&mut self) -> bool {
        self.parts.next().and_then(number::<u8>) == Some(1)
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        self.parts.next().and_then(text).ok_or_else(|| corrupt("a text is missing"))
    }

    /// The key behind a hash field.
    pub(crate) fn key(&mut self) -> Result<String, StoreError> {
        let field = self.parts.next().and_then(text).ok_or_else(|| corrupt("a field is missing"))?;
        Ok(field.strip_prefix(':').unwrap_or(&field).to_owned())
    }

    /// The state of a record: see `info` in record.lua.
    pub(crate) fn info(&mut self) -> Result<RecordInfo, StoreError> {
        info(self.list()?)
    }

    /// The values among the fields of a hash, and the name of its group.
    pub(crate) fn fields(&mut self) -> Result<(Values, Option<String>), StoreError> {
        let mut fields = self.list()?.into_iter();
        let (mut values, mut group_name) = (Values::new(), None);
        while let (Some(Value::BulkString(field)), Some(Value::BulkString(value))) = (fields.next(), fields.next()) {
            let utf8 = |bytes| String::from_utf8(bytes).map_err(|_| corrupt("a value is not UTF-8"));
            if field.first() == Some(&b':') {
                let mut key = utf8(field)?;
                key.remove(0);
                values.insert(key, utf8(value)?);
            } else if field == b"g" {
                group_name = Some(utf8(value)?);
            }
        }
        Ok((values, group_name))
    }

    pub(crate) fn id(&mut self) -> Result<PublicId, StoreError> {
        self.parts.next().and_then(id).ok_or_else(|| corrupt("an id is missing"))
    }

    /// Ids. A text that is not an id is left out: no record can be kept under it.
    pub(crate) fn ids(&mut self) -> Result<Vec<PublicId>, StoreError> {
        Ok(self.list()?.into_iter().filter_map(id).collect())
    }

    /// The sessions that a join has ended in its group.
    pub(crate) fn over_limit(&mut self) -> Result<OverLimit, StoreError> {
        Ok(OverLimit { ended: self.ids()?, more: self.flag() })
    }

    /// Sessions of a group: for each its id, its state, and its values of these keys. A damaged one is left out.
    pub(crate) fn sessions(&mut self, keys: &[&str]) -> Result<Vec<SessionInfo>, StoreError> {
        let session = |session: Value| {
            let Value::Array(parts) = session else { return None };
            let [own_id, Value::Array(state), Value::Array(values)] = <[Value; 3]>::try_from(parts).ok()? else {
                return None;
            };
            let values = keys.iter().zip(values).filter_map(|(key, value)| Some((key.to_string(), text(value)?)));
            Some(SessionInfo::new(id(own_id)?, info(state).ok()?, values.collect()))
        };
        Ok(self.list()?.into_iter().filter_map(session).collect())
    }

    /// The totals of a change set's increments. When a repeated call is answered, another call may have put something
    /// else under a key since: such a key is left out.
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

/// The largest version: beyond it, Lua's numbers skip some.
const LAST_VERSION: u64 = 1 << 53;

fn info(state: Vec<Value>) -> Result<RecordInfo, StoreError> {
    let mut numbers = state.into_iter().map(number::<u64>);
    let mut next = || numbers.next().flatten();
    let [version, created, joined, refreshed, ends, idle, now, left] = [(); 8].map(|()| next());
    let required = |number: Option<u64>| number.ok_or_else(|| corrupt("a number is missing"));
    let time = |milliseconds| {
        UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).ok_or_else(|| corrupt("a time is out of range"))
    };
    let (now, left) = (required(now)?, required(left)?);
    Ok(RecordInfo {
        version: required(version.filter(|version| *version <= LAST_VERSION))?,
        created_at: time(required(created)?)?,
        joined_at: joined.map(time).transpose()?,
        refreshed_at: time(required(refreshed)?)?,
        ends_at: Some(required(ends)?).filter(|ends| *ends > 0).map(time).transpose()?,
        idle_timeout: Duration::from_millis(required(idle)?),
        expires_at: time(now.saturating_add(left))?,
        expires_in: Duration::from_millis(left),
    })
}

fn id(value: Value) -> Option<PublicId> {
    text(value)?.parse().ok()
}

fn corrupt(what: &str) -> StoreError {
    let message = format!("the session's record is damaged: {what}; destroy() still ends it");
    StoreError::new(StoreErrorKind::Corrupt, message)
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
