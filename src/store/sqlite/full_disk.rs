//! Makes room for a call that found the disk full.

use crate::deadline::Deadline;
use crate::store::sqlite::checkpoint::{Checkpoint, checkpoint};
use crate::store::sqlite::lock_wait::{pause, wait_for_locks_until};
use crate::store::sqlite::purge::purge;
use crate::store::sqlite::{reserve, wal};
use rusqlite::Connection;
use std::time::{Duration, SystemTime};

/// How many expired sessions are removed at once if the disk is full.
const PURGED_AT_ONCE: i64 = 50;

/// The pause before a call looks again whether there is room.
const PAUSE: Duration = Duration::from_millis(1);

/// The room that was made for a call.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Room {
    /// No room was made yet: the call has not found the disk full.
    AsItWas,
    /// The log was copied into the database.
    InLog,
    /// The log may use the reserve.
    FromReserve,
}

impl Room {
    /// Makes more room than this. Returns `None` if the call may not try again. A call that ends sessions may try until
    /// its deadline: other processes may fill the log again, or keep it from being copied.
    pub(crate) fn make_more(
        self,
        sqlite: &Connection,
        deadline: Deadline,
        now: SystemTime,
        ends_sessions: bool,
    ) -> Option<Room> {
        match self {
            Room::AsItWas => {
                make_room_in_log(sqlite, deadline, ends_sessions);
                Some(Room::InLog)
            }
            // The log is still full, probably because a reader uses it. So the log has to grow.
            Room::InLog if ends_sessions => {
                reserve::give_to_log(sqlite);
                Some(Room::FromReserve)
            }
            Room::InLog => {
                // This call fails, but the next one may have room.
                let _ = purge(sqlite, now, PURGED_AT_ONCE);
                None
            }
            Room::FromReserve if deadline.has_passed() => None,
            Room::FromReserve => {
                pause(PAUSE);
                make_room_in_log(sqlite, deadline, ends_sessions);
                Some(Room::FromReserve)
            }
        }
    }
}

/// Copies the log into the database, so that the log has room again. If the call does not end sessions, also shortens
/// the log file, so that the disk has room for it.
fn make_room_in_log(sqlite: &Connection, deadline: Deadline, ends_sessions: bool) {
    let mode = if ends_sessions { Checkpoint::Restart } else { Checkpoint::Passive };
    wait_for_locks_until(deadline.halfway());
    let is_copied = matches!(checkpoint(sqlite, mode), Ok(true));
    wait_for_locks_until(deadline);
    if is_copied && !ends_sessions {
        let _ = wal::shorten(sqlite);
    }
}
