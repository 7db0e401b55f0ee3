//! SQLite's write-ahead log: the number of its pages, and its length on the disk.

use crate::store::sqlite::files::companion;
use crate::store::sqlite::regular_file::{add_zeros, has_no_room, length, open_to_append};
use std::cell::Cell;
use std::path::Path;

/// How much longer the log is than what is in it. A logout takes about 30 kB.
pub(crate) const LOG_ROOM: u64 = 2 << 20;
/// What SQLite keeps in the log beside each page.
const FRAME_HEADER: u64 = 24;

thread_local! {
    /// The number of pages in the log, as far as this thread knows. SQLite tells it to a plain function.
    static PAGES: Cell<u32> = const { Cell::new(0) };
}

/// Gives the number of pages in the log, as far as this thread knows.
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

/// Says whether the log has room for more than is in it. Makes the log longer if it has to.
///
/// That is safe while others write to the log: zeros go to its end, and SQLite writes over them.
pub(crate) fn has_room(database: &Path, page_size: u64) -> bool {
    let log = companion(database, "-wal");
    let (now, whole) = (length(&log), u64::from(pages()) * (page_size + FRAME_HEADER) + LOG_ROOM);
    now >= whole || !has_no_room(open_to_append(&log).and_then(|log| add_zeros(log, whole - now)))
}

/// Gives back the length of a log that was copied, beyond the room that is kept in it. The next commit does that,
/// unless somebody reads the log.
pub(crate) fn shorten(sqlite: &rusqlite::Connection) -> rusqlite::Result<()> {
    let is_long = |database| length(&companion(Path::new(database), "-wal")) > LOG_ROOM + LOG_ROOM / 8;
    if sqlite.path().is_some_and(is_long) {
        sqlite.prepare_cached("UPDATE file SET touched = touched + 1")?.execute([])?;
    }
    Ok(())
}
