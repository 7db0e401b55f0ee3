//! Cookies as the browser took them, with all their attributes.

use super::driver::Browser;
use super::login::Login;
use super::servers::{Https, Server, http, https, page};
use super::shared_browser::SharedBrowser;
use super::{start_login, start_prefork};
use crate::support::builder;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tiny_http::Header;

const MINUTE: Duration = Duration::from_secs(60);
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn over_http_the_cookie_belongs_to_one_host_and_no_script_reads_it() {
    let (prefork, browser) = (start_prefork(), SharedBrowser::new());
    let site = http("site.example", prefork.port());
    let before = now();
    browser.open(&site);
    let cookie = only_cookie(&browser);
    let expected = json!({ "name": "sid", "path": "/", "httpOnly": true, "secure": false, "sameSite": "Lax" });
    assert_attributes(&cookie, &expected);
    assert_host_only(&cookie, "site.example");
    assert_expires(&cookie, before, 7 * DAY);
    assert_eq!(browser.run("return document.cookie"), "");

    browser.open(&site);
    assert!(browser.text("h1").starts_with("Visit 2,"));
    browser.open(&http("www.site.example", prefork.port()));
    assert!(browser.text("h1").starts_with("Visit 1,"), "a host below has another session");
}

#[test]
fn over_https_the_cookie_is_secure_and_its_name_has_the_host_prefix() {
    let server = Server::counting(builder("memory:").secure(true).build().unwrap());
    let (proxy, browser) = (Https::before(&server.address()), SharedBrowser::new());
    let site = https("site.example", proxy.port());
    browser.open(&site);
    let cookie = only_cookie(&browser);
    let expected = json!({ "name": "__Host-sid", "path": "/", "httpOnly": true, "secure": true, "sameSite": "Lax" });
    assert_attributes(&cookie, &expected);
    assert_host_only(&cookie, "site.example");

    browser.open(&http("site.example", server.port()));
    assert_eq!(browser.text("h1"), "1", "the cookie does not travel over plain http");
    assert_eq!(only_cookie(&browser), cookie, "and the one of that visit was not taken");
    browser.open(&site);
    assert_eq!(browser.text("h1"), "2");

    browser.open(&format!("{site}logout"));
    assert_eq!(browser.cookies(), [json!(null); 0], "a logout takes the cookie away");
}

#[test]
fn neither_a_neighbour_nor_plain_http_plants_a_cookie_with_the_host_prefix() {
    let manager = builder("memory:").secure(true).build().unwrap();
    let server = Server::counting(manager);
    let (proxy, browser) = (Https::before(&server.address()), SharedBrowser::new());
    let site = https("site.example", proxy.port());
    browser.open(&site);
    let cookie = only_cookie(&browser);

    let planted = ["Domain=site.example; Path=/; Secure", "Path=/", "Domain=site.example; Path=/"];
    let neighbour = Server::start(move |_| {
        planted.iter().fold(page(200, "<h1>planted</h1>"), |answer, attributes| {
            let value = format!("__Host-sid=mine; {attributes}");
            answer.with_header(Header::from_bytes("Set-Cookie", value).expect("ASCII"))
        })
    });
    let over_tls = Https::before(&neighbour.address());
    for url in [
        https("www.site.example", over_tls.port()),
        http("www.site.example", neighbour.port()),
        http("site.example", neighbour.port()),
    ] {
        browser.open(&url);
        assert_eq!(browser.text("h1"), "planted");
        assert_eq!(only_cookie(&browser), cookie, "{url}");
    }
    browser.open(&site);
    assert_eq!(browser.text("h1"), "2");
}

#[test]
fn a_path_keeps_the_cookie_from_other_paths() {
    let server = Server::counting(builder("memory:").secure(true).path("/app").build().unwrap());
    let (proxy, browser) = (Https::before(&server.address()), SharedBrowser::new());
    let site = https("site.example", proxy.port());
    let visits = |path: &str| {
        browser.open(&format!("{site}{path}"));
        browser.text("h1")
    };
    assert_eq!(visits("app"), "1");
    assert_attributes(&only_cookie(&browser), &json!({ "name": "__Secure-sid", "path": "/app", "secure": true }));
    assert_eq!(["app/below", "app", "apple", ""].map(visits), ["2", "3", "1", "1"]);
}

#[test]
fn a_site_behind_a_proxy_that_speaks_https_logs_in_and_out() {
    let (login, browser) = (start_login(), SharedBrowser::new());
    let proxy = Https::before(login.address());
    let site = Login::at(&browser, https("site.example", proxy.port()));
    site.log_in("ada");
    assert!(browser.url().starts_with("https://site.example:"), "{}", browser.url());
    assert_eq!(only_cookie(&browser)["name"], "login");
    site.log_out();
    assert!(browser.url().starts_with("https://site.example:"), "{}", browser.url());
}

#[track_caller]
fn only_cookie(browser: &Browser) -> Value {
    let [cookie] = <[Value; 1]>::try_from(browser.cookies()).expect("one cookie");
    cookie
}

#[track_caller]
fn assert_attributes(cookie: &Value, expected: &Value) {
    for (name, value) in expected.as_object().expect("attributes") {
        assert_eq!(cookie[name], *value, "{name} of {cookie}");
    }
}

/// The domain of a cookie that goes to other hosts too begins with a dot.
#[track_caller]
fn assert_host_only(cookie: &Value, host: &str) {
    assert_eq!(cookie["domain"], host, "{cookie}");
}

/// Chromium has taken the cookie between `before` and now. A cookie outlives the idle timeout by the interval of the
/// refreshes.
#[track_caller]
pub(super) fn assert_expires(cookie: &Value, before: f64, idle_timeout: Duration) {
    let life = idle_timeout + MINUTE.min(idle_timeout / 100);
    let taken = cookie["expires"].as_f64().expect("a time") - life.as_secs_f64();
    assert!(before - 1.0 <= taken && taken <= now() + 1.0, "{cookie}");
}

pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs_f64()
}
