//! The example `rouille`.

use crate::client::{Answer, Client};
use crate::small::{Small, needs_a_secret};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rouille");

fn start() -> Small {
    Small::start(PROGRAM, &["--listen", "127.0.0.1:0"])
}

/// Returns the token of the form on the page.
fn token(page: &Answer) -> String {
    let field = r#"<input type="hidden" name="csrf_token" value=""#;
    let (_, rest) = page.expect(200).split_once(field).expect("the page has a form with a token");
    rest.split('"').next().expect("a split has a first part").to_owned()
}

fn log_in(browser: &Client, user: &str, password: &str) -> Answer {
    let token = token(&browser.get("/"));
    browser.post("/login", &[("csrf_token", &token), ("user", user), ("password", password)])
}

#[track_caller]
fn leads_home(answer: &Answer) {
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{answer:?}");
}

fn user(page: &Answer) -> Option<&str> {
    page.expect(200).split_once("You are ")?.1.split('.').next()
}

#[test]
fn a_user_logs_in_and_out() {
    let server = start();
    let browser = server.client();
    assert_eq!(user(&browser.get("/")), None);
    let planted = browser.cookie().expect("the token needs a session");
    leads_home(&log_in(&browser, "ada", "engine"));
    assert_ne!(browser.cookie(), Some(planted.clone()), "a login gives a new id");
    let page = browser.get("/");
    assert_eq!(user(&page), Some("ada"));
    let thief = server.client();
    thief.plant(&planted);
    assert_eq!(user(&thief.get("/")), None);

    let cookie = browser.cookie().expect("a cookie");
    leads_home(&browser.post("/logout", &[("csrf_token", &token(&page))]));
    assert_eq!(browser.cookie(), None);
    thief.plant(&cookie);
    assert_eq!(user(&thief.get("/")), None);
}

#[test]
fn a_message_shows_once() {
    let server = start();
    let browser = server.client();
    leads_home(&log_in(&browser, "ada", "compiler"));
    let message = "This name and password do not go together.";
    assert!(browser.get("/").expect(200).contains(message));
    let page = browser.get("/");
    assert!(!page.expect(200).contains(message) && user(&page).is_none());
    leads_home(&log_in(&browser, "ada", "engine"));
    assert!(browser.get("/").expect(200).contains("Welcome."));
    assert!(!browser.get("/").expect(200).contains("Welcome."));
}

#[test]
fn a_form_without_its_token_changes_nothing() {
    let server = start();
    let browser = server.client();
    let of_another = token(&server.client().get("/"));
    for token in ["", "a guess", &of_another] {
        let form = [("csrf_token", token), ("user", "ada"), ("password", "engine")];
        browser.post("/login", &form).expect(403);
    }
    browser.post("/login", &[("user", "ada")]).expect(400);
    assert_eq!(user(&browser.get("/")), None);
    log_in(&browser, "ada", "engine");
    browser.post("/logout", &[("csrf_token", &of_another)]).expect(403);
    browser.post("/logout", &[]).expect(403);
    assert_eq!(user(&browser.get("/")), Some("ada"));
}

#[test]
fn it_lives_on_when_the_store_is_sick() {
    let mut server = start();
    let browser = server.client();
    let token = token(&browser.get("/"));
    let form = [("csrf_token", token.as_str()), ("user", "ada"), ("password", "engine")];
    server.while_the_store_is_sick(|| browser.post("/login", &form));
    assert_eq!(user(&browser.get("/")), None);
    leads_home(&browser.post("/login", &form));
    assert_eq!(user(&browser.get("/")), Some("ada"));
}

#[test]
fn without_a_secret_it_does_not_start() {
    needs_a_secret(PROGRAM);
}
