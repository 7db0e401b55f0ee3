//! The values of a group, as `Entries` keep them.

use crate::store::call::Call;
use crate::store::group_update::GroupUpdate;
use crate::store::record::Values;
use crate::store::refusal::Refusal;
use std::fmt;
use std::time::SystemTime;

/// The number of calls that the values of a group remember.
pub(crate) const REMEMBERED: usize = 32;

/// The values of a group. All its sessions see them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct GroupValues {
    pub(crate) values: Values,
    /// When the store can remove them.
    pub(crate) expires_at: SystemTime,
    /// The nonces of the last calls that changed them, joined. The newest comes first.
    pub(crate) nonces: Vec<u8>,
}

impl GroupValues {
    /// The values of a group in which nothing was set.
    pub(crate) fn none(now: SystemTime) -> GroupValues {
        GroupValues { values: Values::new(), expires_at: now, nonces: Vec::new() }
    }

    /// Makes these changes, unless this same call has made them before.
    pub(crate) fn update(&mut self, update: &GroupUpdate<'_>, call: &Call, now: SystemTime) -> Result<(), Refusal> {
        if !self.nonces.chunks_exact(call.nonce.len()).any(|known| known == call.nonce) {
            self.values = update.apply(&self.values)?;
            self.nonces.splice(..0, call.nonce);
            self.nonces.truncate(REMEMBERED * call.nonce.len());
            self.expires_at = self.expires_at.max(now + update.idle_timeout);
        }
        Ok(())
    }
}

// Values can be anything, passwords included. So `Debug` shows their number only.
impl fmt::Debug for GroupValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupValues").field("values", &self.values.len()).field("expires_at", &self.expires_at).finish()
    }
}
