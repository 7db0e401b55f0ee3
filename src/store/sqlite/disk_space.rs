//! Keeps room on the disk, so that sessions can be ended even if the disk is full.
//!
//! A call that ends a session needs room in the log. After a checkpoint has copied the log into the database, the log
//! has room again, but the database may have to grow for this copy. So both kinds of room are kept. The log file is
//! longer than its content. And beside the database lies a reserve, a file that is removed when its room is needed. A
//! call that does not end a session is committed only while the log and the reserve have their full size.

use crate::store::sqlite::{pages, reserve, wal};
use rusqlite::{Connection, Transaction, ffi};
use std::cell::Cell;
use std::fs;
use std::path::Path;

/// What one connection knows of the room on the disk.
pub(crate) struct DiskSpace {
    /// The size of a page, in bytes. It never changes.
    page_size: u64,
    /// The length of the database when this connection looked at it last. The library only makes it longer, so an
    /// outdated length makes the library keep too much room, never too little.
    database_length: Cell<u64>,
}

impl DiskSpace {
    pub(crate) fn of(sqlite: &Connection) -> rusqlite::Result<DiskSpace> {
        Ok(DiskSpace { page_size: pages::size(sqlite)?, database_length: Cell::new(0) })
    }

    /// Commits a change that does not end sessions, if that leaves room for those that do.
    pub(crate) fn commit(&self, transaction: Transaction<'_>) -> rusqlite::Result<()> {
        if self.has_room(&transaction)? {
            return transaction.commit();
        }
        // The same error as if SQLite had found the disk full.
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None))
    }

    /// Forgets the length of the database. Another program may have made it shorter (`VACUUM`).
    pub(crate) fn forget_length(&self) {
        self.database_length.set(0);
    }

    /// The reserve comes first. Makes sure that the reserve and the log have their room. The reserve is checked first:
    /// if another process has removed it for a checkpoint, the log must not take that room.
    fn has_room(&self, transaction: &Transaction<'_>) -> rusqlite::Result<bool> {
        let Some(database) = transaction.path().map(Path::new) else { return Ok(true) };
        Ok(self.has_reserve(transaction, database)? && wal::has_room(database, self.page_size))
    }

    fn has_reserve(&self, transaction: &Transaction<'_>, database: &Path) -> rusqlite::Result<bool> {
        let size = pages::count(transaction)? * self.page_size;
        let known = self.database_length.get();
        if known <= size && reserve::is_whole(database, size - known) {
            return Ok(true);
        }
        let length = fs::metadata(database).map_or(0, |file| file.len());
        self.database_length.set(length);
        // Free pages inside the database count like the reserve, but they do not help with its growth.
        let free = || Ok(pages::free(transaction)? * self.page_size);
        reserve::has_room(database, size.saturating_sub(length), free)
    }
}
