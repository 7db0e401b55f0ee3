//! Traces of sessions that ended soon after they were created: a call that makes one, and is sent once more since its
//! answer was lost, must not bring it back.

use crate::store::call::Nonce;
use crate::store::key::RecordKey;
use crate::store::sqlite::{PURGED, milliseconds};
use crate::store::state::TRACE;
use rusqlite::{Connection, params};
use std::cell::Cell;
use std::time::SystemTime;

thread_local! {
    /// Whether this thread found the disk full in the call under way.
    static DISK_IS_FULL: Cell<bool> = const { Cell::new(false) };
}

/// On a full disk no traces are left: what is left of the room is for ending sessions, and none is created there.
pub(crate) fn set_disk_is_full(is_full: bool) {
    DISK_IS_FULL.set(is_full);
}

/// Leaves a trace of a session that is about to be removed, if it is young.
pub(crate) fn leave(sqlite: &Connection, serial: i64, now: SystemTime) -> rusqlite::Result<usize> {
    if DISK_IS_FULL.get() {
        return Ok(0);
    }
    sqlite
        .prepare_cached(
            "INSERT OR REPLACE INTO ended (id, nonce, expires)
             SELECT id, substr(nonces, -8), min(created, ?2) + ?3 FROM sessions WHERE serial = ?1 AND created > ?2 - ?3",
        )?
        .execute(params![serial, milliseconds(now), TRACE.as_millis() as i64])
}

/// Whether the call with this nonce made a session with this key, which has ended since. To be asked where none is alive.
pub(crate) fn is_known(
    sqlite: &Connection,
    key: &RecordKey<'_>,
    nonce: Nonce,
    now: SystemTime,
) -> rusqlite::Result<bool> {
    // The record may not be removed yet.
    sqlite
        .prepare_cached(
            "SELECT 1 FROM ended WHERE id = ?1 AND nonce = ?2 AND expires > ?3
             UNION ALL SELECT 1 FROM sessions WHERE id = ?1 AND substr(nonces, -8) = ?2",
        )?
        .exists(params![key.id.as_bytes(), nonce, milliseconds(now)])
}

/// Clears some of the traces away that are too old: more than one, so that they do not pile up.
pub(crate) fn purge(sqlite: &Connection, now: SystemTime) -> rusqlite::Result<usize> {
    sqlite
        .prepare_cached(
            "DELETE FROM ended WHERE (id, nonce) IN
             (SELECT id, nonce FROM ended WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        )?
        .execute(params![milliseconds(now), PURGED])
}
