//! Some sessions of the source, by which a copy notices that the source has lost its sessions.

use crate::moment::time_until;
use multi_process_session::PublicId;
use multi_process_session::store::{Located, StoredRecord};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// How many sessions are remembered.
const SIZE: usize = 20;

/// The sessions with the lowest ids. Ids are random, so the sessions are from all parts of the run.
#[derive(Default)]
pub(crate) struct Sample(Mutex<BTreeMap<PublicId, (Located, SystemTime)>>);

impl Sample {
    pub(crate) fn add(&self, at: &Located, record: &StoredRecord) {
        let mut lowest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lowest.insert(at.id, (*at, record.state.expires_at));
        if lowest.len() > SIZE {
            lowest.pop_last();
        }
    }

    /// Returns the sessions whose time is not over.
    pub(crate) fn expected(&self) -> Vec<Located> {
        let lowest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let in_time = lowest.values().filter(|(_, expires_at)| !time_until(*expires_at).is_zero());
        in_time.map(|(at, _)| *at).collect()
    }
}
