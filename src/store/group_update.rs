//! Changes of the values of a group, which all its sessions see.

use crate::store::record::{Size, Values};
use crate::store::refusal::Refusal;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The largest size of the values of a group together. Each load of each of its sessions reads them.
pub(crate) const GROUP_SIZE_LIMIT: Size = Size { keys: 100, bytes: 64 << 10 };

/// A change of the values of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupUpdate<'a> {
    /// The JSON text that each key gets. `None` removes the key.
    pub changes: &'a BTreeMap<String, Option<String>>,
    /// The largest size of the values together.
    pub size_limit: Size,
    /// How long the values are kept at least, from now on. They are kept longer if a session of the group lives longer.
    pub idle_timeout: Duration,
}

impl GroupUpdate<'_> {
    /// Returns these values after the changes.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] or [`Refusal::TooManyKeys`].
    pub fn apply(&self, before: &Values) -> Result<Values, Refusal> {
        let mut values = before.clone();
        for (key, json) in self.changes {
            match json {
                Some(json) => drop(values.insert(key.clone(), json.as_str().into())),
                None => drop(values.remove(key)),
            }
        }
        Size::of(&values).check(Size::of(before), self.size_limit, self.largest_key())?;
        Ok(values)
    }

    /// Returns the key whose change is the largest.
    pub(crate) fn largest_key(&self) -> &str {
        let largest = self.changes.iter().max_by_key(|(key, json)| key.len() + json.as_ref().map_or(0, String::len));
        largest.map_or("", |(key, _)| key)
    }
}

// Values can be anything, so `Debug` shows the keys only.
impl fmt::Debug for GroupUpdate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupUpdate").field("keys", &self.changes.keys()).finish_non_exhaustive()
    }
}
