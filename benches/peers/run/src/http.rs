//! An HTTP client with one connection and one cookie.

use crate::server::Server;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub struct Client {
    connection: BufReader<TcpStream>,
    pub cookie: Option<String>,
}

pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Client {
    /// Connects, without a cookie.
    pub fn try_new(server: &Server) -> Option<Client> {
        let connection = TcpStream::connect(&server.address).ok()?;
        connection.set_nodelay(true).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(15))).ok()?;
        Some(Client { connection: BufReader::new(connection), cookie: None })
    }

    pub fn new(server: &Server, cookie: Option<String>) -> Client {
        let mut client = Client::try_new(server).expect("the server listens");
        client.cookie = cookie;
        client
    }

    /// Connects, and makes a session with a user.
    pub fn logged_in(server: &Server) -> Client {
        let mut client = Client::new(server, None);
        client.get("/write?key=user&value=ada");
        assert!(client.cookie.is_some(), "{} sets a cookie", server.peer.name);
        // The first request with a new cookie may confirm the session.
        client.get("/write?key=k&value=first");
        client
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.try_get(path).expect("an answer")
    }

    /// Makes a request, and keeps the cookie of the answer.
    pub fn try_get(&mut self, path: &str) -> std::io::Result<Answer> {
        let cookie = self.cookie.as_ref().map_or(String::new(), |cookie| format!("Cookie: {cookie}\r\n"));
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n");
        self.connection.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut status, mut length) = (String::new(), 0, 0);
        loop {
            line.clear();
            if self.connection.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else {
                match line.trim_end() {
                    "" => break,
                    first => status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0),
                }
                continue;
            };
            match &*name.to_ascii_lowercase() {
                "content-length" => length = value.trim().parse().expect("a length"),
                "set-cookie" => self.cookie = value.split(';').next().map(|pair| pair.trim().to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.connection.read_exact(&mut body)?;
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}
