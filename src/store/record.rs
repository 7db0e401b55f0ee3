//! Records: the values of sessions, and what stores keep beside them.

use crate::end_reason::EndReason;
use crate::error::Error;
use crate::group_limit::GroupLimit;
use crate::id::PublicId;
use crate::json::from_json;
use crate::lifetime::Lifetime;
use crate::store::call::Nonce;
use crate::store::refusal::Refusal;
use crate::store::stored_value::StoredValue;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Add;
use std::time::{Duration, SystemTime};

/// The values of a session, by key.
pub type Values = BTreeMap<String, StoredValue>;

/// The size of some values together, or a limit for that size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Size {
    /// The number of keys.
    pub keys: usize,
    /// The length of all keys and values together, in bytes.
    pub bytes: usize,
}

impl Size {
    /// Returns the size of these values.
    #[must_use]
    pub fn of(values: &Values) -> Size {
        Size { keys: values.len(), bytes: values.iter().map(|(key, value)| Size::of_value(key, value).bytes).sum() }
    }

    /// Returns the size of one value with its key.
    #[must_use]
    pub fn of_value(key: &str, value: &StoredValue) -> Size {
        Size { keys: 1, bytes: key.len() + value.as_bytes().len() }
    }

    /// Checks whether this size is within `limit`, or at least not larger than `before`. Otherwise the error names
    /// `key`.
    pub(crate) fn check(self, before: Size, limit: Size, key: &str) -> Result<(), Refusal> {
        if self.bytes > limit.bytes.max(before.bytes) {
            return Err(Refusal::TooLarge { key: key.to_owned(), bytes: self.bytes, limit: limit.bytes });
        }
        if self.keys > limit.keys.max(before.keys) {
            return Err(Refusal::TooManyKeys { key: key.to_owned(), keys: self.keys, limit: limit.keys });
        }
        Ok(())
    }
}

impl Add for Size {
    type Output = Size;

    fn add(self, more: Size) -> Size {
        Size { keys: self.keys + more.keys, bytes: self.bytes + more.bytes }
    }
}

/// A record that a store has to create.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewRecord<'a> {
    /// Its values.
    pub values: Values,
    /// The largest size of the values together.
    pub size_limit: Size,
    /// The settings that decide how long the session lives.
    pub lifetime: Lifetime,
    /// An idle timeout for this one session.
    pub idle_timeout: Option<Duration>,
    /// Whether the cookie of this one session outlives the browser. `None` if the settings decide.
    pub persistent: Option<bool>,
    /// How long the session lives until its first load, if that is shorter than its idle timeout.
    pub unconfirmed_timeout: Option<Duration>,
    /// The group that the session joins. It is given if the key of the record has a tag.
    pub join: Option<Join<'a>>,
}

/// The request to let a session join the group of its key, or of its new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Join<'a> {
    /// The name of the group. The store keeps it with the record.
    pub name: &'a str,
    /// How many live sessions the group may have then. `None` without a limit.
    pub limit: Option<GroupLimit>,
}

impl NewRecord<'_> {
    /// Returns the size of the values, if they are within the limit.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] or [`Refusal::TooManyKeys`].
    pub fn check_size(&self) -> Result<Size, Refusal> {
        let size_now = Size::of(&self.values);
        let largest = self.values.iter().max_by_key(|(key, value)| Size::of_value(key, value).bytes);
        size_now.check(Size::default(), self.size_limit, largest.map_or("", |(key, _)| key))?;
        Ok(size_now)
    }
}

/// The state of a record, by the store's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordInfo {
    /// The version of the record, which every change increases.
    pub version: u64,
    /// The nonce of the change that made this version. If a store has lost a change, another one may have its version.
    pub last_nonce: Nonce,
    /// When the session was created.
    pub created_at: SystemTime,
    /// When the session joined its group, if it is in one.
    pub joined_at: Option<SystemTime>,
    /// When the session last got a full life: created, refreshed, moved, or given another idle timeout.
    pub refreshed_at: SystemTime,
    /// When the session ends at the latest, by its absolute timeout.
    pub ends_at: Option<SystemTime>,
    /// The idle timeout of the session.
    pub idle_timeout: Duration,
    /// When the session ends if it is not used.
    pub expires_at: SystemTime,
    /// The time until `expires_at`.
    pub expires_in: Duration,
    /// Whether the idle timeout was set for this one session.
    pub has_own_idle_timeout: bool,
    /// Whether the cookie of this one session outlives the browser. `None` if the settings decide.
    pub persistent: Option<bool>,
}

/// What a store found under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "most values are records, and a box would cost each load an allocation")]
pub enum Loaded {
    /// A live session.
    Record(Record),
    /// No live session, and why there is none.
    Ended(EndReason),
}

impl Loaded {
    /// Returns the record of a live session.
    #[must_use]
    pub fn record(self) -> Option<Record> {
        match self {
            Loaded::Record(record) => Some(record),
            Loaded::Ended(_) => None,
        }
    }
}

/// The result of a [`create`](crate::store::Store::create).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The state of the new record.
    pub info: RecordInfo,
    /// The sessions that the limit of the group has ended.
    pub ended: Vec<PublicId>,
}

/// The result of a [`clear_group`](crate::store::Store::clear_group).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// The number of sessions that have ended.
    pub number: u64,
    /// The sessions that have ended. If there are more than the store can list in time, some are missing.
    pub ids: Vec<PublicId>,
}

/// A record as a store loaded it.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Its state.
    pub info: RecordInfo,
    /// Its values.
    pub values: Values,
    /// The name of the group that the session is in.
    pub group_name: Option<String>,
    /// The values of that group: see [`update_group`](crate::store::Store::update_group).
    pub group_values: Values,
    /// Whether this load extended the session's life.
    pub refreshed: bool,
    /// The id that the session has now, if the call came with an old id.
    pub forwarded_to: Option<PublicId>,
}

/// One session of a group, as [`Group::sessions`](crate::Group::sessions) lists it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionInfo {
    pub(crate) public_id: PublicId,
    pub(crate) info: RecordInfo,
    pub(crate) values: Values,
}

impl SessionInfo {
    /// Makes the entry of a session. For stores: see [`Store::group_sessions`](crate::store::Store::group_sessions).
    #[must_use]
    pub fn new(public_id: PublicId, info: RecordInfo, values: Values) -> SessionInfo {
        SessionInfo { public_id, info, values }
    }

    /// Returns the public id of the session, for a "log out" button and [`Group::remove`](crate::Group::remove).
    #[must_use]
    pub fn public_id(&self) -> PublicId {
        self.public_id
    }

    /// Returns when the session was created. All times here are by the store's clock.
    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        self.info.created_at
    }

    /// Returns when the session joined the group: the login.
    #[must_use]
    pub fn joined_at(&self) -> SystemTime {
        self.info.joined_at.unwrap_or(self.info.created_at)
    }

    /// Returns when the session's life was last extended. The last use may be later, by up to the refresh interval.
    #[must_use]
    pub fn refreshed_at(&self) -> SystemTime {
        self.info.refreshed_at
    }

    /// Returns when the session ends if it is not used.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.info.expires_at
    }

    /// Returns when the session was listed. Compare the other times here with this one, because this machine's clock
    /// may differ from the store's.
    #[must_use]
    pub fn listed_at(&self) -> SystemTime {
        self.info.expires_at.checked_sub(self.info.expires_in).unwrap_or(self.info.expires_at)
    }

    /// Returns a value that [`Group::sessions_with`](crate::Group::sessions_with) was asked for. As with
    /// [`Session::get`](crate::Session::get), it is `None` if the session has no value of that key.
    ///
    /// # Errors
    /// [`Error::Decode`] if the value cannot be read as a `T`. [`Error::Sealed`] if only a request of the session
    /// itself can read it.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        match self.values.get(key) {
            None => Ok(None),
            Some(StoredValue::Json(json)) => from_json(key, json),
            Some(StoredValue::Sealed(_)) => Err(Error::Sealed { key: key.to_owned() }),
        }
    }
}

impl fmt::Debug for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionInfo")
            .field("public_id", &self.public_id)
            .field("info", &self.info)
            .field("values", &self.values.len())
            .finish()
    }
}

// Values can be anything, passwords included. So `Debug` shows their number only.

impl fmt::Debug for NewRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRecord")
            .field("values", &self.values.len())
            .field("lifetime", &self.lifetime)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("info", &self.info)
            .field("values", &self.values.len())
            .field("refreshed", &self.refreshed)
            .finish()
    }
}
