//! Stands between the library and a Redis, and spoils what is said there.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// What becomes of one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing: the request and its reply pass.
    Pass,
    /// The request is carried out; instead of the reply the connection is closed.
    LoseReply,
    /// This process, which has made the request, is killed; the request goes nowhere.
    KillBefore(Arc<AtomicI32>),
    /// The request is carried out, and this process, which has made it, is killed.
    KillAfter(Arc<AtomicI32>),
    /// The request is carried out; half of the reply comes, and then the connection is closed.
    HalfReply,
    /// The request is carried out; half of the reply comes, and then nothing more.
    HalfReplyThenSilence,
    /// The request is carried out; the reply comes a byte at a time, with this pause after each.
    Trickle(Duration),
    /// The request is carried out; the reply comes when as many requests are held back as the barrier counts.
    Hold(Arc<Barrier>),
    /// The request goes nowhere, and nothing comes.
    Silence,
    /// The request goes nowhere; these bytes come.
    Answer(&'static [u8]),
    /// The request goes nowhere; what comes is the reply to the request before it.
    ReplyOfAnother,
}

/// A proxy on a unix socket.
pub struct Proxy {
    folder: TempDir,
    state: Arc<State>,
}

struct State {
    server: PathBuf,
    faults: Mutex<VecDeque<Fault>>,
    last_reply: Mutex<Vec<u8>>,
    accepted: AtomicU32,
}

impl Proxy {
    pub fn start(server: PathBuf) -> Proxy {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = UnixListener::bind(folder.path().join("proxy.sock")).expect("a socket");
        let state = Arc::new(State {
            server,
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

    /// What becomes of the next requests, one after the other. Those after them pass.
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

impl State {
    /// Commands are short here: one read is one request, or one reply.
    fn serve(&self, mut client: UnixStream) -> io::Result<()> {
        let mut server = UnixStream::connect(&self.server)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let length = client.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            let fault = self.faults.lock().unwrap().pop_front().unwrap_or(Fault::Pass);
            match fault {
                Fault::Silence => continue,
                Fault::KillBefore(pid) => return kill(&pid),
                Fault::Answer(bytes) => {
                    client.write_all(bytes)?;
                    continue;
                }
                Fault::ReplyOfAnother => {
                    client.write_all(&self.last_reply.lock().unwrap())?;
                    continue;
                }
                _ => server.write_all(&buffer[..length])?,
            }
            let length = server.read(&mut buffer)?;
            let reply = &buffer[..length];
            match fault {
                Fault::LoseReply => return Ok(()),
                Fault::KillAfter(pid) => return kill(&pid),
                Fault::HalfReply => return client.write_all(&reply[..length / 2]),
                Fault::HalfReplyThenSilence => client.write_all(&reply[..length / 2])?,
                Fault::Trickle(pause) => {
                    for byte in reply {
                        client.write_all(&[*byte])?;
                        thread::sleep(pause);
                    }
                }
                Fault::Hold(barrier) => {
                    barrier.wait();
                    client.write_all(reply)?;
                }
                _ => client.write_all(reply)?,
            }
            *self.last_reply.lock().unwrap() = reply.to_vec();
        }
    }
}
