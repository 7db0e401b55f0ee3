//! What operators do with a store: look at its sessions, copy them to another store, and check its settings.

use crate::error::StoreError;
use crate::id::{GroupTag, PublicId};
use crate::store::call::Call;
use crate::store::group_values::GroupValues;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::restore::Restored;
use crate::store::store_trait::Store;
use crate::store::stored_record::StoredRecord;
use std::sync::Arc;

/// A store that operators can look into. The command-line program `mps` works on every such store.
///
/// Nothing here needs a secret, and nothing here gives access to a session: a store knows only digests of ids.
pub trait Maintenance: Store {
    /// Returns some live sessions of a namespace, and the position at which the next call continues.
    ///
    /// A scan is a sequence of calls. A session that lives from the first call to the last one, under one id, is
    /// returned at least once, and sometimes twice. A session that is created, ends, or gets a new id during the scan
    /// may be returned or not. A damaged record is left out. A call occupies the store only for a few milliseconds, so
    /// that other clients do not wait.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn scan(&self, scan: &Scan<'_>, call: &Call) -> Result<Page, StoreError>;

    /// Returns the place of the live session with this public id, if there is such a session: its id and its group.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn find(&self, namespace: &str, id: PublicId, call: &Call) -> Result<Option<Located>, StoreError>;

    /// Reads the live sessions at these places, in any order. A place without a live session is left out, and so is a
    /// damaged record.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn read(
        &self,
        namespace: &str,
        places: &[Located],
        with_values: bool,
        call: &Call,
    ) -> Result<Vec<(Located, StoredRecord)>, StoreError>;

    /// Stores a session as another store has it: with its values, its life, its group, its place in the order of
    /// joining, and its nonces. So its cookies stay valid, and a call that is sent again is still recognized. The limit
    /// of the group does not apply here: it applies to logins.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn restore(&self, key: &RecordKey<'_>, record: &StoredRecord, call: &Call) -> Result<Restored, StoreError>;

    /// Reads the values of a group.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn read_group(&self, group: &GroupKey<'_>, call: &Call) -> Result<GroupValues, StoreError>;

    /// Stores the values of a group as another store has them, unless they were changed in this store since they were
    /// copied. If the other store has no values, removes them.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn restore_group(&self, group: &GroupKey<'_>, values: &GroupValues, call: &Call) -> Result<Restored, StoreError>;

    /// Removes what is left of sessions that have ended, until the deadline of the call.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn purge(&self, namespace: &str, call: &Call) -> Result<Purged, StoreError>;

    /// Compares the settings of the store with what the guide advises.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn findings(&self, namespace: &str, call: &Call) -> Result<Vec<Finding>, StoreError>;

    /// Returns figures of the store as a whole, such as the memory that it uses, and the calls and errors that it
    /// counts.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn figures(&self, call: &Call) -> Result<Vec<Figure>, StoreError>;
}

/// What a [scan](Maintenance::scan) looks for.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// The namespace of the sessions.
    pub namespace: &'a str,
    /// Whether the values of the sessions are read too. Without them, [`StoredRecord::values`] is empty.
    pub with_values: bool,
    /// Where to continue: [`Page::next`] of the last call. `None` begins a new scan.
    pub from: Option<&'a Position>,
}

/// A position in a [scan](Maintenance::scan). Only the store that gave it can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(pub(crate) String);

/// The sessions that one call of a [scan](Maintenance::scan) gives.
#[derive(Clone, Debug)]
pub struct Page {
    /// The sessions.
    pub sessions: Vec<(Located, StoredRecord)>,
    /// The position at which the next call continues. `None` at the end of the scan.
    pub next: Option<Position>,
}

/// The place of a session in its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Located {
    /// The public id of the session.
    pub id: PublicId,
    /// The tag of the group that the session is in. `None` if it is not in a group.
    pub tag: Option<GroupTag>,
}

/// What [`purge`](Maintenance::purge) did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// The number of records that were removed.
    pub removed: u64,
    /// Whether more is left, because the call ran out of time.
    pub more: bool,
}

/// One setting of a store, compared with what the guide advises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How the setting compares with the advice.
    pub verdict: Verdict,
    /// The name of the setting, such as `maxmemory-policy`. In a cluster, it begins with the address of the node.
    pub what: String,
    /// The present value of the setting.
    pub found: String,
    /// What to do, and why. Empty if there is nothing to do.
    pub advice: String,
}

/// How a setting compares with what the guide advises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The setting is as advised.
    Good,
    /// The setting works, but has a known risk.
    Risky,
    /// With this setting, sessions are lost, or calls fail.
    Wrong,
    /// The setting is not known: the store does not show it to this user.
    Unknown,
}

/// One figure of a store.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name, such as `used_memory_bytes`. In a cluster, it begins with the address of the node.
    pub name: String,
    /// Its value.
    pub value: f64,
}

impl Located {
    /// Returns the key of this session.
    #[must_use]
    pub fn key<'a>(&self, namespace: &'a str) -> RecordKey<'a> {
        RecordKey { namespace, tag: self.tag, id: self.id }
    }

    /// Reads the name under which a record is kept: see [`RecordKey::name`]. Returns `None` if it is another
    /// namespace's, or not the name of a record.
    pub(crate) fn of_name(namespace: &str, name: &str) -> Option<Located> {
        let rest = name.strip_prefix(namespace)?.strip_prefix(':')?;
        let (tag, id) = match rest.strip_prefix('{').and_then(|rest| rest.split_once("}:")) {
            Some((tag, id)) => (Some(tag.parse().ok()?), id),
            None => (None, rest),
        };
        Some(Located { id: id.parse().ok()?, tag })
    }
}

/// A store that several parts of a program share, or whose type is chosen at run time.
impl<S: Maintenance + ?Sized> Maintenance for Arc<S> {
    fn scan(&self, scan: &Scan<'_>, call: &Call) -> Result<Page, StoreError> {
        (**self).scan(scan, call)
    }

    fn find(&self, namespace: &str, id: PublicId, call: &Call) -> Result<Option<Located>, StoreError> {
        (**self).find(namespace, id, call)
    }

    fn read(
        &self,
        namespace: &str,
        places: &[Located],
        with_values: bool,
        call: &Call,
    ) -> Result<Vec<(Located, StoredRecord)>, StoreError> {
        (**self).read(namespace, places, with_values, call)
    }

    fn restore(&self, key: &RecordKey<'_>, record: &StoredRecord, call: &Call) -> Result<Restored, StoreError> {
        (**self).restore(key, record, call)
    }

    fn read_group(&self, group: &GroupKey<'_>, call: &Call) -> Result<GroupValues, StoreError> {
        (**self).read_group(group, call)
    }

    fn restore_group(&self, group: &GroupKey<'_>, values: &GroupValues, call: &Call) -> Result<Restored, StoreError> {
        (**self).restore_group(group, values, call)
    }

    fn purge(&self, namespace: &str, call: &Call) -> Result<Purged, StoreError> {
        (**self).purge(namespace, call)
    }

    fn findings(&self, namespace: &str, call: &Call) -> Result<Vec<Finding>, StoreError> {
        (**self).findings(namespace, call)
    }

    fn figures(&self, call: &Call) -> Result<Vec<Figure>, StoreError> {
        (**self).figures(call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_its_name() {
        let (id, tag) = (PublicId::from_bytes([7; 18]), GroupTag::from_bytes([8; 18]));
        for tag in [None, Some(tag)] {
            let at = Located { id, tag };
            let name = at.key("mps").name();
            assert_eq!(Located::of_name("mps", &name), Some(at));
            for (namespace, name) in [("mp", &*name), ("mps2", &name), ("mps", &name[..name.len() - 1])] {
                assert_eq!(Located::of_name(namespace, name), None, "{namespace} {name}");
            }
        }
        for name in ["", "mps", "mps:{", "mps:generation", "mps:{CAgICAgICAgICAgICAgICAgI}:joined"] {
            assert_eq!(Located::of_name("mps", name), None, "{name}");
        }
    }
}
