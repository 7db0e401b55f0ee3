//! Where records live: the [`Store`] trait, its contract, and the stores that come with the library.

mod change;
mod memory;
mod metrics;
#[cfg(any(feature = "redis", feature = "sqlite"))]
mod per_process;
#[cfg(any(feature = "redis", feature = "sqlite"))]
mod places;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
mod state;

pub(crate) use change::add;
pub use change::{Change, ChangeSet};
pub use memory::MemoryStore;
pub use metrics::Stats;
pub(crate) use metrics::{Counted, Metered};
#[cfg(feature = "redis")]
pub use redis::RedisStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
pub use state::RecordState;

use crate::group::SessionInfo;
use crate::lifetime::{Lifetime, Refresh};
use crate::token::{GroupTag, PublicId};
use crate::{Error, StoreError, StoreErrorKind, random};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The values of a session: JSON text by key.
pub type Values = BTreeMap<String, String>;

/// A place where records live.
///
/// Most applications never meet it: [`store_url`](crate::SessionManagerBuilder::store_url) picks a store. Implement it
/// to keep sessions elsewhere, and hand the result to [`store`](crate::SessionManagerBuilder::store).
///
/// # Contract
/// 1. [`create`](Store::create) never overwrites a record.
/// 2. [`load`](Store::load) gives the record or nothing. Expired, ended and unknown are the same nothing, and no error.
///    Errors are faults of the store.
/// 3. A load refreshes in the same step, when [that is due](RecordState::is_refresh_due). A refresh that cannot be
///    written does not fail the load. Where the [settings](Lifetime) of a call are stricter than those that the record
///    was made with, [the stricter ones hold](RecordState::alive).
/// 4. [`update`](Store::update) applies a change set to the record as it is now, wholly or not at all. Keys that the
///    change set does not name keep what other processes wrote. Increments add up. The size limit holds for the result.
///    Where a [new key](Update::new_key) is given, the record moves there in the same step.
/// 5. An update of a dead session changes nothing and is [`Error::Gone`]. Nothing but `create` brings a record about.
/// 6. Every update moves the record's version; a refresh does not. Where a version is expected, another one is
///    [`Error::Conflict`]; so is another value of the key that has to [hold](Update::holds) one.
/// 7. [`delete`](Store::delete) of what is not there is no error.
/// 8. The [tag](RecordKey::tag) of a session's group is part of its key: under another tag there is nothing. A session in
///    a group lives only as long as it is a member: [`clear_group`](Store::clear_group) ends them all in one step,
///    whatever is being created, saved or moved at that moment. Where a group may have [so many](Join::max_sessions)
///    members, those that joined first end in the step in which one joins, never the one that joins.
/// 9. A record remembers the nonces of the last two dozen calls that changed it, at least: a call that is sent twice is
///    applied once, and answered as it was the first time.
/// 10. Time is the store's own, never that of the caller.
/// 11. What one process was told is saved, every process sees from then on.
/// 12. For the [grace](Update::grace) of a move, calls with the old key reach the record under its new one; but a move is
///     [`Error::Gone`] then. They say so with the id that it has [now](Record::forwarded_to). A `clear_group` that spares
///     the session ends its graces.
/// 13. For [an hour](TRAIL) after a move within a group, or without one, `delete` with the old key ends the session under
///     its new one, be there a grace or not. Of more than 100 moves within the hour, this holds for the last 100.
/// 14. [`clear_namespace`](Store::clear_namespace) ends all sessions of a namespace in one step, and touches no other.
/// 15. Whatever is damaged, `delete` and `clear_group` end what is there, and every call ends.
///
/// Every call is to end, with an error if need be, by its [deadline](Call::deadline).
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Keeps a new record, and says how it stands; `None` if there is a live record of that key already (unless this
    /// same call made it).
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::TooLarge`] where the values are larger than the limit; [`Error::Gone`] if this same call
    /// made the record, and it has ended since and is known still.
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<Option<RecordInfo>, Error>;

    /// The record, refreshed if that was due.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Option<Record>, StoreError>;

    /// Applies a change set.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::Conflict`], [`Error::NotAnInteger`] ([`Error::not_an_integer`] makes one),
    /// [`Error::TooLarge`] ([`Error::too_large`]), [`Error::id_taken`] if there is a record under the new key already
    /// (unless this same call moved it there), or [`Error::Store`].
    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Error>;

    /// Ends the session, whatever state its record is in. Says whether it was alive, as well as can be known: of a call
    /// that is made again the answer is `false`.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn delete(&self, key: &RecordKey<'_>, call: &Call) -> Result<bool, StoreError>;

    /// The live sessions of a group, in any order, each with those of its values that have one of these keys.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], call: &Call) -> Result<Vec<SessionInfo>, StoreError>;

    /// How many live sessions a group has.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn group_len(&self, group: &GroupKey<'_>, call: &Call) -> Result<usize, StoreError>;

    /// Ends all sessions of a group, `except` one, which may be named by an id that it had before, in its grace. Says how
    /// many there were.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, call: &Call) -> Result<u64, StoreError>;

    /// Ends all sessions of a namespace. What it costs does not depend on how many there are; their records may be removed
    /// later.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn clear_namespace(&self, namespace: &str, call: &Call) -> Result<(), StoreError>;

    /// Whether sessions can be written. By default it creates one, in a group of its own, and ends it.
    ///
    /// # Errors
    /// A [`StoreError`] says why not.
    fn check_writes(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        check_writes(self, namespace, call)
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn ping(&self, call: &Call) -> Result<(), StoreError>;

    /// Waits until no call is under way, closes what this process has open, and holds new calls back until the guard is
    /// dropped. By default it does nothing, for stores that a fork cannot hurt.
    fn before_fork(&self) -> ForkGuard {
        ForkGuard::default()
    }

    /// What this process has done about connections and requests. Calls and errors are counted by the manager. By default
    /// nothing.
    fn stats(&self) -> Stats {
        Stats::default()
    }
}

/// A store that several managers share.
impl<S: Store> Store for Arc<S> {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<Option<RecordInfo>, Error> {
        (**self).create(key, record, call)
    }

    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Option<Record>, StoreError> {
        (**self).load(key, lifetime, call)
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Error> {
        (**self).update(key, update, call)
    }

    fn delete(&self, key: &RecordKey<'_>, call: &Call) -> Result<bool, StoreError> {
        (**self).delete(key, call)
    }

    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], call: &Call) -> Result<Vec<SessionInfo>, StoreError> {
        (**self).group_sessions(group, keys, call)
    }

    fn group_len(&self, group: &GroupKey<'_>, call: &Call) -> Result<usize, StoreError> {
        (**self).group_len(group, call)
    }

    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, call: &Call) -> Result<u64, StoreError> {
        (**self).clear_group(group, except, call)
    }

    fn clear_namespace(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        (**self).clear_namespace(namespace, call)
    }

    fn check_writes(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        (**self).check_writes(namespace, call)
    }

    fn ping(&self, call: &Call) -> Result<(), StoreError> {
        (**self).ping(call)
    }

    fn before_fork(&self) -> ForkGuard {
        (**self).before_fork()
    }

    fn stats(&self) -> Stats {
        (**self).stats()
    }
}

/// What a record is kept under.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RecordKey<'a> {
    /// Keeps two applications on one store apart.
    pub namespace: &'a str,
    /// The group the session is in.
    pub tag: Option<GroupTag>,
    /// The digest of the session's id, which depends on the namespace too.
    pub id: PublicId,
}

impl<'a> RecordKey<'a> {
    /// The group of this tag, in the same namespace.
    #[must_use]
    pub fn group(&self, tag: GroupTag) -> GroupKey<'a> {
        GroupKey { namespace: self.namespace, tag }
    }
}

/// What a group is kept under.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GroupKey<'a> {
    /// Keeps two applications on one store apart.
    pub namespace: &'a str,
    /// The digest of the group's name, which depends on the namespace too.
    pub tag: GroupTag,
}

impl<'a> GroupKey<'a> {
    /// The key of the session with this id in the group.
    #[must_use]
    pub fn session(&self, id: PublicId) -> RecordKey<'a> {
        RecordKey { namespace: self.namespace, tag: Some(self.tag), id }
    }
}

/// A session joins the group of the key that it is to be kept under.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Join<'a> {
    /// The group's name, kept with the record.
    pub name: &'a str,
    /// How many live sessions the group may have then.
    pub max_sessions: Option<usize>,
}

/// A record to be created.
#[derive(Clone)]
#[non_exhaustive]
pub struct NewRecord<'a> {
    /// Its values.
    pub values: Values,
    /// How large the values may be together.
    pub size_limit: Size,
    /// The settings that decide how long it lives.
    pub lifetime: Lifetime,
    /// An idle timeout for this one session.
    pub idle_timeout: Option<Duration>,
    /// How long it lives until it is loaded for the first time, if that is shorter.
    pub unconfirmed_timeout: Option<Duration>,
    /// Given if its key has a tag.
    pub join: Option<Join<'a>>,
}

/// How a record stands, by the store's own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordInfo {
    /// Moves with every change.
    pub version: u64,
    /// When the session was created.
    pub created_at: SystemTime,
    /// When it joined its group, if it is in one.
    pub joined_at: Option<SystemTime>,
    /// When it last got a full life: created, refreshed, moved, or given another idle timeout.
    pub refreshed_at: SystemTime,
    /// The absolute timeout: when it ends at the latest.
    pub ends_at: Option<SystemTime>,
    /// Its idle timeout.
    pub idle_timeout: Duration,
    /// When it ends if it is not used.
    pub expires_at: SystemTime,
    /// How long that is from now.
    pub expires_in: Duration,
}

/// A record as it was loaded.
#[derive(Clone)]
pub struct Record {
    /// How it stands.
    pub info: RecordInfo,
    /// Its values.
    pub values: Values,
    /// The name of the group that it is in.
    pub group_name: Option<String>,
    /// Whether this load extended its life.
    pub refreshed: bool,
    /// The id that it has now, where it was reached by one that it had before.
    pub forwarded_to: Option<PublicId>,
}

/// A change set and the conditions for it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Update<'a> {
    /// What to change.
    pub changes: &'a ChangeSet,
    /// The version the record has to have, if that matters.
    pub expected: Option<u64>,
    /// A key and the JSON text that it has to have, if that matters.
    pub holds: Option<(&'a str, &'a str)>,
    /// How large the values may be together. A change that makes a record smaller is let through.
    pub size_limit: Size,
    /// The settings that decide how long it lives.
    pub lifetime: Lifetime,
    /// The key the record moves to, if the session gets a new id: there it has a full life from now, and under the old
    /// key there is nothing any more. If it has no tag, the session leaves its group.
    pub new_key: Option<RecordKey<'a>>,
    /// How long the old key still leads to the record: at most [`LONGEST_GRACE`]. Only for a move within a group, or without
    /// one.
    pub grace: Option<Duration>,
    /// Given if the session joins the new key's group, be it the one it is in: then the absolute timeout begins anew.
    pub join: Option<Join<'a>>,
    /// The record as the caller knows it, if it knows all of its values: spares a store that cannot move a record in one
    /// step from reading it.
    pub known: Option<(&'a RecordInfo, &'a Values)>,
}

/// What an update led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// How the record stands now.
    pub info: RecordInfo,
    /// For each increment the value it led to.
    pub totals: Vec<(String, i64)>,
    /// The id that it has now, where it was reached by one that it had before.
    pub forwarded_to: Option<PublicId>,
}

/// The longest [grace](Update::grace). One that ends later than that was given by a clock that has been put back since: it
/// is over.
pub const LONGEST_GRACE: Duration = Duration::from_secs(5 * 60);

/// For how long an id that was replaced still ends the session, by [`Store::delete`].
pub const TRAIL: Duration = Duration::from_secs(60 * 60);

/// An id leads on to another one, and that to the next, this often at most.
pub(crate) const MOST_FORWARDS: usize = 100;

/// Follows an id to the one that the session has now.
pub(crate) fn follow<E>(
    mut key: RecordKey<'_>,
    mut next: impl FnMut(&RecordKey<'_>) -> Result<Option<PublicId>, E>,
) -> Result<RecordKey<'_>, E> {
    for _ in 0..MOST_FORWARDS {
        match next(&key)? {
            Some(id) => key.id = id,
            None => break,
        }
    }
    Ok(key)
}

/// Creates a session that nobody knows of, in a group of its own, and ends it.
fn check_writes<S: Store + ?Sized>(store: &S, namespace: &str, call: &Call) -> Result<(), StoreError> {
    let no_randomness = |_| StoreError::new(StoreErrorKind::Backend, "the operating system gave no random bytes");
    let group = GroupKey { namespace, tag: GroupTag::random().map_err(no_randomness)? };
    let key = group.session(PublicId::random().map_err(no_randomness)?);
    let record = NewRecord {
        values: Values::new(),
        size_limit: Size { keys: 0, bytes: 0 },
        lifetime: Lifetime { idle_timeout: Duration::from_secs(60), absolute_timeout: None, refresh: Refresh::Never },
        idle_timeout: None,
        unconfirmed_timeout: None,
        join: Some(Join { name: "", max_sessions: None }),
    };
    match store.create(&key, &record, call) {
        Ok(_) => store.delete(&key, call).map(drop),
        Err(Error::Store(error)) => Err(error),
        Err(other) => Err(StoreError::new(StoreErrorKind::Backend, "a session cannot be created").caused_by(other)),
    }
}

/// How large values are together, or may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// How many there are.
    pub keys: usize,
    /// All keys and their JSON texts together, in bytes.
    pub bytes: usize,
}

impl Size {
    /// The size of these values.
    #[must_use]
    pub fn of(values: &Values) -> Size {
        Size { keys: values.len(), bytes: values.iter().map(|(key, json)| size(key, json)).sum() }
    }

    /// Whether this fits, or is at least no larger than it was `before`. If not, the error names this key.
    fn check(self, before: Size, limit: Size, key: &str) -> Result<(), Error> {
        if self.bytes > limit.bytes.max(before.bytes) {
            return Err(Error::too_large(key, self.bytes, limit.bytes));
        }
        if self.keys > limit.keys.max(before.keys) {
            return Err(Error::too_many_keys(key, self.keys, limit.keys));
        }
        Ok(())
    }
}

/// How large one value is, with its key, as the limits count it.
#[must_use]
pub fn size(key: &str, json: &str) -> usize {
    key.len() + json.len()
}

impl NewRecord<'_> {
    /// How large the values are, if they fit the limit.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn check_size(&self) -> Result<Size, Error> {
        let size_now = Size::of(&self.values);
        let largest = self.values.iter().max_by_key(|(key, json)| size(key, json));
        size_now.check(Size::default(), self.size_limit, largest.map_or("", |(key, _)| key))?;
        Ok(size_now)
    }
}

impl Update<'_> {
    /// Whether values that were as large as `before` together may become as large as `after`.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn check_size(&self, before: Size, after: Size) -> Result<(), Error> {
        after.check(before, self.size_limit, self.changes.largest_key())
    }

    /// Whether the session under `key` leaves the group that it is in.
    #[must_use]
    pub fn leaves_group(&self, key: &RecordKey<'_>) -> bool {
        key.tag.is_some() && self.new_key.is_some_and(|new_key| new_key.tag != key.tag)
    }
}

/// Half of the time to the deadline from now.
#[cfg(any(feature = "redis", feature = "sqlite"))]
pub(crate) fn halfway(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 2
}

/// Eight random characters that tell one call from every other.
pub type Nonce = [u8; 8];

/// One call: until when it is to be answered, and its nonce.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call {
    /// When the call is to have ended.
    pub deadline: Instant,
    /// Tells this call from every other; the same when the call is made again.
    pub nonce: Nonce,
}

impl Call {
    /// A new call that has to end by then.
    ///
    /// # Errors
    /// [`Error::Randomness`].
    pub fn until(deadline: Instant) -> Result<Call, Error> {
        Ok(Call { deadline, nonce: random::nonce()? })
    }
}

/// While it lives, the process may fork: see [`SessionManager::before_fork`](crate::SessionManager::before_fork).
#[must_use = "the process may fork only while this guard lives"]
#[derive(Default)]
pub struct ForkGuard {
    release: Option<Box<dyn FnOnce() + Send>>,
}

impl ForkGuard {
    /// A guard that does this when it is dropped, in the parent and in the child.
    pub fn new(release: impl FnOnce() + Send + 'static) -> ForkGuard {
        ForkGuard { release: Some(Box::new(release)) }
    }
}

impl Drop for ForkGuard {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
    }
}

impl fmt::Debug for ForkGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForkGuard")
    }
}

// Values may be anything, passwords included: they are counted, not shown.

impl fmt::Debug for NewRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRecord")
            .field("values", &self.values.len())
            .field("lifetime", &self.lifetime)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Update<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update")
            .field("changes", &self.changes)
            .field("expected", &self.expected)
            .field("holds", &self.holds.map(|(key, _)| key))
            .field("new_key", &self.new_key)
            .field("grace", &self.grace)
            .field("join", &self.join)
            .field("lifetime", &self.lifetime)
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
