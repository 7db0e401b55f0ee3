//! Opens and lengthens the files beside the database, in a safe way.
//!
//! Another user may be able to replace such a file by a link, to make us write into a file of their choice, or by a
//! pipe, to make us wait. So a file is used only if it is a regular file that has no other name.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Opens a regular file that has no other name.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if is_regular(&file.metadata()?) { Ok(file) } else { Err(io::Error::other("not a regular file of its own")) }
}

/// Opens a regular file to write at its end.
pub(crate) fn open_to_append(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().append(true))
}

/// Makes a new, empty file for its owner alone.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

/// Returns the length of a regular file, or 0 if there is no such file.
pub(crate) fn length(path: &Path) -> u64 {
    fs::symlink_metadata(path).ok().filter(is_regular).map_or(0, |file| file.len())
}

/// Makes a file longer by this many zeros.
pub(crate) fn add_zeros(mut file: File, zeros: u64) -> io::Result<()> {
    let mut left = zeros as usize;
    while left > 0 {
        left -= file.write(&ZEROS[..left.min(ZEROS.len())])?;
    }
    Ok(())
}

/// Returns whether adding failed because the disk is full. Any other error proves nothing about the disk: for instance,
/// the process may have no right to write the file.
pub(crate) fn has_no_room(added: io::Result<()>) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    added.is_err_and(|error| matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge))
}

fn is_regular(file: &Metadata) -> bool {
    file.is_file() && file.nlink() == 1
}
