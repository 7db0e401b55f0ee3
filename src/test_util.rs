//! Helpers for the tests of applications: a clock that the test moves, and cookies and tokens of ready sessions.
//!
//! # Examples
//! A test of what happens when a session has expired, without sleeping:
//! ```
//! use multi_process_session::test_util::{TestClock, cookie};
//! # use multi_process_session::{Secret, SessionManager};
//! # use std::time::Duration;
//!
//! let clock = TestClock::new();
//! let manager = SessionManager::builder(Secret::generate()?).store(clock.store()).build()?;
//! let cookie_header = cookie(&manager, |session| {
//!     session.set_group_name("ada");
//!     session.set("role", "admin")
//! })?;
//! assert_eq!(manager.load(&cookie_header)?.group_name(), Some("ada"));
//! clock.advance(Duration::from_secs(8 * 24 * 60 * 60));
//! assert!(manager.load(&cookie_header)?.is_new());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Security
//! The helpers need the manager, and can do nothing that the manager cannot do without them. So a release that is built
//! with this feature is not less safe. Still, enable the feature only under `[dev-dependencies]`.

use crate::error::Error;
use crate::manager::SessionManager;
use crate::session::Session;
use crate::store::memory::MemoryStore;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A clock that stands still until the test moves it. Clones are the same clock.
///
/// It begins with the present time.
#[derive(Clone, Debug)]
pub struct TestClock {
    start: SystemTime,
    nanoseconds: Arc<AtomicU64>,
}

impl TestClock {
    /// Makes a clock.
    #[must_use]
    pub fn new() -> TestClock {
        TestClock { start: SystemTime::now(), nanoseconds: Arc::default() }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let by = by.as_nanos().try_into().unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(by, Ordering::Relaxed);
    }

    /// Returns the time that the clock shows.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.start + Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// Returns the function that reads the clock, for [`MemoryStore::with_clock`] and `SqliteStore::with_clock`.
    ///
    /// Redis has a clock of its own, which a test cannot move.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// use multi_process_session::SqliteStore;
    /// use multi_process_session::test_util::TestClock;
    ///
    /// let clock = TestClock::new();
    /// let store = SqliteStore::with_clock("/tmp/test.db", clock.reader());
    /// # }
    /// ```
    pub fn reader(&self) -> impl Fn() -> SystemTime + Send + Sync + use<> {
        let clock = self.clone();
        move || clock.now()
    }

    /// Makes an empty store in memory that takes the time from this clock.
    #[must_use]
    pub fn store(&self) -> MemoryStore {
        MemoryStore::with_clock(self.reader())
    }
}

impl Default for TestClock {
    fn default() -> TestClock {
        TestClock::new()
    }
}

/// Makes a session, and gives the `Cookie` header of a browser that has it: `name=value`.
///
/// `fill` sets what the session holds: its values, its group, an idle timeout of its own. If `fill` sets nothing, the
/// session is empty. The session is as if the browser had already sent the cookie back once. So it has its full life,
/// not only the [`unconfirmed_timeout`](crate::SessionManagerBuilder::unconfirmed_timeout).
///
/// # Errors
/// Those of `fill`, of [`load`](SessionManager::load) and of [`save`](Session::save).
///
/// # Panics
/// If `fill` saves the session itself.
///
/// # Examples
/// ```
/// use multi_process_session::test_util::cookie;
/// # use multi_process_session::{Secret, SessionManager};
/// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
///
/// let cookie_header = cookie(&manager, |session| session.set("cart", &["apples"]))?;
/// assert_eq!(manager.load(&cookie_header)?.get("cart")?, Some(vec!["apples".to_owned()]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn cookie(manager: &SessionManager, fill: impl FnOnce(&mut Session) -> Result<(), Error>) -> Result<String, Error> {
    let mut session = filled(manager.load(None)?, fill)?;
    let set_cookie = session.save()?.expect("`fill` leaves it to `cookie` to save the session");
    let cookie = set_cookie.pair().to_owned();
    // The load may be the one that renews the cookie.
    let renewed = manager.load(&cookie)?.save()?;
    Ok(renewed.map_or(cookie, |set_cookie| set_cookie.pair().to_owned()))
}

/// Makes a session, and gives its bearer token, for [`load_token`](SessionManager::load_token).
///
/// In all else, it is like [`cookie()`], but it never panics.
///
/// # Errors
/// Those of `fill`, of [`load_token`](SessionManager::load_token) and of [`save`](Session::save).
///
/// # Examples
/// ```
/// use multi_process_session::test_util::token;
/// # use multi_process_session::{Secret, SessionManager};
/// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
///
/// let token = token(&manager, |session| session.set("user", "ada"))?;
/// let authorization = format!("Bearer {token}"); // the header of the request
/// assert_eq!(manager.load_token(Some(&token))?.get("user")?, Some("ada".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn token(manager: &SessionManager, fill: impl FnOnce(&mut Session) -> Result<(), Error>) -> Result<String, Error> {
    let mut session = filled(manager.load_token(None)?, fill)?;
    session.save()?;
    let token = session.token();
    manager.load_token(token.as_deref())?;
    Ok(token.unwrap_or_default())
}

fn filled(mut session: Session, fill: impl FnOnce(&mut Session) -> Result<(), Error>) -> Result<Session, Error> {
    fill(&mut session)?;
    // A session that gives a form token is kept, even if nothing is set in it.
    session.csrf_token();
    Ok(session)
}
