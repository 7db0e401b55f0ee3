//! The ids that a session had before, in their grace: pages that were made with them hold form tokens of them.
//!
//! They are kept among the values, under keys that begin with NUL, each with the time at which its grace ends. A
//! session gets a new id only from a request that came with its present one, and that one knows all of them.

use super::Session;
use crate::store::{self, Change, ChangeSet, Size};
use crate::token::PublicId;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PREFIX: &str = "\0before:";
/// How many are kept: of more, those whose grace ends first are dropped.
const MOST: usize = 16;

impl Session {
    /// Those whose grace has not ended, and when it does.
    pub(super) fn previous_ids(&self) -> impl Iterator<Item = (PublicId, SystemTime)> {
        let now = self.store_now();
        let kept =
            self.values.range(PREFIX.to_owned()..).map_while(|(key, json)| Some((key.strip_prefix(PREFIX)?, json)));
        let read = kept.filter_map(|(id, json)| {
            let until = Duration::from_millis(json.parse().ok()?);
            Some((id.parse().ok()?, UNIX_EPOCH.checked_add(until)?))
        });
        read.filter(move |(_, until)| now.is_some_and(|now| *until > now))
    }

    /// Adds to a change set what becomes of them. If the session gets a new id, the one that it has is one of them for
    /// this `grace`; without a grace, no form of before is good any more.
    pub(super) fn keep_previous_ids(&self, changes: &mut ChangeSet, gets_new_id: bool, grace: Option<Duration>) {
        if !gets_new_id && !changes.clear {
            return;
        }
        let mut previous: Vec<_> = self.previous_ids().collect();
        match (gets_new_id, grace.zip(self.store_now())) {
            (true, Some((grace, now))) => previous.push((self.manager.public_id(&self.identity), now + grace)),
            (true, None) => previous.clear(),
            (false, _) => {}
        }
        previous.sort_by_key(|(_, until)| std::cmp::Reverse(*until));
        previous.truncate(MOST);
        let known = self.values.keys().filter(|key| key.starts_with(PREFIX));
        changes.keys.extend(known.map(|key| (key.clone(), Change::Remove)));
        changes.keys.extend(previous.into_iter().map(|(id, until)| {
            let until = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            (format!("{PREFIX}{id}"), Change::Set(until.to_string()))
        }));
    }

    /// What they take of a record that is changed in this way: what the application may keep is not less for it.
    pub(super) fn size_of_previous_ids(&self, changes: &ChangeSet) -> Size {
        let kept = self.values.iter().map(|(key, json)| (key, json.as_str()));
        let added = changes.keys.iter().filter_map(|(key, change)| match change {
            Change::Set(json) => Some((key, json.as_str())),
            _ => None,
        });
        total(kept.chain(added).filter(|(key, _)| key.starts_with(PREFIX)))
    }

    /// What everything else takes of the record, as it was last heard of.
    pub(super) fn size_of_other_values(&self) -> Size {
        let kept = self.values.iter().map(|(key, json)| (key, json.as_str()));
        total(kept.filter(|(key, _)| !key.starts_with(PREFIX)))
    }
}

fn total<'a>(values: impl Iterator<Item = (&'a String, &'a str)>) -> Size {
    values.fold(Size::default(), |sum, (key, json)| Size {
        keys: sum.keys + 1,
        bytes: sum.bytes + store::size(key, json),
    })
}

/// Takes them out of a change set that was not carried out.
pub(super) fn forget(changes: &mut ChangeSet) {
    changes.keys.retain(|key, _| !key.starts_with(PREFIX));
}
