//! The ways in which a command ends without success.

use crate::escape::{escaped, escaped_lines};
use multi_process_session::{Error, StoreError};
use std::io;
use std::process::ExitCode;

/// The exit code of a program that a signal has ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command ends early, or with bad news. The texts show no password and no value.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something is wrong with the store, or a session or user was not found.
    Found(String),
    /// Something is wrong with the arguments or the environment.
    Usage(String),
    /// The command line cannot be read. The text has several lines.
    CommandLine(String),
    /// A store failed. The text names which one.
    Store(String),
    /// The output cannot be written.
    Output(io::Error),
    /// A signal asked the program to end.
    Interrupted,
}

impl Failure {
    pub(crate) fn of_store(name: &str, error: &StoreError) -> Failure {
        Failure::Store(format!("{name} failed: {error}"))
    }

    /// Returns the line to print. A reader of the output that has gone away does not need one.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Failure::Found(text) | Failure::Usage(text) | Failure::Store(text) => Some(escaped(text)),
            Failure::CommandLine(text) => Some(escaped_lines(text)),
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Failure::Output(error) => Some(format!("the output cannot be written: {error}")),
            Failure::Interrupted => None,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Failure::Found(_) => ExitCode::from(1),
            Failure::Usage(_) | Failure::CommandLine(_) => ExitCode::from(2),
            Failure::Store(_) | Failure::Output(_) => ExitCode::from(3),
            Failure::Interrupted => ExitCode::from(INTERRUPTED),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

/// The library's own errors here are only those of the operating system's generator.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error.to_string())
    }
}
