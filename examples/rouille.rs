//! A login on `rouille`: form tokens against other sites, messages that show once, and a logout.
//!
//! ```text
//! export SESSION_SECRET="$(openssl rand -base64 48)"
//! cargo run -p examples --bin rouille --features rouille
//! ```
//!
//! Open the URL that the program prints, and log in as `ada` with the password `engine`. `--listen ADDRESS:PORT` takes
//! another address. The file `sessions.db`, in the folder where this runs, keeps the sessions. `login.rs` shows more:
//! "remember me", the list of devices, and logouts elsewhere.

use multi_process_session::{Error, Secret, Session, SessionManager, SqliteStore};
use rouille::{Request, Response, post_input};
use std::env;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let manager = SessionManager::builder(Secret::from_env("SESSION_SECRET")?)
        .store(SqliteStore::new("sessions.db"))
        .secure(false) // For development over plain http. Leave this out behind https.
        .build()?;
    let listen = env::args().skip_while(|argument| argument != "--listen").nth(1);
    let server = rouille::Server::new(listen.as_deref().unwrap_or("127.0.0.1:8080"), move |request| {
        page(&manager, request).unwrap_or_else(|error| {
            eprintln!("rouille: {error}");
            Response::text("please try again soon\n").with_status_code(error.http_status())
        })
    })?;
    println!("http://{} with sessions in sessions.db", server.server_addr());
    server.run();
    Ok(())
}

fn page(manager: &SessionManager, request: &Request) -> Result<Response, Error> {
    let mut session = manager.load(request.header("Cookie"))?;
    let mut response = match (request.method(), request.url().as_str()) {
        ("GET", "/") => home(&mut session)?,
        ("POST", "/login") => log_in(&mut session, request)?,
        ("POST", "/logout") => return log_out(manager, &session, request),
        _ => Response::empty_404(),
    };
    session.save_into(&mut response.headers)?;
    Ok(response)
}

/// Shows the page of the user who is logged in, or the form for a login.
///
/// The form's token needs a session. So every visitor who sees the form gets one, and no other site can log a visitor
/// in.
fn home(session: &mut Session) -> Result<Response, Error> {
    let notice: String = session.take_flash("notice")?.unwrap_or_default();
    let token = session.csrf_field();
    let form = match session.group_name() {
        // All names are ours. Other text from outside has to be escaped.
        Some(user) => format!(
            r#"<p>You are {user}.</p>
<form method="post" action="/logout">{token}<button>Log out</button></form>"#
        ),
        None => format!(
            r#"<form method="post" action="/login">{token}
<label>Name <input name="user" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button>Log in</button></form>"#
        ),
    };
    let title = "A login on rouille";
    let page = format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<main>
<h1>{title}</h1>
<p role="status">{notice}</p>
{form}
</main>
</html>
"#
    );
    // No cache may keep the page of a user, not even for the "back" button after the logout.
    Ok(Response::html(page).with_no_cache())
}

fn log_in(session: &mut Session, request: &Request) -> Result<Response, Error> {
    // `rouille` reads a form of any length. A proxy in front of it can set a limit.
    let Ok(form) = post_input!(request, { csrf_token: String, user: String, password: String }) else {
        return Ok(Response::empty_400());
    };
    if !session.verify_csrf(&form.csrf_token) {
        return Ok(Response::text("this form is out of date\n").with_status_code(403));
    }
    if is_password(&form.user, &form.password) {
        // The session gets a new id, so the old one is worthless to anyone who knew or planted it.
        session.set_group_name(&form.user);
        session.flash("notice", "Welcome.")?;
    } else {
        session.flash("notice", "This name and password do not go together.")?;
    }
    Ok(Response::redirect_303("/"))
}

fn log_out(manager: &SessionManager, session: &Session, request: &Request) -> Result<Response, Error> {
    let form = post_input!(request, { csrf_token: String });
    if !form.is_ok_and(|form| session.verify_csrf(&form.csrf_token)) {
        return Ok(Response::text("this form is out of date\n").with_status_code(403));
    }
    let mut response = Response::redirect_303("/");
    manager.destroy(request.header("Cookie"))?.add_to(&mut response.headers);
    Ok(response)
}

/// Checks a password. A real site keeps a slow, salted hash of each (such as Argon2id), and limits the number of tries.
fn is_password(user: &str, password: &str) -> bool {
    [("ada", "engine"), ("grace", "compiler")].contains(&(user, password))
}
