//! A temporary folder, deleted when the program ends.

use nix::unistd::mkdtemp;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// A folder that only this user can read. It is deleted when dropped.
#[derive(Debug)]
pub struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// Makes an empty folder.
    pub fn new() -> io::Result<TemporaryFolder> {
        Ok(TemporaryFolder(mkdtemp(&env::temp_dir().join("sessions-XXXXXX"))?))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
