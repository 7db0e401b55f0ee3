//! The keys of records and groups.

use crate::id::{GroupTag, PublicId};

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
