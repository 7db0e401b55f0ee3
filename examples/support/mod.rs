//! Parts that the examples with pages share: the command line, the choice of a store, and a little HTTP and HTML.

use multi_process_session::Secret;
use std::io::Cursor;
use std::net::SocketAddr;
use std::{env, process};
use tempfile::TempDir;
use tiny_http::{Header, Response};

pub(crate) type Answer = Response<Cursor<Vec<u8>>>;

pub(crate) fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("all headers here are ASCII")
}

/// Makes a text safe in HTML, also within the quotes of an attribute.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// The exit code and the message of a program that fails.
pub(crate) type Failure = (i32, String);

/// Gives the secret in the environment. Without one, gives a random secret and a note that says so.
pub(crate) fn secret() -> Result<(Secret, &'static str), Failure> {
    let (secret, note) = match env::var_os("SESSION_SECRET") {
        Some(secret) => (Secret::new(secret.as_encoded_bytes()), ""),
        None => (Secret::generate(), "\nwithout SESSION_SECRET the secret is random: sessions end with this program"),
    };
    Ok((secret.map_err(|error| (2, error.to_string()))?, note))
}

/// The options on the command line that every example has.
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    store: Option<String>,
}

impl Options {
    /// Reads the options, and the example's own option `own`, whose value `take` gets.
    ///
    /// No message repeats an argument, because it may hold a password.
    pub(crate) fn of_command_line(usage: &str, own: &str, mut take: impl FnMut(&str)) -> Options {
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
                (name, Some(value)) if name == own => take(&value),
                (name, None) if ["--listen", "--store", own].contains(&name) => {
                    fail(2, format!("{name} needs a value; see --help"))
                }
                _ => fail(2, format!("the options are --listen, --store and {own}; see --help")),
            }
        }
        options
    }

    /// Gives the URL of the store, and the folder, if any, that is deleted when this program ends.
    pub(crate) fn store(&self) -> (String, Option<TempDir>) {
        if let Some(store) = &self.store {
            return (store.clone(), None);
        }
        if !cfg!(feature = "sqlite") {
            return ("redis://127.0.0.1:6379".to_owned(), None);
        }
        let folder = tempfile::tempdir().unwrap_or_else(|error| fail(1, format!("no temporary folder: {error}")));
        (format!("sqlite://{}", folder.path().join("sessions.db").display()), Some(folder))
    }
}

pub(crate) fn parse<T: std::str::FromStr>(value: &str, expected: &str) -> T {
    value.parse().unwrap_or_else(|_| fail(2, format!("{expected}; see --help")))
}

/// Gives a store's URL without user and password. They come before the `@`, or for a unix socket after the `?`.
pub(crate) fn without_login(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or_default()),
        None => url.to_owned(),
    }
}

/// Ends this process with one line on standard error.
pub(crate) fn fail(code: i32, message: impl std::fmt::Display) -> ! {
    eprintln!("{}: {message}", env!("CARGO_BIN_NAME"));
    process::exit(code)
}
