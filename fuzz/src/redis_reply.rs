//! Damaged replies of Redis. No call panics, and no call accepts a reply that was meant for another call.
//!
//! A proxy between the library and a real server replaces one of the replies by the input.

use crate::PATIENT;
use crate::calls::{CALLS, Call};
use crate::input::Input;
use crate::redis_server::{Server, Template};
use multi_process_session::SessionManager;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Stands in an input for the nonce of the call that is answered.
const MARK: &[u8] = b"<nonce>";

/// An answer that was seen.
#[derive(Clone)]
struct Seen {
    /// With `MARK` in the place of the nonce.
    reply: Vec<u8>,
    /// The position of the nonce in the command, if the reply repeats the nonce.
    nonce: Option<usize>,
}

#[derive(Default)]
enum Plan {
    #[default]
    Forward,
    Record(Vec<Seen>),
    /// Replaces the reply to one command, which comes after this number of other commands.
    Replace {
        after: usize,
        reply: Vec<u8>,
        nonce: Option<usize>,
        is_nonce_right: bool,
    },
}

struct World {
    _server: Server,
    template: Template,
    proxy: Arc<Mutex<Plan>>,
    socket: PathBuf,
    connection: Mutex<redis::Connection>,
    /// The answers to each call in `CALLS`, made for grace.
    seen: Vec<Vec<Seen>>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let server = Server::start();
        let template = Template::new(&server);
        let proxy = Arc::new(Mutex::new(Plan::default()));
        let socket = server.socket().with_file_name("proxy.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (upstream, plan) = (server.socket(), proxy.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (upstream, plan) = (upstream.clone(), plan.clone());
                std::thread::spawn(move || pass_on(client, &upstream, &plan));
            }
        });
        let connection = Mutex::new(server.connect());
        let mut world = World { _server: server, template, proxy, socket, connection, seen: Vec::new() };
        world.seen = CALLS.iter().map(|call| world.record(*call)).collect();
        world
    })
}

impl World {
    fn restore(&self) {
        self.template.restore(&mut self.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    fn plan(&self, plan: Plan) -> Plan {
        std::mem::replace(&mut self.proxy.lock().expect("the proxy does not panic"), plan)
    }

    fn manager(&self, timeout: Duration) -> SessionManager {
        let builder =
            SessionManager::builder(crate::secret(1)).store_url(&format!("redis+unix://{}", self.socket.display()));
        builder.operation_timeout(timeout).pool_size(1).build().expect("the settings are fine")
    }

    /// The answers that a call gets.
    fn record(&self, call: Call) -> Vec<Seen> {
        self.restore();
        self.plan(Plan::Record(Vec::new()));
        call(&self.manager(PATIENT), &self.template.grace).expect("the server works");
        match self.plan(Plan::Forward) {
            Plan::Record(seen) => seen,
            _ => unreachable!("the proxy does not change the plan while it records"),
        }
    }
}

pub fn run(data: &[u8]) {
    let world = world();
    let mut input = Input(data);
    let call = input.below(CALLS.len());
    let (seen, is_nonce_right) = (&world.seen[call], input.byte() % 4 != 0);
    let after = input.below(seen.len());
    let (reply, nonce) = (input.0.to_vec(), seen[after].nonce);
    // What Redis says in an error is shown.
    let is_error = reply.iter().any(|byte| b"-!".contains(byte));
    let must_not_be_believed = nonce.is_some() && (!is_nonce_right || !contains(&reply, MARK));

    world.restore();
    world.plan(Plan::Replace { after, reply, nonce, is_nonce_right });
    let (manager, ada) = (world.manager(Duration::from_millis(300)), &world.template.ada[0]);
    if call == 0 {
        let user = manager.load(ada.as_str()).and_then(|session| session.get::<String>("user"));
        assert!(!must_not_be_believed || user.ok().flatten().as_deref() != Some("grace"), "an answer to another call");
    } else if let Err(error) = CALLS[call](&manager, ada) {
        let shown = format!("{error} {error:?}");
        assert!(is_error || !shown.contains("hello"), "an error shows a value: {shown}");
    }
    world.plan(Plan::Forward);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (call, seen) in (0..).zip(&world().seen) {
        for (after, seen) in (0..).zip(seen) {
            seeds.extend([0, 1].map(|nonce| [&[call, nonce, after], &seen.reply[..]].concat()));
        }
    }
    const OTHERS: [&str; 20] = [
        "*-1\r\n",
        "$-1\r\n",
        ":9223372036854775807\r\n",
        ":99999999999999999999\r\n",
        "-ERR x\r\n",
        "-MOVED 1 :0\r\n",
        "-NOSCRIPT x\r\n",
        "-READONLY x\r\n",
        "-LOADING x\r\n",
        "%1\r\n+a\r\n:1\r\n",
        ">2\r\n+a\r\n+b\r\n",
        ",nan\r\n",
        "#t\r\n",
        "_\r\n",
        "(1234567890123456789012\r\n",
        "!5\r\nERR x\r\n",
        "*1000000000\r\n",
        "*9223372036854775807\r\n",
        "$536870912\r\n",
        "$9223372036854775807\r\n",
    ];
    seeds.extend(OTHERS.map(|reply| [b"\0\x01\0", reply.as_bytes()].concat()));
    seeds.push([b"\0\x01\0", &b"*1\r\n".repeat(1000)[..]].concat());
    seeds
}

/// Passes commands to the server and its answers back, one at a time, as far as the plan says so.
fn pass_on(mut client: UnixStream, upstream: &Path, plan: &Mutex<Plan>) -> Option<()> {
    let mut server = UnixStream::connect(upstream).ok()?;
    let mut buffer = Vec::new();
    loop {
        let command = next_value(&mut client, &mut buffer)?;
        let parts = parts(&command)?;
        server.write_all(&command).ok()?;
        let reply = next_value(&mut server, &mut Vec::new())?;
        let mut plan = plan.lock().ok()?;
        match &mut *plan {
            Plan::Record(seen) => seen.push(without_nonce(&parts, &reply)),
            Plan::Replace { after: 0, reply, nonce, is_nonce_right } => {
                let mut own = nonce.and_then(|nonce| parts.get(nonce).cloned()).unwrap_or_default();
                if !*is_nonce_right {
                    own.iter_mut().for_each(|byte| *byte = if *byte == b'A' { b'B' } else { b'A' });
                }
                let reply = replaced(reply, MARK, &own);
                *plan = Plan::Forward;
                // Then close the connection. Otherwise the library would wait for the rest of a reply that is too
                // short.
                return client.write_all(&reply).ok();
            }
            Plan::Replace { after, .. } => *after -= 1,
            Plan::Forward => {}
        }
        drop(plan);
        client.write_all(&reply).ok()?;
    }
}

/// The next whole value that comes from there.
fn next_value(from: &mut UnixStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(length) = length(buffer) {
            return Some(buffer.drain(..length).collect());
        }
        let mut chunk = [0; 4096];
        let read = from.read(&mut chunk).ok().filter(|read| *read > 0)?;
        buffer.extend(&chunk[..read]);
    }
}

/// How long the value at the beginning is, if it is whole.
fn length(text: &[u8]) -> Option<usize> {
    let line = text.windows(2).position(|end| end == b"\r\n")?;
    let number: i64 = std::str::from_utf8(&text[1..line]).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut end = line + 2;
    match text[0] {
        b'$' if number >= 0 => end += number as usize + 2,
        b'*' => {
            for _ in 0..number {
                end += length(text.get(end..)?)?;
            }
        }
        _ => {}
    }
    (text.len() >= end).then_some(end)
}

/// The parts of a command, which is an array of texts.
fn parts(command: &[u8]) -> Option<Vec<Vec<u8>>> {
    let line_end = |text: &[u8]| text.windows(2).position(|end| end == b"\r\n").map(|at| at + 2);
    let mut rest = &command[line_end(command)?..];
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (part, after) = rest.split_at(length(rest)?);
        parts.push(part[line_end(part)?..part.len() - 2].to_vec());
        rest = after;
    }
    Some(parts)
}

/// A nonce is the text of eight bytes that is in the command and comes back in the answer.
fn without_nonce(parts: &[Vec<u8>], reply: &[u8]) -> Seen {
    let nonce = parts.iter().position(|part| part.len() == 8 && contains(reply, part));
    let reply = nonce.map_or(reply.to_vec(), |nonce| replaced(reply, &parts[nonce], MARK));
    Seen { reply, nonce }
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}
