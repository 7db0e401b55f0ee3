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
    /// Use this for "remember me". By default, cookies stay when the browser is closed. With
    /// [`persistent(false)`](crate::SessionManagerBuilder::persistent), the cookie is deleted when the browser is
    /// closed, whatever this timeout is.
    pub fn set_idle_timeout(&mut self, timeout: Duration) {
        self.edit().changes.idle_timeout = Some(timeout.clamp(Duration::from_secs(1), LONGEST_TIMEOUT));
    }

    /// Says whether the store has no record of this session yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.record.info.is_none()
    }

    /// Says when the session was created, by the store's clock. A new id does not change this. `None` before the first
    /// save.
    #[must_use]
    pub fn created_at(&self) -> Option<SystemTime> {
        self.record.info.as_ref().map(|info| info.created_at)
    }

    /// Says when the session ends if it is not used, by the store's clock. `None` before the first save.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.record.info.as_ref().map(|info| info.expires_at)
    }
}
