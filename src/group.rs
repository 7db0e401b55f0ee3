//! Groups: all sessions that bear one group name, usually one user's.

use crate::Error;
use crate::manager::SessionManager;
use crate::session::{Session, from_json};
use crate::store::{Call, GroupKey, RecordInfo, Values};
use crate::token::{GroupTag, PublicId};
use serde::de::DeserializeOwned;
use std::cmp::Reverse;
use std::fmt;
use std::time::SystemTime;

/// All sessions that bear one group name, usually those of one user.
///
/// [`SessionManager::group`] gives one, and [`Session::set_group_name`] lets a session join. A session in a group lives
/// only as long as it is a member, so a group can be ended in one step, whatever its sessions are doing.
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
    manager: SessionManager,
    tag: GroupTag,
}

impl Group {
    pub(crate) fn new(manager: SessionManager, name: &str) -> Group {
        let tag = manager.group_tag(name);
        Group { manager, tag }
    }

    /// Its live sessions, the one that joined last first.
    ///
    /// At Redis it takes a round trip for every 5,000 ids, and one for every 500 sessions: fewer where more than 24
    /// values of each are asked for, or those of a few hundred kilobytes. With other stores it is one step.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn sessions(&self) -> Result<Vec<SessionInfo>, Error> {
        self.sessions_with(&[])
    }

    /// As [`sessions`](Group::sessions), each with those of its values that have one of these keys: what the
    /// application has set to tell one device from another, such as the browser and the address. It loads none of the
    /// sessions, so it does not extend their lives.
    ///
    /// # Errors
    /// Those of `sessions`.
    pub fn sessions_with(&self, keys: &[&str]) -> Result<Vec<SessionInfo>, Error> {
        let mut sessions = self.manager.store().group_sessions(&self.key(), keys, &self.call()?)?;
        sessions.sort_by_key(|session| (Reverse(session.info.joined_at), session.public_id));
        Ok(sessions)
    }

    /// How many live sessions it has.
    ///
    /// # Errors
    /// [`Error::Store`].
    #[expect(clippy::len_without_is_empty, reason = "it asks the store")]
    pub fn len(&self) -> Result<usize, Error> {
        Ok(self.manager.store().group_len(&self.key(), &self.call()?)?)
    }

    /// Ends all its sessions at once: a logout everywhere (the npm module's `clearGroupByName`). Says how many there
    /// were.
    ///
    /// It is one step: none of the sessions is alive afterwards, also none that other processes were saving or creating
    /// meanwhile; they find them [gone](Error::Gone). If the session that asks is one of them, call
    /// [`destroy`](Session::destroy) on it afterwards for the cookie that takes its own away.
    ///
    /// # Errors
    /// [`Error::Store`]: they may not have ended.
    pub fn clear(&self) -> Result<u64, Error> {
        Ok(self.manager.store().clear_group(&self.key(), None, &self.call()?)?)
    }

    /// Ends all its sessions but this one: "log out everywhere else", as OWASP ASVS 7.4.3 asks for after a change of
    /// password. If this one is not among them, it ends all.
    ///
    /// # Errors
    /// Those of [`clear`](Group::clear). A Redis whose memory is full refuses this, but not `clear`.
    pub fn clear_except(&self, session: &Session) -> Result<u64, Error> {
        Ok(self.manager.store().clear_group(&self.key(), Some(session.public_id()), &self.call()?)?)
    }

    /// Ends one of its sessions. Says whether it was alive: `false` for one of another group, which is not touched.
    ///
    /// # Errors
    /// [`Error::Store`]: it may not have ended.
    pub fn remove(&self, id: &PublicId) -> Result<bool, Error> {
        Ok(self.manager.store().delete(&self.key().session(*id), &self.call()?)?)
    }

    fn key(&self) -> GroupKey<'_> {
        self.manager.group_key(self.tag)
    }

    fn call(&self) -> Result<Call, Error> {
        Call::until(self.manager.deadline())
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// One session of a group, as [`Group::sessions`] lists it.
#[derive(Clone)]
pub struct SessionInfo {
    pub(crate) public_id: PublicId,
    pub(crate) info: RecordInfo,
    pub(crate) values: Values,
}

impl SessionInfo {
    /// For stores: see [`Store::group_sessions`](crate::Store::group_sessions).
    #[must_use]
    pub fn new(public_id: PublicId, info: RecordInfo, values: Values) -> SessionInfo {
        SessionInfo { public_id, info, values }
    }

    /// Its public id: for a "log out" button, and [`Group::remove`].
    #[must_use]
    pub fn public_id(&self) -> PublicId {
        self.public_id
    }

    /// When the session was created, by the store's clock, as all these times.
    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        self.info.created_at
    }

    /// When it joined the group: the login.
    #[must_use]
    pub fn joined_at(&self) -> SystemTime {
        self.info.joined_at.unwrap_or(self.info.created_at)
    }

    /// When its life was last extended: its last use, as exact as the refresh interval.
    #[must_use]
    pub fn refreshed_at(&self) -> SystemTime {
        self.info.refreshed_at
    }

    /// When it ends if it is not used.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.info.expires_at
    }

    /// When it was listed, by the store's clock: to say how long ago the others of these times are. This machine's
    /// clock may be another.
    #[must_use]
    pub fn listed_at(&self) -> SystemTime {
        self.info.expires_at.checked_sub(self.info.expires_in).unwrap_or(self.info.expires_at)
    }

    /// A value that [`Group::sessions_with`] was asked for; `None` if the session has none of that key, as
    /// [`Session::get`] has it.
    ///
    /// # Errors
    /// [`Error::Decode`] if it cannot be read as a `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        self.values.get(key).map_or(Ok(None), |json| from_json(key, json))
    }
}

impl fmt::Debug for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionInfo")
            .field("public_id", &self.public_id)
            .field("info", &self.info)
            .field("values", &self.values.len())
            .finish()
    }
}
