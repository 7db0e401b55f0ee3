//! A temporary folder, deleted when the program ends.

use nix::unistd::{Pid, mkdtemp};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// A folder that only this user can read. It is deleted when the process that has made it drops it. A child that was
/// forked, and drops its copy, leaves the folder alone.
#[derive(Debug)]
pub struct TemporaryFolder {
    path: PathBuf,
    maker: Pid,
}

impl TemporaryFolder {
    /// Makes an empty folder.
    pub fn new() -> io::Result<TemporaryFolder> {
        let path = mkdtemp(&env::temp_dir().join("sessions-XXXXXX"))?;
        Ok(TemporaryFolder { path, maker: Pid::this() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if self.maker == Pid::this() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
