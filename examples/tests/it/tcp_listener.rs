//! The example `tcp_listener`.

use crate::small::{Small, answers_while_another_waits, needs_a_secret};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcp_listener");

/// Sends bytes, and gives the whole answer.
fn send(server: &Small, request: &[u8]) -> String {
    let mut connection = TcpStream::connect(server.address()).expect("it listens");
    connection.write_all(request).expect("it reads");
    connection.shutdown(Shutdown::Write).expect("it is open");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn each_visitor_has_a_count_until_it_is_forgotten() {
    let server = Small::start(PROGRAM, &["--listen", "127.0.0.1:0"]);
    let (ada, grace) = (server.client(), server.client());
    for visits in 1..=3 {
        assert_eq!(ada.get("/").expect(200), format!("{visits} visits\n"));
    }
    assert_eq!(grace.get("/").expect(200), "1 visits\n");
    let cookie = ada.cookie().expect("a count needs a session");
    ada.post("/forget", &[("a", &"body".repeat(1000))]).expect(200);
    assert_eq!((ada.cookie(), server.sqlite.count("sessions")), (None, 1));
    assert_eq!(ada.get_with_cookie("/", &cookie).expect(200), "1 visits\n");
    ada.get("/else").expect(404);
}

#[test]
fn the_cookie_is_found_among_other_headers_that_need_not_be_text() {
    let server = Small::start(PROGRAM, &["--listen", "127.0.0.1:0"]);
    let ada = server.client();
    ada.get("/").expect(200);
    let cookie = ada.cookie().expect("a cookie");
    let headers = ["X: \u{e9}\r\ncOOKIE:  a=b; ", &cookie, "\r\nCookie: other=\u{fe}"].concat();
    let latin1: Vec<u8> = format!("GET / HTTP/1.1\r\n{headers}\r\n\r\n").chars().map(|c| c as u8).collect();
    assert!(send(&server, &latin1).ends_with("\r\n\r\n2 visits\n"));
}

#[test]
fn a_request_that_cannot_be_read_is_refused() {
    let server = Small::start(PROGRAM, &["--listen", "127.0.0.1:0"]);
    for request in ["\r\n\r\n", "GET / HTTP/1.1\r\nHost: here\r\n", "GET /", "\0"] {
        assert!(send(&server, request.as_bytes()).starts_with("HTTP/1.1 400 "), "{request:?}");
    }
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(16 * 1024));
    assert!(send(&server, long.as_bytes()).starts_with("HTTP/1.1 400 "));
    assert_eq!(server.client().get("/").expect(200), "1 visits\n");
}

#[test]
fn a_visitor_who_waits_for_the_store_does_not_keep_others_waiting() {
    let server = Small::start(PROGRAM, &["--listen", "127.0.0.1:0"]);
    let (ada, robot) = (server.client(), server.client());
    ada.get("/").expect(200);
    answers_while_another_waits(&server, || ada.get("/"), || assert_eq!(robot.get("/else").status, 404));
}

#[test]
fn it_lives_on_when_the_store_is_sick() {
    let mut server = Small::start(PROGRAM, &["--listen", "127.0.0.1:0"]);
    let ada = server.client();
    ada.get("/").expect(200);
    server.while_the_store_is_sick(|| ada.get("/"));
    assert_eq!(ada.get("/").expect(200), "2 visits\n");
}

#[test]
fn without_a_secret_it_does_not_start() {
    needs_a_secret(PROGRAM);
}
