//! Checkpoints: copy the log into the database, so that the log can begin anew.

use crate::deadline::Deadline;
use crate::store::sqlite::failure::is_disk_full;
use crate::store::sqlite::lock_wait::{wait_for_lock, wait_for_locks_until};
use crate::store::sqlite::{reserve, wal};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The log is copied when it has this many pages. A page has 4 kB.
const CHECKPOINT_AT: u32 = 800;
/// With this many pages, the log has to begin anew, so the checkpoint waits for readers.
const RESTART_AT: u32 = 2 * CHECKPOINT_AT;
/// How long the checkpoint waits for readers, for each thousand pages of the log.
const WAIT_FOR_READERS: Duration = Duration::from_millis(100);

/// A checkpoint that is due.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Due {
    /// The first one of a log, which copies most of it. Others may write meanwhile.
    First,
    /// The first one did not copy all: others wrote, or a reader used the log. This thread keeps its turn to write, so
    /// that no other thread of this process adds to the log.
    Again,
}

/// How far a checkpoint goes.
#[derive(Clone, Copy)]
pub(crate) enum Checkpoint {
    /// Copies as much as is possible without waiting for readers and writers.
    Passive,
    /// Waits for readers and writers, as for locks. The next writer begins the log anew.
    Restart,
    /// Like `Restart`, and also empties the log.
    Truncate,
}

/// Copies the log into the database. Returns whether all of it was copied, so that the log can begin anew.
pub(crate) fn checkpoint(sqlite: &rusqlite::Connection, checkpoint: Checkpoint) -> rusqlite::Result<bool> {
    let sql = match checkpoint {
        Checkpoint::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Checkpoint::Restart => "PRAGMA wal_checkpoint(RESTART)",
        Checkpoint::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    let run = || {
        let mut statement = sqlite.prepare_cached(sql)?;
        statement.query_row([], |row| Ok(!row.get(0)? && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?))
    };
    let waits = !matches!(checkpoint, Checkpoint::Passive);
    let mut tries = 0;
    let mut run = || loop {
        match run() {
            // Another process copies the log at the moment. SQLite does not wait for that by itself.
            Ok(false) if waits && wait_for_lock(tries) => tries += 1,
            done => break done,
        }
    };
    let is_whole = match run() {
        // The database has to grow, and the disk has no room for that. The reserve has it.
        Err(error) if is_disk_full(&error) && reserve::give_up(sqlite) => {
            let done = run();
            // A reader may have kept part of the log from being copied. The room for that part stays in the reserve.
            reserve::refill(sqlite);
            done
        }
        done => done,
    }?;
    if is_whole {
        wal::set_pages(0);
    }
    Ok(is_whole)
}

/// Keeps the log of one store short.
#[derive(Default)]
pub(crate) struct Checkpoints {
    /// The number of pages in the log, as far as this store knows.
    pages: AtomicU32,
    /// The number of pages at which the next checkpoint is due.
    due_at: AtomicU32,
}

impl Checkpoints {
    /// Tells this thread the number of pages in the log, before it works.
    pub(crate) fn begin(&self) {
        wal::set_pages(self.pages.load(Ordering::Relaxed));
    }

    /// Remembers the number of pages in the log, after this thread has worked.
    pub(crate) fn end(&self) {
        self.pages.store(wal::pages(), Ordering::Relaxed);
    }

    /// Returns whether the log is long, and this thread is the one that has to copy it. The caller then calls
    /// [`keep_log_short`](Checkpoints::keep_log_short).
    pub(crate) fn due(&self) -> Option<Due> {
        let pages = wal::pages();
        let due_at = self.due_at.load(Ordering::Relaxed);
        if pages < CHECKPOINT_AT {
            self.due_at.store(CHECKPOINT_AT, Ordering::Relaxed);
            return None;
        }
        let next = pages + CHECKPOINT_AT / 4;
        let is_ours = || self.due_at.compare_exchange(due_at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        let due = if due_at <= CHECKPOINT_AT { Due::First } else { Due::Again };
        (pages >= due_at && is_ours()).then_some(due)
    }

    /// Copies the log. First copies what needs no waiting. If the log is twice as long, copies all of it: other writers
    /// are held back, and the checkpoint waits for earlier readers. New readers do not need the log then.
    pub(crate) fn keep_log_short(&self, sqlite: &rusqlite::Connection, deadline: Deadline) -> rusqlite::Result<()> {
        let pages = wal::pages();
        let mut copied = checkpoint(sqlite, Checkpoint::Passive);
        if pages >= RESTART_AT {
            // The wait is longer for a longer log. If the wait is in vain, the next one comes when the log is twice as
            // long.
            let wait = Deadline::after(pages / CHECKPOINT_AT * WAIT_FOR_READERS);
            wait_for_locks_until(wait.min(deadline.share_of(4)));
            copied = checkpoint(sqlite, Checkpoint::Restart);
            let next = if matches!(copied, Ok(true)) { CHECKPOINT_AT } else { pages.saturating_mul(2) };
            self.due_at.store(next, Ordering::Relaxed);
        }
        self.end();
        copied.map(drop)
    }
}
