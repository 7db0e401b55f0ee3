//! The queue of the threads that are going to write through one store: first come, first served.
//!
//! SQLite has one lock for all writers of a file. A thread that finds it taken sleeps, and asks again: it may be
//! overtaken any number of times. So the threads wait here before they ask SQLite. Then only one thread of each store
//! asks, and the others sleep until it is their turn.
//!
//! A thread that waits for its turn has no connection. A thread with a connection must not wait for its turn: if all
//! connections belonged to such threads, the thread whose turn it is would get none.
//!
//! Each store has a queue of its own. Two stores of one process with the same file meet at SQLite's lock, as two
//! processes do.

use crate::deadline::Deadline;
use crate::store::process::queue::Queue;
use crate::store::sqlite::lock_wait::add_waited;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The threads that are going to write through one store.
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

    /// Waits for the turn of this thread. Returns `None` if it has not come by the deadline.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;
    use std::thread;
    use std::time::Duration;

    fn at_once() -> Deadline {
        Deadline::after(Duration::ZERO)
    }

    #[test]
    fn threads_have_their_turns_in_the_order_in_which_they_came() {
        let (queue, order) = (WriteQueue::new(), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            let first = queue.wait(at_once());
            for number in 0..20 {
                let (queue, order) = (&queue, &order);
                scope.spawn(move || {
                    // Each thread asks again at once, and must not overtake a thread that waits.
                    for _ in 0..3 {
                        let turn = queue.wait(Deadline::after(Duration::from_secs(60)));
                        assert!(turn.is_some());
                        order.lock().unwrap().push(number);
                        drop(turn);
                        thread::yield_now();
                    }
                });
                while queue.waiting.len() <= number {
                    thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(order.lock().unwrap()[..20], (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_thread_whose_time_is_up_leaves_the_queue_and_takes_no_turn_from_others() {
        let queue = WriteQueue::new();
        let turn = queue.wait(at_once()).unwrap();
        assert!(queue.wait(Deadline::after(Duration::from_millis(5))).is_none());
        assert_eq!(queue.waiting.len(), 0);
        drop(turn);
        // Many threads give up while turns are handed over. No turn may be lost, nor be there twice.
        let writing = Mutex::new(());
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for number in 0..1000 {
                        let turn = queue.wait(Deadline::after(Duration::from_micros(number % 100)));
                        let alone = turn.is_some().then(|| writing.try_lock().expect("one thread at a time"));
                        thread::yield_now();
                        drop((alone, turn));
                    }
                });
            }
        });
        assert!(queue.wait(at_once()).is_some());
    }

    #[test]
    fn a_thread_that_panics_ends_its_turn() {
        let queue = WriteQueue::new();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _turn = queue.wait(at_once()).unwrap();
            panic!("a bug");
        }));
        assert!(panicked.is_err());
        assert!(queue.wait(at_once()).is_some());
    }
}
