//! Distinguishes a process from its forked children.

use forkguard::Guard;
use std::process;

/// The process that made this value.
///
/// A process id alone does not identify a process, because the system uses ids again. Suppose that a process ends, and
/// its child forks. The grandchild may get the id of the first process, and it has a copy of its memory. So forks are
/// counted too: the C library's `fork` adds 1 in each child. A child inherits this value, which holds the count from
/// before.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    id: u32,
    /// The count of forks. `None` if the C library has no memory for its fork handler. Then only the id is compared.
    forks: Option<Guard>,
}

impl Process {
    /// Returns the process that runs now.
    pub(crate) fn this() -> Process {
        Process { id: process::id(), forks: Guard::try_new().ok() }
    }

    /// Returns whether the process that runs now is the one that made this value.
    pub(crate) fn is_this(&self) -> bool {
        self.id == process::id() && !self.forks.clone().is_some_and(|mut forks| forks.detected_fork())
    }

    /// Like `is_this`, but without a system call. A child that was not made by the C library's `fork` may not be
    /// noticed, so this is only for what may be wrong in such a child.
    pub(crate) fn is_probably_this(&self) -> bool {
        match self.forks.clone() {
            Some(mut forks) => !forks.detected_fork(),
            None => self.id == process::id(),
        }
    }
}
