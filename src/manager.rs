//! The session manager loads, changes and ends sessions by the cookies and tokens of requests.

use crate::context::Context;
use crate::cookie::SetCookie;
use crate::cookie_header::CookieHeader;
use crate::end_reason::EndReason;
use crate::error::Error;
use crate::group::Group;
use crate::id::PublicId;
use crate::session::Session;
use crate::session::transaction::transact;
use crate::session_handle::{SessionHandle, are_alive};
use crate::store::call::Call;
use crate::store::fork_guard::ForkGuard;
use crate::store::record::{Loaded, Record};
use crate::store::stats::{Counter, Stats};
use crate::store::store_trait::Store;
use crate::throttle::Throttle;
use crate::token::{Signer, Transport, Verified};
use log::Level;
use std::fmt;
use std::sync::Arc;

/// The most cookies of our name that one request may bring. A request with more of them is taken for an attack.
const MAX_COOKIES: usize = 8;
/// The most sessions that one logout ends. No browser keeps that many cookies for one site.
const MAX_LOGOUTS: usize = 200;

/// Loads, changes and ends sessions.
///
/// One manager is enough for an application. Clones share it, and so do forked processes.
///
/// Build the manager before or after forking: it opens nothing until it is used, and every process opens its own
/// connections. A process needs [`before_fork`](SessionManager::before_fork) in two cases only: if it forks while other
/// threads of it are using the manager, or after it has used a SQLite file itself.
///
/// # Examples
/// ```
/// use multi_process_session::{Secret, SessionManager};
/// # let store_url = "memory:";
///
/// let secret = Secret::new("32 bytes or more, from your configuration")?;
/// let manager = SessionManager::builder(secret).store_url(store_url).build()?;
///
/// let cookie_header: Option<&str> = None; // as it came with the request
/// let mut session = manager.load(cookie_header)?;
/// session.set("cart", &["apples", "pears"])?;
/// if let Some(set_cookie) = session.save()? {
///     // send the header `Set-Cookie: {set_cookie}` with the response
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SessionManager {
    context: Arc<Context>,
}

impl SessionManager {
    pub(crate) fn new(context: Context) -> SessionManager {
        SessionManager { context: Arc::new(context) }
    }

    /// Loads the session that a request's `Cookie` header names.
    ///
    /// Hand over the header's text, `None`, or the request itself: see [`CookieHeader`].
    ///
    /// Returns a new session if there is no cookie, if the cookie is not signed with one of the manager's secrets, or
    /// if its session has ended. A new session is stored only if something is set in it: see [`Session`]. A load costs
    /// one round trip, a second one if Redis has to refresh the session, and none without a signed cookie.
    ///
    /// # Errors
    /// [`Error::Store`]: the library cannot know whether the client has a session. Do not treat the client as logged
    /// in: respond with [`Error::http_status`]. [`Error::Randomness`].
    ///
    /// # Security
    /// An id that a client brings is never used for a new session (OWASP: session fixation).
    ///
    /// A request may bring cookies of several sessions, all of them signed with the manager's secrets. If exactly one
    /// of these sessions is alive, that one is loaded. Each further cookie costs a round trip. If two of them are
    /// alive, the request gets a new session: a neighbouring subdomain may have planted one of the cookies ("cookie
    /// tossing"). A request with more than 8 cookies of the session's name gets a new session too. [`Stats::tossed`]
    /// counts both.
    pub fn load(&self, cookie_header: impl CookieHeader) -> Result<Session, Error> {
        self.session(Transport::Cookie, self.presented(cookie_header), Purpose::Use)
    }

    /// Loads a session like [`load`](SessionManager::load), but does not count as a use of it.
    ///
    /// The session's life stays as it is, nothing is written, and the response needs no cookie. So a page that polls
    /// with `peek` does not keep its user logged in. [`Session::expires_in`] says how long the session lives if nobody
    /// uses it.
    ///
    /// The session can be changed and saved like any other. A save never extends a session's life, unless it gives the
    /// session a new id or another timeout.
    ///
    /// A peek takes one round trip. If the request has no cookie that is signed with one of the manager's secrets, it
    /// takes none.
    ///
    /// # Errors
    /// Those of `load`.
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// # let mut session = manager.load(None)?;
    /// # session.set("user", "ada")?;
    /// # let set_cookie = session.save()?.expect("a new session has a cookie");
    /// # let cookie_header = set_cookie.pair();
    /// let session = manager.peek(cookie_header)?;
    /// if let Some(left) = session.expires_in() {
    ///     println!("You will be logged out in {} minutes.", left.as_secs() / 60);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peek(&self, cookie_header: impl CookieHeader) -> Result<Session, Error> {
        self.session(Transport::Cookie, self.presented(cookie_header), Purpose::Look)
    }

    /// Loads the session that a bearer token names (the npm module's `type: "token"`).
    ///
    /// Clients of an API send the token in an `Authorization` header. The token is the one that [`Session::token`]
    /// returned, without the word `Bearer`. It stays the same until the session gets a new id, for instance at a login,
    /// or until the secret is changed. So after each save, send the client [`Session::token`] if it is another text
    /// than the one that came. The token itself has no end: its session has.
    ///
    /// For every other text, and for `None`, this call returns a new session, like [`load`](SessionManager::load). A
    /// new session is stored only if something is set in it: see [`Session`].
    ///
    /// # Errors
    /// Those of `load`.
    ///
    /// # Security
    /// A cookie's value is refused as a bearer token, and a bearer token as a cookie. So a session belongs to one of
    /// the two. Take tokens from a header, never from a URL: logs, histories and `Referer` headers hold URLs (OWASP
    /// ASVS 14.2.1).
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// # let authorization: Option<&str> = None;
    /// let mut session = manager.load_token(authorization.and_then(|value| value.strip_prefix("Bearer ")))?;
    /// session.set("user", "ada")?;
    /// session.save()?;
    /// let token = session.token().expect("something was set"); // for the body of the response
    ///
    /// let session = manager.load_token(Some(&token))?;
    /// assert_eq!(session.get::<String>("user")?.as_deref(), Some("ada"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn load_token(&self, token: Option<&str>) -> Result<Session, Error> {
        self.session(Transport::Token, self.verified_token(token), Purpose::Use)
    }

    /// Loads the session of a bearer token, but does not count as a use of it: see [`peek`](SessionManager::peek).
    ///
    /// # Errors
    /// Those of `load`.
    pub fn peek_token(&self, token: Option<&str>) -> Result<Session, Error> {
        self.session(Transport::Token, self.verified_token(token), Purpose::Look)
    }

    /// Returns the one live session among those that a request presents, or else a new one.
    fn session(
        &self,
        transport: Transport,
        presented: impl IntoIterator<Item = Verified>,
        purpose: Purpose,
    ) -> Result<Session, Error> {
        let (deadline, lifetime) = (self.context.deadline(), &self.context.limits.lifetime);
        let (mut ended, mut found) = (None, None::<Found>);
        for verified in presented {
            let (key, call) = (self.context.key(&verified.identity), Call::until(deadline)?);
            let loaded = match purpose {
                Purpose::Use => self.context.store.load(&key, lifetime, &call)?,
                Purpose::Look => self.context.store.peek(&key, lifetime, &call)?,
            };
            let record = match loaded {
                Loaded::Record(record) => record,
                Loaded::Ended(reason) => {
                    // Of several ended sessions, one whose reason is known says most.
                    ended = ended.filter(|known| *known != EndReason::Expired).or(Some(reason));
                    continue;
                }
            };
            let new = Found { id: record.forwarded_to.unwrap_or(key.id), verified, record };
            found = match found {
                None => Some(new),
                Some(known) if known.id == new.id => Some(known.or(new)),
                Some(known) => {
                    self.toss(&self.context.lines.several_sessions, format_args!("{} and {}", known.id, new.id));
                    return Session::new(self.context.clone(), transport, None);
                }
            };
        }
        // The cookies of ended sessions that came with the live one are not a reason to renew its cookie: the browser
        // keeps them apart from the cookie that we would send.
        match found {
            Some(found) => {
                let mut session = Session::loaded(self.context.clone(), transport, found.verified, found.record);
                if purpose == Purpose::Look {
                    session.owe_no_cookie();
                }
                Ok(session)
            }
            None => {
                if ended.is_some() {
                    self.context.count(Counter::NotFound);
                }
                Session::new(self.context.clone(), transport, ended)
            }
        }
    }

    /// Returns for each of these handles whether its session is alive: see [`SessionHandle`].
    ///
    /// The results have the order of the handles. With Redis this takes one round trip for up to 1,000 handles; in a
    /// cluster, one to each node. Each handle whose session has got a new id takes one more.
    ///
    /// # Errors
    /// [`Error::Store`]: any of the sessions may be alive or not. [`Error::Randomness`].
    ///
    /// # Examples
    /// ```
    /// use multi_process_session::{Secret, SessionHandle, SessionManager};
    ///
    /// struct Socket {
    ///     session: SessionHandle,
    /// }
    ///
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// # let mut session = manager.load(None)?;
    /// # session.set("user", "ada")?;
    /// # session.save()?;
    /// let mut sockets = vec![Socket { session: session.to_handle().expect("it was saved") }];
    /// session.destroy()?;
    ///
    /// // Every few seconds: close the sockets of all who have logged out.
    /// let mut alive = manager.are_alive(sockets.iter_mut().map(|socket| &mut socket.session))?.into_iter();
    /// sockets.retain(|_| alive.next() == Some(true));
    /// assert!(sockets.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn are_alive<'a>(&self, handles: impl IntoIterator<Item = &'a mut SessionHandle>) -> Result<Vec<bool>, Error> {
        are_alive(&self.context, handles.into_iter().collect())
    }

    /// Loads a session, does `work` on it and saves it. Returns the result of `work`, and the cookie if one is due.
    ///
    /// If another request changed the session meanwhile, `transact` starts again. Use it for changes that depend on the
    /// current values, such as taking the last item from a cart.
    ///
    /// `work` may be called several times, each time with the session as it is then. If `work` fails, nothing is saved.
    /// `work` should not call `save` itself. If `work` asks for a new id, it must not call `save`: the new cookie would
    /// be lost.
    ///
    /// For counting, [`Session::increment`] is cheaper and never conflicts.
    ///
    /// # Errors
    /// The error of `work`, or an [`Error`] of loading and saving. [`Error::Conflict`] after 32 tries, or when the
    /// operation timeout is used up. [`Error::Gone`] if the session ended between two tries.
    ///
    /// # Examples
    /// ```
    /// use multi_process_session::{Error, Secret, SessionManager};
    ///
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// let (left, set_cookie) = manager.transact(None, |session| -> Result<u32, Error> {
    ///     let left = session.get("tickets")?.unwrap_or(10) - 1;
    ///     session.set("tickets", &left)?;
    ///     Ok(left)
    /// })?;
    /// assert_eq!(left, 9);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn transact<R, E: From<Error>>(
        &self,
        cookie_header: impl CookieHeader,
        work: impl FnMut(&mut Session) -> Result<R, E>,
    ) -> Result<(R, Option<SetCookie>), E> {
        let (result, set_cookie, _) = transact(&self.context, || self.load(&cookie_header), work)?;
        Ok((result, set_cookie))
    }

    /// Changes the session that a bearer token names, like [`transact`](SessionManager::transact).
    ///
    /// Returns the session's token as [`Session::token`] does.
    ///
    /// # Errors
    /// Those of `transact`.
    pub fn transact_token<R, E: From<Error>>(
        &self,
        token: Option<&str>,
        work: impl FnMut(&mut Session) -> Result<R, E>,
    ) -> Result<(R, Option<String>), E> {
        let (result, _, token) = transact(&self.context, || self.load_token(token), work)?;
        Ok((result, token))
    }

    /// Ends the session that a `Cookie` header names: a logout.
    ///
    /// Returns the `Set-Cookie` header that deletes the cookie, even if the request has no cookie of this manager. The
    /// session is not loaded, so this works on a damaged record too.
    ///
    /// If the request brings signed cookies of several sessions, all of them end. So planted cookies do not keep the
    /// user's own session from ending.
    ///
    /// # Errors
    /// [`Error::Store`]: the session may not have ended.
    pub fn destroy(&self, cookie_header: impl CookieHeader) -> Result<SetCookie, Error> {
        let deadline = self.context.deadline();
        // Junk before the session's cookie does not hinder its logout.
        for verified in self.verified(cookie_header, usize::MAX, MAX_LOGOUTS).0 {
            self.context.end(&self.context.key(&verified.identity), EndReason::LoggedOut, &Call::until(deadline)?)?;
        }
        Ok(self.context.removal_cookie())
    }

    /// Ends the session that a bearer token names, like [`destroy`](SessionManager::destroy).
    ///
    /// # Errors
    /// Those of `destroy`.
    pub fn destroy_token(&self, token: Option<&str>) -> Result<(), Error> {
        if let Some(verified) = self.verified_token(token) {
            let call = Call::until(self.context.deadline())?;
            self.context.end(&self.context.key(&verified.identity), EndReason::LoggedOut, &call)?;
        }
        Ok(())
    }

    /// Returns the group of this name: all sessions that joined it with [`Session::set_group_name`].
    ///
    /// This does not ask the store.
    ///
    /// No session can join a group whose name is longer than
    /// [`MAX_GROUP_NAME_BYTES`](Session::MAX_GROUP_NAME_BYTES), so such a group is always empty.
    #[must_use]
    pub fn group(&self, name: &str) -> Group {
        Group::new(self.context.clone(), name)
    }

    /// Ends every session of this manager's [namespace](crate::SessionManagerBuilder::namespace), in one step.
    ///
    /// Use it after a breach, for instance (OWASP ASVS 7.4.5). The time until all sessions have ended does not depend
    /// on their number. Then the call deletes their records, so that a full memory or disk takes logins again. It uses
    /// at most half of its remaining time for that. The other records expire by themselves. Sessions that are created
    /// afterwards are not touched.
    ///
    /// In a Redis Cluster it is not one step: the call ends the sessions slot by slot. Afterwards no session that was
    /// there when the call began is alive.
    ///
    /// An operator can log everyone out without this call: give the application a new secret, and do not
    /// [accept](crate::SessionManagerBuilder::accept_secret) the old one. On a single Redis, or behind Sentinel,
    /// `DEL <namespace>:generation` ends all sessions.
    ///
    /// # Errors
    /// [`Error::Store`]: the sessions may not have ended. Call it again.
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// let mut session = manager.load(None)?;
    /// session.set_group_name("ada");
    /// session.save()?;
    /// manager.destroy_every_session()?;
    /// assert_eq!(manager.group("ada").len()?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn destroy_every_session(&self) -> Result<(), Error> {
        Ok(self.context.store.clear_namespace(&self.context.namespace, &Call::until(self.context.deadline())?)?)
    }

    /// Checks whether sessions can be saved, for health checks.
    ///
    /// Unlike [`ping`](SessionManager::ping), it notices a full memory or disk, a replica in the place of the primary,
    /// and missing rights. It writes something that belongs to no client, and removes it again. `ping` writes nothing.
    ///
    /// # Errors
    /// [`Error::Store`] says why not.
    pub fn check_writes(&self) -> Result<(), Error> {
        Ok(self.context.store.check_writes(&self.context.namespace, &Call::until(self.context.deadline())?)?)
    }

    /// Checks whether the store answers, for health checks, and to notice a missing store at the start.
    ///
    /// [`check_writes`](SessionManager::check_writes) also checks whether the store accepts writes.
    ///
    /// This opens a connection, or the SQLite file, in the process that calls it. With a SQLite file, a parent that has
    /// called `ping` has to call [`before_fork`](SessionManager::before_fork) before it forks. Otherwise its children
    /// cannot use the file. With Redis there is nothing to do.
    ///
    /// # Errors
    /// [`Error::Store`] says why not.
    pub fn ping(&self) -> Result<(), Error> {
        Ok(self.context.store.ping(&Call::until(self.context.deadline())?)?)
    }

    /// Returns the counters of this process since it was started or forked, for a metrics page.
    ///
    /// [`StatsFolder`](crate::StatsFolder) adds up those of all workers. This does not ask the store.
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager, StoreErrorKind};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// let stats = manager.stats();
    /// println!("{} calls to the store, {:?} in all", stats.calls, stats.call_durations.sum());
    /// for (kind, number) in &stats.errors {
    ///     println!("{number} errors of the kind {kind:?}");
    /// }
    /// let page = stats.to_openmetrics(); // for Prometheus
    /// # Ok::<(), multi_process_session::ConfigError>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.context.store.stats()
    }

    /// Makes it safe to fork while other threads use the manager, or after this process has used a SQLite file.
    ///
    /// The call waits until no other call is running, for at most twice the operation timeout. If a call is still
    /// running then, the log says so, and forking may hang the child. Then it closes the connections of this process.
    /// Fork while the guard lives. New calls of this process wait until this guard, and every other one, is dropped.
    /// The calls of the child do not wait.
    ///
    /// The usual server does not need this: its parent builds the manager, forks and waits, and its children serve.
    ///
    /// The library tells processes apart by their process ids. So do not put a child into a PID namespace of its own
    /// while the parent has the store open: the child could get the same process id as its parent.
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// let guard = manager.before_fork();
    /// // let pid = unsafe { libc::fork() };
    /// drop(guard);
    /// # Ok::<(), multi_process_session::ConfigError>(())
    /// ```
    pub fn before_fork(&self) -> ForkGuard {
        self.context.store.before_fork()
    }

    /// Returns the sessions that a request presents, or none if there are too many cookies.
    fn presented(&self, cookie_header: impl CookieHeader) -> Vec<Verified> {
        let (verified, cookies) = self.verified(cookie_header, MAX_COOKIES, MAX_COOKIES);
        if cookies > MAX_COOKIES {
            self.toss(&self.context.lines.many_cookies, format_args!("more than {MAX_COOKIES} cookies of our name"));
            return Vec::new();
        }
        verified
    }

    /// Counts and logs a request that is treated as one without a session.
    fn toss(&self, throttle: &Throttle, what: fmt::Arguments<'_>) {
        self.context.count(Counter::Tossed);
        throttle.log(Level::Warn, format_args!("a request with several sessions is taken for one with none: {what}"));
    }

    /// Returns the sessions whose tokens we signed, each once, and the number of cookies of our name that were looked
    /// at: at most one more than `cap`. Stops after `most` sessions.
    fn verified(&self, cookie_header: impl CookieHeader, cap: usize, most: usize) -> (Vec<Verified>, usize) {
        let (mut verified, mut cookies): (Vec<Verified>, usize) = (Vec::new(), 0);
        for header in cookie_header.cookie_headers() {
            for value in self.context.cookie.values(header) {
                cookies += 1;
                if cookies > cap || verified.len() == most {
                    return (verified, cookies);
                }
                let Some(new) = self.verify(&self.context.cookie_signer, value) else { continue };
                // The same session may come twice, once signed with an older secret.
                match verified.iter_mut().find(|known| known.identity == new.identity) {
                    Some(known) => {
                        known.outdated &= new.outdated;
                        known.cookie_ends_at = known.cookie_ends_at.max(new.cookie_ends_at);
                    }
                    None => verified.push(new),
                }
            }
        }
        (verified, cookies)
    }

    fn verified_token(&self, token: Option<&str>) -> Option<Verified> {
        self.verify(&self.context.token_signer, token?.as_bytes())
    }

    fn verify(&self, signer: &Signer, token: &[u8]) -> Option<Verified> {
        let verified = signer.verify(token);
        if verified.is_none() {
            self.context.count(Counter::Refused);
        }
        verified
    }
}

/// Why a session is loaded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The load counts as a use of the session.
    Use,
    /// The load leaves the session's life as it is.
    Look,
}

/// A live session that one of a request's tokens led to.
struct Found {
    /// The id that it has now.
    id: PublicId,
    verified: Verified,
    record: Record,
}

impl Found {
    /// Picks the token with the session's present id, of two tokens that lead to one session.
    fn or(self, other: Found) -> Found {
        let refreshed = self.record.refreshed || other.record.refreshed;
        let mut found = if self.record.forwarded_to.is_none() { self } else { other };
        found.record.refreshed = refreshed;
        found
    }
}

impl fmt::Debug for SessionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionManager")
            .field("store", &self.context.store)
            .field("namespace", &self.context.namespace)
            .field("cookie", &self.context.cookie)
            .field("limits", &self.context.limits)
            .field("operation_timeout", &self.context.operation_timeout)
            .finish_non_exhaustive()
    }
}
