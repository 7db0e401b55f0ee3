//! One connection to Redis, logged in.

use crate::deadline::Deadline;
use crate::store::redis::wire::address::Address;
use crate::store::redis::wire::failure::Failure;
use crate::store::redis::wire::socket::{TimedSocket, left};
use redis::{Cmd, ConnectionAddr, Parser, Value, cmd};
use std::io::{self, Write};

/// A connection. The `redis` crate's own sets a timeout for each read, so that a reply that trickles in would hold a
/// call up for as long as it likes; this one gives each read what is left of the deadline.
pub(crate) struct Connection {
    socket: TimedSocket,
    /// What is said on the socket, where that is TLS. It must never be said by two processes: what they write would be
    /// sealed with the same nonces.
    #[cfg(feature = "tls")]
    tls: Option<Box<rustls::ClientConnection>>,
    parser: Parser,
    /// Whether to say with each request that a node of a cluster sent us here with it.
    pub(crate) asking: bool,
}

impl Connection {
    pub(crate) fn open(address: &Address, deadline: Deadline) -> Result<Connection, Failure> {
        #[cfg_attr(not(feature = "tls"), expect(unused_mut))]
        let mut socket = match address.place() {
            ConnectionAddr::Tcp(host, port) => TimedSocket::tcp(host, *port, deadline)?,
            ConnectionAddr::Unix(path) => TimedSocket::unix(path, deadline)?,
            _ => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        };
        #[cfg(feature = "tls")]
        let tls = match (address.place(), address.tls()) {
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
        let greeting = address.greeting();
        let packed: Vec<u8> = greeting.iter().flat_map(Cmd::get_packed_command).collect();
        connection.send(&packed, deadline)?;
        for _ in greeting {
            connection.receive(deadline)?;
        }
        Ok(connection)
    }

    /// Sends a command and gives the reply. After a fault the connection must not be used again: its reply may come
    /// yet.
    pub(crate) fn request(&mut self, command: &Cmd, deadline: Deadline) -> Result<Value, Failure> {
        left(deadline).map_err(|_| Failure::TooLate)?;
        let mut packed = command.get_packed_command();
        if self.asking {
            packed.splice(..0, cmd("ASKING").get_packed_command());
        }
        self.send(&packed, deadline)?;
        if self.asking {
            match self.receive(deadline) {
                Ok(_) => {}
                Err(fault @ Failure::Connection(_)) => return Err(fault),
                // Whatever was wrong with that, another reply is still to come.
                Err(_) => return Err(Failure::not_ours("ASKING was refused")),
            }
        }
        self.receive(deadline)
    }

    /// Sends several commands at once, and gives the reply to each.
    pub(crate) fn request_all(
        &mut self,
        commands: &[Cmd],
        deadline: Deadline,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        left(deadline).map_err(|_| Failure::TooLate)?;
        let packed: Vec<u8> = commands.iter().flat_map(Cmd::get_packed_command).collect();
        self.send(&packed, deadline)?;
        let mut replies = Vec::with_capacity(commands.len());
        for _ in commands {
            match self.receive(deadline) {
                Err(fault @ Failure::Connection(_)) => return Err(fault),
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
                // RESP3 may push what nobody asked for.
                Value::Push { .. } => {}
                Value::ServerError(error) => return Err(Failure::refused(&error)),
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
