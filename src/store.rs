//! The [`Store`] trait, its contract, and the stores that come with the library.

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
/// Most applications do not need this trait: [`store_url`](crate::SessionManagerBuilder::store_url) picks a store. To
/// keep sessions elsewhere, implement the trait, and hand the store to [`store`](crate::SessionManagerBuilder::store).
///
/// # Contract
/// 1. [`create`](Store::create) never overwrites a record.
/// 2. [`load`](Store::load) gives the record or `None`. It gives the same `None` for a session that is expired, ended
///    or unknown. That is not an error: errors are faults of the store.
/// 3. A load refreshes in the same step, when [a refresh is due](RecordState::is_refresh_due). A refresh that cannot be
///    written does not fail the load. If the [settings](Lifetime) of a call are stricter than those that the record was
///    made with, [the stricter ones hold](RecordState::alive).
/// 4. [`update`](Store::update) applies a change set to the record as it is now, wholly or not at all. Keys that the
///    change set does not name keep the values that other processes wrote. Increments add up. The size limit holds for
///    the result. If a [new key](Update::new_key) is given, the record moves there in the same step.
/// 5. An update of an ended session changes nothing and answers [`Error::Gone`]. Only `create` makes a record.
/// 6. Every update changes the record's version; a refresh does not. If the call expects a version and the record has
///    another one, the answer is [`Error::Conflict`]. So it is if a key that has to [hold](Update::holds) a value holds
///    another one.
/// 7. A [`delete`](Store::delete) of a record that is not there is not an error.
/// 8. The [tag](RecordKey::tag) of a session's group is part of the session's key: under another tag there is nothing.
///    A session in a group lives only as long as it is a member. [`clear_group`](Store::clear_group) ends all members
///    in one step, whatever is being created, saved or moved at that moment. If a group has a
///    [limit](Join::max_sessions), the members that joined first end in the step in which one joins. The session that
///    joins never ends. The order of joining is exact, whatever the clock shows.
/// 9. A record remembers the nonces of the last two dozen calls that changed it, or of more. A call that is sent twice
///    is applied once, and answered as it was the first time.
/// 10. All times are by the store's clock, never by the caller's.
/// 11. Once one process was told that a change is saved, every process sees that change.
/// 12. For the [grace](Update::grace) of a move, calls with the old key reach the record under its new key. They say so
///     with the id that the session has [now](Record::forwarded_to). But a move with the old key is [`Error::Gone`]. A
///     `clear_group` that spares the session ends its graces.
/// 13. For [an hour](TRAIL) after a move within a group, or without one, `delete` with the old key ends the session
///     under its new key, with or without a grace. If there are more than 100 moves within the hour, this holds for the
///     last 100.
/// 14. [`clear_namespace`](Store::clear_namespace) ends all sessions of a namespace in one step, and touches no other
///     namespace.
/// 15. Whatever is damaged, `delete` and `clear_group` end the sessions that are there, and every call ends.
/// 16. If a session ends within a minute after its creation, the store knows it for the rest of that minute: the same
///     `create`, sent again, is [`Error::Gone`] and does not bring the session back.
///
/// Every call has to end by its [deadline](Call::deadline), with an error if need be.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Creates a record, and gives its state. Gives `None` if there is a live record of that key already, unless this
    /// same call made that record.
    ///
    /// # Errors
    /// [`Error::Store`]. [`Error::TooLarge`] if the values are larger than the limit. [`Error::Gone`] if this same call
    /// made the record, and the store still knows that its session has ended since.
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<Option<RecordInfo>, Error>;

    /// Loads a record, and refreshes it if that is due.
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

    /// Ends the session, whatever state its record is in. Says whether the session was alive, as far as the store can
    /// know: a call that is sent again answers `false`.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn delete(&self, key: &RecordKey<'_>, call: &Call) -> Result<bool, StoreError>;

    /// Lists the live sessions of a group, in any order, each with its values of these keys.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], call: &Call) -> Result<Vec<SessionInfo>, StoreError>;

    /// Gives the number of live sessions of a group.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn group_len(&self, group: &GroupKey<'_>, call: &Call) -> Result<usize, StoreError>;

    /// Ends all sessions of a group, except the session `except`, if given. Gives the number of ended sessions.
    /// `except` may be an earlier id of the session that is in its grace.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, call: &Call) -> Result<u64, StoreError>;

    /// Ends all sessions of a namespace. The cost does not depend on the number of sessions. Their records may be
    /// removed later.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn clear_namespace(&self, namespace: &str, call: &Call) -> Result<(), StoreError>;

    /// Checks whether sessions can be written.
    ///
    /// Default: creates a session in a group of its own, and ends it.
    ///
    /// # Errors
    /// A [`StoreError`] says why not.
    fn check_writes(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        check_writes(self, namespace, call)
    }

    /// Checks whether the store answers.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn ping(&self, call: &Call) -> Result<(), StoreError>;

    /// Waits until no call is running, closes all that this process has open, and holds back new calls until the guard
    /// is dropped.
    ///
    /// Default: does nothing, for stores that a fork cannot hurt.
    fn before_fork(&self) -> ForkGuard {
        ForkGuard::default()
    }

    /// Gives the counters of this process for connections and requests. The manager counts calls and errors.
    ///
    /// Default: all are 0.
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

/// The key of a record.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RecordKey<'a> {
    /// Keeps two applications on one store apart.
    pub namespace: &'a str,
    /// The tag of the group that the session is in.
    pub tag: Option<GroupTag>,
    /// The digest of the session's id, which depends on the namespace too.
    pub id: PublicId,
}

impl<'a> RecordKey<'a> {
    /// Gives the key of the group with this tag, in the same namespace.
    #[must_use]
    pub fn group(&self, tag: GroupTag) -> GroupKey<'a> {
        GroupKey { namespace: self.namespace, tag }
    }
}

/// The key of a group.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GroupKey<'a> {
    /// Keeps two applications on one store apart.
    pub namespace: &'a str,
    /// The digest of the group's name, which depends on the namespace too.
    pub tag: GroupTag,
}

impl<'a> GroupKey<'a> {
    /// Gives the key of the session with this id in the group.
    #[must_use]
    pub fn session(&self, id: PublicId) -> RecordKey<'a> {
        RecordKey { namespace: self.namespace, tag: Some(self.tag), id }
    }
}

/// The wish that a session joins the group of its key, or of its new key.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Join<'a> {
    /// The group's name, kept with the record.
    pub name: &'a str,
    /// How many live sessions the group may have after that.
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
    /// How long the session lives until it is loaded for the first time, if that is shorter.
    pub unconfirmed_timeout: Option<Duration>,
    /// The group that the session joins. Given if its key has a tag.
    pub join: Option<Join<'a>>,
}

/// The state of a record, by the store's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordInfo {
    /// The version of the record, which every change increases.
    pub version: u64,
    /// When the session was created.
    pub created_at: SystemTime,
    /// When it joined its group, if it is in one.
    pub joined_at: Option<SystemTime>,
    /// When the session last got a full life: created, refreshed, moved, or given another idle timeout.
    pub refreshed_at: SystemTime,
    /// When the session ends at the latest, by its absolute timeout.
    pub ends_at: Option<SystemTime>,
    /// Its idle timeout.
    pub idle_timeout: Duration,
    /// When it ends if it is not used.
    pub expires_at: SystemTime,
    /// How long it is until `expires_at`.
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
    /// Whether this load extended the session's life.
    pub refreshed: bool,
    /// The id that it has now, where it was reached by one that it had before.
    pub forwarded_to: Option<PublicId>,
}

/// A change set and the conditions for it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Update<'a> {
    /// The changes.
    pub changes: &'a ChangeSet,
    /// The version that the record has to have, if that matters.
    pub expected: Option<u64>,
    /// A key, and the JSON text that the key has to hold, if that matters.
    pub holds: Option<(&'a str, &'a str)>,
    /// How large the values may be together. A change that makes a record smaller is always allowed.
    pub size_limit: Size,
    /// The settings that decide how long it lives.
    pub lifetime: Lifetime,
    /// The key that the record moves to, if the session gets a new id. There the record has a full life from now, and
    /// under the old key there is nothing any more. If the new key has no tag, the session leaves its group.
    pub new_key: Option<RecordKey<'a>>,
    /// How long the old key still leads to the record: at most [`LONGEST_GRACE`]. Only for a move within a group, or
    /// without one.
    pub grace: Option<Duration>,
    /// Given if the session joins the new key's group, even if it is in that group already. Then the absolute timeout
    /// begins anew.
    pub join: Option<Join<'a>>,
    /// The record as the caller knows it, if the caller knows all of its values. A store that cannot move a record in
    /// one step then need not read it.
    pub known: Option<(&'a RecordInfo, &'a Values)>,
}

/// The result of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// How the record stands now.
    pub info: RecordInfo,
    /// The new value of each key that was incremented.
    pub totals: Vec<(String, i64)>,
    /// The id that it has now, where it was reached by one that it had before.
    pub forwarded_to: Option<PublicId>,
}

/// How long after its creation a session that has ended is known to the call that made it.
pub(crate) const TRACE: Duration = Duration::from_secs(60);

/// The longest [grace](Update::grace). A grace that ends later than that is over: it was given before the clock was put
/// back.
pub const LONGEST_GRACE: Duration = Duration::from_secs(5 * 60);

/// How long an id that was replaced still ends the session, by [`Store::delete`].
pub const TRAIL: Duration = Duration::from_secs(60 * 60);

/// The most steps from an old id to the present one, where each id leads to the next.
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

/// The size of some values together, or a limit for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// The number of keys.
    pub keys: usize,
    /// All keys and their JSON texts together, in bytes.
    pub bytes: usize,
}

impl Size {
    /// Gives the size of these values.
    #[must_use]
    pub fn of(values: &Values) -> Size {
        Size { keys: values.len(), bytes: values.iter().map(|(key, json)| size(key, json)).sum() }
    }

    /// Checks whether this size is within `limit`, or at least not larger than `before`. If not, the error names this
    /// key.
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

/// Gives the size of one value with its key, as the limits count it.
#[must_use]
pub fn size(key: &str, json: &str) -> usize {
    key.len() + json.len()
}

impl NewRecord<'_> {
    /// Gives the size of the values, if they are within the limit.
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
    /// Checks whether values that were `before` large together may become `after` large.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn check_size(&self, before: Size, after: Size) -> Result<(), Error> {
        after.check(before, self.size_limit, self.changes.largest_key())
    }

    /// Says whether the session under `key` leaves its group.
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

/// One call: its deadline and its nonce.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call {
    /// When the call has to end.
    pub deadline: Instant,
    /// The mark of this call: no other call has it, and a call that is sent again keeps it.
    pub nonce: Nonce,
}

impl Call {
    /// Makes a new call that has to end by `deadline`.
    ///
    /// # Errors
    /// [`Error::Randomness`].
    pub fn until(deadline: Instant) -> Result<Call, Error> {
        Ok(Call { deadline, nonce: random::nonce()? })
    }
}

/// A guard during whose life the process may fork: see
/// [`SessionManager::before_fork`](crate::SessionManager::before_fork).
#[must_use = "the process may fork only while this guard lives"]
#[derive(Default)]
pub struct ForkGuard {
    release: Option<Box<dyn FnOnce() + Send>>,
}

impl ForkGuard {
    /// Makes a guard that calls `release` when it is dropped, in the parent and in the child.
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
