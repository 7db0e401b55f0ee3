//! Requests and answers.

use std::io::Cursor;
use tiny_http::{Header, Request, Response};

/// An answer whose body is in memory.
pub type Answer = Response<Cursor<Vec<u8>>>;

/// Makes a header of ASCII text.
pub fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("all headers here are ASCII")
}

/// Gives a header of a request, or an empty text.
pub fn request_header<'r>(request: &'r Request, name: &'static str) -> &'r str {
    let header = request.headers().iter().find(|header| header.field.equiv(name));
    header.map_or("", |header| header.value.as_str())
}

/// Gives the URL of a request up to the question mark.
pub fn path(request: &Request) -> &str {
    request.url().split('?').next().unwrap_or_default()
}
