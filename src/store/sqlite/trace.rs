//! Traces of sessions that have ended.

use crate::end_reason::EndReason;
use crate::store::call::Nonce;
use crate::store::key::RecordKey;
use crate::store::sqlite::columns::{milliseconds, tag};
use crate::store::sqlite::operation::Operation;
use crate::store::trace::TRACE;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

impl Operation<'_> {
    /// Leaves a trace of a session that is about to be removed, unless the session has expired long ago.
    ///
    /// On a full disk, no traces are written: the last room is for ending sessions, and no session can be created
    /// there.
    pub(crate) fn leave_trace(
        &self,
        sqlite: &Connection,
        serial: i64,
        reason: EndReason,
        now: SystemTime,
    ) -> rusqlite::Result<()> {
        if self.disk_is_full {
            return Ok(());
        }
        sqlite
            .prepare_cached(
                "INSERT OR REPLACE INTO ended (id, nonce, reason, expires)
                 SELECT id, substr(nonces, -8), iif(expires > ?2, ?4, 'x'), ?2 + ?3
                 FROM sessions WHERE serial = ?1 AND expires > ?2 - ?3",
            )?
            .execute(params![serial, milliseconds(now), TRACE.as_millis() as i64, reason.letter()])
            .map(drop)
    }
}

/// Returns whether the call with this nonce created a session that has ended. Call it only if the key has no live
/// record.
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

/// Returns the reason why a session has ended. Call it only if the key has no live record.
pub(crate) fn reason(sqlite: &Connection, key: &RecordKey<'_>, now: SystemTime) -> rusqlite::Result<EndReason> {
    // The ended record itself may still exist: its group or its namespace has ended, and it is not removed yet.
    let letter: Option<String> = sqlite
        .prepare_cached(
            "SELECT reason FROM ended WHERE id = ?1 AND expires > ?2
             UNION ALL SELECT iif(expires > ?2, 'e', 'x') FROM sessions WHERE id = ?1
             UNION ALL SELECT 'n' FROM forwards WHERE id = ?1 AND tag = ?3 AND expires > ?2
             LIMIT 1",
        )?
        .query_row(params![key.id.as_bytes(), milliseconds(now), tag(key)], |row| row.get(0))
        .optional()?;
    Ok(letter.map_or(EndReason::Expired, |letter| EndReason::of_letter(letter.as_bytes())))
}
