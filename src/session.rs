//! One client's session, as one request sees it.

use crate::cookie::SetCookie;
use crate::error::Oversize;
use crate::manager::SessionManager;
use crate::store::{self, Call, Change, ChangeSet, NewRecord, Nonce, Record, RecordInfo, Update, Updated, Values};
use crate::token::{Identity, PublicId, Transport, Verified};
use crate::{Error, random};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::mem;
use std::time::{Duration, Instant, SystemTime};

/// How long a key may be, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// The values kept for one client, as one request sees them.
///
/// [`SessionManager::load`] gives one for each request. Changes stay in the session until [`save`](Session::save),
/// which sends only them: what other requests change at the same time under other keys stays. A session that nothing
/// was set in is not kept, and costs nothing.
///
/// Values are whatever serde can turn into JSON. They are parsed when they are asked for.
///
/// # Examples
/// ```
/// use multi_process_session::{Secret, SessionManager};
///
/// let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
///
/// // The first request: no cookie yet.
/// let mut session = manager.load(None)?;
/// session.set("name", "Ada")?;
/// session.increment("visits", 1)?;
/// let set_cookie = session.save()?.expect("a new session has a cookie");
///
/// // A later one, in any process.
/// let cookie_header = set_cookie.as_str().split(';').next();
/// let session = manager.load(cookie_header)?;
/// assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
/// assert_eq!(session.get("visits")?, Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session {
    manager: SessionManager,
    transport: Transport,
    identity: Identity,
    /// How the record stood when last heard of; `None` until there is one.
    info: Option<RecordInfo>,
    /// The values as last heard of.
    values: Values,
    /// Sent to the store, with no answer: it may have been applied. Goes first, under its old nonce.
    unanswered: Option<Sent>,
    /// Not sent yet.
    changes: ChangeSet,
    /// Whether it is to be kept although nothing is set in it.
    keep: bool,
    renew_id: bool,
    /// The new id, where it was asked for before it is saved.
    next_identity: Option<Identity>,
    /// Whether a save is to meet the record as it was loaded: see `transact`.
    pub(crate) exclusive: bool,
    /// Whether a save has met another one.
    pub(crate) conflicted: bool,
    pub(crate) cookie_due: bool,
    /// Whether the application has been told what becomes of it: then a drop loses nothing unnoticed.
    pub(crate) settled: bool,
}

struct Sent {
    nonce: Nonce,
    changes: ChangeSet,
    /// Who the session is from then on, if it gets a new id.
    new_identity: Option<Identity>,
}

impl Session {
    pub(crate) fn new(manager: SessionManager, transport: Transport) -> Result<Session, Error> {
        Ok(Session::of(manager, transport, Identity::random(None)?))
    }

    pub(crate) fn loaded(manager: SessionManager, transport: Transport, verified: Verified, record: Record) -> Session {
        let mut session = Session::of(manager, transport, verified.identity);
        session.info = Some(record.info);
        session.values = record.values;
        session.cookie_due = verified.outdated || record.refreshed;
        session
    }

    fn of(manager: SessionManager, transport: Transport, identity: Identity) -> Session {
        Session {
            manager,
            transport,
            identity,
            info: None,
            values: Values::new(),
            unanswered: None,
            changes: ChangeSet::default(),
            keep: false,
            renew_id: false,
            next_identity: None,
            exclusive: false,
            conflicted: false,
            cookie_due: false,
            settled: false,
        }
    }

    // ---- values ----

    /// The value of a key, or `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Decode`] if the value cannot be read as a `T`; [`Error::NotAnInteger`] if it has been
    /// [incremented](Session::increment) in this request, and the two do not add up.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(json) = self.json(key)? else { return Ok(None) };
        from_json(key, &json).map(Some)
    }

    /// Sets a key to a value.
    ///
    /// # Errors
    /// [`Error::Encode`] if the value cannot be written as JSON; [`Error::TooLarge`] if the key is longer than
    /// [`MAX_KEY_BYTES`], or key and value alone are larger than a session may be; [`Error::ReservedKey`] if the key
    /// begins with a NUL character. The session is then as it was.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        self.check_key(key)?;
        let json = to_json(key, value)?;
        self.check_value(key, &json)?;
        self.change(key, Change::Set(json));
        Ok(())
    }

    /// Takes a value out: it is gone once the session is saved.
    ///
    /// # Errors
    /// Those of [`get`](Session::get); the value then stays.
    pub fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let value = self.get(key)?;
        if value.is_some() {
            self.change(key, Change::Remove);
        }
        Ok(value)
    }

    /// Removes a key, also one that another request sets meanwhile. Says whether this request knew a value.
    pub fn remove(&mut self, key: &str) -> bool {
        let there = self.contains_key(key);
        self.change(key, Change::Remove);
        there
    }

    /// Adds `by` to the integer under a key; a missing value counts as 0.
    ///
    /// The store does the sum when the session is saved, so that no increment is lost, however many processes count at
    /// once. Until then [`get`](Session::get) gives the value as loaded and `by` together; after it, the store's total.
    /// Where the key was set or removed in this same request, the sum is done at once.
    ///
    /// # Errors
    /// [`Error::NotAnInteger`] if the key was set to something else in this request, or the sum is no 64-bit integer.
    /// If the store holds something else, [`save`](Session::save) says so. [`Error::TooLarge`] if the key is too long.
    pub fn increment(&mut self, key: &str, by: i64) -> Result<(), Error> {
        self.check_key(key)?;
        let change = if self.layers().any(|layer| layer.overriding(key).is_some()) {
            Change::Set(store::add(key, self.json(key)?.as_deref(), by)?.to_string())
        } else {
            let add = |sum: i64| sum.checked_add(by).ok_or_else(|| Error::not_an_integer(key));
            // What was sent without an answer may have to be sent again as one with this.
            add(self.pending(key).unwrap_or(0))?;
            Change::Increment(add(self.changes.increment(key).unwrap_or(0))?)
        };
        self.change(key, change);
        Ok(())
    }

    /// Leaves a value for a later request, which takes it once with [`take_flash`](Session::take_flash): the message
    /// "saved" that is to be shown after a redirect. It replaces one of the same key that was not taken yet. Keys of these
    /// values are apart from all others, and [`keys`](Session::keys) does not list them.
    ///
    /// # Errors
    /// Those of [`set`](Session::set); [`Error::Randomness`].
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// let mut session = manager.load(None)?;
    /// session.flash("notice", "Your address was saved.")?;
    /// # let set_cookie = session.save()?.expect("a new session has a cookie");
    /// # let cookie_header = set_cookie.as_str().split(';').next();
    ///
    /// let mut session = manager.load(cookie_header)?;
    /// assert_eq!(session.take_flash::<String>("notice")?.as_deref(), Some("Your address was saved."));
    /// assert_eq!(session.take_flash::<String>("notice")?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flash<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        self.check_key(key)?;
        // The mark tells it from the one that may take its place.
        let mark = random::nonce()?;
        let json = to_json(key, &(str::from_utf8(&mark).unwrap_or_default(), value))?;
        self.check_value(key, &json)?;
        self.change(&flash_key(key), Change::Set(json));
        Ok(())
    }

    /// Takes a value that an earlier request left with [`flash`](Session::flash). Of several requests at once, one gets
    /// it. It is taken from the store at once, in one round trip (within [`transact`](SessionManager::transact), when the
    /// transaction is saved); where there is none, nothing is asked.
    ///
    /// # Errors
    /// [`Error::Decode`] if it cannot be read as a `T`; it then stays. [`Error::Gone`] if the session has ended;
    /// [`Error::Store`].
    pub fn take_flash<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let deadline = self.manager.deadline();
        self.send(deadline)?;
        let own_key = flash_key(key);
        let (Some(info), Some(json)) = (&self.info, self.values.get(&own_key).cloned()) else { return Ok(None) };
        let (_, value): (String, T) = from_json(key, &json)?;
        let removal = ChangeSet { keys: [(own_key.clone(), Change::Remove)].into(), ..ChangeSet::default() };
        if self.exclusive {
            self.values.remove(&own_key);
            self.changes.keys.entry(own_key).or_insert(Change::Remove);
            return Ok(Some(value));
        }
        let taking = Update { holds: Some((&own_key, &json)), ..self.update_of(info, &removal) };
        let taken = self.manager.store().update(&self.manager.key(&self.identity), &taking, &Call::until(deadline)?);
        match taken {
            Ok(Updated { info, .. }) => {
                self.info = Some(info);
                self.values.remove(&own_key);
                Ok(Some(value))
            }
            // Another request was faster, or has put another in its place.
            Err(Error::Conflict) => {
                self.values.remove(&own_key);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a key has a value.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        for layer in self.layers() {
            match layer.keys.get(key) {
                Some(Change::Remove) => return false,
                Some(_) => return true,
                None if layer.clear => return false,
                None => {}
            }
        }
        self.values.contains_key(key)
    }

    /// All keys, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        let changed = self.layers().flat_map(|layer| layer.keys.keys());
        let all: BTreeSet<&str> = changed.chain(self.values.keys()).map(String::as_str).collect();
        all.into_iter().filter(|key| !key.starts_with('\0') && self.contains_key(key)).collect()
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys().len()
    }

    /// Whether there are no values, apart from those of [`flash`](Session::flash).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all values, those included that other requests set meanwhile. The session lives on.
    pub fn clear(&mut self) {
        self.settled = false;
        self.changes.keys.clear();
        self.changes.clear = true;
    }

    // ---- identity and life ----

    /// Gives the session a new id when it is saved, with the same values; the old id is dead from then on.
    ///
    /// Do this whenever what the client may do changes, above all at login (OWASP ASVS 7.2.4), so that an id that
    /// someone planted or saw before is worth nothing afterwards. Of two requests that do it at once, one wins; the
    /// other's save answers [`Error::Gone`].
    pub fn regenerate(&mut self) {
        self.settled = false;
        self.renew_id = true;
    }

    /// Gives this one session another idle timeout, from now, when it is saved. At least a second; the absolute timeout
    /// still holds. For "remember me".
    pub fn set_idle_timeout(&mut self, timeout: Duration) {
        let longest = crate::builder::LONGEST_TIMEOUT;
        self.settled = false;
        self.changes.idle_timeout = Some(timeout.clamp(Duration::from_secs(1), longest));
    }

    /// A token for the forms of this session's pages, against cross-site request forgery: put it into a hidden field, and
    /// let [`verify_csrf`](Session::verify_csrf) check what comes back before anything is changed.
    ///
    /// It is derived from the secret and the session's id, and nothing is stored; a new session is kept because of it.
    /// It looks different each time, and all of them are good until the session's id changes. After
    /// [`regenerate`](Session::regenerate) it is that of the new id.
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
        self.next_identity().and_then(|identity| manager.csrf_token(identity)).unwrap_or_else(|error| {
            log::error!("no token can be made for a form: {error}");
            String::new()
        })
    }

    /// Whether this is a [token](Session::csrf_token) of this session. It takes the same time for every wrong one.
    #[must_use]
    pub fn verify_csrf(&self, token: &str) -> bool {
        self.manager.verify_csrf(&self.identity, token)
    }

    /// A digest of the session's id, for logs and lists. It changes when the id does.
    #[must_use]
    pub fn public_id(&self) -> PublicId {
        self.manager.public_id(&self.identity)
    }

    /// Whether there is no record of this session yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.info.is_none()
    }

    /// When the session was created, by the store's clock; a new id does not change it. `None` before the first save.
    #[must_use]
    pub fn created_at(&self) -> Option<SystemTime> {
        self.info.as_ref().map(|info| info.created_at)
    }

    /// When the session ends if it is not used, by the store's clock. `None` before the first save.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.info.as_ref().map(|info| info.expires_at)
    }

    // ---- saving ----

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

    /// The bearer token of a session that was loaded with [`load_token`](SessionManager::load_token), once it is kept:
    /// give it to the client. It changes with the session's id, and when the secret that signed it was only an accepted
    /// one. `None` for the session of a cookie.
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
    fn next_identity(&mut self) -> Result<&Identity, Error> {
        if !self.renew_id || self.info.is_none() {
            return Ok(&self.identity);
        }
        if self.next_identity.is_none() {
            self.next_identity = Some(Identity::random(self.identity.tag)?);
        }
        Ok(self.next_identity.as_ref().unwrap_or(&self.identity))
    }

    /// Sends what is in `unanswered`. A refusal gives it back to the changes; a fault of the store leaves it there.
    fn send(&mut self, deadline: Instant) -> Result<(), Error> {
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

    fn update_of<'a>(&self, info: &RecordInfo, changes: &'a ChangeSet) -> Update<'a> {
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
    /// [`Error::Store`]: it may not have ended. Try again with [`SessionManager::destroy`] and the same cookie; what a
    /// save without an answer may have made of it, nobody has the id of, and it expires.
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

    // ---- the view ----

    /// What was changed since the values were last heard of, latest first.
    fn layers(&self) -> impl Iterator<Item = &ChangeSet> {
        std::iter::once(&self.changes).chain(self.unanswered.as_ref().map(|sent| &sent.changes))
    }

    /// The JSON text of a key as this request is to see it.
    fn json(&self, key: &str) -> Result<Option<Cow<'_, str>>, Error> {
        if let Some(json) = self.layers().find_map(|layer| layer.overriding(key)) {
            return Ok(json.map(|json| json.as_str().into()));
        }
        let json = self.values.get(key).map(String::as_str);
        match self.pending(key) {
            Some(by) => store::add(key, json, by).map(|total| Some(total.to_string().into())),
            None => Ok(json.map(Cow::from)),
        }
    }

    /// What this request adds to a key that it does not set.
    fn pending(&self, key: &str) -> Option<i64> {
        self.layers().filter_map(|layer| layer.increment(key)).reduce(i64::saturating_add)
    }

    fn change(&mut self, key: &str, change: Change) {
        self.settled = false;
        self.changes.keys.insert(key.to_owned(), change);
    }

    fn check_value(&self, key: &str, json: &str) -> Result<(), Error> {
        let (bytes, limit) = (store::size(key, json), self.manager.limits().max_bytes);
        if bytes > limit {
            return Err(Error::too_large(key, bytes, limit));
        }
        Ok(())
    }

    fn check_key(&self, key: &str) -> Result<(), Error> {
        if key.starts_with('\0') {
            return Err(Error::ReservedKey { key: key.chars().take(64).collect() });
        }
        if key.len() <= MAX_KEY_BYTES {
            return Ok(());
        }
        let beginning = key.chars().take(64).collect();
        Err(Error::TooLarge { key: beginning, what: Oversize::Key, bytes: key.len(), limit: MAX_KEY_BYTES })
    }
}

/// Where the values of `flash` are kept: no key of the application's can be the same.
fn flash_key(key: &str) -> String {
    format!("\0flash:{key}")
}

fn to_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::encode::<T>(key, &error))
}

fn from_json<T: DeserializeOwned>(key: &str, json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| Error::decode::<T>(key, &error))
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

    fn increment(&self, key: &str) -> Option<i64> {
        match self.keys.get(key) {
            Some(Change::Increment(by)) => Some(*by),
            _ => None,
        }
    }

    /// What this change set makes of a key, whatever was there before; `None` if it leaves it or adds to it.
    fn overriding(&self, key: &str) -> Option<Option<&String>> {
        match self.keys.get(key) {
            Some(Change::Set(json)) => Some(Some(json)),
            Some(Change::Remove) => Some(None),
            Some(Change::Increment(_)) => None,
            None => self.clear.then_some(None),
        }
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

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("public_id", &self.public_id())
            .field("is_new", &self.is_new())
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}
