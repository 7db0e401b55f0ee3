//! Checks an update against the caller's copy of the record, and counts what the update adds. If the record has not
//! changed since it was read, the script does not check again: see quick_update.lua.

use crate::store::record::{RecordInfo, Size, Values};
use crate::store::stored_value::StoredValue;
use crate::store::update::{Change, Update, add};

/// An update that changes more keys than this is not quick: Lua's `unpack` fails on long lists.
const MOST_CHANGES: usize = 1000;

/// An update of the record that the caller has read.
pub(crate) struct QuickUpdate<'a> {
    /// The state of the record that the caller has read.
    pub(crate) info: &'a RecordInfo,
    /// How many keys and bytes the update adds to the values. Below 0 if the values become fewer or smaller.
    pub(crate) added_keys: i64,
    pub(crate) added_bytes: i64,
    /// The totals of the increments.
    pub(crate) totals: Vec<(String, i64)>,
}

impl<'a> QuickUpdate<'a> {
    /// Gives `None` if the script has to check the record, or if the script may refuse the update.
    pub(crate) fn of(update: &Update<'a>) -> Option<QuickUpdate<'a>> {
        let (info, values) = update.known?;
        let changes = update.changes;
        let keeps_life = changes.idle_timeout.is_none() && changes.persistent.is_none();
        let is_plain = !changes.clear && keeps_life && changes.keys.len() <= MOST_CHANGES;
        let holds = update.holds.is_none_or(|(key, value)| values.get(key) == Some(value));
        if !is_plain || !holds || update.expected.is_some_and(|expected| expected != info.version) {
            return None;
        }
        let mut quick = QuickUpdate { info, added_keys: 0, added_bytes: 0, totals: Vec::new() };
        for (key, change) in &changes.keys {
            let before = values.get(key);
            match change {
                Change::Set(value) => quick.count(key, before, Some(value)),
                Change::Remove => quick.count(key, before, None),
                Change::Increment(by) => {
                    let total = add(key, before, *by).ok()?;
                    quick.count(key, before, Some(&total.to_string().into()));
                    quick.totals.push((key.clone(), total));
                }
            }
        }
        quick.is_within(update.size_limit, values).then_some(quick)
    }

    fn count(&mut self, key: &str, before: Option<&StoredValue>, after: Option<&StoredValue>) {
        let size = |value: Option<&StoredValue>| value.map_or(Size::default(), |value| Size::of_value(key, value));
        let (before, after) = (size(before), size(after));
        self.added_keys += after.keys as i64 - before.keys as i64;
        self.added_bytes += after.bytes as i64 - before.bytes as i64;
    }

    fn is_within(&self, limit: Size, values: &Values) -> bool {
        let before = Size::of(values);
        let fits = |before: usize, more: i64, limit: usize| more <= 0 || before as i64 + more <= limit as i64;
        fits(before.keys, self.added_keys, limit.keys) && fits(before.bytes, self.added_bytes, limit.bytes)
    }
}
