//! The reserve: a file of zeros beside the database, which is given up when the disk is full.
//!
//! A checkpoint copies the log into the database, and the database may have to grow for that. The reserve holds the
//! room for that growth, and some more for a log that has to grow because somebody reads it.

use crate::store::sqlite::files::companion;
use crate::store::sqlite::regular_file::{add_zeros, create_new, has_no_room, length, open_to_append};
use std::fs;
use std::io;
use std::path::Path;

/// The least that the reserve holds, besides the room for the growth of the database.
const RESERVE: u64 = 1 << 20;
/// A reserve that is this many times as large as it has to be is made smaller.
const LARGE_RESERVE: u64 = 8;
/// The room that the log and the `-shm` file take when they are made.
const COMPANIONS: u64 = 1 << 17;

/// Says whether the reserve has room for the growth of the database and what else is needed, of which `free` bytes lie
/// inside the database. Makes the reserve longer if it has to.
pub(crate) fn has_room(database: &Path, growth: u64, free: u64) -> bool {
    let reserve = companion(database, "-reserve");
    let (now, whole) = (length(&reserve), growth + RESERVE);
    if now > LARGE_RESERVE * whole {
        // It was made for a growth that is over, or did not come.
        let _ = open_to_append(&reserve).and_then(|file| file.set_len(whole));
        return true;
    }
    let open = || match create_new(&reserve) {
        Ok(file) => {
            // Whoever may write the database may write the reserve.
            file.set_permissions(fs::metadata(database)?.permissions())?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_to_append(&reserve),
        Err(error) => Err(error),
    };
    now >= whole
        || !has_no_room(open().and_then(|file| add_zeros(file, whole - now)))
        || length(&reserve) >= growth + RESERVE.saturating_sub(free)
}

/// Gives the reserve up. Says whether there was one.
pub(crate) fn give_up(sqlite: &rusqlite::Connection) -> bool {
    sqlite.path().is_some_and(|database| remove(Path::new(database)))
}

/// Gives the reserve up if the disk is so full that the log and the `-shm` file cannot be made. Says whether it did.
pub(crate) fn give_up_for_companions(database: &Path) -> bool {
    let probe = companion(database, "-probe");
    let added = create_new(&probe).and_then(|file| add_zeros(file, COMPANIONS));
    let _ = fs::remove_file(probe);
    has_no_room(added) && remove(database)
}

fn remove(database: &Path) -> bool {
    fs::remove_file(companion(database, "-reserve")).is_ok()
}
