//! How the client gets its token: in a cookie, or as a bearer token.

use crate::cookie::{MAX_AGE, SetCookie};
use crate::session::Session;
use crate::store::record::RecordInfo;
use crate::token::Transport;
use std::mem;
use std::time::Duration;

impl Session {
    /// Returns the cookie if it is due. Within a transaction it stays due, because only the cookie of the last save
    /// gets to the client.
    pub(super) fn due_cookie(&mut self) -> Option<SetCookie> {
        let is_due = if self.is_in_transaction() { self.cookie_due } else { mem::take(&mut self.cookie_due) };
        let info = self.record.info.as_ref().filter(|_| is_due && self.is_sent_by(Transport::Cookie))?;
        let life = self.cookie_life(info);
        let ends_at = info.expires_at - info.expires_in + life.min(MAX_AGE);
        Some(self.context.cookie(&self.identity, life, ends_at, info.persistent))
    }

    /// Leaves the client with the cookie that it has.
    pub(crate) fn owe_no_cookie(&mut self) {
        self.cookie_due = false;
    }

    /// Returns the life of the cookie. It is the life of the session. For a session that was not loaded yet, it is the
    /// full life that the session gets when the cookie comes back.
    fn cookie_life(&self, info: &RecordInfo) -> Duration {
        if !self.record.is_unconfirmed {
            return info.expires_in;
        }
        let full = self.context.limits.lifetime.refresh.stored_life(info.idle_timeout);
        let absolute = info.ends_at.map(|ends| ends.duration_since(info.created_at).unwrap_or_default());
        absolute.map_or(full, |absolute| absolute.min(full))
    }

    /// Returns the bearer token of a session that was loaded with [`load_token`](crate::SessionManager::load_token).
    /// `None` for a new session that was not saved yet.
    ///
    /// Give the token to the client. The token changes when the session's id changes. It also changes if an accepted
    /// secret has signed the client's token. `None` for the session of a cookie, and for a session that was loaded by
    /// an [old id in its grace](Session::regenerate_with_grace).
    ///
    /// # Security
    /// A client that has the token has the session. Send it in the body, over https, and do not log it.
    #[must_use]
    pub fn token(&self) -> Option<String> {
        (self.is_sent_by(Transport::Token) && !self.is_new()).then(|| self.context.token(&self.identity))
    }

    /// Returns whether the response may carry the session's token by this transport. If the request came with an old
    /// id, it may not, because the token would overwrite that of the new id.
    pub(super) fn is_sent_by(&self, transport: Transport) -> bool {
        self.transport == transport && self.record.forwarded_to.is_none()
    }
}
