//! What the machine tells about a file: its file system, the free room on its disk, and the programs that have it open.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

/// Returns the type of the file system that a folder is on, as Linux tells it.
pub(crate) fn file_system(folder: &Path) -> Option<String> {
    let folder = fs::canonicalize(folder).ok()?;
    let innermost = mounts()?.into_iter().filter(|(point, _)| folder.starts_with(point));
    // Of several mounts at one point, the last one counts.
    innermost.max_by_key(|(point, _)| point.components().count()).map(|(_, kind)| kind)
}

/// Returns whether a file itself is mounted.
pub(crate) fn is_mount_point(file: &Path) -> bool {
    let Ok(file) = fs::canonicalize(file) else { return false };
    mounts().is_some_and(|mounts| mounts.iter().any(|(point, _)| *point == file))
}

/// Returns the number of bytes that this user can still write on the disk of a folder. The program `df` tells it,
/// because the call of the system needs unsafe code.
pub(crate) fn free_space(folder: &Path) -> Option<u64> {
    let mut df = Command::new("df");
    let output = df.args(["-P", "-k", "--"]).arg(folder).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    free_of(std::str::from_utf8(&output.stdout).ok()?)
}

/// Counts the other processes that have a file open, by the names of their programs. Also says whether this user may
/// look at all processes.
pub(crate) fn programs_with(file: &Path) -> Option<(BTreeMap<String, usize>, bool)> {
    let file = fs::canonicalize(file).ok()?;
    let (mut programs, mut all) = (BTreeMap::new(), true);
    for folder in fs::read_dir("/proc").ok()? {
        let Ok(folder) = folder else { continue };
        let number = folder.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if number.is_none_or(|number| number == process::id()) {
            continue;
        }
        let Ok(open) = fs::read_dir(folder.path().join("fd")) else {
            // A process that has ended meanwhile has no folder any more.
            all &= !folder.path().exists();
            continue;
        };
        let has_it = open.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == file));
        if has_it {
            let name = fs::read_to_string(folder.path().join("comm")).unwrap_or_default();
            *programs.entry(name.trim().escape_default().to_string()).or_default() += 1;
        }
    }
    Some((programs, all))
}

/// Returns all mounts: where they are, and the types of their file systems. See proc_pid_mountinfo(5).
fn mounts() -> Option<Vec<(PathBuf, String)>> {
    let text = fs::read("/proc/self/mountinfo").ok()?;
    Some(text.split(|byte| *byte == b'\n').filter_map(mount).collect())
}

fn mount(line: &[u8]) -> Option<(PathBuf, String)> {
    let mut words = line.split(|byte| *byte == b' ');
    let point = unescaped(words.nth(4)?);
    let kind = words.skip_while(|word| *word != b"-").nth(1)?;
    Some((PathBuf::from(std::ffi::OsString::from_vec(point)), String::from_utf8_lossy(kind).into_owned()))
}

/// Reads the octal escapes of spaces and the like.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| OsStr::from_bytes(digits).to_str());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// Reads the number of free bytes from what `df -P -k` writes.
fn free_of(output: &str) -> Option<u64> {
    let line = output.lines().nth(1)?;
    // The name of the device, in front, may have spaces. A number with a percent sign follows the free kilobytes.
    let words: Vec<&str> = line.split_whitespace().collect();
    let percent = words.iter().position(|word| word.ends_with('%'))?;
    words.get(percent.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_with_its_escapes() {
        let line = br"36 35 98:0 /root /mnt\040two\0 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        assert_eq!(mount(line), Some((PathBuf::from("/mnt two\\0"), "ext3".to_owned())));
        assert_eq!(mount(b""), None);
        assert_eq!(mount(b"36 35 98:0 /root /mnt rw"), None);
    }

    #[test]
    fn the_free_space_stands_before_the_percent_sign() {
        let head = "Filesystem 1024-blocks Used Available Capacity Mounted on\n";
        assert_eq!(free_of(&format!("{head}/dev/a b 100 40 60 40% /mnt\n")), Some(60 * 1024));
        for damaged in ["", head, "a\n%\n", "a\n-1 5%\n"] {
            assert_eq!(free_of(damaged), None, "{damaged:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_tells() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(file_system(folder).is_some() && free_space(folder).is_some());
        assert!(!is_mount_point(&folder.join("Cargo.toml")));
        assert!(programs_with(&folder.join("Cargo.toml")).is_some());
    }
}
