//! A server without any framework: a `TcpListener`, a few threads, and the `Cookie` header as bytes.
//!
//! ```text
//! export SESSION_SECRET="$(openssl rand -base64 48)"
//! cargo run -p examples --bin tcp_listener
//! curl -b jar -c jar http://127.0.0.1:8080/
//! curl -b jar -c jar -X POST http://127.0.0.1:8080/forget
//! ```
//!
//! `--listen ADDRESS:PORT` takes another address. The file `sessions.db`, in the folder where this runs, keeps the
//! sessions. This much HTTP is enough behind a reverse proxy, not on the open internet.

use multi_process_session::{Error, Secret, SessionManager, SqliteStore};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;
use std::{env, thread};

/// How many requests are answered at a time.
const THREADS: usize = 8;
/// How long a read or a write may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The length of the longest request that is read, in bytes.
const LONGEST: u64 = 16 * 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = SessionManager::builder(Secret::from_env("SESSION_SECRET")?)
        .store(SqliteStore::new("sessions.db"))
        .secure(false) // For development over plain http. Leave this out behind https.
        .build()?;
    let listen = env::args().skip_while(|argument| argument != "--listen").nth(1);
    let listener = TcpListener::bind(listen.as_deref().unwrap_or("127.0.0.1:8080"))?;
    println!("http://{} with {THREADS} threads, sessions in sessions.db", listener.local_addr()?);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| answer_requests(&listener, &manager));
        }
    });
    Ok(())
}

fn answer_requests(listener: &TcpListener, manager: &SessionManager) {
    for connection in listener.incoming() {
        // Too many files may be open, say. Then a pause keeps the thread from being busy.
        let Ok(connection) = connection else {
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        let _ = serve(manager, &connection); // Fails if the client has gone, or is too slow.
    }
}

fn serve(manager: &SessionManager, connection: &TcpStream) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let response = match read_request(BufReader::new(connection.take(LONGEST)))? {
        Some(request) => page(manager, &request).unwrap_or_else(|error| {
            eprintln!("tcp_listener: {error}");
            Response::new(error.http_status(), "please try again soon\n")
        }),
        None => Response::new(400, "this is not a request, or it is too long\n"),
    };
    write_response(connection, &response)?;
    // If a connection is closed before its request has come as a whole, the client may lose the response.
    connection.shutdown(Shutdown::Write)?;
    io::copy(&mut connection.take(LONGEST), &mut io::sink())?;
    Ok(())
}

// ---- The pages ----

fn page(manager: &SessionManager, request: &Request) -> Result<Response, Error> {
    let mut session = manager.load(&request.cookies)?;
    let mut response = match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/") => {
            session.increment("visits", 1)?;
            Response::new(200, format!("{} visits\n", session.get::<u64>("visits")?.unwrap_or(0)))
        }
        ("POST", "/forget") => {
            let mut response = Response::new(200, "your visits are forgotten\n");
            manager.destroy(&request.cookies)?.add_to(&mut response.headers);
            return Ok(response);
        }
        _ => Response::new(404, "no such page\n"),
    };
    session.save_into(&mut response.headers)?;
    Ok(response)
}

// ---- HTTP ----

struct Request {
    method: String,
    path: String,
    /// The values of all `Cookie` headers. They need not be UTF-8.
    cookies: Vec<Vec<u8>>,
}

struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Response {
    fn new(status: u16, body: impl Into<String>) -> Response {
        Response { status, headers: Vec::new(), body: body.into() }
    }
}

/// Reads a request up to the empty line before its body. Returns `None` if this is not a request.
fn read_request(mut reader: impl BufRead) -> io::Result<Option<Request>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    let start = String::from_utf8_lossy(&line);
    let mut words = start.split_ascii_whitespace().map(str::to_owned);
    let (Some(method), Some(path), Some(_version)) = (words.next(), words.next(), words.next()) else {
        return Ok(None);
    };
    let mut request = Request { method, path, cookies: Vec::new() };
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Ok(None);
        }
        let header = line.trim_ascii();
        if header.is_empty() {
            return Ok(Some(request));
        }
        let colon = header.iter().position(|byte| *byte == b':').unwrap_or(header.len());
        if header[..colon].eq_ignore_ascii_case(b"cookie") {
            request.cookies.push(header[colon + 1..].to_vec());
        }
    }
}

fn write_response(mut connection: &TcpStream, response: &Response) -> io::Result<()> {
    let Response { status, headers, body } = response;
    let mut text = format!("HTTP/1.1 {status} \r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    // Every page is made for one visitor, also those without a new cookie.
    text += "Cache-Control: no-store\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";
    connection.write_all((text + body).as_bytes())
}
