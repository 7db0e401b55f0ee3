//! The reserve: a file of zeros beside the database, which is removed when the disk is full.
//!
//! A checkpoint copies the log into the database, and the database may have to grow for that. The reserve has the room
//! for this growth. It has some more room for the log, which has to grow while a reader uses it.

use crate::store::sqlite::files::companion;
use crate::store::sqlite::pages;
use crate::store::sqlite::regular_file::{add_zeros, create_new, has_no_room, length, open_to_append};
use std::fs;
use std::io;
use std::path::Path;

/// The room that the reserve has besides the room for the growth of the database, in bytes.
const RESERVE: u64 = 1 << 20;
/// What `give_to_log` leaves in the reserve, besides the known growth of the database, in bytes: commits that follow
/// can make the database grow further.
const KEPT: u64 = 1 << 17;
/// How much longer the reserve becomes than it has to be, in bytes. So it need not become longer with each page.
const STEP: u64 = 1 << 16;
/// A reserve that is more than this many times too large is made smaller.
const LARGE_RESERVE: u64 = 8;
/// The room that the log and the `-shm` file take when they are created, in bytes.
const COMPANIONS: u64 = 1 << 17;

/// Returns whether the reserve is large enough for this `growth` of the database, and not too large.
pub(crate) fn is_whole(database: &Path, growth: u64) -> bool {
    let whole = growth + RESERVE;
    (whole..=LARGE_RESERVE * whole).contains(&length(&companion(database, "-reserve")))
}

/// Returns whether the reserve is large enough. If it is too short, makes it longer. If the disk has no room for that,
/// the `free` bytes inside the database count too, but not for its `growth`.
pub(crate) fn has_room(
    database: &Path,
    growth: u64,
    free: impl FnOnce() -> rusqlite::Result<u64>,
) -> rusqlite::Result<bool> {
    let reserve = companion(database, "-reserve");
    let (now, whole) = (length(&reserve), growth + RESERVE);
    if now > LARGE_RESERVE * whole {
        // The database needed more room earlier, and does not need it any more.
        let _ = open_to_append(&reserve).and_then(|file| file.set_len(whole));
        return Ok(true);
    }
    let open = || match create_new(&reserve) {
        Ok(file) => {
            // The users who may write the database have to be able to write the reserve too.
            file.set_permissions(fs::metadata(database)?.permissions())?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_to_append(&reserve),
        Err(error) => Err(error),
    };
    Ok(now >= whole
        || !has_no_room(open().and_then(|file| add_zeros(file, whole + STEP - now)))
        || length(&reserve) >= whole
        || length(&reserve) >= growth + RESERVE.saturating_sub(free()?))
}

/// Returns the number of bytes by which the next checkpoint makes the database larger, if it has this size then.
fn growth(database: &Path, size: u64) -> u64 {
    size.saturating_sub(fs::metadata(database).map_or(0, |file| file.len()))
}

/// Makes the reserve smaller, so that the log can grow. Keeps the room that the database needs for its own growth: if
/// the log took that room too, no checkpoint could finish.
pub(crate) fn give_to_log(sqlite: &rusqlite::Connection) {
    let Some(database) = sqlite.path().map(Path::new) else { return };
    let Ok(size) = size(sqlite) else { return };
    let (reserve, kept) = (companion(database, "-reserve"), growth(database, size) + KEPT);
    if length(&reserve) > kept {
        let _ = open_to_append(&reserve).and_then(|file| file.set_len(kept));
    }
}

/// Fills the reserve again, as far as the disk has room.
pub(crate) fn refill(sqlite: &rusqlite::Connection) {
    let Some(database) = sqlite.path().map(Path::new) else { return };
    if let Ok(size) = size(sqlite) {
        let _ = has_room(database, growth(database, size), || Ok(0));
    }
}

/// Removes the reserve, so that its room is free. Returns whether there was a reserve.
pub(crate) fn give_up(sqlite: &rusqlite::Connection) -> bool {
    sqlite.path().is_some_and(|database| remove(Path::new(database)))
}

/// Removes the reserve if the disk is too full to create the log and the `-shm` file. Returns whether it removed it.
pub(crate) fn give_up_for_companions(database: &Path) -> bool {
    let probe = companion(database, "-probe");
    let added = create_new(&probe).and_then(|file| add_zeros(file, COMPANIONS));
    let _ = fs::remove_file(probe);
    has_no_room(added) && remove(database)
}

fn size(sqlite: &rusqlite::Connection) -> rusqlite::Result<u64> {
    Ok(pages::count(sqlite)? * pages::size(sqlite)?)
}

fn remove(database: &Path) -> bool {
    fs::remove_file(companion(database, "-reserve")).is_ok()
}
