//! The new id that a session gets when it is saved, and the group that the session is in from then on.

use crate::context::Context;
use crate::error::{Error, Oversize};
use crate::token::Identity;
use std::time::Duration;

/// The length of the longest group name, in bytes.
pub(crate) const MAX_GROUP_NAME_BYTES: usize = 1024;

/// A new id that the session gets when it is saved.
pub(super) struct NewId {
    /// The identity that has the new id. It is drawn when it is first needed.
    pub(super) identity: Option<Identity>,
    pub(super) group: GroupChange,
    /// The time in which the old id still reaches the session. `None` without a grace.
    pub(super) grace: Option<Duration>,
}

/// The change of the session's membership in a group.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum GroupChange {
    Stay,
    Join(String),
    Leave,
}

impl NewId {
    pub(super) fn new(group: GroupChange, grace: Option<Duration>) -> NewId {
        NewId { identity: None, group, grace }
    }

    /// Combines this request for a new id with a `later` one.
    pub(super) fn followed_by(self, later: NewId) -> NewId {
        NewId {
            identity: later.identity.or(self.identity),
            group: if later.group == GroupChange::Stay { self.group } else { later.group },
            grace: self.grace.and(later.grace),
        }
    }

    /// Refuses a group's name that is too long.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.group {
            GroupChange::Join(name) if name.len() > MAX_GROUP_NAME_BYTES => Err(Error::TooLarge {
                key: String::new(),
                what: Oversize::GroupName,
                size: name.len(),
                limit: MAX_GROUP_NAME_BYTES,
            }),
            _ => Ok(()),
        }
    }

    /// Draws the new identity of a session whose identity is `present`. If it is drawn already, only its group changes.
    pub(super) fn draw(&mut self, present: &Identity, context: &Context) -> Result<&Identity, Error> {
        let tag = match &self.group {
            GroupChange::Stay => present.tag,
            GroupChange::Join(name) => Some(context.group_tag(name)),
            GroupChange::Leave => None,
        };
        let identity = match &self.identity {
            Some(drawn) => drawn.tagged(tag),
            None => Identity::random(tag)?,
        };
        Ok(self.identity.insert(identity))
    }

    /// Returns whether the session joins a group.
    pub(super) fn joins(&self) -> bool {
        matches!(self.group, GroupChange::Join(_))
    }
}
