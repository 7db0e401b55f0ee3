//! Checks that the pages of the examples have no accessibility barriers, and takes screenshots of them.

use super::login::Login;
use super::servers::http;
use super::shared_browser::SharedBrowser;
use super::views::take_pictures;
use super::{axe, start_login, start_login_on, start_login_with_idle_timeout, start_prefork};
use crate::support::redis::Redis;
use crate::support::until;
use serde_json::json;

const PHONE: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile \
                     Safari/537.36";

#[test]
fn the_login_page_has_no_barriers() {
    let (login, browser) = (start_login(), SharedBrowser::new());
    let site = Login::at(&browser, http("site.example", login.port()));
    assert!(!site.is_logged_in());
    axe::check(&browser);

    browser.fill("[name=user]", "ada");
    browser.fill("[name=password]", "wrong");
    browser.follow("form[action='/login'] button");
    expect(&browser, "[role=status]");
    axe::check(&browser);
}

#[test]
fn the_account_page_has_no_barriers() {
    let (login, browser) = (start_login(), SharedBrowser::new());
    // Another host name makes another device of the same browser.
    let phone = browser.open_tab();
    browser.devtools("Emulation.setUserAgentOverride", &json!({ "userAgent": PHONE }));
    Login::at(&browser, http("phone.example", login.port())).log_in("ada");
    browser.open_tab();
    let site = Login::at(&browser, http("site.example", login.port()));
    site.log_in("ada");
    axe::check(&browser);
    site.change_email("ada@site.example");
    expect(&browser, "[role=status]");
    axe::check(&browser);
    assert_eq!(site.devices(), 2);
    take_pictures(&browser, "login");

    // The step-up, with a long address and a wrong password.
    browser.follow("[role=switch]");
    axe::check(&browser);
    browser.fill("[name=password]", "wrong");
    site.change_email(&format!("{}@site.example", "a".repeat(60)));
    assert_eq!(browser.value("[name=email]").len(), 60 + "@site.example".len());
    axe::check(&browser);

    site.log_out_another_device();
    axe::check(&browser);
    browser.go_to_tab(&phone);
    assert!(!Login::at(&browser, http("phone.example", login.port())).is_logged_in());
    axe::check(&browser);
}

#[test]
fn the_pages_after_a_login_have_no_barriers() {
    let (login, browser) = (start_login_with_idle_timeout("12"), SharedBrowser::new());
    let [here, elsewhere] = ["site", "phone"].map(|host| http(&format!("{host}.example"), login.port()));
    let [here, elsewhere] = [here, elsewhere].map(|url| Login::at(&browser, url));
    // The reason of an end.
    here.log_in("ada");
    elsewhere.log_in("ada");
    elsewhere.log_out_everywhere();
    assert!(!here.is_logged_in());
    expect(&browser, "[role=status]");
    axe::check(&browser);
    take_pictures(&browser, "login-ended");

    // A login beyond the limit: refused, and one that ends the oldest.
    elsewhere.log_in_and("margaret", true);
    assert!(!here.is_logged_in());
    here.fill_in("margaret");
    here.submit_login();
    assert!(here.message().contains("is logged in already"), "{}", here.message());
    axe::check(&browser);
    for host in 1..=5 {
        Login::at(&browser, http(&format!("host{host}.example"), login.port())).log_in_and("grace", true);
    }
    here.log_in_and("grace", true);
    assert!(here.message().contains("Logged out: Chrome"), "{}", here.message());
    axe::check(&browser);

    // The administrator's page.
    assert!(elsewhere.is_logged_in());
    browser.follow("a[href='/roles']");
    axe::check(&browser);
    browser.follow("form[action='/roles'] button");
    expect(&browser, "[role=status]");
    axe::check(&browser);
    take_pictures(&browser, "roles");

    // The open page of a login that has ended.
    let last = Login::at(&browser, http("last.example", login.port()));
    last.log_in("ada");
    assert!(last.is_logged_in());
    until(|| browser.has("#time-left[role=status]"));
    axe::check(&browser);
}

#[test]
fn the_page_of_prefork_has_no_barriers() {
    let (prefork, browser) = (start_prefork(), SharedBrowser::new());
    let site = http("site.example", prefork.port());
    browser.open(&site);
    axe::check(&browser);
    for (key, value) in [("name", "Ada"), ("favourite machine", "the Analytical Engine")] {
        set(&browser, key, value);
    }
    for _ in 0..6 {
        browser.open(&site);
    }
    axe::check(&browser);
    take_pictures(&browser, "prefork");

    set(&browser, &"long".repeat(30), &"longer".repeat(100));
    browser.follow("form[action='/kill'] button");
    expect(&browser, "[role=status]");
    axe::check(&browser);
}

#[test]
fn the_pages_of_errors_have_no_barriers() {
    let (mut redis, browser) = (Redis::start(), SharedBrowser::new());
    let login = start_login_on(&redis.url());
    let url = http("site.example", login.port());
    let site = Login::at(&browser, url.clone());
    site.log_in("ada");
    browser.open(&format!("{url}nowhere"));
    expect(&browser, "main a[href='/']");
    axe::check(&browser);

    assert!(site.is_logged_in());
    browser.run("document.querySelector('form[action=\"/email\"] [name=csrf_token]').value = 'another'");
    site.change_email("ada@site.example");
    expect(&browser, "main a[href='/']");
    axe::check(&browser);

    redis.kill();
    browser.open(&url);
    expect(&browser, "main a[href='/']");
    axe::check(&browser);
}

#[track_caller]
fn expect(browser: &SharedBrowser, selector: &str) {
    assert!(browser.has(selector), "{selector} is missing: {}", browser.text("main"));
}

/// Sets a value of the session by the form of the page.
fn set(browser: &SharedBrowser, key: &str, value: &str) {
    browser.fill("[name=key]", key);
    browser.fill("[name=value]", value);
    browser.follow("form[action='/set'] button");
    expect(browser, "dl");
}
