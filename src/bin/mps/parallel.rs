//! Work in several threads, with a bounded amount of it waiting.

use crate::failure::Failure;
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread;

/// Lets `threads` do the work that `feed` hands to the function that it is called with. If a piece of work fails, that
/// function gives `false`, and no further work begins. Returns the first failure.
pub(crate) fn in_parallel<T: Send>(
    threads: usize,
    work: impl Fn(T) -> Result<(), Failure> + Sync,
    feed: impl FnOnce(&mut dyn FnMut(T) -> bool) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (sender, receiver) = mpsc::sync_channel(threads);
    let (receiver, failure) = (Mutex::new(receiver), OnceLock::new());
    let next = || receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
    // After a failure, the threads take what waits and drop it, so that `feed` does not wait for them.
    let worker = || {
        while let Some(piece) = next() {
            if failure.get().is_none()
                && let Err(error) = work(piece)
            {
                let _ = failure.set(error);
            }
        }
    };
    let fed = thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(worker)));
        let fed = feed(&mut |piece| failure.get().is_none() && sender.send(piece).is_ok());
        drop(sender);
        fed
    });
    failure.into_inner().map_or(fed, Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn all_work_is_done_and_a_failure_ends_it() {
        for threads in [1, 4] {
            let sum = AtomicUsize::new(0);
            let add = |number| {
                sum.fetch_add(number, Ordering::Relaxed);
                Ok(())
            };
            let feed = |hand: &mut dyn FnMut(usize) -> bool| {
                assert!((1..=1000).all(hand));
                Ok(())
            };
            in_parallel(threads, add, feed).unwrap();
            assert_eq!(sum.into_inner(), 500_500);
            let fail = |number| if number == 5 { Err(Failure::Interrupted) } else { Ok(()) };
            let feed = |hand: &mut dyn FnMut(usize) -> bool| {
                while hand(5) {}
                Ok(())
            };
            assert!(matches!(in_parallel(threads, fail, feed), Err(Failure::Interrupted)));
        }
    }
}
