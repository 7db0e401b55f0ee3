//! Saves a session: checks what this request has changed, and sends it.

use crate::cookie::SetCookie;
use crate::deadline::Deadline;
use crate::error::{Error, Oversize};
use crate::random;
use crate::session::Session;
use crate::session::pending::InFlight;
use crate::store::stats::Counter;
use std::mem;

impl Session {
    /// Sends the changes to the store. Returns the `Set-Cookie` header for the response if a cookie is due.
    ///
    /// Only one save returns the header. If you save several times, keep the header for the response.
    /// `session.save()?;` drops it without a compiler warning. If you drop the header of a login, the user is not
    /// logged in. If you drop a renewal, the next request gets the cookie.
    ///
    /// Wherever you send the cookie, send `Cache-Control: no-store` with it, or at least `private`. Otherwise a shared
    /// cache may keep the response together with its `Set-Cookie`.
    ///
    /// If you do something outside the session that only this user may do, change a value and save first:
    /// [`Error::Gone`] tells you that the session has ended. Without a change, `save` does not ask the store, costs
    /// nothing, and cannot notice this.
    ///
    /// After an [`Error::Store`], `save` may be called again. The second call does not apply a change twice, with two
    /// exceptions: other requests have made 24 or more changes in between, or the session was new and ended more than 5
    /// minutes ago (then it is created again). After any other error, the record and this session are as they were.
    ///
    /// # Errors
    /// [`Error::Gone`] if the session has ended, or has got a new id, since it was loaded. [`Error::TooManySessions`]
    /// if a login is refused. [`Error::NotAnInteger`], [`Error::TooLarge`], [`Error::Sealed`], [`Error::Randomness`],
    /// [`Error::IdTaken`], or [`Error::Store`]. With any of them, there is no cookie to send.
    pub fn save(&mut self) -> Result<Option<SetCookie>, Error> {
        let saved = self.save_by(self.context.deadline());
        // After an error, the application knows that its changes are not saved.
        self.warn_on_drop = saved.is_ok();
        self.count_refusal(saved)?;
        Ok(self.due_cookie())
    }

    fn save_by(&mut self, deadline: Deadline) -> Result<(), Error> {
        self.send(deadline)?;
        let is_new = self.is_new();
        if is_new && !self.is_worth_keeping() {
            return Ok(());
        }
        self.check_number_of_changes()?;
        #[cfg(feature = "seal")]
        self.begin_to_seal(deadline)?;
        self.draw_new_id()?;
        if is_new || !self.pending.is_empty() {
            #[cfg(feature = "seal")]
            self.seal_pending()?;
            #[cfg(feature = "seal")]
            let data_keys = self.kept_data_keys(&self.pending)?;
            let nonce = random::nonce()?;
            let mut pending = mem::take(&mut self.pending);
            self.keep_old_ids(&mut pending);
            #[cfg(feature = "seal")]
            pending.changes.keys.extend(data_keys);
            self.in_flight = Some(InFlight { nonce, pending });
            self.send(deadline)?;
        }
        Ok(())
    }

    /// Returns whether a new session gets a record.
    pub(super) fn is_worth_keeping(&self) -> bool {
        let mut changed = self.layers().flat_map(|layer| layer.changes.keys.keys());
        self.group_name().is_some() || self.layers().any(|layer| layer.keep) || changed.any(|key| self.holds(key))
    }

    /// Refuses a change set with more than twice as many keys as the session may have. That many are enough to remove
    /// all keys and to set new ones.
    fn check_number_of_changes(&self) -> Result<(), Error> {
        let most_keys = self.context.limits.size_limit.keys.max(self.record.values.len());
        let (changes, limit) = (&self.pending.changes, 2 * most_keys);
        if changes.keys.len() > limit {
            let key = changes.largest_key().to_owned();
            return Err(Error::TooLarge { key, what: Oversize::Keys, size: changes.keys.len(), limit });
        }
        Ok(())
    }

    /// Draws the new id of the session. If the session needs no new id, drops the wish for one.
    fn draw_new_id(&mut self) -> Result<(), Error> {
        let (is_new, is_forwarded) = (self.is_new(), self.record.forwarded_to.is_some());
        #[cfg(not(feature = "seal"))]
        self.check_that_nothing_is_sealed()?;
        let Some(new_id) = &mut self.pending.new_id else { return Ok(()) };
        new_id.check()?;
        if is_forwarded && new_id.grace.is_none() {
            return Err(Error::Gone);
        }
        // A session that was reached by an old id has a new id already. The id of a new session was never sent to
        // anybody.
        if is_forwarded || (is_new && !new_id.joins()) {
            self.pending.new_id = None;
            return Ok(());
        }
        if is_new {
            // A new session keeps its id, and only gets the group.
            new_id.identity = Some(self.identity.clone());
        }
        new_id.draw(&self.identity, &self.context).map(drop)
    }

    /// Counts the answer if the record refused a change. The client of an ended session gets no renewed cookie.
    pub(super) fn count_refusal<R>(&mut self, answer: Result<R, Error>) -> Result<R, Error> {
        match &answer {
            Err(Error::Gone) => {
                self.cookie_due = false;
                self.context.count(Counter::Gone);
            }
            Err(Error::Conflict) => self.context.count(Counter::Conflicts),
            _ => {}
        }
        answer
    }
}
