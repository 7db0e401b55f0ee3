//! How many sessions a group may have, and what a login beyond that does.

/// The largest limit.
pub(crate) const LARGEST_GROUP: usize = 100_000;

/// What a login does if the group already has as many sessions as its limit allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AtLimit {
    /// The login succeeds. The sessions that joined the group first end, in the same step.
    ///
    /// This is the default.
    #[default]
    EndOldest,
    /// The login is refused: `save` returns [`Error::TooManySessions`](crate::Error::TooManySessions).
    RefuseNewest,
}

/// The limit of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GroupLimit {
    /// The largest number of live sessions that the group may have.
    pub sessions: usize,
    /// What a login beyond that number does.
    pub at_limit: AtLimit,
}

impl GroupLimit {
    /// Returns the number of sessions that have to stay below the limit for a login, if that login may be refused.
    pub(crate) fn refuses_at(&self) -> Option<usize> {
        (self.at_limit == AtLimit::RefuseNewest).then_some(self.sessions)
    }

    /// Returns the number of sessions that may be left after a login that ends the oldest ones.
    pub(crate) fn ends_beyond(&self) -> Option<usize> {
        (self.at_limit == AtLimit::EndOldest).then_some(self.sessions)
    }
}
