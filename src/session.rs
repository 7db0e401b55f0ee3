//! One client's session, as one request sees it.

mod csrf;
mod destroy;
mod drop;
mod ended;
mod flash;
mod identity;
mod life;
pub(crate) mod new_id;
mod old_ids;
mod own_keys;
mod pending;
mod save;
mod sealed;
mod send;
mod snapshot;
pub(crate) mod transaction;
mod transport;
mod typed;
mod view;

use crate::context::Context;
use crate::cookie::ends_too_early;
use crate::end_reason::EndReason;
use crate::error::{Error, Oversize};
use crate::id::PublicId;
use crate::json::{from_json, to_json};
#[cfg(feature = "seal")]
use crate::seal::{ADDED_BYTES, DataKey};
use crate::session::pending::{InFlight, Pending};
use crate::session::snapshot::Snapshot;
use crate::store::record::{Record, Size};
use crate::store::stored_value::StoredValue;
use crate::store::update::{Change, add};
use crate::token::{Identity, Transport, Verified};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "seal")]
use std::sync::OnceLock;

/// The values kept for one client, as one request sees them.
///
/// [`SessionManager::load`](crate::SessionManager::load) gives one for each request. Changes stay in the session until
/// [`save`](Session::save), which sends only the changed keys. Changes that other requests make at the same time under
/// other keys stay. Changes that were not saved are lost when the session is dropped.
///
/// A new session is stored only after one of these calls: [`set`](Session::set), [`increment`](Session::increment),
/// [`write_as`](Session::write_as), [`flash`](Session::flash), [`csrf_token`](Session::csrf_token) or
/// [`csrf_field`](Session::csrf_field), [`set_group_name`](Session::set_group_name). Any other new session costs
/// nothing.
///
/// A page that sets a value in every session, such as a counter of visits, makes a session for each request without a
/// cookie, and robots send no cookie. Such a page can also log a user out: if another site links to the page,
/// [`SameSite`](crate::SameSite) may keep the cookie back, and the cookie of the new session then replaces that of the
/// login. So set values only where it matters. In pages that everyone sees, set them only if the session is not
/// [new](Session::is_new).
///
/// A value is anything that serde can turn into JSON. A value is parsed when it is read.
/// [`read_as`](Session::read_as) and [`write_as`](Session::write_as) read and write a struct whose fields are the keys.
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
/// let cookie_header = set_cookie.pair();
/// let session = manager.load(cookie_header)?;
/// assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
/// assert_eq!(session.get("visits")?, Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session {
    context: Arc<Context>,
    transport: Transport,
    /// The id and the group in the client's token.
    identity: Identity,
    /// The record as the store last showed it.
    record: Snapshot,
    /// Changes that were sent and got no reply. The next save sends them first.
    in_flight: Option<InFlight>,
    /// Changes that were not sent yet.
    pending: Pending,
    transaction: Transaction,
    /// Whether the next save has to give a cookie.
    cookie_due: bool,
    /// Why the session that the request asked for has ended, if it has.
    ended_because: Option<EndReason>,
    /// The sessions that this request's login has ended, because of the limit of the group.
    ended_by_login: Vec<PublicId>,
    /// The data key, once it was needed: `None` if the record has none for this request.
    #[cfg(feature = "seal")]
    data_key: OnceLock<Option<DataKey>>,
    /// Whether a drop with unsaved changes is logged. This is `false` if the application knows that they are not saved.
    warn_on_drop: bool,
}

/// Whether the session is in a [transaction](crate::SessionManager::transact).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transaction {
    None,
    /// A save succeeds only if the record has not changed since the load.
    Running,
    /// A save was refused because another request had changed the record. The transaction has to begin again.
    Conflicted,
}

impl Session {
    /// Returns a session that has no record yet.
    pub(crate) fn new(
        context: Arc<Context>,
        transport: Transport,
        ended_because: Option<EndReason>,
    ) -> Result<Session, Error> {
        let mut session = Session::of(context, transport, Identity::random(None)?);
        session.ended_because = ended_because;
        Ok(session)
    }

    /// Returns the session of a record that was loaded just now, by the id in a token.
    pub(crate) fn loaded(context: Arc<Context>, transport: Transport, verified: Verified, record: Record) -> Session {
        let mut session = Session::of(context, transport, verified.identity);
        let (ends_at, now) = (record.info.expires_at, record.info.expires_at - record.info.expires_in);
        let cookie_ends_too_early = ends_too_early(verified.cookie_ends_at, ends_at, now);
        session.cookie_due = verified.outdated || record.refreshed || cookie_ends_too_early;
        session.record = Snapshot::of(record);
        session
    }

    fn of(context: Arc<Context>, transport: Transport, identity: Identity) -> Session {
        Session {
            context,
            transport,
            identity,
            record: Snapshot::empty(),
            in_flight: None,
            pending: Pending::default(),
            transaction: Transaction::None,
            cookie_due: false,
            ended_because: None,
            ended_by_login: Vec::new(),
            #[cfg(feature = "seal")]
            data_key: OnceLock::new(),
            warn_on_drop: true,
        }
    }

    /// The longest key, in bytes.
    pub const MAX_KEY_BYTES: usize = 1024;

    /// Returns the value of a key, or `None` if the key has no value.
    ///
    /// A key that was set to `None` holds a `null`. Read as an `Option<T>`, this is `Some(None)`. Read as a `T` that
    /// cannot be null, this is `None`.
    ///
    /// # Errors
    /// [`Error::Decode`] if the value cannot be read as a `T`. [`Error::NotAnInteger`] if this request has
    /// [incremented](Session::increment) a value that is not an integer, or the sum is not a 64-bit integer.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        if is_reserved(key) {
            return Ok(None);
        }
        self.json(key)?.map_or(Ok(None), |json| from_json(key, &json))
    }

    /// Sets a key to a value.
    ///
    /// # Errors
    /// [`Error::Encode`] if the value cannot be written as JSON and read again: a number in it is NaN or infinite, it
    /// is nested more than 127 deep, a map has keys that are neither text nor numbers, or its `Serialize` fails.
    /// [`Error::TooLarge`] if the key is longer than [`MAX_KEY_BYTES`](Session::MAX_KEY_BYTES), or if the key and the
    /// value alone are larger than a session may be. [`Error::ReservedKey`] if the key begins with a NUL character.
    /// After an error, the session is as it was.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        check_key(key)?;
        let value = to_json(key, value)?.into();
        self.check_value(key, &value)?;
        self.change(key, Change::Set(value));
        Ok(())
    }

    /// Returns the value of a key and removes the key. The store removes the key when the session is saved.
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

    /// Removes a key, even if another request sets it meanwhile. Returns whether the key had a value in this request.
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
    /// the save, [`get`](Session::get) gives the loaded value plus `by`. After the save, `get` gives the store's total.
    /// If the same request has set or removed the key before, the session adds at once, and the save sets the sum.
    ///
    /// # Errors
    /// [`Error::NotAnInteger`] if this request set the key to a value that is not an integer, or if the sum is not a
    /// 64-bit integer. If the store holds such a value, [`save`](Session::save) gives this error. [`Error::TooLarge`]
    /// if the key is too long. [`Error::ReservedKey`] if the key begins with a NUL character. [`Error::Sealed`] if the
    /// value of the key is sealed: the store cannot add to it.
    pub fn increment(&mut self, key: &str, by: i64) -> Result<(), Error> {
        check_key(key)?;
        let is_stored_sealed = || matches!(self.record.values.get(key), Some(StoredValue::Sealed(_)));
        #[cfg(feature = "seal")]
        let is_stored_sealed = || self.context.sealing.is_sealed(key) || is_stored_sealed();
        if !self.overrides(key) && is_stored_sealed() {
            return Err(Error::Sealed { key: key.to_owned() });
        }
        let change = if self.overrides(key) {
            let before = self.json(key)?.map(|json| json.into_owned().into());
            Change::Set(add(key, before.as_ref(), by)?.to_string().into())
        } else {
            let add = |sum: i64| sum.checked_add(by).ok_or_else(|| Error::NotAnInteger { key: key.to_owned() });
            // The store may refuse the changes in flight. Then they are sent as one increment with this one.
            add(self.increment_of(key).unwrap_or(0))?;
            Change::Increment(add(self.pending.increment(key).unwrap_or(0))?)
        };
        self.change(key, change);
        Ok(())
    }

    /// Returns whether a key has a value.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        !is_reserved(key) && self.holds(key)
    }

    /// Returns all keys, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        let changed = self.layers().flat_map(|layer| layer.changes.keys.keys());
        let all: BTreeSet<&str> = changed.chain(self.record.values.keys()).map(String::as_str).collect();
        all.into_iter().filter(|key| self.contains_key(key)).collect()
    }

    /// Returns the number of values, apart from those of [`flash`](Session::flash).
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys().len()
    }

    /// Returns whether there are no values, apart from those of [`flash`](Session::flash).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all values, including those that other requests set meanwhile. The session lives on.
    pub fn clear(&mut self) {
        let changes = &mut self.edit().changes;
        changes.keys.clear();
        changes.clear = true;
    }

    fn is_in_transaction(&self) -> bool {
        self.transaction != Transaction::None
    }

    /// Returns the pending changes, so that the caller can add one.
    fn edit(&mut self) -> &mut Pending {
        self.warn_on_drop = true;
        &mut self.pending
    }

    fn change(&mut self, key: &str, change: Change) {
        self.edit().changes.keys.insert(key.to_owned(), change);
    }

    fn check_value(&self, key: &str, value: &StoredValue) -> Result<(), Error> {
        let (bytes, limit) = (Size::of_value(key, value).bytes, self.context.limits.size_limit.bytes);
        #[cfg(feature = "seal")]
        let bytes = bytes + if self.context.sealing.is_sealed(key) { ADDED_BYTES } else { 0 };
        if bytes > limit {
            return Err(Error::TooLarge { key: key.to_owned(), what: Oversize::Session, size: bytes, limit });
        }
        Ok(())
    }
}

/// Refuses a key that is too long, and a key of the library's own.
pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    if is_reserved(key) {
        return Err(Error::ReservedKey { key: key.chars().take(64).collect() });
    }
    if key.len() <= Session::MAX_KEY_BYTES {
        return Ok(());
    }
    let beginning = key.chars().take(64).collect();
    Err(Error::TooLarge { key: beginning, what: Oversize::Key, size: key.len(), limit: Session::MAX_KEY_BYTES })
}

/// Returns whether this is one of the library's own keys.
fn is_reserved(key: &str) -> bool {
    key.starts_with('\0')
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
