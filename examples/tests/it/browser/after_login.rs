//! What comes after the login, as a user at a browser sees it.

use super::driver::Browser;
use super::login::Login;
use super::servers::http;
use super::shared_browser::SharedBrowser;
use super::{axe, start_live, start_login, start_login_with_idle_timeout};
use crate::support::until;
use serde_json::json;

#[test]
fn the_login_page_says_that_another_browser_has_logged_this_one_out() {
    let login = start_login();
    let browsers = [Browser::start(), Browser::start()];
    let [here, there] = browsers.each_ref().map(|browser| Login::at(browser, http("site.example", login.port())));
    here.log_in("ada");
    there.log_in("ada");
    there.log_out_everywhere();
    assert!(!browsers[1].has("[role=status]"), "who has logged out here knows it");

    // A form of the page that was open leads there too.
    assert!(here.shows_account());
    here.change_email("mallory@other.test");
    assert!(!here.shows_account());
    assert_eq!(here.message(), "You were logged out from another device.");
    assert!(!here.is_logged_in() && !browsers[0].has("[role=status]"), "it says so once");
}

#[test]
fn a_page_that_polls_does_not_keep_its_user_logged_in() {
    let (login, browser) = (start_login_with_idle_timeout("12"), SharedBrowser::new());
    let site = Login::at(&browser, http("site.example", login.port()));
    site.log_in("ada");
    let line = || browser.text("#time-left");
    assert!(line().starts_with("You will be logged out in "), "{}", line());
    until(|| line().starts_with("You are logged out."));
    // The script asks every 5 seconds, so it has asked before the end too. Each of these would have extended the login.
    let polls = "return performance.getEntriesByType('resource').filter(it => it.name.endsWith('/time-left')).length";
    assert!(browser.run(polls).as_u64().expect("a number") >= 3);
    assert!(site.shows_account(), "what the user has typed stays");
    assert!(!site.is_logged_in());
    assert_eq!(site.message(), "Your login has expired. Please log in again.");
}

#[test]
fn an_open_page_says_that_another_device_has_logged_it_out() {
    let (login, browser) = (start_login(), SharedBrowser::new());
    let site = Login::at(&browser, http("site.example", login.port()));
    site.log_in("ada");
    let tab = browser.tab();
    browser.open_tab();
    let other = Login::at(&browser, http("phone.example", login.port()));
    other.log_in("ada");
    other.log_out_everywhere();
    browser.go_to_tab(&tab);
    until(|| site.shows_account() && browser.text("#time-left").starts_with("You are logged out."));
}

#[test]
fn a_live_page_says_at_once_that_another_browser_has_logged_it_out_and_its_pages_have_no_barriers() {
    let (live, browser) = (start_live(), SharedBrowser::new());
    let [here, there] = ["site", "phone"].map(|host| http(&format!("{host}.example"), live.port()));
    let log_in = |url: &str| {
        browser.open(url);
        browser.fill("[name=name]", "ada");
        browser.follow("form[action='/login'] button");
    };
    browser.open(&here);
    axe::check(&browser);
    log_in(&here);
    until(|| browser.text("#live") == "Open pages at this process: 1");
    axe::check(&browser);

    let tab = browser.tab();
    browser.open_tab();
    log_in(&there);
    browser.follow("form[action='/logout-everywhere'] button");
    browser.go_to_tab(&tab);
    until(|| browser.text("#live") == "You are logged out.");
    // The browser does not ask again.
    assert_eq!(browser.run("return events.readyState"), json!(2));
    axe::check(&browser);
}

#[test]
fn without_scripts_the_pages_say_the_same_when_they_are_loaded() {
    let (login, browser) = (start_login(), SharedBrowser::new());
    let site = Login::at(&browser, http("site.example", login.port()));
    browser.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    site.log_in("ada");
    let line = browser.text("#time-left");
    browser.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": false }));
    assert_eq!(line, "You will be logged out in 30 minutes, unless you use the site.");
}

#[test]
fn a_role_that_another_browser_changes_shows_on_the_next_page() {
    let (login, browser) = (start_login(), SharedBrowser::new());
    let site = Login::at(&browser, http("site.example", login.port()));
    let administrator = Login::at(&browser, http("office.example", login.port()));
    site.log_in("ada");
    assert!(browser.text("main").contains("You are ada, reader."));
    administrator.log_in("margaret");
    browser.follow("a[href='/roles']");
    browser.follow("form[action='/roles'] button");
    assert_eq!(administrator.message(), "The role of ada is editor now.");
    assert!(browser.has("[aria-checked=true]"));

    assert!(site.is_logged_in());
    assert!(browser.text("main").contains("You are ada, editor."), "{}", browser.text("main"));
}
