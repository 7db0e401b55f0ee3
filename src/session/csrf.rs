//! Tokens against cross-site request forgery.

use super::Session;
use crate::{Error, PublicId};
use log::Level;

impl Session {
    /// A token for the forms of this session's pages, against cross-site request forgery: put it into a hidden field,
    /// and let [`verify_csrf`](Session::verify_csrf) check what comes back before anything is changed.
    ///
    /// It is derived from the secret and the session's id, and costs the store nothing; a new session is kept because
    /// of it. It looks different each time, and all of them are good until the session's id changes; if it changes
    /// [with a grace](Session::regenerate_with_grace), until that ends, so that no form is lost to a change that is
    /// only a precaution.
    ///
    /// After [`regenerate`](Session::regenerate) the token is that of the new id. With a grace ask for it after the
    /// save, since another request may have been faster.
    ///
    /// Should the operating system give no random bytes, it is empty: a token that no form passes with.
    ///
    /// # Security
    /// `SameSite=Lax` alone does not keep out pages of your own neighbouring subdomains (OWASP CSRF cheat sheet).
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// let mut session = manager.load(None)?;
    /// let form = format!("<input type=hidden name=csrf value={}>", session.csrf_token());
    /// # let set_cookie = session.save()?.expect("it is kept");
    /// # let cookie_header = set_cookie.as_str().split(';').next();
    /// # let field = form.split("value=").nth(1).unwrap().trim_end_matches('>');
    ///
    /// // The request that the form makes.
    /// let session = manager.load(cookie_header)?;
    /// assert!(session.verify_csrf(field));
    /// assert!(!session.verify_csrf("a guess"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn csrf_token(&mut self) -> String {
        self.settled &= self.info.is_some();
        self.keep = true;
        let manager = self.manager.clone();
        let id = self.next_public_id();
        id.and_then(|id| manager.csrf_token(&id)).unwrap_or_else(|error| {
            let line = format_args!("no token can be made for a form: {error}");
            manager.lines().no_form_token.log(Level::Error, line);
            String::new()
        })
    }

    /// Whether this is a [token](Session::csrf_token) of this session. It takes the same time for every wrong one.
    #[must_use]
    pub fn verify_csrf(&self, token: &str) -> bool {
        // A page that was made before the id was replaced a moment ago has a token of that.
        let own_id = self.manager.public_id(&self.identity);
        let is_of = |id: PublicId| self.manager.verify_csrf(&id, token);
        is_of(self.public_id()) || is_of(own_id) || self.previous_ids().any(|(id, _)| is_of(id))
    }

    /// The id that the session is going to have, as far as that is known yet.
    fn next_public_id(&mut self) -> Result<PublicId, Error> {
        match self.forwarded_to {
            Some(id) => Ok(id),
            None => Ok(self.manager.clone().public_id(&self.next_identity()?)),
        }
    }
}
