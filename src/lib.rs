//! HTTP sessions shared by every worker process of a blocking server, kept in one SQLite file or in Redis.
//!
//! This library is for servers without async: `tiny_http`, `rouille`, prefork workers. The application hands the
//! request's `Cookie` header to [`SessionManager::load`], works with the [`Session`], and calls [`Session::save`]. If
//! `save` returns a `Set-Cookie` header, the application sends it with the response. [`Session::save_into`] does both.
//! Any worker can answer any request.
//!
//! # Contents
//! | | |
//! |---|---|
//! | [`SessionManager`] | loads and ends sessions; one is enough; [`SessionManagerBuilder`] has all settings |
//! | [`Session`] | the values of one client; login, new ids, form tokens; [`save`](Session::save) |
//! | [`Group`] | all sessions of one user: list them, end them, give them values |
//! | [`SessionHandle`] | asks later whether a session is still alive |
//! | [`CookieHeader`], [`SetCookie`], [`ResponseHeaders`] | what goes in and out on each kind of server |
//! | [`Error`], [`StoreError`], [`ConfigError`] | the errors of calls, of the store, and of settings |
//! | [`guide`] | promises, production, errors, recipes, and coming from other libraries |
//! | [`store`] | for authors of stores |
//!
//! # A first program
#![cfg_attr(all(feature = "sqlite", feature = "tiny_http"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "sqlite", feature = "tiny_http")), doc = "```ignore")]
//! //! Counts the visits of each visitor. The file `sessions.db`, in the folder where this runs, keeps the sessions.
//! //!
//! //!     export SESSION_SECRET="$(openssl rand -base64 48)" # keep it: with another secret, all visitors begin anew
//! //!     cargo run -p examples --bin first
//!
//! use multi_process_session::{Error, Secret, SessionManager, SqliteStore};
//! use tiny_http::{Request, Response, ResponseBox, Server};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//!     let manager = SessionManager::builder(Secret::from_env("SESSION_SECRET")?)
//!         .store(SqliteStore::new("sessions.db"))
//!         .secure(false) // for plain http, while developing
//!         .build()?;
//!     let server = Server::http(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:8080"))?;
//!     println!("http://{} with sessions in sessions.db", server.server_addr());
//!     for request in server.incoming_requests() {
//!         let response = page(&manager, &request).unwrap_or_else(|error| {
//!             eprintln!("{error}");
//!             Response::from_string("Please try again soon.\n").with_status_code(error.http_status()).boxed()
//!         });
//!         let _ = request.respond(response); // fails if the client has gone
//!     }
//!     Ok(())
//! }
//!
//! fn page(manager: &SessionManager, request: &Request) -> Result<ResponseBox, Error> {
//!     let mut session = manager.load(request)?;
//!     if request.url() == "/" {
//!         session.increment("visits", 1)?; // a real site sets nothing before it has a reason, such as a login
//!     }
//!     let visits = session.get::<u64>("visits")?.unwrap_or(0);
//!     let mut response = Response::from_string(format!("{visits} visits\n")).boxed();
//!     session.save_into(&mut response)?;
//!     Ok(response)
//! }
//! ```
//!
//! This is `examples/first.rs`. For other servers than `tiny_http`, [`CookieHeader`] lists what else
//! [`load`](SessionManager::load) takes.
//!
//! # The life of a session
//! A request without a session gets a new session. The session is stored, and a cookie is written, only once something
//! is [set](Session::set) in the session and the session is [saved](Session::save). A new session ends after [30
//! minutes](SessionManagerBuilder::unconfirmed_timeout) unless its cookie comes back. After that, the session ends when
//! it was not used for the [idle timeout](SessionManagerBuilder::idle_timeout). A *use* is a load. A *refresh* writes
//! the new end into the store, [at most once a minute](SessionManagerBuilder::refresh) by default. The [absolute
//! timeout](SessionManagerBuilder::absolute_timeout) ends a session even if it is used. [`Session::destroy`] ends a
//! session at once: a logout.
//!
//! A save sends only the changed keys, so overlapping requests do not undo each other's work. Use
//! [`Session::increment`] to count. Where a change depends on the current values, use [`SessionManager::transact`]. A
//! save never brings an ended session back: if there is something to save, it returns [`Error::Gone`].
//!
//! If a page sets a value in the session of every visitor, the store keeps a record for each of them, robots included.
//! Such a page can also replace the cookie of a login: see [`Session`].
//!
//! Clients of an API use bearer tokens instead of cookies: see [`SessionManager::load_token`] and [`Session::token`].
//!
//! # Logins
//! At a login, call [`Session::set_group_name`] with the user's name or number. The session gets a new id, so an id
//! that somebody planted before is worth nothing. From then on the session is a member of the user's [`Group`], like
//! the sessions of the user's other devices. [`SessionManager::group`] gives the group, which lists its sessions, and
//! ends one of them, all others, or all at once.
//! [`max_sessions_per_group`](SessionManagerBuilder::max_sessions_per_group) limits how many sessions a group may have.
//!
//! If two applications share a store, each needs a [`namespace`](SessionManagerBuilder::namespace) of its own.
//! Otherwise they share their groups, even if their secrets differ, and each can list and end the sessions of the
//! other's users.
//!
//! `examples/login.rs` is a site that does all of this.
//!
//! | to | call |
//! |---|---|
//! | log in | [`Session::set_group_name`], then [`save`](Session::save) and send the cookie |
//! | log out | [`Session::destroy`], or [`SessionManager::destroy`] without loading |
//! | "remember me" | [`Session::remember_me`] |
//! | limit the devices of a user | [`SessionManagerBuilder::max_sessions_per_group`], [`AtLimit`] |
//! | say on the login page why the session has ended | [`Session::ended_because`] |
//! | keep roles that all sessions of a user see at once | [`Group::set_value`], [`Session::group_value`] |
//! | poll without keeping the user logged in | [`SessionManager::peek`] |
//! | end a WebSocket or an event stream at the logout | [`Session::to_handle`] |
//! | show where a user is logged in | [`Group::sessions_with`] |
//! | log out there, everywhere else, everywhere | [`Group::remove`], [`Group::clear_except`], [`Group::clear`] |
//! | ask for the password again before something sensitive | [`Session::authenticated_within`]; ask if it is `false` |
//! | change the session's id now and then, as a precaution | [`Session::regenerate_with_grace`] |
//! | keep other sites from posting your forms | [`Session::csrf_field`], [`Session::verify_csrf`] |
//! | end all sessions of the application | [`SessionManager::destroy_every_session`] |
//! | say "saved" after a redirect | [`Session::flash`], [`Session::take_flash`] |
//! | change the secret | [`accept_secret`](SessionManagerBuilder::accept_secret) |
//!
//! If a load gives [`Error::Store`], the application cannot know who the client is. Respond with the status that
//! [`http_status`](Error::http_status) gives, and treat nobody as logged in.
//!
//! # Forks
//! Build the manager, fork, and use it in the children: nothing else is needed. Every process opens its own connections
//! on first use, even if the parent has used the manager before. A process has to call [`SessionManager::before_fork`]
//! before it forks in two cases only: if *other threads of the process are using the manager* at that moment, or if the
//! process *has used a SQLite file itself*. A [`ping`](SessionManager::ping) counts as such a use.
//!
//! Each process holds up to [`pool_size`](SessionManagerBuilder::pool_size) connections, in a cluster to each node.
//!
//! # When the store is down or slow
//! Every call ends within the [operation timeout](SessionManagerBuilder::operation_timeout). Only the lookup of a host
//! name may take longer. A call that fails gives a [`StoreError`], whose [kind](StoreError::kind) says what is wrong. A
//! connection that failed is never used again, and its call is made once more on a fresh connection. One case has no
//! second try: a connection that was in use less than a second ago, and whose server does not reply in time. Each
//! change carries a random mark. A session remembers the marks of its last 24 changes, so that a change that is sent
//! again is applied once.
//!
//! A save has succeeded once the store has acknowledged it. A failover of Redis, or a crash with `appendfsync
//! everysec`, can still lose the changes of the last seconds, logouts included. To prevent this, add `?wait_replicas=…`
//! or `?wait_aof=1` to [the store URL](SessionManagerBuilder::store_url): each change then waits for replicas or the
//! disk. A power loss can lose the last changes in a SQLite file, unless its URL asks for `synchronous=full`.
//!
//! [`SessionManager::stats`] counts what a process does at its store, and what happens to sessions, tokens and planted
//! cookies: see [`Stats`]. The `log` crate gets lines about outages (when they begin and when they end), retries,
//! damaged records, and requests with several sessions. Lines that a client can cause at will are written once a minute
//! at most. Each of them tells how many were left out.
//!
//! # Security
//! A cookie carries 192 random bits and an HMAC-SHA256. The HMAC covers the bits, the namespace and the settings of the
//! cookie. A cookie that is forged, or that was made for other settings, is refused without asking the store. An id
//! that a client brings is never adopted. By default, cookies are `Secure`, `HttpOnly`, `SameSite=Lax` and named
//! `__Host-…`. The store holds digests of ids only. `Debug`, errors and the log never show a secret, a token or a
//! value. They show [`PublicId`]s.
//!
//! # Features
//! | feature | default | what it brings |
//! |---|---|---|
//! | `redis` | yes | [Redis](SessionManagerBuilder::store_url): one server, Sentinels or a cluster; `RedisStore` |
//! | `tls` | no | Redis over TLS: `rediss://…`; builds *ring*, so it needs a C compiler |
//! | `sqlite` | no | one SQLite file: `sqlite://…`; `SqliteStore`; builds SQLite, so it needs a C compiler |
//! | `tiny_http` | no | [`CookieHeader`] and [`ResponseHeaders`] for the requests and responses of `tiny_http` 0.12 |
//! | `http` | no | the same for the requests, responses and header maps of `http` 1 |
//! | `seal` | no | [`seal_values`](SessionManagerBuilder::seal_values): values that a copy of the store does not show |
//! | `contract` | no | `store::contract`: the tests that every store has to pass, for authors of stores |
//! | `cli` | no | the program `mps`, for operators: see [operating](guide::operating) |
//! | `test-util` | no | `test_util`: a clock that a test moves, and cookies of ready sessions |
//!
//! Two things need no feature: [`MemoryStore`], for examples and for programs of one process, and the trait
//! [`Store`](store::Store), for stores of your own.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod base64url;
mod builder;
mod context;
mod cookie;
mod cookie_header;
mod deadline;
mod defaults;
mod end_reason;
mod error;
mod group;
mod group_limit;
#[cfg(any(doc, doctest))]
pub mod guide;
mod handle;
mod id;
mod json;
mod lifetime;
mod manager;
mod process;
mod random;
mod response;
#[cfg(feature = "seal")]
mod seal;
mod secret;
mod session;
mod session_handle;
pub mod store;
#[cfg(feature = "test-util")]
pub mod test_util;
mod throttle;
mod token;

pub use builder::SessionManagerBuilder;
pub use cookie::{SameSite, SetCookie};
pub use cookie_header::CookieHeader;
pub use end_reason::{EndReason, SessionEnd};
pub use error::{ConfigError, Error, Oversize, StoreError, StoreErrorKind};
pub use group::Group;
pub use group_limit::AtLimit;
pub use handle::Handled;
pub use id::{ParsePublicIdError, PublicId};
pub use lifetime::Refresh;
pub use manager::SessionManager;
pub use response::ResponseHeaders;
pub use secret::Secret;
pub use session::Session;
pub use session_handle::SessionHandle;
pub use store::fork_guard::ForkGuard;
pub use store::memory::MemoryStore;
pub use store::record::SessionInfo;
#[cfg(feature = "redis")]
pub use store::redis::RedisStore;
#[cfg(feature = "sqlite")]
pub use store::sqlite::SqliteStore;
pub use store::stats::Stats;
pub use store::stats::folder::StatsFolder;
pub use store::stats::histogram::Histogram;

/// The listings of the README are tested with the documentation.
#[cfg(all(doctest, feature = "sqlite", feature = "tiny_http"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_may_go_to_another_thread() {
        fn check<T: Send + Sync>() {}
        check::<(SessionManager, SessionManagerBuilder, Session, Group, SessionInfo, Stats, MemoryStore)>();
        check::<(Secret, SetCookie, PublicId, ParsePublicIdError, Refresh, SameSite)>();
        check::<(Handled<()>, Error, Oversize, StoreError, StoreErrorKind, ConfigError)>();
        check::<(store::Record, store::NewRecord<'_>, store::Update<'_>, store::Updated, store::RecordState)>();
        check::<(StatsFolder, Histogram)>();
        check::<(store::Call, store::Refusal, Box<dyn store::Store>)>();
        #[cfg(feature = "redis")]
        check::<RedisStore>();
        #[cfg(feature = "sqlite")]
        check::<SqliteStore>();
    }
}
