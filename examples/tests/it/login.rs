//! The example `login` as its users run it: a real process, real sockets, and browsers with a cookie jar each.

mod after_login;

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
const LAPTOP: &str = "Firefox on Linux";
const PHONE: &str = "Chrome on Android";
const TABLET: &str = "Safari on iPad";
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
    /// `name`: that of [`AGENTS`], or the `User-Agent` header itself.
    fn new(site: &Example, name: &str) -> Browser {
        let agent = AGENTS.iter().find(|agent| agent.0 == name).map_or(name, |agent| agent.1);
        Browser(Client::new(&site.url, agent, 3))
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
        self.post(action, &[&[("csrf_token", token.as_str())], fields].concat())
    }

    /// The token in a form of a page.
    fn token(&self, page: &str, action: &str) -> String {
        let page = self.get(page);
        let form = format!(r#"<form method="post" action="{action}"><input type="hidden" name="csrf_token" value=""#);
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

    /// The rows of the list of devices: browser, address, and public id. That of this device has no id.
    fn devices(&self) -> Vec<[String; 3]> {
        let page = self.account().expect("it is logged in");
        let row = |row: &str| {
            let (name, row) = row.split_once("</strong><br>\n<small>").expect("a browser");
            let (address, row) = row.split_once(", logged in ").expect("an address");
            let id = row.split(r#"name="id" value=""#).nth(1).map_or("", |id| id.split('"').next().expect("its end"));
            let this = if row.contains("</small></span>\n<span class=\"soft\">this device</span></li>") {
                ", this device"
            } else {
                ""
            };
            assert_eq!(this.is_empty(), !id.is_empty(), "a button for each other device: {row}");
            [name.to_owned(), format!("{address}{this}"), id.to_owned()]
        };
        page.split("<li><span><strong>")
            .skip(1)
            .map(|rest| row(rest.split_inclusive("</li>").next().unwrap()))
            .collect()
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

const AGENTS: [(&str, &str); 14] = [
    (LAPTOP, "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    (
        PHONE,
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 \
         Mobile Safari/537.36",
    ),
    (
        TABLET,
        "Mozilla/5.0 (iPad; CPU OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 \
         Mobile/15E148 Safari/604.1",
    ),
    (
        "Safari on iPhone",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 \
         Mobile/15E148 Safari/604.1",
    ),
    (
        "Chrome on iPhone",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
         CriOS/142.0.0.0 Mobile/15E148 Safari/604.1",
    ),
    (
        "Safari on macOS",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 \
         Safari/605.1.15",
    ),
    (
        "Edge on Windows",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 \
         Safari/537.36 Edg/142.0.0.0",
    ),
    (
        "Opera on Windows",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 \
         Safari/537.36 OPR/126.0.0.0",
    ),
    (
        "Chrome on Linux",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0 Safari/537.36",
    ),
    // A product that is not known, a Safari that cannot be one, a view within an app, a tool, and nonsense.
    (
        "Unknown browser on Windows",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 \
         Safari/537.36 Vivaldi/7.6",
    ),
    (
        "Unknown browser on Linux",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
    ),
    (
        "Unknown browser on Android",
        "Mozilla/5.0 (Linux; Android 14; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/142.0.0.0 \
         Mobile Safari/537.36",
    ),
    ("Unknown browser", "curl/8.14.1"),
    ("Unknown browser", "<script>alert(\"1\")</script>&' )(/ ( Firefox"),
];

/// Whether the cookie of an answer ends with the browser.
fn is_of_the_browser(answer: &Answer) -> bool {
    !answer.set_cookie().expect("a cookie").contains("Max-Age")
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
        let browser = Browser::new(&site, LAPTOP);
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
fn a_wrong_password_leaves_the_name_and_the_ticked_box_in_the_form() {
    let place = Place::sqlite();
    let site = start(&place.url());
    let browser = Browser::new(&site, LAPTOP);
    let fields = |user: &str, checked| {
        let page = browser.get("/login");
        let page = page.expect(200);
        assert!(page.contains(&format!(r#"<input name="user" value="{user}" "#)), "{page}");
        assert_eq!(page.contains(r#"<input name="remember" type="checkbox" checked>"#), checked, "{page}");
        assert!(!page.contains("s3cret"), "{page}");
    };
    fields("", false);
    let wrong = [("user", "\"><b>ada"), ("password", "s3cret"), ("remember", "on")];
    leads_to(&browser.submit("/login", "/login", &wrong), "/login");
    fields("&quot;&gt;&lt;b&gt;ada", true);
    fields("", false);
    leads_to(&browser.submit("/login", "/login", &[("user", "grace"), ("password", "s3cret")]), "/login");
    fields("grace", false);

    // It does not get in the way of a login that comes before the form is shown again.
    let token = browser.token("/login", "/login");
    let log_in = |password| {
        browser.post("/login", &[("csrf_token", &token), ("user", "ada"), ("password", password), ("remember", "on")])
    };
    leads_to(&log_in("s3cret"), "/login");
    leads_to(&log_in("engine"), "/");
    assert!(browser.is_logged_in());
}

#[test]
fn a_login_gives_a_new_id_so_a_planted_cookie_is_worth_nothing() {
    for place in Place::all() {
        let site = start(&place.url());
        let attacker = Browser::new(&site, "attacker");
        attacker.get("/login").expect(200);
        let planted = attacker.cookie().expect("the form's token needs a session");

        let victim = Browser::new(&site, LAPTOP);
        victim.plant(&planted);
        victim.log_in(&[]);
        let cookie = victim.cookie().expect("a cookie");
        assert_ne!(cookie, planted);
        assert!(is_good(&site, &cookie) && victim.is_logged_in());
        assert!(!is_good(&site, &planted) && !attacker.is_logged_in());
        assert_eq!(place.records(), 1, "the anonymous session became Ada's");

        // A cookie of an ended session is not adopted either.
        let victim = Browser::new(&site, LAPTOP);
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
    let browser = Browser::logged_in(&site, LAPTOP);
    let cookie = browser.cookie();
    leads_to(&browser.get("/login"), "/");
    let token = browser.token("/", "/email");
    leads_to(&browser.post("/login", &[("csrf_token", &token), ("user", "grace"), ("password", "compiler")]), "/");
    assert_eq!((browser.cookie(), count(&place, "grace")), (cookie, 0));
}

#[test]
fn remember_me_changes_how_long_the_session_and_its_cookie_live() {
    for place in Place::all() {
        let site = start(&place.url());
        let (remembered, other) = (Browser::new(&site, "remembered"), Browser::new(&site, "other"));
        assert!(is_of_the_browser(&other.log_in(&[])));
        // 30 days, and the refresh interval.
        assert_eq!(max_age(&remembered.log_in(&[("remember", "on")])), 30 * 24 * 60 * 60 + 60);

        place.let_time_pass_for_all(29 * MINUTE);
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
fn a_second_login_of_the_same_session_keeps_remember_me() {
    let place = Place::sqlite();
    let site = start_with(&place.url(), &["--ask-again-after", "0"]);
    for remember in [true, false] {
        let browser = Browser::new(&site, LAPTOP);
        browser.log_in(if remember { &[("remember", "on")] } else { &[] });
        let cookie = browser.cookie();
        let answer = browser.submit("/", "/email", &[("email", "ada@example.com"), ("password", "engine")]);
        assert_eq!(is_of_the_browser(&answer), !remember);
        assert_ne!(browser.cookie(), cookie, "a new id");
    }
}

#[test]
fn the_welcome_shows_once() {
    let place = Place::sqlite();
    let site = start(&place.url());
    let browser = Browser::logged_in(&site, LAPTOP);
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
        let victim = Browser::new(&site, LAPTOP);
        let outdated = victim.token("/login", "/login"); // that of the anonymous session it has before the login

        for token in [None, Some(""), Some("a guess"), Some(&foreign)] {
            let fields: Vec<_> = token.into_iter().map(|token| ("csrf_token", token)).collect();
            victim.post("/login", &[&fields[..], &[("user", "ada"), ("password", "engine")]].concat()).expect(403);
        }
        let stranger = Browser::new(&site, LAPTOP);
        stranger.post("/login", &[("csrf_token", &foreign), ("user", "ada"), ("password", "engine")]).expect(403);
        assert_eq!((stranger.cookie(), count(&place, "ada")), (None, 0));

        victim.log_in(&[]);
        let phone = Browser::logged_in(&site, PHONE);
        victim.account().expect("it is logged in"); // takes the welcome
        let (cookie, devices, id) = (victim.cookie(), victim.devices(), victim.id_of(PHONE));
        for token in
            [None, Some(""), Some("a guess"), Some(&foreign), Some(&outdated), Some(&phone.token("/", "/email"))]
        {
            let fields: Vec<_> = token.into_iter().map(|token| ("csrf_token", token)).collect();
            for (path, more) in [
                ("/email", &[("email", "mallory@example.com"), ("password", "engine")][..]),
                ("/pretend-old", &[("pretend", "on")]),
                ("/roles", &[("user", "ada"), ("role", "editor")]),
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
        assert!(page.contains(r#"aria-checked="false""#), "{page}");
        assert_eq!((victim.cookie(), victim.devices()), (cookie, devices));
        assert!(phone.is_logged_in());
    }
}

#[test]
fn nothing_is_changed_by_a_get() {
    let place = Place::sqlite();
    let site = start(&place.url());
    let browser = Browser::logged_in(&site, LAPTOP);
    let token = browser.token("/", "/email");
    let phone = Browser::logged_in(&site, PHONE);
    let id = browser.id_of(PHONE);
    let paths = ["/email", "/pretend-old", "/revoke", "/logout-elsewhere", "/logout-everywhere", "/logout", "/nowhere"];
    for path in paths {
        let page = browser.get(&format!("{path}?csrf_token={token}&email=x&pretend=on&id={id}"));
        assert!(page.expect(404).contains(r#"href="/""#), "no page is a dead end");
    }
    browser.post("/nowhere", &[("csrf_token", &token)]).expect(404);
    assert!(browser.is_logged_in() && phone.is_logged_in());
}

#[test]
fn who_is_not_logged_in_gets_the_login_page_and_nothing_else() {
    let place = Place::sqlite();
    let site = start(&place.url());
    let browser = Browser::new(&site, LAPTOP);
    let token = browser.token("/login", "/login");
    for path in ["/email", "/pretend-old", "/roles", "/revoke", "/logout-elsewhere", "/logout-everywhere", "/logout"] {
        leads_to(&browser.post(path, &[("csrf_token", &token), ("email", "x"), ("password", "engine")]), "/login");
    }
    for path in ["/", "/roles"] {
        leads_to(&browser.get(path), "/login");
    }
    let stranger = Browser::new(&site, LAPTOP);
    leads_to(&stranger.get("/"), "/login");
    assert_eq!((stranger.cookie(), place.records()), (None, 1), "only the form makes a session");
}

// ---- where you are logged in ----

#[test]
fn every_device_is_listed_and_this_one_is_marked() {
    for place in Place::all() {
        let site = start(&place.url());
        let laptop = Browser::logged_in(&site, LAPTOP);
        place.let_time_pass_for_all(5 * MINUTE);
        let phone = Browser::logged_in(&site, PHONE);
        let other = Browser::new(&site, "of another user");
        leads_to(&other.submit("/login", "/login", &[("user", "grace"), ("password", "compiler")]), "/");

        for (browser, marked) in [(&phone, [true, false]), (&laptop, [false, true])] {
            let mark = |this| if this { "127.0.0.1, this device" } else { "127.0.0.1" }.to_owned();
            let devices = browser.devices().into_iter().map(|[name, address, _]| (name, address));
            let expected = [(PHONE, marked[0]), (LAPTOP, marked[1])];
            assert!(devices.eq(expected.map(|(name, this)| (name.to_owned(), mark(this)))), "{:?}", browser.devices());
        }
        let page = phone.account().unwrap();
        assert!(page.contains("Linux</strong><br>\n<small>127.0.0.1, logged in 5 min ago, last used just now</small>"));
        assert_eq!(other.devices().len(), 1);
    }
}

#[test]
fn the_list_shows_no_token_and_its_ids_let_nobody_in() {
    for place in Place::all() {
        let site = start(&place.url());
        let (laptop, phone) = (Browser::logged_in(&site, LAPTOP), Browser::logged_in(&site, PHONE));
        let page = laptop.account().unwrap();
        for cookie in [laptop.cookie(), phone.cookie()] {
            let token = cookie.as_deref().and_then(|cookie| cookie.strip_prefix("login=")).expect("a token").to_owned();
            // The id in the token is not shown either. It begins after the version byte.
            assert!(!page.contains(&token) && !page.contains(&token[4..28]), "{page}");
        }
        assert!(!is_good(&site, &format!("login={}", laptop.id_of(PHONE))));
    }
}

#[test]
fn a_device_is_named_by_its_browser_and_system_or_honestly_unknown() {
    let place = Place::sqlite();
    let site = start(&place.url());
    for (name, agent) in AGENTS {
        let browser = Browser::logged_in(&site, agent);
        let page = browser.account().expect("it is logged in");
        assert!(!page.contains("<script>") && !page.contains("alert"), "{page}");
        assert_eq!(browser.devices()[0][..2], [name, "127.0.0.1, this device"], "{agent}");
        leads_to(&browser.submit("/", "/logout", &[]), "/login");
    }
}

#[test]
fn what_visitors_send_is_escaped() {
    let place = Place::sqlite();
    let site = start(&place.url());
    let browser = Browser::logged_in(&site, LAPTOP);
    leads_to(&browser.submit("/", "/email", &[("email", r#""><script>alert(1)</script>"#)]), "/");
    let page = browser.account().unwrap();
    assert!(page.contains(r#"value="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;""#), "{page}");
    assert!(!page.contains("<script>"), "{page}");
}

// ---- logging out ----

#[test]
fn a_button_ends_the_session_of_another_device() {
    for place in Place::all() {
        let site = start(&place.url());
        let (laptop, phone) = (Browser::logged_in(&site, LAPTOP), Browser::logged_in(&site, PHONE));
        let other = Browser::new(&site, "of another user");
        leads_to(&other.submit("/login", "/login", &[("user", "grace"), ("password", "compiler")]), "/");
        let ended = "<p role=\"status\">That device is logged out.</p>";
        let already = "<p role=\"status\">That device was logged out already.</p>";

        let id = laptop.id_of(PHONE);
        leads_to(&laptop.submit("/", "/revoke", &[("id", &id)]), "/");
        assert!(laptop.account().unwrap().contains(ended));
        assert!(!phone.is_logged_in() && laptop.is_logged_in());

        // The same id again, and ids that are not Ada's.
        let tablet = Browser::new(&site, TABLET);
        leads_to(&tablet.submit("/login", "/login", &[("user", "grace"), ("password", "compiler")]), "/");
        let of_another_user = tablet.id_of("Unknown browser");
        for id in [id, of_another_user, "no id".to_owned()] {
            let token = laptop.token("/", "/email"); // alone, it has no form for this
            leads_to(&laptop.post("/revoke", &[("csrf_token", &token), ("id", &id)]), "/");
            assert!(laptop.account().unwrap().contains(already));
        }
        assert!(other.is_logged_in());

        // Its own id: the request finds that its session has ended.
        phone.log_in(&[]);
        let id = phone.id_of(LAPTOP);
        let answer = laptop.submit("/", "/revoke", &[("id", &id)]); // the phone is in its list
        leads_to(&answer, "/login");
        assert_eq!(answer.set_cookie(), None);
        assert_eq!((laptop.is_logged_in(), count(&place, "ada")), (false, 1));
        assert_eq!(site.stderr(), "");
    }
}

#[test]
fn who_was_logged_out_from_elsewhere_is_told_so_once() {
    const TOLD: &str = "<p role=\"status\">You were logged out from another device.</p>";
    for place in Place::all() {
        let site = start(&place.url());
        let [laptop, phone, tablet] = [LAPTOP, PHONE, TABLET].map(|name| Browser::logged_in(&site, name));
        leads_to(&laptop.submit("/", "/revoke", &[("id", &laptop.id_of(PHONE))]), "/");
        leads_to(&laptop.submit("/", "/logout-elsewhere", &[]), "/");
        for browser in [&phone, &tablet] {
            assert!(!browser.is_logged_in());
            assert!(browser.get("/login").expect(200).contains(TOLD));
            assert!(!browser.get("/login").expect(200).contains("role=\"status\""));
            browser.log_in(&[]);
        }
        // Who comes for the first time, or has logged out here, knows it.
        leads_to(&laptop.submit("/", "/logout", &[]), "/login");
        for browser in [laptop, Browser::new(&site, LAPTOP)] {
            assert!(!browser.get("/login").expect(200).contains("role=\"status\""));
        }
    }
}

#[test]
fn log_out_everywhere_else_leaves_this_device() {
    for place in Place::all() {
        let site = start(&place.url());
        let [laptop, phone, tablet] = [LAPTOP, PHONE, TABLET].map(|name| Browser::logged_in(&site, name));
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
        let [laptop, phone] = [LAPTOP, PHONE].map(|name| Browser::logged_in(&site, name));
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
        let [laptop, phone] = [LAPTOP, PHONE].map(|name| Browser::logged_in(&site, name));
        let cookie = laptop.cookie().expect("a cookie");
        let answer = laptop.submit("/", "/logout", &[]);
        leads_to(&answer, "/login");
        assert_eq!(answer.set_cookie(), Some("login=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0"));
        assert!(!laptop.is_logged_in() && !is_good(&site, &cookie));
        assert!(phone.is_logged_in());
    }
}

// ---- something sensitive ----

#[test]
fn a_fresh_login_is_enough_for_something_sensitive_and_an_old_one_is_not() {
    for place in Place::all() {
        let site = start(&place.url());
        let browser = Browser::logged_in(&site, LAPTOP);
        let address = |browser: &Browser| {
            let page = browser.account().expect("it is logged in");
            page.split(r#"name="email" type="email" value=""#)
                .nth(1)
                .expect("a field")
                .split('"')
                .next()
                .map(str::to_owned)
                .unwrap()
        };
        leads_to(&browser.submit("/", "/email", &[("email", "ada@example.com")]), "/");
        assert!(browser.account().unwrap().contains("<p role=\"status\">The address has been changed.</p>"));
        assert_eq!(address(&browser), "ada@example.com");

        place.let_time_pass_for_all(6 * MINUTE);
        let cookie = browser.cookie().expect("a cookie");
        assert!(browser.account().unwrap().contains(r#"name="password""#));
        for password in [&[][..], &[("password", "")], &[("password", "compiler")]] {
            leads_to(&browser.submit("/", "/email", &[&[("email", "mallory@example.com")], password].concat()), "/");
            let page = browser.account().unwrap();
            assert!(page.contains("please type your password"), "{page}");
            assert!(page.contains(r#"value="mallory@example.com""#), "what was typed stays: {page}");
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
fn a_switch_shows_at_once_what_an_old_login_has_to_do() {
    for place in Place::all() {
        let site = start(&place.url());
        let (browser, other) = (Browser::logged_in(&site, LAPTOP), Browser::logged_in(&site, PHONE));
        let is_on = |browser: &Browser| {
            let page = browser.account().expect("it is logged in");
            let is_on = page.contains(r#"<button name="pretend" value="off" role="switch" aria-checked="true">"#);
            let is_off = page.contains(r#"<button name="pretend" value="on" role="switch" aria-checked="false">"#);
            let asks = page.contains(r#"<input name="password""#);
            assert!(is_on != is_off && asks == is_on, "{page}");
            is_on
        };
        assert!(!is_on(&browser));
        leads_to(&browser.submit("/", "/pretend-old", &[("pretend", "on")]), "/");
        assert!(is_on(&browser) && !is_on(&other));
        leads_to(&browser.submit("/", "/pretend-old", &[("pretend", "off")]), "/");
        assert!(!is_on(&browser));

        leads_to(&browser.submit("/", "/pretend-old", &[("pretend", "on")]), "/");
        leads_to(&browser.submit("/", "/email", &[("email", "mallory@example.com")]), "/");
        assert!(is_on(&browser));
        assert!(!browser.account().unwrap().contains("mallory"), "it was typed, not changed");
        // The password makes it a new login, which is not old.
        let cookie = browser.cookie();
        leads_to(&browser.submit("/", "/email", &[("email", "ada@example.com"), ("password", "engine")]), "/");
        assert!(browser.account().unwrap().contains(r#"value="ada@example.com""#) && !is_on(&browser));
        assert_ne!(browser.cookie(), cookie);
    }
}

#[test]
fn how_old_a_login_may_be_is_an_option() {
    let place = Place::sqlite();
    let site = start_with(&place.url(), &["--ask-again-after", "0"]);
    let browser = Browser::logged_in(&site, LAPTOP);
    leads_to(&browser.submit("/", "/email", &[("email", "ada@example.com")]), "/");
    let page = browser.account().unwrap();
    assert!(page.contains("please type your password") && page.contains("a login of the last 0 seconds"), "{page}");
    assert!(!browser.account().unwrap().contains("ada@example.com"), "it was typed, not changed");
    leads_to(&browser.submit("/", "/email", &[("email", "ada@example.com"), ("password", "engine")]), "/");
    assert!(browser.account().unwrap().contains("ada@example.com"));
}

#[test]
fn a_session_that_is_ended_meanwhile_changes_nothing() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let site = start(&proxy.url());
    let browser = Browser::logged_in(&site, LAPTOP);
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
        let request =
            scope.spawn(|| browser.post("/email", &[("csrf_token", &token), ("email", "mallory@example.com")]));
        until(|| loads() > before);
        assert_eq!(manager(&redis.url()).group("ada").clear().unwrap(), 1);
        release.wait();
        let answer = request.join().expect("an answer");
        leads_to(&answer, "/login");
        assert_eq!(answer.set_cookie(), None);
    });
    assert!(!Browser::logged_in(&site, LAPTOP).account().unwrap().contains("mallory"));
}

// ---- what goes wrong ----

#[test]
fn without_the_store_nobody_is_taken_for_logged_out() {
    let mut redis = Redis::start();
    let site = start(&redis.url());
    let browser = Browser::logged_in(&site, LAPTOP);
    let (cookie, token) = (browser.cookie(), browser.token("/", "/logout"));
    redis.kill();
    let mut answers = vec![browser.get("/"), browser.get("/login")];
    for path in ["/login", "/email", "/revoke", "/logout-elsewhere", "/logout-everywhere", "/logout"] {
        answers.push(browser.post(path, &[("csrf_token", &token), ("user", "ada"), ("password", "engine")]));
    }
    let count = answers.len();
    for answer in answers {
        assert!(answer.expect(503).contains("<h1>Sessions are out of order; please try again soon</h1>"));
        assert!(answer.body.contains(r#"<a class="button" href="/">Try again</a>"#), "{answer:?}");
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
    assert!(page.expect(500).contains(r#"<form method="post" action="/logout"><button>Log out</button></form>"#));
    assert_eq!(page.set_cookie(), None);
    broken.get("/logout").expect(500);
    broken.post("/email", &[("email", "mallory@example.com")]).expect(500);
    assert_eq!(redis.run::<String>(&["TYPE", &key]), "list");
    let answer = broken.post("/logout", &[]);
    leads_to(&answer, "/login");
    assert_eq!((max_age(&answer), broken.cookie(), redis.records().len()), (0, None, 1));

    // The list leaves out values of a device that cannot be read.
    let _: u32 = redis.run(&["HSET", &redis.records()[0], ":device", "no JSON"]);
    assert_eq!(other.devices()[0][..2], ["Unknown", "127.0.0.1, this device"]);
    assert!(broken.log_in(&[]).set_cookie().is_some() && broken.is_logged_in());
}

#[test]
fn a_form_is_read_up_to_a_limit() {
    let place = Place::sqlite();
    let site = start(&place.url());
    let browser = Browser::logged_in(&site, LAPTOP);
    let token = browser.token("/", "/email");
    leads_to(&browser.post("/email", &[("csrf_token", &token), ("email", &"x".repeat(3000))]), "/");
    browser.post("/email", &[("csrf_token", &token), ("email", &"y".repeat(4096))]).expect(413);
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
        assert!(Browser::logged_in(&site, LAPTOP).is_logged_in());
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
        &["--idle-timeout"],
        &["--idle-timeout", "0"],
        &["--idle-timeout", "a while"],
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
    assert!(site.stdout().contains("--ask-again-after") && site.stdout().contains("--idle-timeout"));
}
