//! Pages of HTML.

use crate::http::{Response, header};
use multi_process_session::{Error, Session, StoreErrorKind};

/// Makes a page. It holds its style and an empty icon, so a browser sends one request for a page.
pub fn page(status: u16, title: &str, body: &str) -> Response {
    html(status, title, "", body, "")
}

/// Makes a page with a script of this site, which has a path of its own. The page has to work without the script too.
pub fn page_with_script(title: &str, body: &str, script: &str) -> Response {
    let script = format!("<script src=\"{script}\" defer></script>\n");
    html(200, title, &script, body, "; script-src 'self'; connect-src 'self'")
}

fn html(status: u16, title: &str, script: &str, body: &str, allowed: &str) -> Response {
    let style = include_str!("style.css");
    let page = format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
{script}</head>
<body>
<main>
<h1>{title}</h1>
{body}</main>
</body>
</html>
"#
    );
    tiny_http::Response::from_string(page)
        .with_status_code(status)
        .with_header(header("Content-Type", "text/html; charset=utf-8"))
        // No cache may keep a page for another visitor, or for the "back" button after a logout.
        .with_header(header("Cache-Control", "no-store"))
        // No scripts but those that are `allowed`, and no frames: another site could hide our page in its own and let
        // visitors press our buttons. The style is in the page itself, which is what `unsafe-inline` allows.
        .with_header(header(
            "Content-Security-Policy",
            &format!(
                "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; \
                 frame-ancestors 'none'{allowed}"
            ),
        ))
}

/// Makes a text safe in HTML, also within the quotes of an attribute.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Returns the message that an earlier request has left. It is shown once.
pub fn notice(session: &mut Session) -> Result<String, Error> {
    let notice: Option<String> = session.take_flash("notice")?;
    Ok(notice.map_or_else(String::new, |notice| format!("<p role=\"status\">{}</p>\n", escape(&notice))))
}

/// Sends the browser to a page after a POST. It gets the page by GET, so a reload does not send the form again.
pub fn see_other(path: &str) -> Response {
    page(303, "See the next page", "").with_header(header("Location", path))
}

/// Makes the page for a form whose token is not of this session.
pub fn out_of_date() -> Response {
    page(403, "This form is out of date", &link("Get a new one"))
}

/// Makes the page for a URL that leads nowhere.
pub fn not_found() -> Response {
    page(404, "No such page", &link("To the start"))
}

/// Makes a way back to the start, so that no page is a dead end.
pub(crate) fn link(text: &str) -> String {
    format!("<p><a class=\"button\" href=\"/\">{text}</a></p>\n")
}

/// Makes the page of a request whose session could not be loaded or saved.
///
/// If the store is sick, nobody knows whose request this is. That is not a logout: the cookie stays, and works again
/// later. If the record is damaged, its owner can end the session by a form that goes to `end` without a token.
pub fn refusal(program: &str, error: &Error, end: &str) -> Response {
    let (title, text) = match error.http_status() {
        409 => ("Your session has changed meanwhile", "Reload the page"),
        413 => ("That is more than a session may hold", "Go back"),
        503 => ("Sessions are out of order; please try again soon", "Try again"),
        _ => ("Something went wrong", "Try again"),
    };
    if error.http_status() >= 500 {
        eprintln!("{program}: {error}");
    }
    if is_damage(error) {
        let form = format!("<form method=\"post\" action=\"{end}\"><button>Log out</button></form>\n");
        return page(error.http_status(), "Your session is damaged", &form);
    }
    page(error.http_status(), title, &link(text))
}

/// Returns whether the record of this session is damaged, and not the whole store.
pub fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Store(fault) if fault.kind() == StoreErrorKind::Corrupt)
}
