//! What the program prints: text for people, or JSON for programs.

use crate::escape::escaped_json;
use crate::failure::Failure;
use serde::Serialize;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

pub(crate) struct Output {
    is_json: bool,
    is_terminal: bool,
    writer: BufWriter<StdoutLock<'static>>,
}

impl Output {
    pub(crate) fn new(is_json: bool) -> Output {
        let stdout = io::stdout();
        Output { is_json, is_terminal: stdout.is_terminal(), writer: BufWriter::new(stdout.lock()) }
    }

    /// Returns whether a person reads text on a terminal.
    pub(crate) fn is_for_eyes(&self) -> bool {
        self.is_terminal && !self.is_json
    }

    /// Prints one thing, as JSON in one line or as text. The text has to be harmless for a terminal.
    pub(crate) fn print<J: Serialize>(
        &mut self,
        json: impl FnOnce() -> J,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let line = match self.is_json {
            true => escaped_json(&serde_json::to_string(&json()).map_err(io::Error::from)?),
            false => text(),
        };
        Ok(writeln!(self.writer, "{line}")?)
    }

    /// Prints a text for people.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.writer.write_all(text.as_bytes())?)
    }

    /// Hands on all that was printed so far.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.writer.flush()?)
    }
}
