//! A site with a login: "remember me", a list of the devices where a user is logged in, logouts here and elsewhere, the
//! password again before something sensitive, and what comes after the login: why it ended, when it will end, on how
//! many devices it is allowed, and roles that an administrator changes.
//!
//! ```text
//! cargo run -p examples --bin login
//! cargo run -p examples --bin login -- --store redis://127.0.0.1:6379
//! ```
//!
//! Open the URL that the program prints in two browsers, log in with both, and log one of them out from the other. A
//! request begins at `respond`. Below it is what happens with the session, in the order in which a visitor meets it.
//! `login/roles.rs` has the roles, and `login/view.rs` the HTML. One process with a few threads answers. `prefork.rs`
//! shows how to fork workers. With workers, e-mail addresses and roles would need a database.
//!
//! A real site needs a proxy in front that reads each request whole, such as nginx. tiny_http has no read timeout: a
//! thread waits for the rest of a half-sent form without end, and a handful of such forms stop this program.

#[path = "login/roles.rs"]
mod roles;
#[path = "login/view.rs"]
mod view;

use multi_process_session::{AtLimit, ConfigError, Error, PublicId, Secret, Session, SessionInfo, SessionManager};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use roles::{ADMINISTRATOR, Roles};
use site::{
    Failure, Form, Options, Response, device_name, fail, field, is_damage, not_found, out_of_date, parse, path,
    read_form, refusal, request_header, script, see_other, text, without_login,
};
use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use tiny_http::{Method, Request, Server};

const USAGE: &str = "\
Usage: login [--listen ADDRESS:PORT] [--store URL] [--ask-again-after SECONDS] [--idle-timeout SECONDS]

  --listen           where to listen; port 0 takes a free one   (127.0.0.1:8080)
  --store            where sessions are kept                    (a file that goes when this program ends)
  --ask-again-after  how old a login may be for something       (300)
                     sensitive without the password
  --idle-timeout     how long a login lives without use         (1800)
                     unless the user ticks to be remembered

Cookies are signed with the secret in the environment variable SESSION_SECRET, else with a random one.";

/// Names and passwords, in plain text for this demonstration. A real site keeps a slow, salted hash of each password
/// (such as Argon2id), checks the typed password with it, and limits the number of tries.
const USERS: [(&str, &str); 3] = [("ada", "engine"), ("grace", "compiler"), ("margaret", "apollo")];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a login with "remember me" lives without use.
const IDLE_REMEMBERED: Duration = DAY.saturating_mul(30);
/// How long a login lives at most, even if it is used.
const LONGEST: Duration = DAY.saturating_mul(90);
/// On how many devices a user may be logged in.
const DEVICES: usize = 5;

/// How many requests are answered at a time.
const THREADS: usize = 4;

struct Site {
    manager: SessionManager,
    ask_again_after: Duration,
    /// The e-mail addresses, which users can change here. A real site keeps them in a database.
    emails: Mutex<HashMap<String, String>>,
    roles: Roles,
}

fn manager(secret: Secret, store: &str, idle_timeout: Duration) -> Result<SessionManager, ConfigError> {
    SessionManager::builder(secret)
        .store_url(store)
        // Browsers share cookies between the ports of a host, so another program there needs another name.
        .cookie_name("login")
        .secure(false) // For development over plain http. Leave this out behind https.
        .persistent(false) // A cookie ends with the browser, unless "remember me" was ticked.
        .idle_timeout(idle_timeout)
        .absolute_timeout(LONGEST)
        .max_sessions_per_group(DEVICES) // A login beyond this ends the oldest one.
        .build()
}

fn main() {
    let (mut ask_again_after, mut idle_timeout) = (300, 30 * 60);
    let options = Options::of_command_line(USAGE, &["--ask-again-after", "--idle-timeout"], |name, value| {
        let seconds = parse(value, &format!("{name} takes a number of seconds"));
        if name == "--idle-timeout" { idle_timeout = seconds } else { ask_again_after = seconds }
    });
    let (store, folder) = options.store();
    let result = serve(&options, &store, Duration::from_secs(ask_again_after), Duration::from_secs(idle_timeout));
    drop(folder); // Ending a process drops nothing.
    if let Err((code, message)) = result {
        fail(code, message)
    }
}

/// Serves until SIGINT or SIGTERM comes.
fn serve(options: &Options, store: &str, ask_again_after: Duration, idle_timeout: Duration) -> Result<(), Failure> {
    let (secret, note) = site::secret().map_err(|error| (2, error.to_string()))?;
    let manager = manager(secret, store, idle_timeout).map_err(|error| (2, error.to_string()))?;
    let site = Site { manager, ask_again_after, emails: Mutex::default(), roles: Roles::new() };

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
        let response = respond(site, &mut request);
        let _ = request.respond(response); // Fails if the client has gone.
    }
    // The program ends already, or has to end because it cannot accept connections any more.
    let _ = kill(Pid::this(), Signal::SIGTERM);
}

// ---- The way of a request ----

type Page = Result<Response, Error>;

fn respond(site: &Site, request: &mut Request) -> Response {
    let form = match read_form(request) {
        Ok(form) => form,
        Err(refusal) => return refusal,
    };
    page(site, request, &form).unwrap_or_else(|error| match error {
        // The session has ended since it was loaded, for instance by a logout in another tab or from another device. No
        // cookie is sent, because the other tab may have logged in again meanwhile.
        Error::Gone => see_other("/login"),
        error => refusal("login", &error, "/logout"),
    })
}

/// Answers a request. Every page ends with a save, even if nothing was changed: the cookie may be due for renewal.
fn page(site: &Site, request: &Request, form: &Form) -> Page {
    let (method, path) = (request.method(), path(request));
    match (method, path) {
        (Method::Get, "/time-left") => return time_left(site, request),
        (Method::Get, "/time-left.js") => return Ok(script(include_str!("login/time-left.js"))),
        _ => {}
    }
    let session = match site.manager.load(request) {
        // A damaged record cannot be loaded, so its form token cannot be checked. Its owner can log out even so. Other
        // sites cannot log the owner out, because browsers send no `SameSite=Lax` cookie with their forms.
        Err(error) if is_damage(&error) && (method, path) == (&Method::Post, "/logout") => {
            let mut response = see_other("/login");
            site.manager.destroy(request)?.add_to(&mut response);
            return Ok(response);
        }
        loaded => loaded?,
    };

    // A session that is in a user's group is logged in. The membership ends when the session ends.
    let user = session.group_name().map(str::to_owned);
    match (method, path, user) {
        (Method::Get, "/", Some(user)) => account(site, session, &user),
        (Method::Get, "/login", None) => login_form(session),
        (Method::Get, "/roles", Some(_)) => roles::list(site, session),
        // The client is logged in already. Another user has to log out first, and then sees nothing of this one.
        (_, "/login", Some(_)) => save(session, see_other("/")),
        (Method::Get, "/" | "/roles", None) => save(session, see_other("/login")),
        (Method::Post, path, None) if path != "/login" => save(session, see_other("/login")),

        // All pages that change something are below this line. They need a POST from a form of this session.
        (Method::Post, ..) if !session.verify_csrf(field(form, "csrf_token")) => save(session, out_of_date()),
        (Method::Post, "/login", None) => log_in(site, session, request, form),
        (Method::Post, "/email", Some(user)) => change_email(site, session, &user, form),
        (Method::Post, "/pretend-old", Some(_)) => pretend_old(session, form),
        (Method::Post, "/roles", Some(_)) => roles::change(site, session, form),
        (Method::Post, "/revoke", Some(user)) => revoke(site, session, &user, form),
        (Method::Post, "/logout-elsewhere", Some(user)) => log_out_elsewhere(site, session, &user),
        (Method::Post, "/logout-everywhere", Some(user)) => log_out_everywhere(site, session, &user),
        (Method::Post, "/logout", Some(_)) => log_out(session),
        _ => save(session, not_found()),
    }
}

/// Saves the session, and puts its cookie into the response if one is due.
fn save(mut session: Session, mut response: Response) -> Page {
    session.save_into(&mut response)?;
    Ok(response)
}

// ---- Logging in ----

/// Shows the form. The first visit makes an anonymous session, to which the form's token belongs. So another site
/// cannot log a visitor in under a name of its choice.
fn login_form(mut session: Session) -> Page {
    // If the browser has sent the cookie of a session that has ended, the page says why. The page makes a new session,
    // so it says that once.
    let ended_because = session.ended_because();
    let (name, remember): (String, bool) = session.take_flash("typed_login")?.unwrap_or_default();
    let response = view::login(&mut session, ended_because, &name, remember)?;
    save(session, response)
}

fn log_in(site: &Site, mut session: Session, request: &Request, form: &Form) -> Page {
    let (user, remember) = (field(form, "user"), form.contains_key("remember"));
    if !is_password(user, field(form, "password")) {
        session.flash("notice", "This name and password do not go together.")?;
        session.flash("typed_login", &(user, remember))?;
        return save(session, see_other("/login"));
    }
    // This is the login. The session gets a new id, so the old one is worthless to anyone who knew or planted it. The
    // values stay, for instance a cart that was filled before.
    session.set_group_name(user);
    session.remember_me(remember.then_some(IDLE_REMEMBERED));
    // An administrator can use one device. Others can use several, and then the oldest login ends.
    if site.roles.publish(&site.manager, user)? == ADMINISTRATOR {
        session.limit_group(1, AtLimit::RefuseNewest);
    }
    // These values tell this device from others in the list. A proxy puts the address into a header of its own.
    session.set("device", &device_name(request_header(request, "User-Agent")))?;
    session.set("ip", &request.remote_addr().map(|address| address.ip()))?;
    session.flash("notice", &format!("Welcome, {user}."))?;

    let devices = site.manager.group(user).sessions_with(&["device"])?;
    let mut response = see_other("/");
    match session.save_into(&mut response) {
        Err(Error::TooManySessions { limit, .. }) => return refuse_login(site, request, user, limit),
        saved => saved?,
    }
    // With more than `DEVICES` logins, the oldest ones have ended.
    let ended = session.ended_by_login();
    let names: Vec<String> = devices.iter().filter(|it| ended.contains(&it.public_id())).map(device_of).collect();
    if !names.is_empty() {
        let notice = format!("Welcome, {user}. You can use {DEVICES} devices. Logged out: {}.", names.join(", "));
        session.flash("notice", &notice)?;
    }
    save(session, response)
}

/// Says that the user may not log in on one more device.
fn refuse_login(site: &Site, request: &Request, user: &str, limit: usize) -> Page {
    // Nothing was saved. So the client still has the session from before the login.
    let mut session = site.manager.load(request)?;
    let devices = if limit == 1 { "one device" } else { "its devices" };
    let notice = format!("{user} can use {devices} at a time, and is logged in already. Log out there.");
    session.flash("notice", &notice)?;
    save(session, see_other("/login"))
}

/// Returns the name of a device of the list. A value that cannot be read does not hide the list.
fn device_of(device: &SessionInfo) -> String {
    device.get("device").ok().flatten().unwrap_or_else(|| "Unknown".to_owned())
}

fn is_password(user: &str, password: &str) -> bool {
    USERS.contains(&(user, password))
}

/// Says how long the login lasts if nobody uses it. The script of the account page asks again and again.
///
/// `peek` does not count as a use of the session. So an open page does not keep its user logged in.
fn time_left(site: &Site, request: &Request) -> Page {
    let session = site.manager.peek(request)?;
    Ok(match (session.group_name(), session.expires_in()) {
        (Some(_), Some(left)) => text(200, view::time_left(left)),
        _ => text(401, "You are logged out. Reload the page to log in again."),
    })
}

// ---- The account ----

fn account(site: &Site, mut session: Session, user: &str) -> Page {
    let devices = site.manager.group(user).sessions_with(&["device", "ip"])?;
    // What was typed before the password was asked for comes first.
    let email = match session.take_flash("typed_email")? {
        Some(typed) => typed,
        None => site.emails.lock().expect("no holder panics").get(user).cloned().unwrap_or_default(),
    };
    let response = view::account(site, &mut session, user, &devices, &email)?;
    save(session, response)
}

/// Changes the address. A stranger at a browser that is logged in, without the password, must not get the account.
fn change_email(site: &Site, mut session: Session, user: &str, form: &Form) -> Page {
    let email = field(form, "email");
    if site.asks_again(&session) {
        if !is_password(user, field(form, "password")) {
            session.flash("notice", "To change the address, please type your password.")?;
            session.flash("typed_email", email)?;
            return save(session, see_other("/"));
        }
        session.set_group_name(user); // A login once more: a new id, and the time of now.
        session.remove(PRETEND_OLD);
    }
    session.flash("notice", "The address has been changed.")?;
    // The save comes first. If this session has ended meanwhile, the save fails, and the address stays.
    let response = save(session, see_other("/"))?;
    site.emails.lock().expect("no holder panics").insert(user.to_owned(), email.to_owned());
    Ok(response)
}

impl Site {
    /// Returns whether the login is too old for something sensitive.
    fn asks_again(&self, session: &Session) -> bool {
        !session.authenticated_within(self.ask_again_after) || session.contains_key(PRETEND_OLD)
    }
}

/// The key of a switch for this demonstration: it pretends that the login is old, so the password is asked for at once.
const PRETEND_OLD: &str = "pretend_old";

fn pretend_old(mut session: Session, form: &Form) -> Page {
    if field(form, "pretend") == "on" {
        session.set(PRETEND_OLD, &true)?;
    } else {
        session.remove(PRETEND_OLD);
    }
    save(session, see_other("/"))
}

// ---- Logging out ----

fn log_out(session: Session) -> Page {
    let mut response = see_other("/login");
    if let Some(removal) = session.destroy()? {
        removal.add_to(&mut response);
    }
    Ok(response)
}

/// Ends one session of this user. A session of another user is not in the group, so it is not touched.
fn revoke(site: &Site, mut session: Session, user: &str, form: &Form) -> Page {
    let ended = match field(form, "id").parse::<PublicId>() {
        Ok(id) => site.manager.group(user).remove(id)?,
        Err(_) => false,
    };
    session
        .flash("notice", if ended { "That device is logged out." } else { "That device was logged out already." })?;
    // If this session itself was ended, the save gives `Error::Gone`, and the login page comes next.
    save(session, see_other("/"))
}

fn log_out_elsewhere(site: &Site, mut session: Session, user: &str) -> Page {
    let ended = site.manager.group(user).clear_except(&session)?;
    session.flash("notice", &format!("Logged out elsewhere: {ended}."))?;
    save(session, see_other("/"))
}

/// Logs out all devices in one step, whatever they are doing.
fn log_out_everywhere(site: &Site, session: Session, user: &str) -> Page {
    site.manager.group(user).clear()?;
    log_out(session) // It has ended with the others; this takes the cookie away.
}
