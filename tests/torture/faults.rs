//! Collects the faults that the library logs, for the operation that the same thread is doing.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::cell::{Cell, RefCell};

thread_local! {
    static CONNECTIONS_FAILED: Cell<u32> = const { Cell::new(0) };
    static FOREIGN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Faults;

impl Log for Faults {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Debug && metadata.target().starts_with("multi_process_session")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // While servers cannot be used, it is not worth a warning any more.
        let text = record.args().to_string();
        if text.starts_with("the connection to ") {
            CONNECTIONS_FAILED.set(CONNECTIONS_FAILED.get() + 1);
        }
        // Here nothing spoils replies. So if a reply is not the reply to its request, it was meant for another process.
        if text.contains("InvalidData") {
            FOREIGN.with_borrow_mut(|foreign| foreign.push(text));
        }
    }

    fn flush(&self) {}
}

pub fn watch() {
    log::set_logger(&Faults).expect("there is no other logger");
    log::set_max_level(LevelFilter::Debug);
}

/// How many connections have failed on this thread since the last call.
pub fn connections_failed() -> u32 {
    CONNECTIONS_FAILED.take()
}

/// The replies of others that came to this thread since the last call.
pub fn foreign_replies() -> Vec<String> {
    FOREIGN.take()
}
