//! The example `http_crate`.

use crate::small::{Small, needs_a_secret};
use crate::support::ports::free_port;

const PROGRAM: &str = env!("CARGO_BIN_EXE_http_crate");

/// `oxhttp` does not say which port it got, so it gets one that is free.
fn start() -> Small {
    Small::start(PROGRAM, &["--listen", &format!("127.0.0.1:{}", free_port())])
}

#[test]
fn each_visitor_has_a_theme_until_the_session_ends() {
    let server = start();
    let (ada, grace) = (server.client(), server.client());
    assert_eq!(ada.get("/theme").expect(200), "light\n");
    assert_eq!(ada.cookie(), None);
    ada.put("/theme/dark").expect(200);
    assert_eq!(ada.get("/theme").expect(200), "dark\n");
    assert_eq!(grace.get("/theme").expect(200), "light\n");
    grace.put("/theme/green").expect(404);

    let cookie = ada.cookie().expect("a theme needs a session");
    ada.delete("/session").expect(200);
    assert_eq!((ada.cookie(), server.sqlite.count("sessions")), (None, 0));
    assert_eq!(ada.get_with_cookie("/theme", &cookie).expect(200), "light\n");
}

#[test]
fn it_lives_on_when_the_store_is_sick() {
    let mut server = start();
    let ada = server.client();
    ada.put("/theme/dark").expect(200);
    server.while_the_store_is_sick(|| ada.put("/theme/light"));
    assert_eq!(ada.get("/theme").expect(200), "dark\n");
}

#[test]
fn without_a_secret_it_does_not_start() {
    needs_a_secret(PROGRAM);
}
