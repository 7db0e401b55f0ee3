//! What the library logs, for tests that run alone in their process: there is one logger in each.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::sync::Mutex;

static LINES: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

struct Collect;

impl Log for Collect {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("multi_process_session")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.lock().unwrap().push((record.level(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Begins to collect what is logged.
pub fn collect(most: LevelFilter) {
    log::set_logger(&Collect).expect("there is no logger yet");
    log::set_max_level(most);
}

/// What was logged since this was asked last.
pub fn take() -> Vec<(Level, String)> {
    std::mem::take(&mut *LINES.lock().unwrap())
}

/// The texts of it.
pub fn lines() -> Vec<String> {
    take().into_iter().map(|(_, line)| line).collect()
}
