//! A socket on which each read and each write ends by a deadline.

use crate::deadline::Deadline;
use crate::process::Process;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

/// The flag with which a write to a closed connection gives an error. Without it, a signal would end the process.
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: libc::c_int = libc::MSG_NOSIGNAL;
/// On Apple's systems, `socket2` sets an option of the socket instead.
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: libc::c_int = 0;

const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// The most bytes in one write. On unix sockets, the timeout begins anew each time the kernel takes a part of the
/// bytes. So one large write to a slow reader could last longer than any deadline.
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

    /// Returns a stream that reads and writes until a deadline.
    pub(crate) fn until(&mut self, deadline: Deadline) -> DeadlineStream<'_> {
        DeadlineStream { socket: self, deadline }
    }
}

/// Shuts the connection down in the process that opened it. Closing the socket is not enough: a forked child may have a
/// copy of the socket, and the copy keeps the connection open. A child leaves the connection as it is, because the
/// connection belongs to the parent.
///
/// Nothing is written, not even TLS's `close_notify`, because a write could wait. A cut-off reply is noticed without
/// it.
impl Drop for TimedSocket {
    fn drop(&mut self) {
        if self.process.is_this() {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }
}

/// Reads and writes until a deadline. Each read and each write gets the time that is left as its timeout, so a reply
/// that comes byte by byte ends too.
pub(crate) struct DeadlineStream<'a> {
    socket: &'a mut TimedSocket,
    deadline: Deadline,
}

impl Read for DeadlineStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let TimedSocket { socket, read_timeout, .. } = &mut *self.socket;
            read_timeout.reach(self.deadline, |timeout| socket.set_read_timeout(timeout))?;
            match socket.read(buffer) {
                Err(error) if ends_too_early(&error) => {}
                done => return done,
            }
        }
    }
}

impl Write for DeadlineStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let TimedSocket { socket, write_timeout, .. } = &mut *self.socket;
            write_timeout.reach(self.deadline, |timeout| socket.set_write_timeout(timeout))?;
            match socket.send_with_flags(&bytes[..bytes.len().min(MOST_AT_ONCE)], NO_SIGNAL) {
                Err(error) if ends_too_early(&error) => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns whether the call may have ended before the deadline, and has to be made again: a signal came, or the timeout
/// of the socket was over, which gives `WouldBlock`. Once the deadline has passed, `Timeout::reach` gives an error.
fn ends_too_early(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

/// A timeout of the socket, as it was set last.
#[derive(Clone, Copy, Default)]
struct Timeout(Duration);

impl Timeout {
    /// Sets the timeout to about the time that is left, and never to more, because the kernel may add an eighth. If the
    /// timeout is already close to that, nothing is done, which saves most of the system calls.
    fn reach(&mut self, deadline: Deadline, set: impl FnOnce(Option<Duration>) -> io::Result<()>) -> io::Result<()> {
        let left = time_left(deadline)?;
        if self.0 < left - left / 16 || self.0 > left.max(SHORTEST_TIMEOUT) {
            // A timeout that rounds down to zero would never end.
            self.0 = (left - left / 32).max(SHORTEST_TIMEOUT);
            set(Some(self.0))?;
        }
        Ok(())
    }
}

/// Returns the time that is left, which is not zero. Once the deadline has passed, the error is `TimedOut`.
fn time_left(deadline: Deadline) -> io::Result<Duration> {
    match deadline.left() {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

fn connect_tcp(host: &str, port: u16, deadline: Deadline) -> io::Result<Socket> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let socket = connect_to_any(&addresses, deadline)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    Ok(socket)
}

/// Tries the addresses of a host, one after the other, until one accepts the connection.
///
/// An address that does not answer must not use up the time of those after it. So each try may take an even share of
/// the time that is left when it begins. With 3 addresses and 2 seconds, the first try may take 0.67 s. If it is
/// refused at once, the second may take 1 s. The last try may take all that is left.
fn connect_to_any(addresses: &[SocketAddr], deadline: Deadline) -> io::Result<Socket> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for (address, until) in addresses.iter().zip(deadline.shares(addresses.len())) {
        let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
        match socket.connect_timeout(&(*address).into(), time_left(until)?) {
            Ok(()) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Connects to a unix socket. Waits while the server's queue is full, which `connect_timeout` does not do there
/// (connect(2), EAGAIN).
fn connect_unix(path: &Path, deadline: Deadline) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    loop {
        socket.set_write_timeout(Some(time_left(deadline)?.max(SHORTEST_TIMEOUT)))?;
        match socket.connect(&address) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done.map(|()| socket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        silent.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        silent.listen(0).unwrap();
        let address = silent.local_addr().unwrap();
        // It does not answer once its queue is full.
        let _queue: Vec<Socket> = std::iter::from_fn(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.connect_timeout(&address, Duration::from_millis(50)).ok().map(|()| socket)
        })
        .collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addresses = [address.as_socket().unwrap(), listener.local_addr().unwrap()];
        let deadline = Deadline::after(Duration::from_secs(2));
        assert_eq!(connect_to_any(&addresses, deadline).unwrap().peer_addr().unwrap().as_socket(), Some(addresses[1]));
        let nobody = connect_to_any(&[], deadline).unwrap_err();
        assert_eq!(nobody.kind(), io::ErrorKind::NotFound);
    }
}
