//! A page that stays open: its stream of events ends within a second after the logout, wherever the user logs out.
//!
//! ```text
//! cargo run -p examples --bin live -- --store sqlite:///tmp/live.db
//! cargo run -p examples --bin live -- --store sqlite:///tmp/live.db --listen 127.0.0.1:8081
//! ```
//!
//! Open the page in two browsers, one at each of these processes, log in with the same name, and press "Log out
//! everywhere" in one of them. The other page says so, without a reload.
//!
//! A stream outlives the request that has opened it. So the server keeps a `SessionHandle` for each stream. One thread
//! asks for all of them at once, every second: with Redis, this takes one round trip for all streams of a process. It
//! does not count as a use, so an open page does not keep its user logged in.
//!
//! A real site needs a proxy such as nginx in front, which reads each request whole and closes the connections of slow
//! browsers, because tiny_http has no timeouts. For the stream, nginx needs `proxy_http_version 1.1`.

use multi_process_session::{ConfigError, Error, Secret, Session, SessionHandle, SessionManager};
use nix::sys::signal::{SigSet, Signal};
use site::{
    Failure, Form, Options, Response, escape, fail, field, form, is_damage, not_found, out_of_date, page,
    page_with_script, path, read_form, refusal, script, see_other, text, without_login,
};
use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;
use tiny_http::{Method, Request, Server};

const USAGE: &str = "\
Usage: live [--listen ADDRESS:PORT] [--store URL]

  --listen  where to listen; port 0 takes a free one   (127.0.0.1:8080)
  --store   where sessions are kept                    (a file that goes when this program ends)

Cookies are signed with the secret in the environment variable SESSION_SECRET, else with a random one.";

/// How many requests are answered at a time. Each open stream has a thread of its own besides.
const THREADS: usize = 4;
/// How often the server asks which sessions are alive.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many streams may be open, and how many events may wait for a slow browser.
const MOST_STREAMS: usize = 1000;
const MOST_EVENTS: usize = 16;

struct Site {
    manager: SessionManager,
    streams: Mutex<Vec<Stream>>,
}

/// An open stream: the session that it belongs to, and the way to the thread that writes the events.
struct Stream {
    session: SessionHandle,
    events: SyncSender<String>,
}

fn main() {
    let options = Options::of_command_line(USAGE, &[], |_, _| {});
    let (store, folder) = options.store();
    let result = serve(&options, &store);
    drop(folder); // Ending a process drops nothing.
    if let Err((code, message)) = result {
        fail(code, message)
    }
}

/// Serves until SIGINT or SIGTERM comes.
fn serve(options: &Options, store: &str) -> Result<(), Failure> {
    let (secret, note) = site::secret().map_err(|error| (2, error.to_string()))?;
    let manager = manager(secret, store).map_err(|error| (2, error.to_string()))?;
    // Threads use it until the program ends.
    let site: &Site = Box::leak(Box::new(Site { manager, streams: Mutex::default() }));

    // Blocked signals wait until the program asks for them. New threads inherit the block, so it comes first.
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block().expect("these can be blocked");
    site.manager.ping().map_err(|error| (1, format!("{error}; start it, or pass another --store URL")))?;
    let server = Server::http(options.listen)
        .map_err(|error| (1, format!("cannot listen on {}: {error}; see --listen", options.listen)))?;

    println!("http://{} with sessions in {}{note}", server.server_addr(), without_login(store));
    let server: &Server = Box::leak(Box::new(server));
    for _ in 0..THREADS {
        thread::spawn(|| answer_requests(server, site));
    }
    thread::spawn(|| send_events(site));
    let _ = signals.wait();
    Ok(())
}

fn manager(secret: Secret, store: &str) -> Result<SessionManager, ConfigError> {
    SessionManager::builder(secret)
        .store_url(store)
        .cookie_name("live")
        .secure(false) // For development over plain http. Leave this out behind https.
        .build()
}

// ---- The streams ----

impl Site {
    fn streams(&self) -> MutexGuard<'_, Vec<Stream>> {
        self.streams.lock().expect("no holder panics")
    }
}

/// Opens a stream for a client that is logged in.
fn open_stream(site: &Site, request: Request) -> io::Result<()> {
    let session = match site.manager.peek(&request) {
        Ok(session) => session,
        Err(error) => return request.respond(refusal("live", &error, "/logout")),
    };
    let Some(session) = session.to_handle().filter(|_| session.group_name().is_some()) else {
        return request.respond(text(204, "")); // This status tells the browser not to ask again.
    };
    if site.streams().len() >= MOST_STREAMS {
        return request.respond(text(503, "too many open pages"));
    }
    let (events, waiting) = mpsc::sync_channel(MOST_EVENTS);
    thread::spawn(move || write_events(request, &waiting)); // Fails if the browser has gone.
    site.streams().push(Stream { session, events });
    Ok(())
}

/// Writes events to the browser, until the other end of the channel is dropped: then the session has ended.
fn write_events(request: Request, events: &Receiver<String>) -> io::Result<()> {
    let mut browser = request.into_writer();
    // tiny_http would hold events back until they fill a buffer, so the chunks are made here.
    browser.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n\
          Transfer-Encoding: chunked\r\n\r\n",
    )?;
    let mut send = |event: &str| {
        write!(browser, "{:x}\r\n{event}\r\n", event.len())?;
        browser.flush()
    };
    for event in events {
        send(&event)?;
    }
    send("event: end\ndata: You are logged out.\n\n")?;
    send("") // The empty chunk is the end of the response.
}

/// Sends an event to each stream every second, and ends those whose session has ended.
fn send_events(site: &Site) {
    loop {
        thread::sleep(INTERVAL);
        let mut streams = site.streams();
        match site.manager.are_alive(streams.iter_mut().map(|stream| &mut stream.session)) {
            Ok(alive) => {
                let mut alive = alive.into_iter();
                streams.retain(|_| alive.next() == Some(true));
                let event = format!("data: Open pages at this process: {}\n\n", streams.len());
                // A stream is dropped if its browser has gone, or takes nothing any more.
                streams.retain(|stream| stream.events.try_send(event.clone()).is_ok());
            }
            // Nobody knows who is logged in. The streams stay open, and get nothing until the store answers again.
            Err(error) => eprintln!("live: {error}"),
        }
    }
}

// ---- The pages ----

type Page = Result<Response, Error>;

fn answer_requests(server: &Server, site: &Site) {
    while let Ok(mut request) = server.recv() {
        let _ = if path(&request) == "/events" {
            open_stream(site, request)
        } else {
            let response = respond(site, &mut request);
            request.respond(response)
        }; // Fails if the client has gone.
    }
}

fn respond(site: &Site, request: &mut Request) -> Response {
    let form = match read_form(request) {
        Ok(form) => form,
        Err(refusal) => return refusal,
    };
    page_of(site, request, &form).unwrap_or_else(|error| match error {
        Error::Gone => see_other("/"), // Another tab has logged out meanwhile.
        error => refusal("live", &error, "/logout"),
    })
}

fn page_of(site: &Site, request: &Request, form: &Form) -> Page {
    if path(request) == "/live.js" {
        return Ok(script(include_str!("live/live.js")));
    }
    let mut session = match site.manager.load(request) {
        // A damaged record cannot be loaded. Its owner can log out even so.
        Err(error) if is_damage(&error) && (request.method(), path(request)) == (&Method::Post, "/logout") => {
            let mut response = see_other("/");
            site.manager.destroy(request)?.add_to(&mut response);
            return Ok(response);
        }
        loaded => loaded?,
    };
    let user = session.group_name().map(str::to_owned);
    match (request.method(), path(request), user) {
        (Method::Get, "/", user) => {
            let response = start_page(&mut session, user.as_deref());
            save(session, response)
        }
        (Method::Post, ..) if !session.verify_csrf(field(form, "csrf_token")) => save(session, out_of_date()),
        (Method::Post, "/login", None) if !field(form, "name").is_empty() => {
            session.set_group_name(field(form, "name"));
            save(session, see_other("/"))
        }
        (Method::Post, "/logout", Some(_)) => log_out(session),
        (Method::Post, "/logout-everywhere", Some(user)) => {
            site.manager.group(&user).clear()?;
            log_out(session) // It has ended with the others; this takes the cookie away.
        }
        _ => save(session, not_found()),
    }
}

fn start_page(session: &mut Session, user: Option<&str>) -> Response {
    let Some(user) = user else {
        let fields = r#"<label>Name <input name="name" required maxlength="50"></label>
<button class="main">Log in</button>"#;
        return page(200, "Log in", &format!("<section>\n{}</section>\n", form(session, "/login", fields)));
    };
    let log_out = form(session, "/logout", "<button>Log out</button>");
    let everywhere = form(session, "/logout-everywhere", r#"<button class="danger">Log out everywhere</button>"#);
    let body = format!(
        r#"<p>You are <strong>{}</strong>.</p>
<p id="live" role="status">Without a script, this page does not change by itself.</p>
<div class="row">{log_out}{everywhere}</div>
"#,
        escape(user)
    );
    page_with_script("A live page", &body, "/live.js")
}

fn save(mut session: Session, mut response: Response) -> Page {
    session.save_into(&mut response)?;
    Ok(response)
}

fn log_out(session: Session) -> Page {
    let mut response = see_other("/");
    if let Some(removal) = session.destroy()? {
        removal.add_to(&mut response);
    }
    Ok(response)
}
