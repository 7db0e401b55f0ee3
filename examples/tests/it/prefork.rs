//! The example `prefork` as its users run it: real processes, real sockets, and a client with a cookie jar.

use crate::client::{Answer, Client};
use crate::example::Example;
use crate::support::place::Place;
use crate::support::redis::Redis;
use crate::support::until;
use crate::support::wait::{PATIENCE, until_some};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;

const PROGRAM: &str = env!("CARGO_BIN_EXE_prefork");
const SECRET: &str = "a secret of the tests, of 32 bytes and more";
const WORKERS: usize = 4;

/// The running example, with its workers in one process group.
struct Prefork(Example);

impl Deref for Prefork {
    type Target = Example;

    fn deref(&self) -> &Example {
        &self.0
    }
}

impl DerefMut for Prefork {
    fn deref_mut(&mut self) -> &mut Example {
        &mut self.0
    }
}

impl Prefork {
    /// Starts a server, and waits until all its workers run.
    fn start(store: &str) -> Prefork {
        let workers = WORKERS.to_string();
        let mut server =
            Prefork::run(["--listen", "127.0.0.1:0", "--workers", &workers, "--store", store], Some(SECRET));
        server.wait_for_url();
        until(|| server.workers().len() == WORKERS);
        server
    }

    fn run(arguments: impl IntoIterator<Item: AsRef<OsStr>>, secret: Option<&str>) -> Prefork {
        Prefork(Example::run(PROGRAM, arguments, secret))
    }

    /// All living processes of the example, with the parent.
    fn processes(&self) -> BTreeSet<i32> {
        let all = std::fs::read_dir("/proc").expect("Linux").filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // "pid (name) state parent group …"
            let mut fields = stat.rsplit(')').next()?.split_whitespace();
            let (state, group) = (fields.next()?, fields.nth(1)?);
            (state != "Z" && group == self.pid().to_string()).then_some(pid)
        });
        all.collect()
    }

    fn workers(&self) -> BTreeSet<i32> {
        self.processes().into_iter().filter(|pid| *pid != self.pid().as_raw()).collect()
    }

    /// A client that opens a new connection for each request, so that all workers get some.
    fn client(&self) -> Client {
        Client::new(&self.url, "a test", 0)
    }
}

fn set(client: &Client, key: &str, value: &str) {
    let query =
        form_urlencoded::Serializer::new(String::new()).append_pair("key", key).append_pair("value", value).finish();
    assert_eq!(client.get(&format!("/set-session?{query}")).expect(200), "saved");
}

/// The visit number and the worker, from the heading of an answer.
fn heading_of(answer: &Answer) -> (u64, i32) {
    heading(answer.expect(200)).expect("a heading")
}

fn shows(answer: &Answer, key: &str, value: &str) -> bool {
    answer.expect(200).contains(&format!("<div><dt>{key}</dt><dd>{value}</dd></div>\n"))
}

/// The visit number and the worker, from the heading of a page.
fn heading(page: &str) -> Option<(u64, i32)> {
    let (_, rest) = page.split_once("<h1>Visit ")?;
    let (visit, rest) = rest.split_once(", answered by worker ")?;
    let (worker, _) = rest.split_once("</h1>")?;
    Some((visit.parse().ok()?, worker.parse().ok()?))
}

/// The workers that a page lists, the newest first.
fn chips(answer: &Answer) -> Vec<i32> {
    let chips = answer.expect(200).split("<li style=").skip(1);
    let pid = |chip: &str| chip.split('>').nth(1)?.split('<').next()?.parse().ok();
    chips.map(|chip| pid(chip).expect("a process id")).collect()
}

/// The token of a form of the page.
fn token(page: &Answer, action: &str) -> String {
    let form = format!(r#"<form method="post" action="{action}"><input type="hidden" name="csrf_token" value=""#);
    let (_, rest) = page.expect(200).split_once(&form).expect("a form");
    rest.split('"').next().expect("a split has a first part").to_owned()
}

/// Fills a form of the page and sends it. It has to lead back to the page.
fn submit(client: &Client, action: &str, fields: &[(&str, &str)]) {
    let token = token(&client.get("/"), action);
    let answer = client.post(action, &[&[("csrf_token", token.as_str())], fields].concat());
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{}", answer.body);
}

/// Asks for the page until each of these workers has answered. Sees that every answer has the whole session.
fn ask_every_worker(client: &Client, workers: &BTreeSet<i32>, visits: &mut u64, values: &[(&str, &str)]) {
    let mut answered = BTreeSet::new();
    until_some(|| {
        let page = client.get("/");
        let (visit, worker) = heading_of(&page);
        *visits += 1;
        assert_eq!(visit, *visits);
        assert_eq!(chips(&page)[0], worker);
        for (key, value) in values {
            assert!(shows(&page, key, value), "{key} is missing at worker {worker}: {}", page.body);
        }
        answered.insert(worker);
        workers.is_subset(&answered).then_some(())
    });
    assert_eq!(&answered, workers);
}

#[test]
fn every_worker_sees_the_whole_session_and_no_visit_is_lost() {
    for place in Place::all() {
        let server = Prefork::start(&place.url());
        let client = server.client();
        let values = [("name", "Ada"), ("town", "Köln"), ("empty", ""), ("a b", "c+d=e&amp;f")];
        for (key, value) in values {
            set(&client, key, &value.replace("&amp;", "&"));
        }
        let mut visits = 0;
        ask_every_worker(&client, &server.workers(), &mut visits, &values);
        for (key, value) in values {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("key", key).finish();
            assert_eq!(client.get(&format!("/get-session?{query}")).expect(200), value.replace("&amp;", "&"));
        }

        // Many visits at once get different numbers.
        let some_visits = || (0..25).map(|_| heading_of(&client.get("/")).0).collect::<Vec<u64>>();
        let mut numbers: Vec<u64> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(some_visits)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("all are answered")).collect()
        });
        numbers.sort();
        assert_eq!(numbers, (visits + 1..=visits + 8 * 25).collect::<Vec<u64>>());
        assert_eq!(client.get("/get-session?key=visits").expect(200), (visits + 8 * 25).to_string());

        let stranger = server.client();
        let page = stranger.get("/");
        assert_eq!(heading_of(&page).0, 1);
        assert!(!page.body.contains("<dt>") && !page.body.contains("Köln"), "{}", page.body);
        stranger.get("/get-session?key=name").expect(404);
        assert_eq!(place.records(), 2);
    }
}

#[test]
fn a_killed_worker_loses_nothing_and_is_replaced() {
    for place in Place::all() {
        let server = Prefork::start(&place.url());
        let client = server.client();
        set(&client, "name", "Ada");
        let mut visits = 0;
        let mut workers = server.workers();
        ask_every_worker(&client, &workers, &mut visits, &[("name", "Ada")]);
        for _ in 0..2 {
            let killed = *workers.first().expect("a worker");
            kill(Pid::from_raw(killed), Signal::SIGKILL).expect("it runs");
            workers =
                until_some(|| Some(server.workers()).filter(|now| now.len() == WORKERS && !now.contains(&killed)));
            ask_every_worker(&client, &workers, &mut visits, &[("name", "Ada")]);
            assert!(server.stderr().ends_with(&format!("prefork: worker {killed} has ended; starting another\n")));
        }
    }
}

#[test]
fn the_page_lists_the_workers_that_answered_the_last_ten_visits() {
    for place in Place::all() {
        let server = Prefork::start(&place.url());
        let client = server.client();
        let mut answered = Vec::new();
        for _ in 0..15 {
            let page = client.get("/");
            answered.insert(0, heading_of(&page).1);
            answered.truncate(10);
            assert_eq!(chips(&page), answered);
            let current: Vec<&str> = page.body.split(r#" aria-current="true">"#).skip(1).collect();
            assert!(current.len() == 1 && current[0].starts_with(&format!("{}<", answered[0])), "{page:?}");
        }
        let stranger = server.client().get("/");
        assert_eq!(chips(&stranger), [heading_of(&stranger).1]);
    }
}

#[test]
fn a_client_that_keeps_its_connections_meets_every_worker() {
    let place = Place::sqlite();
    let server = Prefork::start(&place.url());
    let browser = Client::new(&server.url, "a test", 3);
    let page = browser.get("/");
    assert_eq!(page.header("connection"), Some("close"));
    ask_every_worker(&browser, &server.workers(), &mut 1, &[]);
    submit(&browser, "/set", &[("key", "name"), ("value", "Ada")]);
    browser.get("/get-session?key=name").expect(200);
}

#[test]
fn a_button_kills_the_worker_that_takes_the_click_and_nothing_is_lost() {
    for place in Place::all() {
        let server = Prefork::start(&place.url());
        let client = server.client();
        submit(&client, "/set", &[("key", "name"), ("value", "Ada")]);
        let mut visits = 1;
        let mut workers = server.workers();
        for _ in 0..2 {
            submit(&client, "/kill", &[]);
            let page = client.get("/");
            visits += 2;
            assert_eq!(heading_of(&page).0, visits);
            assert!(shows(&page, "name", "Ada"), "{page:?}");
            let (_, notice) = page.body.split_once("<p role=\"status\">Worker ").expect("a notice");
            let (killed, notice) = notice.split_once(' ').expect("a process id");
            assert!(notice.starts_with("took your click, and was killed. Nothing is lost: look.</p>"), "{notice}");
            let killed: i32 = killed.parse().expect("a process id");
            assert!(workers.contains(&killed));
            let now =
                until_some(|| Some(server.workers()).filter(|now| now.len() == WORKERS && !now.contains(&killed)));
            assert_eq!(now.intersection(&workers).count(), WORKERS - 1, "one was killed");
            workers = now;
            ask_every_worker(&client, &workers, &mut visits, &[("name", "Ada")]);
            assert!(!client.get("/").expect(200).contains("role=\"status\""), "it is said once");
            visits += 1;
            assert!(server.stderr().ends_with(&format!("prefork: worker {killed} has ended; starting another\n")));
        }
    }
}

#[test]
fn a_post_without_the_right_token_is_refused_and_changes_nothing() {
    for place in Place::all() {
        let server = Prefork::start(&place.url());
        let (client, attacker) = (server.client(), server.client());
        submit(&client, "/set", &[("key", "name"), ("value", "Ada")]);
        let (workers, cookie) = (server.workers(), client.cookie());
        let foreign = token(&attacker.get("/"), "/set");
        for token in [None, Some(""), Some("a guess"), Some(&foreign)] {
            let token: Vec<_> = token.into_iter().map(|token| ("csrf_token", token)).collect();
            for action in ["/set", "/kill", "/end"] {
                let answer = client.post(action, &[&token[..], &[("key", "name"), ("value", "Mallory")]].concat());
                assert!(answer.expect(403).contains(r#"<a class="button" href="/">"#), "no page is a dead end");
                assert_eq!(answer.set_cookie(), None);
            }
        }
        assert_eq!(client.get("/get-session?key=name").expect(200), "Ada");
        assert_eq!((server.workers(), client.cookie(), server.stderr().as_str()), (workers, cookie, ""));
    }
}

#[test]
fn the_forms_of_the_page_change_the_session_and_lead_back_to_it() {
    for place in Place::all() {
        let server = Prefork::start(&place.url());
        let client = server.client();
        submit(&client, "/set", &[("key", "name"), ("value", "Ada")]);
        submit(&client, "/set", &[("key", "town"), ("value", "")]);
        submit(&client, "/set", &[("key", "name"), ("value", "Grace")]);
        let page = client.get("/");
        assert!(shows(&page, "name", "Grace") && shows(&page, "town", ""), "{page:?}");
        for key in ["", "visits", "workers"] {
            submit(&client, "/set", &[("key", key), ("value", "many")]);
            let page = client.get("/");
            assert!(page.body.contains("<p role=\"status\">Please choose another key"), "{page:?}");
            assert!(!page.body.contains("many"), "{page:?}");
        }
        let token = token(&client.get("/"), "/set");
        let long = client.post("/set", &[("csrf_token", &token), ("key", &"k".repeat(2000)), ("value", "x")]);
        assert!(long.expect(413).contains(r#"<a class="button" href="/">"#), "no page is a dead end");

        let cookie = client.cookie().expect("a cookie");
        submit(&client, "/end", &[]);
        assert_eq!((client.cookie(), place.records()), (None, 0));
        server.client().get_with_cookie("/get-session?key=name", &cookie).expect(404);
        assert_eq!(heading_of(&client.get("/")).0, 1);
    }
}

#[test]
fn a_worker_that_can_accept_no_more_is_replaced() {
    let redis = Redis::start();
    // A connection takes two files. With one of these limits, the second file of a connection is refused, and tiny_http
    // panics.
    for limit in [20, 21] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit}; exec \"$@\""), "sh"]).arg(PROGRAM);
        command.args(["--listen", "127.0.0.1:0", "--workers", "2", "--store", &redis.url()]);
        let mut server = Prefork(Example::spawn(command));
        server.wait_for_url();
        let mut connections = Vec::new();
        until_some(|| {
            connections.push(TcpStream::connect(server.address()).expect("it listens"));
            server.stderr().contains("has ended; starting another").then_some(())
        });
        drop(connections);
        let client = server.client();
        let mut answered = BTreeSet::new();
        until_some(|| {
            // Some connections may still end together with their worker.
            let answer = client.try_get("/").ok()?;
            answered.insert(heading(&answer.body)?.1);
            let workers = server.workers();
            (workers.len() == 2 && workers.is_subset(&answered)).then_some(())
        });
    }
}

#[test]
fn without_a_store_it_keeps_sessions_in_a_file_that_goes_with_it() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let left = || std::fs::read_dir(temporary.path()).expect("it is there").count();
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0", "--workers", "2"]).env("TMPDIR", temporary.path());
    let mut server = Prefork(Example::spawn(command));
    server.wait_for_url();
    assert!(server.stdout().contains("sessions in sqlite://"), "{}", server.stdout());
    let workers = until_some(|| Some(server.workers()).filter(|workers| workers.len() == 2));
    ask_every_worker(&server.client(), &workers, &mut 0, &[]);
    // A new worker is forked from a parent that has used the file.
    let killed = *workers.first().expect("a worker");
    kill(Pid::from_raw(killed), Signal::SIGKILL).expect("it runs");
    let workers = until_some(|| Some(server.workers()).filter(|now| now.len() == 2 && !now.contains(&killed)));
    ask_every_worker(&server.client(), &workers, &mut 0, &[]);
    assert_eq!(left(), 1);
    server.signal(Signal::SIGTERM);
    assert_eq!((server.wait(), left()), (Some(0), 0));
}

#[test]
fn an_interrupt_is_the_business_of_the_parent() {
    let redis = Redis::start();
    let server = Prefork::start(&redis.url());
    let workers = server.workers();
    for worker in &workers {
        kill(Pid::from_raw(*worker), Signal::SIGINT).expect("it runs");
    }
    ask_every_worker(&server.client(), &workers, &mut 0, &[]);
    assert_eq!((server.workers(), server.stderr().as_str()), (workers, ""));
}

#[test]
fn a_signal_to_stop_leaves_no_process_behind() {
    let redis = Redis::start();
    // From a terminal or a supervisor, a signal may go to all processes at once.
    for (signal, to_all) in
        [(Signal::SIGTERM, false), (Signal::SIGINT, false), (Signal::SIGINT, true), (Signal::SIGTERM, true)]
    {
        let mut server = Prefork::start(&redis.url());
        let mut connection = keep_alive(&server);
        if to_all {
            killpg(server.pid(), signal).expect("it runs");
        } else {
            server.signal(signal);
        }
        assert_eq!(server.wait(), Some(0), "{signal}: {}", server.stderr());
        assert_eq!(server.processes(), BTreeSet::new(), "{signal}");
        if (signal, to_all) != (Signal::SIGTERM, true) {
            assert_eq!(server.stderr(), "", "{signal}");
        }
        assert_eq!(connection.read(&mut [0]).expect("the end"), 0);
    }
}

#[test]
fn a_worker_that_panics_takes_no_session_with_it() {
    let mut command = Command::new(PROGRAM);
    // Without --store, the sessions are in a file in a temporary folder of the parent.
    command.args(["--listen", "127.0.0.1:0", "--workers", "2"]).env("SESSION_SECRET", SECRET);
    let mut server = Prefork(Example::spawn(command));
    server.wait_for_url();
    let client = server.client();
    client.get("/set-session?key=name&value=Ada").expect(200);
    // tiny_http 0.12 panics if the body that nobody reads is this large.
    let mut connection = TcpStream::connect(server.address()).expect("it listens");
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", u64::MAX);
    connection.write_all(&[request.as_bytes(), &[b'x'; 6000]].concat()).expect("it reads");
    until(|| server.stderr().contains("has ended; starting another"));
    until(|| client.try_get("/get-session?key=name").is_ok_and(|answer| answer.status == 200 && answer.body == "Ada"));
}

/// Opens a connection that has had its answer, and stays open.
fn keep_alive(server: &Prefork) -> TcpStream {
    let mut connection = TcpStream::connect(server.address()).expect("it listens");
    connection.set_read_timeout(Some(PATIENCE)).expect("a time to wait");
    connection.write_all(b"GET /nowhere HTTP/1.1\r\nHost: here\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"</html>\n") {
        let mut bytes = [0; 1024];
        let count = connection.read(&mut bytes).expect("an answer");
        assert_ne!(count, 0, "the connection was closed");
        answer.extend_from_slice(&bytes[..count]);
    }
    connection
}

#[test]
fn a_signal_at_any_time_after_the_start_ends_it() {
    let redis = Redis::start();
    for attempt in 0..20 {
        let mut server = Prefork::run(["--listen", "127.0.0.1:0", "--store", &redis.url()], Some(SECRET));
        server.wait_for_url();
        assert!(server.stdout().contains(&format!(" with {WORKERS} workers of ")), "{}", server.stdout());
        let started = attempt % (WORKERS + 1);
        until(|| server.workers().len() >= started);
        server.signal(Signal::SIGTERM);
        assert_eq!((server.wait(), server.stderr().as_str()), (Some(0), ""));
        assert_eq!(server.processes(), BTreeSet::new());
    }
}

#[test]
fn a_request_under_way_is_answered_before_the_end() {
    let redis = Redis::start();
    let mut server = Prefork::start(&redis.url());
    let client = server.client();
    set(&client, "name", "Ada");
    let _: () = redis.run(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    thread::scope(|scope| {
        let request = scope.spawn(|| client.get("/set-session?key=name&value=Grace"));
        until_some(|| redis.run::<String>(&["INFO", "clients"]).contains("\nblocked_clients:1\r").then_some(()));
        server.signal(Signal::SIGTERM);
        until(|| server.workers().len() == 1);
        let _: () = redis.run(&["CLIENT", "UNPAUSE"]);
        assert_eq!(request.join().expect("an answer").expect(200), "saved");
    });
    assert_eq!((server.wait(), server.stderr().as_str()), (Some(0), ""));
    let server = Prefork::start(&redis.url());
    let name = server.client().get_with_cookie("/get-session?key=name", &client.cookie().expect("a cookie"));
    assert_eq!(name.expect(200), "Grace");
}

#[test]
fn a_worker_that_does_not_end_is_killed() {
    let redis = Redis::start();
    let mut server = Prefork::start(&redis.url());
    let stuck = *server.workers().first().expect("a worker");
    kill(Pid::from_raw(stuck), Signal::SIGSTOP).expect("it runs");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait(), Some(0));
    assert_eq!(server.processes(), BTreeSet::new());
    assert_eq!(server.stderr(), format!("prefork: worker {stuck} does not end; killing it\n"));
}

#[test]
fn killing_the_parent_ends_its_workers() {
    let redis = Redis::start();
    let server = Prefork::start(&redis.url());
    let _connection = keep_alive(&server);
    server.signal(Signal::SIGKILL);
    until(|| server.processes().is_empty());
}

/// Runs the example until it ends. Returns its exit code and its output.
fn outcome(arguments: impl IntoIterator<Item: AsRef<OsStr>>, secret: Option<&str>) -> (Option<i32>, String, String) {
    let mut run = Prefork::run(arguments, secret);
    (run.wait(), run.stdout(), run.stderr())
}

#[test]
fn a_missing_store_is_told_in_one_line_without_the_password() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = silent.local_addr().expect("it is bound");
    let redis = Redis::start();
    let stores = [
        ("redis://visitor:hunter2@127.0.0.1:1/0".to_owned(), "no connection to redis://127.0.0.1:1"),
        ("redis+unix:///nowhere/redis.sock?user=visitor&pass=hunter2".to_owned(), "redis+unix:///nowhere/redis.sock"),
        (format!("redis://visitor:hunter2@{silent}"), "redis://127.0.0.1"),
        (format!("{}?user=visitor&pass=hunter2", redis.url()), "WRONGPASS"),
    ];
    for (store, expected) in stores {
        let (code, stdout, stderr) = outcome(["--listen", "127.0.0.1:0", "--store", &store], None);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(stderr.starts_with("prefork: the session store failed: ") && stderr.contains(expected), "{stderr}");
        assert!(stderr.ends_with("; start it, or pass another --store URL\n"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(!stderr.contains("hunter2") && !stderr.contains("visitor"), "{stderr}");
    }
}

#[test]
fn options_that_cannot_be_used_are_told_in_one_line() {
    let redis = Redis::start();
    let mut lines: Vec<Vec<OsString>> = [
        &["--wrokers", "2"][..],
        &["serve"],
        &["--workers"],
        &["--workers", "0"],
        &["--workers", "many"],
        &["--listen", "nowhere"],
        &["--listen"],
        &["--store"],
        &["--store", "hunter2"],
        &["--store", "ftp://visitor:hunter2@127.0.0.1"],
        &["--store=redis://visitor:hunter2@127.0.0.1"],
        &["redis://visitor:hunter2@127.0.0.1"],
    ]
    .iter()
    .map(|line| line.iter().map(OsString::from).collect())
    .collect();
    lines.push(vec![OsString::from_vec(b"\xff".to_vec())]);
    for line in lines {
        let (code, stdout, stderr) = outcome(&line, Some(SECRET));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{line:?}: {stderr}");
        assert!(stderr.starts_with("prefork: ") && stderr.lines().count() == 1, "{line:?}: {stderr}");
        assert!(!stderr.contains("hunter2"), "{line:?}: {stderr}");
    }
    let (code, stdout, stderr) = outcome(["--store", &redis.url()], Some("hunter2"));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("openssl rand") && stderr.lines().count() == 1 && !stderr.contains("hunter2"), "{stderr}");

    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = other.local_addr().expect("it is bound").to_string();
    let (code, stdout, stderr) = outcome(["--listen", &taken, "--store", &redis.url()], Some(SECRET));
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains(&format!("cannot listen on {taken}: ")) && stderr.lines().count() == 1, "{stderr}");

    let (code, stdout, stderr) = outcome(["--help"], None);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(
        ["--listen", "--workers", "--store", "SESSION_SECRET"].iter().all(|word| stdout.contains(word)),
        "{stdout}"
    );
}

#[test]
fn what_it_prints_has_the_url_and_no_password() {
    let redis = Redis::start();
    let _: () = redis.run(&["ACL", "SETUSER", "visitor", "on", ">hunter2", "~*", "&*", "+@all"]);
    let port = over_tcp(&redis);
    for (store, shown) in [
        (format!("{}?user=visitor&pass=hunter2", redis.url()), redis.url()),
        (format!("redis://visitor:hunter2@127.0.0.1:{port}/0"), format!("redis://127.0.0.1:{port}/0")),
        (format!("redis://visitor:hunter2@127.0.0.1:{port}/0?protocol=resp3"), format!("redis://127.0.0.1:{port}/0")),
    ] {
        let mut server = Prefork::start(&store);
        set(&server.client(), "name", "Ada");
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait(), Some(0));
        let line = format!("{} with 4 workers of 4 threads, sessions in {shown}\n", server.url);
        assert_eq!((server.stdout(), server.stderr().as_str()), (line, ""));
        assert!(server.url.starts_with("http://127.0.0.1:") && !server.url.ends_with(":0"), "{}", server.url);
    }
}

/// Returns a port that leads to a Redis on a unix socket. Its threads end with the process of the tests.
fn over_tcp(redis: &Redis) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let socket = redis.url().trim_start_matches("redis+unix://").to_owned();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.expect("a connection");
            let server = UnixStream::connect(&socket).expect("Redis listens");
            let (mut from, mut to) = (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            thread::spawn(move || std::io::copy(&mut { server }, &mut { client }));
        }
    });
    port
}

#[test]
fn the_secret_decides_whose_cookies_are_good() {
    let redis = Redis::start();
    let first = Prefork::start(&redis.url());
    let client = first.client();
    set(&client, "name", "Ada");
    let cookie = client.cookie().expect("a cookie");

    let same = Prefork::start(&redis.url());
    assert_eq!(same.client().get_with_cookie("/get-session?key=name", &cookie).expect(200), "Ada");

    let mut random = Prefork::run(["--listen", "127.0.0.1:0", "--workers", "2", "--store", &redis.url()], None);
    random.wait_for_url();
    random.client().get_with_cookie("/get-session?key=name", &cookie).expect(404);
    let stdout = random.stdout();
    assert_eq!(stdout.lines().count(), 2, "{stdout}");
    assert!(stdout.lines().nth(1).expect("a note").contains("SESSION_SECRET"), "{stdout}");
    let client = random.client();
    set(&client, "name", "Grace");
    let workers = until_some(|| Some(random.workers()).filter(|workers| workers.len() == 2));
    ask_every_worker(&client, &workers, &mut 0, &[("name", "Grace")]);
}

#[test]
fn a_logout_ends_the_session_for_every_copy_of_its_cookie() {
    let redis = Redis::start();
    let server = Prefork::start(&redis.url());
    let client = server.client();
    set(&client, "name", "Ada");
    let cookie = client.cookie().expect("a cookie");
    let thief = server.client();
    assert_eq!(thief.get_with_cookie("/get-session?key=name", &cookie).expect(200), "Ada");

    let answer = client.get("/clear-session");
    answer.expect(200);
    assert_eq!(answer.set_cookie(), Some("sid=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0"));
    assert_eq!(client.cookie(), None);
    assert_eq!(redis.keys(), Vec::<String>::new());
    client.get("/get-session?key=name").expect(404);
    for _ in 0..WORKERS * 2 {
        thief.get_with_cookie("/get-session?key=name", &cookie).expect(404);
    }

    // A second logout is not an error, and the next session is another one.
    client.get("/clear-session").expect(200);
    set(&client, "name", "Grace");
    assert_ne!(client.cookie(), Some(cookie));
}

#[test]
fn what_visitors_set_is_escaped_in_the_page() {
    let redis = Redis::start();
    let server = Prefork::start(&redis.url());
    let client = server.client();
    set(&client, "<script>", r#""><img src='x' onerror=alert(1)>&amp;"#);
    let page = client.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        shows(&page, "&lt;script&gt;", "&quot;&gt;&lt;img src=&#39;x&#39; onerror=alert(1)&gt;&amp;amp;"),
        "{page:?}"
    );
    assert!(!page.body.contains("<script") && !page.body.contains("<img"), "{page:?}");
    let value = client.get("/get-session?key=%3Cscript%3E");
    assert_eq!(value.expect(200), r#""><img src='x' onerror=alert(1)>&amp;"#);
    assert!(value.header("content-type").expect("a type").starts_with("text/plain"), "{value:?}");
}

#[test]
fn requests_that_cannot_be_served_are_told_so_and_make_no_session() {
    let redis = Redis::start();
    let server = Prefork::start(&redis.url());
    let client = server.client();
    for (path, status) in [
        ("/nowhere", 404),
        ("/set-session/", 404),
        ("/get-session?key=missing", 404),
        ("/get-session", 400),
        ("/get-session?value=x", 400),
        ("/set-session", 400),
        ("/set-session?key=name", 400),
        ("/set-session?value=Ada", 400),
        ("/set-session?key=visits&value=many", 400),
        ("/set-session?key=workers&value=many", 400),
        ("/set", 404),
        ("/kill", 404),
        ("/end", 404),
    ] {
        let answer = client.get(path);
        answer.expect(status);
        assert_eq!(answer.set_cookie(), None, "{path}");
    }
    client.get(&format!("/set-session?key={}&value=x", "k".repeat(2000))).expect(413);
    for path in ["/set-session?key=name&value=Ada", "/clear-session", "/"] {
        client.post(path, &[("key", "name"), ("value", "Ada")]).expect(404);
    }
    client.post("/set", &[("key", "name"), ("value", &"x".repeat(5000))]).expect(413);
    assert_eq!((client.cookie(), redis.keys()), (None, vec![]));
    assert_eq!(server.stderr(), "");
}

#[test]
fn the_owner_of_a_damaged_record_can_start_over() {
    let redis = Redis::start();
    let server = Prefork::start(&redis.url());
    let client = server.client();
    set(&client, "name", "Ada");
    let key = redis.records().remove(0);
    let _: u32 = redis.run(&["DEL", &key]);
    let _: u32 = redis.run(&["RPUSH", &key, "a list"]);

    let page = client.get("/");
    assert!(page.expect(500).contains(r#"<form method="post" action="/end"><button>Log out</button></form>"#));
    client.post("/set", &[("key", "name"), ("value", "Grace")]).expect(500);
    let answer = client.post("/end", &[]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
    assert_eq!((client.cookie(), redis.records().len()), (None, 0));
    assert_eq!(heading_of(&client.get("/")).0, 1);
}

#[test]
fn without_the_store_nobody_has_a_session_until_it_is_back() {
    let mut redis = Redis::start();
    let server = Prefork::start(&redis.url());
    let client = server.client();
    set(&client, "name", "Ada");
    let cookie = client.cookie();

    redis.kill();
    for path in ["/", "/get-session?key=name", "/set-session?key=name&value=Grace", "/clear-session"] {
        let answer = client.get(path);
        let page = answer.expect(503);
        assert!(page.contains("<h1>Sessions are out of order; please try again soon</h1>"), "{path}: {page}");
        assert!(page.contains(r#"<a class="button" href="/">Try again</a>"#), "{path}: {page}");
        assert_eq!(answer.set_cookie(), None, "{path}");
    }
    for path in ["/set", "/kill", "/end"] {
        client.post(path, &[("key", "name"), ("value", "Grace")]).expect(503);
    }
    client.get("/nowhere").expect(404);
    assert_eq!(client.cookie(), cookie);
    let stderr = server.stderr();
    assert_eq!(stderr.lines().count(), 7, "{stderr}");
    assert!(stderr.lines().all(|line| line.starts_with("prefork: the session store failed: ")), "{stderr}");

    // It comes back empty: the visitor has no session, and can get one.
    redis.restart();
    let mut visits = 0;
    until(|| client.get("/get-session?key=name").status == 404);
    set(&client, "name", "Grace");
    assert_ne!(client.cookie(), cookie);
    ask_every_worker(&client, &server.workers(), &mut visits, &[("name", "Grace")]);
}
