//! Small servers of the tests, each on a free port, that end when they are dropped.

use multi_process_session::{Error, SessionManager};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use tiny_http::{Header, Method, Request, Response};

/// The start page of a host that is on this port.
pub fn http(host: &str, port: u16) -> String {
    format!("http://{host}:{port}/")
}

pub fn https(host: &str, port: u16) -> String {
    format!("https://{host}:{port}/")
}

pub type Answer = Response<Cursor<Vec<u8>>>;

/// A server that speaks plain http.
pub struct Server {
    server: Arc<tiny_http::Server>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(mut answer: impl FnMut(&mut Request) -> Answer + Send + 'static) -> Server {
        let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").expect("a free port"));
        let requests = server.clone();
        let thread = thread::spawn(move || {
            while let Ok(mut request) = requests.recv() {
                let answer = answer(&mut request);
                let _ = request.respond(answer); // fails if the browser has gone
            }
        });
        Server { server, thread: Some(thread) }
    }

    /// Starts a server that shows the same page at every path.
    pub fn showing(html: impl Into<String>) -> Server {
        let html = html.into();
        Server::start(move |_| page(200, &html))
    }

    /// Starts a site that counts the visits of a session.
    ///
    /// The page shows the number in its heading, and has a form that changes something. At `/logout`, it ends the
    /// session.
    pub fn counting(manager: SessionManager) -> Server {
        Server::start(move |request| count(&manager, request).expect("the store works"))
    }

    pub fn port(&self) -> u16 {
        self.server.server_addr().to_ip().expect("it listens on TCP").port()
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.server.unblock();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

pub fn page(status: u16, body: &str) -> Answer {
    let html = Header::from_bytes("Content-Type", "text/html; charset=utf-8").expect("ASCII");
    let page = format!("<!doctype html><html lang=\"en\"><title>A page</title><link rel=icon href=\"data:,\">{body}");
    Response::from_string(page).with_status_code(status).with_header(html)
}

fn count(manager: &SessionManager, request: &mut Request) -> Result<Answer, Error> {
    if request.url() == "/logout" {
        let mut answer = page(200, "<h1>logged out</h1>");
        manager.destroy(&*request)?.add_to(&mut answer);
        return Ok(answer);
    }
    let mut session = manager.load(&*request)?;
    if *request.method() == Method::Post {
        let mut body = String::new();
        request.as_reader().read_to_string(&mut body).expect("a form");
        let token = form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "csrf_token");
        let known = if session.is_new() { "stranger" } else { "visitor" };
        return Ok(match session.verify_csrf(token.as_ref().map_or("", |(_, token)| token)) {
            true => page(200, &format!("<h1>changed by a {known}</h1>")),
            false => page(403, &format!("<h1>refused to a {known}</h1>")),
        });
    }
    session.increment("visits", 1)?;
    let set_cookie = session.save()?;
    let visits: i64 = session.get("visits")?.expect("it was counted");
    let form = format!("<form method=\"post\">{}<button>Change</button></form>", session.csrf_field());
    let mut answer = page(200, &format!("<h1>{visits}</h1>{form}"));
    if let Some(set_cookie) = set_cookie {
        set_cookie.add_to(&mut answer);
    }
    Ok(answer)
}

/// A proxy that speaks https, and plain http with the server behind it.
pub struct Https {
    port: u16,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Https {
    /// `server`: the address of the server, such as "127.0.0.1:8080".
    pub fn before(server: &str) -> Https {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (config, stopped) = (config(), Arc::new(AtomicBool::new(false)));
        let (is_stopped, server) = (stopped.clone(), server.to_owned());
        let thread = thread::spawn(move || {
            for client in listener.incoming().take_while(|_| !is_stopped.load(Ordering::SeqCst)) {
                let (config, server) = (config.clone(), server.clone());
                thread::spawn(move || pass_on(client?, config, &server));
            }
        });
        Https { port, stopped, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes the thread
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A certificate for some name, which the browser is told to believe for every name.
fn config() -> Arc<ServerConfig> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).expect("a key");
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    Arc::new(config.with_single_cert(vec![cert.der().clone()], key.into()).expect("the key fits"))
}

/// Passes one request on, and its answer back.
fn pass_on(client: TcpStream, config: Arc<ServerConfig>, server: &str) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut client = BufReader::new(StreamOwned::new(connection, client));
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if client.read_line(&mut line)? == 0 {
            return Ok(()); // The browser opens connections before it needs them.
        }
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if name == "content-length" {
            length = line[name.len() + 1..].trim().parse().map_err(io::Error::other)?;
        }
        if line == "\r\n" {
            break;
        }
        if name != "connection" {
            head += &line;
        }
    }
    let mut server = TcpStream::connect(server)?;
    server.write_all(format!("{head}X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n").as_bytes())?;
    io::copy(&mut (&mut client).take(length), &mut server)?;
    let client = client.get_mut();
    io::copy(&mut server, client)?;
    client.conn.send_close_notify();
    client.flush()?;
    client.sock.shutdown(Shutdown::Write)
}
