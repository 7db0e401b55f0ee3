//! The load: 16 visitors, each with a session and a connection of its own that stays open.

use crate::http::{Browser, Response, request};
use crate::server::Server;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

pub const VISITORS: usize = 16;

#[derive(Clone, Copy)]
pub enum Route {
    /// No session.
    Bare,
    /// Reads a value.
    Read,
    /// Reads a value, and writes one more.
    Count,
}

impl Route {
    pub fn path(self) -> &'static str {
        match self {
            Route::Bare => "/bare",
            Route::Read => "/read",
            Route::Count => "/count",
        }
    }
}

pub struct Visitor {
    cookie: String,
    /// The value that the session has to have.
    count: u64,
}

impl Visitor {
    pub fn log_in(server: &Server) -> Result<Vec<Visitor>, String> {
        let log_in = |_| {
            let mut browser = Browser::new(server.address);
            browser.get("/login")?;
            // The first request that brings the cookie may cost more than later ones.
            browser.get("/read")?;
            Ok(Visitor { cookie: browser.cookie.ok_or("a login gave no cookie")?, count: 0 })
        };
        (0..VISITORS).map(log_in).collect()
    }

    pub fn browser(&self, server: &Server) -> Browser {
        Browser { address: server.address, cookie: Some(self.cookie.clone()) }
    }

    /// Whether this is the right answer to the visitor's next request.
    pub fn accepts(&mut self, route: Route, body: &str) -> bool {
        if let Route::Count = route {
            self.count += 1;
        }
        match route {
            Route::Bare => body == "ok",
            Route::Read | Route::Count => body.parse() == Ok(self.count),
        }
    }
}

/// Opens the visitors' connections. Each has had an answer before the next one opens: a tiny_http that gets many
/// connections at once may leave some of them waiting until others close.
pub fn open<'a>(server: &Server, route: Route, visitors: &'a mut [Visitor]) -> Result<Vec<Lane<'a>>, String> {
    visitors.iter_mut().map(|visitor| Lane::open(server, route, visitor)).collect()
}

/// Asks for as many pages as possible in this time. Returns how long each answer took, in microseconds, in order of
/// size.
pub fn run(mut lanes: Vec<Lane<'_>>, time: Duration) -> Result<Vec<f64>, String> {
    let end = Instant::now() + time;
    let mut latencies = Vec::new();
    lanes.iter_mut().try_for_each(Lane::send)?;
    while lanes.iter().any(|lane| lane.is_waiting) {
        let mut waiting: Vec<&mut Lane<'_>> = lanes.iter_mut().filter(|lane| lane.is_waiting).collect();
        for index in readable(&waiting)? {
            if let Some(latency) = waiting[index].receive()? {
                latencies.push(latency.as_secs_f64() * 1e6);
                if Instant::now() < end {
                    waiting[index].send()?;
                }
            }
        }
    }
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

/// Returns the indices of the lanes that have received something.
fn readable(lanes: &[&mut Lane<'_>]) -> Result<Vec<usize>, String> {
    let mut polled: Vec<_> = lanes.iter().map(|lane| PollFd::new(lane.stream.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut polled, PollTimeout::from(10_000_u16)) {
        Ok(0) => Err("no answer within 10 s".to_owned()),
        Ok(_) => Ok((0..polled.len()).filter(|index| polled[*index].any() == Some(true)).collect()),
        Err(Errno::EINTR) => Ok(Vec::new()),
        Err(error) => Err(error.to_string()),
    }
}

/// A visitor's connection.
pub struct Lane<'a> {
    stream: TcpStream,
    request: String,
    route: Route,
    visitor: &'a mut Visitor,
    sent: Instant,
    is_waiting: bool,
    received: Vec<u8>,
}

impl<'a> Lane<'a> {
    fn open(server: &Server, route: Route, visitor: &'a mut Visitor) -> Result<Lane<'a>, String> {
        let stream = TcpStream::connect(server.address).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let request = request(route.path(), Some(&visitor.cookie));
        let sent = Instant::now();
        let mut lane = Lane { stream, request, route, visitor, sent, is_waiting: false, received: Vec::new() };
        lane.send()?;
        while lane.is_waiting {
            if !readable(&[&mut lane])?.is_empty() {
                lane.receive()?;
            }
        }
        Ok(lane)
    }

    fn send(&mut self) -> Result<(), String> {
        self.received.clear();
        self.sent = Instant::now();
        self.is_waiting = true;
        self.stream.write_all(self.request.as_bytes()).map_err(|error| error.to_string())
    }

    /// Reads what there is. If the answer is complete, gives how long it took.
    fn receive(&mut self) -> Result<Option<Duration>, String> {
        let mut part = [0; 4096];
        let length = self.stream.read(&mut part).map_err(|error| error.to_string())?;
        if length == 0 {
            return Err("the server has closed a connection".to_owned());
        }
        self.received.extend(&part[..length]);
        let Some(response) = Response::parse(&self.received)? else { return Ok(None) };
        let latency = self.sent.elapsed();
        self.is_waiting = false;
        if response.status == 200 && self.visitor.accepts(self.route, response.body) {
            return Ok(Some(latency));
        }
        Err(format!("{}: a wrong answer: {} {:?}", self.route.path(), response.status, response.body))
    }
}
