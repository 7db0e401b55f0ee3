//! A record as the store last showed it.

use crate::id::PublicId;
use crate::store::record::{Record, RecordInfo, Values};
use crate::store::update::{Change, ChangeSet, OWN, Updated};
use std::time::{Instant, SystemTime};

/// A record as the store's last answer showed it. Other requests may have changed it since.
pub(super) struct Snapshot {
    /// The state of the record, or `None` until there is a record.
    pub(super) info: Option<RecordInfo>,
    pub(super) values: Values,
    /// Whether `values` holds all values of the record at this version. It does not if another request changed the
    /// record between the load and a save of this request.
    pub(super) is_complete: bool,
    /// The group that the session is in.
    pub(super) group_name: Option<String>,
    /// The values of that group.
    pub(super) group_values: Values,
    /// The id that the session has now, if this request came with an old id in its grace.
    pub(super) forwarded_to: Option<PublicId>,
    /// Whether this request created the session. The cookie has to come back before the session gets its full life.
    pub(super) is_unconfirmed: bool,
    /// When the answer came.
    heard_at: Instant,
}

impl Snapshot {
    /// Returns the snapshot of a new session, which has no record yet.
    pub(super) fn empty() -> Snapshot {
        Snapshot {
            info: None,
            values: Values::new(),
            is_complete: true,
            group_name: None,
            group_values: Values::new(),
            forwarded_to: None,
            is_unconfirmed: false,
            heard_at: Instant::now(),
        }
    }

    /// Returns the snapshot of a record that was loaded just now.
    pub(super) fn of(record: Record) -> Snapshot {
        Snapshot {
            info: Some(record.info),
            values: record.values,
            group_name: record.group_name,
            group_values: record.group_values,
            forwarded_to: record.forwarded_to,
            ..Snapshot::empty()
        }
    }

    /// Returns the time by the store's clock, which may differ from this machine's. `None` until there is a record.
    pub(super) fn now(&self) -> Option<SystemTime> {
        let info = self.info.as_ref()?;
        info.expires_at.checked_sub(info.expires_in)?.checked_add(self.heard_at.elapsed())
    }

    /// Takes over the state that the store has told just now.
    pub(super) fn hear(&mut self, info: RecordInfo, forwarded_to: Option<PublicId>) {
        let life = |info: &RecordInfo| (info.expires_at, info.expires_in);
        if self.info.as_ref().is_none_or(|before| life(before) != life(&info)) {
            self.heard_at = Instant::now();
        }
        self.info = Some(info);
        self.forwarded_to = forwarded_to.or(self.forwarded_to);
    }

    /// Updates the snapshot with a change set and the store's answer to it.
    pub(super) fn update(&mut self, changes: ChangeSet, Updated { info, totals, forwarded_to, .. }: Updated) {
        self.is_complete &= self.info.as_ref().is_none_or(|before| before.version + 1 == info.version);
        self.hear(info, forwarded_to);
        if changes.clear {
            self.values.retain(|key, _| key.starts_with(OWN));
        }
        for (key, change) in changes.keys {
            match change {
                Change::Set(value) => drop(self.values.insert(key, value)),
                Change::Remove => drop(self.values.remove(&key)),
                Change::Increment(_) => {}
            }
        }
        self.values.extend(totals.into_iter().map(|(key, total)| (key, total.to_string().into())));
    }
}
