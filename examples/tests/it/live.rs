//! The example `live`: streams of events that end with the login.

use crate::client::{Answer, Client};
use crate::example::Example;
use crate::support::place::Place;
use crate::support::wait::PATIENCE;
use crate::support::{manager, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_live");
const SECRET: &str = "a secret of the tests, of 32 bytes and more";

fn start(store: &str) -> Example {
    let mut site = Example::run(PROGRAM, ["--listen", "127.0.0.1:0", "--store", store], Some(SECRET));
    site.wait_for_url();
    site
}

/// A browser that is logged in.
fn log_in(site: &Example, user: &str) -> Client {
    let browser = Client::new(&site.url, "Firefox", 3);
    submit(&browser, "/login", &[("name", user)]);
    assert!(browser.get("/").expect(200).contains(&format!("You are <strong>{user}</strong>.")));
    browser
}

fn submit(browser: &Client, action: &str, fields: &[(&str, &str)]) -> Answer {
    let page = browser.get("/");
    let (_, rest) = page.expect(200).split_once(r#"name="csrf_token" value=""#).expect("a form");
    let token = rest.split('"').next().expect("a split has a first part");
    let answer = browser.post(action, &[&[("csrf_token", token)], fields].concat());
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{answer:?}");
    answer
}

/// The stream of a browser.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(site: &Example, browser: &Client) -> Stream {
        let mut connection = TcpStream::connect(site.address()).expect("it listens");
        connection.set_read_timeout(Some(PATIENCE)).expect("a time to wait");
        let cookie = browser.cookie().expect("a cookie");
        write!(connection, "GET /events HTTP/1.1\r\nHost: here\r\nCookie: {cookie}\r\n\r\n").expect("the server reads");
        let mut stream = Stream(BufReader::new(connection));
        assert_eq!(stream.line(), "HTTP/1.1 200 OK");
        stream
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Waits for the next event, and gives its text.
    fn next(&mut self) -> String {
        loop {
            let line = self.line();
            assert_ne!(line, "event: end");
            if let Some(text) = line.strip_prefix("data: ") {
                return text.to_owned();
            }
        }
    }

    /// Waits for a line.
    fn wait_for(&mut self, line: &str) {
        until(|| self.line() == line);
    }

    /// Waits for the event that ends the stream, and for the end of the answer.
    fn wait_for_end(mut self) {
        self.wait_for("event: end");
        assert_eq!(self.line(), "data: You are logged out.");
        let mut rest = [0; 8]; // The end of the event and of its chunk, and an empty chunk.
        self.0.read_exact(&mut rest).expect("an end");
        assert_eq!(&rest, b"\n\r\n0\r\n\r\n");
    }
}

#[test]
fn a_logout_in_another_process_ends_the_streams_of_the_user_and_no_others() {
    for place in Place::all() {
        let [here, there] = [start(&place.url()), start(&place.url())];
        let [first, second, other] = ["ada", "ada", "grace"].map(|user| log_in(&here, user));
        let [mut one, mut two, mut three] = [&first, &second, &other].map(|browser| Stream::open(&here, browser));
        for stream in [&mut one, &mut two, &mut three] {
            stream.wait_for("data: Open pages at this process: 3");
        }
        let elsewhere = log_in(&there, "ada");
        submit(&elsewhere, "/logout-everywhere", &[]);
        one.wait_for_end();
        two.wait_for_end();
        three.wait_for("data: Open pages at this process: 1");

        // One session of a user alone.
        let [first, second] = ["ada", "ada"].map(|user| log_in(&here, user));
        let [one, mut two] = [&first, &second].map(|browser| Stream::open(&here, browser));
        submit(&first, "/logout", &[]);
        one.wait_for_end();
        two.wait_for("data: Open pages at this process: 2");
        assert_eq!([here.stderr(), there.stderr()], ["", ""]);
    }
}

#[test]
fn an_open_stream_does_not_keep_its_user_logged_in() {
    for place in Place::all() {
        let site = start(&place.url());
        let browser = log_in(&site, "ada");
        let mut stream = Stream::open(&site, &browser);
        for _ in 0..2 {
            place.let_time_pass_for_all(Duration::from_secs(3 * 24 * 60 * 60));
            (0..2).for_each(|_| drop(stream.next()));
        }
        place.let_time_pass_for_all(Duration::from_secs(2 * 24 * 60 * 60));
        stream.wait_for_end();
        assert_eq!(manager(&place.url()).group("ada").len().unwrap(), 0);
    }
}

#[test]
fn a_stream_whose_browser_has_gone_is_closed() {
    let place = Place::sqlite();
    let site = start(&place.url());
    let browser = log_in(&site, "ada");
    let [gone, mut stream] = [(); 2].map(|()| Stream::open(&site, &browser));
    stream.wait_for("data: Open pages at this process: 2");
    drop(gone);
    stream.wait_for("data: Open pages at this process: 1");
}

#[test]
fn without_a_login_there_is_no_stream() {
    let place = Place::sqlite();
    let site = start(&place.url());
    let stranger = Client::new(&site.url, "Firefox", 3);
    assert_eq!(stranger.get("/events").status, 204);
    assert!(stranger.get("/").expect(200).contains("<h1>Log in</h1>"));
    assert_eq!(stranger.get("/events").status, 204, "a session without a user");
    stranger.post("/login", &[("name", "ada")]).expect(403);
    stranger.get("/nowhere").expect(404);
}
