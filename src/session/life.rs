//! How long a session lives.

use crate::lifetime::LONGEST_TIMEOUT;
use crate::session::Session;
use std::time::{Duration, SystemTime};

impl Session {
    /// Gives this one session another idle timeout, which begins when the session is saved.
    ///
    /// A timeout of less than 1 second counts as 1 second, and one of more than 100 years as 100 years. The absolute
    /// timeout still holds.
    ///
    /// For "remember me", use [`remember_me`](Session::remember_me).
    pub fn set_idle_timeout(&mut self, timeout: Duration) {
        self.edit().changes.idle_timeout = Some(Some(timeout.clamp(Duration::from_secs(1), LONGEST_TIMEOUT)));
    }

    /// Sets whether the cookie of this one session outlives the browser.
    ///
    /// Default: what [`persistent`](crate::SessionManagerBuilder::persistent) says for all sessions.
    ///
    /// A cookie that outlives the browser stays when the browser is closed. The session keeps this choice through
    /// refreshes, new ids and a change of the secret. Like an [idle timeout of its own](Session::set_idle_timeout), the
    /// choice ends when the session leaves its group. A bearer token has no cookie, so this call has no effect on it.
    pub fn set_persistent(&mut self, persistent: bool) {
        self.edit().changes.persistent = Some(Some(persistent));
    }

    /// Applies the user's choice in the box "remember me" of a login form.
    ///
    /// `Some(timeout)`, if the box is ticked: the session lives for `timeout` from its last use, and its cookie
    /// outlives the browser.
    ///
    /// `None`, if the box is not ticked: the session has the [idle
    /// timeout](crate::SessionManagerBuilder::idle_timeout) of all sessions, and the browser deletes the cookie when it
    /// is closed. (Browsers that restore their last tabs may restore the cookie too.)
    ///
    /// Call it at each login together with [`set_group_name`](Session::set_group_name): the user may choose differently
    /// each time.
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # use std::time::Duration;
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// # let is_ticked = false;
    /// let mut session = manager.load(None)?;
    /// session.set_group_name("ada");
    /// session.remember_me(is_ticked.then_some(Duration::from_secs(30 * 24 * 60 * 60)));
    /// let set_cookie = session.save()?.expect("a login has a cookie");
    /// assert!(!set_cookie.contains("Max-Age"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remember_me(&mut self, timeout: Option<Duration>) {
        self.set_persistent(timeout.is_some());
        match timeout {
            Some(timeout) => self.set_idle_timeout(timeout),
            None => self.edit().changes.idle_timeout = Some(None),
        }
    }

    /// Returns whether the store has no record of this session yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.record.info.is_none()
    }

    /// Returns when the session was created, by the store's clock. A new id does not change this. `None` before the
    /// first save.
    #[must_use]
    pub fn created_at(&self) -> Option<SystemTime> {
        self.record.info.as_ref().map(|info| info.created_at)
    }

    /// Returns the time that is left until the session ends if it is not used. `None` before the first save. 0 if that
    /// time has passed since the load.
    ///
    /// To show this time to the user, load the session by [`peek`](crate::SessionManager::peek): a load may extend the
    /// session's life.
    #[must_use]
    pub fn expires_in(&self) -> Option<Duration> {
        let (expires_at, now) = (self.expires_at()?, self.record.now()?);
        Some(expires_at.duration_since(now).unwrap_or_default())
    }

    /// Returns when the session ends if it is not used, by the store's clock. `None` before the first save.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.record.info.as_ref().map(|info| info.expires_at)
    }
}
