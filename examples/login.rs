//! A site with a login: "remember me", a list of the devices where a user is logged in, logouts here and elsewhere, and
//! the password again before something sensitive.
//!
//! ```text
//! cargo run --release -p examples --bin login
//! cargo run --release -p examples --bin login -- --store redis://127.0.0.1:6379
//! ```
//!
//! Open the URL that the program prints in two browsers, log in with both, and log one of them out from the other. A
//! request begins at `page`. Below it are the pages, in the order in which a visitor sees them. One process with a few
//! threads answers. `prefork.rs` shows how to fork workers. With workers, e-mail addresses would need a database.

use multi_process_session::{
    ConfigError, Error, PublicId, Secret, Session, SessionInfo, SessionManager, SetCookie, StoreError, StoreErrorKind,
};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use site::{Answer, Failure, Options, escape, fail, header, parse, without_login};
use std::collections::HashMap;
use std::io::Read;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime};
use tiny_http::{Method, Request, Response, Server};

const USAGE: &str = "\
Usage: login [--listen ADDRESS:PORT] [--store URL] [--ask-again-after SECONDS]

  --listen           where to listen; port 0 takes a free one   (127.0.0.1:8080)
  --store            where sessions are kept                    (a file that goes when this program ends)
  --ask-again-after  how old a login may be for something       (300)
                     sensitive without the password

Cookies are signed with the secret in the environment variable SESSION_SECRET, else with a random one.";

/// Names and passwords, in plain text for this demonstration. A real site keeps a slow, salted hash of each password
/// (such as Argon2id), checks the typed password with it, and limits the number of tries.
const USERS: [(&str, &str); 2] = [("ada", "engine"), ("grace", "compiler")];

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a login lives without use. The second one is for "remember me".
const IDLE: Duration = MINUTE.saturating_mul(30);
const IDLE_REMEMBERED: Duration = DAY.saturating_mul(30);
/// How long a login lives at most, even if it is used.
const LONGEST: Duration = DAY.saturating_mul(90);

/// How many requests are answered at a time.
const THREADS: usize = 4;
/// The length of the longest form, in bytes.
const LONGEST_FORM: u64 = 4096;

struct Site {
    manager: SessionManager,
    ask_again_after: Duration,
    /// The e-mail addresses, which users can change here. A real site keeps them in a database.
    emails: Mutex<HashMap<String, String>>,
}

fn manager(secret: Secret, store: &str) -> Result<SessionManager, ConfigError> {
    SessionManager::builder(secret)
        .store_url(store)
        .secure(false) // For development over plain http. Leave this out behind https.
        // Cookies are `persistent`, by default. Otherwise, closing the browser would end every login, also one with
        // "remember me". So a login without "remember me" outlives the browser too, for its idle timeout at most.
        .idle_timeout(IDLE)
        .absolute_timeout(LONGEST)
        .max_sessions_per_group(5) // Who logs in once more loses the oldest login.
        .build()
}

fn main() {
    let mut ask_again_after = 300;
    let options = Options::of_command_line(USAGE, "--ask-again-after", |value| {
        ask_again_after = parse(value, "--ask-again-after takes a number of seconds");
    });
    let (store, folder) = options.store();
    let result = serve(&options, Duration::from_secs(ask_again_after), &store);
    drop(folder); // Ending a process drops nothing.
    if let Err((code, message)) = result {
        fail(code, message)
    }
}

/// Serves until SIGINT or SIGTERM comes.
fn serve(options: &Options, ask_again_after: Duration, store: &str) -> Result<(), Failure> {
    let (secret, note) = site::secret()?;
    let manager = manager(secret, store).map_err(|error| (2, error.to_string()))?;
    let site = Site { manager, ask_again_after, emails: Mutex::default() };

    // Blocked signals wait until the program asks for them. New threads inherit the block, so it comes first.
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block().expect("these can be blocked");
    site.manager.ping().map_err(|error| (1, format!("{error}; start it, or pass another --store URL")))?;
    let server = Server::http(options.listen)
        .map_err(|error| (1, format!("cannot listen on {}: {error}; see --listen", options.listen)))?;

    println!("http://{} with sessions in {}{note}", server.server_addr(), without_login(store));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| answer_requests(&server, &site));
        }
        let _ = signals.wait();
        (0..THREADS).for_each(|_| server.unblock());
    });
    Ok(())
}

fn answer_requests(server: &Server, site: &Site) {
    while let Ok(mut request) = server.recv() {
        let answer = match page(site, &mut request) {
            Ok((answer, Some(cookie))) => answer.with_header(header("Set-Cookie", cookie.as_str())),
            Ok((answer, None)) => answer,
            Err(error) => refusal(&error),
        };
        let _ = request.respond(answer); // Fails if the client has gone.
    }
    // The program ends already, or has to end because it cannot accept connections any more.
    let _ = kill(Pid::this(), Signal::SIGTERM);
}

// ---- The way of a request ----

/// The answer of a page, and the cookie that goes with it.
type Page = Result<(Answer, Option<SetCookie>), Error>;
/// The fields of a form.
type Form = HashMap<String, String>;

/// Answers a request. Every page ends with a `save`, even if nothing was changed: the cookie may be due for renewal.
fn page(site: &Site, request: &mut Request) -> Page {
    let form = match read_form(request) {
        Ok(form) => form,
        Err(status) => return Ok((html(status, "This form cannot be read", ""), None)),
    };
    let request = &*request;
    let (method, path) = (request.method(), request.url().split('?').next().unwrap_or_default());
    let mut session = match site.manager.load(request) {
        // A damaged record cannot be loaded, so its form token cannot be checked. Its owner can log out even so. Other
        // sites cannot log the owner out, because browsers send no `SameSite=Lax` cookie with their forms.
        Err(Error::Store(fault)) if is_damage(&fault) && (method, path) == (&Method::Post, "/logout") => {
            return Ok((see_other("/login"), Some(site.manager.destroy(request)?)));
        }
        loaded => loaded?,
    };

    // A session that is in a user's group is logged in. The membership ends when the session ends.
    let user = session.group_name().map(str::to_owned);
    match (method, path, user) {
        (Method::Get, "/", Some(user)) => account(site, session, &user),
        (Method::Get, "/login", None) => login_form(session),
        // The client is logged in already. Another user has to log out first, and then sees nothing of this one.
        (_, "/login", Some(_)) => Ok((see_other("/"), session.save()?)),
        (Method::Get, "/", None) => Ok((see_other("/login"), session.save()?)),
        (Method::Post, path, None) if path != "/login" => Ok((see_other("/login"), session.save()?)),

        // All pages that change something are below this line. They need a POST from a form of this session.
        (Method::Post, ..) if !session.verify_csrf(field(&form, "csrf")) => {
            Ok((html(403, "This form is out of date", r#"<p><a href="/">Get a new one</a></p>"#), session.save()?))
        }
        (Method::Post, "/login", None) => log_in(session, request, &form),
        (Method::Post, "/email", Some(user)) => change_email(site, session, &user, &form),
        (Method::Post, "/revoke", Some(user)) => revoke(site, session, &user, &form),
        (Method::Post, "/logout-elsewhere", Some(user)) => log_out_elsewhere(site, session, &user),
        (Method::Post, "/logout-everywhere", Some(user)) => log_out_everywhere(site, session, &user),
        (Method::Post, "/logout", Some(_)) => Ok((see_other("/login"), session.destroy()?)),
        _ => Ok((html(404, "No such page", r#"<p><a href="/">To the start</a></p>"#), session.save()?)),
    }
}

fn refusal(error: &Error) -> Answer {
    let (status, message, more) = match error {
        // The session has ended since it was loaded, for instance by a logout in another tab or from another device. No
        // cookie is sent, because the other tab may have logged in again meanwhile.
        Error::Gone => return see_other("/login"),
        Error::Store(fault) if is_damage(fault) => {
            (503, "Your session is damaged", r#"<form method="post" action="/logout"><button>Log out</button></form>"#)
        }
        // Nobody knows whose request this is. That is not a logout: the cookie stays, and works again later.
        Error::Store(_) => (503, "Sessions are out of order; please try again soon", ""),
        _ => (500, "Something went wrong", ""),
    };
    eprintln!("login: {error}");
    html(status, message, more)
}

/// Says whether the record of this session is damaged, and not the whole store.
fn is_damage(fault: &StoreError) -> bool {
    fault.kind() == StoreErrorKind::Corrupt
}

// ---- Logging in ----

/// Shows the form. The first visit makes an anonymous session, to which the form's token belongs. So another site
/// cannot log a visitor in under a name of its choice.
fn login_form(mut session: Session) -> Page {
    let known: Vec<String> = USERS.iter().map(|(name, password)| format!("{name} with {password}")).collect();
    let fields = r#"<p><input name="user" placeholder="name" autocomplete="username" autofocus>
<input name="password" type="password" placeholder="password" autocomplete="current-password">
<label><input name="remember" type="checkbox"> remember me</label>"#;
    let body = [
        notice(&mut session)?,
        form(&mut session, "/login", fields, "Log in"),
        format!("<p>For this demonstration: {}.</p>\n", known.join(", or ")),
    ];
    Ok((html(200, "Log in", &body.concat()), session.save()?))
}

fn log_in(mut session: Session, request: &Request, form: &Form) -> Page {
    let user = field(form, "user");
    if !is_password(user, field(form, "password")) {
        session.flash("notice", "This name and password do not go together.")?;
        return Ok((see_other("/login"), session.save()?));
    }
    // This is the login. The session gets a new id, so the old one is worthless to anyone who knew or planted it. The
    // values stay, for instance a cart that was filled before.
    session.set_group_name(user);
    if form.contains_key("remember") {
        session.set_idle_timeout(IDLE_REMEMBERED);
    }
    // These values tell this device from others in the list. A proxy puts the address into a header of its own.
    let browser = request.headers().iter().find(|header| header.field.equiv("User-Agent"));
    let browser: String = browser.map_or("unknown", |header| header.value.as_str()).chars().take(200).collect();
    session.set("user_agent", &browser)?;
    session.set("ip", &request.remote_addr().map(|address| address.ip()))?;
    session.flash("notice", &format!("Welcome, {user}."))?;
    Ok((see_other("/"), session.save()?))
}

fn is_password(user: &str, password: &str) -> bool {
    USERS.contains(&(user, password))
}

// ---- The account ----

fn account(site: &Site, mut session: Session, user: &str) -> Page {
    let mut rows = String::new();
    for device in site.manager.group(user).sessions_with(&["user_agent", "ip"])? {
        // A value that cannot be read does not hide the list.
        let text = |key| escape(&device.get::<String>(key).ok().flatten().unwrap_or_else(|| "unknown".to_owned()));
        let this = if device.public_id() == session.public_id() { ", this device" } else { "" };
        // A public id names a session, and gives no access to it.
        let id = format!(r#"<input type="hidden" name="id" value="{}">"#, device.public_id());
        rows += &format!(
            "<tr><td>{}</td><td>{}{this}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            text("user_agent"),
            text("ip"),
            ago(&device, device.joined_at()),
            ago(&device, device.refreshed_at()),
            form(&mut session, "/revoke", &id, "Log out")
        );
    }
    let email = site.emails.lock().expect("no holder panics").get(user).cloned().unwrap_or_default();
    let mut email = format!(r#"<p>E-mail address <input name="email" value="{}">"#, escape(&email));
    if site.asks_again(&session) {
        email += r#" <input name="password" type="password" placeholder="password" autocomplete="current-password">"#;
    }
    let body = [
        notice(&mut session)?,
        format!("<p>You are {}.</p>\n", escape(user)),
        form(&mut session, "/logout", "", "Log out"),
        form(&mut session, "/email", &email, "Change"),
        "<h2>Where you are logged in</h2>\n<table>\n".to_owned(),
        "<tr><th>browser</th><th>address</th><th>since</th><th>last used</th></tr>\n".to_owned(),
        format!("{rows}</table>\n"),
        form(&mut session, "/logout-elsewhere", "", "Log out everywhere else"),
        form(&mut session, "/logout-everywhere", "", "Log out everywhere"),
    ];
    Ok((html(200, "Your account", &body.concat()), session.save()?))
}

/// Changes the address. A stranger at a browser that is logged in, without the password, must not get the account.
fn change_email(site: &Site, mut session: Session, user: &str, form: &Form) -> Page {
    if site.asks_again(&session) {
        if !is_password(user, field(form, "password")) {
            session.flash("notice", "To change the address, please type your password.")?;
            return Ok((see_other("/"), session.save()?));
        }
        session.set_group_name(user); // A login once more: a new id, and the time of now.
    }
    session.flash("notice", "The address has been changed.")?;
    // The save comes first. If this session has ended meanwhile, the save fails, and the address stays.
    let cookie = session.save()?;
    site.emails.lock().expect("no holder panics").insert(user.to_owned(), field(form, "email").to_owned());
    Ok((see_other("/"), cookie))
}

impl Site {
    /// Says whether the login is too old for something sensitive.
    fn asks_again(&self, session: &Session) -> bool {
        !session.authenticated_within(self.ask_again_after)
    }
}

// ---- Logging out ----

/// Ends one session of this user. A session of another user is not in the group, so it is not touched.
fn revoke(site: &Site, mut session: Session, user: &str, form: &Form) -> Page {
    let ended = match field(form, "id").parse::<PublicId>() {
        Ok(id) => site.manager.group(user).remove(id)?,
        Err(_) => false,
    };
    session
        .flash("notice", if ended { "That device is logged out." } else { "That device was logged out already." })?;
    // If this session itself was ended, the save gives `Error::Gone`, and the login page comes next.
    Ok((see_other("/"), session.save()?))
}

fn log_out_elsewhere(site: &Site, mut session: Session, user: &str) -> Page {
    let ended = site.manager.group(user).clear_except(&session)?;
    session.flash("notice", &format!("Logged out elsewhere: {ended}."))?;
    Ok((see_other("/"), session.save()?))
}

/// Logs out all devices in one step, whatever they are doing.
fn log_out_everywhere(site: &Site, session: Session, user: &str) -> Page {
    site.manager.group(user).clear()?;
    Ok((see_other("/login"), session.destroy()?)) // It has ended with the others; this takes the cookie away.
}

// ---- HTTP and HTML ----

/// Gives the fields that a form has sent, or the status of the refusal. Anybody can send anything, so there is a limit.
fn read_form(request: &mut Request) -> Result<Form, u16> {
    let mut body = Vec::new();
    let read = request.as_reader().take(LONGEST_FORM + 1).read_to_end(&mut body);
    if body.len() as u64 > LONGEST_FORM {
        return Err(413);
    }
    match read {
        Ok(_) => Ok(form_urlencoded::parse(&body).into_owned().collect()),
        Err(_) => Err(400), // It ended too early, say.
    }
}

fn field<'f>(form: &'f Form, name: &str) -> &'f str {
    form.get(name).map_or("", String::as_str)
}

/// Makes a form with its token, so that no form lacks one.
fn form(session: &mut Session, action: &str, fields: &str, button: &str) -> String {
    let csrf = session.csrf_token();
    format!(
        r#"<form method="post" action="{action}"><input type="hidden" name="csrf" value="{csrf}">{fields}
<button>{button}</button></form>
"#
    )
}

/// Gives the message that an earlier request has left. It is shown once.
fn notice(session: &mut Session) -> Result<String, Error> {
    let notice: Option<String> = session.take_flash("notice")?;
    Ok(notice.map_or_else(String::new, |notice| format!("<p role=\"status\">{}</p>\n", escape(&notice))))
}

/// Says how long ago a time of the list is. Both times are by the store's clock, which may differ from ours.
fn ago(device: &SessionInfo, time: SystemTime) -> String {
    match device.listed_at().duration_since(time).unwrap_or_default().as_secs() / 60 {
        0 => "just now".to_owned(),
        minutes @ ..120 => format!("{minutes} min ago"),
        minutes @ ..2880 => format!("{} hours ago", minutes / 60),
        minutes => format!("{} days ago", minutes / 1440),
    }
}

/// Sends the browser to a page after a POST. It gets the page by GET, so a reload does not send the form again.
fn see_other(path: &str) -> Answer {
    html(303, "See the next page", "").with_header(header("Location", path))
}

fn html(status: u16, title: &str, body: &str) -> Answer {
    let page = format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<h1>{title}</h1>
{body}</html>
"#
    );
    Response::from_string(page)
        .with_status_code(status)
        .with_header(header("Content-Type", "text/html; charset=utf-8"))
        // No cache may keep a page for another visitor, or for the "back" button after a logout.
        .with_header(header("Cache-Control", "no-store"))
        // No scripts, and no frames: another site could hide our page in its own and let visitors press our buttons.
        .with_header(header(
            "Content-Security-Policy",
            "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
        ))
}
