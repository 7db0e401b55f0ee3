//! A connection to a node, logged in.

use crate::deadline::Deadline;
use crate::store::redis::wire::commands::Commands;
use crate::store::redis::wire::failure::Failure;
use crate::store::redis::wire::node_url::NodeUrl;
use crate::store::redis::wire::socket::TimedSocket;
use redis::{Cmd, ConnectionAddr, Parser, Value, cmd};
use std::io::{self, Write};

/// A connection to a node, on which each request ends by its deadline.
///
/// The `redis` crate has a connection too, but its timeout holds for each read alone: a reply that comes byte by byte
/// could delay a call without end. Here each read gets only the time that is left until the deadline.
pub(crate) struct Connection {
    socket: TimedSocket,
    /// The state of TLS. Two processes must never use it: they would encrypt with the same nonces.
    #[cfg(feature = "tls")]
    tls: Option<Box<rustls::ClientConnection>>,
    parser: Parser,
    /// Whether `ASKING` is sent before each request. It is needed after an `ASK` redirection from another node.
    pub(crate) asking: bool,
}

impl Connection {
    /// Connects to a node and logs in.
    pub(crate) fn open(url: &NodeUrl, deadline: Deadline) -> Result<Connection, Failure> {
        #[cfg_attr(not(feature = "tls"), expect(unused_mut))]
        let mut socket = match url.addr() {
            ConnectionAddr::Tcp(host, port) => TimedSocket::tcp(host, *port, deadline)?,
            ConnectionAddr::Unix(path) => TimedSocket::unix(path, deadline)?,
            _ => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        };
        #[cfg(feature = "tls")]
        let tls = match (url.addr(), url.tls()) {
            (ConnectionAddr::Tcp(host, _), Some(tls)) => Some(Box::new(tls.handshake(host, socket.until(deadline))?)),
            _ => None,
        };
        let mut connection = Connection {
            socket,
            #[cfg(feature = "tls")]
            tls,
            parser: Parser::new(),
            asking: false,
        };
        let login = url.login();
        let login: Commands = login.iter().collect();
        connection.send(&login.packed, deadline)?;
        for _ in 0..login.count {
            connection.receive(deadline)?;
        }
        Ok(connection)
    }

    /// Sends a command and gives the reply.
    ///
    /// After a [`Failure::Connection`] the connection must not be used again: the reply may still come.
    pub(crate) fn request(&mut self, command: &Cmd, deadline: Deadline) -> Result<Value, Failure> {
        if deadline.has_passed() {
            return Err(Failure::TooLate);
        }
        let mut packed = command.get_packed_command();
        if self.asking {
            packed.splice(..0, cmd("ASKING").get_packed_command());
        }
        self.send(&packed, deadline)?;
        if self.asking {
            match self.receive(deadline) {
                Ok(_) => {}
                Err(failure @ Failure::Connection(_)) => return Err(failure),
                // The reply to the command itself is not read, so the connection cannot be used again.
                Err(_) => return Err(Failure::not_ours("ASKING was refused")),
            }
        }
        self.receive(deadline)
    }

    /// Sends several commands at once, and gives the reply to each of them.
    pub(crate) fn request_all(
        &mut self,
        commands: &Commands,
        deadline: Deadline,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        if deadline.has_passed() {
            return Err(Failure::TooLate);
        }
        self.send(&commands.packed, deadline)?;
        let mut replies = Vec::with_capacity(commands.count);
        for _ in 0..commands.count {
            match self.receive(deadline) {
                Err(failure @ Failure::Connection(_)) => return Err(failure),
                reply => replies.push(reply),
            }
        }
        Ok(replies)
    }

    fn send(&mut self, bytes: &[u8], deadline: Deadline) -> io::Result<()> {
        let mut socket = self.socket.until(deadline);
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            let mut stream = rustls::Stream::new(&mut **tls, &mut socket);
            stream.write_all(bytes)?;
            return stream.flush();
        }
        socket.write_all(bytes)
    }

    fn receive(&mut self, deadline: Deadline) -> Result<Value, Failure> {
        loop {
            match self.parse(deadline)? {
                // With RESP3, Redis may push messages that are not replies.
                Value::Push { .. } => {}
                Value::ServerError(error) => return Err(Failure::replied(&error)),
                value => return Ok(value),
            }
        }
    }

    fn parse(&mut self, deadline: Deadline) -> Result<Value, Failure> {
        #[cfg_attr(not(feature = "tls"), expect(unused_mut))]
        let mut socket = self.socket.until(deadline);
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return Ok(self.parser.parse_value(rustls::Stream::new(&mut **tls, &mut socket))?);
        }
        Ok(self.parser.parse_value(socket)?)
    }
}
