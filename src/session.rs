//! One client's session, as one request sees it.

mod csrf;
mod flash;
pub(crate) mod identity;
mod previous;
mod save;
pub(crate) mod transaction;

use crate::context::Context;
use crate::error::{Error, Oversize};
pub(crate) use crate::json::from_json;
use crate::json::to_json;
use crate::session::identity::NewId;
use crate::store::call::Nonce;
use crate::store::key::RecordKey;
use crate::store::record::{Record, RecordInfo, Values, size};
use crate::store::update::{Change, ChangeSet, add};
use crate::token::{Identity, PublicId, Transport, Verified};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The longest that a key may be, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// The values kept for one client, as one request sees them.
///
/// [`SessionManager::load`] gives one for each request. Changes stay in the session until [`save`](Session::save),
/// which sends only the changed keys: what other requests change at the same time under other keys stays. A session in
/// which nothing was set is not kept, and costs nothing.
///
/// A page that sets a value in every session, such as a counter of visits, keeps a session for each visitor who sends
/// no cookie. Such visitors are robots, and requests that another site causes and whose cookie
/// [`SameSite`](crate::SameSite) holds back. The cookie of such a new session replaces the one that the browser has,
/// and ends a login with it. So set values only where it matters. In pages that everyone sees, set them only if the
/// session is not [new](Session::is_new).
///
/// A value is anything that serde can turn into JSON. A value is parsed when it is read.
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
    context: Arc<Context>,
    transport: Transport,
    identity: Identity,
    /// The id that the session has now, if it was reached by an id that was replaced a moment ago.
    forwarded_to: Option<PublicId>,
    /// The group that it is in.
    group_name: Option<String>,
    /// The state of the record in the store's last answer; `None` until there is a record.
    info: Option<RecordInfo>,
    /// When that answer came.
    heard_at: Instant,
    /// The values in the store's last answer.
    values: Values,
    /// Whether these are all values that the record held at that time. Other requests may have changed the record
    /// between its load and a save.
    complete: bool,
    /// Changes that were sent to the store and got no answer. They may have been applied, so they go first, under their
    /// old nonce.
    unanswered: Option<Sent>,
    /// Changes that were not sent yet.
    changes: ChangeSet,
    /// Whether the session is kept although nothing is set in it.
    keep: bool,
    /// A new id that was not sent yet.
    new_id: Option<NewId>,
    /// Whether a save needs the record as it was loaded: see `transact`.
    pub(crate) exclusive: bool,
    /// Whether a save was refused because another request had changed the record.
    pub(crate) conflicted: bool,
    pub(crate) cookie_due: bool,
    /// Whether this request created the session, and its cookie has to come back before the session gets its full life.
    is_unconfirmed: bool,
    /// Whether the application knows what happened to its changes: then a drop loses nothing unnoticed.
    pub(crate) settled: bool,
}

struct Sent {
    nonce: Nonce,
    changes: ChangeSet,
    /// The session's identity after these changes, if it gets a new id.
    new_id: Option<NewId>,
}

impl Session {
    pub(crate) fn new(context: Arc<Context>, transport: Transport) -> Result<Session, Error> {
        Ok(Session::of(context, transport, Identity::random(None)?))
    }

    pub(crate) fn loaded(context: Arc<Context>, transport: Transport, verified: Verified, record: Record) -> Session {
        let mut session = Session::of(context, transport, verified.identity);
        session.info = Some(record.info);
        session.values = record.values;
        session.group_name = record.group_name;
        session.forwarded_to = record.forwarded_to;
        session.cookie_due = verified.outdated || record.refreshed;
        session
    }

    fn of(context: Arc<Context>, transport: Transport, identity: Identity) -> Session {
        Session {
            context,
            transport,
            identity,
            forwarded_to: None,
            group_name: None,
            info: None,
            heard_at: Instant::now(),
            values: Values::new(),
            complete: true,
            unanswered: None,
            changes: ChangeSet::default(),
            keep: false,
            new_id: None,
            exclusive: false,
            conflicted: false,
            cookie_due: false,
            is_unconfirmed: false,
            settled: false,
        }
    }

    // ---- values ----

    /// Gives the value of a key, or `None` if the key has no value.
    ///
    /// A key that was set to `None` holds a `null`. Read as an `Option<T>`, this is `Some(None)`. Read as a `T` that
    /// cannot be null, this is `None`.
    ///
    /// # Errors
    /// [`Error::Decode`] if the value cannot be read as a `T`. [`Error::NotAnInteger`] if this request has
    /// [incremented](Session::increment) the value, and the value and the increment do not add up.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(json) = self.json(key)?.filter(|_| !is_reserved(key)) else { return Ok(None) };
        from_json(key, &json)
    }

    /// Sets a key to a value.
    ///
    /// # Errors
    /// [`Error::Encode`] if the value cannot be written as JSON and read again: a number in it is NaN or infinite, it
    /// is nested more than 127 deep, a map has keys that are neither text nor numbers, or its `Serialize` fails.
    /// [`Error::TooLarge`] if the key is longer than [`MAX_KEY_BYTES`], or if the key and the value alone are larger
    /// than a session may be. [`Error::ReservedKey`] if the key begins with a NUL character. After an error, the
    /// session is as it was.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        self.check_key(key)?;
        let json = to_json(key, value)?;
        self.check_value(key, &json)?;
        self.change(key, Change::Set(json));
        Ok(())
    }

    /// Gives the value of a key and removes the key. The store removes it when the session is saved.
    ///
    /// A `null`, which [`get`](Session::get) may read as `None`, is removed as well.
    ///
    /// # Errors
    /// Those of [`get`](Session::get). After an error, the value stays.
    pub fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let value = self.get(key)?;
        if self.contains_key(key) {
            self.change(key, Change::Remove);
        }
        Ok(value)
    }

    /// Removes a key, even if another request sets it meanwhile. Says whether the key had a value in this request.
    pub fn remove(&mut self, key: &str) -> bool {
        let there = self.contains_key(key);
        if !is_reserved(key) {
            self.change(key, Change::Remove);
        }
        there
    }

    /// Adds `by` to the integer under a key. A missing value counts as 0.
    ///
    /// The store adds when the session is saved, so no increment is lost, however many processes count at once. Before
    /// the save, [`get`](Session::get) gives the loaded value plus `by`. After it, `get` gives the store's total. If
    /// the same request has set or removed the key, the sum is done at once.
    ///
    /// # Errors
    /// [`Error::NotAnInteger`] if this request set the key to a value that is not an integer, or if the sum is not a
    /// 64-bit integer. If the store holds such a value, [`save`](Session::save) gives this error. [`Error::TooLarge`]
    /// if the key is too long. [`Error::ReservedKey`] if the key begins with a NUL character.
    pub fn increment(&mut self, key: &str, by: i64) -> Result<(), Error> {
        self.check_key(key)?;
        let change = if self.layers().any(|layer| layer.overriding(key).is_some()) {
            Change::Set(add(key, self.json(key)?.as_deref(), by)?.to_string())
        } else {
            let add = |sum: i64| sum.checked_add(by).ok_or_else(|| Error::NotAnInteger { key: key.to_owned() });
            // What was sent without an answer may have to be sent again as one with this.
            add(self.pending(key).unwrap_or(0))?;
            Change::Increment(add(self.changes.increment(key).unwrap_or(0))?)
        };
        self.change(key, change);
        Ok(())
    }

    /// Says whether a key has a value.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        !is_reserved(key) && self.holds(key)
    }

    /// Says whether a key has a value, even a key of the library's own.
    fn holds(&self, key: &str) -> bool {
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

    /// Gives all keys, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        let changed = self.layers().flat_map(|layer| layer.keys.keys());
        let all: BTreeSet<&str> = changed.chain(self.values.keys()).map(String::as_str).collect();
        all.into_iter().filter(|key| self.contains_key(key)).collect()
    }

    /// Gives the number of values, apart from those of [`flash`](Session::flash).
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys().len()
    }

    /// Says whether there are no values, apart from those of [`flash`](Session::flash).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all values, including those that other requests set meanwhile. The session lives on.
    pub fn clear(&mut self) {
        self.settled = false;
        self.changes.keys.clear();
        self.changes.clear = true;
    }

    // ---- identity and life ----

    /// Gives this one session another idle timeout, which begins when the session is saved.
    ///
    /// The timeout is at least a second and at most 100 years: a shorter or a longer one counts as that. The absolute
    /// timeout still holds.
    ///
    /// This is "remember me" if cookies outlive the browser, as they do by default. With
    /// [`persistent(false)`](crate::SessionManagerBuilder::persistent), the cookie is deleted when the browser is
    /// closed, whatever this timeout is.
    pub fn set_idle_timeout(&mut self, timeout: Duration) {
        let longest = crate::lifetime::LONGEST_TIMEOUT;
        self.settled = false;
        self.changes.idle_timeout = Some(timeout.clamp(Duration::from_secs(1), longest));
    }

    /// Gives a digest of the session's id, for logs and lists. It changes when the id does.
    #[must_use]
    pub fn public_id(&self) -> PublicId {
        self.key().id
    }

    /// Says whether the store has no record of this session yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.info.is_none()
    }

    /// Says when the session was created, by the store's clock. A new id does not change this. `None` before the first
    /// save.
    #[must_use]
    pub fn created_at(&self) -> Option<SystemTime> {
        self.info.as_ref().map(|info| info.created_at)
    }

    /// Says when the session ends if it is not used, by the store's clock. `None` before the first save.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.info.as_ref().map(|info| info.expires_at)
    }

    /// Gives the time by the store's clock, which may differ from this machine's. `None` before the first save.
    fn store_now(&self) -> Option<SystemTime> {
        let info = self.info.as_ref()?;
        info.expires_at.checked_sub(info.expires_in)?.checked_add(self.heard_at.elapsed())
    }

    /// Gives the key of the session's record.
    fn key(&self) -> RecordKey<'_> {
        let key = self.context.key(&self.identity);
        RecordKey { id: self.forwarded_to.unwrap_or(key.id), ..key }
    }

    // ---- the view ----

    /// Gives the changes since the store's last answer, latest first.
    fn layers(&self) -> impl Iterator<Item = &ChangeSet> {
        std::iter::once(&self.changes).chain(self.unanswered.as_ref().map(|sent| &sent.changes))
    }

    /// Gives the JSON text of a key as this request sees it.
    fn json(&self, key: &str) -> Result<Option<Cow<'_, str>>, Error> {
        if let Some(json) = self.layers().find_map(|layer| layer.overriding(key)) {
            return Ok(json.map(|json| json.as_str().into()));
        }
        let json = self.values.get(key).map(String::as_str);
        match self.pending(key) {
            Some(by) => Ok(Some(add(key, json, by)?.to_string().into())),
            None => Ok(json.map(Cow::from)),
        }
    }

    /// Gives the sum that this request adds to a key that it does not set.
    fn pending(&self, key: &str) -> Option<i64> {
        self.layers().filter_map(|layer| layer.increment(key)).reduce(i64::saturating_add)
    }

    fn change(&mut self, key: &str, change: Change) {
        self.settled = false;
        self.changes.keys.insert(key.to_owned(), change);
    }

    fn check_value(&self, key: &str, json: &str) -> Result<(), Error> {
        let (bytes, limit) = (size(key, json), self.context.limits.size_limit.bytes);
        if bytes > limit {
            return Err(Error::TooLarge { key: key.to_owned(), what: Oversize::Session, size: bytes, limit });
        }
        Ok(())
    }

    fn check_key(&self, key: &str) -> Result<(), Error> {
        if is_reserved(key) {
            return Err(Error::ReservedKey { key: key.chars().take(64).collect() });
        }
        if key.len() <= MAX_KEY_BYTES {
            return Ok(());
        }
        let beginning = key.chars().take(64).collect();
        Err(Error::TooLarge { key: beginning, what: Oversize::Key, size: key.len(), limit: MAX_KEY_BYTES })
    }
}

/// Says whether this is one of the library's own keys.
fn is_reserved(key: &str) -> bool {
    key.starts_with('\0')
}

impl ChangeSet {
    fn increment(&self, key: &str) -> Option<i64> {
        match self.keys.get(key) {
            Some(Change::Increment(by)) => Some(*by),
            _ => None,
        }
    }

    /// Gives what this change set sets a key to, whatever was there before; `None` if it leaves the key or adds to it.
    fn overriding(&self, key: &str) -> Option<Option<&String>> {
        match self.keys.get(key) {
            Some(Change::Set(json)) => Some(Some(json)),
            Some(Change::Remove) => Some(None),
            Some(Change::Increment(_)) => None,
            None => self.clear.then_some(None),
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
