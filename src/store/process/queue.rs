//! A queue of threads that wait for something to become free: first come, first served.

use crate::deadline::Deadline;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The threads that wait, in the order in which they came.
pub(crate) struct Queue<T> {
    waiters: Mutex<VecDeque<Arc<Waiter<T>>>>,
}

/// A thread that waits, and the item that is handed to it.
struct Waiter<T> {
    item: Mutex<Option<T>>,
    handed_over: Condvar,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Queue<T> {
        Queue { waiters: Mutex::new(VecDeque::new()) }
    }

    /// Waits until an item is handed over, or until the deadline. Calls `find_free` first, because an item may have
    /// become free just before this thread joined the queue.
    pub(crate) fn wait(&self, deadline: Deadline, find_free: impl FnOnce() -> Option<T>) -> Option<T> {
        let waiter = Arc::new(Waiter { item: Mutex::new(None), handed_over: Condvar::new() });
        let mut waiters = lock(&self.waiters);
        if let Some(item) = find_free() {
            return Some(item);
        }
        waiters.push_back(waiter.clone());
        drop(waiters);
        let mut item = lock(&waiter.item);
        while item.is_none() {
            if deadline.has_passed() {
                drop(item);
                lock(&self.waiters).retain(|other| !Arc::ptr_eq(other, &waiter));
                // An item may have been handed over at the last moment.
                return lock(&waiter.item).take();
            }
            item = waiter.handed_over.wait_timeout(item, deadline.left()).unwrap_or_else(PoisonError::into_inner).0;
        }
        item.take()
    }

    /// Hands an item to the thread that has waited longest. If no thread waits, the item goes to `make_free`. The queue
    /// is locked meanwhile, so a thread that joins it now calls `find_free` afterwards.
    pub(crate) fn hand_over(&self, item: T, make_free: impl FnOnce(T)) {
        let mut waiters = lock(&self.waiters);
        match waiters.pop_front() {
            Some(first) => {
                *lock(&first.item) = Some(item);
                // Waking a thread takes long, and other threads need the queue.
                drop(waiters);
                first.handed_over.notify_one();
            }
            None => make_free(item),
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.waiters).len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
