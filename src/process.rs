//! Which process this is.

use forkguard::Guard;
use std::process;

/// One process, as it was when this was made.
///
/// A process id alone does not name it: the id is used again. A process that was forked from a child of an earlier one
/// may have its id, and has a copy of its memory. So forks are counted as well: the C library's `fork` adds 1 in each
/// child, and what a process inherits it has with the count of before.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    id: u32,
    /// `None` where the C library has no memory left for its handler: then the id has to do.
    forks: Option<Guard>,
}

impl Process {
    /// This process.
    pub(crate) fn this() -> Process {
        Process { id: process::id(), forks: Guard::try_new().ok() }
    }

    /// Whether this process is the one.
    pub(crate) fn is_this(&self) -> bool {
        self.id == process::id() && !self.forks.clone().is_some_and(|mut forks| forks.detected_fork())
    }
}
