//! What a copy did.

use multi_process_session::store::Restored;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// The numbers of sessions with which the same was done. Several threads count.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    created: AtomicU64,
    updated: AtomicU64,
    kept: AtomicU64,
    ended: AtomicU64,
    deleted: AtomicU64,
}

impl Counts {
    pub(crate) fn add(&self, restored: Restored) {
        let count = match restored {
            Restored::Created => &self.created,
            Restored::Updated => &self.updated,
            Restored::Kept => &self.kept,
            Restored::Ended => &self.ended,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_deleted(&self) {
        self.deleted.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of sessions that the source has given.
    pub(crate) fn sessions(&self) -> u64 {
        [&self.created, &self.updated, &self.kept, &self.ended].map(read).iter().sum()
    }

    pub(crate) fn json(&self, is_dry_run: bool, with_deleted: bool, is_complete: bool) -> Value {
        let mut shown = json!({
            "complete": is_complete,
            "dry_run": is_dry_run,
            "sessions": self.sessions(),
            "created": read(&self.created),
            "updated": read(&self.updated),
            "kept": read(&self.kept),
            "ended": read(&self.ended),
        });
        if with_deleted {
            shown["deleted"] = read(&self.deleted).into();
        }
        shown
    }

    pub(crate) fn text(&self, is_dry_run: bool, with_deleted: bool, is_complete: bool) -> String {
        let what = match (is_dry_run, is_complete) {
            (true, true) => "a copy would do",
            (false, true) => "copied",
            (_, false) => "not complete",
        };
        let [created, updated, kept, ended] = [&self.created, &self.updated, &self.kept, &self.ended].map(read);
        let sessions = self.sessions();
        let deleted = read(&self.deleted);
        let deleted = if with_deleted { format!("; {deleted} deleted at the target") } else { String::new() };
        format!(
            "{what}: {sessions} sessions, {created} created, {updated} updated, {kept} kept, \
             {ended} ended meanwhile{deleted}"
        )
    }
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
