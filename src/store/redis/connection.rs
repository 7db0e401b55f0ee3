//! One connection to Redis whose every read and write ends by a deadline.

use super::failure::Failure;
use redis::{Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Parser, Value, cmd};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process;
use std::time::{Duration, Instant};

/// Writing to a connection that was closed is an error, and no signal that ends the process.
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: libc::c_int = libc::MSG_NOSIGNAL;
/// There `socket2` sets an option of the socket instead.
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: libc::c_int = 0;

/// Where a Redis is, and how to log in there.
pub(super) struct Address {
    info: ConnectionInfo,
}

impl Address {
    /// From a `redis://` or `redis+unix://` URL; `None` if it cannot be read.
    pub(super) fn parse(url: &str) -> Option<Address> {
        let info = url.into_connection_info().ok()?;
        let reachable = match info.addr() {
            ConnectionAddr::Tcp(host, port) => !host.is_empty() && *port != 0,
            ConnectionAddr::Unix(path) => SockAddr::unix(path).is_ok(),
            _ => false,
        };
        (reachable && info.redis_settings().db() >= 0).then_some(Address { info })
    }

    /// What a new connection has to say first.
    fn greeting(&self) -> Vec<Cmd> {
        let settings = self.info.redis_settings();
        let mut greeting = Vec::new();
        let login = settings.password().map(|password| (settings.username(), password));
        if settings.protocol().supports_resp3() {
            let mut hello = cmd("HELLO");
            hello.arg(3);
            if let Some((user, password)) = login {
                hello.arg("AUTH").arg(user.unwrap_or("default")).arg(password);
            }
            greeting.push(hello);
        } else if let Some((user, password)) = login {
            let mut auth = cmd("AUTH");
            auth.arg(user).arg(password);
            greeting.push(auth);
        }
        if settings.db() != 0 {
            let mut select = cmd("SELECT");
            select.arg(settings.db());
            greeting.push(select);
        }
        greeting
    }
}

/// Without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.info.addr() {
            ConnectionAddr::Unix(path) => write!(f, "redis+unix://{}", path.display()),
            address => write!(f, "redis://{address}"),
        }
    }
}

/// A connection. The `redis` crate's own sets a timeout for each read, so that a reply that trickles in would hold a
/// call up for as long as it likes; this one gives each read what is left of the deadline.
pub(super) struct Connection {
    socket: Socket,
    parser: Parser,
    process: u32,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// A timeout of the socket as it was last set.
#[derive(Clone, Copy, Default)]
struct Timeout(Duration);

impl Timeout {
    /// Sets it to what is left until the deadline, if it is not near enough to that already: too long by an eighth at
    /// most, never too short. So a connection that is used at ease is spared the system calls.
    fn reach(&mut self, deadline: Instant, set: impl FnOnce(Option<Duration>) -> io::Result<()>) -> io::Result<()> {
        let left = left(deadline)?;
        if self.0 < left || self.0 > (left + left / 8).max(SHORTEST_TIMEOUT) {
            // What rounds down to nothing would be no timeout at all.
            self.0 = (left + left / 16).max(SHORTEST_TIMEOUT);
            set(Some(self.0))?;
        }
        Ok(())
    }
}

impl Connection {
    pub(super) fn open(address: &Address, deadline: Instant) -> Result<Connection, Failure> {
        let socket = match address.info.addr() {
            ConnectionAddr::Tcp(host, port) => connect_tcp(host, *port, deadline)?,
            ConnectionAddr::Unix(path) => connect_unix(path, deadline)?,
            _ => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        };
        let mut connection = Connection {
            socket,
            parser: Parser::new(),
            process: process::id(),
            read_timeout: Timeout::default(),
            write_timeout: Timeout::default(),
        };
        let greeting = address.greeting();
        let packed: Vec<u8> = greeting.iter().flat_map(Cmd::get_packed_command).collect();
        connection.send(&packed, deadline)?;
        for _ in greeting {
            connection.receive(deadline)?;
        }
        Ok(connection)
    }

    /// Sends a command and gives the reply. After a fault the connection must not be used again: its reply may come yet.
    pub(super) fn request(&mut self, command: &Cmd, deadline: Instant) -> Result<Value, Failure> {
        left(deadline).map_err(|_| Failure::TooLate)?;
        self.send(&command.get_packed_command(), deadline)?;
        self.receive(deadline)
    }

    fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), Failure> {
        while !bytes.is_empty() {
            self.write_timeout.reach(deadline, |timeout| self.socket.set_write_timeout(timeout))?;
            match self.socket.send_with_flags(bytes, NO_SIGNAL) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, deadline: Instant) -> Result<Value, Failure> {
        loop {
            let until = Until { socket: &self.socket, timeout: &mut self.read_timeout, deadline };
            match self.parser.parse_value(until)? {
                // RESP3 may push what nobody asked for.
                Value::Push { .. } => {}
                Value::ServerError(error) => return Err(Failure::refused(&error)),
                value => return Ok(value),
            }
        }
    }
}

/// A forked child may hold a copy of the socket that it never looks at: closing ours would not end the connection.
impl Drop for Connection {
    fn drop(&mut self) {
        if self.process == process::id() {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }
}

/// Reads until a deadline.
struct Until<'a> {
    socket: &'a Socket,
    timeout: &'a mut Timeout,
    deadline: Instant,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.timeout.reach(self.deadline, |timeout| self.socket.set_read_timeout(timeout))?;
            match self.socket.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

/// What is left until the deadline; `TimedOut` if nothing is.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

fn connect_tcp(host: &str, port: u16, deadline: Instant) -> io::Result<Socket> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    for (tried, address) in addresses.iter().enumerate() {
        let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
        // Each has its share of the time, so that one that is silent does not hide the next.
        let share = left(deadline)? / (addresses.len() - tried) as u32;
        match socket.connect_timeout(&(*address).into(), share) {
            Ok(()) => {
                socket.set_tcp_nodelay(true)?;
                socket.set_keepalive(true)?;
                return Ok(socket);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Waits while the server's queue is full, which `connect_timeout` does not do on unix sockets (connect(2), EAGAIN).
fn connect_unix(path: &Path, deadline: Instant) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    loop {
        socket.set_write_timeout(Some(left(deadline)?.max(SHORTEST_TIMEOUT)))?;
        match socket.connect(&address) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done.map(|()| socket),
        }
    }
}
