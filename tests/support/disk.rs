//! A small disk that a test can fill.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::getuid;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Mounts an empty disk of this size (such as `8m`) on a folder. Only this process and its children see the disk, and
/// it is gone when they have ended.
pub fn mount_small_disk(at: &Path, size: &str) {
    super::fork::assert_alone();
    // Any user may be root in a user namespace.
    let user = if getuid().is_root() { CloneFlags::empty() } else { CloneFlags::CLONE_NEWUSER };
    unshare(CloneFlags::CLONE_NEWNS | user).expect("this test needs root, or user namespaces to be allowed");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(&*format!("size={size}"))).unwrap();
}

/// Fills the rest of the disk with this file.
pub fn fill(file: &Path) {
    let mut file = OpenOptions::new().append(true).create(true).open(file).expect("a file");
    for size in [1 << 16, 1 << 12, 1] {
        while file.write(&vec![1; size]).is_ok_and(|written| written > 0) {}
    }
}
