//! Profiles, and restarts of the browser on the same profile.

use super::cookies::{DAY, assert_expires, now, only_cookie};
use super::driver::Browser;
use super::login::Login;
use super::servers::{Server, http};
use super::start_login;
use crate::support::builder;

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
    let login = start_login();
    for (remember, age) in [(false, DAY / 48), (true, 30 * DAY)] {
        let before = now();
        let browser = Browser::start();
        Login::at(&browser, http("site.example", login.port())).log_in_and("ada", remember);
        let cookie = only_cookie(&browser);
        assert_expires(&cookie, before, age);
        let profile = browser.profile();
        browser.quit();

        let browser = Browser::with(&profile);
        assert_eq!(only_cookie(&browser), cookie);
        assert!(Login::at(&browser, http("site.example", login.port())).is_logged_in());
    }
}

/// Without persistent cookies, no session outlives the browser, so there is no "remember me" today.
#[test]
fn without_persistent_cookies_a_restart_of_the_browser_ends_its_sessions() {
    for (persistent, kept, visits) in [(true, 1, "2"), (false, 0, "1")] {
        let server = Server::counting(builder("memory:").persistent(persistent).build().unwrap());
        let site = http("site.example", server.port());
        let browser = Browser::start();
        browser.open(&site);
        assert_eq!(only_cookie(&browser)["session"], !persistent);
        let profile = browser.profile();
        browser.quit();

        let browser = Browser::with(&profile);
        assert_eq!(browser.cookies().len(), kept);
        browser.open(&site);
        assert_eq!(browser.text("h1"), visits);
    }
}
