//! The guard of a process that forks.

use std::fmt;

/// The guard of a process that forks. While the guard lives, the process may fork.
///
/// [`SessionManager::before_fork`](crate::SessionManager::before_fork) gives one.
#[must_use = "the process may fork only while this guard lives"]
#[derive(Default)]
pub struct ForkGuard {
    release: Option<Box<dyn FnOnce() + Send>>,
}

impl ForkGuard {
    /// Makes a guard that calls `release` when it is dropped, in the parent and in the child.
    pub fn new(release: impl FnOnce() + Send + 'static) -> ForkGuard {
        ForkGuard { release: Some(Box::new(release)) }
    }
}

impl Drop for ForkGuard {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
    }
}

impl fmt::Debug for ForkGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForkGuard")
    }
}
