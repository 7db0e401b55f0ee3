//! The values of a group, as `Entries` keep them and as operators move them.

use crate::store::call::{Call, Nonce};
use crate::store::group_update::GroupUpdate;
use crate::store::record::Values;
use crate::store::refusal::Refusal;
use crate::store::restore::Restored;
use std::fmt;
use std::time::SystemTime;

/// The number of calls that the values of a group remember.
pub(crate) const REMEMBERED: usize = 32;

/// The values that all sessions of a group see, and what is stored beside them.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupValues {
    /// The values, as JSON text.
    pub values: Values,
    /// The time from which on the store may remove the values.
    pub expires_at: SystemTime,
    /// The nonces of the last calls that changed the values, joined. The newest comes first. Empty if no value was ever
    /// set.
    pub nonces: Vec<u8>,
    /// The newest nonce that the values had when they were copied from another store. `None` if they were not copied.
    pub copied_nonce: Option<Nonce>,
}

impl GroupValues {
    /// The values of a group in which nothing was set.
    pub(crate) fn none(now: SystemTime) -> GroupValues {
        GroupValues { values: Values::new(), expires_at: now, nonces: Vec::new(), copied_nonce: None }
    }

    /// Makes these changes, unless this same call has made them before.
    pub(crate) fn update(&mut self, update: &GroupUpdate<'_>, call: &Call, now: SystemTime) -> Result<(), Refusal> {
        if !self.knows(call.nonce) {
            self.values = update.apply(&self.values)?;
            self.nonces.splice(..0, call.nonce);
            self.nonces.truncate(REMEMBERED * call.nonce.len());
            self.expires_at = self.expires_at.max(now + update.idle_timeout);
        }
        Ok(())
    }

    /// Returns what a copy of `given` to this store does to these values. They are replaced if all their changes are in
    /// the given ones too: as for sessions, see restore.rs. If nothing is given, the values have ended or expired
    /// there. Then they are removed here too, unless they were changed here since they were copied.
    pub(crate) fn restored(&self, given: &GroupValues) -> Restored {
        let (last, given_last) = (self.last_nonce(), given.last_nonce());
        match last {
            _ if last == given_last => Restored::Kept,
            None => Restored::Created,
            Some(nonce) if given.knows(nonce) || [self.copied_nonce, given.copied_nonce].contains(&last) => {
                Restored::Updated
            }
            Some(_) => Restored::Kept,
        }
    }

    pub(crate) fn last_nonce(&self) -> Option<Nonce> {
        self.nonces.first_chunk().copied()
    }

    fn knows(&self, nonce: Nonce) -> bool {
        self.nonces.chunks_exact(nonce.len()).any(|known| known == nonce)
    }
}

// Values can be anything, passwords included. So `Debug` shows their number only.
impl fmt::Debug for GroupValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupValues").field("values", &self.values.len()).field("expires_at", &self.expires_at).finish()
    }
}
