//! The settings, their defaults and their checks.

use crate::ConfigError;
use crate::cookie::{CookieSettings, SameSite};
use crate::lifetime::{LONGEST_TIMEOUT, Lifetime, Refresh};
use crate::manager::{Inner, Limits, Lines, SessionManager};
use crate::store::{MemoryStore, Metered, Size, Store};
use crate::token::{Scope, Secret, Signer};
use std::fmt;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Whoever waits longer for an answer than this waits for nothing.
const LONGEST_OPERATION: Duration = MINUTE.saturating_mul(60);
const LARGEST_POOL: u32 = 1000;
const LARGEST_GROUP: usize = 100_000;
/// A token that is not ours is compared with the signature by each of them.
const MOST_ACCEPTED_SECRETS: usize = 16;
const LARGEST_SESSION: Size = Size { keys: 100_000, bytes: 512 << 20 };

/// The defaults of all settings.
pub(crate) mod default {
    use super::*;

    pub(super) const NAMESPACE: &str = "mps";
    pub(super) const COOKIE_NAME: &str = "sid";
    pub(super) const PATH: &str = "/";
    pub(super) const IDLE_TIMEOUT: Duration = DAY.saturating_mul(7);
    pub(super) const REFRESH: Refresh = Refresh::After(MINUTE);
    pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(2);
    pub(crate) const POOL_SIZE: u32 = 8;
    pub(super) const UNCONFIRMED_TIMEOUT: Duration = MINUTE.saturating_mul(30);
    pub(super) const SIZE_LIMIT: Size = Size { keys: 1000, bytes: 1 << 20 };
}

/// Settings for a [`SessionManager`]: start with [`SessionManager::builder`].
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
    cookie: CookieSettings,
}

enum StoreChoice {
    None,
    Url(String),
    Own(Box<dyn Store>),
}

impl SessionManagerBuilder {
    pub(crate) fn new(secret: Secret) -> SessionManagerBuilder {
        SessionManagerBuilder {
            secret,
            accepted: Vec::new(),
            store: StoreChoice::None,
            namespace: default::NAMESPACE.to_owned(),
            lifetime: Lifetime {
                idle_timeout: default::IDLE_TIMEOUT,
                absolute_timeout: None,
                refresh: default::REFRESH,
            },
            unconfirmed_timeout: default::UNCONFIRMED_TIMEOUT,
            operation_timeout: default::OPERATION_TIMEOUT,
            pool_size: default::POOL_SIZE,
            size_limit: default::SIZE_LIMIT,
            max_sessions_per_group: None,
            cookie: CookieSettings {
                name: default::COOKIE_NAME.to_owned(),
                path: default::PATH.to_owned(),
                domain: None,
                secure: true,
                http_only: true,
                same_site: SameSite::default(),
                partitioned: false,
                persistent: true,
            },
        }
    }

    /// Where sessions are kept. This or [`store`](Self::store) has to be called.
    ///
    /// Applications that share a store need a [`namespace`](Self::namespace) each, whatever their secrets are.
    ///
    /// | URL | store |
    /// |---|---|
    /// | `redis://[user:password@]host[:port][/database]` | Redis over TCP (feature `redis`, on by default) |
    /// | `redis+unix:///path/to/socket[?db=0&user=…&pass=…]` | Redis over a unix socket |
    /// | `rediss://[user:password@]host[:port][/database][?ca=…&cert=…&key=…]` | Redis over TLS (feature `tls`) |
    /// | `redis-sentinel://[user:password@]host[:port],…[/database]#name` | Redis by Sentinel (feature `sentinel`) |
    /// | `rediss-sentinel://…` | the same, with TLS to the Sentinels too (both features) |
    /// | `redis-cluster://[user:password@]host[:port],…` | a Redis Cluster (feature `cluster`) |
    /// | `rediss-cluster://…` | the same over TLS (both features) |
    /// | `sqlite:///path/to/file[?synchronous=full]` | one SQLite file (feature `sqlite`) |
    /// | `memory:` | the memory of this one process: [`MemoryStore`](crate::MemoryStore) |
    ///
    /// Give an address rather than a name where you can: looking a name up is not bounded by the
    /// [`operation_timeout`](Self::operation_timeout).
    ///
    /// In users, passwords and parameters, what has a meaning in URLs is percent-encoded: `/`, `?`, `#`, `@`, `%` and,
    /// in parameters, `&` and `+`. `?protocol=resp3` makes Redis connections speak that.
    ///
    /// **A server that moves.** A name or an address may lead to another server while the old one lives: a proxy, a
    /// managed endpoint, a DNS entry. A connection is used for five minutes at most, or for as many seconds as
    /// `?max_lifetime=60` says (1 to 86400). When a server turns out to be a replica, on a save or on a refused refresh,
    /// the request is made once more on a fresh connection, and all connections to the old server are closed if that one
    /// leads to a primary.
    ///
    /// **TLS.** The server's certificate has to be for the URL's host, name or address, by its subject alternative
    /// names. It has to come from an authority that the system trusts (or that is in the files which `SSL_CERT_FILE`
    /// and `SSL_CERT_DIR` name), or, where `ca` names a PEM file, from one in there and no other. For servers that ask
    /// who we are, `cert` and `key` name the PEM files of our certificate, with those that vouch for it, and of its
    /// private key. The files are read once, by [`build`](Self::build). New certificates therefore need a restart of the
    /// process that called it, and of the workers that were forked from it.
    ///
    /// **Sentinel.** User, password and database are those of the primary, and its user needs the command `ROLE`; for
    /// the Sentinels' own, add `?sentinel_user=…&sentinel_pass=…`. Their port is 26379 by default. Each process asks
    /// them for the primary when it opens a connection, and once a second while it is in use; all connections to an old
    /// one are closed then. While no Sentinel answers, the last primary is used on, and they are asked every five seconds.
    /// Over TLS, the certificates of primary and replicas have to be for the addresses by which Sentinels name them. A
    /// failover can lose the last writes, which Redis's `min-replicas-to-write` bounds.
    ///
    /// **Durability.** What Redis acknowledged it may forget: what a crash takes depends on its `appendfsync`, and a
    /// failover takes what the replica did not have yet. With `?wait_replicas=1` (or more) every change, logouts included,
    /// waits until so many replicas have it, and with `?wait_aof=1` until it is on the primary's disk, and on theirs (Redis
    /// 7.2 or later with `appendonly yes`). It costs a second round trip. If it takes longer than the
    /// [`operation_timeout`](Self::operation_timeout), the change was made but may be lost, and the answer is a
    /// [`Timeout`](crate::StoreErrorKind::Timeout): save again, which waits again and changes nothing twice.
    ///
    /// A planned failover (`SENTINEL FAILOVER`) takes back acknowledged saves and logouts, also with `wait_replicas=1`
    /// where there are two replicas: the one that did not have them yet may become the primary. Nothing is lost if
    /// `wait_replicas` is the number of all replicas, or if `CLIENT PAUSE 4000 WRITE` is sent to the primary 0.2 seconds
    /// before `SENTINEL FAILOVER`.
    ///
    /// # Errors
    /// [`build`](Self::build) refuses an unknown scheme, a scheme of a feature that is switched off, a URL that cannot
    /// be read or has a parameter that is not known, a user without a password, and PEM files that cannot be used. It never
    /// shows the URL, which may hold a password. For a user without a password (`nopass`), any password does.
    ///
    /// # Security
    /// There is no way to leave the check of certificates out.
    pub fn store_url(mut self, url: &str) -> Self {
        self.store = StoreChoice::Url(url.to_owned());
        self
    }

    /// A store of your own. See [`Store`].
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = StoreChoice::Own(Box::new(store));
        self
    }

    /// Keeps two applications on one store apart; it is part of every key and of every signature. Default: `"mps"`.
    ///
    /// Changing it logs everyone out.
    ///
    /// # Security
    /// Give each application a namespace of its own as soon as two of them share a store. Different secrets are not
    /// enough: groups do not depend on the secret, so that they survive a change of it. In one namespace, both
    /// applications' `"ada"` is one [`Group`](crate::Group), and each of them lists, reads with
    /// [`sessions_with`](crate::Group::sessions_with), and ends the sessions of the other's users.
    ///
    /// # Errors
    /// Refused unless it is 1 to 64 ASCII letters, digits, `-`, `_` or `.`.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.to_owned();
        self
    }

    /// A further secret whose tokens are accepted. It never signs: what it verified is signed anew with the next answer.
    /// Default: none. May be called several times.
    ///
    /// To change the secret without logging anyone out:
    /// 1. accept the new one in all workers, while they sign with the old one;
    /// 2. once all do, sign with the new one and accept the old one, worker by worker;
    /// 3. drop the old one after an idle timeout: who has not come since has no session any more.
    ///
    /// A secret that is dropped is refused without asking the store. Groups do not depend on the secret.
    ///
    /// # Errors
    /// Refused if there are more than 16.
    pub fn accept_secret(mut self, secret: Secret) -> Self {
        self.accepted.push(secret);
        self
    }

    /// How long a session lives from its last use (the `expire` of the npm module). Default: 7 days.
    ///
    /// A session keeps the timeout that it was created with. If this one is shorter, it holds from the session's next use
    /// on; a session that was unused for longer has ended by then. Sessions with
    /// [a timeout of their own](crate::Session::set_idle_timeout) keep that.
    ///
    /// # Errors
    /// Refused if zero, over 100 years, or longer than the absolute timeout.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.lifetime.idle_timeout = timeout;
        self
    }

    /// How long a session lives at most, however much it is used. Default: without limit.
    ///
    /// It counts from the session's creation or its last login. If it is made shorter, it holds for the sessions that
    /// exist too; if it is made longer, they keep the end that they have.
    ///
    /// # Errors
    /// Refused if zero, over 100 years, or shorter than the idle timeout.
    ///
    /// # Security
    /// OWASP ASVS 7.3.2 asks for one.
    pub fn absolute_timeout(mut self, timeout: Duration) -> Self {
        self.lifetime.absolute_timeout = Some(timeout);
        self
    }

    /// How long a new session lives until its cookie, or its token, comes back for the first time. Default: 30 minutes.
    /// A timeout longer than the idle timeout counts as that.
    ///
    /// Whoever asks for a page without a cookie, and is given a session, may never come back: a robot, or an attacker who
    /// fills the store with sessions. Such a session ends soon. The first request that brings the cookie gives it its full
    /// life. The cookie has its full `Max-Age` from the start. A session that is created in a
    /// [group](crate::Session::set_group_name), by a login, has its full life at once.
    ///
    /// # Errors
    /// Refused if shorter than a millisecond or over 100 years.
    ///
    /// # Security
    /// A Redis record takes some 240 bytes, so 1,000 such requests a second keep 430 MB in use with the default, and would
    /// keep 145 GB with 7 days. Set nothing in the sessions of visitors whom you know nothing of: then there is no record
    /// at all. Limit the rate of requests in front of the application.
    pub fn unconfirmed_timeout(mut self, timeout: Duration) -> Self {
        self.unconfirmed_timeout = timeout;
        self
    }

    /// When the use of a session extends its life. Default: once a minute, [`Refresh::After`]`(60 s)`.
    ///
    /// # Errors
    /// `Refresh::After` is refused with less than a millisecond, and with over 100 years.
    pub fn refresh(mut self, refresh: Refresh) -> Self {
        self.lifetime.refresh = refresh;
        self
    }

    /// The cookie's name. Default: `"sid"`.
    ///
    /// It is sent as `__Host-sid` with `Secure`, `Path=/` and no `Domain`: browsers then let no other host, and no
    /// plain-http page, set it. With `Secure` and another path or a domain it is sent as `__Secure-sid`: no plain-http page
    /// can set it. Without `Secure` it is sent as `sid`. Changing the name logs everyone out.
    ///
    /// Browsers do not keep the cookies of two ports of one host apart. Two applications on one host need two names, or
    /// each takes the other's cookie away, even if their [`namespace`](Self::namespace)s or secrets differ.
    ///
    /// # Errors
    /// Refused unless it is 1 to 64 bytes that RFC 6265bis allows in a name, and if it begins with one of the prefixes
    /// `__Host-`, `__Secure-`, `__Http-` and `__Host-Http-` whose conditions do not hold. One whose conditions hold is kept.
    pub fn cookie_name(mut self, name: &str) -> Self {
        self.cookie.name = name.to_owned();
        self
    }

    /// The cookie's `Path`: the cookie is sent with requests for this path and for what is below it. Default: `"/"`.
    /// Changing it logs everyone out.
    ///
    /// Write it as browsers send it: `"/caf%C3%A9"`, not `"/café"`.
    ///
    /// # Errors
    /// Refused unless it begins with `/` and browsers can have it in a request. They percent-encode blanks, what is not
    /// ASCII, and any of ``"#<>?^`{|}``; they make `/` of `\`; and they take segments out that are `.` or `..`, also where
    /// a dot is written `%2e`. The cookie would be set and never come back. `;` and `,` are refused too: they divide
    /// attributes and headers.
    ///
    /// # Security
    /// A path does not keep pages of one host apart; it only keeps the cookie from being sent.
    pub fn path(mut self, path: &str) -> Self {
        self.cookie.path = path.to_owned();
        self
    }

    /// The cookie's `Domain`: this host and all hosts below it get the cookie. Default: only the host that set it. Changing
    /// it logs everyone out.
    ///
    /// # Errors
    /// Refused unless it is a host name, and if it is an IP address or a single label (`localhost`, `com`): browsers drop
    /// such a cookie, or send it only to the host that set it, as they do without a domain.
    ///
    /// Browsers also drop a domain that is a public suffix, such as `co.uk` or `github.io`, and one that the answering host
    /// is not below. Neither is checked here.
    ///
    /// # Security
    /// Every host of the domain gets the session's token, and can set a cookie of this name.
    pub fn domain(mut self, domain: &str) -> Self {
        self.cookie.domain = Some(domain.to_owned());
        self
    }

    /// Whether the cookie is sent over https only. Default: yes. `secure(false)` is for development over plain http.
    ///
    /// Changing it logs everyone out: a token that has gone over plain http is not accepted once only https is allowed, nor
    /// the reverse. The browser may keep the old cookie beside the new one until it expires, which does no harm.
    ///
    /// # Errors
    /// `false` is refused together with `SameSite::None` and with `partitioned(true)`.
    ///
    /// # Security
    /// Without it anyone on the way can read the session's token.
    pub fn secure(mut self, secure: bool) -> Self {
        self.cookie.secure = secure;
        self
    }

    /// Whether scripts in the page are kept from reading the cookie. Default: yes.
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.cookie.http_only = http_only;
        self
    }

    /// Whether requests caused by other sites carry the cookie. Default: [`SameSite::Lax`].
    ///
    /// # Errors
    /// `SameSite::None` is refused without `secure`.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.cookie.same_site = same_site;
        self
    }

    /// Whether the cookie is kept apart for each site that embeds yours (CHIPS). Default: no.
    ///
    /// Without [`SameSite::None`](Self::same_site) it has no effect in frames of other sites: browsers send no cookie there.
    ///
    /// Changing it logs everyone out: the tokens of the one kind are not accepted as the other. The browser keeps the old
    /// cookie beside the new one until it expires, and sends both, which does no harm.
    ///
    /// # Errors
    /// Refused without `secure`.
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.cookie.partitioned = partitioned;
        self
    }

    /// Whether the cookie outlives the browser, by a `Max-Age`. Default: yes.
    ///
    /// It holds for all sessions of this manager. With `false` every cookie goes when the browser is closed, also that of a
    /// session with a longer life by [`set_idle_timeout`](crate::Session::set_idle_timeout), so there is no "remember me".
    /// In the store, the session lives until its timeout either way.
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.cookie.persistent = persistent;
        self
    }

    /// How long a call may take: waiting for a connection, connecting, sending, receiving and a retry together.
    /// Default: 2 seconds.
    ///
    /// A Redis connection that was idle for a second or longer may be dead without a sign. On such a connection the server
    /// has half of the time to answer; the other half is kept for a retry on a fresh connection. On a connection that was
    /// in use a moment ago it has all of the time, and there is no retry after a timeout.
    ///
    /// # Errors
    /// Refused if zero or over an hour.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// How many connections each process may have open. Default: 8; as many as it has threads is enough. Calls that find
    /// all of them in use are served in the order in which they came.
    ///
    /// The server sees up to workers × pool size of them, and one more of each process with Sentinel; in a cluster every
    /// node does. Keep that below its `maxclients` (10,000 by default) and its limit of open files: past it, new connections
    /// are refused with [`Unavailable`](crate::StoreErrorKind::Unavailable), and calls that have one go on. With 64 workers
    /// of 8 threads, that is 512.
    ///
    /// # Errors
    /// Refused if zero or over 1,000.
    pub fn pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections;
        self
    }

    /// How large a session may be: all its keys and their JSON texts together. Default: 1 MiB.
    ///
    /// # Errors
    /// Refused if zero or over 512 MiB.
    pub fn max_session_bytes(mut self, bytes: usize) -> Self {
        self.size_limit.bytes = bytes;
        self
    }

    /// How many keys a session may have. Default: 1,000. One save may change twice as many.
    ///
    /// # Errors
    /// Refused if zero or over 100,000.
    ///
    /// # Security
    /// Each key costs the store time in every load, and Redis answers nobody else meanwhile.
    pub fn max_session_keys(mut self, keys: usize) -> Self {
        self.size_limit.keys = keys;
        self
    }

    /// How many sessions a group may have: on how many devices a user may be logged in. Default: without limit.
    ///
    /// When one more [joins](crate::Session::set_group_name), those that joined first end, in the same step; never the
    /// one that joins. So that no login keeps Redis from others, a limit above 1,000 is met there in several steps where
    /// a login finds more than 500 sessions too many, as the first one under a new limit may: within half of the
    /// operation timeout, or by the next logins.
    ///
    /// # Errors
    /// Refused if zero or over 100,000.
    pub fn max_sessions_per_group(mut self, sessions: usize) -> Self {
        self.max_sessions_per_group = Some(sessions);
        self
    }

    /// Checks the settings. Opens nothing, so it works before forking and while the store is down.
    ///
    /// # Errors
    /// A [`ConfigError`] says which setting is wrong and what to do.
    pub fn build(self) -> Result<SessionManager, ConfigError> {
        check_timeout("idle_timeout", self.lifetime.idle_timeout)?;
        check_timeout("unconfirmed_timeout", self.unconfirmed_timeout)?;
        check_timeout("operation_timeout", self.operation_timeout)?;
        if self.operation_timeout > LONGEST_OPERATION {
            return Err(ConfigError::TimeoutTooLong { setting: "operation_timeout", longest: "an hour" });
        }
        if let Refresh::After(interval) = self.lifetime.refresh {
            check_timeout("refresh", interval)?;
        }
        if let Some(absolute) = self.lifetime.absolute_timeout {
            check_timeout("absolute_timeout", absolute)?;
            let idle = self.lifetime.idle_timeout;
            if idle > absolute {
                return Err(ConfigError::IdleBeyondAbsolute { idle, absolute });
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
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=64).contains(&self.namespace.len()) || !self.namespace.bytes().all(allowed) {
            return Err(ConfigError::Namespace);
        }
        let cookie = self.cookie.checked()?;
        let of_tokens = Scope {
            namespace: &self.namespace,
            transport: "token",
            cookie_name: "",
            path: "",
            domain: "",
            secure: false,
            partitioned: false,
        };
        let of_cookies = Scope {
            transport: "cookie",
            cookie_name: &cookie.name,
            path: &cookie.path,
            domain: cookie.domain.as_deref().unwrap_or_default(),
            secure: cookie.secure,
            partitioned: cookie.partitioned,
            ..of_tokens
        };
        let signer = |scope| Signer::new(scope, &self.secret, &self.accepted);
        Ok(SessionManager::from_parts(Inner {
            cookie_signer: signer(&of_cookies),
            token_signer: signer(&of_tokens),
            store: Metered::new(match self.store {
                StoreChoice::None => return Err(ConfigError::NoStore),
                StoreChoice::Url(url) => open_url(&url, self.pool_size, self.operation_timeout)?,
                StoreChoice::Own(store) => store,
            }),
            namespace: self.namespace,
            cookie,
            limits: Limits {
                lifetime: self.lifetime,
                unconfirmed_timeout: self.unconfirmed_timeout,
                size_limit: self.size_limit,
                max_sessions: self.max_sessions_per_group,
            },
            operation_timeout: self.operation_timeout,
            lines: Lines::default(),
        }))
    }
}

/// Timeouts are kept in milliseconds, so anything below one is none.
fn check_timeout(setting: &'static str, timeout: Duration) -> Result<(), ConfigError> {
    match timeout {
        timeout if timeout < Duration::from_millis(1) => Err(ConfigError::ZeroTimeout { setting }),
        timeout if timeout > LONGEST_TIMEOUT => Err(ConfigError::TimeoutTooLong { setting, longest: "100 years" }),
        _ => Ok(()),
    }
}

#[cfg_attr(not(any(feature = "redis", feature = "sqlite")), expect(unused_variables))]
fn open_url(url: &str, pool_size: u32, patience: Duration) -> Result<Box<dyn Store>, ConfigError> {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    check_features(scheme)?;
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    match scheme {
        "memory" if url == "memory:" => Ok(Box::new(MemoryStore::new())),
        "memory" => Err(ConfigError::StoreUrl { expected: "memory:, with nothing behind it" }),
        #[cfg(feature = "redis")]
        "redis" | "redis+unix" | "rediss" | "redis-cluster" | "rediss-cluster" | "redis-sentinel"
        | "rediss-sentinel" => Ok(Box::new(crate::store::RedisStore::from_url(url, pool_size, patience)?)),
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Box::new(crate::store::SqliteStore::from_url(url, pool_size, patience)?)),
        _ if url[scheme.len()..].starts_with("://") && scheme.len() <= 32 && scheme.bytes().all(is_scheme) => {
            Err(ConfigError::UnknownScheme { scheme: scheme.to_owned() })
        }
        // What is no scheme may be a password.
        _ => Err(ConfigError::UnknownScheme { scheme: String::new() }),
    }
}

/// Refuses a scheme that needs a feature which this build lacks.
pub(crate) fn check_features(scheme: &str) -> Result<(), ConfigError> {
    const CLUSTER: (&str, bool) = ("cluster", cfg!(feature = "cluster"));
    const REDIS: (&str, bool) = ("redis", cfg!(feature = "redis"));
    const SENTINEL: (&str, bool) = ("sentinel", cfg!(feature = "sentinel"));
    const SQLITE: (&str, bool) = ("sqlite", cfg!(feature = "sqlite"));
    const TLS: (&str, bool) = ("tls", cfg!(feature = "tls"));
    let needed: &[_] = match scheme {
        "redis" | "redis+unix" => &[REDIS],
        "rediss" => &[TLS],
        "redis-cluster" => &[CLUSTER],
        "rediss-cluster" => &[CLUSTER, TLS],
        "redis-sentinel" => &[SENTINEL],
        "rediss-sentinel" => &[SENTINEL, TLS],
        "sqlite" => &[SQLITE],
        _ => &[],
    };
    match needed.iter().find(|(_, switched_on)| !switched_on) {
        Some((feature, _)) => Err(ConfigError::FeatureMissing { scheme: scheme.to_owned(), feature }),
        None => Ok(()),
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

#[cfg(all(test, not(any(feature = "redis", feature = "sqlite"))))]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_built_in_is_named() {
        for (url, expected) in [
            ("redis://:hunter2@a", "redis"),
            ("redis+unix:///a", "redis"),
            ("rediss://a", "tls"),
            ("redis-sentinel://a#name", "sentinel"),
            ("rediss-sentinel://a#name", "sentinel"),
            ("redis-cluster://a", "cluster"),
            ("rediss-cluster://a", "cluster"),
            ("sqlite:///a.db", "sqlite"),
        ] {
            let secret = Secret::generate().unwrap();
            match SessionManagerBuilder::new(secret).store_url(url).build() {
                Err(error @ ConfigError::FeatureMissing { feature, .. }) => {
                    assert_eq!(feature, expected, "{url}");
                    assert!(error.to_string().contains(expected) && !error.to_string().contains("hunter2"), "{error}");
                }
                other => panic!("{url}: {other:?}"),
            }
        }
    }
}
