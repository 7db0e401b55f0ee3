//! How a call to SQLite can fail.

use crate::error::{StoreError, StoreErrorKind};
use rusqlite::ErrorCode;
use std::path::Path;

/// Why some work was not done.
pub(crate) enum Failure<E> {
    /// The store's contract refuses it. The connection is fine.
    Refused(E),
    Sqlite(rusqlite::Error),
}

impl<E> From<rusqlite::Error> for Failure<E> {
    fn from(error: rusqlite::Error) -> Failure<E> {
        Failure::Sqlite(error)
    }
}

/// Whether a connection opened now may do what one opened earlier could not.
pub(crate) fn is_worth_reopening(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, PermissionDenied, ReadOnly, SystemIoFailure};
    matches!(error.sqlite_error_code(), Some(CannotOpen | PermissionDenied | ReadOnly | SystemIoFailure))
}

/// The fault as the caller is told it.
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
        // What was read is not of the type that we wrote.
        None => (Corrupt, "the session's record is damaged; destroy() still ends it"),
    };
    StoreError::new(kind, format!("{}: {what}", path.display())).caused_by(error)
}
