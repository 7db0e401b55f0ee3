//! Whole records, as `Entries` keep them.

use crate::id::PublicId;
use crate::lifetime::Lifetime;
use crate::store::call::{Call, Nonce};
use crate::store::key::RecordKey;
use crate::store::record::{NewRecord, Record, SessionInfo, Size, Values};
use crate::store::refusal::Refusal;
use crate::store::state::RecordState;
use crate::store::update::{Update, Updated};
use std::fmt;
use std::time::SystemTime;

/// A whole record, and what calls make of it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// The name of the group that the session is in.
    pub group_name: Option<String>,
    /// The place of the session in the order in which the sessions of its group joined. It is the time of joining, in
    /// microseconds since 1970, or one more than the last place in the group, whichever is larger. So each session of a
    /// group has a different place, even if two joins have the same time, or the clock was put back. It is 0 if the
    /// session is in no group.
    pub join_order: u64,
    /// The values of the session.
    pub values: Values,
    /// The state of the record besides its values.
    pub state: RecordState,
    /// The newest nonce that the record had when it was copied from another store. `None` if it was not copied.
    pub copied_nonce: Option<Nonce>,
}

impl StoredRecord {
    /// Makes a record that is created now, unless its values are too large.
    pub(crate) fn new(record: &NewRecord<'_>, call: &Call, now: SystemTime) -> Result<StoredRecord, Refusal> {
        record.check_size()?;
        Ok(StoredRecord {
            group_name: record.join.map(|join| join.name.to_owned()),
            join_order: 0,
            values: record.values.clone(),
            state: RecordState::new(record, call, now),
            copied_nonce: None,
        })
    }

    /// Returns whether the record has not expired. By stricter settings, its session may have ended even so: `load` and
    /// `apply` check that.
    pub(crate) fn is_alive(&self, now: SystemTime) -> bool {
        self.state.expires_at > now
    }

    /// Loads the record, and leaves its life as it is. Returns `None` if the session has ended.
    pub(crate) fn peek(&self, lifetime: &Lifetime, now: SystemTime) -> Option<Record> {
        let state = self.state.clone().alive(lifetime, now)?;
        Some(Record {
            info: state.info(now),
            values: self.values.clone(),
            group_name: self.group_name.clone(),
            group_values: Values::new(),
            refreshed: false,
            forwarded_to: None,
        })
    }

    /// Loads the record, and refreshes it if that is due. Returns `None` if the session has ended.
    pub(crate) fn load(&mut self, lifetime: &Lifetime, now: SystemTime) -> Option<Record> {
        self.state = self.state.clone().alive(lifetime, now)?;
        let refreshed = self.state.refresh(lifetime.refresh, now);
        self.peek(lifetime, now).map(|record| Record { refreshed, ..record })
    }

    /// Applies an update of the session under `key`, unless this same call has done that before. If the update is
    /// refused, the record stays as it is.
    pub(crate) fn apply(
        &mut self,
        key: &RecordKey<'_>,
        update: &Update<'_>,
        call: &Call,
        now: SystemTime,
    ) -> Result<Updated, Refusal> {
        let mut state = self.state.clone().alive(&update.lifetime, now).ok_or(Refusal::Gone)?;
        if !state.knows(call.nonce) {
            state = state.after(key, update, call, now)?;
            if update.holds.is_some_and(|(key, value)| self.values.get(key) != Some(value)) {
                return Err(Refusal::Conflict);
            }
            let values = update.changes.apply(&self.values)?;
            update.check_size(Size::of(&self.values), Size::of(&values))?;
            self.values = values;
            if let Some(join) = update.join {
                self.group_name = Some(join.name.to_owned());
            } else if update.new_key.is_some_and(|new_key| new_key.tag.is_none()) {
                self.group_name = None;
            }
        }
        self.state = state;
        let total = |key: &str| self.values.get(key)?.json()?.parse().ok();
        let totals = update.changes.increments().filter_map(|(key, _)| Some((key.to_owned(), total(key)?)));
        let info = self.state.info(now);
        Ok(Updated { info, totals: totals.collect(), forwarded_to: None, ended: Vec::new() })
    }

    /// Returns the entry of the session in the list of its group, with the values of these keys.
    pub(crate) fn session_info(&self, id: PublicId, keys: &[&str], now: SystemTime) -> SessionInfo {
        let asked = self.values.iter().filter(|(key, _)| keys.contains(&key.as_str()));
        let values = asked.map(|(key, value)| (key.clone(), value.clone())).collect();
        SessionInfo::new(id, self.state.info(now), values)
    }
}

// Values can be anything, passwords included. So `Debug` shows their number only.
impl fmt::Debug for StoredRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRecord")
            .field("join_order", &self.join_order)
            .field("values", &self.values.len())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
