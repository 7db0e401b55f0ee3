//! A CGI program (RFC 3875): the web server starts a process for each request. All of them share one SQLite file.
//!
//! This is how the web server of BusyBox runs it, at <http://127.0.0.1:8080/cgi-bin/cgi>:
//!
//! ```text
//! cargo build --release -p examples --bin cgi
//! mkdir -p www/cgi-bin && cp target/release/cgi www/cgi-bin/
//! export SESSION_SECRET="$(openssl rand -base64 48)"
//! export SESSION_STORE="sqlite://$PWD/sessions.db"
//! busybox httpd -f -p 127.0.0.1:8080 -h www
//! ```
//!
//! The file must not be in a folder that the web server publishes. The program needs the right to write in its folder.

use multi_process_session::{ConfigError, Error, Secret, SessionManager};
use std::env;
use std::io::{self, Read, Write};

/// The length of the longest form, in bytes.
const LONGEST_FORM: u64 = 4096;

fn main() {
    let response = respond().unwrap_or_else(|error| {
        eprintln!("cgi: {error}");
        Response::new(500, "This program is not set up", "")
    });
    let mut text = format!("Status: {} \r\n", response.status);
    for (name, value) in &response.headers {
        text += &format!("{name}: {value}\r\n");
    }
    // Every page is made for one visitor, also those without a new cookie.
    text += "Cache-Control: no-store\r\nContent-Type: text/html; charset=utf-8\r\n\r\n";
    let _ = io::stdout().write_all((text + &response.body).as_bytes()); // Fails if the client has gone.
}

struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Response {
    fn new(status: u16, title: &str, body: &str) -> Response {
        let body = format!(
            r#"<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<main>
<h1>{title}</h1>
{body}</main>
</html>
"#
        );
        Response { status, headers: Vec::new(), body }
    }
}

fn respond() -> Result<Response, ConfigError> {
    let manager = SessionManager::builder(Secret::from_env("SESSION_SECRET")?)
        .store_url(&variable("SESSION_STORE"))
        .secure(false) // For development over plain http. Leave this out behind https.
        .build()?;
    Ok(page(&manager).unwrap_or_else(|error| {
        eprintln!("cgi: {error}");
        Response::new(error.http_status(), "Please try again soon", "")
    }))
}

fn page(manager: &SessionManager) -> Result<Response, Error> {
    let mut session = manager.load(&env::var_os("HTTP_COOKIE").unwrap_or_default())?;
    let mut response = match variable("REQUEST_METHOD").as_str() {
        "GET" => {
            let name: String = session.get("name")?.unwrap_or_default();
            let token = session.csrf_field();
            let form = format!(
                r#"<form method="post">{token}
<label>Your name <input name="name" autocomplete="name"></label> <button>Save</button></form>
"#
            );
            Response::new(200, &format!("Hello {}", site::escape(&name)), &form)
        }
        "POST" => {
            let form = form();
            let field = |name| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value);
            if session.verify_csrf(field("csrf_token")) {
                session.set("name", field("name"))?;
                let mut response = Response::new(303, "Saved", "");
                response.headers.push(("Location".to_owned(), variable("SCRIPT_NAME")));
                response
            } else {
                Response::new(403, "This form is out of date", "")
            }
        }
        _ => Response::new(405, "Only GET and POST are answered", ""),
    };
    session.save_into(&mut response.headers)?;
    Ok(response)
}

/// Returns the fields of the form on standard input. It is `CONTENT_LENGTH` bytes long, and need not end there.
fn form() -> Vec<(String, String)> {
    let length = variable("CONTENT_LENGTH").parse().unwrap_or(0).min(LONGEST_FORM);
    let mut body = Vec::new();
    let _ = io::stdin().take(length).read_to_end(&mut body); // A form that is cut off has no token, or another name.
    form_urlencoded::parse(&body).into_owned().collect()
}

/// Returns a variable of the environment. It is empty if it is not set.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
