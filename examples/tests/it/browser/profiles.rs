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

/// Today a manager makes all its cookies persistent, or none. With persistent cookies, "remember me" is a longer idle
/// timeout. So a login outlives the browser either way: for half an hour, or for a month.
#[test]
fn with_persistent_cookies_a_login_outlives_the_browser_for_half_an_hour_or_if_remembered_for_a_month() {
    let (login, before, browser) = (start_login(), now(), Browser::start());
    let logins = [("plain.example", false, DAY / 48), ("remembered.example", true, 30 * DAY)];
    for (host, remember, idle_timeout) in logins {
        Login::at(&browser, http(host, login.port())).log_in_and("ada", remember);
        assert_expires(&cookie_of(&browser, host).expect("a cookie"), before, idle_timeout);
    }
    let cookies = logins.map(|(host, ..)| cookie_of(&browser, host));
    let profile = browser.profile();
    browser.quit();

    let browser = Browser::with(&profile);
    assert_eq!(logins.map(|(host, ..)| cookie_of(&browser, host)), cookies);
    for (host, ..) in logins {
        assert!(Login::at(&browser, http(host, login.port())).is_logged_in(), "{host}");
    }
}

/// Without persistent cookies, no session outlives the browser, so there is no "remember me" today.
#[test]
fn without_persistent_cookies_a_restart_of_the_browser_ends_its_sessions() {
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
