//! The part of HTTP that the comparison needs: GET, and answers with a Content-Length.

use std::io::{ErrorKind, Read, Write};
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

    /// Asks for a page, waits for an answer with status 200, and keeps its cookie. Returns the body.
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
            let length = match stream.read(&mut part) {
                Ok(0) => return Err(format!("{path}: the server has closed the connection")),
                Ok(length) => length,
                // A read with a timeout may end like this although no signal was handled.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(failure(error)),
            };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read_once_it_is_complete() {
        let text = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\nSet-Cookie: sid=x; Path=/\r\n\r\nok";
        for length in 0..text.len() {
            assert!(Response::parse(&text.as_bytes()[..length]).unwrap().is_none(), "{length}");
        }
        let response = Response::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!((response.status, response.body), (503, "ok"));
        assert_eq!(response.header("set-cookie"), Some("sid=x; Path=/"));
    }

    #[test]
    fn a_response_that_cannot_be_measured_is_an_error() {
        for text in ["SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"] {
            assert!(Response::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_cookie_is_kept_until_it_is_removed() {
        let answer =
            |set_cookie: &str| Answer { status: 200, body: String::new(), set_cookie: Some(set_cookie.to_owned()) };
        let mut browser = Browser::new(crate::server::free_address());
        for (set_cookie, cookie) in [
            ("sid=a; Path=/", Some("sid=a")),
            ("sid=b; Max-Age=3600", Some("sid=b")),
            ("sid=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", None),
            ("sid=c", Some("sid=c")),
            ("sid=c; Max-Age=0; Path=/", None),
        ] {
            browser.keep_cookie(&answer(set_cookie));
            assert_eq!(browser.cookie.as_deref(), cookie, "{set_cookie}");
        }
    }
}
