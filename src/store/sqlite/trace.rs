//! Traces of sessions that ended soon after their creation.

use crate::store::call::Nonce;
use crate::store::key::RecordKey;
use crate::store::sqlite::columns::milliseconds;
use crate::store::sqlite::operation::Operation;
use crate::store::trace::TRACE;
use rusqlite::{Connection, params};
use std::time::SystemTime;

impl Operation<'_> {
    /// Leaves a trace of a session that is about to be removed, if the session is young.
    ///
    /// On a full disk, no traces are written: the last room is for ending sessions, and no session can be created
    /// there.
    pub(crate) fn leave_trace(&self, sqlite: &Connection, serial: i64, now: SystemTime) -> rusqlite::Result<()> {
        if self.disk_is_full {
            return Ok(());
        }
        sqlite
            .prepare_cached(
                "INSERT OR REPLACE INTO ended (id, nonce, expires)
                 SELECT id, substr(nonces, -8), min(created, ?2) + ?3
                 FROM sessions WHERE serial = ?1 AND created > ?2 - ?3",
            )?
            .execute(params![serial, milliseconds(now), TRACE.as_millis() as i64])
            .map(drop)
    }
}

/// Says whether the call with this nonce created a session that has ended. Call it only if the key has no live record.
pub(crate) fn is_known(
    sqlite: &Connection,
    key: &RecordKey<'_>,
    nonce: Nonce,
    now: SystemTime,
) -> rusqlite::Result<bool> {
    // The ended record itself may still exist.
    sqlite
        .prepare_cached(
            "SELECT 1 FROM ended WHERE id = ?1 AND nonce = ?2 AND expires > ?3
             UNION ALL SELECT 1 FROM sessions WHERE id = ?1 AND substr(nonces, -8) = ?2",
        )?
        .exists(params![key.id.as_bytes(), nonce, milliseconds(now)])
}
