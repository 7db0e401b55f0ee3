//! What is known of a record besides its values, for stores that keep it in Rust.

use super::{Call, NewRecord, Nonce, RecordInfo, Update};
use crate::Error;
use crate::lifetime::Refresh;
use std::time::{Duration, SystemTime};

/// How many nonces a record remembers.
const REMEMBERED: usize = 32;

#[derive(Clone)]
pub(super) struct Standing {
    pub(super) version: u64,
    pub(super) created_at: SystemTime,
    pub(super) joined_at: Option<SystemTime>,
    pub(super) refreshed_at: SystemTime,
    pub(super) ends_at: Option<SystemTime>,
    pub(super) idle_timeout: Duration,
    pub(super) expires_at: SystemTime,
    /// The nonces of the last calls that changed the record, newest first, one after the other.
    pub(super) nonces: Vec<u8>,
}

impl Standing {
    /// That of a record which is created now.
    pub(super) fn new(record: &NewRecord<'_>, call: &Call, now: SystemTime) -> Standing {
        let mut standing = Standing {
            version: 1,
            created_at: now,
            joined_at: record.join.map(|_| now),
            refreshed_at: now,
            ends_at: record.absolute_timeout.map(|timeout| now + timeout),
            idle_timeout: record.idle_timeout,
            expires_at: now,
            nonces: call.nonce.to_vec(),
        };
        standing.extend(record.refresh, now);
        standing
    }

    pub(super) fn is_live(&self, now: SystemTime) -> bool {
        self.expires_at > now
    }

    pub(super) fn info(&self, now: SystemTime) -> RecordInfo {
        RecordInfo {
            version: self.version,
            created_at: self.created_at,
            joined_at: self.joined_at,
            refreshed_at: self.refreshed_at,
            ends_at: self.ends_at,
            idle_timeout: self.idle_timeout,
            expires_at: self.expires_at,
            expires_in: self.left(now),
        }
    }

    /// Extends the life of the record if that is due. Says whether it did.
    pub(super) fn refresh(&mut self, refresh: Refresh, now: SystemTime) -> bool {
        let due = self.is_refresh_due(refresh, now);
        if due {
            self.extend(refresh, now);
        }
        due
    }

    /// Whether a load is to extend its life: not where that ends with the absolute timeout already.
    pub(super) fn is_refresh_due(&self, refresh: Refresh, now: SystemTime) -> bool {
        refresh.is_due(self.left(now), self.idle_timeout) && self.full_life(refresh, now) > self.expires_at
    }

    /// Whether a call with this nonce has changed the record already.
    pub(super) fn knows(&self, nonce: Nonce) -> bool {
        self.nonces.chunks_exact(nonce.len()).any(|known| known == nonce)
    }

    /// The standing after this update.
    pub(super) fn after(mut self, update: &Update<'_>, call: &Call, now: SystemTime) -> Result<Standing, Error> {
        if update.expected.is_some_and(|expected| expected != self.version) {
            return Err(Error::Conflict);
        }
        self.version += 1;
        self.nonces.splice(..0, call.nonce);
        self.nonces.truncate(REMEMBERED * call.nonce.len());
        self.idle_timeout = update.changes.idle_timeout.unwrap_or(self.idle_timeout);
        if update.join.is_some() {
            self.joined_at = Some(now);
            self.ends_at = update.absolute_timeout.map(|timeout| now + timeout);
        } else if update.new_key.is_some_and(|key| key.tag.is_none()) {
            self.joined_at = None;
        }
        if update.changes.idle_timeout.is_some() || update.new_key.is_some() {
            self.extend(update.refresh, now);
        }
        Ok(self)
    }

    /// Gives it a full life from now, within its absolute timeout.
    fn extend(&mut self, refresh: Refresh, now: SystemTime) {
        self.refreshed_at = now;
        self.expires_at = self.full_life(refresh, now);
    }

    fn full_life(&self, refresh: Refresh, now: SystemTime) -> SystemTime {
        let full = now + refresh.stored_life(self.idle_timeout);
        self.ends_at.map_or(full, |end| end.min(full))
    }

    fn left(&self, now: SystemTime) -> Duration {
        self.expires_at.duration_since(now).unwrap_or_default()
    }
}
