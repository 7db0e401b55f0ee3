//! The replies of the scripts, read in order.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::call::Nonce;
use crate::store::record::{RecordInfo, SessionInfo, Values};
use crate::store::redis::wire::failure::Failure;
use crate::token::PublicId;
use redis::Value;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

/// A reply that is known to be ours.
pub(crate) struct Reply {
    status: String,
    rest: std::vec::IntoIter<Value>,
}

/// Sessions that were too many for their group.
pub(crate) struct Surplus {
    pub(crate) ended: Vec<PublicId>,
    /// Whether there are more that are to end.
    pub(crate) more: bool,
}

impl Reply {
    /// A reply begins with the nonce of its call: anything else is another's, and is not believed.
    pub(crate) fn new(value: Value, nonce: Nonce) -> Result<Reply, Failure> {
        let Value::Array(parts) = value else { return Err(Failure::not_ours("the reply is no array")) };
        let mut rest = parts.into_iter();
        match rest.next() {
            Some(Value::BulkString(echo)) if echo == nonce => {}
            _ => return Err(Failure::not_ours("the reply belongs to another call")),
        }
        let status = rest.next().and_then(text).ok_or_else(|| Failure::not_ours("the reply has no status"))?;
        if status == "corrupt" {
            return Err(Failure::of_this(corrupt("its fields are missing")));
        }
        Ok(Reply { status, rest })
    }

    pub(crate) fn status(&self) -> &str {
        &self.status
    }

    /// Why Redis refused to write the refresh that a load asked for.
    pub(crate) fn refused_refresh(&self) -> Option<Failure> {
        match self.rest.as_slice().last() {
            Some(Value::BulkString(text)) if self.status == "ok" => {
                Some(Failure::met_by_script(&String::from_utf8_lossy(text)))
            }
            _ => None,
        }
    }

    /// Whether a load has extended the life of the session.
    pub(crate) fn has_refreshed(&self) -> bool {
        self.status == "ok" && matches!(self.rest.as_slice().get(1), Some(Value::Int(1)))
    }

    /// For a status that this script does not give.
    pub(crate) fn unexpected(&self) -> StoreError {
        corrupt("the script answered with something else")
    }

    pub(crate) fn number<N: FromStr>(&mut self) -> Result<N, StoreError> {
        self.rest.next().and_then(number).ok_or_else(|| corrupt("a number is missing"))
    }

    /// Whether the next part is a 1; where there is none, it is not.
    pub(crate) fn is_true(&mut self) -> bool {
        self.rest.next().and_then(number::<u8>) == Some(1)
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        self.rest.next().and_then(text).ok_or_else(|| corrupt("a text is missing"))
    }

    /// The key behind a hash field.
    pub(crate) fn key(&mut self) -> Result<String, StoreError> {
        let field = self.rest.next().and_then(text).ok_or_else(|| corrupt("a field is missing"))?;
        Ok(field.strip_prefix(':').unwrap_or(&field).to_owned())
    }

    /// How the record stands: see `info` in the prelude.
    pub(crate) fn info(&mut self) -> Result<RecordInfo, StoreError> {
        info(self.list()?)
    }

    /// The values among the fields of a hash, and the name of its group.
    pub(crate) fn fields(&mut self) -> Result<(Values, Option<String>), StoreError> {
        let mut fields = self.list()?.into_iter();
        let (mut values, mut group_name) = (Values::new(), None);
        while let (Some(Value::BulkString(field)), Some(Value::BulkString(value))) = (fields.next(), fields.next()) {
            let utf8 = |bytes| String::from_utf8(bytes).map_err(|_| corrupt("a value is no UTF-8"));
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
        self.rest.next().and_then(id).ok_or_else(|| corrupt("an id is missing"))
    }

    /// What is no id of ours is left out: nothing can be kept under it.
    pub(crate) fn ids(&mut self) -> Result<Vec<PublicId>, StoreError> {
        Ok(self.list()?.into_iter().filter_map(id).collect())
    }

    /// What a login has ended in its group.
    pub(crate) fn surplus(&mut self) -> Result<Surplus, StoreError> {
        Ok(Surplus { ended: self.ids()?, more: self.is_true() })
    }

    /// Sessions of a group: for each its id, how it stands, and what it has of these keys. A damaged one is left out.
    pub(crate) fn sessions(&mut self, keys: &[&str]) -> Result<Vec<SessionInfo>, StoreError> {
        let session = |session: Value| {
            let Value::Array(parts) = session else { return None };
            let [own_id, Value::Array(standing), Value::Array(values)] = <[Value; 3]>::try_from(parts).ok()? else {
                return None;
            };
            let values = keys.iter().zip(values).filter_map(|(key, value)| Some((key.to_string(), text(value)?)));
            Some(SessionInfo::new(id(own_id)?, info(standing).ok()?, values.collect()))
        };
        Ok(self.list()?.into_iter().filter_map(session).collect())
    }

    /// What increments led to. A call that is answered for the second time may find that others have put something
    /// else there since.
    pub(crate) fn totals(&mut self, keys: impl Iterator<Item = String>) -> Result<Vec<(String, i64)>, StoreError> {
        Ok(keys.zip(self.list()?).filter_map(|(key, total)| Some((key, number(total)?))).collect())
    }

    pub(crate) fn list(&mut self) -> Result<Vec<Value>, StoreError> {
        match self.rest.next() {
            Some(Value::Array(list)) => Ok(list),
            _ => Err(corrupt("a list is missing")),
        }
    }
}

/// Up to it, Lua's numbers count one by one.
const LAST_VERSION: u64 = 1 << 53;

fn info(standing: Vec<Value>) -> Result<RecordInfo, StoreError> {
    let mut numbers = standing.into_iter().map(number::<u64>);
    let mut next = || numbers.next().flatten();
    let [version, created, joined, refreshed, ends, idle, now, left] = [(); 8].map(|()| next());
    let there = |number: Option<u64>| number.ok_or_else(|| corrupt("a number is missing"));
    let time = |milliseconds| {
        UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).ok_or_else(|| corrupt("a time is out of range"))
    };
    let (now, left) = (there(now)?, there(left)?);
    Ok(RecordInfo {
        version: there(version.filter(|version| *version <= LAST_VERSION))?,
        created_at: time(there(created)?)?,
        joined_at: joined.map(time).transpose()?,
        refreshed_at: time(there(refreshed)?)?,
        ends_at: Some(there(ends)?).filter(|ends| *ends > 0).map(time).transpose()?,
        idle_timeout: Duration::from_millis(there(idle)?),
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
