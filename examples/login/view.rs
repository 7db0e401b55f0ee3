//! The HTML of the example `login`.

use crate::roles::{ADMINISTRATOR, EDITOR, READER, role_of};
use crate::{PRETEND_OLD, Site, USERS, device_of};
use multi_process_session::{EndReason, Error, Session, SessionInfo};
use site::{Response, escape, form, notice, page, page_with_script};
use std::time::{Duration, SystemTime};

/// `name` and `remember` are what was typed with a wrong password.
pub(crate) fn login(
    session: &mut Session,
    ended_because: Option<EndReason>,
    name: &str,
    remember: bool,
) -> Result<Response, Error> {
    let ended = ended_because.map(|reason| format!("<p role=\"status\">{}</p>\n", in_a_sentence(reason)));
    let ended = ended.unwrap_or_default();
    let notice = notice(session)?;
    let (at_name, at_password) = if name.is_empty() { ("autofocus", "") } else { ("", "autofocus") };
    let (name, checked) = (escape(name), if remember { "checked" } else { "" });
    let fields = format!(
        r#"<label>Name <input name="user" value="{name}" autocomplete="username" required {at_name}></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required {at_password}></label>
<label class="check"><input name="remember" type="checkbox" {checked}>Remember me</label>
<button class="main">Log in</button>"#
    );
    let form = form(session, "/login", &fields);
    let known = USERS.map(|(name, password)| format!("<code>{name}</code> with <code>{password}</code>")).join(", or ");
    let body = format!(
        r#"{ended}{notice}<section>
{form}<p class="soft">For this demonstration: {known} (the administrator).</p>
</section>
"#
    );
    Ok(page(200, "Log in", &body))
}

/// Says to the user why this device is not logged in any more.
fn in_a_sentence(reason: EndReason) -> &'static str {
    match reason {
        EndReason::LoggedOut => "You have logged out.",
        EndReason::LoggedOutElsewhere => "You were logged out from another device.",
        EndReason::OverLimit => "You were logged out, because you have logged in on too many other devices.",
        EndReason::Expired => "Your login has expired. Please log in again.",
        _ => "Please log in again.",
    }
}

pub(crate) fn account(
    site: &Site,
    session: &mut Session,
    user: &str,
    devices: &[SessionInfo],
    email: &str,
) -> Result<Response, Error> {
    let (notice, name) = (notice(session)?, escape(user));
    let role = escape(&role_of(session)?);
    let roles = if role == ADMINISTRATOR { "<p><a href=\"/roles\">Roles of the others</a></p>\n" } else { "" };
    let time_left = session.expires_in().map(time_left).unwrap_or_default();
    let log_out = form(session, "/logout", "<button>Log out</button>");
    let rows: String = devices.iter().map(|device| row(session, device)).collect();
    let elsewhere = form(session, "/logout-elsewhere", "<button>Log out everywhere else</button>");
    let everywhere = form(session, "/logout-everywhere", r#"<button class="danger">Log out everywhere</button>"#);
    let (email, switch) = (email_form(site, session, email), pretend_switch(session));
    let age = in_words(site.ask_again_after);
    let body = format!(
        r#"{notice}<div class="row"><p>You are <strong>{name}</strong>, {role}.</p>
{log_out}</div>
<p id="time-left" role="timer" class="soft">{time_left}</p>
{roles}<section>
<h2>Where you are logged in</h2>
<ul class="rows">
{rows}</ul>
<div class="row">{elsewhere}{everywhere}</div>
</section>
<section>
<h2>Something sensitive</h2>
<p class="soft">It needs a login of the last {age}, or the password again.</p>
{email}{switch}</section>
"#
    );
    Ok(page_with_script("Your account", &body, "/time-left.js"))
}

/// Says when a login ends that nobody uses.
pub(crate) fn time_left(left: Duration) -> String {
    format!("You will be logged out in {}, unless you use the site.", in_words(left))
}

fn row(session: &mut Session, device: &SessionInfo) -> String {
    let name = escape(&device_of(device));
    let address = escape(&device.get::<String>("ip").ok().flatten().unwrap_or_else(|| "Unknown".to_owned()));
    let [login, used] = [device.joined_at(), device.refreshed_at()].map(|time| ago(device, time));
    let button = if device.public_id() == session.public_id() {
        r#"<span class="soft">this device</span>"#.to_owned()
    } else {
        // A public id names a session, and gives no access to it.
        let id = format!(r#"<input type="hidden" name="id" value="{}">"#, device.public_id());
        form(session, "/revoke", &format!(r#"{id}<button aria-label="Log out {name}">Log out</button>"#))
    };
    format!(
        r#"<li><span><strong>{name}</strong><br>
<small>{address}, logged in {login}, last used {used}</small></span>
{button}</li>
"#
    )
}

fn email_form(site: &Site, session: &mut Session, email: &str) -> String {
    let password = if site.asks_again(session) {
        r#"<label>Password, as your login is old
<input name="password" type="password" autocomplete="current-password" required></label>"#
    } else {
        ""
    };
    let email = escape(email);
    let fields = format!(
        r#"<label>E-mail address <input name="email" type="email" value="{email}" autocomplete="email"></label>
{password}<button class="main">Change</button>"#
    );
    form(session, "/email", &fields)
}

fn pretend_switch(session: &mut Session) -> String {
    let is_on = session.contains_key(PRETEND_OLD);
    let next = if is_on { "off" } else { "on" };
    let switch = format!(
        r#"<button name="pretend" value="{next}" role="switch" aria-checked="{is_on}">Pretend my login is old</button>"#
    );
    form(session, "/pretend-old", &switch)
}

/// Says how long ago a time of the list is. Both times are by the store's clock, which may differ from ours.
fn ago(device: &SessionInfo, time: SystemTime) -> String {
    match device.listed_at().duration_since(time).unwrap_or_default().as_secs() / 60 {
        0 => "just now".to_owned(),
        minutes @ ..120 => format!("{minutes} min ago"),
        minutes @ ..2880 => format!("{} hours ago", minutes / 60),
        minutes => format!("{} days ago", minutes / 1440),
    }
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} seconds"),
        seconds @ ..7200 => format!("{} minutes", seconds / 60),
        seconds @ ..172_800 => format!("{} hours", seconds / 3600),
        seconds => format!("{} days", seconds / 86400),
    }
}

/// Makes the page of the administrator, with a switch for each user.
pub(crate) fn roles(session: &mut Session, roles: &[(&str, &str)]) -> Result<Response, Error> {
    let notice = notice(session)?;
    let row = |(user, role): &(&str, &str)| {
        let is_editor = *role == EDITOR;
        let next = if is_editor { READER } else { EDITOR };
        let switch = format!(
            r#"<input type="hidden" name="user" value="{user}">
<button name="role" value="{next}" role="switch" aria-checked="{is_editor}">{user} is an editor</button>"#
        );
        format!("<li>{}</li>\n", form(session, "/roles", &switch))
    };
    let rows: String = roles.iter().map(row).collect();
    let body = format!(
        r#"{notice}<section>
<p class="soft">A change holds for the next page of that user, on all devices.</p>
<ul class="rows">
{rows}</ul>
</section>
<p><a class="button" href="/">Your account</a></p>
"#
    );
    Ok(page(200, "Roles", &body))
}
