//! The file of a SQLite store, and whether it is still the same file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

pub(crate) struct StoreFile {
    path: PathBuf,
    /// Which file had the path first.
    first: OnceLock<Identity>,
}

/// Device, inode, and the time when the file was made: a file system may give the inode of a removed file to a new one.
type Identity = (u64, u64, Option<SystemTime>);

impl StoreFile {
    pub(crate) fn at(path: PathBuf) -> StoreFile {
        let first = identity(&path).map_or_else(OnceLock::new, OnceLock::from);
        StoreFile { path, first }
    }

    /// Returns what has happened to the file, if it is another one than before. A file that was missing until now is
    /// remembered.
    pub(crate) fn check(&self) -> Result<(), String> {
        let what = match (identity(&self.path), self.first.get()) {
            (None, None) => return Ok(()),
            (Some(found), _) if *self.first.get_or_init(|| found) == found => return Ok(()),
            (Some(_), _) => "replaced by another file",
            (None, Some(_)) => "removed",
        };
        Err(format!("the file {} was {what} during this run", self.path.display()))
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let about = fs::metadata(path).ok()?;
    Some((about.dev(), about.ino(), about.created().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_replaced_is_told() {
        let folder = std::env::temp_dir().join(format!("mps-store-file-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (path, other) = (folder.join("a"), folder.join("b"));
        let file = StoreFile::at(path.clone());
        file.check().unwrap();
        fs::write(&path, "1").unwrap();
        file.check().unwrap();
        fs::write(&path, "12").unwrap();
        file.check().unwrap();
        fs::write(&other, "1").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(file.check().unwrap_err().contains("replaced"));
        fs::remove_file(&path).unwrap();
        assert!(file.check().unwrap_err().contains("removed"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
