//! The old ids of a session that are still in their grace.
//!
//! Pages that were made with an old id contain form tokens of that id. So the old ids are kept among the values, under
//! keys of the library's own. The value of such a key is the time at which the grace of the id ends. Only a request
//! that came with the present id can give the session a new one, and such a request has loaded all old ids.

use crate::id::PublicId;
use crate::session::Session;
use crate::session::new_id::GroupChange;
use crate::session::pending::Pending;
use crate::store::update::Change;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PREFIX: &str = "\0\0before:";
/// The most old ids that are kept. Beyond it, those whose grace ends first are dropped.
const MOST: usize = 16;

impl Session {
    /// Returns the old ids that are still in their grace, each with the time at which its grace ends.
    pub(super) fn old_ids(&self) -> impl Iterator<Item = (PublicId, SystemTime)> {
        let now = self.record.now();
        let kept = self.record.values.range(PREFIX.to_owned()..);
        let kept = kept.map_while(|(key, value)| Some((key.strip_prefix(PREFIX)?, value)));
        let read = kept.filter_map(|(id, value)| {
            let until = Duration::from_millis(value.json()?.parse().ok()?);
            Some((id.parse().ok()?, UNIX_EPOCH.checked_add(until)?))
        });
        read.filter(move |(_, until)| now.is_some_and(|now| *until > now))
    }

    /// Adds the changes of the old ids to changes that are about to be sent. If the session gets a new id, its
    /// present id becomes an old id for the grace. Without a grace, and if the session leaves its group, all old ids
    /// are dropped.
    pub(super) fn keep_old_ids(&self, pending: &mut Pending) {
        let leaves_group = self.record.group_name.as_ref().is_some_and(|group| match pending.group() {
            GroupChange::Stay => false,
            GroupChange::Join(name) => name != group,
            GroupChange::Leave => true,
        });
        let Pending { changes, new_id, forms_time, .. } = pending;
        let Some(new_id) = new_id else { return };
        let mut old: Vec<_> = self.old_ids().collect();
        match forms_time.or(new_id.grace).zip(self.record.now()).filter(|_| !leaves_group) {
            Some((grace, now)) => old.push((self.context.public_id(&self.identity), now + grace)),
            None => old.clear(),
        }
        old.sort_by_key(|(_, until)| std::cmp::Reverse(*until));
        old.truncate(MOST);
        let known = self.record.values.keys().filter(|key| key.starts_with(PREFIX));
        changes.keys.extend(known.map(|key| (key.clone(), Change::Remove)));
        changes.keys.extend(old.into_iter().map(|(id, until)| {
            let until = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            (format!("{PREFIX}{id}"), Change::Set(until.to_string().into()))
        }));
    }
}
