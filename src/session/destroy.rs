//! The end of a session: a logout.

use crate::cookie::SetCookie;
use crate::end_reason::EndReason;
use crate::error::Error;
use crate::session::Session;
use crate::store::call::Call;
use crate::token::Transport;

impl Session {
    /// Ends the session at once: a logout.
    ///
    /// Returns the `Set-Cookie` header that deletes the cookie, or `None` for a session of a bearer token.
    ///
    /// It is not an error if the session has ended already. Other requests that have loaded the session get
    /// [`Error::Gone`] when they save a change.
    ///
    /// # Errors
    /// [`Error::Store`]: the session may not have ended. Try again with
    /// [`SessionManager::destroy`](crate::SessionManager::destroy) and the same cookie. If a save got no answer before,
    /// the session may have a new id that no client knows. Such a session expires by itself.
    pub fn destroy(mut self) -> Result<Option<SetCookie>, Error> {
        self.warn_on_drop = false;
        if !self.is_new() || self.in_flight.is_some() {
            let deadline = self.context.deadline();
            // A save without an answer may have given the session a new id. This id is deleted second: once the old id
            // is deleted, that save cannot take effect any more.
            let new_identity = self.in_flight.as_ref().and_then(|sent| sent.pending.new_identity());
            for key in std::iter::once(self.key()).chain(new_identity.map(|identity| self.context.key(identity))) {
                self.context.end(&key, EndReason::LoggedOut, &Call::until(deadline)?)?;
            }
        }
        Ok((self.transport == Transport::Cookie).then(|| self.context.removal_cookie()))
    }
}
