//! Saves and ends a session: sends a request's changes to the store, and gives the cookie.

use crate::cookie::SetCookie;
use crate::deadline::Deadline;
use crate::error::{Error, Oversize};
use crate::random;
use crate::session::identity::{GroupChange, NewId};
use crate::session::{Sent, Session, previous};
use crate::store::Store;
use crate::store::call::Call;
use crate::store::record::{NewRecord, RecordInfo, Size, Values};
use crate::store::refusal::Refusal;
use crate::store::stats::Counted;
use crate::store::update::{Change, ChangeSet, Update, Updated};
use crate::token::{Identity, PublicId, Transport};
use log::Level;
use std::mem;
use std::time::{Duration, Instant};

impl Session {
    /// Sends the changes to the store, and gives the `Set-Cookie` header to answer with, if one is due.
    ///
    /// The header is given once, so keep it if you save several times.
    ///
    /// Wherever you send the cookie, answer with `Cache-Control: no-store`, or at least `private`. Otherwise a shared
    /// cache may keep the answer together with its `Set-Cookie`.
    ///
    /// Save before you do something outside the session that only this user may do: [`Error::Gone`] tells that the
    /// session has ended.
    ///
    /// If nothing changed, a save costs nothing. After an [`Error::Store`], `save` may be called again. Changes that
    /// the first call may have sent are not applied twice, with two exceptions: two dozen changes of other requests
    /// came between, or the session was new and was ended more than a minute ago. After any other error, the record and
    /// this session are as they were.
    ///
    /// # Errors
    /// [`Error::Gone`] if the session has ended since it was loaded. [`Error::NotAnInteger`], [`Error::TooLarge`],
    /// [`Error::Randomness`], or [`Error::Store`]. With any of them, there is no cookie to send.
    pub fn save(&mut self) -> Result<Option<SetCookie>, Error> {
        let saved = self.save_by(self.context.deadline());
        self.settled = saved.is_err();
        self.counted(saved)?;
        // Within a transaction, the last save gives the cookie to the caller.
        let due = if self.exclusive { self.cookie_due } else { mem::take(&mut self.cookie_due) };
        let info = self.info.as_ref().filter(|_| due && self.is_cookie_allowed());
        Ok(info.map(|info| self.context.cookie(&self.identity, self.cookie_life(info))))
    }

    /// Gives the life of the cookie: that of the session, or the one that the session gets when the cookie comes back.
    fn cookie_life(&self, info: &RecordInfo) -> Duration {
        if !self.is_unconfirmed {
            return info.expires_in;
        }
        let full = self.context.limits.lifetime.refresh.stored_life(info.idle_timeout);
        let absolute = info.ends_at.map(|ends| ends.duration_since(info.created_at).unwrap_or_default());
        absolute.map_or(full, |absolute| absolute.min(full))
    }

    /// Gives the bearer token of a session that was loaded with [`load_token`](crate::SessionManager::load_token), once
    /// the session is kept.
    ///
    /// Give the token to the client. It changes when the session's id changes, and when the secret that signed it was
    /// only an accepted one. `None` for the session of a cookie, and for a session that was reached by an id that has
    /// been [replaced](Session::regenerate_with_grace).
    ///
    /// # Security
    /// A client that has the token has the session. Send it in the body, over https, and do not log it.
    #[must_use]
    pub fn token(&self) -> Option<String> {
        let is_kept = self.transport == Transport::Token && self.info.is_some() && self.forwarded_to.is_none();
        is_kept.then(|| self.context.token(&self.identity))
    }

    /// Counts the answer if the record refused a change.
    pub(super) fn counted<R>(&self, answer: Result<R, Error>) -> Result<R, Error> {
        match &answer {
            Err(Error::Gone) => self.context.count(Counted::Gone),
            Err(Error::Conflict) => self.context.count(Counted::Conflicts),
            _ => {}
        }
        answer
    }

    /// Says whether the answer may carry a cookie. A request that came with a replaced id gets none, because it would
    /// overwrite the new one.
    fn is_cookie_allowed(&self) -> bool {
        self.transport == Transport::Cookie && self.forwarded_to.is_none()
    }

    fn save_by(&mut self, deadline: Deadline) -> Result<(), Error> {
        self.send(deadline)?;
        let is_new = self.info.is_none();
        if is_new && !self.is_worth_keeping() {
            return Ok(());
        }
        self.check_number_of_changes()?;
        self.new_id.as_ref().map_or(Ok(()), NewId::check)?;
        self.settle_new_id(is_new)?;
        if is_new || self.new_id.is_some() || !self.changes.is_empty() {
            let nonce = random::nonce()?;
            let (new_id, mut changes) = (self.new_id.take(), mem::take(&mut self.changes));
            self.keep_previous_ids(&mut changes, new_id.is_some(), new_id.as_ref().and_then(|new_id| new_id.grace));
            self.unanswered = Some(Sent { nonce, new_id, changes });
            self.send(deadline)?;
        }
        Ok(())
    }

    /// Refuses a change set with more keys than the session's limit allows: all keys removed, and as many new ones set.
    fn check_number_of_changes(&self) -> Result<(), Error> {
        let most_keys = self.context.limits.size_limit.keys.max(self.values.len());
        let (changes, limit) = (self.changes.keys.len(), 2 * most_keys);
        if changes > limit {
            let key = self.changes.largest_key().to_owned();
            return Err(Error::TooLarge { key, what: Oversize::Keys, size: changes, limit });
        }
        Ok(())
    }

    /// Draws the new id that the session gets, or drops the request for one.
    fn settle_new_id(&mut self, is_new: bool) -> Result<(), Error> {
        let Some(mut new_id) = self.new_id.take() else { return Ok(()) };
        if self.forwarded_to.is_some() && new_id.grace.is_none() {
            self.new_id = Some(new_id);
            return Err(Error::Gone);
        }
        let drawn = match &new_id.group {
            GroupChange::Join(name) if is_new => Ok(self.identity.tagged(Some(self.context.group_tag(name)))),
            // Nobody has seen the id of a new session, and one that was reached by an old id has a new one already.
            _ if is_new || self.forwarded_to.is_some() => return Ok(()),
            _ => self.draw(&mut new_id),
        };
        let drawn = drawn.map(|identity| new_id.identity = Some(identity));
        self.new_id = Some(new_id);
        drawn
    }

    /// Says whether a record is made of a new session.
    fn is_worth_keeping(&self) -> bool {
        let joins = self.info.is_none() && self.group_name().is_some();
        joins || self.keep || self.layers().flat_map(|layer| layer.keys.keys()).any(|key| self.holds(key))
    }

    /// Sends the changes in `unanswered`. After a refusal they are unsent changes again; after a fault of the store
    /// they stay there.
    pub(super) fn send(&mut self, deadline: Deadline) -> Result<(), Error> {
        let Some(mut sent) = self.unanswered.take() else { return Ok(()) };
        let call = Call { deadline, nonce: sent.nonce };
        let answer = match &self.info {
            None => self.create(&sent, &call),
            Some(info) => self.update(info, &sent, &call),
        };
        match answer {
            Ok(Updated { info, totals, forwarded_to }) => {
                let joins = sent.new_id.as_ref().is_some_and(|new_id| matches!(new_id.group, GroupChange::Join(_)));
                self.is_unconfirmed = !joins && (self.is_unconfirmed || self.info.is_none());
                self.cookie_due |= self.info.is_none() || sent.new_id.is_some() || sent.changes.idle_timeout.is_some();
                self.note(info, forwarded_to);
                if let Some(new_id) = sent.new_id {
                    self.identity = new_id.identity.unwrap_or_else(|| self.identity.clone());
                    match new_id.group {
                        GroupChange::Join(name) => self.group_name = Some(name),
                        GroupChange::Leave => self.group_name = None,
                        GroupChange::None => {}
                    }
                }
                sent.changes.settle(&mut self.values, &totals);
                Ok(())
            }
            // Another request was faster; its new id is as good.
            Err(Refusal::Gone) if sent.new_id.as_ref().is_some_and(|new_id| new_id.grace.is_some()) => {
                let answer = random::nonce().and_then(|nonce| {
                    let mut changes = mem::take(&mut sent.changes);
                    previous::forget(&mut changes);
                    self.unanswered = Some(Sent { nonce, new_id: None, changes });
                    self.send(deadline)
                });
                if !matches!(answer, Ok(()) | Err(Error::Store(_))) {
                    self.take_back(sent); // None was faster: the session has ended.
                }
                answer
            }
            Err(Refusal::Fault(error)) => {
                self.unanswered = Some(sent);
                // It may have been carried out in part, and others may have gone on from there.
                self.complete = false;
                Err(error.into())
            }
            Err(refusal) => {
                self.conflicted |= matches!(refusal, Refusal::Conflict);
                if let (Refusal::IdTaken, Some(new_id)) = (&refusal, &mut sent.new_id) {
                    new_id.identity = None;
                }
                self.take_back(sent);
                Err(refusal.into())
            }
        }
    }

    /// Keeps the state of the record after a change by this request.
    pub(super) fn note(&mut self, info: RecordInfo, forwarded_to: Option<PublicId>) {
        self.complete &= self.info.as_ref().is_none_or(|before| before.version + 1 == info.version);
        self.info = Some(info);
        self.heard_at = Instant::now();
        self.forwarded_to = forwarded_to.or(self.forwarded_to);
    }

    /// Makes refused changes unsent changes again.
    fn take_back(&mut self, mut sent: Sent) {
        previous::forget(&mut sent.changes);
        self.changes = sent.changes.followed_by(mem::take(&mut self.changes));
        self.new_id = match (sent.new_id, self.new_id.take()) {
            (Some(earlier), Some(later)) => Some(earlier.followed_by(later)),
            (earlier, later) => earlier.or(later),
        };
    }

    fn create(&self, sent: &Sent, call: &Call) -> Result<Updated, Refusal> {
        let (limits, changes) = (&self.context.limits, &sent.changes);
        let joins = sent.new_id.as_ref().and_then(|new_id| new_id.join(limits.max_sessions));
        let record = NewRecord {
            values: changes.apply(&self.values)?,
            size_limit: limits.size_limit,
            lifetime: limits.lifetime,
            idle_timeout: changes.idle_timeout,
            // A login is paid for with a password: it need not be confirmed.
            unconfirmed_timeout: joins.is_none().then_some(limits.unconfirmed_timeout),
            join: joins,
        };
        let identity = sent.new_identity().unwrap_or(&self.identity);
        let info = self.context.store.create(&self.context.key(identity), &record, call)?;
        let totals = changes.increments().map(|(key, by)| (key.to_owned(), by)).collect();
        Ok(Updated { info, totals, forwarded_to: None })
    }

    fn update(&self, info: &RecordInfo, sent: &Sent, call: &Call) -> Result<Updated, Refusal> {
        let new_id = sent.new_id.as_ref();
        let update = Update {
            new_key: sent.new_identity().map(|identity| self.context.key(identity)),
            grace: new_id.and_then(|new_id| new_id.grace),
            join: new_id.and_then(|new_id| new_id.join(self.context.limits.max_sessions)),
            known: self.complete.then_some((info, &self.values)),
            ..self.update_of(info, &sent.changes)
        };
        self.context.store.update(&self.key(), &update, call)
    }

    pub(super) fn update_of<'a>(&'a self, info: &RecordInfo, changes: &'a ChangeSet) -> Update<'a> {
        let limits = &self.context.limits;
        let (limit, own) = (limits.size_limit, self.size_of_previous_ids(changes));
        // A session may be larger, from a time with other limits. Then it may at least stay as it is.
        let now = self.size_of_other_values();
        let (keys, bytes) = (limit.keys.max(now.keys), limit.bytes.max(now.bytes));
        Update {
            changes,
            expected: self.exclusive.then_some(info.version),
            holds: None,
            size_limit: Size { keys: keys + own.keys, bytes: bytes + own.bytes },
            lifetime: limits.lifetime,
            new_key: None,
            grace: None,
            join: None,
            known: None,
        }
    }

    /// Ends the session at once: a logout.
    ///
    /// Gives the `Set-Cookie` header that deletes the cookie, or `None` for a session of a bearer token.
    ///
    /// It is not an error if the session has ended already. Requests that still hold the session get [`Error::Gone`]
    /// when they save.
    ///
    /// # Errors
    /// [`Error::Store`]: the session may not have ended. Try again with
    /// [`SessionManager::destroy`](crate::SessionManager::destroy) and the same cookie. A save that got no answer may
    /// have given the session a new id. Nobody has that id, so that session just expires.
    pub fn destroy(mut self) -> Result<Option<SetCookie>, Error> {
        self.settled = true;
        if self.info.is_some() || self.unanswered.is_some() {
            let deadline = self.context.deadline();
            // The new id that a save without an answer may have given it comes second: that save can then no longer
            // be carried out.
            let new_identity = self.unanswered.as_ref().and_then(Sent::new_identity);
            for key in std::iter::once(self.key()).chain(new_identity.map(|identity| self.context.key(identity))) {
                self.context.store.delete(&key, &Call::until(deadline)?)?;
            }
        }
        Ok((self.transport == Transport::Cookie).then(|| self.context.removal_cookie()))
    }
}

impl Sent {
    fn new_identity(&self) -> Option<&Identity> {
        self.new_id.as_ref().and_then(|new_id| new_id.identity.as_ref())
    }
}

impl ChangeSet {
    /// Updates the values with what the store made of this change set.
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
        let unsaved = self.info.is_none() || self.new_id.is_some() || !self.changes.is_empty();
        let (id, lines) = (self.public_id(), &self.context.lines);
        if self.unanswered.is_some() || (kept && unsaved) {
            let line = format_args!("session {id}: dropped with unsaved changes; call save()");
            lines.unsaved.log(Level::Warn, line);
        } else if self.cookie_due && self.is_cookie_allowed() {
            let line = format_args!("session {id}: dropped with a cookie to renew; call save() and send it");
            lines.unsent_cookie.log(Level::Warn, line);
        }
    }
}
