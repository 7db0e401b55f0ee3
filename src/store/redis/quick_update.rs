//! What the caller's copy of a record says about an update: the checks that hold, and what the update makes of it. If
//! nobody has changed the record since, the script need not look at it any further: see quick_update.lua.

use crate::store::record::{RecordInfo, Size, Values};
use crate::store::update::{Change, Update, add};

/// The most keys that an update may change to be quick. Lua cannot unpack lists without end.
const MOST_CHANGES: usize = 1000;

/// An update of the record that the caller has read.
pub(crate) struct QuickUpdate<'a> {
    /// The state of the record that the caller has read.
    pub(crate) info: &'a RecordInfo,
    /// How many keys and bytes the values have more than before.
    pub(crate) keys: i64,
    pub(crate) bytes: i64,
    /// The totals of the increments.
    pub(crate) totals: Vec<(String, i64)>,
}

impl<'a> QuickUpdate<'a> {
    /// Gives `None` if the script has to look at the record, or if it may refuse the update.
    pub(crate) fn of(update: &Update<'a>) -> Option<QuickUpdate<'a>> {
        let (info, values) = update.known?;
        let changes = update.changes;
        let is_plain = !changes.clear && changes.idle_timeout.is_none() && changes.keys.len() <= MOST_CHANGES;
        let holds = update.holds.is_none_or(|(key, json)| values.get(key).is_some_and(|held| held == json));
        if !is_plain || !holds || update.expected.is_some_and(|expected| expected != info.version) {
            return None;
        }
        let mut quick = QuickUpdate { info, keys: 0, bytes: 0, totals: Vec::new() };
        for (key, change) in &changes.keys {
            let before = values.get(key).map(String::as_str);
            match change {
                Change::Set(json) => quick.count(key, before, Some(json)),
                Change::Remove => quick.count(key, before, None),
                Change::Increment(by) => {
                    let total = add(key, before, *by).ok()?;
                    quick.count(key, before, Some(&total.to_string()));
                    quick.totals.push((key.clone(), total));
                }
            }
        }
        quick.is_within(update.size_limit, values).then_some(quick)
    }

    fn count(&mut self, key: &str, before: Option<&str>, after: Option<&str>) {
        let size = |json: Option<&str>| json.map_or(Size::default(), |json| Size::of_value(key, json));
        let (before, after) = (size(before), size(after));
        self.keys += after.keys as i64 - before.keys as i64;
        self.bytes += after.bytes as i64 - before.bytes as i64;
    }

    fn is_within(&self, limit: Size, values: &Values) -> bool {
        let before = Size::of(values);
        let fits = |before: usize, more: i64, limit: usize| more <= 0 || before as i64 + more <= limit as i64;
        fits(before.keys, self.keys, limit.keys) && fits(before.bytes, self.bytes, limit.bytes)
    }
}
