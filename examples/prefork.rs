//! A server with several worker processes on one port. A visitor has the same session at every worker.
//!
//! ```text
//! cargo run -p examples --bin prefork
//! cargo run -p examples --bin prefork -- --store redis://127.0.0.1:6379
//! ```
//!
//! Open the URL that the program prints, and reload the page: another worker answers, with the same session. Press
//! "Kill a worker": nothing is lost, and a new worker takes its place. The parent only starts workers and waits.
//!
//! A real site needs a proxy in front, which limits and buffers requests: tiny_http has no timeouts, so some sixty
//! half-sent forms stop all threads of these workers.
//!
//! What happens with the session is at the end of this file, from `respond` on; `prefork/view.rs` holds the HTML.
//!
//! A real site needs a proxy in front that reads each request whole, such as nginx. tiny_http has no read timeout: a
//! thread waits for the rest of a half-sent form without end, and some sixty such forms stop this program.

#[path = "prefork/view.rs"]
mod view;

use multi_process_session::{Error, SessionManager};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid};
use serde_json::Value;
use site::{
    Failure, Form, Options, Response, fail, field, is_damage, not_found, notice, out_of_date, parse, path, read_form,
    refusal, see_other, text, without_login,
};
use std::io::{self, Write};
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};
use std::{mem, panic, process, thread};
use tiny_http::{Method, Request, Server};

const USAGE: &str = "\
Usage: prefork [--listen ADDRESS:PORT] [--workers NUMBER] [--store URL]

  --listen   where to listen; port 0 takes a free one   (127.0.0.1:8080)
  --workers  how many processes answer                  (4)
  --store    where sessions are kept                    (a file that goes when this program ends)

Cookies are signed with the secret in the environment variable SESSION_SECRET, else with a random one.";

/// How many processes answer, if nobody says otherwise.
const WORKERS: NonZeroUsize = NonZeroUsize::new(4).unwrap();
/// How many requests a worker answers at a time.
const THREADS: usize = 4;
/// How long workers may take to end. A call to the store takes 2 seconds at most.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() {
    let mut workers = WORKERS;
    let options = Options::of_command_line(USAGE, &["--workers"], |_, value| {
        workers = parse(value, "--workers takes a number from 1");
    });
    let (store, folder) = options.store();
    let result = serve(&options, workers, &store);
    drop(folder); // Ending a process drops nothing.
    if let Err((code, message)) = result {
        fail(code, message)
    }
}

/// Serves until SIGINT or SIGTERM comes.
fn serve(options: &Options, workers: NonZeroUsize, store: &str) -> Result<(), Failure> {
    let (secret, note) = site::secret().map_err(|error| (2, error.to_string()))?;
    let manager = SessionManager::builder(secret)
        .store_url(store)
        .secure(false) // For development over plain http. Leave this out behind https.
        .build()
        .map_err(|error| (2, error.to_string()))?;

    // Blocked signals wait until the program asks for them. New threads and processes inherit the block, so it comes
    // first.
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD].into_iter().collect();
    signals.thread_block().expect("these can be blocked");
    manager.ping().map_err(|error| (1, format!("{error}; start it, or pass another --store URL")))?;
    let listener = TcpListener::bind(options.listen)
        .map_err(|error| (1, format!("cannot listen on {}: {error}; see --listen", options.listen)))?;

    let address = listener.local_addr().expect("it is bound");
    let store = without_login(store);
    println!("http://{address} with {workers} workers of {THREADS} threads, sessions in {store}{note}");
    let mut running = Vec::new();
    let result = keep_running(&mut running, workers.get(), &signals, &Site { listener, manager });
    stop(running);
    result.map_err(|error| (1, format!("cannot start a worker: {error}")))
}

// ---- The parent: starts workers, waits, ends them ----

/// The parts that all workers use. Each process opens its own connections to the store.
struct Site {
    listener: TcpListener,
    manager: SessionManager,
}

struct Worker {
    pid: Pid,
    started: Instant,
}

/// Starts the workers, and a new one for each that dies, until SIGINT or SIGTERM comes.
fn keep_running(running: &mut Vec<Worker>, count: usize, signals: &SigSet, site: &Site) -> nix::Result<()> {
    for _ in 0..count {
        running.push(start_worker(site, Duration::ZERO)?);
    }
    while signals.wait()? == Signal::SIGCHLD {
        for dead in take_dead(running) {
            eprintln!("prefork: worker {} has ended; starting another", dead.pid);
            // If workers die right after their start, a pause keeps the machine from being busy with new ones.
            let short_lived = dead.started.elapsed() < Duration::from_secs(2);
            running.push(start_worker(site, Duration::from_secs(short_lived.into()))?);
        }
    }
    Ok(())
}

fn start_worker(site: &Site, delay: Duration) -> nix::Result<Worker> {
    let parent = Pid::this();
    // The ping has opened the store. A SQLite file must not be open while a process forks; the guard closes it.
    let _guard = site.manager.before_fork();
    // SAFETY: no other thread of the parent runs. The ping has started one, in the pool of connections. That thread
    // sleeps, and holds no lock that the child could need.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Worker { pid: child, started: Instant::now() }),
        ForkResult::Child => {
            // A panic must not unwind into the code of the parent, which would end all workers, and remove their files.
            match panic::catch_unwind(AssertUnwindSafe(|| work(site, parent, delay))) {
                Ok(Ok(())) => process::exit(0),
                Ok(Err(error)) => fail(1, format!("a worker cannot work: {error}")),
                Err(_) => process::exit(101), // The panic has been reported.
            }
        }
    }
}

fn take_dead(running: &mut Vec<Worker>) -> Vec<Worker> {
    let is_dead = |worker: &mut Worker| waitpid(worker.pid, Some(WaitPidFlag::WNOHANG)) != Ok(WaitStatus::StillAlive);
    running.extract_if(.., is_dead).collect()
}

/// Asks the workers to end, and kills those that have not ended after a while.
fn stop(mut running: Vec<Worker>) {
    for worker in &running {
        let _ = kill(worker.pid, Signal::SIGTERM);
    }
    let deadline = Instant::now() + PATIENCE;
    while !running.is_empty() && Instant::now() < deadline {
        take_dead(&mut running);
        thread::sleep(Duration::from_millis(5));
    }
    for worker in running {
        eprintln!("prefork: worker {} does not end; killing it", worker.pid);
        let _ = kill(worker.pid, Signal::SIGKILL);
        let _ = waitpid(worker.pid, None);
    }
}

// ---- A worker: a few threads that answer requests ----

/// Works until SIGTERM comes. SIGINT, which a terminal sends to parent and workers alike, stays blocked here.
fn work(site: &Site, parent: Pid, delay: Duration) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // A parent that is killed cannot end its workers. Then the kernel ends them.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        return Ok(()); // The parent was killed before the line above.
    }
    // After a panic, a thread of ours or of tiny_http would be missing. So the whole worker ends.
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        end_worker();
    }));
    thread::sleep(delay);
    let server = Server::from_listener(site.listener.try_clone()?, None)?;
    // The scope ends when every thread has answered its present request. It does not wait for idle connections.
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| answer_requests(&server, &site.manager));
        }
        let _ = SigSet::from(Signal::SIGTERM).wait();
        (0..THREADS).for_each(|_| server.unblock());
    });
    // A server that is dropped connects to its own port, where nobody may accept the connection any more.
    mem::forget(server);
    Ok(())
}

fn answer_requests(server: &Server, manager: &SessionManager) {
    while let Ok(mut request) = server.recv() {
        let response = respond(manager, &mut request);
        // A refused form kills nobody.
        let is_last = path(&request) == KILL && response.status_code() == 303;
        // Both fail if the client has gone.
        let _ = closing(&request, response).and_then(|message| match is_last {
            true => die_and_respond(request.into_writer(), &message),
            false => send(request.into_writer(), &message),
        });
    }
    end_worker(); // The worker ends already, or has to end because it cannot accept connections any more.
}

/// Writes a response after which the client opens a new connection for its next request. So the workers take turns: a
/// browser would stay at one worker, as long as it has a connection to that worker.
fn closing(request: &Request, response: Response) -> io::Result<Vec<u8>> {
    let (version, is_head) = (request.http_version().clone(), *request.method() == Method::Head);
    let mut message = Vec::new();
    response.raw_print(&mut message, version, request.headers(), is_head, None)?;
    // tiny_http drops a `Connection` header of ours, so it goes in here, behind the first line.
    let first_line = message.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    message.splice(first_line..first_line, *b"Connection: close\r\n");
    Ok(message)
}

fn send(mut client: impl Write, message: &[u8]) -> io::Result<()> {
    client.write_all(message)?;
    client.flush()
}

/// Kills this worker by SIGKILL, and answers. The worker is dead before the response goes out. Otherwise it could still
/// accept the next request of this client. So a child of it sends the response, and does nothing else.
fn die_and_respond(client: impl Write, message: &[u8]) -> io::Result<()> {
    let worker = Pid::this();
    // SAFETY: the child uses no lock that another thread may hold: it makes system calls only.
    if let ForkResult::Child = unsafe { fork() }? {
        let _ = kill(worker, Signal::SIGKILL);
        while getppid() == worker {
            thread::yield_now();
        }
        let _ = send(client, message);
        let _ = kill(Pid::this(), Signal::SIGKILL); // So nothing of the worker is cleaned up here.
    }
    thread::sleep(PATIENCE); // Longer than this worker lives.
    Ok(())
}

/// Asks this worker to end after its present requests. The parent starts another one, unless it ends too.
fn end_worker() {
    let _ = kill(Pid::this(), Signal::SIGTERM);
}

// ---- The pages ----

type Page = Result<Response, Error>;

/// The key of the visit counter.
const VISITS: &str = "visits";
/// The key of the workers that answered the last visits, the newest first.
const WORKERS_SEEN: &str = "workers";
/// The path of the button that kills a worker. A real site has no such button.
const KILL: &str = "/kill";

fn respond(manager: &SessionManager, request: &mut Request) -> Response {
    let form = match read_form(request) {
        Ok(form) => form,
        Err(refusal) => return refusal,
    };
    let response = match (request.method(), path(request)) {
        (Method::Get, "/") => home(manager, request),
        (Method::Post, "/set" | KILL) => change(manager, request, &form),
        (Method::Post, "/end") => end(manager, request, &form),
        (Method::Get, "/set-session") => set_session(manager, request),
        (Method::Get, "/get-session") => get_session(manager, request),
        (Method::Get, "/clear-session") => clear_session(manager, request),
        _ => Ok(not_found()),
    };
    response.unwrap_or_else(|error| refusal("prefork", &error, "/end"))
}

fn home(manager: &SessionManager, request: &Request) -> Page {
    let mut session = manager.load(request)?;
    // The store adds, so no visit is lost, even if many workers count at once.
    session.increment(VISITS, 1)?;
    // This is a plain value: if two visits come at the same time, the list keeps one of them.
    let mut workers: Vec<u32> = session.get(WORKERS_SEEN)?.unwrap_or_default();
    workers.insert(0, process::id());
    workers.truncate(10);
    session.set(WORKERS_SEEN, &workers)?;
    let notice = notice(&mut session)?;
    // The save comes before the page, which shows the number that the store has counted.
    let set_cookie = session.save()?;
    let mut response = view::home(&mut session, &notice, &workers)?;
    if let Some(set_cookie) = set_cookie {
        set_cookie.add_to(&mut response);
    }
    Ok(response)
}

/// Does what a form of the page asks for, and sends the browser back to the page.
fn change(manager: &SessionManager, request: &Request, form: &Form) -> Page {
    let mut session = manager.load(request)?;
    if !session.verify_csrf(field(form, "csrf_token")) {
        return Ok(out_of_date());
    }
    let key = field(form, "key");
    if path(request) == KILL {
        let text = format!("Worker {} took your click, and was killed. Nothing is lost: look.", process::id());
        session.flash("notice", &text)?;
    } else if key.is_empty() || is_ours(key) {
        session.flash("notice", "Please choose another key: the server itself keeps visits and workers.")?;
    } else {
        session.set(key, field(form, "value"))?;
    }
    let mut response = see_other("/");
    session.save_into(&mut response)?;
    Ok(response)
}

/// Ends the session in the store, so every copy of its cookie is worthless.
fn end(manager: &SessionManager, request: &Request, form: &Form) -> Page {
    let may_end = match manager.load(request) {
        // A damaged record cannot be loaded, so nobody can check the token. Its owner can get rid of it even so.
        Err(error) if is_damage(&error) => true,
        session => session?.verify_csrf(field(form, "csrf_token")),
    };
    if !may_end {
        return Ok(out_of_date());
    }
    let mut response = see_other("/");
    manager.destroy(request)?.add_to(&mut response);
    Ok(response)
}

fn is_ours(key: &str) -> bool {
    [VISITS, WORKERS_SEEN].contains(&key)
}

// ---- The routes of the npm module's README. There, a GET changes the session; a real site takes a POST. ----

fn set_session(manager: &SessionManager, request: &Request) -> Page {
    let (Some(key), Some(value)) = (parameter(request, "key"), parameter(request, "value")) else {
        return Ok(text(400, "give a key and a value: /set-session?key=name&value=Ada"));
    };
    if is_ours(&key) {
        return Ok(text(400, "the server keeps this value itself"));
    }
    let mut session = manager.load(request)?;
    session.set(&key, &value)?;
    let mut response = text(200, "saved");
    session.save_into(&mut response)?;
    Ok(response)
}

fn get_session(manager: &SessionManager, request: &Request) -> Page {
    let Some(key) = parameter(request, "key") else {
        return Ok(text(400, "give a key: /get-session?key=name"));
    };
    let mut session = manager.load(request)?;
    let mut response = match session.get::<Value>(&key)? {
        Some(value) => text(200, plain(&value)),
        None => text(404, "the session has no such key"),
    };
    session.save_into(&mut response)?; // Nothing was changed, but the cookie may be due for renewal.
    Ok(response)
}

fn clear_session(manager: &SessionManager, request: &Request) -> Page {
    let mut response = text(200, "the session has ended");
    manager.destroy(request)?.add_to(&mut response);
    Ok(response)
}

/// Returns the text after `name=` in the URL.
fn parameter(request: &Request, name: &str) -> Option<String> {
    let (_, query) = request.url().split_once('?')?;
    let mut parameters = form_urlencoded::parse(query.as_bytes());
    parameters.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Returns a string as it is, and any other value as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
