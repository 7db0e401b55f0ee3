//! Updates: what one request changes in a record, and the conditions for it.

use crate::id::PublicId;
use crate::lifetime::Lifetime;
use crate::store::key::RecordKey;
use crate::store::record::{Join, RecordInfo, Size, Values};
use crate::store::refusal::Refusal;
use crate::store::stored_value::StoredValue;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The keys of the library's own values begin with this. A `clear` leaves these values.
pub(crate) const OWN: &str = "\0\0";

/// The change of one key.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// The key gets this value.
    Set(StoredValue),
    /// The key is removed.
    Remove,
    /// This number is added to the value. A missing value counts as 0.
    Increment(i64),
}

/// The changes of one request. A store applies all of them, or none.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangeSet {
    /// Whether all values are removed first, including those that this request has not seen. The library's own values
    /// stay: their keys begin with two NUL characters.
    pub clear: bool,
    /// The change of each key.
    pub keys: BTreeMap<String, Change>,
    /// A new idle timeout for this session. `Some(None)` gives it that of the settings.
    pub idle_timeout: Option<Option<Duration>>,
    /// Whether the cookie of this session outlives the browser from now on. `Some(None)` lets the settings decide.
    pub persistent: Option<Option<bool>>,
}

impl ChangeSet {
    /// Returns whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.clear && self.keys.is_empty() && self.idle_timeout.is_none() && self.persistent.is_none()
    }

    /// Returns the key whose change is the largest. A [`Refusal::TooLarge`] names it.
    #[must_use]
    pub fn largest_key(&self) -> &str {
        let bytes = |key: &str, change: &Change| match change {
            Change::Set(value) => Size::of_value(key, value).bytes,
            Change::Remove | Change::Increment(_) => 0,
        };
        // The library's own keys say nothing to the application.
        let own = |key: &str| key.starts_with('\0');
        self.keys.iter().max_by_key(|(key, change)| (!own(key), bytes(key, change))).map_or("", |(key, _)| key)
    }

    /// Returns each key that is incremented, and the number that is added to it.
    pub fn increments(&self) -> impl Iterator<Item = (&str, i64)> {
        self.keys.iter().filter_map(|(key, change)| match change {
            Change::Increment(by) => Some((key.as_str(), *by)),
            Change::Set(_) | Change::Remove => None,
        })
    }

    /// Returns these values after the changes.
    ///
    /// # Errors
    /// [`Refusal::NotAnInteger`].
    pub fn apply(&self, values: &Values) -> Result<Values, Refusal> {
        let mut result = values.clone();
        if self.clear {
            result.retain(|key, _| key.starts_with(OWN));
        }
        for (key, change) in &self.keys {
            match change {
                Change::Set(value) => {
                    result.insert(key.clone(), value.clone());
                }
                Change::Remove => {
                    result.remove(key);
                }
                Change::Increment(by) => {
                    let total = add(key, result.get(key), *by)?;
                    result.insert(key.clone(), total.to_string().into());
                }
            }
        }
        Ok(result)
    }

    /// Returns one change set for this one and then `later`.
    pub(crate) fn followed_by(mut self, later: ChangeSet) -> ChangeSet {
        if later.clear {
            self.clear = true;
            self.keys.clear();
        }
        for (key, change) in later.keys {
            match (self.keys.get_mut(&key), change) {
                // An increment never follows a `Set` or a `Remove`: Session folds it into that.
                (Some(Change::Increment(sum)), Change::Increment(by)) => *sum = sum.saturating_add(by),
                (_, change) => drop(self.keys.insert(key, change)),
            }
        }
        self.idle_timeout = later.idle_timeout.or(self.idle_timeout);
        self.persistent = later.persistent.or(self.persistent);
        self
    }
}

impl fmt::Debug for ChangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeSet")
            .field("clear", &self.clear)
            .field("keys", &self.keys.keys())
            .field("idle_timeout", &self.idle_timeout)
            .field("persistent", &self.persistent)
            .finish()
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Change::Set(_) => "Set(..)",
            Change::Remove => "Remove",
            Change::Increment(_) => "Increment(..)",
        })
    }
}

/// Adds to a value, which has to be an integer of 64 bits or missing.
pub(crate) fn add(key: &str, value: Option<&StoredValue>, by: i64) -> Result<i64, Refusal> {
    let value = value.map_or(Some("0"), StoredValue::json);
    value
        .and_then(integer)
        .and_then(|value| value.checked_add(by))
        .ok_or_else(|| Refusal::NotAnInteger { key: key.to_owned() })
}

/// Reads an integer as Redis does (`string2ll`), and as JSON has it: no plus sign, no zeros in front, no "-0".
fn integer(json: &str) -> Option<i64> {
    let number: i64 = json.parse().ok()?;
    (number.to_string() == json).then_some(number)
}

/// A change set, and the conditions on which a store applies it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Update<'a> {
    /// The changes.
    pub changes: &'a ChangeSet,
    /// The version that the record has to have, if that matters.
    pub expected: Option<u64>,
    /// A key, and the value that the key has to hold, if that matters.
    pub holds: Option<(&'a str, &'a StoredValue)>,
    /// The largest size of the values together. A change that makes a record smaller is always allowed.
    pub size_limit: Size,
    /// The settings that decide how long the session lives.
    pub lifetime: Lifetime,
    /// The key that the record moves to, if the session gets a new id. The record then has a full life from now, and
    /// the old key has no record any more. If the new key has no tag, the session leaves its group.
    pub new_key: Option<RecordKey<'a>>,
    /// How long the old key still leads to the record: at most [`LONGEST_GRACE`](crate::store::LONGEST_GRACE). A grace
    /// is given only if the new key has the same tag as the old one.
    pub grace: Option<Duration>,
    /// The group of the new key, if this is a login. The session joins it anew even if it is a member already. The
    /// absolute timeout then begins anew.
    pub join: Option<Join<'a>>,
    /// The caller's copy of the record, if the copy is complete. A store that has to move a record in several steps can
    /// use the copy instead of reading the record.
    pub known: Option<(&'a RecordInfo, &'a Values)>,
}

/// The result of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The state of the record after the update.
    pub info: RecordInfo,
    /// The new value of each key that was incremented.
    pub totals: Vec<(String, i64)>,
    /// The id that the session has now, if the call came with an old id.
    pub forwarded_to: Option<PublicId>,
    /// The sessions that the limit of the group has ended.
    pub ended: Vec<PublicId>,
}

impl Update<'_> {
    /// Checks whether values of the size `before` may grow to the size `after`.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] or [`Refusal::TooManyKeys`].
    pub fn check_size(&self, before: Size, after: Size) -> Result<(), Refusal> {
        after.check(before, self.size_limit, self.changes.largest_key())
    }

    /// Returns whether the session under `key` leaves its group.
    #[must_use]
    pub fn leaves_group(&self, key: &RecordKey<'_>) -> bool {
        key.tag.is_some() && self.new_key.is_some_and(|new_key| new_key.tag != key.tag)
    }

    /// Returns the idle timeout that the session under `key` gets, and whether it is the session's own. `None` if it
    /// stays. What was chosen for a session in a group ends when the session leaves that group.
    #[must_use]
    pub fn new_idle_timeout(&self, key: &RecordKey<'_>) -> Option<(Duration, bool)> {
        let of_settings = (self.lifetime.idle_timeout, false);
        match self.changes.idle_timeout {
            Some(own) => Some(own.map_or(of_settings, |own| (own, true))),
            None => self.leaves_group(key).then_some(of_settings),
        }
    }

    /// Returns the persistence that the cookie of the session under `key` gets. `None` if it stays.
    #[must_use]
    pub fn new_persistence(&self, key: &RecordKey<'_>) -> Option<Option<bool>> {
        self.changes.persistent.or(self.leaves_group(key).then_some(None))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_integers_of_64_bits_can_be_added_to() {
        assert_eq!(add("n", None, 3).unwrap(), 3);
        assert_eq!(add("n", Some(&"-4".into()), 3).unwrap(), -1);
        assert_eq!(add("n", Some(&"9223372036854775806".into()), 1).unwrap(), i64::MAX);
        for value in ["9223372036854775807", "9223372036854775808", "1.0", "1e3", "\"1\"", "null", "01", "+1", "-0", ""]
        {
            assert!(
                matches!(add("n", Some(&value.into()), 1), Err(Refusal::NotAnInteger { key }) if key == "n"),
                "{value}"
            );
        }
    }
}
