//! The "back" button. Pages of the examples have `Cache-Control: no-store`, and a logout takes the cookie away: without
//! that, Chromium may keep even such a page in memory and show it again.

use super::login::Login;
use super::servers::http;
use super::shared_browser::SharedBrowser;
use super::start_login;

#[test]
fn back_after_a_logout_shows_no_page_of_the_user() {
    let (login, browser) = (start_login(), SharedBrowser::new());
    let site = Login::at(&browser, http("site.example", login.port()));
    site.log_in("ada");
    site.change_email("ada@site.example");
    site.log_out();
    for _ in 0..2 {
        browser.back();
        assert!(!site.shows_account());
        assert!(!browser.run("return document.documentElement.outerHTML").to_string().contains("ada@site.example"));
    }
}

#[test]
fn back_after_a_logout_in_another_tab_shows_no_page_of_the_user() {
    let (login, browser) = (start_login(), SharedBrowser::new());
    let site = Login::at(&browser, http("site.example", login.port()));
    site.log_in("ada");
    browser.open(&http("other.test", login.port()));
    let tab = browser.tab();
    browser.open_tab();
    assert!(site.is_logged_in());
    site.log_out();
    browser.go_to_tab(&tab);
    browser.back();
    assert!(!site.shows_account());
}
