//! Progress on a terminal. Nothing is drawn if the errors go anywhere else.

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::time::Duration;

pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Begins to count sessions.
    pub(crate) fn new(what: &'static str) -> Progress {
        let bar = ProgressBar::no_length().with_message(what);
        bar.set_style(style("{spinner} {msg}: {human_pos} sessions, {rate}, {elapsed}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress(bar)
    }

    pub(crate) fn add(&self, sessions: usize) {
        self.0.inc(sessions as u64);
    }

    /// Returns whether somebody sees it.
    pub(crate) fn is_seen(&self) -> bool {
        !self.0.is_hidden()
    }

    /// Draws a bar from now on: the number of sessions that there will be is known.
    pub(crate) fn expect(&self, sessions: u64) {
        self.0.set_length(sessions);
        self.0.set_style(style("{msg}: {wide_bar} {human_pos} of {human_len}, {rate}, {eta} left"));
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, text: &mut dyn Write| {
        let _ = text.write_str(&rate(state.per_sec()));
    })
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Returns a rate without decimals, such as `2,604/s`.
fn rate(per_second: f64) -> String {
    format!("{}/s", HumanCount(per_second.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_no_decimals() {
        assert_eq!([2604.1802, 0.4, 12.5].map(rate), ["2,604/s", "0/s", "13/s"]);
    }
}
