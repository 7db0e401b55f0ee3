//! Two tabs of one browser, which share a session.

use super::login::Login;
use super::servers::http;
use super::shared_browser::SharedBrowser;
use super::start_login;

#[test]
fn a_logout_in_one_tab_holds_in_the_other() {
    let (login, browser) = (start_login(), SharedBrowser::new());
    let site = Login::at(&browser, http("site.example", login.port()));
    site.log_in("ada");
    let first = browser.tab();
    let second = browser.open_tab();
    assert!(site.is_logged_in());
    site.log_out();

    browser.go_to_tab(&first);
    assert!(site.shows_account(), "the old page still stands there");
    site.change_email("mallory@other.test");
    assert!(!site.shows_account());
    browser.go_to_tab(&second);
    site.log_in("ada");
    assert_eq!(site.email(), "");
    browser.go_to_tab(&first);
    assert!(site.is_logged_in(), "a login in the other tab holds here too");
}

#[test]
fn a_login_form_that_was_open_during_a_login_in_another_tab_changes_no_user() {
    let (login, browser) = (start_login(), SharedBrowser::new());
    let site = Login::at(&browser, http("site.example", login.port()));
    assert!(!site.is_logged_in());
    site.fill_in("grace");
    let first = browser.tab();
    browser.open_tab();
    site.log_in("ada");

    browser.go_to_tab(&first);
    site.submit_login();
    assert_eq!(site.user(), "ada");
}

#[test]
fn a_form_that_was_open_while_another_user_logged_in_is_refused_and_a_new_one_is_taken() {
    let (login, browser) = (start_login(), SharedBrowser::new());
    let site = Login::at(&browser, http("site.example", login.port()));
    site.log_in("ada");
    let first = browser.tab();
    browser.open_tab();
    assert!(site.is_logged_in());
    site.log_out();
    site.log_in("grace");

    browser.go_to_tab(&first);
    assert_eq!(site.user(), "ada", "the old page still stands there");
    site.change_email("ada@site.example");
    assert!(browser.has("main a[href='/']"), "{}", browser.text("main"));
    assert_eq!(site.email(), "");
    site.change_email("grace@site.example");
    assert_eq!(site.email(), "grace@site.example");
}
