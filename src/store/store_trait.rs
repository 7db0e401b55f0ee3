//! The trait of all stores, and its contract.

use crate::end_reason::EndReason;
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::id::{GroupTag, PublicId};
use crate::lifetime::{Lifetime, Refresh};
use crate::store::call::Call;
use crate::store::fork_guard::ForkGuard;
#[cfg(doc)]
use crate::store::forward::TRAIL;
use crate::store::group_update::GroupUpdate;
use crate::store::key::{GroupKey, RecordKey};
#[cfg(doc)]
use crate::store::record::Record;
use crate::store::record::{Cleared, Created, Join, Loaded, NewRecord, SessionInfo, Size, Values};
use crate::store::refusal::Refusal;
#[cfg(doc)]
use crate::store::state::RecordState;
use crate::store::stats::Stats;
use crate::store::update::{Update, Updated};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A place that keeps records.
///
/// Most applications do not need this trait: [`store_url`](crate::SessionManagerBuilder::store_url) picks a store. To
/// keep sessions elsewhere, implement the trait, and hand the store to [`store`](crate::SessionManagerBuilder::store).
///
/// # Contract
/// 1. [`create`](Store::create) never overwrites a record.
/// 2. [`load`](Store::load) gives the record of a live session. For a session that is expired, ended or unknown, it
///    gives the [reason](EndReason). That is not an error: errors are faults of the store.
/// 3. A load refreshes in the same step, when [a refresh is due](RecordState::is_refresh_due). A refresh that cannot be
///    written does not fail the load. If the [settings](Lifetime) of a call are stricter than those that the record was
///    made with, [the stricter ones hold](RecordState::alive).
/// 4. [`update`](Store::update) applies a change set to the record as it is now, wholly or not at all. Keys that the
///    change set does not name keep the values that other processes wrote. Increments add up. The size limit holds for
///    the result. If a [new key](Update::new_key) is given, the record moves there in the same step.
/// 5. An update of an ended session changes nothing and returns [`Refusal::Gone`]. Only `create` makes a record.
/// 6. Every update changes the record's version. A refresh does not. If the update [expects](Update::expected) another
///    version than the record has, the answer is [`Refusal::Conflict`]. The answer is the same if a key does not
///    [hold](Update::holds) the value that the update names.
/// 7. A [`delete`](Store::delete) of a record that is not there is not an error.
/// 8. The [tag](RecordKey::tag) of a session's group is part of the session's key: a key with another tag finds
///    nothing. A session in a group lives only as long as it is a member. [`clear_group`](Store::clear_group) ends all
///    members in one step, whatever is being created, saved or moved at that moment. If a group has a
///    [limit](Join::limit) and one more session joins, either the members that joined first end in the same step, or
///    the join is refused with [`Refusal::TooManySessions`]. The session that joins is never one of those that end. The
///    order of joining is exact, whatever the clock shows.
/// 9. A record remembers the nonces of at least the last 24 calls that changed it. A call that is sent twice is applied
///    once, and answered as it was the first time.
/// 10. All times are by the store's clock, never by the caller's.
/// 11. Once one process was told that a change is saved, every process sees that change.
/// 12. For the [grace](Update::grace) of a move, calls with the old key reach the record under its new key. Their
///     answers give the id that the session has [now](Record::forwarded_to). But a move with the old key is refused
///     with [`Refusal::Gone`]. A `clear_group` that spares the session ends its graces.
/// 13. For [an hour](TRAIL) after a move within a group, or without one, `delete` with the old key ends the session
///     under its new key, with or without a grace. If there are more than 100 moves within the hour, this holds for the
///     last 100.
/// 14. [`clear_namespace`](Store::clear_namespace) ends all sessions of a namespace in one step, and touches no other
///     namespace.
/// 15. Even if data is damaged, `delete` and `clear_group` end the sessions that are there, and no call hangs.
/// 16. For 5 minutes after the end of a session, the store remembers the reason. If the call that created the session
///     is sent again meanwhile, the answer is [`Refusal::Gone`], and the session does not come back. The end of a
///     namespace need not be remembered for sessions that are older than 5 minutes.
/// 17. [`peek`](Store::peek) gives what `load` gives, and writes nothing. [`present_ids`](Store::present_ids) gives for
///     many sessions at once whether they are alive.
/// 18. The values of a group are given with each load of its sessions. Once one process was told that
///     [`update_group`](Store::update_group) has changed them, every load sees the change. They are kept for as long as
///     a session of the group lives, and at least for an idle timeout after their last change. The end of the namespace
///     ends them; the end of the sessions does not.
///
/// Every call has to end by its [deadline](Call::deadline), if necessary with an error.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Creates a record, and gives its state.
    ///
    /// # Errors
    /// [`Refusal::Fault`]. [`Refusal::IdTaken`] if there is a live record of that key already, unless this same call
    /// made that record. [`Refusal::TooLarge`] or [`Refusal::TooManyKeys`] if the values are larger than the limit.
    /// [`Refusal::TooManySessions`]. [`Refusal::Gone`] if this same call made the record, and the store still knows
    /// that its session has ended since.
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<Created, Refusal>;

    /// Loads a record, and refreshes it if that is due.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError>;

    /// Loads a record, and leaves its life as it is.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn peek(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError>;

    /// Returns the id that the live session of each key has now, or `None` if there is no live session. Like `peek`, it
    /// follows an old key during its grace, and writes nothing.
    ///
    /// # Errors
    /// A [`StoreError`]. A damaged record is not an error. Its session may count as alive or as ended.
    fn present_ids(
        &self,
        keys: &[RecordKey<'_>],
        lifetime: &Lifetime,
        call: &Call,
    ) -> Result<Vec<Option<PublicId>>, StoreError>;

    /// Applies a change set.
    ///
    /// # Errors
    /// Each [`Refusal`]. [`Refusal::IdTaken`] if there is a record under the new key already, unless this same call
    /// moved it there.
    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Refusal>;

    /// Ends the session for this reason, even if its record is damaged. Returns the id that the session had, or `None`
    /// if it was not alive, as far as the store can know.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn delete(&self, key: &RecordKey<'_>, reason: EndReason, call: &Call) -> Result<Option<PublicId>, StoreError>;

    /// Lists the live sessions of a group, in any order, each with its values of these keys.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], call: &Call) -> Result<Vec<SessionInfo>, StoreError>;

    /// Returns the number of live sessions of a group.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn group_len(&self, group: &GroupKey<'_>, call: &Call) -> Result<usize, StoreError>;

    /// Ends all sessions of a group, except the session `except`, if given. `except` may be an old id of the session,
    /// as long as that id is in its grace.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, call: &Call) -> Result<Cleared, StoreError>;

    /// Returns the values of a group.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn group_values(&self, group: &GroupKey<'_>, call: &Call) -> Result<Values, StoreError>;

    /// Changes the values of a group. A call that is sent twice is applied once: the values remember the nonces of at
    /// least the last 24 calls that changed them.
    ///
    /// # Errors
    /// [`Refusal::Fault`], [`Refusal::TooLarge`] or [`Refusal::TooManyKeys`].
    fn update_group(&self, group: &GroupKey<'_>, update: &GroupUpdate<'_>, call: &Call) -> Result<(), Refusal>;

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
    /// Default: does nothing. This is right for a store to which a fork does no harm.
    fn before_fork(&self) -> ForkGuard {
        ForkGuard::default()
    }

    /// Returns the counters of this process for connections and requests. The manager counts calls and errors.
    ///
    /// Default: all are 0.
    fn stats(&self) -> Stats {
        Stats::default()
    }
}

/// A store that several managers share, or whose type is chosen at run time.
impl<S: Store + ?Sized> Store for Arc<S> {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<Created, Refusal> {
        (**self).create(key, record, call)
    }

    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError> {
        (**self).load(key, lifetime, call)
    }

    fn peek(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError> {
        (**self).peek(key, lifetime, call)
    }

    fn present_ids(
        &self,
        keys: &[RecordKey<'_>],
        lifetime: &Lifetime,
        call: &Call,
    ) -> Result<Vec<Option<PublicId>>, StoreError> {
        (**self).present_ids(keys, lifetime, call)
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Refusal> {
        (**self).update(key, update, call)
    }

    fn delete(&self, key: &RecordKey<'_>, reason: EndReason, call: &Call) -> Result<Option<PublicId>, StoreError> {
        (**self).delete(key, reason, call)
    }

    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], call: &Call) -> Result<Vec<SessionInfo>, StoreError> {
        (**self).group_sessions(group, keys, call)
    }

    fn group_len(&self, group: &GroupKey<'_>, call: &Call) -> Result<usize, StoreError> {
        (**self).group_len(group, call)
    }

    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, call: &Call) -> Result<Cleared, StoreError> {
        (**self).clear_group(group, except, call)
    }

    fn group_values(&self, group: &GroupKey<'_>, call: &Call) -> Result<Values, StoreError> {
        (**self).group_values(group, call)
    }

    fn update_group(&self, group: &GroupKey<'_>, update: &GroupUpdate<'_>, call: &Call) -> Result<(), Refusal> {
        (**self).update_group(group, update, call)
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
        persistent: None,
        unconfirmed_timeout: None,
        join: Some(Join { name: "", limit: None }),
    };
    match store.create(&key, &record, call) {
        Ok(_) => store.delete(&key, EndReason::LoggedOut, call).map(drop),
        Err(Refusal::Fault(error)) => Err(error),
        Err(other) => {
            Err(StoreError::new(StoreErrorKind::Backend, "a session cannot be created").caused_by(Error::from(other)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::SessionManager;
    use crate::secret::Secret;
    use crate::store::memory::MemoryStore;

    #[test]
    fn a_store_may_be_chosen_at_run_time_and_shared() {
        let store: Arc<dyn Store> = Arc::from(Box::new(MemoryStore::new()) as Box<dyn Store>);
        let secret = Secret::generate().unwrap();
        let managers = [(); 2]
            .map(|()| SessionManager::builder(secret.clone()).store(store.clone()).secure(false).build().unwrap());
        let mut session = managers[0].load(None).unwrap();
        session.set("name", "Ada").unwrap();
        let set_cookie = session.save().unwrap().unwrap();
        let header = set_cookie.pair();
        assert_eq!(managers[1].load(header).unwrap().get::<String>("name").unwrap().as_deref(), Some("Ada"));
        managers[1].check_writes().unwrap();
    }
}
