//! Keeps threads on processors that the bench chooses.
//!
//! A round trip takes up to three times as long if it wakes another processor. So without this, a comparison would show
//! where the scheduler happened to put the client and its Redis.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Keeps a thread on one processor until this guard is dropped.
pub struct Pinned {
    thread: Pid,
    allowed: CpuSet,
}

/// Keeps this thread, and the threads that it starts, on a processor.
pub fn pin_this_thread(processor: usize) -> Pinned {
    pin(Pid::from_raw(0), processor)
}

/// Keeps the main thread of a process on one of the processors that it may use. A number beyond the last processor
/// begins anew at the first.
pub fn pin(thread: Pid, processor: usize) -> Pinned {
    let allowed = sched_getaffinity(thread).expect("the thread is there");
    let numbers: Vec<usize> = (0..CpuSet::count()).filter(|&number| allowed.is_set(number) == Ok(true)).collect();
    let mut only = CpuSet::new();
    only.set(numbers[processor % numbers.len()]).expect("a number of a processor");
    sched_setaffinity(thread, &only).expect("the processor is allowed");
    Pinned { thread, allowed }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = sched_setaffinity(self.thread, &self.allowed);
    }
}
