//! Profiles, and restarts of the browser on the same profile.

use super::cookies::{DAY, assert_expires, now};
use super::driver::Browser;
use super::login::Login;
use super::servers::{Server, http};
use super::start_login;
use crate::support::builder;
use serde_json::Value;

#[test]
fn two_profiles_are_two_sessions_and_one_logs_the_other_out() {
    let login = start_login();
    let [first, second] = [Browser::start(), Browser::start()];
    let [here, there] = [&first, &second].map(|browser| Login::at(browser, http("site.example", login.port())));
    here.log_in("ada");
    assert!(!there.is_logged_in());
    there.log_in("ada");
    assert_eq!([here.devices(), there.devices()], [2, 2]);

    here.log_out_another_device();
    assert_eq!(here.devices(), 1);
    assert!(!there.is_logged_in());
    there.log_in("grace");
    assert_eq!([here.devices(), there.devices()], [1, 1]);
}

#[test]
fn a_restart_of_the_browser_keeps_a_login_that_is_to_be_remembered_and_loses_another_one() {
    let (login, before, browser) = (start_login(), now(), Browser::start());
    let logins = [("remembered.example", true), ("other.example", false)];
    for (host, remember) in logins {
        let site = Login::at(&browser, http(host, login.port()));
        site.log_in_and("ada", remember);
        assert!(site.is_logged_in());
        let cookie = cookie_of(&browser, host).expect("a cookie");
        assert_eq!(cookie["session"], !remember, "{cookie}");
        if remember {
            assert_expires(&cookie, before, 30 * DAY);
        }
    }
    let remembered = cookie_of(&browser, "remembered.example");
    let profile = browser.profile();
    browser.quit();

    let browser = Browser::with(&profile);
    assert_eq!(logins.map(|(host, _)| cookie_of(&browser, host)), [remembered, None]);
    for (host, remember) in logins {
        assert_eq!(Login::at(&browser, http(host, login.port())).is_logged_in(), remember, "{host}");
    }
}

#[test]
fn the_setting_of_the_manager_decides_for_sessions_that_choose_nothing() {
    let sites = [("persistent.example", true), ("other.example", false)].map(|(host, persistent)| {
        let manager = builder("memory:").persistent(persistent).build().unwrap();
        (host, persistent, Server::counting(manager))
    });
    let browser = Browser::start();
    for (host, persistent, server) in &sites {
        browser.open(&http(host, server.port()));
        assert_eq!(cookie_of(&browser, host).expect("a cookie")["session"], !persistent, "{host}");
    }
    let profile = browser.profile();
    browser.quit();

    let browser = Browser::with(&profile);
    for (host, persistent, server) in &sites {
        assert_eq!(cookie_of(&browser, host).is_some(), *persistent, "{host}");
        browser.open(&http(host, server.port()));
        assert_eq!(browser.text("h1"), if *persistent { "2" } else { "1" }, "{host}");
    }
}

fn cookie_of(browser: &Browser, host: &str) -> Option<Value> {
    browser.cookies().into_iter().find(|cookie| cookie["domain"] == host)
}
