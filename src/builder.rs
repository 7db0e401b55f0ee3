//! The settings, their defaults and their checks.

#[cfg(feature = "seal")]
use crate::context::Sealing;
use crate::context::{Context, EndHook, Limits, ThrottledLines};
use crate::cookie::{CookieSettings, SameSite};
use crate::defaults::{OPERATION_TIMEOUT, POOL_SIZE};
use crate::end_reason::SessionEnd;
use crate::error::ConfigError;
use crate::group_limit::{AtLimit, GroupLimit, LARGEST_GROUP};
use crate::id::Digests;
use crate::lifetime::{LONGEST_TIMEOUT, Lifetime, Refresh};
use crate::manager::SessionManager;
use crate::secret::Secret;
use crate::store::counted::CountedStore;
use crate::store::open::open;
use crate::store::record::Size;
use crate::store::store_trait::Store;
use crate::token::Signer;
use crate::token::scope::Scope;
use std::fmt;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest operation timeout.
const LONGEST_OPERATION: Duration = MINUTE.saturating_mul(60);
const LARGEST_POOL: u32 = 1000;
/// The most accepted secrets. A forged token is checked with each of them.
const MOST_ACCEPTED_SECRETS: usize = 16;
const LARGEST_SESSION: Size = Size { keys: 100_000, bytes: 512 << 20 };

/// The settings of a [`SessionManager`]. [`SessionManager::builder`] makes one.
///
/// # Examples
/// ```
/// use multi_process_session::{Refresh, SameSite, Secret, SessionManager};
/// use std::time::Duration;
///
/// let manager = SessionManager::builder(Secret::generate()?)
///     .store_url("memory:")
///     .namespace("shop")
///     .idle_timeout(Duration::from_secs(30 * 60))
///     .absolute_timeout(Duration::from_secs(12 * 60 * 60))
///     .same_site(SameSite::Strict)
///     .build()?;
/// # Ok::<(), multi_process_session::ConfigError>(())
/// ```
#[must_use = "a builder does nothing until build() is called"]
pub struct SessionManagerBuilder {
    secret: Secret,
    accepted: Vec<Secret>,
    store: StoreChoice,
    namespace: String,
    lifetime: Lifetime,
    unconfirmed_timeout: Duration,
    operation_timeout: Duration,
    pool_size: u32,
    size_limit: Size,
    max_sessions_per_group: Option<usize>,
    at_limit: AtLimit,
    on_end: Option<EndHook>,
    #[cfg(feature = "seal")]
    sealing: Sealing,
    cookie: CookieSettings,
}

impl SessionManager {
    /// Starts the settings of a manager that signs its tokens with this secret.
    pub fn builder(secret: Secret) -> SessionManagerBuilder {
        SessionManagerBuilder::new(secret)
    }
}

impl SessionManagerBuilder {
    fn new(secret: Secret) -> SessionManagerBuilder {
        SessionManagerBuilder {
            secret,
            accepted: Vec::new(),
            store: StoreChoice::None,
            namespace: "mps".to_owned(),
            lifetime: Lifetime { idle_timeout: 7 * DAY, absolute_timeout: None, refresh: Refresh::After(MINUTE) },
            unconfirmed_timeout: 30 * MINUTE,
            operation_timeout: OPERATION_TIMEOUT,
            pool_size: POOL_SIZE,
            size_limit: Size { keys: 1000, bytes: 1 << 20 },
            max_sessions_per_group: None,
            at_limit: AtLimit::EndOldest,
            on_end: None,
            #[cfg(feature = "seal")]
            sealing: Sealing::default(),
            cookie: CookieSettings {
                name: "sid".to_owned(),
                path: "/".to_owned(),
                domain: None,
                secure: true,
                http_only: true,
                same_site: SameSite::Lax,
                partitioned: false,
                persistent: true,
            },
        }
    }

    /// Sets the store by a URL. Call either this or [`store`](Self::store).
    ///
    /// Default: none. Without a store, [`build`](Self::build) returns [`ConfigError::NoStore`].
    ///
    /// Applications that share a store each need a [`namespace`](Self::namespace) of their own, even if their secrets
    /// differ.
    ///
    /// | URL | store |
    /// |---|---|
    /// | `redis://[user:password@]host[:port][/database]` | Redis over TCP (feature `redis`, on by default) |
    /// | `redis+unix:///path/to/socket[?db=0&user=…&pass=…]` | Redis over a unix socket |
    /// | `rediss://[user:password@]host[:port][/database][?ca=…&cert=…&key=…]` | Redis over TLS (feature `tls`) |
    /// | `redis-sentinel://[user:password@]host[:port],…[/database]#name` | the primary that Redis Sentinels name |
    /// | `rediss-sentinel://…` | the same, with TLS to the Sentinels too (feature `tls`) |
    /// | `redis-cluster://[user:password@]host[:port],…` | a Redis Cluster |
    /// | `rediss-cluster://…` | the same over TLS (feature `tls`) |
    /// | `sqlite:///path/to/file[?synchronous=full]` | one SQLite file (feature `sqlite`) |
    /// | `memory:` | the memory of this one process: [`MemoryStore`](crate::MemoryStore) |
    ///
    /// Give an address rather than a name where you can: the [`operation_timeout`](Self::operation_timeout) does not
    /// bound the lookup of a name.
    ///
    /// In users, passwords and parameters, percent-encode the characters that have a meaning in URLs: `/`, `?`, `#`,
    /// `@`, `%` and, in parameters, `&` and `+`. `?protocol=resp3` makes Redis connections use RESP3.
    ///
    /// **A server that moves.** Behind a proxy, a managed endpoint or a DNS entry, a name or an address may lead to
    /// another server while the old one still runs. So a connection is used for 5 minutes at most. `?max_lifetime=60`
    /// changes this to 60 seconds (1 to 86400 are allowed). A save or a refused refresh may show that the server is a
    /// replica. Then the request is made once more on a fresh connection. If the fresh connection leads to a primary,
    /// all connections to the old server are closed.
    ///
    /// **TLS.** The subject alternative names of the server's certificate have to contain the URL's host, whether it is
    /// a name or an address. The certificate has to come from an authority that the system trusts, or that is in the
    /// files which `SSL_CERT_FILE` and `SSL_CERT_DIR` name. If `ca` names a PEM file, only the authorities in that file
    /// are trusted. If the server asks for a client certificate, `cert` names the PEM file of that certificate and its
    /// chain, and `key` the PEM file of its private key. [`build`](Self::build) reads the files once. So new
    /// certificates need a restart of the process that called `build`, and of the workers that were forked from it.
    ///
    /// **Sentinel.** User, password and database are those of the primary. Its user needs the command `ROLE`. For the
    /// login at the Sentinels, add `?sentinel_user=…&sentinel_pass=…`. Their port is 26379 by default. Each process
    /// asks the Sentinels for the primary when it opens a connection, and once a second while it makes calls. If there
    /// is a new primary, all connections to the old one are closed. While no Sentinel answers, the last primary stays
    /// in use, and the Sentinels are asked every 5 seconds. Over TLS, the certificates of primary and replicas have to
    /// be for the addresses by which the Sentinels name them. A failover can lose the last writes. Redis's
    /// `min-replicas-to-write` bounds that loss.
    ///
    /// **Durability.** Redis may lose changes that it has acknowledged. `appendfsync` decides how many a crash loses. A
    /// failover loses the changes that the replica does not have yet. With `?wait_replicas=1` (or more), every change,
    /// logouts included, waits until that number of replicas has it. With `?wait_aof=1`, every change waits until it is
    /// on the primary's disk, and on the disks of those replicas (Redis 7.2 or later with `appendonly yes`). Waiting
    /// costs a second round trip. If it takes longer than the [`operation_timeout`](Self::operation_timeout), the
    /// change was made but may be lost, and the answer is a [`Timeout`](crate::StoreErrorKind::Timeout). Then save
    /// again: the second save waits again, and applies nothing twice.
    ///
    /// A planned failover (`SENTINEL FAILOVER`) can lose acknowledged saves and logouts. With two replicas,
    /// `wait_replicas=1` does not prevent that: the replica that does not have them yet may become the primary. Nothing
    /// is lost if `wait_replicas` is the number of all replicas, or if `CLIENT PAUSE 4000 WRITE` is sent to the primary
    /// 0.2 seconds before `SENTINEL FAILOVER`.
    ///
    /// # Errors
    /// [`build`](Self::build) refuses an unknown scheme, a scheme whose feature is switched off, a URL that cannot be
    /// read, an unknown parameter, a user without a password, and PEM files that cannot be used. For a Redis user that
    /// needs no password (`nopass`), give any password. The error never shows the URL, because it may hold a password.
    ///
    /// # Security
    /// The check of certificates cannot be switched off.
    pub fn store_url(mut self, url: &str) -> Self {
        self.store = StoreChoice::Url(url.to_owned());
        self
    }

    /// Keeps sessions in this store. Call either this or [`store_url`](Self::store_url).
    ///
    /// Default: none.
    ///
    /// Use it for a store [of your own](Store), or for a store that several managers share. The store keeps its own
    /// settings: [`pool_size`](Self::pool_size) has no effect on it. An `Arc<dyn Store>` is a store as well.
    /// `Arc::from` makes one of a `Box<dyn Store>`.
    ///
    /// # Examples
    /// ```
    /// use multi_process_session::store::Store;
    /// use multi_process_session::{MemoryStore, Secret, SessionManager};
    /// use std::sync::Arc;
    ///
    /// let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    /// let shop = SessionManager::builder(Secret::generate()?).store(store.clone()).namespace("shop").build()?;
    /// let blog = SessionManager::builder(Secret::generate()?).store(store).namespace("blog").build()?;
    /// # Ok::<(), multi_process_session::ConfigError>(())
    /// ```
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = StoreChoice::Own(Box::new(store));
        self
    }

    /// Sets the namespace, which keeps two applications on one store apart. It is part of every key and of every
    /// signature.
    ///
    /// Default: `"mps"`.
    ///
    /// Changing it logs everyone out.
    ///
    /// # Security
    /// Give each application a namespace of its own as soon as two of them share a store. Different secrets are not
    /// enough: groups do not depend on the secret, so that they survive a change of the secret. In one namespace, the
    /// group `"ada"` of both applications is the same [`Group`](crate::Group). Each application can list the sessions
    /// of the other's users, read them with [`sessions_with`](crate::Group::sessions_with), and end them.
    ///
    /// # Errors
    /// Refused unless it has 1 to 64 characters, each an ASCII letter, a digit, `-`, `_` or `.`.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.to_owned();
        self
    }

    /// Accepts the tokens of a further secret. May be called several times.
    ///
    /// Default: none.
    ///
    /// This secret does not sign new tokens. A token that was signed with it is accepted, and the next save gives a new
    /// cookie or token.
    ///
    /// To change the secret without logging anyone out:
    /// 1. Accept the new secret in all workers, while they sign with the old one.
    /// 2. Once all workers accept it, sign with the new secret and accept the old one, worker by worker.
    /// 3. After one idle timeout, drop the old secret: every session that is still alive has been signed again. If some
    ///    sessions have a [longer timeout of their own](crate::Session::set_idle_timeout), wait for the longest one.
    ///
    /// After that, a token of the old secret is refused without asking the store. Groups do not depend on the secret.
    ///
    /// # Errors
    /// Refused if there are more than 16 accepted secrets.
    pub fn accept_secret(mut self, secret: Secret) -> Self {
        self.accepted.push(secret);
        self
    }

    /// Sets how long a session lives from its last use (the `expire` of the npm module).
    ///
    /// Default: 7 days.
    ///
    /// A session keeps the timeout that it was created with. If you make this timeout shorter, the shorter one holds
    /// from the session's next use on. If the session was unused for longer than that, it has ended. A session with [a
    /// timeout of its own](crate::Session::set_idle_timeout) keeps that one.
    ///
    /// # Errors
    /// Refused if shorter than a millisecond, over 100 years, or longer than the absolute timeout.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.lifetime.idle_timeout = timeout;
        self
    }

    /// Sets how long a session lives at most, however much it is used.
    ///
    /// Default: no limit.
    ///
    /// The timeout holds for all sessions, also for one with a longer [idle timeout of its
    /// own](crate::Session::set_idle_timeout) or with ["remember me"](crate::Session::remember_me). The time counts
    /// from the session's creation or from its last login. If the timeout is made shorter, it holds for existing
    /// sessions too. If it is made longer, existing sessions keep the end that they have.
    ///
    /// # Errors
    /// Refused if shorter than a millisecond, over 100 years, or shorter than the idle timeout.
    ///
    /// # Security
    /// OWASP ASVS 7.3.2 asks for an absolute timeout.
    pub fn absolute_timeout(mut self, timeout: Duration) -> Self {
        self.lifetime.absolute_timeout = Some(timeout);
        self
    }

    /// Sets how long a new session lives if its cookie, or its token, never comes back.
    ///
    /// Default: 30 minutes.
    ///
    /// If this is longer than the idle timeout, the idle timeout counts.
    ///
    /// A client that asks for a page without a cookie, and gets a session, may never come back: a robot, or an attacker
    /// who fills the store with sessions. Such a session ends soon. The first request that brings the cookie gives the
    /// session its full life. The cookie itself has its full `Max-Age` from the start. A session that a login creates
    /// in a [group](crate::Session::set_group_name) has its full life at once.
    ///
    /// # Errors
    /// Refused if shorter than a millisecond or over 100 years.
    ///
    /// # Security
    /// A Redis record takes some 240 bytes. So 1,000 such requests a second keep 430 MB in use with the default, and
    /// would keep 145 GB with 7 days. Set nothing in the sessions of visitors about whom you know nothing: then there
    /// is no record at all. Limit the rate of requests in front of the application.
    pub fn unconfirmed_timeout(mut self, timeout: Duration) -> Self {
        self.unconfirmed_timeout = timeout;
        self
    }

    /// Sets when the use of a session extends its life.
    ///
    /// Default: [`Refresh::After`]`(60 s)`: at most once a minute, or once in a hundredth of the idle timeout if that
    /// is shorter.
    ///
    /// # Errors
    /// Refused if it is a `Refresh::After` of less than a millisecond or of over 100 years.
    pub fn refresh(mut self, refresh: Refresh) -> Self {
        self.lifetime.refresh = refresh;
        self
    }

    /// Sets the cookie's name.
    ///
    /// Default: `"sid"`.
    ///
    /// With `Secure`, `Path=/` and no `Domain`, the name is sent as `__Host-sid`. Then browsers let no other host, and
    /// no plain-http page, set the cookie. With `Secure` and another path or a domain, the name is sent as
    /// `__Secure-sid`. Then no plain-http page can set the cookie. Without `Secure`, the name is sent as `sid`.
    /// Changing the name logs everyone out.
    ///
    /// Browsers do not keep the cookies of two ports of one host apart. Two applications on one host need two names,
    /// even if their [`namespace`](Self::namespace)s or secrets differ. Otherwise each replaces the other's cookie.
    ///
    /// # Errors
    /// Refused unless the name is 1 to 64 bytes that RFC 6265bis allows there. Also refused if it begins with the
    /// prefix `__Host-`, `__Secure-`, `__Http-` or `__Host-Http-`, and the other settings do not meet the conditions of
    /// that prefix. If they meet them, the name is sent as it is.
    pub fn cookie_name(mut self, name: &str) -> Self {
        self.cookie.name = name.to_owned();
        self
    }

    /// Sets the cookie's `Path`: browsers send the cookie with requests for this path and for the paths below it.
    ///
    /// Default: `"/"`.
    ///
    /// Changing it logs everyone out.
    ///
    /// Write it as browsers send it: `"/caf%C3%A9"`, not `"/café"`.
    ///
    /// # Errors
    /// Refused unless the path begins with `/` and a browser's request can contain it. Otherwise the cookie would be
    /// set and never come back. Browsers percent-encode blanks, bytes that are not ASCII, and any of ``"#<>?^`{|}``.
    /// They turn `\` into `/`. They take out the segments `.` and `..`, even if a dot is written `%2e`. `;` and `,` are
    /// refused too, because they separate attributes and headers. So is a path of more than 1,024 bytes.
    ///
    /// # Security
    /// A path does not protect the pages of one host from each other. It only keeps browsers from sending the cookie.
    pub fn path(mut self, path: &str) -> Self {
        self.cookie.path = path.to_owned();
        self
    }

    /// Sets the cookie's `Domain`: this host and all hosts below it get the cookie.
    ///
    /// Default: none. Then only the host that set the cookie gets it.
    ///
    /// Changing it logs everyone out.
    ///
    /// # Errors
    /// Refused unless the domain is a host name. An IP address and a single label (`localhost`, `com`) are refused too.
    /// With such a domain, browsers drop the cookie, or send it only to the host that set it. Without a domain, they do
    /// the latter too.
    ///
    /// Browsers also drop the cookie if the domain is a public suffix, such as `co.uk` or `github.io`, or if the
    /// answering host is not below the domain. Neither is checked here.
    ///
    /// # Security
    /// Every host of the domain gets the session's token, and can set a cookie of this name.
    pub fn domain(mut self, domain: &str) -> Self {
        self.cookie.domain = Some(domain.to_owned());
        self
    }

    /// Sets whether the cookie is sent over https only. `secure(false)` is for development over plain http.
    ///
    /// Default: `true`.
    ///
    /// Changing it logs everyone out. A token of a cookie without `Secure` is refused once the cookie is `Secure`, and
    /// the reverse. The browser may keep the old cookie beside the new one until it expires, which does no harm.
    ///
    /// # Errors
    /// `false` is refused together with `SameSite::None` and with `partitioned(true)`.
    ///
    /// # Security
    /// Without `Secure`, anyone between the browser and the server can read the session's token.
    pub fn secure(mut self, secure: bool) -> Self {
        self.cookie.secure = secure;
        self
    }

    /// Sets whether scripts in the page are kept from reading the cookie.
    ///
    /// Default: `true`.
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.cookie.http_only = http_only;
        self
    }

    /// Sets whether requests that other sites cause carry the cookie.
    ///
    /// Default: [`SameSite::Lax`].
    ///
    /// # Errors
    /// `SameSite::None` is refused without `Secure`.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.cookie.same_site = same_site;
        self
    }

    /// Sets whether browsers keep a separate cookie for each site that embeds yours (CHIPS).
    ///
    /// Default: `false`.
    ///
    /// This setting needs [`SameSite::None`](Self::same_site). With another `SameSite`, browsers send no cookie from a
    /// frame in another site, so this setting has no effect there.
    ///
    /// Changing it logs everyone out: a token of one kind is refused as the other kind. The browser keeps the old
    /// cookie beside the new one until it expires, and sends both, which does no harm.
    ///
    /// # Errors
    /// `true` is refused without `Secure`.
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.cookie.partitioned = partitioned;
        self
    }

    /// Sets whether the cookie outlives the browser, by a `Max-Age`.
    ///
    /// Default: `true`.
    ///
    /// This holds for all sessions that choose nothing else: see
    /// [`Session::remember_me`](crate::Session::remember_me) and
    /// [`Session::set_persistent`](crate::Session::set_persistent). With `false`, the cookie is deleted when the
    /// browser is closed. In the store, the session lives until its timeout either way.
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.cookie.persistent = persistent;
        self
    }

    /// Sets how long a call may take. This covers waiting for a connection, connecting, sending, receiving and a retry
    /// together.
    ///
    /// Default: 2 seconds.
    ///
    /// A Redis connection that was idle for a second or longer may be broken, and the client cannot see it. On such a
    /// connection the server has half of the time to answer. The other half is kept for a retry on a fresh connection.
    /// On a connection that was in use less than a second ago, the server has all of the time, and there is no retry
    /// after a timeout.
    ///
    /// # Errors
    /// Refused if shorter than a millisecond or over an hour.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// Sets how many connections each process may have open.
    ///
    /// Default: 8.
    ///
    /// The setting holds for a store that [`store_url`](Self::store_url) names. A store that was given to
    /// [`store`](Self::store) keeps its own number: 8 with `SqliteStore::new` or `RedisStore::new`.
    ///
    /// One connection for each thread of the process is enough. Calls that find all connections in use wait, and get a
    /// connection in the order in which they came.
    ///
    /// The server sees up to workers × pool size connections: 512 from 64 workers with 8 connections each. In a
    /// cluster, every node does. With Sentinel, each process keeps one more connection, to a Sentinel. Keep the number
    /// below the server's `maxclients` (10,000 by default) and its limit of open files. Beyond it, the server refuses
    /// new connections, and their calls fail with [`Unavailable`](crate::StoreErrorKind::Unavailable). Calls that have
    /// a connection go on.
    ///
    /// # Errors
    /// Refused if zero or over 1,000.
    pub fn pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections;
        self
    }

    /// Sets how large a session may be: all its keys and their JSON texts together.
    ///
    /// Default: 1 MiB.
    ///
    /// A save that would make the session larger returns [`Error::TooLarge`](crate::Error::TooLarge).
    ///
    /// # Errors
    /// Refused if zero or over 512 MiB.
    pub fn max_session_bytes(mut self, bytes: usize) -> Self {
        self.size_limit.bytes = bytes;
        self
    }

    /// Sets how many keys a session may have. One save may change at most twice that number.
    ///
    /// Default: 1,000.
    ///
    /// A save beyond this limit returns [`Error::TooLarge`](crate::Error::TooLarge).
    ///
    /// # Errors
    /// Refused if zero or over 100,000.
    ///
    /// # Security
    /// Each key costs the store time in every load, and meanwhile Redis answers no other client.
    pub fn max_session_keys(mut self, keys: usize) -> Self {
        self.size_limit.keys = keys;
        self
    }

    /// Encrypts the values of sessions in the store. Only the client's token decrypts them (feature `seal`).
    ///
    /// Default: values are kept as plain JSON text.
    ///
    /// Each session has a random data key, which encrypts its values. The store keeps the data key encrypted too, and
    /// only the client's token decrypts it. So somebody with all data of the store and the server's
    /// [secret](crate::Secret) cannot read a sealed value. What stays readable: the names of the keys, the length of
    /// each value, the times, the name of the user ([`set_group_name`](crate::Session::set_group_name)), the [values of
    /// the user](crate::Group::set_value), and what [`readable`](Self::readable) names.
    ///
    /// A sealed value takes 29 bytes more, and a session about 70 bytes more for its key.
    ///
    /// The setting can be switched on and off at any time, and nobody is logged out. First build all workers with the
    /// feature. Then change the setting, stop all workers, and start them again. If workers with and without the
    /// setting run side by side, a sealed value of a session that gets a new id meanwhile may be lost. A value is
    /// sealed, or no longer sealed, when it is set the next time. A worker without the feature `seal` cannot read
    /// sealed values: [`get`](crate::Session::get) returns [`Error::Sealed`](crate::Error::Sealed).
    ///
    /// # Security
    /// This protects what lies in the store: backups, dumps, the disk, and a Redis that strangers can read. It does not
    /// protect against somebody who can read the traffic or the memory of a worker, who has a client's cookie, or who
    /// can write to the store: a plain value that was planted there is taken as it is. A sealed value that was moved to
    /// another key or session is refused as a damaged record; an older value of the same key is not.
    ///
    /// # Examples
    /// ```
    /// use multi_process_session::{Secret, SessionManager};
    ///
    /// let manager = SessionManager::builder(Secret::generate()?)
    ///     .store_url("memory:")
    ///     .seal_values()
    ///     .readable(["device", "visits"])
    ///     .build()?;
    /// let mut session = manager.load(None)?;
    /// session.set("address", "12 St James's Square")?; // sealed
    /// session.set("device", "phone")?; // for the list of the user's devices
    /// session.increment("visits", 1)?; // the store adds
    /// let set_cookie = session.save()?.expect("a new session has a cookie");
    ///
    /// let session = manager.load(set_cookie.pair())?;
    /// assert_eq!(session.get::<String>("address")?.as_deref(), Some("12 St James's Square"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "seal")]
    pub fn seal_values(mut self) -> Self {
        self.sealing.is_on = true;
        self
    }

    /// Names keys whose values [`seal_values`](Self::seal_values) leaves plain.
    ///
    /// Default: none. Two kinds of keys need it: those that [`increment`](crate::Session::increment) counts, because
    /// the store adds, and those that [`Group::sessions_with`](crate::Group::sessions_with) lists. Otherwise both
    /// return [`Error::Sealed`](crate::Error::Sealed).
    #[cfg(feature = "seal")]
    pub fn readable<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.sealing.readable.extend(keys.into_iter().map(Into::into));
        self
    }

    /// Sets how many sessions a group may have: on how many devices a user may be logged in.
    ///
    /// Default: no limit.
    ///
    /// When one more session [joins](crate::Session::set_group_name), the sessions that joined first end, in the same
    /// step. The session that joins is never one of them. [`at_limit`](Self::at_limit) can refuse the login instead.
    /// [`Session::limit_group`](crate::Session::limit_group) sets another limit for one login.
    ///
    /// With Redis, a limit above 1,000 may take several steps, so that no login keeps Redis from other clients. This
    /// happens when a login finds more than 500 sessions too many, for instance the first login under a new limit. The
    /// login ends 500 sessions in its own step. It ends more of them in further steps, for half of the time that it has
    /// left. The next logins end the rest.
    ///
    /// # Errors
    /// Refused if zero or over 100,000.
    pub fn max_sessions_per_group(mut self, sessions: usize) -> Self {
        self.max_sessions_per_group = Some(sessions);
        self
    }

    /// Sets what a login does if the user has as many sessions as
    /// [`max_sessions_per_group`](Self::max_sessions_per_group) allows.
    ///
    /// Default: [`AtLimit::EndOldest`].
    ///
    /// Without a limit, this has no effect.
    pub fn at_limit(mut self, at_limit: AtLimit) -> Self {
        self.at_limit = at_limit;
        self
    }

    /// Sets a function that is called for each session that this process ends: logouts, "log out everywhere", and
    /// sessions that end because of the [limit](Self::max_sessions_per_group).
    ///
    /// Default: none.
    ///
    /// It is called once for each session, after the store has ended the session, in the thread whose call ended it,
    /// and before that call returns. So it should be quick, and must not fork. It is not called for sessions that
    /// expire, nor for [`destroy_every_session`](SessionManager::destroy_every_session), nor for what other processes
    /// end. A call that ends very many sessions uses at most half of its time to list them. The function is not called
    /// for sessions that were not listed.
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager};
    /// let manager = SessionManager::builder(Secret::generate()?)
    ///     .store_url("memory:")
    ///     .on_end(|end| println!("session {} has ended: {:?}", end.public_id, end.reason))
    ///     .build()?;
    /// # Ok::<(), multi_process_session::ConfigError>(())
    /// ```
    pub fn on_end(mut self, hook: impl Fn(&SessionEnd) + Send + Sync + 'static) -> Self {
        self.on_end = Some(Box::new(hook));
        self
    }

    /// Checks the settings and makes the manager.
    ///
    /// This opens nothing, so it works before forking and while the store is down.
    ///
    /// # Errors
    /// A [`ConfigError`] that says which setting is wrong and what to do.
    pub fn build(self) -> Result<SessionManager, ConfigError> {
        self.check()?;
        let cookie = self.cookie.checked()?;
        let signer = |scope| Signer::new(&scope, &self.secret, &self.accepted);
        Ok(SessionManager::new(Context {
            store: CountedStore::new(self.store.open(self.pool_size, self.operation_timeout)?),
            digests: Digests::new(&self.namespace),
            cookie_signer: signer(Scope::of_cookies(&self.namespace, &cookie)),
            token_signer: signer(Scope::of_bearer_tokens(&self.namespace)),
            namespace: self.namespace,
            cookie,
            limits: Limits {
                lifetime: self.lifetime,
                unconfirmed_timeout: self.unconfirmed_timeout,
                size_limit: self.size_limit,
                group_limit: self
                    .max_sessions_per_group
                    .map(|sessions| GroupLimit { sessions, at_limit: self.at_limit }),
            },
            operation_timeout: self.operation_timeout,
            lines: ThrottledLines::default(),
            on_end: self.on_end,
            #[cfg(feature = "seal")]
            sealing: self.sealing,
        }))
    }

    /// Checks all settings except those of the cookie and of the store.
    fn check(&self) -> Result<(), ConfigError> {
        let Lifetime { idle_timeout, absolute_timeout, refresh } = self.lifetime;
        check_timeout("idle_timeout", idle_timeout)?;
        check_timeout("unconfirmed_timeout", self.unconfirmed_timeout)?;
        check_timeout("operation_timeout", self.operation_timeout)?;
        if self.operation_timeout > LONGEST_OPERATION {
            return Err(ConfigError::TimeoutTooLong { setting: "operation_timeout", longest: "an hour" });
        }
        if let Refresh::After(interval) = refresh {
            check_timeout("refresh", interval)?;
        }
        if let Some(absolute) = absolute_timeout {
            check_timeout("absolute_timeout", absolute)?;
            if idle_timeout > absolute {
                return Err(ConfigError::IdleBeyondAbsolute { idle: idle_timeout, absolute });
            }
        }
        if !(1..=LARGEST_POOL).contains(&self.pool_size) {
            return Err(ConfigError::PoolSize);
        }
        if !(1..=LARGEST_SESSION.bytes).contains(&self.size_limit.bytes) {
            return Err(ConfigError::MaxSessionBytes);
        }
        if !(1..=LARGEST_SESSION.keys).contains(&self.size_limit.keys) {
            return Err(ConfigError::MaxSessionKeys);
        }
        if self.max_sessions_per_group.is_some_and(|sessions| !(1..=LARGEST_GROUP).contains(&sessions)) {
            return Err(ConfigError::MaxSessionsPerGroup);
        }
        if self.accepted.len() > MOST_ACCEPTED_SECRETS {
            return Err(ConfigError::TooManySecrets);
        }
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=64).contains(&self.namespace.len()) || !self.namespace.bytes().all(is_allowed) {
            return Err(ConfigError::Namespace);
        }
        Ok(())
    }
}

/// Refuses a timeout of less than a millisecond, because timeouts are kept in milliseconds, and one that is too long.
fn check_timeout(setting: &'static str, timeout: Duration) -> Result<(), ConfigError> {
    match timeout {
        timeout if timeout < Duration::from_millis(1) => Err(ConfigError::ZeroTimeout { setting }),
        timeout if timeout > LONGEST_TIMEOUT => Err(ConfigError::TimeoutTooLong { setting, longest: "100 years" }),
        _ => Ok(()),
    }
}

/// The store that the application has chosen.
enum StoreChoice {
    None,
    Url(String),
    Own(Box<dyn Store>),
}

impl StoreChoice {
    fn open(self, pool_size: u32, operation_timeout: Duration) -> Result<Box<dyn Store>, ConfigError> {
        match self {
            StoreChoice::None => Err(ConfigError::NoStore),
            StoreChoice::Url(url) => Ok(open(&url, pool_size, operation_timeout)?),
            StoreChoice::Own(store) => Ok(store),
        }
    }
}

impl fmt::Debug for SessionManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionManagerBuilder")
            .field("namespace", &self.namespace)
            .field("cookie", &self.cookie)
            .field("lifetime", &self.lifetime)
            .field("unconfirmed_timeout", &self.unconfirmed_timeout)
            .field("operation_timeout", &self.operation_timeout)
            .field("pool_size", &self.pool_size)
            .field("size_limit", &self.size_limit)
            .field("max_sessions_per_group", &self.max_sessions_per_group)
            .finish_non_exhaustive()
    }
}
