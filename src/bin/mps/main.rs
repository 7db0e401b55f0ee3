//! `mps` looks into a store of sessions, ends sessions, and moves them to another store. `mps --help` says how.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod escape;
mod failure;
mod interrupt;
mod listed;
mod moment;
mod opened;
mod output;
mod parallel;
mod progress;
mod store_file;
mod store_url;

use crate::arguments::Arguments;
use crate::failure::Failure;
use clap::Parser;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = interrupt::catch().and_then(|()| arguments()).and_then(|arguments| match arguments {
        Some(arguments) => commands::run(&arguments),
        None => Ok(()),
    });
    let Err(failure) = done else { return ExitCode::SUCCESS };
    if let Some(message) = failure.message() {
        // If nobody reads the errors, there is nobody to tell.
        let _ = writeln!(io::stderr(), "mps: {message}");
    }
    failure.exit_code()
}

/// Reads the command line. If it asks for help, prints the help, and gives `None`.
fn arguments() -> Result<Option<Arguments>, Failure> {
    Arguments::try_parse().map(Some).or_else(|error| {
        if error.use_stderr() && std::env::args_os().any(|argument| store_url::may_have_password(&argument)) {
            return Err(Failure::Usage(
                "the arguments cannot be read; they are not shown here, because one of them looks like a URL with a \
                 password; see mps --help"
                    .to_owned(),
            ));
        }
        let text = error.render().to_string();
        if error.use_stderr() {
            return Err(Failure::CommandLine(text.strip_prefix("error: ").unwrap_or(&text).to_owned()));
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
        Ok(None)
    })
}
