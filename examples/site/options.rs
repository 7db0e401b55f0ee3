//! The command line.

use crate::temporary_folder::TemporaryFolder;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::{env, process};

/// The exit code and the message of a program that fails.
pub type Failure = (i32, String);

/// The options on the command line that every example has.
// Without `Debug`: the store's URL may hold a password.
#[allow(missing_debug_implementations)]
pub struct Options {
    /// Where the example listens.
    pub listen: SocketAddr,
    store: Option<String>,
}

impl Options {
    /// Reads the options. `take` gets the name and the value of each of the example's `own` options.
    ///
    /// No message repeats an argument, because it may hold a password.
    pub fn of_command_line(usage: &str, own: &[&str], mut take: impl FnMut(&str, &str)) -> Options {
        let mut options = Options { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), store: None };
        let mut arguments = env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
        while let Some(name) = arguments.next() {
            match (name.as_str(), arguments.next()) {
                ("--help", _) => {
                    println!("{usage}");
                    process::exit(0)
                }
                ("--listen", Some(value)) => options.listen = parse(&value, "--listen takes an address and a port"),
                ("--store", Some(value)) => options.store = Some(value),
                (name, Some(value)) if own.contains(&name) => take(name, &value),
                (name, None) if ["--listen", "--store"].contains(&name) || own.contains(&name) => {
                    fail(2, format!("{name} needs a value; see --help"))
                }
                _ => fail(2, format!("the options are --listen, --store and {}; see --help", own.join(", "))),
            }
        }
        options
    }

    /// Returns the URL of the store, and the folder, if any, that is deleted when this program ends.
    pub fn store(&self) -> (String, Option<TemporaryFolder>) {
        if let Some(store) = &self.store {
            return (store.clone(), None);
        }
        let folder = TemporaryFolder::new().unwrap_or_else(|error| fail(1, format!("no temporary folder: {error}")));
        (format!("sqlite://{}", folder.path().join("sessions.db").display()), Some(folder))
    }
}

/// Reads the value of an option. If it cannot be read, ends this process with what was `expected`.
pub fn parse<T: std::str::FromStr>(value: &str, expected: &str) -> T {
    value.parse().unwrap_or_else(|_| fail(2, format!("{expected}; see --help")))
}

/// Returns a store's URL without user and password. They come before the `@`, or for a unix socket after the `?`.
pub fn without_login(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or_default()),
        None => url.to_owned(),
    }
}

/// Ends this process with one line on standard error.
pub fn fail(code: i32, message: impl std::fmt::Display) -> ! {
    let program = env::args_os().next().map(PathBuf::from).unwrap_or_default();
    eprintln!("{}: {message}", program.file_name().unwrap_or_default().display());
    process::exit(code)
}
