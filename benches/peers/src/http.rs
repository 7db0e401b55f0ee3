//! The part of HTTP that the comparison needs: GET, and answers with a Content-Length.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub fn request(path: &str, cookie: Option<&str>) -> String {
    let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n")
}

pub struct Response<'a> {
    pub status: u16,
    head: &'a str,
    pub body: &'a str,
}

impl<'a> Response<'a> {
    /// Reads a response. `None` if it is not complete yet.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Response<'a>>, String> {
        let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let mut response = Response { status: status.ok_or("the answer is not HTTP")?, head, body };
        let length = response.header("content-length").and_then(|length| length.parse().ok());
        let length: usize = length.ok_or("the answer has no Content-Length")?;
        response.body = match body.get(..length) {
            Some(body) => body,
            None => return Ok(None),
        };
        Ok(Some(response))
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// An answer as a browser keeps it.
pub struct Answer {
    pub status: u16,
    pub body: String,
    set_cookie: Option<String>,
}

/// A browser that visits one site, with a new connection for each request.
#[derive(Clone)]
pub struct Browser {
    pub address: SocketAddr,
    /// Name and value.
    pub cookie: Option<String>,
}

impl Browser {
    pub fn new(address: SocketAddr) -> Browser {
        Browser { address, cookie: None }
    }

    /// Asks for a page, waits for an answer with status 200, and keeps its cookie. Gives the body.
    pub fn get(&mut self, path: &str) -> Result<String, String> {
        let answer = self.ask(path, Duration::from_secs(10))?;
        self.keep_cookie(&answer);
        if answer.status == 200 { Ok(answer.body) } else { Err(format!("{path}: {} {}", answer.status, answer.body)) }
    }

    /// Asks for a page, and waits at most this long for each part of the answer.
    pub fn ask(&self, path: &str, patience: Duration) -> Result<Answer, String> {
        let failure = |error: std::io::Error| format!("{path}: {error}");
        let mut stream = TcpStream::connect(self.address).map_err(failure)?;
        stream.set_read_timeout(Some(patience)).map_err(failure)?;
        stream.write_all(request(path, self.cookie.as_deref()).as_bytes()).map_err(failure)?;
        let mut bytes = Vec::new();
        loop {
            let mut part = [0; 4096];
            let length = stream.read(&mut part).map_err(failure)?;
            if length == 0 {
                return Err(format!("{path}: the server has closed the connection"));
            }
            bytes.extend(&part[..length]);
            if let Some(response) = Response::parse(&bytes)? {
                let set_cookie = response.header("set-cookie").map(str::to_owned);
                return Ok(Answer { status: response.status, body: response.body.to_owned(), set_cookie });
            }
        }
    }

    /// Keeps or removes the cookie, as the answer says.
    pub fn keep_cookie(&mut self, answer: &Answer) {
        if let Some(set_cookie) = &answer.set_cookie {
            let cookie = set_cookie.split(';').next().unwrap_or_default();
            let is_removal = cookie.ends_with('=') || set_cookie.to_ascii_lowercase().contains("max-age=0");
            self.cookie = (!is_removal).then(|| cookie.to_owned());
        }
    }
}
