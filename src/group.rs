//! Groups: all sessions that have one group name, usually one user's.

use crate::context::Context;
use crate::end_reason::EndReason;
use crate::error::Error;
use crate::id::{GroupTag, PublicId};
use crate::json::{from_json, to_json};
use crate::session::{Session, check_key};
use crate::store::call::Call;
use crate::store::group_update::{GROUP_SIZE_LIMIT, GroupUpdate};
use crate::store::key::GroupKey;
use crate::store::record::SessionInfo;
use crate::store::store_trait::Store;
use crate::store::stored_value::StoredValue;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

/// All sessions that have one group name, usually those of one user.
///
/// [`SessionManager::group`](crate::SessionManager::group) gives a group, and [`Session::set_group_name`] lets a
/// session join it. A session in a group lives only as long as it is a member. So a group can be ended in one step,
/// whatever its sessions are doing.
///
/// # Examples
/// ```
/// use multi_process_session::{Secret, SessionManager};
///
/// let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
///
/// // A login on each of two devices.
/// let mut phone = manager.load(None)?;
/// phone.set("device", "phone")?;
/// phone.set_group_name("ada");
/// phone.save()?;
/// let mut laptop = manager.load(None)?;
/// laptop.set("device", "laptop")?;
/// laptop.set_group_name("ada");
/// laptop.save()?;
///
/// // "Where you are logged in", latest login first.
/// let group = manager.group("ada");
/// for session in group.sessions_with(&["device"])? {
///     println!("{} since {:?}", session.get::<String>("device")?.unwrap_or_default(), session.joined_at());
/// }
///
/// // "Log out everywhere else".
/// assert_eq!(group.clear_except(&laptop)?, 1);
/// assert_eq!(group.len()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Group {
    context: Arc<Context>,
    tag: GroupTag,
}

impl Group {
    pub(crate) fn new(context: Arc<Context>, name: &str) -> Group {
        let tag = context.group_tag(name);
        Group { context, tag }
    }

    /// Lists the live sessions of the group. The session that joined last comes first.
    ///
    /// With Redis this takes a round trip for every 5,000 ids, and one for every 500 sessions. If you ask for more than
    /// 24 keys, or for more than 256 KiB of values, it takes more round trips. With other stores, this is one step.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn sessions(&self) -> Result<Vec<SessionInfo>, Error> {
        self.sessions_with(&[])
    }

    /// Lists the live sessions like [`sessions`](Group::sessions), each with its values of these keys.
    ///
    /// Ask for values that tell one device from another, such as the browser and the address, if the application has
    /// set them. The sessions are not loaded, so their lives are not extended.
    ///
    /// # Errors
    /// Those of `sessions`.
    pub fn sessions_with(&self, keys: &[&str]) -> Result<Vec<SessionInfo>, Error> {
        let mut sessions = self.context.store.group_sessions(&self.key(), keys, &self.call()?)?;
        sessions.sort_by_key(|session| (Reverse(session.info.joined_at), session.public_id));
        Ok(sessions)
    }

    /// Returns the number of live sessions of the group.
    ///
    /// # Errors
    /// [`Error::Store`].
    #[expect(clippy::len_without_is_empty, reason = "it asks the store")]
    pub fn len(&self) -> Result<usize, Error> {
        Ok(self.context.store.group_len(&self.key(), &self.call()?)?)
    }

    /// Ends all sessions of the group at once: a logout everywhere (the npm module's `clearGroupByName`). Returns the
    /// number of sessions that it ended. ([`Session::clear`] removes values, and ends nothing.)
    ///
    /// This is one step. Afterwards none of the sessions is alive, including those that other processes were saving or
    /// creating meanwhile: their saves return [`Error::Gone`]. If the session of the current request is in the group,
    /// call [`SessionManager::destroy`](crate::SessionManager::destroy) with the request afterwards, to get the
    /// `Set-Cookie` header that deletes its cookie.
    ///
    /// # Errors
    /// [`Error::Store`]: the sessions may not have ended.
    pub fn clear(&self) -> Result<u64, Error> {
        self.clear_all_but(None)
    }

    /// Ends all sessions of the group except this one: "log out everywhere else". Returns the number of sessions that
    /// it ended.
    ///
    /// If this session is not in the group, all sessions of the group end. An [old id](Session::regenerate_with_grace)
    /// of this session no longer works afterwards, also within its grace. Two things are not reached: a request that
    /// has loaded this session by the old id already, and a [handle](crate::SessionHandle) that has taken over the new
    /// id. So give this session a new id as well, by [`set_group_name`](Session::set_group_name) or
    /// [`regenerate`](Session::regenerate).
    ///
    /// OWASP ASVS 7.4.3 asks for this after a change of password.
    ///
    /// # Errors
    /// Those of [`clear`](Group::clear). A Redis whose memory is full refuses this call, but not `clear`.
    pub fn clear_except(&self, session: &Session) -> Result<u64, Error> {
        self.clear_all_but(Some(session.public_id()))
    }

    fn clear_all_but(&self, except: Option<PublicId>) -> Result<u64, Error> {
        let cleared = self.context.store.clear_group(&self.key(), except, &self.call()?)?;
        self.context.tell_ends(&cleared.ids, EndReason::LoggedOutElsewhere);
        Ok(cleared.number)
    }

    /// Ends one session of the group. Returns whether the session was alive. A session of another group is not touched,
    /// and the result is `false`.
    ///
    /// A public id that the session had within the last hour works too, so a list that is a little old still ends the
    /// right session. (After a login it does not.) [`Session::remove`] is something else: it removes a value.
    ///
    /// # Errors
    /// [`Error::Store`]: the session may not have ended.
    pub fn remove(&self, id: PublicId) -> Result<bool, Error> {
        self.context.end(&self.key().session(id), EndReason::LoggedOutElsewhere, &self.call()?)
    }

    /// Returns the value that the group has under a key. `None` if the group has no such value.
    ///
    /// This asks the store. In a session of the group, [`Session::group_value`] gives the value without a round trip.
    ///
    /// # Errors
    /// [`Error::Decode`] if the value cannot be read as a `T`. [`Error::Store`].
    pub fn value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let values = self.context.store.group_values(&self.key(), &self.call()?)?;
        values.get(key).and_then(StoredValue::json).map_or(Ok(None), |json| from_json(key, json))
    }

    /// Sets a value that all sessions of the group see: the user's roles, a locale, "must change the password".
    ///
    /// Every later load of a session of the group, in any process, gives the new value by [`Session::group_value`].
    /// Sessions that are already loaded keep the old value.
    ///
    /// The store keeps the values while a session of the group lives, and at least for one [idle
    /// timeout](crate::SessionManagerBuilder::idle_timeout) after their last change. So you can set a value before the
    /// login. A logout does not remove the values. They are a copy for fast reading: keep the original in your
    /// database, and set the values at each login.
    ///
    /// # Errors
    /// Those of [`Session::set`]. [`Error::TooLarge`] if the group would have more than 100 values, or more than 64 KiB
    /// of values: each load reads all of them. [`Error::Store`]: the value may have been set or not.
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// let mut session = manager.load(None)?;
    /// session.set_group_name("ada");
    /// let set_cookie = session.save()?.expect("a login has a cookie");
    ///
    /// // An administrator, in any process.
    /// manager.group("ada").set_value("roles", &["editor"])?;
    ///
    /// let session = manager.load(set_cookie.pair())?;
    /// assert_eq!(session.group_value::<Vec<String>>("roles")?, Some(vec!["editor".to_owned()]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_value<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), Error> {
        check_key(key)?;
        self.update(key, Some(to_json(key, value)?))
    }

    /// Removes a value of the group. The sessions of the group no longer see it from their next load on.
    ///
    /// # Errors
    /// [`Error::Store`]: the value may have been removed or not.
    pub fn remove_value(&self, key: &str) -> Result<(), Error> {
        self.update(key, None)
    }

    fn update(&self, key: &str, json: Option<String>) -> Result<(), Error> {
        let changes = [(key.to_owned(), json)].into();
        let idle_timeout = self.context.limits.lifetime.idle_timeout;
        let update = GroupUpdate { changes: &changes, size_limit: GROUP_SIZE_LIMIT, idle_timeout };
        Ok(self.context.store.update_group(&self.key(), &update, &self.call()?)?)
    }

    fn key(&self) -> GroupKey<'_> {
        self.context.group_key(self.tag)
    }

    fn call(&self) -> Result<Call, Error> {
        Call::until(self.context.deadline())
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("tag", &self.tag).finish_non_exhaustive()
    }
}
