//! A proxy between the library and a Redis, which spoils replies and loses connections.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// What happens to one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The request and its reply pass.
    Pass,
    /// The request is carried out. The connection is closed instead of the reply.
    LoseReply,
    /// The request is dropped, and this process, which made it, is killed.
    KillBefore(Arc<AtomicI32>),
    /// The request is carried out, and this process, which made it, is killed.
    KillAfter(Arc<AtomicI32>),
    /// The request is carried out. Half of the reply comes, and then the connection is closed.
    HalfReply,
    /// The request is carried out. Half of the reply comes, and then nothing more.
    HalfReplyThenSilence,
    /// The request is carried out. The reply comes byte by byte, with this pause after each.
    Trickle(Duration),
    /// The request is carried out. Its reply waits at the barrier.
    Hold(Arc<Barrier>),
    /// The request is dropped, and nothing comes.
    Silence,
    /// The request is dropped, and these bytes come: once for each of its commands.
    Answer(&'static [u8]),
    /// The request is carried out. Before its reply, the reply to the request before it comes again.
    ReplyOfAnother,
}

impl Fault {
    /// Whether the connection stays open, and nothing more comes.
    pub fn is_silent(&self) -> bool {
        matches!(self, Fault::Silence | Fault::HalfReplyThenSilence)
    }
}

/// A proxy on a unix socket.
pub struct Proxy {
    folder: TempDir,
    state: Arc<State>,
}

struct State {
    server: Mutex<PathBuf>,
    faults: Mutex<VecDeque<Fault>>,
    last_reply: Mutex<Vec<u8>>,
    accepted: AtomicU32,
}

impl Proxy {
    pub fn start(server: PathBuf) -> Proxy {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = UnixListener::bind(folder.path().join("proxy.sock")).expect("a socket");
        let state = Arc::new(State {
            server: Mutex::new(server),
            faults: Mutex::default(),
            last_reply: Mutex::default(),
            accepted: AtomicU32::new(0),
        });
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let state = shared.clone();
                state.accepted.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || state.serve(client.expect("a client")));
            }
        });
        Proxy { folder, state }
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.folder.path().join("proxy.sock").display())
    }

    /// From now on new connections lead to another server. Open ones stay where they are.
    pub fn lead_to(&self, server: PathBuf) {
        *self.state.server.lock().unwrap() = server;
    }

    /// Spoils the next requests, one after another. The requests after them pass.
    pub fn next(&self, faults: &[Fault]) {
        *self.state.faults.lock().unwrap() = faults.iter().cloned().collect();
    }

    /// How many faults are still to come.
    pub fn left(&self) -> usize {
        self.state.faults.lock().unwrap().len()
    }

    /// How many connections were opened so far.
    pub fn accepted(&self) -> u32 {
        self.state.accepted.load(Ordering::Relaxed)
    }
}

fn kill(pid: &AtomicI32) -> io::Result<()> {
    use nix::sys::signal::{Signal, kill};
    kill(nix::unistd::Pid::from_raw(pid.load(Ordering::SeqCst)), Signal::SIGKILL)?;
    Ok(())
}

/// Where the first value of the protocol ends, if all of it has come.
fn end_of_value(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..line - 2]).ok()?.parse::<i64>().ok();
    match bytes[0] {
        b'$' => match usize::try_from(number()?) {
            Ok(length) => Some(line + length + 2).filter(|end| *end <= bytes.len()),
            Err(_) => Some(line),
        },
        b'*' => (0..number()?).try_fold(line, |at, _| Some(at + end_of_value(&bytes[at..])?)),
        _ => Some(line),
    }
}

/// How many values these are, if all of the last one has come.
fn count(mut bytes: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !bytes.is_empty() {
        bytes = &bytes[end_of_value(bytes)?..];
        count += 1;
    }
    Some(count)
}

/// Reads this number of values, or more. A server may write a value in several pieces, as Redis 6.2 does.
fn read(stream: &mut UnixStream, values: usize) -> io::Result<Vec<u8>> {
    let (mut buffer, mut bytes) = ([0; 1 << 14], Vec::new());
    while count(&bytes).is_none_or(|count| count < values) {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => bytes.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(bytes)
}

impl State {
    /// Whatever comes at once is one request, even if it has several commands.
    fn serve(&self, mut client: UnixStream) -> io::Result<()> {
        let path = self.server.lock().unwrap().clone();
        let mut server = UnixStream::connect(path)?;
        loop {
            let request = read(&mut client, 1)?;
            let fault = self.faults.lock().unwrap().pop_front().unwrap_or(Fault::Pass);
            match fault {
                Fault::Silence => continue,
                Fault::KillBefore(pid) => return kill(&pid),
                Fault::Answer(bytes) => {
                    client.write_all(&bytes.repeat(count(&request).expect("whole commands")))?;
                    continue;
                }
                Fault::ReplyOfAnother => {
                    client.write_all(&self.last_reply.lock().unwrap())?;
                    server.write_all(&request)?;
                }
                _ => server.write_all(&request)?,
            }
            let reply = read(&mut server, count(&request).expect("whole commands"))?;
            match fault {
                Fault::LoseReply => return Ok(()),
                Fault::KillAfter(pid) => return kill(&pid),
                Fault::HalfReply => return client.write_all(&reply[..reply.len() / 2]),
                Fault::HalfReplyThenSilence => client.write_all(&reply[..reply.len() / 2])?,
                Fault::Trickle(pause) => {
                    for byte in &reply {
                        client.write_all(&[*byte])?;
                        thread::sleep(pause);
                    }
                }
                Fault::Hold(barrier) => {
                    barrier.wait();
                    client.write_all(&reply)?;
                }
                _ => client.write_all(&reply)?,
            }
            *self.last_reply.lock().unwrap() = reply;
        }
    }
}
