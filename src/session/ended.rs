//! What became of the session that a request asked for, and of the other sessions of its user.

use crate::end_reason::EndReason;
use crate::id::PublicId;
use crate::session::Session;
use crate::session_handle::SessionHandle;

impl Session {
    /// Returns the reason why the session of this request's cookie or token has ended. `None` if the session is alive,
    /// or if the request has no cookie or token that is signed with one of the manager's secrets.
    ///
    /// Use it for a message on the login page, such as "You were logged out from another device". This takes no round
    /// trip: the load has already read the reason. A store remembers the reason for 5 minutes. After that it is
    /// [`EndReason::Expired`].
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{EndReason, Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// # let mut session = manager.load(None)?;
    /// # session.set_group_name("ada");
    /// # let set_cookie = session.save()?.expect("a login has a cookie");
    /// # let cookie_header = set_cookie.pair();
    /// manager.group("ada").clear()?; // "log out everywhere", on another device
    ///
    /// let session = manager.load(cookie_header)?;
    /// assert!(session.is_new());
    /// assert_eq!(session.ended_because(), Some(EndReason::LoggedOutElsewhere));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn ended_because(&self) -> Option<EndReason> {
        self.ended_because
    }

    /// Returns the sessions that the login of this request has ended, because the user had as many sessions as the
    /// [limit](crate::SessionManagerBuilder::max_sessions_per_group) allows. Empty before [`save`](Session::save).
    #[must_use]
    pub fn ended_by_login(&self) -> &[PublicId] {
        &self.ended_by_login
    }

    /// Returns a handle that outlives this request, and can be asked whether the session is still alive. `None` before
    /// the first save.
    #[must_use]
    pub fn to_handle(&self) -> Option<SessionHandle> {
        (!self.is_new()).then(|| SessionHandle::new(self.context.clone(), &self.key()))
    }
}
