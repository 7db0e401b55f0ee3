//! Parts that the examples with pages share: the command line, the choice of a store, and a little HTTP and HTML.

use multi_process_session::Secret;
use nix::unistd::mkdtemp;
use std::io::Cursor;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{env, fs, io, process};
use tiny_http::{Header, Response};

/// An answer whose body is in memory.
pub type Answer = Response<Cursor<Vec<u8>>>;

/// Makes a header of ASCII text.
pub fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("all headers here are ASCII")
}

/// Makes a text safe in HTML, also within the quotes of an attribute.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// The exit code and the message of a program that fails.
pub type Failure = (i32, String);

/// Gives the secret in the environment. Without one, gives a random secret and a note that says so.
pub fn secret() -> Result<(Secret, &'static str), Failure> {
    let (secret, note) = match env::var_os("SESSION_SECRET") {
        Some(secret) => (Secret::new(secret.as_encoded_bytes()), ""),
        None => (Secret::generate(), "\nwithout SESSION_SECRET the secret is random: sessions end with this program"),
    };
    Ok((secret.map_err(|error| (2, error.to_string()))?, note))
}

/// The options on the command line that every example has.
// Without `Debug`: the store's URL may hold a password.
#[allow(missing_debug_implementations)]
pub struct Options {
    /// Where the example listens.
    pub listen: SocketAddr,
    store: Option<String>,
}

impl Options {
    /// Reads the options, and the example's own option `own`, whose value `take` gets.
    ///
    /// No message repeats an argument, because it may hold a password.
    pub fn of_command_line(usage: &str, own: &str, mut take: impl FnMut(&str)) -> Options {
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
    pub fn store(&self) -> (String, Option<TemporaryFolder>) {
        if let Some(store) = &self.store {
            return (store.clone(), None);
        }
        let folder = TemporaryFolder::new().unwrap_or_else(|error| fail(1, format!("no temporary folder: {error}")));
        (format!("sqlite://{}", folder.path().join("sessions.db").display()), Some(folder))
    }
}

/// A folder that only this user can read. It is deleted when dropped.
#[derive(Debug)]
pub struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// Makes an empty folder.
    pub fn new() -> io::Result<TemporaryFolder> {
        Ok(TemporaryFolder(mkdtemp(&env::temp_dir().join("sessions-XXXXXX"))?))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Reads the value of an option. If it cannot be read, ends this process with what was `expected`.
pub fn parse<T: std::str::FromStr>(value: &str, expected: &str) -> T {
    value.parse().unwrap_or_else(|_| fail(2, format!("{expected}; see --help")))
}

/// Gives a store's URL without user and password. They come before the `@`, or for a unix socket after the `?`.
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
