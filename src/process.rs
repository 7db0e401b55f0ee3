//! Tells a process from its forked children.

use forkguard::Guard;
use std::process;

/// The process that made this value.
///
/// A process id alone does not identify a process, because ids are used again: a process that was forked from a child
/// of an earlier process may have the id of that earlier process, and a copy of its memory. So forks are counted too.
/// The C library's `fork` adds 1 in each child, and a child inherits this value with the count from before.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    id: u32,
    /// `None` if the C library has no memory left for its fork handler. Then the id alone has to do.
    forks: Option<Guard>,
}

impl Process {
    /// Gives the process that runs now.
    pub(crate) fn this() -> Process {
        Process { id: process::id(), forks: Guard::try_new().ok() }
    }

    /// Says whether the process that runs now is the one that made this value.
    pub(crate) fn is_this(&self) -> bool {
        self.id == process::id() && !self.forks.clone().is_some_and(|mut forks| forks.detected_fork())
    }
}
