//! The file and its companions, as they are on the disk.

use crate::error::{Error, StoreError, StoreErrorKind};
use crate::random;
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::mem;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The first three of the four bytes that a log with something in it begins with
/// (<https://www.sqlite.org/fileformat.html>, section 4.1).
const LOG_MAGIC: [u8; 3] = [0x37, 0x7f, 0x06];

/// The names of the file and its companions.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) database: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) shared_memory: PathBuf,
}

/// Which files stand under these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identities {
    pub(crate) database: Option<Identity>,
    pub(crate) log: Option<Identity>,
    pub(crate) shared_memory: Option<Identity>,
}

/// What tells a file from every other, also from one that has got its inode since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl Files {
    /// SQLite keeps the companions beside the file that a symbolic link leads to.
    pub(crate) fn of(path: &Path) -> Files {
        let database = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let companion = |ending| PathBuf::from(with_ending(&database, ending));
        Files { log: companion("-wal"), shared_memory: companion("-shm"), database }
    }

    pub(crate) fn identities(&self) -> Identities {
        Identities {
            database: identity(&self.database),
            log: identity(&self.log),
            shared_memory: identity(&self.shared_memory),
        }
    }

    /// Whether the log holds nothing that SQLite would read.
    pub(crate) fn is_log_empty(&self) -> io::Result<bool> {
        // SQLite keeps its locks on the other two files, so closing this one gives none of them away (fcntl(2)).
        let mut begin = [0; LOG_MAGIC.len()];
        let log = open_regular(&self.log, OpenOptions::new().read(true));
        let read = log.and_then(|mut log| log.read_exact(&mut begin));
        match read {
            Ok(()) => Ok(begin != LOG_MAGIC),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Removes a `-shm` file that was made beside the log of the one before.
    pub(crate) fn remove_new_shared_memory(&self, before: &Identities) {
        let now = self.identities();
        if now.log == before.log && now.shared_memory != before.shared_memory {
            let _ = fs::remove_file(&self.shared_memory);
        }
    }

    /// Makes the file if there is none, for its owner alone; SQLite gives its companions the same mode.
    pub(crate) fn create(&self) -> Result<(), StoreError> {
        // In this order: whoever makes both at this moment makes the log last.
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
        self.make().map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::NotFound => "its folder is missing; create it first",
                _ => "it cannot be created",
            };
            let message = format!("{}: {advice}", self.database.display());
            StoreError::new(StoreErrorKind::Unavailable, message).caused_by(error)
        })
    }

    /// Closing a file takes away the locks that this process has on it (fcntl(2)). So a new one is made under another
    /// name, and gets its own when it is closed again.
    fn make(&self) -> io::Result<()> {
        let nonce = random::nonce().map_err(|error| match error {
            Error::Randomness(source) => io::Error::other(source),
            other => io::Error::other(other),
        })?;
        let unfinished = with_ending(&self.database, &format!("-new-{}", String::from_utf8_lossy(&nonce)));
        drop(create_new(Path::new(&unfinished))?);
        let linked = fs::hard_link(&unfinished, &self.database);
        let _ = fs::remove_file(&unfinished);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(_) => {
                // A file system without links. There the descriptor of each new file is kept.
                match create_new(&self.database) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                    made => made.map(mem::forget),
                }
            }
            Ok(()) => Ok(()),
        }
    }

    /// Warns of a file that somebody else may write: whoever can do that can log in as anybody. It is not refused: a
    /// group may be meant to share it, and some file systems show every file as open to all.
    pub(crate) fn warn_of_other_writers(&self) {
        let Ok(file) = fs::metadata(&self.database) else { return };
        let (mode, path) = (file.permissions().mode() & 0o777, self.database.display());
        if mode & 0o022 != 0 {
            log::warn!("{path}: others than its owner can write it (mode {mode:o}), and so log in as anybody");
        }
        if let Some(me) = own_user().filter(|me| file.uid() != *me && file.uid() != 0) {
            log::warn!(
                "{path}: it belongs to user {}, who can log in as anybody; this process is user {me}",
                file.uid()
            );
        }
    }
}

impl Identities {
    /// Whether the database has both of its companions.
    pub(crate) fn is_whole(&self) -> bool {
        self.database.is_some() && self.log.is_some() && self.shared_memory.is_some()
    }
}

impl Identity {
    /// When the file was made, in nanoseconds, or another number of its own where the file system does not know.
    pub(crate) fn birth(&self) -> i64 {
        let born = self.born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        born.map_or(self.inode as i64, |born| born.as_nanos() as i64)
    }
}

/// Opens what lies under such a name, if it is a regular file that has no other name: whatever else lies there, somebody
/// put it there so that we wait for it, or write to a file of their choice.
pub(crate) fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if is_regular(&file.metadata()?) { Ok(file) } else { Err(io::Error::other("not a regular file of its own")) }
}

/// How long such a file is; 0 where there is none.
pub(crate) fn length_of_regular(path: &Path) -> u64 {
    fs::symlink_metadata(path).ok().filter(is_regular).map_or(0, |file| file.len())
}

fn is_regular(file: &Metadata) -> bool {
    file.is_file() && file.nlink() == 1
}

/// A new, empty file for its owner alone.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

fn identity(path: &Path) -> Option<Identity> {
    let file = fs::metadata(path).ok()?;
    Some(Identity { device: file.dev(), inode: file.ino(), born: file.created().ok() })
}

pub(crate) fn with_ending(path: &Path, ending: &str) -> OsString {
    let mut name = OsString::from(path);
    name.push(ending);
    name
}

/// The user that this process acts as, where Linux tells it.
fn own_user() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_whitespace().nth(1)?.parse().ok()
}
