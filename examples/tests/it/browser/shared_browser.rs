//! One browser for many tests, because its start costs more than most tests.

use super::driver::Browser;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// The browser, for as long as a test uses it. It ends with the last test that waits for it, and with one that fails.
pub struct SharedBrowser(MutexGuard<'static, Option<Browser>>);

static SHARED: Mutex<Option<Browser>> = Mutex::new(None);
/// How many tests use or await the browser.
static USERS: AtomicUsize = AtomicUsize::new(0);

impl SharedBrowser {
    /// Waits until the browser is free, and makes it forget the test before.
    pub fn new() -> SharedBrowser {
        USERS.fetch_add(1, Ordering::SeqCst);
        let mut shared = SharedBrowser(SHARED.lock().unwrap_or_else(PoisonError::into_inner));
        match &*shared.0 {
            Some(browser) => browser.forget(),
            None => *shared.0 = Some(Browser::start()),
        }
        shared
    }
}

impl Deref for SharedBrowser {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        self.0.as_ref().expect("it was started")
    }
}

impl Drop for SharedBrowser {
    fn drop(&mut self) {
        let is_last = USERS.fetch_sub(1, Ordering::SeqCst) == 1;
        if is_last || thread::panicking() {
            *self.0 = None;
        }
    }
}
