//! The HTML of the example `login`.

use crate::{PRETEND_OLD, Site, USERS};
use multi_process_session::{Error, Session, SessionInfo};
use site::{Answer, escape, form, notice, page};
use std::time::{Duration, SystemTime};

/// `name` and `remember` are what was typed before, if the password was wrong.
pub(crate) fn login(session: &mut Session, has_ended: bool, name: &str, remember: bool) -> Result<Answer, Error> {
    let ended = if has_ended {
        "<p role=\"status\">You were logged out: from another device, or because this one was not used for too long.</p>\n"
    } else {
        ""
    };
    let (at_name, at_password) = if name.is_empty() { ("autofocus", "") } else { ("", "autofocus") };
    let fields = format!(
        r#"<label>Name <input name="user" value="{}" autocomplete="username" required {at_name}></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required {at_password}></label>
<label class="check"><input name="remember" type="checkbox"{}>Remember me</label>
<button class="main">Log in</button>"#,
        escape(name),
        if remember { " checked" } else { "" },
    );
    let known = USERS.map(|(name, password)| format!("<code>{name}</code> with <code>{password}</code>"));
    let body = [
        ended.to_owned(),
        notice(session)?,
        "<section>\n".to_owned(),
        form(session, "/login", &fields),
        format!("<p class=\"soft\">For this demonstration: {}.</p>\n</section>\n", known.join(", or ")),
    ];
    Ok(page(200, "Log in", &body.concat()))
}

pub(crate) fn account(
    site: &Site,
    session: &mut Session,
    user: &str,
    devices: &[SessionInfo],
    email: &str,
) -> Result<Answer, Error> {
    let rows: String = devices.iter().map(|device| row(session, device)).collect();
    let body = [
        notice(session)?,
        format!("<div class=\"row\"><p>You are <strong>{}</strong>.</p>\n", escape(user)),
        form(session, "/logout", "<button>Log out</button>"),
        "</div>\n<section>\n<h2>Where you are logged in</h2>\n".to_owned(),
        format!("<ul class=\"rows\">\n{rows}</ul>\n<div class=\"row\">"),
        form(session, "/logout-elsewhere", "<button>Log out everywhere else</button>"),
        form(session, "/logout-everywhere", "<button class=\"danger\">Log out everywhere</button>"),
        "</div>\n</section>\n<section>\n<h2>Something sensitive</h2>\n".to_owned(),
        format!(
            "<p class=\"soft\">It needs a login of the last {}, or the password again.</p>\n",
            in_words(site.ask_again_after)
        ),
        email_form(site, session, email),
        pretend_switch(session),
        "</section>\n".to_owned(),
    ];
    Ok(page(200, "Your account", &body.concat()))
}

fn row(session: &mut Session, device: &SessionInfo) -> String {
    // A value that cannot be read does not hide the list.
    let text = |key| escape(&device.get::<String>(key).ok().flatten().unwrap_or_else(|| "Unknown".to_owned()));
    let (name, address) = (text("device"), text("ip"));
    let times = [device.joined_at(), device.refreshed_at()].map(|time| ago(device, time));
    let button = if device.public_id() == session.public_id() {
        "<span class=\"soft\">this device</span>".to_owned()
    } else {
        // A public id names a session, and gives no access to it.
        let id = format!(r#"<input type="hidden" name="id" value="{}">"#, device.public_id());
        form(session, "/revoke", &format!(r#"{id}<button aria-label="Log out {name}">Log out</button>"#))
    };
    format!(
        "<li><span><strong>{name}</strong><br>\n<small>{address}, logged in {}, last used {}</small></span>\n{button}</li>\n",
        times[0], times[1]
    )
}

fn email_form(site: &Site, session: &mut Session, email: &str) -> String {
    let mut fields = format!(
        "<label>E-mail address <input name=\"email\" type=\"email\" value=\"{}\" autocomplete=\"email\"></label>\n",
        escape(email)
    );
    if site.asks_again(session) {
        fields += "<label>Password, as your login is old <input name=\"password\" type=\"password\" \
                   autocomplete=\"current-password\" required></label>\n";
    }
    form(session, "/email", &(fields + "<button class=\"main\">Change</button>"))
}

fn pretend_switch(session: &mut Session) -> String {
    let is_on = session.contains_key(PRETEND_OLD);
    let next = if is_on { "off" } else { "on" };
    let switch = format!(
        r#"<button name="pretend" value="{next}" role="switch" aria-checked="{is_on}">Pretend my login is old</button>"#
    );
    form(session, "/pretend-old", &switch)
}

/// Lets the owner of a damaged session log out. This form has no token, because the session cannot be loaded.
pub(crate) fn damaged(status: u16) -> Answer {
    let button = r#"<form method="post" action="/logout"><button>Log out</button></form>"#;
    page(status, "Your session is damaged", button)
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
        seconds => format!("{} minutes", seconds / 60),
    }
}
