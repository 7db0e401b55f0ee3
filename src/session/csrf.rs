//! Tokens against cross-site request forgery.

use crate::error::Error;
use crate::id::PublicId;
use crate::session::Session;
use log::Level;

impl Session {
    /// The name of the field that [`csrf_field`](Session::csrf_field) gives: `csrf_token`.
    pub const CSRF_FIELD: &str = "csrf_token";

    /// Returns a token for the forms of this session's pages, against cross-site request forgery.
    ///
    /// [`csrf_field`](Session::csrf_field) puts it into a hidden field of a form. Let
    /// [`verify_csrf`](Session::verify_csrf) check that field before the request changes anything.
    ///
    /// The token is derived from the secret and the session's id, and nothing is stored for it. A new session that
    /// gives a token is kept when it is saved, even if no value is set. The token looks different each time. All tokens
    /// are valid until the session's id changes. If the id changes [with a grace](Session::regenerate_with_grace), the
    /// tokens of the old id are valid until the grace ends. So forms that are open in the browser still work.
    ///
    /// If this request has called [`regenerate`](Session::regenerate), the token belongs to the new id. If it has
    /// called `regenerate_with_grace`, save first, and then ask for the token: another request may have changed the id
    /// first.
    ///
    /// If the operating system gives no random bytes, the token is empty, and `verify_csrf` refuses it.
    ///
    /// # Security
    /// `SameSite=Lax` alone does not keep out requests from your neighbouring subdomains (OWASP CSRF cheat sheet).
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// let mut session = manager.load(None)?;
    /// let form = format!(r#"<form method="post">{}<button>Buy</button></form>"#, session.csrf_field());
    /// # let set_cookie = session.save()?.expect("it is kept");
    /// # let cookie_header = set_cookie.pair();
    /// # let field = form.split('"').nth(7).unwrap();
    ///
    /// // The request that the form makes, with the value of its field `csrf_token`.
    /// let session = manager.load(cookie_header)?;
    /// assert!(session.verify_csrf(field));
    /// assert!(!session.verify_csrf("a guess"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn csrf_token(&mut self) -> String {
        if self.is_new() {
            self.edit().keep = true;
        }
        let token = self.next_public_id().and_then(|id| self.context.csrf_token(&id));
        token.unwrap_or_else(|error| {
            let line = format_args!("no token can be made for a form: {error}");
            self.context.lines.no_form_token.log(Level::Error, line);
            String::new()
        })
    }

    /// Returns a hidden field for a form: `<input type="hidden" name="csrf_token" value="…">`.
    ///
    /// The value is a [token](Session::csrf_token). The handler of the form hands the field
    /// [`csrf_token`](Session::CSRF_FIELD) to [`verify_csrf`](Session::verify_csrf). The text needs no escaping.
    pub fn csrf_field(&mut self) -> String {
        format!(r#"<input type="hidden" name="{}" value="{}">"#, Session::CSRF_FIELD, self.csrf_token())
    }

    /// Returns whether this is a [token](Session::csrf_token) of this session. The check takes the same time for every
    /// wrong token.
    #[must_use]
    pub fn verify_csrf(&self, token: &str) -> bool {
        // A page that was made before the id was replaced has a token of the old id.
        let own_id = self.context.public_id(&self.identity);
        let is_of = |id: PublicId| self.context.verify_csrf(&id, token);
        is_of(self.public_id()) || is_of(own_id) || self.old_ids().any(|(id, _)| is_of(id))
    }

    /// Returns the id that the session will have after the save, as far as that is known.
    fn next_public_id(&mut self) -> Result<PublicId, Error> {
        let Session { context, identity, record, in_flight, pending, .. } = self;
        if let Some(id) = record.forwarded_to {
            return Ok(id);
        }
        let next = match &mut pending.new_id {
            Some(new_id) if record.info.is_some() => new_id.draw(identity, context)?,
            _ => in_flight.as_ref().and_then(|sent| sent.pending.new_identity()).unwrap_or(identity),
        };
        Ok(context.public_id(next))
    }
}
