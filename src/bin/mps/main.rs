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
    let done = interrupt::catch().and_then(|()| arguments()).and_then(|arguments| commands::run(&arguments));
    let Err(failure) = done else { return ExitCode::SUCCESS };
    if let Some(message) = failure.message() {
        // If nobody reads the errors, there is nobody to tell.
        let _ = writeln!(io::stderr(), "mps: {message}");
    }
    failure.exit_code()
}

/// Reads the command line. If it asks for help, or is wrong, the program ends here.
fn arguments() -> Result<Arguments, Failure> {
    Arguments::try_parse().or_else(|error| {
        if error.use_stderr() && std::env::args_os().any(|argument| store_url::may_have_password(&argument)) {
            return Err(Failure::Usage(
                "the arguments cannot be read; they are not shown here, because one of them looks like a URL with a \
                 password; see mps --help"
                    .to_owned(),
            ));
        }
        error.exit()
    })
}
