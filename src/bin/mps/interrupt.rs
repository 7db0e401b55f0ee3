//! Ctrl-C, and the signal that asks a program to end.

use crate::failure::{Failure, INTERRUPTED};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

static ASKED_TO_END: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Lets the first signal set a mark, which each command looks at between two steps. A second one ends the program at
/// once, for instance while a store does not answer.
pub(crate) fn catch() -> Result<(), Failure> {
    for signal in [SIGINT, SIGTERM] {
        let conditional = flag::register_conditional_shutdown(signal, INTERRUPTED.into(), ASKED_TO_END.clone());
        conditional.and_then(|_| flag::register(signal, ASKED_TO_END.clone()))?;
    }
    Ok(())
}

pub(crate) fn is_asked_to_end() -> bool {
    ASKED_TO_END.load(Ordering::Relaxed)
}

/// Ends the command if a signal has asked for it.
pub(crate) fn check() -> Result<(), Failure> {
    if is_asked_to_end() { Err(Failure::Interrupted) } else { Ok(()) }
}

/// Waits until a time, or until a signal comes.
pub(crate) fn sleep_until(then: Instant) {
    while !is_asked_to_end() && Instant::now() < then {
        thread::sleep(then.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)));
    }
}
