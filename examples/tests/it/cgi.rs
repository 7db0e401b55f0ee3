//! The example `cgi`, as a web server calls it (RFC 3875): with variables in its environment, and the form on its
//! standard input.

use crate::client::Client;
use crate::example::Example;
use crate::small::{SECRET, while_locked};
use crate::support::ports::free_port;
use crate::support::sqlite::Sqlite;
use crate::support::until;
use std::ffi::OsString;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::thread;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cgi");

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    log: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The `Cookie` header that a browser sends from now on.
    fn cookie(&self) -> Option<&str> {
        let cookie = self.header("Set-Cookie")?;
        assert_eq!(self.header("Cache-Control"), Some("no-store"));
        cookie.split(';').next()
    }

    fn token(&self) -> &str {
        let (_, rest) = self.body.split_once(r#"name="csrf_token" value=""#).expect("a form with a token");
        rest.split('"').next().expect("a split has a first part")
    }
}

/// Starts a process for this request, as a web server does. The `Cookie` header is in Latin-1.
fn request(sqlite: &Sqlite, method: &str, cookie: Option<&str>, form: &str) -> Answer {
    let mut command = Command::new(PROGRAM);
    command.env_clear().envs([
        ("SESSION_SECRET", SECRET),
        ("SESSION_STORE", &sqlite.url()),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_METHOD", method),
        ("SCRIPT_NAME", "/cgi-bin/cgi"),
        ("QUERY_STRING", ""),
        ("REMOTE_ADDR", "127.0.0.1"),
    ]);
    let latin1 = |text: &str| OsString::from_vec(text.chars().map(|character| character as u8).collect());
    command.envs(cookie.map(|cookie| ("HTTP_COOKIE", latin1(cookie))));
    if method == "POST" {
        let length = form.len().to_string();
        command.envs([("CONTENT_LENGTH", length.as_str()), ("CONTENT_TYPE", "application/x-www-form-urlencoded")]);
    }
    call(command, form)
}

fn call(mut command: Command, form: &str) -> Answer {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("cargo has built the example");
    let mut stdin = process.stdin.take().expect("it is piped");
    let _ = stdin.write_all(form.as_bytes()); // A request without a form does not read it.
    let output = process.wait_with_output().expect("it ends, while its standard input is still open");
    drop(stdin);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("an empty line ends the headers");
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    let headers: Vec<_> = head.split("\r\n").map(|line| header(line).expect("a header")).collect();
    let status = headers[0].1.trim().parse().expect("a status");
    assert_eq!(headers[0].0, "Status");
    Answer { status, headers, body: body.to_owned(), log: String::from_utf8(output.stderr).expect("UTF-8") }
}

#[test]
fn the_processes_of_all_requests_share_the_sessions() {
    let sqlite = Sqlite::new();
    let page = request(&sqlite, "GET", None, "");
    assert!(page.status == 200 && page.body.contains("<h1>Hello </h1>"), "{}", page.body);
    let cookie = page.cookie().expect("the form's token needs a session");
    let form = format!("name=%3CAda%3E+%26&csrf_token={}", page.token());
    let saved = request(&sqlite, "POST", Some(cookie), &form);
    assert_eq!((saved.status, saved.header("Location")), (303, Some("/cgi-bin/cgi")));
    // The browser sends a cookie of another site beside ours.
    let page = request(&sqlite, "GET", Some(&format!("other=\u{e9}; {cookie}")), "");
    assert!(page.body.contains("<h1>Hello &lt;Ada&gt; &amp;</h1>"), "{}", page.body);
    assert!(request(&sqlite, "GET", None, "").body.contains("<h1>Hello </h1>"));
    assert_eq!(sqlite.count("sessions"), 2);
}

#[test]
fn processes_at_the_same_time_do_not_lose_each_others_sessions() {
    let sqlite = Sqlite::new();
    thread::scope(|scope| {
        for number in 0..8 {
            let sqlite = &sqlite;
            scope.spawn(move || {
                let page = request(sqlite, "GET", None, "");
                let cookie = page.cookie().expect("a session");
                let form = format!("name=visitor+{number}&csrf_token={}", page.token());
                assert_eq!(request(sqlite, "POST", Some(cookie), &form).status, 303);
                let page = request(sqlite, "GET", Some(cookie), "");
                assert!(page.body.contains(&format!("<h1>Hello visitor {number}</h1>")), "{}", page.body);
            });
        }
    });
    assert_eq!(sqlite.count("sessions"), 8);
    sqlite.assert_sound();
}

#[test]
fn a_form_needs_its_token_and_is_read_up_to_a_limit() {
    let sqlite = Sqlite::new();
    let page = request(&sqlite, "GET", None, "");
    let cookie = page.cookie();
    let long = format!("name={}&csrf_token={}", "x".repeat(4096), page.token());
    for form in ["", "name=Eve", "name=Eve&csrf_token=guess", &long] {
        assert_eq!(request(&sqlite, "POST", cookie, form).status, 403, "{form}");
    }
    assert_eq!(request(&sqlite, "PUT", cookie, "").status, 405);
    assert!(request(&sqlite, "GET", cookie, "").body.contains("<h1>Hello </h1>"));
}

#[test]
fn a_sick_store_is_a_503() {
    let sqlite = Sqlite::new();
    let page = request(&sqlite, "GET", None, "");
    let form = format!("name=Ada&csrf_token={}", page.token());
    let answer = while_locked(&sqlite, || request(&sqlite, "POST", page.cookie(), &form));
    assert_eq!((answer.status, answer.cookie()), (503, None));
    assert!(answer.log.starts_with("cgi: the session store failed: "), "{}", answer.log);
    assert_eq!(request(&sqlite, "POST", page.cookie(), &form).status, 303);
}

#[test]
fn without_a_secret_it_says_how_to_make_one_in_the_log_alone() {
    let mut command = Command::new(PROGRAM);
    command.env_clear();
    let answer = call(command, "");
    assert!(answer.status == 500 && !answer.body.contains("SESSION_SECRET"), "{}", answer.body);
    assert!(answer.log.contains("openssl rand -base64 48"), "{}", answer.log);
}

#[test]
fn the_web_server_of_busybox_runs_it() {
    let sqlite = Sqlite::new();
    let programs = sqlite.folder().join("www/cgi-bin");
    std::fs::create_dir_all(&programs).expect("a folder");
    symlink(PROGRAM, programs.join("cgi")).expect("a link");
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new("busybox");
    command.args(["httpd", "-f", "-p", &address, "-h", "www"]).current_dir(sqlite.folder());
    command.envs([("SESSION_SECRET", SECRET), ("SESSION_STORE", &sqlite.url())]);
    let _server = Example::spawn(command);
    until(|| TcpStream::connect(&address).is_ok());

    let browser = Client::of_plain_pages(&format!("http://{address}"));
    let page = browser.get("/cgi-bin/cgi");
    let (_, rest) = page.expect(200).split_once(r#"name="csrf_token" value=""#).expect("a form with a token");
    let token = rest.split('"').next().expect("a split has a first part");
    let answer = browser.post("/cgi-bin/cgi", &[("csrf_token", token), ("name", "Ada")]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/cgi-bin/cgi")));
    assert!(browser.get("/cgi-bin/cgi").expect(200).contains("<h1>Hello Ada</h1>"));
    browser.post("/cgi-bin/cgi", &[("name", "Eve")]).expect(403);
}
