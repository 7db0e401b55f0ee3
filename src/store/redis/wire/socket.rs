//! A socket whose every read and write ends by a deadline.

use crate::deadline::Deadline;
use crate::process::Process;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

/// Writing to a connection that was closed is an error, and no signal that ends the process.
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: libc::c_int = libc::MSG_NOSIGNAL;
/// There `socket2` sets an option of the socket instead.
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: libc::c_int = 0;

const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// How much is written at once. On unix sockets the timeout begins anew with every piece the kernel takes, so that one
/// large write to a slow reader would go on past any deadline.
const MOST_AT_ONCE: usize = 64 * 1024;

pub(crate) struct TimedSocket {
    socket: Socket,
    process: Process,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

impl TimedSocket {
    pub(crate) fn tcp(host: &str, port: u16, deadline: Deadline) -> io::Result<TimedSocket> {
        connect_tcp(host, port, deadline).map(TimedSocket::new)
    }

    pub(crate) fn unix(path: &Path, deadline: Deadline) -> io::Result<TimedSocket> {
        connect_unix(path, deadline).map(TimedSocket::new)
    }

    fn new(socket: Socket) -> TimedSocket {
        let [read_timeout, write_timeout] = [Timeout::default(); 2];
        TimedSocket { socket, process: Process::this(), read_timeout, write_timeout }
    }

    pub(crate) fn until(&mut self, deadline: Deadline) -> Until<'_> {
        Until { socket: self, deadline }
    }
}

/// A forked child may hold a copy of the socket that it never looks at: closing ours would not end the connection.
///
/// Nothing is written, TLS's `close_notify` neither: it could wait, and replies say by themselves where they end.
impl Drop for TimedSocket {
    fn drop(&mut self) {
        if self.process.is_this() {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }
}

/// Reads and writes until a deadline: each time with what is left of it, so that no trickle goes on for longer.
pub(crate) struct Until<'a> {
    socket: &'a mut TimedSocket,
    deadline: Deadline,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let TimedSocket { socket, read_timeout, .. } = &mut *self.socket;
            read_timeout.reach(self.deadline, |timeout| socket.set_read_timeout(timeout))?;
            match socket.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done.map_err(timed_out),
            }
        }
    }
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let TimedSocket { socket, write_timeout, .. } = &mut *self.socket;
            write_timeout.reach(self.deadline, |timeout| socket.set_write_timeout(timeout))?;
            match socket.send_with_flags(&bytes[..bytes.len().min(MOST_AT_ONCE)], NO_SIGNAL) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done.map_err(timed_out),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket's timeout calls itself `WouldBlock`, which TLS and parsers take for "not yet".
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// A timeout of the socket as it was last set.
#[derive(Clone, Copy, Default)]
struct Timeout(Duration);

impl Timeout {
    /// Sets it to what is left until the deadline, if it is not near enough to that already: too long by a sixteenth at
    /// most (and the kernel may add an eighth), never too short. So a connection that is used at ease is spared the
    /// system calls.
    fn reach(&mut self, deadline: Deadline, set: impl FnOnce(Option<Duration>) -> io::Result<()>) -> io::Result<()> {
        let left = left(deadline)?;
        if self.0 < left || self.0 > (left + left / 16).max(SHORTEST_TIMEOUT) {
            // What rounds down to nothing would be no timeout at all.
            self.0 = (left + left / 32).max(SHORTEST_TIMEOUT);
            set(Some(self.0))?;
        }
        Ok(())
    }
}

/// What is left until the deadline; `TimedOut` if nothing is.
pub(crate) fn left(deadline: Deadline) -> io::Result<Duration> {
    match deadline.left() {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

fn connect_tcp(host: &str, port: u16, deadline: Deadline) -> io::Result<Socket> {
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
fn connect_unix(path: &Path, deadline: Deadline) -> io::Result<Socket> {
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
