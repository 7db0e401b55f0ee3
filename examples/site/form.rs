//! Forms: those that a page shows, and those that a browser sends.

use crate::http::Response;
use crate::page::{link, page};
use multi_process_session::Session;
use std::collections::HashMap;
use std::io::Read;
use tiny_http::Request;

/// The fields of a form that a browser has sent.
pub type Form = HashMap<String, String>;

/// The length of the longest form, in bytes.
const LONGEST_FORM: u64 = 4096;

/// Makes a form with the token of its session, so that no other site can send it.
pub fn form(session: &mut Session, action: &str, content: &str) -> String {
    format!("<form method=\"post\" action=\"{action}\">{}{content}</form>\n", session.csrf_field())
}

/// Returns the fields that a form has sent, or a refusal. Anybody can send anything, so there is a limit.
pub fn read_form(request: &mut Request) -> Result<Form, Response> {
    let mut body = Vec::new();
    let read = request.as_reader().take(LONGEST_FORM + 1).read_to_end(&mut body);
    let refusal = |status, title| Err(page(status, title, &link("Go back")));
    if body.len() as u64 > LONGEST_FORM {
        return refusal(413, "This form is too long");
    }
    match read {
        Ok(_) => Ok(form_urlencoded::parse(&body).into_owned().collect()),
        Err(_) => refusal(400, "This form cannot be read"), // It ended too early, say.
    }
}

/// Returns a field of a form, or an empty text.
pub fn field<'f>(form: &'f Form, name: &str) -> &'f str {
    form.get(name).map_or("", String::as_str)
}
