//! Changes that the store has not confirmed.

use crate::group_limit::GroupLimit;
use crate::session::new_id::{GroupChange, NewId};
use crate::store::call::Nonce;
use crate::store::record::Join;
use crate::store::stored_value::StoredValue;
use crate::store::update::{Change, ChangeSet};
use crate::token::Identity;
use std::mem;
use std::time::Duration;

/// The changes that a request makes in its session, until the store confirms them.
#[derive(Default)]
pub(super) struct Pending {
    /// The changes of the values and of the idle timeout.
    pub(super) changes: ChangeSet,
    /// A new id that the session gets.
    pub(super) new_id: Option<NewId>,
    /// The limit of the group for the login of this request.
    pub(super) limit: Option<GroupLimit>,
    /// How long forms of the present id stay valid after the id has changed.
    pub(super) forms_time: Option<Duration>,
    /// Whether a new session is kept although nothing is set in it.
    pub(super) keep: bool,
}

/// Changes that were sent to the store and got no answer. They may have been applied, so they are sent again under the
/// same nonce, before any others.
pub(super) struct InFlight {
    pub(super) nonce: Nonce,
    pub(super) pending: Pending,
}

impl Pending {
    /// Returns whether there is nothing to change in an existing record.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.new_id.is_none()
    }

    /// Combines these changes with `later` ones.
    pub(super) fn followed_by(self, later: Pending) -> Pending {
        Pending {
            changes: self.changes.followed_by(later.changes),
            new_id: match (self.new_id, later.new_id) {
                (Some(earlier), Some(later)) => Some(earlier.followed_by(later)),
                (earlier, later) => earlier.or(later),
            },
            limit: later.limit.or(self.limit),
            forms_time: later.forms_time.or(self.forms_time),
            keep: self.keep || later.keep,
        }
    }

    /// Adds a request for a new id.
    pub(super) fn renew(&mut self, new_id: NewId) {
        *self = mem::take(self).followed_by(Pending { new_id: Some(new_id), ..Pending::default() });
    }

    /// Returns the new identity of the session, once it is drawn.
    pub(super) fn new_identity(&self) -> Option<&Identity> {
        self.new_id.as_ref().and_then(|new_id| new_id.identity.as_ref())
    }

    /// Forgets the new identity, so that the next save draws another one.
    pub(super) fn forget_new_identity(&mut self) {
        if let Some(new_id) = &mut self.new_id {
            new_id.identity = None;
        }
    }

    /// Returns the grace of the old id, if the session gets a new id with a grace.
    pub(super) fn grace(&self) -> Option<Duration> {
        self.new_id.as_ref().and_then(|new_id| new_id.grace)
    }

    /// Returns the request to let the session join a group, if it joins one.
    pub(super) fn join(&self, limit: Option<GroupLimit>) -> Option<Join<'_>> {
        match self.group() {
            GroupChange::Join(name) => Some(Join { name, limit: self.limit.or(limit) }),
            GroupChange::Stay | GroupChange::Leave => None,
        }
    }

    /// Returns the change of the session's membership in a group.
    pub(super) fn group(&self) -> &GroupChange {
        self.new_id.as_ref().map_or(&GroupChange::Stay, |new_id| &new_id.group)
    }

    /// Returns whether a key has a value after these changes. `None` if they leave the key as it is.
    pub(super) fn holds(&self, key: &str) -> Option<bool> {
        match self.changes.keys.get(key) {
            Some(change) => Some(*change != Change::Remove),
            None => self.changes.clear.then_some(false),
        }
    }

    /// Returns the value to which these changes set a key. `Some(None)` if they remove the key. `None` if they leave it
    /// as it is, or add to it.
    pub(super) fn overriding(&self, key: &str) -> Option<Option<&StoredValue>> {
        match self.changes.keys.get(key) {
            Some(Change::Set(value)) => Some(Some(value)),
            Some(Change::Remove) => Some(None),
            Some(Change::Increment(_)) => None,
            None => self.changes.clear.then_some(None),
        }
    }

    /// Returns the number that is added to a key.
    pub(super) fn increment(&self, key: &str) -> Option<i64> {
        match self.changes.keys.get(key) {
            Some(Change::Increment(by)) => Some(*by),
            _ => None,
        }
    }
}
