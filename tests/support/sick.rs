//! A server in the place of Redis that misbehaves on purpose, byte by byte.

use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;

/// What the server does with a connection.
#[derive(Clone, Debug)]
pub enum Act {
    Say(Vec<u8>),
    /// Sends these bytes over and over, without end.
    Endless(Vec<u8>),
    /// Sends these bytes one by one, with this pause before each.
    Trickle(Vec<u8>, Duration),
    Wait(Duration),
    /// Waits until this is set.
    Hold(Arc<AtomicBool>),
    /// Reads this number of bytes.
    Read(usize),
    /// Reads this number of bytes after each pause, without end.
    ReadSlowly(usize, Duration),
    /// Neither reads nor writes any more.
    Freeze,
    Close,
    /// Closes with an RST (TCP only).
    Reset,
}

/// A request as the server read it: one command, or the several commands of a load.
pub struct Request {
    commands: Vec<Vec<Vec<u8>>>,
}

impl Request {
    /// Reads all commands that have come together.
    fn read<R: io::Read>(reader: &mut BufReader<R>) -> io::Result<Request> {
        let mut commands = vec![command(reader)?];
        while !reader.buffer().is_empty() {
            commands.push(command(reader)?);
        }
        Ok(Request { commands })
    }

    /// The name of the first command.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.commands[0][0]).into_owned()
    }

    /// How many replies the client waits for.
    pub fn replies(&self) -> usize {
        self.commands.len()
    }

    /// The key of the record. For scripts this is the second key, after that of the generation.
    pub fn key(&self) -> String {
        let at = if self.name() == "HGETALL" { 1 } else { 4 };
        String::from_utf8_lossy(&self.commands[0][at]).into_owned()
    }

    pub fn nonce(&self) -> &[u8] {
        let last = self.commands.last().expect("a request has a command");
        match &*last[0] {
            b"PING" | b"ECHO" => &last[1],
            _ => {
                let keys: usize = String::from_utf8_lossy(&last[2]).parse().expect("the number of keys");
                &last[3 + keys]
            }
        }
    }

    /// The reply of a healthy server. Calls of one session get a record whose only value is its own key.
    pub fn right_reply(&self) -> Vec<u8> {
        match &*self.name() {
            "AUTH" => b"+OK\r\n".to_vec(),
            "HELLO" | "INFO" => b"-ERR unknown command\r\n".to_vec(),
            "PING" => bulk(self.nonce()),
            "HGETALL" => self.load_reply(&array(&[vec![bulk(b"s"), bulk(&state(DAY, DAY))], self.value()].concat())),
            _ => record(self.nonce(), &self.value()),
        }
    }

    /// The replies to a load: the fields of the record, and what belongs to them.
    pub fn load_reply(&self, fields: &[u8]) -> Vec<u8> {
        let time = array(&[bulk((NOW / 1000).to_string().as_bytes()), bulk(b"0")]);
        [fields, &*time, &*bulk(&packed(&[(7, 1)])), &*bulk(self.nonce())].concat()
    }

    fn value(&self) -> Vec<Vec<u8>> {
        vec![bulk(b":key"), bulk(format!("{:?}", self.key()).as_bytes())]
    }
}

fn command(reader: &mut impl BufRead) -> io::Result<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    for _ in 0..length(reader, b'*')? {
        let mut word = vec![0; length(reader, b'$')? + 2];
        reader.read_exact(&mut word)?;
        word.truncate(word.len() - 2);
        words.push(word);
    }
    Ok(words)
}

fn length(reader: &mut impl BufRead, kind: u8) -> io::Result<usize> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let number = line.strip_prefix(char::from(kind)).and_then(|rest| rest.trim_end().parse().ok());
    number.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A string in RESP.
pub fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// An array in RESP.
pub fn array(parts: &[Vec<u8>]) -> Vec<u8> {
    [format!("*{}\r\n", parts.len()).into_bytes(), parts.concat()].concat()
}

/// The time of this server, and a day, in milliseconds.
const NOW: u64 = 1_700_000_000_000;
const DAY: u64 = 86_400_000;

/// Packs numbers, each into so many bytes, as the scripts do it.
pub fn packed(numbers: &[(usize, u64)]) -> Vec<u8> {
    numbers.iter().flat_map(|(bytes, number)| number.to_be_bytes()[8 - bytes..].to_vec()).collect()
}

/// A packed state (see state.lua): it expires after `left`, and has this idle timeout.
pub fn state(left: u64, idle_timeout: u64) -> Vec<u8> {
    let life = [(6, NOW), (6, NOW), (6, NOW + left), (6, 0), (6, idle_timeout)];
    [packed(&[(5, 1), (1, 0), (3, 1), (4, 10)]), packed(&life), packed(&[(7, 1)]), b"nonce678".to_vec()].concat()
}

/// The reply of a script with a record. `fields` are its fields and values by turns, in RESP.
pub fn record(nonce: &[u8], fields: &[Vec<u8>]) -> Vec<u8> {
    let info = packed(&[(5, 1), (6, NOW), (6, 0), (6, NOW), (6, 0), (6, DAY), (6, NOW + DAY), (6, NOW)]);
    array(&[bulk(nonce), bulk(b"ok"), bulk(&info), array(fields)])
}

type Answer = Arc<dyn Fn(&Request) -> Vec<Act> + Send + Sync>;

/// The server. When it is dropped, it ends with all its connections and threads.
pub struct Sick {
    url: String,
    listener: Arc<Socket>,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    _folder: TempDir,
}

struct Shared {
    at_connect: Mutex<Vec<Act>>,
    answer: Mutex<Answer>,
    accepted: AtomicU32,
    served: Mutex<Vec<(Weak<Socket>, JoinHandle<()>)>>,
    stopped: Mutex<bool>,
    stop: Condvar,
}

impl Sick {
    /// Starts one on a unix socket. It is healthy at first.
    pub fn unix() -> Sick {
        Sick::start(Domain::UNIX, 128, true)
    }

    /// Starts one on a TCP port of this machine.
    pub fn tcp() -> Sick {
        Sick::start(Domain::IPV4, 128, true)
    }

    /// Starts a server that accepts no connections. Its queue is full with the connections that it gives.
    pub fn full(domain: Domain) -> (Sick, Vec<Socket>) {
        let sick = Sick::start(domain, 0, false);
        let address = sick.listener.local_addr().expect("a bound socket");
        let waiting = std::iter::from_fn(|| {
            let socket = Socket::new(domain, Type::STREAM, None).expect("a socket");
            if domain == Domain::UNIX {
                socket.set_nonblocking(true).expect("a socket");
                return socket.connect(&address).ok().map(|()| socket);
            }
            socket.connect_timeout(&address, Duration::from_millis(50)).ok().map(|()| socket)
        });
        let waiting = waiting.collect();
        (sick, waiting)
    }

    fn start(domain: Domain, backlog: i32, accept: bool) -> Sick {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("sick.sock");
        let listener = Socket::new(domain, Type::STREAM, None).expect("a socket");
        let address = match domain {
            Domain::UNIX => SockAddr::unix(&path).expect("a short path"),
            _ => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into(),
        };
        listener.bind(&address).expect("a free address");
        listener.listen(backlog).expect("a bound socket");
        let url = match listener.local_addr().expect("a bound socket").as_socket() {
            Some(address) => format!("redis://{address}"),
            None => format!("redis+unix://{}", path.display()),
        };
        let shared = Arc::new(Shared {
            at_connect: Mutex::default(),
            answer: Mutex::new(Arc::new(|request| vec![Act::Say(request.right_reply())])),
            accepted: AtomicU32::new(0),
            served: Mutex::default(),
            stopped: Mutex::new(false),
            stop: Condvar::new(),
        });
        let listener = Arc::new(listener);
        let accepting = accept.then(|| {
            let (listener, shared) = (listener.clone(), shared.clone());
            thread::spawn(move || {
                while let Ok((client, _)) = listener.accept() {
                    shared.accepted.fetch_add(1, Ordering::SeqCst);
                    let client = Arc::new(client);
                    let (weak, server) = (Arc::downgrade(&client), shared.clone());
                    let thread = thread::spawn(move || drop(server.serve(&client)));
                    shared.served.lock().unwrap().push((weak, thread));
                }
            })
        });
        Sick { url, listener, shared, accepting, _folder: folder }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sets what it does with every new connection before it reads.
    pub fn at_connect(&self, acts: &[Act]) {
        *self.shared.at_connect.lock().unwrap() = acts.to_vec();
    }

    /// Sets what it does with every request.
    pub fn answer(&self, answer: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static) {
        *self.shared.answer.lock().unwrap() = Arc::new(answer);
    }

    pub fn be_healthy(&self) {
        self.at_connect(&[]);
        self.answer(|request| vec![Act::Say(request.right_reply())]);
    }

    /// How many connections were opened so far.
    pub fn accepted(&self) -> u32 {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Sick {
    fn drop(&mut self) {
        *self.shared.stopped.lock().unwrap() = true;
        self.shared.stop.notify_all();
        let _ = self.listener.shutdown(Shutdown::Both);
        self.accepting.take().map(JoinHandle::join);
        for (socket, thread) in self.shared.served.lock().unwrap().drain(..) {
            if let Some(socket) = socket.upgrade() {
                let _ = socket.shutdown(Shutdown::Both);
            }
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, socket: &Socket) -> io::Result<()> {
        let at_connect = self.at_connect.lock().unwrap().clone();
        self.perform(socket, at_connect)?;
        let mut reader = BufReader::new(socket);
        loop {
            let request = Request::read(&mut reader)?;
            let answer = self.answer.lock().unwrap().clone();
            self.perform(socket, answer(&request))?;
        }
    }

    fn perform(&self, mut socket: &Socket, acts: Vec<Act>) -> io::Result<()> {
        for act in acts {
            match act {
                Act::Say(bytes) => socket.write_all(&bytes)?,
                Act::Endless(bytes) => {
                    let many = bytes.repeat((1 << 16) / bytes.len());
                    loop {
                        socket.write_all(&many)?;
                    }
                }
                Act::Trickle(bytes, pause) => {
                    for byte in bytes {
                        self.wait(pause)?;
                        socket.write_all(&[byte])?;
                    }
                }
                Act::Wait(time) => self.wait(time)?,
                Act::Hold(until) => {
                    while !until.load(Ordering::SeqCst) {
                        self.wait(Duration::from_millis(1))?;
                    }
                }
                Act::Read(bytes) => socket.read_exact(&mut vec![0; bytes])?,
                Act::ReadSlowly(bytes, pause) => loop {
                    self.wait(pause)?;
                    socket.read_exact(&mut vec![0; bytes])?;
                },
                Act::Freeze => self.wait(Duration::MAX)?,
                Act::Close => {
                    socket.shutdown(Shutdown::Both)?;
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                Act::Reset => {
                    socket.set_linger(Some(Duration::ZERO))?;
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            }
        }
        Ok(())
    }

    /// Waits. Returns an error if the server is stopped in the meantime.
    fn wait(&self, time: Duration) -> io::Result<()> {
        let stopped = self.stopped.lock().unwrap();
        let (stopped, _) = self.stop.wait_timeout_while(stopped, time, |stopped| !*stopped).unwrap();
        if *stopped { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}
