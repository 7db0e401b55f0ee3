//! What the library logs. A process has one logger, so a test that collects needs a process of its own.

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

/// Starts to collect lines of this level and of the more severe ones.
pub fn collect(least_severe: LevelFilter) {
    super::fork::assert_alone();
    log::set_logger(&Collect).expect("there is no logger yet");
    log::set_max_level(least_severe);
}

/// Takes the lines that were collected since the last call.
pub fn take() -> Vec<(Level, String)> {
    std::mem::take(&mut *LINES.lock().unwrap())
}

/// Takes the warnings and errors about servers, without their levels.
pub fn take_warnings() -> Vec<String> {
    let of_server = |(level, line): &(Level, String)| *level <= Level::Warn && !line.starts_with("session ");
    take().into_iter().filter(of_server).map(|(_, line)| line).collect()
}

/// Takes the lines without their levels.
pub fn take_lines() -> Vec<String> {
    take().into_iter().map(|(_, line)| line).collect()
}
