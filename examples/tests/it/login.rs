//! The example `login` as its users run it: a real process, real sockets, and browsers with a cookie jar each.

use crate::client::{Answer, Client};
use crate::example::Example;
use crate::support::place::Place;
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::wait::PATIENCE;
use crate::support::{manager, until};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_login");
const SECRET: &str = "a secret of the tests, of 32 bytes and more";
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn start(store: &str) -> Example {
    start_with(store, &[])
}

fn start_with(store: &str, options: &[&str]) -> Example {
    let mut site =
        Example::run(PROGRAM, [&["--listen", "127.0.0.1:0", "--store", store], options].concat(), Some(SECRET));
    site.wait_for_url();
    site
}

/// How many sessions a user has, past the site.
fn count(place: &Place, user: &str) -> usize {
    manager(&place.url()).group(user).len().unwrap()
}

/// A browser that fills the forms of the site.
struct Browser(Client);

impl Deref for Browser {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl Browser {
    fn new(site: &Example, name: &str) -> Browser {
        Browser(Client::new(&site.url, name, 3))
    }

    fn logged_in(site: &Example, name: &str) -> Browser {
        let browser = Browser::new(site, name);
        browser.log_in(&[]);
        browser
    }

    fn get(&self, path: &str) -> Answer {
        checked(self.0.get(path))
    }

    /// Sends a form with these fields, and with no token but one that is among them.
    fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        checked(self.0.post(path, fields))
    }

    /// Fills a form of a page and sends it.
    fn submit(&self, page: &str, action: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.token(page, action);
        self.post(action, &[&[("csrf", token.as_str())], fields].concat())
    }

    /// The token in a form of a page.
    fn token(&self, page: &str, action: &str) -> String {
        let page = self.get(page);
        let form = format!(r#"<form method="post" action="{action}"><input type="hidden" name="csrf" value=""#);
        let (_, rest) = page.expect(200).split_once(&form).unwrap_or_else(|| panic!("no form {action}: {page:?}"));
        rest.split('"').next().expect("a split has a first part").to_owned()
    }

    /// Logs in as Ada.
    fn log_in(&self, more: &[(&str, &str)]) -> Answer {
        let answer = self.submit("/login", "/login", &[&[("user", "ada"), ("password", "engine")], more].concat());
        leads_to(&answer, "/");
        answer
    }

    /// The page of the account, or `None` if the login page comes instead.
    fn account(&self) -> Option<String> {
        let page = self.get("/");
        if page.status == 303 {
            leads_to(&page, "/login");
            return None;
        }
        assert!(page.expect(200).contains("<h1>Your account</h1>"), "{page:?}");
        Some(page.body)
    }

    fn is_logged_in(&self) -> bool {
        self.account().is_some()
    }

    /// The rows of the list of devices: browser, address, and public id.
    fn devices(&self) -> Vec<[String; 3]> {
        let page = self.account().expect("it is logged in");
        let row = |row: &str| {
            let mut cells = row.split("</td><td>").map(str::to_owned);
            let id = row.split(r#"name="id" value=""#).nth(1).expect("an id").split('"').next().expect("its end");
            [cells.next().expect("a browser"), cells.next().expect("an address"), id.to_owned()]
        };
        page.split("<tr><td>").skip(1).map(row).collect()
    }

    fn id_of(&self, name: &str) -> String {
        let mut devices = self.devices().into_iter().filter(|device| device[0] == name);
        let [_, _, id] = devices.next().unwrap_or_else(|| panic!("{name} is not in the list"));
        assert_eq!(devices.next(), None);
        id
    }
}

/// Whether a copy of this cookie shows the account.
fn is_good(site: &Example, cookie: &str) -> bool {
    let thief = Browser::new(site, "thief");
    thief.plant(cookie);
    thief.is_logged_in()
}

/// Sees that an answer has the headers that all pages of the site have.
fn checked(answer: Answer) -> Answer {
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(answer.header("content-security-policy").expect("a policy").contains("frame-ancestors 'none'"));
    answer
}

#[track_caller]
fn leads_to(answer: &Answer, path: &str) {
    assert_eq!((answer.status, answer.header("location")), (303, Some(path)), "{}", answer.body);
}

fn max_age(answer: &Answer) -> u64 {
    let cookie = answer.set_cookie().expect("a cookie");
    cookie.split("; Max-Age=").nth(1).expect("a Max-Age").parse().expect("seconds")
}

// ---- logging in ----

#[test]
fn a_wrong_password_logs_nobody_in_and_the_message_shows_once() {
    for place in Place::all() {
        let site = start(&place.url());
        let browser = Browser::new(&site, "Firefox");
        for (user, password) in [("ada", "compiler"), ("ada", ""), ("", ""), ("nobody", "engine"), ("Ada", "engine")] {
            leads_to(&browser.submit("/login", "/login", &[("user", user), ("password", password)]), "/login");
            let message = "<p role=\"status\">This name and password do not go together.</p>";
            assert!(browser.get("/login").expect(200).contains(message));
            assert!(!browser.get("/login").expect(200).contains("role=\"status\""));
            assert!(!browser.is_logged_in());
        }
        assert_eq!((count(&place, "ada"), count(&place, "nobody"), count(&place, "")), (0, 0, 0));
    }
}

#[test]
fn a_login_gives_a_new_id_so_a_planted_cookie_is_worth_nothing() {
    for place in Place::all() {
        let site = start(&place.url());
        let attacker = Browser::new(&site, "attacker");
        attacker.get("/login").expect(200);
        let planted = attacker.cookie().expect("the form's token needs a session");

        let victim = Browser::new(&site, "Firefox");
        victim.plant(&planted);
        victim.log_in(&[]);
        let cookie = victim.cookie().expect("a cookie");
        assert_ne!(cookie, planted);
        assert!(is_good(&site, &cookie) && victim.is_logged_in());
        assert!(!is_good(&site, &planted) && !attacker.is_logged_in());
        assert_eq!(place.records(), 1, "the anonymous session became Ada's");

        // A cookie of an ended session is not adopted either.
        let victim = Browser::new(&site, "Firefox");
        victim.plant(&planted);
        victim.log_in(&[]);
        assert_ne!(victim.cookie(), Some(planted.clone()));
        assert!(!is_good(&site, &planted));
    }
}

#[test]
fn who_is_logged_in_is_not_asked_again_nor_takes_anothers_session_over() {
    let place = Place::sqlite();
    let site = start(&place.url());
    let browser = Browser::logged_in(&site, "Firefox");
    let cookie = browser.cookie();
    leads_to(&browser.get("/login"), "/");
    let token = browser.token("/", "/email");
    leads_to(&browser.post("/login", &[("csrf", &token), ("user", "grace"), ("password", "compiler")]), "/");
    assert_eq!((browser.cookie(), count(&place, "grace")), (cookie, 0));
}

#[test]
fn remember_me_changes_how_long_the_session_and_its_cookie_live() {
    for place in Place::all() {
        let site = start(&place.url());
        let (remembered, other) = (Browser::new(&site, "remembered"), Browser::new(&site, "other"));
        // Half an hour, or 30 days, and the refresh interval.
        assert_eq!(max_age(&other.log_in(&[])), 30 * 60 + 18);
        assert_eq!(max_age(&remembered.log_in(&[("remember", "on")])), 30 * 24 * 60 * 60 + 60);

        place.let_time_pass_for_all(29 * MINUTE);
        assert_eq!(max_age(&other.get("/")), 30 * 60 + 18);
        assert!(other.is_logged_in() && remembered.is_logged_in());
        place.let_time_pass_for_all(31 * MINUTE);
        assert!(!other.is_logged_in());
        place.let_time_pass_for_all(29 * DAY);
        assert_eq!(max_age(&remembered.get("/")), 30 * 24 * 60 * 60 + 60);

        // It ends 90 days after the login, however much it is used.
        place.let_time_pass_for_all(29 * DAY);
        assert!(remembered.is_logged_in());
        place.let_time_pass_for_all(29 * DAY);
        assert!(remembered.is_logged_in());
        place.let_time_pass_for_all(4 * DAY);
        assert!(!remembered.is_logged_in());
    }
}

#[test]
fn the_welcome_shows_once() {
    let place = Place::sqlite();
    let site = start(&place.url());
    let browser = Browser::logged_in(&site, "Firefox");
    let welcome = "<p role=\"status\">Welcome, ada.</p>";
    browser.get("/favicon.ico").expect(404); // browsers ask for it by themselves
    assert!(browser.account().unwrap().contains(welcome));
    assert!(!browser.account().unwrap().contains("role=\"status\""));
}

#[test]
fn a_sixth_login_ends_the_first() {
    for place in Place::all() {
        let site = start(&place.url());
        let browsers: Vec<Browser> = (1..=5).map(|n| Browser::logged_in(&site, &format!("browser {n}"))).collect();
        assert!(browsers.iter().all(Browser::is_logged_in));
        let sixth = Browser::logged_in(&site, "browser 6");
        let logged_in: Vec<bool> = browsers.iter().map(Browser::is_logged_in).collect();
        assert_eq!(logged_in, [false, true, true, true, true]);
        assert_eq!(sixth.devices().len(), 5);
    }
}

// ---- forged forms ----

#[test]
fn a_post_without_the_right_token_is_refused_and_changes_nothing() {
    for place in Place::all() {
        let site = start_with(&place.url(), &["--ask-again-after", "0"]);
        let attacker = Browser::new(&site, "attacker");
        let foreign = attacker.token("/login", "/login");
        let victim = Browser::new(&site, "Firefox");
        let outdated = victim.token("/login", "/login"); // that of the anonymous session it has before the login

        for token in [None, Some(""), Some("a guess"), Some(&foreign)] {
            let fields: Vec<_> = token.into_iter().map(|token| ("csrf", token)).collect();
            victim.post("/login", &[&fields[..], &[("user", "ada"), ("password", "engine")]].concat()).expect(403);
        }
        let stranger = Browser::new(&site, "Firefox");
        stranger.post("/login", &[("csrf", &foreign), ("user", "ada"), ("password", "engine")]).expect(403);
        assert_eq!((stranger.cookie(), count(&place, "ada")), (None, 0));

        victim.log_in(&[]);
        let phone = Browser::logged_in(&site, "phone");
        victim.account().expect("it is logged in"); // takes the welcome
        let (cookie, devices, id) = (victim.cookie(), victim.devices(), victim.id_of("phone"));
        for token in
            [None, Some(""), Some("a guess"), Some(&foreign), Some(&outdated), Some(&phone.token("/", "/email"))]
        {
            let fields: Vec<_> = token.into_iter().map(|token| ("csrf", token)).collect();
            for (path, more) in [
                ("/email", &[("email", "mallory@example.com"), ("password", "engine")][..]),
                ("/revoke", &[("id", &id)]),
                ("/logout-elsewhere", &[]),
                ("/logout-everywhere", &[]),
                ("/logout", &[]),
            ] {
                let answer = victim.post(path, &[&fields[..], more].concat());
                answer.expect(403);
                assert_eq!(answer.set_cookie(), None, "{path}");
            }
        }
        let page = victim.account().expect("it is logged in");
        assert!(!page.contains("mallory") && !page.contains("role=\"status\""), "{page}");
        assert_eq!((victim.cookie(), victim.devices()), (cookie, devices));
        assert!(phone.is_logged_in());
    }
}

#[test]
fn nothing_is_changed_by_a_get() {
    let place = Place::sqlite();
    let site = start(&place.url());
    let browser = Browser::logged_in(&site, "Firefox");
    let token = browser.token("/", "/email");
    for path in ["/email", "/revoke", "/logout-elsewhere", "/logout-everywhere", "/logout", "/nowhere"] {
        browser.get(&format!("{path}?csrf={token}&email=x&id={}", browser.id_of("Firefox"))).expect(404);
    }
    browser.post("/nowhere", &[("csrf", &token)]).expect(404);
    assert!(browser.is_logged_in());
}

#[test]
fn who_is_not_logged_in_gets_the_login_page_and_nothing_else() {
    let place = Place::sqlite();
    let site = start(&place.url());
    let browser = Browser::new(&site, "Firefox");
    let token = browser.token("/login", "/login");
    for path in ["/email", "/revoke", "/logout-elsewhere", "/logout-everywhere", "/logout"] {
        leads_to(&browser.post(path, &[("csrf", &token), ("email", "x"), ("password", "engine")]), "/login");
    }
    let stranger = Browser::new(&site, "Firefox");
    leads_to(&stranger.get("/"), "/login");
    assert_eq!((stranger.cookie(), place.records()), (None, 1), "only the form makes a session");
}

// ---- where you are logged in ----

#[test]
fn every_device_is_listed_and_this_one_is_marked() {
    for place in Place::all() {
        let site = start(&place.url());
        let laptop = Browser::logged_in(&site, "Firefox on a laptop");
        place.let_time_pass_for_all(5 * MINUTE);
        let phone = Browser::logged_in(&site, "Chrome on a phone");
        let other = Browser::new(&site, "of another user");
        leads_to(&other.submit("/login", "/login", &[("user", "grace"), ("password", "compiler")]), "/");

        for (browser, marked) in [(&phone, [true, false]), (&laptop, [false, true])] {
            let mark = |this| if this { "127.0.0.1, this device" } else { "127.0.0.1" }.to_owned();
            let devices = browser.devices().into_iter().map(|[name, address, _]| (name, address));
            let expected = [("Chrome on a phone", marked[0]), ("Firefox on a laptop", marked[1])];
            assert!(devices.eq(expected.map(|(name, this)| (name.to_owned(), mark(this)))), "{:?}", browser.devices());
        }
        let page = phone.account().unwrap();
        assert!(page.contains("<td>Firefox on a laptop</td><td>127.0.0.1</td><td>5 min ago</td><td>just now</td>"));
        assert_eq!(other.devices().len(), 1);
    }
}

#[test]
fn the_list_shows_no_token_and_its_ids_let_nobody_in() {
    for place in Place::all() {
        let site = start(&place.url());
        let (laptop, phone) = (Browser::logged_in(&site, "laptop"), Browser::logged_in(&site, "phone"));
        let page = laptop.account().unwrap();
        for cookie in [laptop.cookie(), phone.cookie()] {
            let token = cookie.as_deref().and_then(|cookie| cookie.strip_prefix("sid=")).expect("a token").to_owned();
            // The id in the token is not shown either. It begins after the version byte.
            assert!(!page.contains(&token) && !page.contains(&token[4..28]), "{page}");
        }
        assert!(!is_good(&site, &format!("sid={}", laptop.id_of("phone"))));
    }
}

#[test]
fn what_browsers_and_visitors_send_is_escaped() {
    let place = Place::sqlite();
    let site = start(&place.url());
    let browser = Browser::logged_in(&site, r#"<script>alert("1")</script>&'"#);
    leads_to(&browser.submit("/", "/email", &[("email", r#""><script>alert(1)</script>"#)]), "/");
    let page = browser.account().unwrap();
    assert!(page.contains("<td>&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;</td>"), "{page}");
    assert!(page.contains(r#"value="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;""#), "{page}");
    assert!(!page.contains("<script"), "{page}");

    let browser = Browser::logged_in(&site, &"x".repeat(1000));
    assert_eq!(browser.id_of(&"x".repeat(200)).len(), 24, "it keeps the beginning only");
}

// ---- logging out ----

#[test]
fn a_button_ends_the_session_of_another_device() {
    for place in Place::all() {
        let site = start(&place.url());
        let (laptop, phone) = (Browser::logged_in(&site, "laptop"), Browser::logged_in(&site, "phone"));
        let other = Browser::new(&site, "of another user");
        leads_to(&other.submit("/login", "/login", &[("user", "grace"), ("password", "compiler")]), "/");
        let ended = "<p role=\"status\">That device is logged out.</p>";
        let already = "<p role=\"status\">That device was logged out already.</p>";

        let id = laptop.id_of("phone");
        leads_to(&laptop.submit("/", "/revoke", &[("id", &id)]), "/");
        assert!(laptop.account().unwrap().contains(ended));
        assert!(!phone.is_logged_in() && laptop.is_logged_in());

        // The same id again, and ids that are not Ada's.
        for id in [id, other.id_of("of another user"), "no id".to_owned()] {
            leads_to(&laptop.submit("/", "/revoke", &[("id", &id)]), "/");
            assert!(laptop.account().unwrap().contains(already));
        }
        assert!(other.is_logged_in());

        // Its own id: the request finds that its session has ended.
        let id = laptop.id_of("laptop");
        let answer = laptop.submit("/", "/revoke", &[("id", &id)]);
        leads_to(&answer, "/login");
        assert_eq!(answer.set_cookie(), None);
        assert_eq!((laptop.is_logged_in(), count(&place, "ada")), (false, 0));
        assert_eq!(site.stderr(), "");
    }
}

#[test]
fn log_out_everywhere_else_leaves_this_device() {
    for place in Place::all() {
        let site = start(&place.url());
        let [laptop, phone, tablet] = ["laptop", "phone", "tablet"].map(|name| Browser::logged_in(&site, name));
        leads_to(&laptop.submit("/", "/logout-elsewhere", &[]), "/");
        assert!(laptop.account().unwrap().contains("<p role=\"status\">Logged out elsewhere: 2.</p>"));
        assert!(!phone.is_logged_in() && !tablet.is_logged_in());
        assert_eq!(laptop.devices().len(), 1);
    }
}

#[test]
fn log_out_everywhere_leaves_none() {
    for place in Place::all() {
        let site = start(&place.url());
        let [laptop, phone] = ["laptop", "phone"].map(|name| Browser::logged_in(&site, name));
        let other = Browser::new(&site, "of another user");
        leads_to(&other.submit("/login", "/login", &[("user", "grace"), ("password", "compiler")]), "/");
        let cookie = laptop.cookie().expect("a cookie");
        let answer = laptop.submit("/", "/logout-everywhere", &[]);
        leads_to(&answer, "/login");
        assert_eq!((max_age(&answer), laptop.cookie()), (0, None));
        assert!(!phone.is_logged_in() && !is_good(&site, &cookie) && other.is_logged_in());
        assert_eq!(count(&place, "ada"), 0);
    }
}

#[test]
fn a_logout_ends_this_session_for_every_copy_of_its_cookie() {
    for place in Place::all() {
        let site = start(&place.url());
        let [laptop, phone] = ["laptop", "phone"].map(|name| Browser::logged_in(&site, name));
        let cookie = laptop.cookie().expect("a cookie");
        let answer = laptop.submit("/", "/logout", &[]);
        leads_to(&answer, "/login");
        assert_eq!(answer.set_cookie(), Some("sid=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0"));
        assert!(!laptop.is_logged_in() && !is_good(&site, &cookie));
        assert!(phone.is_logged_in());
    }
}

// ---- something sensitive ----

#[test]
fn a_fresh_login_is_enough_for_something_sensitive_and_an_old_one_is_not() {
    for place in Place::all() {
        let site = start(&place.url());
        let browser = Browser::logged_in(&site, "Firefox");
        let address = |browser: &Browser| {
            let page = browser.account().expect("it is logged in");
            page.split(r#"name="email" value=""#).nth(1).expect("a field").split('"').next().map(str::to_owned).unwrap()
        };
        leads_to(&browser.submit("/", "/email", &[("email", "ada@example.com")]), "/");
        assert!(browser.account().unwrap().contains("<p role=\"status\">The address has been changed.</p>"));
        assert_eq!(address(&browser), "ada@example.com");

        place.let_time_pass_for_all(6 * MINUTE);
        let cookie = browser.cookie().expect("a cookie");
        assert!(browser.account().unwrap().contains(r#"name="password""#));
        for password in [&[][..], &[("password", "")], &[("password", "compiler")]] {
            leads_to(&browser.submit("/", "/email", &[&[("email", "mallory@example.com")], password].concat()), "/");
            assert!(browser.account().unwrap().contains("please type your password"));
            assert_eq!(address(&browser), "ada@example.com");
        }
        // With the password it is a fresh login: it gets a new id, and stays one device of the list.
        leads_to(&browser.submit("/", "/email", &[("email", "ada@example.org"), ("password", "engine")]), "/");
        assert_eq!(address(&browser), "ada@example.org");
        assert!(!browser.account().unwrap().contains(r#"name="password""#));
        assert_ne!(browser.cookie(), Some(cookie.clone()));
        assert!(!is_good(&site, &cookie));
        assert_eq!(browser.devices().len(), 1);
        leads_to(&browser.submit("/", "/email", &[("email", "ada@example.net")]), "/");
        assert_eq!(address(&browser), "ada@example.net");
    }
}

#[test]
fn how_old_a_login_may_be_is_an_option() {
    let place = Place::sqlite();
    let site = start_with(&place.url(), &["--ask-again-after", "0"]);
    let browser = Browser::logged_in(&site, "Firefox");
    leads_to(&browser.submit("/", "/email", &[("email", "ada@example.com")]), "/");
    let page = browser.account().unwrap();
    assert!(page.contains("please type your password") && !page.contains("ada@example.com"), "{page}");
    leads_to(&browser.submit("/", "/email", &[("email", "ada@example.com"), ("password", "engine")]), "/");
    assert!(browser.account().unwrap().contains("ada@example.com"));
}

#[test]
fn a_session_that_is_ended_meanwhile_changes_nothing() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let site = start(&proxy.url());
    let browser = Browser::logged_in(&site, "Firefox");
    let token = browser.token("/", "/email");

    let release = Arc::new(Barrier::new(2));
    proxy.next(&[Fault::Hold(release.clone())]);
    let loads = || {
        let stats: String = redis.run(&["INFO", "commandstats"]);
        let calls = stats.split("cmdstat_hgetall:calls=").nth(1).expect("sessions were loaded");
        calls.split(',').next().unwrap().parse::<u32>().unwrap()
    };
    let before = loads();
    thread::scope(|scope| {
        let request = scope.spawn(|| browser.post("/email", &[("csrf", &token), ("email", "mallory@example.com")]));
        until(|| loads() > before);
        assert_eq!(manager(&redis.url()).group("ada").clear().unwrap(), 1);
        release.wait();
        let answer = request.join().expect("an answer");
        leads_to(&answer, "/login");
        assert_eq!(answer.set_cookie(), None);
    });
    assert!(!Browser::logged_in(&site, "Firefox").account().unwrap().contains("mallory"));
}

// ---- what goes wrong ----

#[test]
fn without_the_store_nobody_is_taken_for_logged_out() {
    let mut redis = Redis::start();
    let site = start(&redis.url());
    let browser = Browser::logged_in(&site, "Firefox");
    let (cookie, token) = (browser.cookie(), browser.token("/", "/logout"));
    redis.kill();
    let mut answers = vec![browser.get("/"), browser.get("/login")];
    for path in ["/login", "/email", "/revoke", "/logout-elsewhere", "/logout-everywhere", "/logout"] {
        answers.push(browser.post(path, &[("csrf", &token), ("user", "ada"), ("password", "engine")]));
    }
    let count = answers.len();
    for answer in answers {
        assert!(answer.expect(503).contains("<h1>Sessions are out of order; please try again soon</h1>"));
        assert_eq!((answer.set_cookie(), answer.header("location")), (None, None));
    }
    assert_eq!(browser.cookie(), cookie);
    let stderr = site.stderr();
    assert_eq!(stderr.lines().count(), count, "{stderr}");
    assert!(stderr.lines().all(|line| line.starts_with("login: the session store failed: ")), "{stderr}");

    redis.restart();
    until(|| browser.get("/").status == 303);
    browser.log_in(&[]);
    assert!(browser.is_logged_in());
}

#[test]
fn the_owner_of_a_damaged_record_can_log_out_and_others_are_not_concerned() {
    let redis = Redis::start();
    let site = start(&redis.url());
    let broken = Browser::logged_in(&site, "broken");
    let key = redis.records().remove(0);
    let other = Browser::logged_in(&site, "whole");
    let _: u32 = redis.run(&["DEL", &key]);
    let _: u32 = redis.run(&["RPUSH", &key, "a list"]);

    let page = broken.get("/");
    assert!(page.expect(503).contains(r#"<form method="post" action="/logout"><button>Log out</button></form>"#));
    assert_eq!(page.set_cookie(), None);
    broken.get("/logout").expect(503);
    broken.post("/email", &[("email", "mallory@example.com")]).expect(503);
    assert_eq!(redis.run::<String>(&["TYPE", &key]), "list");
    let answer = broken.post("/logout", &[]);
    leads_to(&answer, "/login");
    assert_eq!((max_age(&answer), broken.cookie(), redis.records().len()), (0, None, 1));

    // The list leaves out values of a device that cannot be read.
    let _: u32 = redis.run(&["HSET", &redis.records()[0], ":user_agent", "no JSON"]);
    assert_eq!(other.devices()[0][..2], ["unknown", "127.0.0.1, this device"]);
    assert!(broken.log_in(&[]).set_cookie().is_some() && broken.is_logged_in());
}

#[test]
fn a_form_is_read_up_to_a_limit() {
    let place = Place::sqlite();
    let site = start(&place.url());
    let browser = Browser::logged_in(&site, "Firefox");
    let token = browser.token("/", "/email");
    leads_to(&browser.post("/email", &[("csrf", &token), ("email", &"x".repeat(3000))]), "/");
    browser.post("/email", &[("csrf", &token), ("email", &"y".repeat(4096))]).expect(413);
    let page = browser.account().unwrap();
    assert!(page.contains(&"x".repeat(3000)) && !page.contains(&"y".repeat(100)), "{page}");

    // A body without an end is refused as well.
    let mut connection = TcpStream::connect(site.address()).expect("it listens");
    connection.set_read_timeout(Some(PATIENCE)).expect("a time to wait");
    connection.write_all(b"POST /login HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = format!("1000\r\n{}\r\n", "z".repeat(0x1000));
    connection.write_all(chunk.repeat(2).as_bytes()).unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
}

// ---- the program ----

#[test]
fn without_a_store_it_keeps_sessions_in_a_file_that_goes_with_it() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let left = || std::fs::read_dir(temporary.path()).expect("it is there").count();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut command = Command::new(PROGRAM);
        command.args(["--listen", "127.0.0.1:0"]).env("TMPDIR", temporary.path()).env_remove("SESSION_SECRET");
        let mut site = Example::spawn(command);
        site.wait_for_url();
        assert!(Browser::logged_in(&site, "Firefox").is_logged_in());
        assert_eq!(left(), 1);
        site.signal(signal);
        assert_eq!((site.wait(), left(), site.stderr().as_str()), (Some(0), 0, ""), "{signal}");
        assert!(site.stdout().contains(" with sessions in sqlite://") && site.stdout().contains("SESSION_SECRET"));
    }
}

#[test]
fn options_that_cannot_be_used_are_told_in_one_line() {
    for line in [
        &["--workers", "2"][..],
        &["--ask-again-after"],
        &["--ask-again-after", "soon"],
        &["--ask-again-after", "-1"],
        &["--listen", "nowhere"],
        &["--store", "hunter2"],
    ] {
        let mut site = Example::run(PROGRAM, line, Some(SECRET));
        let code = site.wait();
        let (stdout, stderr) = (site.stdout(), site.stderr());
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{line:?}: {stderr}");
        assert!(stderr.starts_with("login: ") && stderr.lines().count() == 1, "{line:?}: {stderr}");
        assert!(!stderr.contains("hunter2"), "{line:?}: {stderr}");
    }
    let mut site = Example::run(PROGRAM, ["--listen", "127.0.0.1:0", "--store", "redis://127.0.0.1:1"], Some(SECRET));
    let (code, stderr) = (site.wait(), site.stderr());
    assert!(code == Some(1) && stderr.ends_with("; start it, or pass another --store URL\n"), "{stderr}");
    let mut site = Example::run(PROGRAM, ["--help"], None);
    assert_eq!((site.wait(), site.stderr().as_str()), (Some(0), ""));
    assert!(site.stdout().contains("--ask-again-after"));
}
