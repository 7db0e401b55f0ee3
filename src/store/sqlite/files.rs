//! The names of the database and its companions, and the files that have these names at the moment.
//!
//! The companions are the log (`-wal`) and the shared memory (`-shm`). SQLite keeps both beside the database.

use crate::error::{Error, StoreError, StoreErrorKind};
use crate::random;
use crate::store::sqlite::regular_file::{create_new, open};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::mem;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The first three of the four bytes at the beginning of a log that is not empty
/// (<https://www.sqlite.org/fileformat.html>, section 4.1).
const LOG_MAGIC: [u8; 3] = [0x37, 0x7f, 0x06];

/// The names of the database and its companions.
#[derive(Clone)]
pub(crate) struct Files {
    database: PathBuf,
    log: PathBuf,
    shared_memory: PathBuf,
}

/// The files that have these names at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIds {
    pub(crate) database: Option<FileId>,
    pub(crate) log: Option<FileId>,
    pub(crate) shared_memory: Option<FileId>,
}

/// The identity of a file. Two files never have the same one, not even if a later file gets the same inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl Files {
    /// Returns the names for this path. If the path is a symbolic link, SQLite keeps the companions beside the target.
    pub(crate) fn of(path: &Path) -> Files {
        let database = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Files { log: companion(&database, "-wal"), shared_memory: companion(&database, "-shm"), database }
    }

    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    pub(crate) fn identities(&self) -> FileIds {
        FileIds {
            database: identity(&self.database),
            log: identity(&self.log),
            shared_memory: identity(&self.shared_memory),
        }
    }

    /// Returns whether the log holds nothing that SQLite would read.
    pub(crate) fn is_log_empty(&self) -> io::Result<bool> {
        // Closing a file releases all locks of this process on it (fcntl(2)). SQLite has no locks on the log.
        let mut beginning = [0; LOG_MAGIC.len()];
        let log = open(&self.log, OpenOptions::new().read(true));
        match log.and_then(|mut log| log.read_exact(&mut beginning)) {
            Ok(()) => Ok(beginning != LOG_MAGIC),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Removes a `-shm` file that was made beside the log of `before`.
    pub(crate) fn remove_new_shared_memory(&self, before: &FileIds) {
        let now = self.identities();
        if now.log == before.log && now.shared_memory != before.shared_memory {
            let _ = fs::remove_file(&self.shared_memory);
        }
    }

    /// Creates the database file if it is missing. Only its owner may read it. SQLite gives the companions the same
    /// mode.
    pub(crate) fn create(&self) -> Result<(), StoreError> {
        // The log is checked first: another process may be creating both files now, and it creates the log last.
        if self.log.exists() && !self.database.exists() {
            let message = format!(
                "{}: the file is missing, and its log is there; \
                 put the file back, or move the -wal and -shm files away",
                self.database.display()
            );
            return Err(StoreError::new(StoreErrorKind::Unavailable, message));
        }
        if self.database.exists() {
            return Ok(());
        }
        self.create_database().map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::NotFound => "its folder is missing; create it first",
                _ => "it cannot be created",
            };
            let message = format!("{}: {advice}", self.database.display());
            StoreError::new(StoreErrorKind::Unavailable, message).caused_by(error)
        })
    }

    /// Creates the database file under another name, closes it, and then gives it its name. This order matters: a
    /// process that closes a file loses all its locks on this file (fcntl(2)).
    fn create_database(&self) -> io::Result<()> {
        let nonce = random::nonce().map_err(|error| match error {
            Error::Randomness(source) => io::Error::other(source),
            other => io::Error::other(other),
        })?;
        let unfinished = companion(&self.database, &format!("-new-{}", String::from_utf8_lossy(&nonce)));
        drop(create_new(&unfinished)?);
        let linked = fs::hard_link(&unfinished, &self.database);
        let _ = fs::remove_file(&unfinished);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(_) => {
                // The file system has no hard links. So create the file under its name, and never close it.
                match create_new(&self.database) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                    made => made.map(mem::forget),
                }
            }
            Ok(()) => Ok(()),
        }
    }

    /// Warns if other users may write the file, because they could log in as anybody.
    ///
    /// The file is used anyway: perhaps several users are meant to share it, and on some file systems every file looks
    /// writable for all.
    pub(crate) fn warn_of_other_writers(&self) {
        let Ok(file) = fs::metadata(&self.database) else { return };
        let (mode, path) = (file.permissions().mode() & 0o777, self.database.display());
        if mode & 0o022 != 0 {
            log::warn!("{path}: others than its owner can write it (mode {mode:o}), so they can log in as anybody");
        }
        if let Some(me) = own_user().filter(|me| file.uid() != *me && file.uid() != 0) {
            log::warn!(
                "{path}: it belongs to user {}, who can log in as anybody; this process is user {me}",
                file.uid()
            );
        }
    }
}

impl FileIds {
    /// Returns whether the database has both of its companions.
    pub(crate) fn is_whole(&self) -> bool {
        self.database.is_some() && self.log.is_some() && self.shared_memory.is_some()
    }
}

impl FileId {
    /// Returns the time when the file was created, in nanoseconds since 1970. Returns the inode if the file system does
    /// not keep this time.
    pub(crate) fn birth(&self) -> i64 {
        let born = self.born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        born.map_or(self.inode as i64, |born| born.as_nanos() as i64)
    }
}

/// Returns the name of the database with this ending.
pub(crate) fn companion(database: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(ending);
    PathBuf::from(name)
}

fn identity(path: &Path) -> Option<FileId> {
    let file = fs::metadata(path).ok()?;
    Some(FileId { device: file.dev(), inode: file.ino(), born: file.created().ok() })
}

/// Returns the effective user id of this process. Works only on Linux.
pub(crate) fn own_user() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_whitespace().nth(1)?.parse().ok()
}
