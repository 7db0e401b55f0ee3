//! The queue of the threads of one process that are going to write: first come, first served.
//!
//! SQLite has one lock for all writers of a file. A thread that finds it taken sleeps, and asks again: it may be
//! overtaken any number of times. So the threads of one process wait here before they ask SQLite. Then only one thread
//! of each process asks, and the others sleep until it is their turn.

use crate::deadline::Deadline;
use crate::store::process::queue::Queue;
use crate::store::sqlite::lock_wait::add_waited;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The threads of this process that are going to write.
pub(crate) struct WriteQueue {
    /// Whether no thread has its turn. Then no thread waits either.
    is_free: AtomicBool,
    waiting: Queue<()>,
}

/// The turn of a thread. When it is dropped, the turn of the next thread begins.
pub(crate) struct Turn<'a>(&'a WriteQueue);

impl WriteQueue {
    pub(crate) fn new() -> WriteQueue {
        WriteQueue { is_free: AtomicBool::new(true), waiting: Queue::new() }
    }

    /// Waits for the turn of this thread. Gives `None` if it has not come by the deadline.
    pub(crate) fn wait(&self, deadline: Deadline) -> Option<Turn<'_>> {
        let turn = self.take_free().or_else(|| {
            let start = Instant::now();
            let turn = self.waiting.wait(deadline, || self.take_free());
            add_waited(start.elapsed());
            turn
        });
        turn.map(|()| Turn(self))
    }

    fn take_free(&self) -> Option<()> {
        self.is_free.swap(false, Ordering::Acquire).then_some(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.waiting.hand_over((), |()| self.0.is_free.store(true, Ordering::Release));
    }
}
