//! What pages of another site can do with the session.

use super::login::Login;
use super::servers::{Https, Server, http, https};
use super::shared_browser::SharedBrowser;
use super::start_login;
use crate::support::builder;
use multi_process_session::SameSite;

#[test]
fn a_form_on_another_site_comes_without_the_cookie_and_a_link_with_it() {
    let (server, browser) = (Server::counting(builder("memory:").build().unwrap()), SharedBrowser::new());
    let site = http("site.example", server.port());
    let other = Server::showing(format!("{}<a href=\"{site}\">a link</a>", form(&site, &[])));
    browser.open(&site);

    browser.open(&http("other.test", other.port()));
    browser.follow("button");
    assert_eq!(browser.text("h1"), "refused to a stranger");

    browser.open(&http("other.test", other.port()));
    browser.follow("a");
    assert_eq!(browser.text("h1"), "2");
}

#[test]
fn a_form_on_another_site_that_comes_with_the_cookie_lacks_the_token() {
    let manager = builder("memory:").secure(true).same_site(SameSite::None).build().unwrap();
    // The attacker has a session too, and the token of its forms.
    let mut attacker = manager.load(None).unwrap();
    let token = attacker.csrf_token();
    attacker.save().unwrap();

    let (server, browser) = (Server::counting(manager), SharedBrowser::new());
    let proxy = Https::before(&server.address());
    let site = https("site.example", proxy.port());
    browser.open(&site);
    for fields in [vec![], vec![("csrf_token", ""), ("a", "b")], vec![("csrf_token", token.as_str())]] {
        let other = Server::showing(form(&site, &fields));
        browser.open(&http("other.test", other.port()));
        browser.follow("button");
        assert_eq!(browser.text("h1"), "refused to a visitor");
    }
    browser.open(&site);
    browser.follow("button");
    assert_eq!(browser.text("h1"), "changed by a visitor");
}

#[test]
fn another_site_neither_changes_an_account_nor_logs_its_owner_out_or_in_as_somebody_else() {
    let (login, browser) = (start_login(), SharedBrowser::new());
    let url = http("site.example", login.port());
    let site = Login::at(&browser, url.clone());
    site.log_in("ada");
    site.change_email("ada@site.example");
    for (path, fields) in [
        ("email", &[("email", "mallory@other.test")][..]),
        ("logout", &[]),
        ("logout-everywhere", &[]),
        ("login", &[("user", "grace"), ("password", "compiler")]),
    ] {
        let other = Server::showing(form(&format!("{url}{path}"), fields));
        browser.open(&http("other.test", other.port()));
        browser.follow("button");
        assert_eq!(site.email(), "ada@site.example", "after {path}");
    }
}

/// A form with a button that sends these fields.
fn form(action: &str, fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">");
    let fields: String = fields.iter().map(field).collect();
    format!("<form method=\"post\" action=\"{action}\">{fields}<button>Win a prize</button></form>")
}
