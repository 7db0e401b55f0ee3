//! The keys of records and groups.

use crate::id::{Digests, GroupTag, PublicId};

/// The key of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RecordKey<'a> {
    /// The namespace, which keeps two applications on one store apart.
    pub namespace: &'a str,
    /// The tag of the group that the session is in.
    pub tag: Option<GroupTag>,
    /// The digest of the session's id. The digest depends on the namespace too.
    pub id: PublicId,
}

impl<'a> RecordKey<'a> {
    /// Returns the key of the group with this tag, in the same namespace.
    #[must_use]
    pub fn group(&self, tag: GroupTag) -> GroupKey<'a> {
        GroupKey { namespace: self.namespace, tag }
    }

    /// Returns the name under which [`Entries`](crate::store::Entries) keep the entry of this key.
    pub(crate) fn name(&self) -> String {
        match self.tag {
            None => format!("{}:{}", self.namespace, self.id),
            Some(tag) => format!("{}{}", self.group(tag).prefix(), self.id),
        }
    }

    /// Returns the id of this key, if it is not the id with which a call came: the value of
    /// [`Record::forwarded_to`](crate::store::Record::forwarded_to).
    pub(crate) fn forwarded_from(&self, called: &RecordKey<'_>) -> Option<PublicId> {
        (self.id != called.id).then_some(self.id)
    }
}

/// The key of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GroupKey<'a> {
    /// The namespace, which keeps two applications on one store apart.
    pub namespace: &'a str,
    /// The digest of the group's name. The digest depends on the namespace too.
    pub tag: GroupTag,
}

impl<'a> GroupKey<'a> {
    /// Makes a key.
    #[must_use]
    pub fn new(namespace: &'a str, tag: GroupTag) -> GroupKey<'a> {
        GroupKey { namespace, tag }
    }

    /// Returns the key of the group with this name, such as [`SessionManager::group`](crate::SessionManager::group)
    /// uses.
    #[must_use]
    pub fn named(namespace: &'a str, name: &str) -> GroupKey<'a> {
        GroupKey { namespace, tag: Digests::new(namespace).group_tag(name) }
    }

    /// Returns the key of the session with this id in the group.
    #[must_use]
    pub fn session(&self, id: PublicId) -> RecordKey<'a> {
        RecordKey { namespace: self.namespace, tag: Some(self.tag), id }
    }

    /// Returns the name under which [`Entries`](crate::store::Entries) keep the values of this group.
    pub(crate) fn values_name(&self) -> String {
        format!("{}:{{{}}}", self.namespace, self.tag)
    }

    /// Returns the beginning of the names of all entries of the sessions of this group.
    pub(crate) fn prefix(&self) -> String {
        format!("{}:{{{}}}:", self.namespace, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stores of others keep entries under these names.
    #[test]
    fn names_are_the_same_in_every_version() {
        let tag: GroupTag = "srZDbXU8Menqh8dnOkHJK19c".parse().unwrap();
        let alone = RecordKey { namespace: "mps", tag: None, id: PublicId::from_bytes([7; 18]) };
        assert_eq!(alone.name(), "mps:BwcHBwcHBwcHBwcHBwcHBwcH");
        let member = RecordKey { tag: Some(tag), ..alone };
        assert_eq!(member.name(), "mps:{srZDbXU8Menqh8dnOkHJK19c}:BwcHBwcHBwcHBwcHBwcHBwcH");
        assert_eq!(alone.group(tag).prefix(), "mps:{srZDbXU8Menqh8dnOkHJK19c}:");
        assert_eq!(alone.group(tag).values_name(), "mps:{srZDbXU8Menqh8dnOkHJK19c}");
    }
}
