//! The pages of the examples hold no barriers. This also takes the pictures of the README.

use super::driver::SharedBrowser;
use super::login::Login;
use super::servers::http;
use super::views::take_pictures;
use super::{axe, start_login, start_login_on, start_prefork};
use crate::support::redis::Redis;
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
    browser.click("form[action='/login'] button");
    browser.wait_for("[role=status]");
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
    browser.wait_for("[role=status]");
    axe::check(&browser);
    assert_eq!(site.devices(), 2);
    take_pictures(&browser, "login");

    // The step-up, with a long address that was typed before.
    browser.click("[role=switch]");
    browser.wait_for("[role=switch][aria-checked=true]");
    site.change_email(&format!("{}@site.example", "a".repeat(60)));
    browser.wait_for("form[action='/email'] [name=password]");
    axe::check(&browser);

    site.log_out_another_device();
    axe::check(&browser);
    browser.go_to_tab(&phone);
    assert!(!Login::at(&browser, http("phone.example", login.port())).is_logged_in());
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
    browser.click("form[action='/kill'] button");
    browser.wait_for("[role=status]");
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
    browser.wait_for("main a[href='/']");
    axe::check(&browser);

    assert!(site.is_logged_in());
    browser.run("document.querySelector('form[action=\"/email\"] [name=csrf_token]').value = 'another'");
    site.change_email("ada@site.example");
    browser.wait_for("main a[href='/']");
    axe::check(&browser);

    redis.kill();
    browser.open(&url);
    browser.wait_for("main a[href='/']");
    axe::check(&browser);
}

/// Sets a value of the session by the form of the page.
fn set(browser: &SharedBrowser, key: &str, value: &str) {
    browser.fill("[name=key]", key);
    browser.fill("[name=value]", value);
    browser.click("form[action='/set'] button");
    browser.wait_for("dl");
}
