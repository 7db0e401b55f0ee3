//! HTTP sessions shared by every worker process of a blocking server, kept in one SQLite file or in Redis.
//!
//! For servers without async: `tiny_http`, `rouille`, prefork workers. The application hands the request's `Cookie`
//! header to [`SessionManager::load`], works with the [`Session`], and answers with the `Set-Cookie` header that
//! [`Session::save`] gives, if it gives one. Any worker can answer any request.
//!
//! # A first program
//! ```no_run
//! use multi_process_session::{Secret, SessionManager};
//! use tiny_http::{Header, Response, Server};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//!     let manager = SessionManager::builder(Secret::new(std::env::var("SESSION_SECRET")?)?)
//!         .store_url("redis://127.0.0.1:6379")
//!         .secure(false) // for plain http, while developing
//!         .build()?;
//!     for request in Server::http("127.0.0.1:8080")?.incoming_requests() {
//!         let cookies = request.headers().iter().filter(|header| header.field.equiv("Cookie"));
//!         let mut session = manager.load_all(cookies.map(|header| header.value.as_str()))?;
//!         session.increment("visits", 1)?;
//!         let set_cookie = session.save()?;
//!         let mut response = Response::from_string(format!("{} visits\n", session.get::<u64>("visits")?.unwrap_or(0)));
//!         if let Some(set_cookie) = set_cookie {
//!             response.add_header(Header::from_bytes("Set-Cookie", set_cookie.as_str()).expect("it is ASCII"));
//!             response.add_header(Header::from_bytes("Cache-Control", "no-store").expect("it is ASCII"));
//!         }
//!         request.respond(response)?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # The life of a session
//! A request without a session gets a new one. It is kept, and a cookie written, only once something is
//! [set](Session::set) in it and it is [saved](Session::save). Every use extends its
//! [idle timeout](SessionManagerBuilder::idle_timeout); the [absolute timeout](SessionManagerBuilder::absolute_timeout)
//! ends it in any case, and [`Session::destroy`] at once: a logout.
//!
//! A save sends what was changed, and nothing else, so requests that overlap do not undo each other's work. Count with
//! [`Session::increment`]; where a change depends on what is there, use [`SessionManager::transact`]. A save never
//! brings a session back that has ended meanwhile: it answers [`Error::Gone`].
//!
//! Setting something in the session of every visitor makes a record for each of them, robots included, and can replace
//! the cookie of a login: see [`Session`].
//!
//! Clients of an API have no cookies: [`SessionManager::load_token`] and [`Session::token`] are for them.
//!
//! # Logins
//! At a login, call [`Session::set_group_name`] with the user's name or number. The session gets a new id, so that one
//! that somebody planted before is worth nothing, and it is a member of the user's [`Group`] from then on, as are those
//! of the user's other devices. [`SessionManager::group`] lists them, and ends one, all others, or all, at once.
//! [`max_sessions_per_group`](SessionManagerBuilder::max_sessions_per_group) limits how many there may be.
//!
//! Two applications on one store need a [`namespace`](SessionManagerBuilder::namespace) each. Without it they share
//! their groups, whatever their secrets are, and one can list and end the sessions of the other's users.
//!
//! `examples/login.rs` is a site that does all of this.
//!
//! | to | call |
//! |---|---|
//! | log in | [`Session::set_group_name`], then [`save`](Session::save) and send the cookie |
//! | log out | [`Session::destroy`], or [`SessionManager::destroy`] without loading |
//! | "remember me" | [`Session::set_idle_timeout`] for this one session |
//! | show where a user is logged in | [`Group::sessions_with`] |
//! | log out there, everywhere else, everywhere | [`Group::remove`], [`Group::clear_except`], [`Group::clear`] |
//! | ask for the password again before something sensitive | if not [`Session::authenticated_within`] |
//! | change ids now and then | [`Session::regenerate_with_grace`] |
//! | keep other sites from posting your forms | [`Session::csrf_token`], [`Session::verify_csrf`] |
//! | end all sessions of the application | [`SessionManager::destroy_every_session`] |
//! | say "saved" after a redirect | [`Session::flash`], [`Session::take_flash`] |
//! | change the secret | [`accept_secret`](SessionManagerBuilder::accept_secret) |
//!
//! An [`Error::Store`] on loading means that it is not known who is asking. Answer 503; take nobody for logged in.
//!
//! # Forks
//! Build the manager, fork, and use it in the children: there is nothing to know. Every process opens its own
//! connections on first use, also where the parent had used the manager before. Only a process that forks *while other
//! threads of it are using the manager*, or *after it has used a SQLite file itself*, has to ask for
//! [`SessionManager::before_fork`] first. A [`ping`](SessionManager::ping) before the fork is such a use.
//!
//! Each process holds up to [`pool_size`](SessionManagerBuilder::pool_size) connections.
//!
//! # When the store is sick
//! Every call ends by the [operation timeout](SessionManagerBuilder::operation_timeout), with a [`StoreError`] whose
//! [kind](StoreError::kind) says what is wrong. A connection that failed is never used again, a call is made once more
//! on a fresh one, and a mark that goes with each change, of which a session remembers the last two dozen, makes sure
//! that it is applied once. What a save acknowledged is what Redis acknowledged: a failover, or a crash with
//! `appendfsync everysec`, can take the last seconds back, logouts included, unless [the store
//! URL](SessionManagerBuilder::store_url) asks to wait for replicas or the disk. A power loss can do that to a SQLite
//! file, unless `synchronous=full` is asked for.
//!
//! [`SessionManager::stats`] counts what a process does at its store, and what becomes of sessions, tokens and planted
//! cookies: see [`Stats`]. The `log` crate gets outages with their beginning and end, retries, damaged records, and
//! requests with several sessions. Lines that a client can cause at will are written once a minute at most, with the
//! number of those that were not.
//!
//! [`guide`] says how to run all of this in production.
//!
//! # Security
//! A cookie carries 192 random bits and an HMAC-SHA256 over them and over all that the cookie is valid for: what is
//! forged, or meant for another setting, is refused without asking the store, and no id that a client brings is ever
//! adopted. Cookies are `Secure`, `HttpOnly`, `SameSite=Lax` and named `__Host-…` unless you say otherwise. The store
//! holds digests of ids only. No secret, token or value is shown by `Debug`, errors or the log; [`PublicId`]s are.
//!
//! # Features
//! | feature | default | what it brings |
//! |---|---|---|
//! | `redis` | yes | `RedisStore`, and `redis://` and `redis+unix://` in [`store_url`](SessionManagerBuilder::store_url) |
//! | `tls` | no | Redis over TLS: `rediss://`; builds *ring*, so it needs a C compiler |
//! | `sentinel` | no | the primary by Redis Sentinel: `redis-sentinel://`, with `tls` also `rediss-sentinel://` |
//! | `cluster` | no | a Redis Cluster: `redis-cluster://`, with `tls` also `rediss-cluster://` |
//! | `sqlite` | no | `SqliteStore`, and `sqlite://`; builds SQLite, so it needs a C compiler |
//! | `contract` | no | the suite that every store has to pass, for those who write one |
//!
//! Without them there is [`MemoryStore`], for examples and programs of one process, and the [`Store`] trait for stores
//! of your own.

#![forbid(unsafe_code)]

mod builder;
#[cfg(feature = "contract")]
pub mod contract;
mod cookie;
mod error;
mod group;
pub mod guide;
mod lifetime;
mod manager;
mod process;
mod random;
mod session;
mod store;
mod throttle;
mod token;

pub use builder::SessionManagerBuilder;
pub use cookie::{SameSite, SetCookie};
pub use error::{ConfigError, Error, Oversize, StoreError, StoreErrorKind};
pub use group::{Group, SessionInfo};
pub use lifetime::{Lifetime, Refresh};
pub use manager::SessionManager;
pub use session::{MAX_GROUP_NAME_BYTES, MAX_KEY_BYTES, Session};
pub use token::{GroupTag, ParsePublicIdError, PublicId, Secret};

#[cfg(feature = "redis")]
pub use store::RedisStore;
#[cfg(feature = "sqlite")]
pub use store::SqliteStore;
pub use store::{
    Call, Change, ChangeSet, ForkGuard, GroupKey, Join, LONGEST_GRACE, MemoryStore, NewRecord, Nonce, Record,
    RecordInfo, RecordKey, RecordState, Size, Stats, Store, TRAIL, Update, Updated, Values, size,
};

/// The README's program is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
