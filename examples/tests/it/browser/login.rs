//! The example `login`, as a user at a browser sees it.

use super::driver::Browser;

const LOG_IN: &str = "form[action='/login'] button";
const LOG_OUT: &str = "form[action='/logout'] button";
const LOG_OUT_ANOTHER: &str = "form[action='/revoke'] button";
const EMAIL: &str = "[name=email]";

/// The tab of a browser with a page of the site. Buttons and fields are found by what they send.
pub struct Login<'b> {
    browser: &'b Browser,
    url: String,
}

impl<'b> Login<'b> {
    /// `url`: the start page of the site.
    pub fn at(browser: &'b Browser, url: String) -> Login<'b> {
        Login { browser, url }
    }

    /// Opens the start page, and gives whether the login page does not come instead.
    #[track_caller]
    pub fn is_logged_in(&self) -> bool {
        self.browser.open(&self.url);
        self.shows_account()
    }

    /// Whether the page in the tab is that of an account, and not the login page.
    #[track_caller]
    pub fn shows_account(&self) -> bool {
        let shows_account = self.browser.has(LOG_OUT);
        assert_ne!(shows_account, self.browser.has(LOG_IN), "{}", self.browser.text("body"));
        shows_account
    }

    #[track_caller]
    pub fn log_in(&self, user: &str) {
        self.log_in_and(user, false);
    }

    /// Opens the site and logs in.
    #[track_caller]
    pub fn log_in_and(&self, user: &str, remember: bool) {
        self.browser.open(&self.url);
        self.fill_in(user);
        if remember {
            self.browser.click("[name=remember]");
        }
        self.submit_login();
        assert!(self.shows_account());
    }

    /// Types the name and the password of a user.
    #[track_caller]
    pub fn fill_in(&self, user: &str) {
        self.browser.fill("[name=user]", user);
        let password = match user {
            "ada" => "engine",
            "grace" => "compiler",
            _ => "apollo",
        };
        self.browser.fill("[name=password]", password);
    }

    #[track_caller]
    pub fn submit_login(&self) {
        self.browser.follow(LOG_IN);
    }

    #[track_caller]
    pub fn log_out(&self) {
        self.browser.follow(LOG_OUT);
        assert!(!self.shows_account());
    }

    /// Logs the user out on all devices.
    #[track_caller]
    pub fn log_out_everywhere(&self) {
        assert!(self.is_logged_in());
        self.browser.follow("form[action='/logout-everywhere'] button");
        assert!(!self.shows_account());
    }

    /// The message of the page.
    #[track_caller]
    pub fn message(&self) -> String {
        self.browser.text("[role=status]")
    }

    /// The user whose account is shown.
    #[track_caller]
    pub fn user(&self) -> String {
        self.browser.text("main strong")
    }

    /// Types an e-mail address and sends it.
    #[track_caller]
    pub fn change_email(&self, email: &str) {
        self.browser.fill(EMAIL, email);
        self.browser.follow("form[action='/email'] button");
    }

    /// Opens the account, and gives the e-mail address that it shows.
    #[track_caller]
    pub fn email(&self) -> String {
        assert!(self.is_logged_in());
        self.browser.value(EMAIL)
    }

    /// Opens the account, and gives how many devices it shows.
    #[track_caller]
    pub fn devices(&self) -> usize {
        assert!(self.is_logged_in());
        1 + self.browser.count(LOG_OUT_ANOTHER)
    }

    /// Logs the only other device out.
    #[track_caller]
    pub fn log_out_another_device(&self) {
        assert_eq!(self.devices(), 2);
        self.browser.follow(LOG_OUT_ANOTHER);
    }
}
