//! The example `tiny_http`.

use crate::small::{Small, answers_while_another_waits, needs_a_secret};
use std::thread;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tiny_http");

#[test]
fn nothing_is_lost_when_threads_add_to_one_cart_at_the_same_time() {
    let server = Small::start(PROGRAM, &["--listen", "127.0.0.1:0"]);
    let ada = server.client();
    ada.post("/cart", &[]).expect(200);
    let cookie = ada.cookie().expect("a cart needs a session");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let tab = server.client();
                tab.plant(&cookie);
                (0..10).for_each(|_| assert_eq!(tab.post("/cart", &[]).status, 200));
            });
        }
    });
    assert_eq!(ada.get("/").expect(200), "81 things in your cart\n");
    ada.post("/empty", &[]).expect(200);
    assert_eq!(ada.get("/").expect(200), "0 things in your cart\n");
}

#[test]
fn a_visitor_who_only_looks_gets_no_session() {
    let server = Small::start(PROGRAM, &["--listen", "127.0.0.1:0"]);
    let robot = server.client();
    assert_eq!(robot.get("/").expect(200), "0 things in your cart\n");
    robot.get("/cart").expect(404);
    assert_eq!(robot.cookie(), None);
    assert!(!server.sqlite.path().exists(), "nobody has asked the store");
}

#[test]
fn a_visitor_who_waits_for_the_store_does_not_keep_others_waiting() {
    let server = Small::start(PROGRAM, &["--listen", "127.0.0.1:0"]);
    let (ada, robot) = (server.client(), server.client());
    ada.post("/cart", &[]).expect(200);
    answers_while_another_waits(&server, || ada.post("/cart", &[]), || assert_eq!(robot.get("/").status, 200));
}

#[test]
fn it_lives_on_when_the_store_is_sick() {
    let mut server = Small::start(PROGRAM, &["--listen", "127.0.0.1:0"]);
    let ada = server.client();
    ada.post("/cart", &[]).expect(200);
    server.while_the_store_is_sick(|| ada.post("/cart", &[]));
    assert_eq!(ada.get("/").expect(200), "1 things in your cart\n");
}

#[test]
fn without_a_secret_it_does_not_start() {
    needs_a_secret(PROGRAM);
}
