//! What comes after the login: why it ended, when it will end, on how many devices it is allowed, and roles.

use super::{Browser, DAY, LAPTOP, MINUTE, PHONE, TABLET, count, leads_to, start, start_with};
use crate::client::Answer;
use crate::example::Example;
use crate::support::place::Place;
use std::time::Duration;

const HOUR: Duration = MINUTE.saturating_mul(60);

/// The message on the login page.
fn told(browser: &Browser) -> Option<String> {
    let page = browser.get("/login");
    let (_, rest) = page.expect(200).split_once("<p role=\"status\">")?;
    rest.split_once("</p>").map(|(message, _)| message.to_owned())
}

#[test]
fn the_login_page_says_why_the_last_session_ended() {
    const ELSEWHERE: &str = "You were logged out from another device.";
    for place in Place::all() {
        let site = start(&place.url());
        let [laptop, phone] = [LAPTOP, PHONE].map(|name| Browser::logged_in(&site, name));
        leads_to(&laptop.submit("/", "/logout-everywhere", &[]), "/login");
        assert_eq!(told(&phone).as_deref(), Some(ELSEWHERE));
        assert_eq!(told(&laptop), None, "the user has logged out here, and knows it");

        // A form of the page that was open shows it too.
        phone.log_in(&[]);
        let token = phone.token("/", "/email");
        laptop.log_in(&[]);
        leads_to(&laptop.submit("/", "/logout-elsewhere", &[]), "/");
        leads_to(&phone.post("/email", &[("csrf_token", &token), ("email", "x")]), "/login");
        assert_eq!(told(&phone).as_deref(), Some(ELSEWHERE));

        // A copy of a cookie that was logged out on its own device.
        let copy = Browser::new(&site, TABLET);
        copy.plant(&laptop.cookie().expect("a cookie"));
        leads_to(&laptop.submit("/", "/logout", &[]), "/login");
        assert_eq!(told(&copy).as_deref(), Some("You have logged out."));

        phone.log_in(&[]);
        place.let_time_pass_for_all(31 * MINUTE);
        let unused = "Your login has expired. Please log in again.";
        assert_eq!(told(&phone).as_deref(), Some(unused));
        assert_eq!(told(&phone), None, "once");
        assert_eq!(told(&Browser::new(&site, TABLET)), None);
    }
}

#[test]
fn a_poll_says_how_much_time_is_left_and_does_not_extend_it() {
    for place in Place::all() {
        let site = start_with(&place.url(), &["--idle-timeout", "36000"]);
        let (polled, used) = (Browser::logged_in(&site, LAPTOP), Browser::logged_in(&site, PHONE));
        let poll = |browser: &Browser| {
            // The page has it too, for browsers without scripts. The answer is plain text.
            let answer = browser.0.get("/time-left");
            assert_eq!(answer.set_cookie(), None);
            (answer.status, answer.body)
        };
        for hour in 1..=8 {
            place.let_time_pass_for_all(HOUR);
            let text = format!("You will be logged out in {} hours, unless you use the site.", 10 - hour);
            assert_eq!(poll(&polled), (200, text));
            assert!(used.is_logged_in());
        }
        place.let_time_pass_for_all(3 * HOUR);
        let gone = (401, "You are logged out. Reload the page to log in again.".to_owned());
        assert_eq!((poll(&polled), polled.is_logged_in(), used.is_logged_in()), (gone.clone(), false, true));
        assert_eq!(poll(&Browser::new(&site, TABLET)), gone);

        let page = used.account().expect("it is logged in");
        assert!(page.contains("You will be logged out in 10 hours, unless you use the site."), "{page}");
        used.submit("/", "/logout", &[]);
        used.log_in(&[("remember", "on")]);
        assert!(poll(&used).1.contains(" in 30 days, "));
        place.let_time_pass_for_all(29 * DAY);
        assert!(poll(&used).1.contains(" in 24 hours, "), "{:?}", poll(&used));
    }
}

#[test]
fn a_login_says_which_devices_it_has_logged_out() {
    for place in Place::all() {
        let site = start(&place.url());
        let first = Browser::logged_in(&site, PHONE);
        let others: Vec<Browser> = (0..4).map(|_| Browser::logged_in(&site, LAPTOP)).collect();
        let sixth = Browser::logged_in(&site, TABLET);
        let page = sixth.account().expect("it is logged in");
        let message = "<p role=\"status\">Welcome, ada. You can use 5 devices. Logged out: Chrome on Android.</p>";
        assert!(page.contains(message), "{page}");
        assert_eq!(
            told(&first).as_deref(),
            Some("You were logged out, because you have logged in on too many other devices.")
        );
        assert!(others.iter().all(Browser::is_logged_in));
        assert_eq!(sixth.devices().len(), 5);
    }
}

#[test]
fn an_administrator_can_use_one_device_at_a_time() {
    const REFUSED: &str = "margaret can use one device at a time, and is logged in already. Log out there.";
    for place in Place::all() {
        let site = start(&place.url());
        let (first, second) = (administrator(&site), Browser::new(&site, PHONE));
        second.get("/login").expect(200);
        let before = second.cookie().expect("the form makes a session");
        leads_to(&try_administrator(&second), "/login");
        assert_eq!((told(&second).as_deref(), told(&second)), (Some(REFUSED), None));
        assert_eq!((second.cookie(), count(&place, "margaret")), (Some(before), 1), "nothing has changed");
        assert!(first.is_logged_in() && !second.is_logged_in());

        leads_to(&first.submit("/", "/logout", &[]), "/login");
        leads_to(&try_administrator(&second), "/");
        assert!(second.is_logged_in());
        // Others are not concerned.
        assert!([LAPTOP, PHONE].map(|name| Browser::logged_in(&site, name)).iter().all(Browser::is_logged_in));
    }
}

#[test]
fn a_role_that_an_administrator_changes_shows_on_the_next_page_of_every_device() {
    for place in Place::all() {
        let site = start(&place.url());
        let (admin, phone) = (administrator(&site), Browser::logged_in(&site, PHONE));
        // Another process of the same site.
        let other = start(&place.url());
        let laptop = Browser::logged_in(&other, LAPTOP);
        let role = |browser: &Browser| {
            let page = browser.account().expect("it is logged in");
            let (_, rest) = page.split_once("</strong>, ").expect("a role");
            rest.split('.').next().unwrap().to_owned()
        };
        assert_eq!([&admin, &phone, &laptop].map(role), ["administrator", "reader", "reader"]);
        for (now, is_on) in [("editor", true), ("reader", false), ("editor", true)] {
            leads_to(&admin.submit("/roles", "/roles", &[("user", "ada"), ("role", now)]), "/roles");
            assert_eq!([&phone, &laptop].map(role), [now; 2]);
            let page = admin.get("/roles");
            assert!(
                page.expect(200).contains(&format!("<p role=\"status\">The role of ada is {now} now.</p>")),
                "{page:?}"
            );
            assert!(page.body.contains(&format!("aria-checked=\"{is_on}\">ada is an editor</button>")), "{page:?}");
        }
        assert_eq!(role(&Browser::logged_in(&site, TABLET)), "editor", "a new login has it too");

        // Nobody else can change a role, and nobody that of an administrator.
        assert!(!phone.account().unwrap().contains("/roles"));
        phone.get("/roles").expect(404);
        let token = phone.token("/", "/email");
        phone.post("/roles", &[("csrf_token", &token), ("user", "grace"), ("role", "editor")]).expect(404);
        for (user, role) in [("ada", "administrator"), ("ada", ""), ("nobody", "editor"), ("", "")] {
            admin.submit("/roles", "/roles", &[("user", user), ("role", role)]).expect(404);
        }
        admin.submit("/roles", "/roles", &[("user", "margaret"), ("role", "reader")]);
        assert_eq!((role(&admin), role(&phone)), ("administrator".to_owned(), "editor".to_owned()));
        assert!(admin.get("/roles").expect(200).contains("aria-checked=\"false\">grace is an editor"));
    }
}

fn administrator(site: &Example) -> Browser {
    let browser = Browser::new(site, LAPTOP);
    leads_to(&try_administrator(&browser), "/");
    browser
}

fn try_administrator(browser: &Browser) -> Answer {
    browser.submit("/login", "/login", &[("user", "margaret"), ("password", "apollo")])
}
