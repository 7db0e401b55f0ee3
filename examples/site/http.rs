//! Requests and responses.

use std::io::Cursor;
use tiny_http::{Header, Request};

/// A response whose body is in memory.
pub type Response = tiny_http::Response<Cursor<Vec<u8>>>;

/// Makes a response of plain text.
pub fn text(status: u16, body: impl Into<String>) -> Response {
    // No cache may keep the page of one visitor for another.
    tiny_http::Response::from_string(body).with_status_code(status).with_header(header("Cache-Control", "no-store"))
}

/// Makes the response that carries a script.
pub fn script(code: &str) -> Response {
    text(200, code).with_header(header("Content-Type", "text/javascript; charset=utf-8"))
}

/// Makes a header of ASCII text.
pub fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("all headers here are ASCII")
}

/// Returns a header of a request, or an empty text.
pub fn request_header<'r>(request: &'r Request, name: &'static str) -> &'r str {
    let header = request.headers().iter().find(|header| header.field.equiv(name));
    header.map_or("", |header| header.value.as_str())
}

/// Returns the URL of a request up to the question mark.
pub fn path(request: &Request) -> &str {
    request.url().split('?').next().unwrap_or_default()
}
