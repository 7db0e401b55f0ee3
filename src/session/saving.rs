//! From what a request changed to the store, and to the cookie.

use super::{Sent, Session};
use crate::cookie::SetCookie;
use crate::store::{Call, Change, ChangeSet, NewRecord, RecordInfo, Update, Updated, Values};
use crate::token::{Identity, Transport};
use crate::{Error, random};
use std::mem;
use std::time::Instant;

impl Session {
    /// Sends what was changed to the store. Gives the `Set-Cookie` header to answer with, if one is due.
    ///
    /// With nothing changed it costs nothing. After an [`Error::Store`] it may be called again: what the first call may
    /// have sent is not applied twice, unless two dozen changes of other requests came between. After any other error
    /// the record is as it was, and so is this session.
    ///
    /// # Errors
    /// [`Error::Gone`] if the session has ended since it was loaded; [`Error::NotAnInteger`], [`Error::TooLarge`],
    /// [`Error::Randomness`], or [`Error::Store`]. There is no cookie to send with any of them.
    pub fn save(&mut self) -> Result<Option<SetCookie>, Error> {
        let saved = self.save_by(self.manager.deadline());
        self.settled = saved.is_err();
        saved?;
        // Within a transaction it is the last save that gives the cookie to the caller.
        let due = if self.exclusive { self.cookie_due } else { mem::take(&mut self.cookie_due) };
        let info = self.info.as_ref().filter(|_| due && self.transport == Transport::Cookie);
        Ok(info.map(|info| self.manager.cookie(&self.identity, info.expires_in)))
    }

    /// The bearer token of a session that was loaded with [`load_token`](crate::SessionManager::load_token), once it is
    /// kept: give it to the client. It changes with the session's id, and when the secret that signed it was only an
    /// accepted one. `None` for the session of a cookie.
    ///
    /// # Security
    /// Whoever has it has the session: answer with it in the body, over https, and log it nowhere.
    #[must_use]
    pub fn token(&self) -> Option<String> {
        let is_kept = self.transport == Transport::Token && self.info.is_some();
        is_kept.then(|| self.manager.token(&self.identity))
    }

    fn save_by(&mut self, deadline: Instant) -> Result<(), Error> {
        self.send(deadline)?;
        let is_new = self.info.is_none();
        if is_new && !self.is_worth_keeping() {
            return Ok(());
        }
        if is_new {
            self.renew_id = false; // Nobody has seen its id.
        }
        if is_new || self.renew_id || !self.changes.is_empty() {
            if self.renew_id {
                self.next_identity()?;
            }
            self.unanswered = Some(Sent {
                nonce: random::nonce()?,
                new_identity: self.next_identity.take(),
                changes: mem::take(&mut self.changes),
            });
            self.renew_id = false;
            self.send(deadline)?;
        }
        Ok(())
    }

    /// Whether a record is to be made of a new session.
    fn is_worth_keeping(&self) -> bool {
        self.keep || self.layers().flat_map(|layer| layer.keys.keys()).any(|key| self.contains_key(key))
    }

    /// Who the session is going to be: after the save, if it is to get a new id.
    pub(super) fn next_identity(&mut self) -> Result<&Identity, Error> {
        if !self.renew_id || self.info.is_none() {
            return Ok(&self.identity);
        }
        if self.next_identity.is_none() {
            self.next_identity = Some(Identity::random(self.identity.tag)?);
        }
        Ok(self.next_identity.as_ref().unwrap_or(&self.identity))
    }

    /// Sends what is in `unanswered`. A refusal gives it back to the changes; a fault of the store leaves it there.
    pub(super) fn send(&mut self, deadline: Instant) -> Result<(), Error> {
        let Some(sent) = self.unanswered.take() else { return Ok(()) };
        let call = Call { deadline, nonce: sent.nonce };
        let answer = match &self.info {
            None => self.create(&sent.changes, &call),
            Some(info) => self.update(info, &sent, &call),
        };
        match answer {
            Ok(Updated { info, totals }) => {
                self.cookie_due |=
                    self.info.is_none() || sent.new_identity.is_some() || sent.changes.idle_timeout.is_some();
                self.info = Some(info);
                self.identity = sent.new_identity.unwrap_or_else(|| self.identity.clone());
                sent.changes.settle(&mut self.values, &totals);
                Ok(())
            }
            Err(error @ Error::Store(_)) => {
                self.unanswered = Some(sent);
                Err(error)
            }
            Err(refusal) => {
                self.conflicted |= matches!(refusal, Error::Conflict);
                self.renew_id |= sent.new_identity.is_some();
                self.next_identity = sent.new_identity;
                self.changes = sent.changes.followed_by(mem::take(&mut self.changes));
                Err(refusal)
            }
        }
    }

    fn create(&self, changes: &ChangeSet, call: &Call) -> Result<Updated, Error> {
        let limits = self.manager.limits();
        let record = NewRecord {
            values: changes.apply(&self.values)?,
            max_bytes: limits.max_bytes,
            idle_timeout: changes.idle_timeout.unwrap_or(limits.idle_timeout),
            absolute_timeout: limits.absolute_timeout,
            refresh: limits.refresh,
        };
        let created = self.manager.store().create(&self.manager.key(&self.identity), &record, call)?;
        let info = created.ok_or_else(Error::id_taken)?;
        Ok(Updated { info, totals: changes.increments().map(|(key, by)| (key.to_owned(), by)).collect() })
    }

    fn update(&self, info: &RecordInfo, sent: &Sent, call: &Call) -> Result<Updated, Error> {
        let new_key = sent.new_identity.as_ref().map(|identity| self.manager.key(identity));
        let update = Update { new_key, ..self.update_of(info, &sent.changes) };
        self.manager.store().update(&self.manager.key(&self.identity), &update, call)
    }

    pub(super) fn update_of<'a>(&self, info: &RecordInfo, changes: &'a ChangeSet) -> Update<'a> {
        let limits = self.manager.limits();
        Update {
            changes,
            expected: self.exclusive.then_some(info.version),
            holds: None,
            max_bytes: limits.max_bytes,
            refresh: limits.refresh,
            new_key: None,
        }
    }

    /// Ends the session at once: a logout. Gives the `Set-Cookie` header that takes the cookie away; `None` for a session
    /// of a bearer token.
    ///
    /// A session that has ended already is no error. Requests that still hold it will find it [gone](Error::Gone) when
    /// they save.
    ///
    /// # Errors
    /// [`Error::Store`]: it may not have ended. Try again with
    /// [`SessionManager::destroy`](crate::SessionManager::destroy) and the same cookie; what a save without an answer may
    /// have made of it, nobody has the id of, and it expires.
    pub fn destroy(mut self) -> Result<Option<SetCookie>, Error> {
        self.settled = true;
        if self.info.is_some() || self.unanswered.is_some() {
            let deadline = self.manager.deadline();
            // The new id that a save without an answer may have given it comes second: that save can then no longer
            // be carried out.
            let new_identity = self.unanswered.as_ref().and_then(|sent| sent.new_identity.as_ref());
            for identity in std::iter::once(&self.identity).chain(new_identity) {
                self.manager.store().delete(&self.manager.key(identity), &Call::until(deadline)?)?;
            }
        }
        Ok((self.transport == Transport::Cookie).then(|| self.manager.removal_cookie()))
    }
}

impl ChangeSet {
    /// Brings values up to date with what the store made of this change set.
    fn settle(self, values: &mut Values, totals: &[(String, i64)]) {
        if self.clear {
            values.clear();
        }
        for (key, change) in self.keys {
            match change {
                Change::Set(json) => drop(values.insert(key, json)),
                Change::Remove => drop(values.remove(&key)),
                Change::Increment(_) => {}
            }
        }
        values.extend(totals.iter().map(|(key, total)| (key.clone(), total.to_string())));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let kept = self.info.is_some() || self.is_worth_keeping();
        let unsaved = self.info.is_none() || self.renew_id || !self.changes.is_empty();
        if self.unanswered.is_some() || (kept && unsaved) {
            log::warn!("session {}: dropped with unsaved changes; call save()", self.public_id());
        } else if self.cookie_due && self.transport == Transport::Cookie {
            log::warn!("session {}: dropped with a cookie to renew; call save() and send it", self.public_id());
        }
    }
}
