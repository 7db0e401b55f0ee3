//! The example `first`, which is the first program of the README.

use crate::small::{Small, needs_a_secret};

const PROGRAM: &str = env!("CARGO_BIN_EXE_first");

#[test]
fn each_visitor_has_a_count() {
    let server = Small::start(PROGRAM, &["127.0.0.1:0"]);
    let (ada, grace) = (server.client(), server.client());
    for visits in 1..=3 {
        assert_eq!(ada.get("/").expect(200), format!("{visits} visits\n"));
    }
    assert_eq!(grace.get("/").expect(200), "1 visits\n");
    assert_eq!(ada.get("/favicon.ico").expect(200), "3 visits\n");
    assert_eq!(server.sqlite.count("sessions"), 2);
}

#[test]
fn a_page_that_sets_nothing_makes_no_session() {
    let server = Small::start(PROGRAM, &["127.0.0.1:0"]);
    let robot = server.client();
    assert_eq!(robot.get("/favicon.ico").set_cookie(), None);
    assert_eq!(robot.cookie(), None);
    assert!(!server.sqlite.path().exists(), "nobody has asked the store");
}

#[test]
fn it_lives_on_when_the_store_is_sick() {
    let mut server = Small::start(PROGRAM, &["127.0.0.1:0"]);
    let ada = server.client();
    ada.get("/").expect(200);
    server.while_the_store_is_sick(|| ada.get("/"));
    assert_eq!(ada.get("/").expect(200), "2 visits\n");
}

#[test]
fn without_a_secret_it_does_not_start() {
    needs_a_secret(PROGRAM);
}
