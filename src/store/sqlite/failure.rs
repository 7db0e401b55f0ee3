//! How a call to SQLite can fail.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::refusal::Refusal;
use rusqlite::{ErrorCode, ffi};
use std::path::Path;

/// The reason why some work was not done.
pub(crate) enum Failure<E> {
    /// The store's contract refuses the work. The connection is fine.
    Refused(E),
    Sqlite(rusqlite::Error),
}

impl From<Refusal> for Failure<Refusal> {
    fn from(refusal: Refusal) -> Failure<Refusal> {
        Failure::Refused(refusal)
    }
}

impl<E> From<rusqlite::Error> for Failure<E> {
    fn from(error: rusqlite::Error) -> Failure<E> {
        Failure::Sqlite(error)
    }
}

/// Returns whether a new connection may succeed after an older one failed with this error.
pub(crate) fn is_worth_reopening(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, PermissionDenied, ReadOnly, SystemIoFailure};
    matches!(error.sqlite_error_code(), Some(CannotOpen | PermissionDenied | ReadOnly | SystemIoFailure))
}

/// Returns whether another connection kept the lock until the time was up.
pub(crate) fn is_locked(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

pub(crate) fn is_disk_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        // If a disk quota is used up, SQLite does not give DiskFull, but this error.
        || error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_WRITE)
}

/// Returns the error that the caller gets.
pub(crate) fn store_error(error: rusqlite::Error, path: &Path) -> StoreError {
    use StoreErrorKind::{Backend, Corrupt, Rejected, Timeout, Unavailable};
    let (kind, what) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            (Timeout, "other processes kept it locked")
        }
        Some(ErrorCode::CannotOpen) => (Unavailable, "it cannot be opened"),
        Some(ErrorCode::SystemIoFailure) => (Unavailable, "it cannot be read or written"),
        Some(ErrorCode::DiskFull) => (Rejected, "the disk is full"),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (Rejected, "it cannot be written"),
        Some(ErrorCode::NotADatabase) => (Backend, "it is not a SQLite database; give sessions a file of their own"),
        Some(ErrorCode::DatabaseCorrupt) => (
            Backend,
            "it is damaged, or the log beside it was written for another file; \
             move all three files away, or only the -wal and -shm files",
        ),
        Some(_) => (Backend, "SQLite failed"),
        // A column holds something of another type, or a number that the store never writes.
        None => (Corrupt, "the session's record is damaged; destroy() still ends it"),
    };
    StoreError::new(kind, format!("{}: {what}", path.display())).caused_by(error)
}
