//! A new id for the session, and the group that the session is in.

use crate::error::Error;
use crate::group_limit::{AtLimit, GroupLimit, LARGEST_GROUP};
use crate::id::PublicId;
use crate::json::from_json;
use crate::session::Session;
use crate::session::new_id;
use crate::session::new_id::{GroupChange, NewId};
use crate::store::forward::LONGEST_GRACE;
use crate::store::key::RecordKey;
use crate::store::stored_value::StoredValue;
use crate::store::update::Change;
use serde::de::DeserializeOwned;
use std::time::{Duration, SystemTime};

impl Session {
    /// The length of the longest group name, in bytes.
    pub const MAX_GROUP_NAME_BYTES: usize = new_id::MAX_GROUP_NAME_BYTES;

    /// Returns a digest of the session's id, for logs and lists. The digest changes when the id changes.
    #[must_use]
    pub fn public_id(&self) -> PublicId {
        self.key().id
    }

    /// Gives the session a new id when it is saved. The values stay. Requests with the old id no longer find the
    /// session. For an hour, a logout with the old id still ends it.
    ///
    /// Do this whenever the rights of the client change (OWASP ASVS 7.2.4), so that an id that someone planted or saw
    /// before is worth nothing afterwards. [`set_group_name`](Session::set_group_name) does this by itself. If two
    /// requests do this at once, one wins, and the other's save returns [`Error::Gone`](crate::Error::Gone).
    pub fn regenerate(&mut self) {
        self.renew(GroupChange::Stay, None);
    }

    /// Like [`regenerate`](Session::regenerate), but the old id keeps working for `grace`, so that requests already in
    /// flight are not logged out.
    ///
    /// Use it for ids that are changed now and then as a precaution. A few seconds are enough. A grace of more than 5
    /// minutes counts as 5 minutes. The grace ends with the session, and when
    /// [`Group::clear_except`](crate::Group::clear_except) keeps this session. If the session gets another new id
    /// before the grace is over, the old id works only for as long as the id that followed it: if that one has no
    /// grace, neither has the old id.
    ///
    /// A request with the old id can read, save, and end the session, but it gets no cookie. If it calls
    /// `regenerate_with_grace` itself, nothing happens, because the session has a new id already. If it asks for a new
    /// id in another way, its save returns [`Error::Gone`](crate::Error::Gone). A request with an old id takes one more
    /// round trip for each change of the id.
    ///
    /// The [form tokens](Session::csrf_token) of pages that were made with the old id are valid during the grace too.
    /// If more than 16 old ids are in their grace, only the form tokens of the 16 whose grace ends last are valid.
    ///
    /// If this request also asks for a new id without a grace, the old id gets no grace.
    pub fn regenerate_with_grace(&mut self, grace: Duration) {
        self.renew(GroupChange::Stay, Some(grace.clamp(Duration::from_millis(1), LONGEST_GRACE)));
    }

    /// Logs a user in when the session is saved: the session joins the user's group, which holds all sessions of this
    /// user (the npm module's `setGroupName`).
    ///
    /// A login is a change of rights, so the session gets a new id (OWASP ASVS 7.2.4), its absolute timeout begins
    /// anew, and [`authenticated_at`](Session::authenticated_at) is set. This happens even if the session is in that
    /// group already. If the session is in another group, it leaves that one, and an [idle timeout of its
    /// own](Session::set_idle_timeout) ends, unless this request sets one.
    ///
    /// Any name is allowed, for instance the id of the user in your database. If the name is longer than
    /// [`MAX_GROUP_NAME_BYTES`](Session::MAX_GROUP_NAME_BYTES), [`save`](Session::save) returns
    /// [`Error::TooLarge`](crate::Error::TooLarge). No save works until you set another name or call
    /// [`leave_group`](Session::leave_group).
    ///
    /// The values stay, for instance a cart that was filled before the login. But if the session is in the group of
    /// another user, its values are removed, so that no value of one user passes to the next. Only values that this
    /// request has [set](Session::set) and not saved yet stay. So in a request that may log another user in, do not
    /// read an old value and set it again: it would pass to the next user.
    ///
    /// [`SessionManager::group`](crate::SessionManager::group) lists and ends the sessions of a group. Beyond
    /// [`max_sessions_per_group`](crate::SessionManagerBuilder::max_sessions_per_group), the sessions that joined first
    /// end, or this login is [refused](crate::AtLimit). [`limit_group`](Session::limit_group) sets another limit for
    /// this login.
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// # let cookie_header: Option<&str> = None;
    /// let mut session = manager.load(cookie_header)?;
    /// // The password was right.
    /// session.set_group_name("user 4711");
    /// let set_cookie = session.save()?.expect("a new id needs a cookie");
    /// assert_eq!(manager.group("user 4711").len()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_group_name(&mut self, name: &str) {
        // A request may leave the group first.
        let groups = [self.group_name(), self.record.group_name.as_deref()];
        if groups.into_iter().flatten().any(|group| group != name) {
            let changes = &mut self.edit().changes;
            changes.clear = true;
            changes.keys.retain(|_, change| matches!(change, Change::Set(_)));
        }
        self.renew(GroupChange::Join(name.to_owned()), None);
    }

    /// Sets the limit of the user's sessions, and what a login beyond it does, for the login of this request only.
    ///
    /// Default: the settings [`max_sessions_per_group`](crate::SessionManagerBuilder::max_sessions_per_group) and
    /// [`at_limit`](crate::SessionManagerBuilder::at_limit), which hold for all logins.
    ///
    /// Call it before [`save`](Session::save), together with [`set_group_name`](Session::set_group_name). 0 counts as
    /// 1, and a number above 100,000 counts as 100,000.
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{AtLimit, Error, Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// # let log_in = || -> Result<(), Error> {
    /// let mut session = manager.load(None)?;
    /// session.set_group_name("an administrator");
    /// session.limit_group(1, AtLimit::RefuseNewest);
    /// session.save()?;
    /// # Ok(()) };
    /// # log_in()?;
    /// # assert!(matches!(log_in(), Err(Error::TooManySessions { limit: 1, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn limit_group(&mut self, sessions: usize, at_limit: AtLimit) {
        self.edit().limit = Some(GroupLimit { sessions: sessions.clamp(1, LARGEST_GROUP), at_limit });
    }

    /// Returns a value of the session's group, which [`Group::set_value`](crate::Group::set_value) sets.
    ///
    /// The load of this session has read the value, so this takes no round trip. `None` if the group has no value under
    /// this key, if the session is not in a group, or after a login or [`leave_group`](Session::leave_group) in this
    /// request.
    ///
    /// # Errors
    /// [`Error::Decode`](crate::Error::Decode) if the value cannot be read as a `T`.
    pub fn group_value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        if self.layers().any(|layer| *layer.group() != GroupChange::Stay) {
            return Ok(None);
        }
        let json = self.record.group_values.get(key).and_then(StoredValue::json);
        json.map_or(Ok(None), |json| from_json(key, json))
    }

    /// Keeps the forms of the present id valid for `time` after this request gives the session a new id.
    ///
    /// Without this call, the new id of a login or of [`regenerate`](Session::regenerate) makes the [form
    /// tokens](Session::csrf_token) of all pages that are open in other tabs invalid. A time of more than 5 minutes
    /// counts as 5 minutes. Forms of another user are never kept.
    ///
    /// # Security
    /// Do not call this at a login if an attacker may have planted the id from before the login. An attacker who has
    /// that id can get a form token for it. During this time, the token would be valid for the user's session. The
    /// default cookie (`__Host-`) cannot be planted. A cookie with a domain, and a cookie without `Secure`, can.
    pub fn keep_forms_for(&mut self, time: Duration) {
        self.edit().forms_time = Some(time.clamp(Duration::from_millis(1), LONGEST_GRACE));
    }

    /// Lets the session leave its group when it is saved. A session that is not in a group stays as it is.
    ///
    /// The session lives on, with the same values and a new id, and [ending the group](crate::Group::clear) does not
    /// end it. An [idle timeout of its own](Session::set_idle_timeout) ends with the membership.
    ///
    /// For a logout, use [`destroy`](Session::destroy) instead: after `leave_group` the values are still there.
    pub fn leave_group(&mut self) {
        if self.group_name().is_some() {
            self.renew(GroupChange::Leave, None);
        }
    }

    /// Returns the name of the group that the session is in, or joins when it is saved.
    #[must_use]
    pub fn group_name(&self) -> Option<&str> {
        for layer in self.layers() {
            match layer.group() {
                GroupChange::Join(name) => return Some(name),
                GroupChange::Leave => return None,
                GroupChange::Stay => {}
            }
        }
        self.record.group_name.as_deref()
    }

    /// Returns when the session joined its group, by the store's clock: the last login. `None` if it is not in a group.
    ///
    /// To compare this with the present time, use [`authenticated_within`](Session::authenticated_within): this
    /// machine's clock may differ from the store's.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        self.record.info.as_ref().and_then(|info| info.joined_at)
    }

    /// Returns whether the last login was less than `time` ago, by the store's clock. `false` if the session is not in
    /// a group.
    ///
    /// Use this before something sensitive, such as a new password. If the answer is `false`, ask for the password
    /// again (OWASP ASVS 7.5.1), and call [`set_group_name`](Session::set_group_name) once more.
    ///
    /// If the store's clock was put back, the time of a login may be in the future. Then a login 5 minutes in the
    /// future counts like a login 5 minutes ago.
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # use std::time::Duration;
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// let mut session = manager.load(None)?;
    /// assert!(!session.authenticated_within(Duration::from_secs(300)));
    /// session.set_group_name("ada");
    /// session.save()?;
    /// assert!(session.authenticated_within(Duration::from_secs(300)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn authenticated_within(&self, time: Duration) -> bool {
        let (Some(login), Some(now)) = (self.authenticated_at(), self.record.now()) else { return false };
        let apart = now.duration_since(login).unwrap_or_else(|ahead| ahead.duration());
        apart <= time
    }

    /// Returns the key of the session's record.
    pub(super) fn key(&self) -> RecordKey<'_> {
        let key = self.context.key(&self.identity);
        RecordKey { id: self.record.forwarded_to.unwrap_or(key.id), ..key }
    }

    fn renew(&mut self, group: GroupChange, grace: Option<Duration>) {
        self.edit().renew(NewId::new(group, grace));
    }
}
