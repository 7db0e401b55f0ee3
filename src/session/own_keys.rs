//! The library's own values of a session: those whose key begins with two NUL characters, such as the data key and the
//! old ids. Flash values are not among them. The limits of the application do not include own values.

use crate::session::Session;
use crate::store::record::Size;
use crate::store::refusal::Refusal;
use crate::store::stored_value::StoredValue;
use crate::store::update::{Change, ChangeSet, OWN};

impl Session {
    /// Returns the size of the library's own values after these changes.
    pub(super) fn size_of_own_values(&self, changes: &ChangeSet) -> Size {
        let kept = self.record.values.iter().filter(|(key, _)| !changes.keys.contains_key(*key));
        let set = changes.keys.iter().filter_map(|(key, change)| match change {
            Change::Set(value) => Some((key, value)),
            _ => None,
        });
        total(kept.chain(set).filter(|(key, _)| is_own(key)))
    }

    /// Returns the size of the values of the application, as the store last showed them.
    pub(super) fn size_of_application_values(&self) -> Size {
        total(self.record.values.iter().filter(|(key, _)| !is_own(key)))
    }
}

/// Removes the library's own values from changes that were not applied.
pub(super) fn remove_own(changes: &mut ChangeSet) {
    changes.keys.retain(|key, _| !is_own(key));
}

/// Leaves the library's own values out of the sizes that a refusal tells.
pub(super) fn subtract_own(refusal: &mut Refusal, own: Size) {
    let (size, limit, own) = match refusal {
        Refusal::TooLarge { bytes, limit, .. } => (bytes, limit, own.bytes),
        Refusal::TooManyKeys { keys, limit, .. } => (keys, limit, own.keys),
        _ => return,
    };
    (*size, *limit) = (size.saturating_sub(own), limit.saturating_sub(own));
}

fn is_own(key: &str) -> bool {
    key.starts_with(OWN)
}

fn total<'a>(values: impl Iterator<Item = (&'a String, &'a StoredValue)>) -> Size {
    values.fold(Size::default(), |sum, (key, value)| Size {
        keys: sum.keys + 1,
        bytes: sum.bytes + Size::of_value(key, value).bytes,
    })
}
