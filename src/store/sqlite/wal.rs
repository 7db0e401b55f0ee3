//! SQLite's write-ahead log: the number of its pages, and its length on the disk.

use crate::store::sqlite::files::companion;
use crate::store::sqlite::regular_file::{add_zeros, has_no_room, length, open_to_append};
use std::cell::Cell;
use std::path::Path;

/// How much longer the log file is than its content, in bytes. A logout needs about 30 kB.
pub(crate) const LOG_ROOM: u64 = 2 << 20;
/// The length that the log file keeps after a checkpoint, in bytes: the pages that it usually has before a checkpoint,
/// and its room. If it were shorter, each commit would have to make it longer again.
pub(crate) const LOG_LENGTH: u64 = 13 << 19;
/// How much longer the log file becomes than it has to be, in bytes.
const STEP: u64 = 1 << 18;
/// The size of the header that each page has in the log, in bytes.
const FRAME_HEADER: u64 = 24;

thread_local! {
    /// The number of pages in the log, as far as this thread knows. SQLite reports it to a function that has no data of
    /// its own, so the number is kept here.
    static PAGES: Cell<u32> = const { Cell::new(0) };
}

/// Returns the number of pages in the log, as far as this thread knows.
pub(crate) fn pages() -> u32 {
    PAGES.get()
}

pub(crate) fn set_pages(pages: u32) {
    PAGES.set(pages);
}

/// Lets SQLite tell this thread the number of pages after each commit. This replaces SQLite's own checkpoints.
pub(crate) fn watch(sqlite: &rusqlite::Connection) {
    sqlite.wal_hook(Some(|_, pages| {
        set_pages(pages.unsigned_abs());
        Ok(())
    }));
}

/// Returns whether the log file has room besides its content. If it is too short, makes it longer.
///
/// That is safe while others write to the log: zeros go to its end, and SQLite writes over them.
pub(crate) fn has_room(database: &Path, page_size: u64) -> bool {
    let log = companion(database, "-wal");
    let (now, whole) = (length(&log), u64::from(pages()) * (page_size + FRAME_HEADER) + LOG_ROOM);
    now >= whole
        || !has_no_room(open_to_append(&log).and_then(|log| add_zeros(log, whole + STEP - now)))
        || length(&log) >= whole
}

/// Sets the length to which SQLite shortens a longer log file, when the log begins anew after a checkpoint.
pub(crate) fn limit_length(sqlite: &rusqlite::Connection, bytes: u64) -> rusqlite::Result<()> {
    sqlite.pragma_update(None, "journal_size_limit", bytes as i64)
}

/// Makes a log that was copied as short as its room. SQLite does this at the next commit, unless a reader uses the log.
/// So this makes a commit that changes nothing else.
pub(crate) fn shorten(sqlite: &rusqlite::Connection) -> rusqlite::Result<()> {
    let is_long = |database| length(&companion(Path::new(database), "-wal")) > LOG_ROOM + LOG_ROOM / 8;
    if sqlite.path().is_some_and(is_long) {
        limit_length(sqlite, LOG_ROOM)?;
        let touched = sqlite.prepare_cached("UPDATE file SET touched = touched + 1")?.execute([]);
        limit_length(sqlite, LOG_LENGTH)?;
        touched?;
    }
    Ok(())
}
