//! The errors of calls ([`Error`]), of the store ([`StoreError`]), and of the settings ([`ConfigError`]).

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

type Source = Box<dyn StdError + Send + Sync>;

/// Why a call on a session or on the manager failed.
///
/// No message holds a secret, a token, a session id or a value: only keys and public ids.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The store failed. The changes are still in the session. [`save`](crate::Session::save) may be called again, and
    /// does not apply them twice, within the limits that it names.
    Store(StoreError),
    /// The session has ended since it was loaded: logged out, expired, or given a new id by another request.
    /// Nothing was written. A save never brings an ended session back.
    Gone,
    /// Another request changed the session after it was loaded. Only [`transact`](crate::SessionManager::transact)
    /// checks for this. It answers this error once its tries are used up.
    Conflict,
    /// [`increment`](crate::Session::increment) found a value that is not a 64-bit integer, or the sum would not be
    /// one. The record is as it was.
    #[non_exhaustive]
    NotAnInteger {
        /// The key of the value.
        key: String,
    },
    /// A value cannot be written as JSON, or cannot be read again. The session is as it was.
    #[non_exhaustive]
    Encode {
        /// The key of the value.
        key: String,
        /// What was wrong, and where; not what serde says, which shows values.
        source: Source,
    },
    /// A value cannot be read as the type asked for. The value stays where it is.
    #[non_exhaustive]
    Decode {
        /// The key of the value.
        key: String,
        /// What was wrong, and where; not what serde says, which shows values.
        source: Source,
    },
    /// A key is longer than [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES), a group's name is longer than
    /// [`MAX_GROUP_NAME_BYTES`](crate::MAX_GROUP_NAME_BYTES), or the session would grow beyond
    /// [`max_session_bytes`](crate::SessionManagerBuilder::max_session_bytes) or
    /// [`max_session_keys`](crate::SessionManagerBuilder::max_session_keys). Nothing was written.
    #[non_exhaustive]
    TooLarge {
        /// The beginning of the key that is too long, or the largest key among the changes. Empty for a group's name.
        key: String,
        /// The part that is too large.
        what: Oversize,
        /// The size that it would have: in bytes, or as a number of keys.
        size: usize,
        /// The largest size that is allowed.
        limit: usize,
    },
    /// A key begins with a NUL character. Such keys are reserved for the library.
    #[non_exhaustive]
    ReservedKey {
        /// The key.
        key: String,
    },
    /// The operating system gave no random bytes. No session starts with a weaker id instead.
    Randomness(Source),
    /// The operating system's generator gave a session id that another session has. Nothing was written. Do not trust
    /// this machine's generator.
    IdTaken,
}

/// The part that is too large, in an [`Error::TooLarge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oversize {
    /// A key's name.
    Key,
    /// All keys and values of the session together.
    Session,
    /// The number of keys that the session has, or that one save changes.
    Keys,
    /// The name of the group that the session joins.
    GroupName,
}

impl Error {
    pub(crate) fn encode<T: ?Sized>(key: &str, error: &serde_json::Error) -> Error {
        let what = match error.classify() {
            serde_json::error::Category::Syntax => "a map in it has a key that is neither text nor a number",
            _ => "its Serialize implementation failed",
        };
        let source = format!("{what} ({})", std::any::type_name::<T>()).into();
        Error::Encode { key: key.to_owned(), source }
    }

    pub(crate) fn decode<T>(key: &str, error: &serde_json::Error) -> Error {
        Error::Decode { key: key.to_owned(), source: Box::new(JsonError::new::<T>(error)) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Store(error) => write!(f, "the session store failed: {error}"),
            Error::Gone => f.write_str("the session has ended since it was loaded; nothing was saved"),
            Error::Conflict => {
                f.write_str("the session was changed by other requests at the same time; nothing was saved, try again")
            }
            Error::NotAnInteger { key } => write!(
                f,
                "the value of {key:?} is not a 64-bit integer, or the sum would not be one; set it to an integer first"
            ),
            Error::Encode { key, source } => write!(f, "the value for {key:?} cannot be written as JSON: {source}"),
            Error::Decode { key, source } => {
                write!(f, "the value of {key:?} cannot be read as the type asked for: {source}")
            }
            Error::TooLarge { key, what: Oversize::Key, size, limit } => {
                write!(f, "a key has {size} bytes, and at most {limit} are allowed; it begins with {key:?}")
            }
            Error::TooLarge { key, what: Oversize::Session, size, limit } => write!(
                f,
                "the session would hold {size} bytes, more than max_session_bytes ({limit}); \
                 the largest change is that of {key:?}"
            ),
            Error::TooLarge { key, what: Oversize::Keys, size, limit } => write!(
                f,
                "the session would have {size} keys, or one save would change as many, and max_session_keys allows \
                 {limit}; the largest change is that of {key:?}; keep a list or a map under one key"
            ),
            Error::TooLarge { what: Oversize::GroupName, size, limit, .. } => {
                write!(
                    f,
                    "a group name has {size} bytes, and at most {limit} are allowed; set a shorter one, such as an id"
                )
            }
            Error::ReservedKey { key } => {
                write!(f, "the key {key:?} begins with a NUL character, which is reserved; choose another")
            }
            Error::Randomness(source) => write!(f, "the operating system gave no random bytes: {source}"),
            Error::IdTaken => f.write_str(
                "the operating system's generator gave a session id that another session has; look into its random \
                 numbers before you go on",
            ),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Store(error) => Some(error),
            Error::Encode { source, .. } | Error::Decode { source, .. } | Error::Randomness(source) => Some(&**source),
            _ => None,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        Error::Store(error)
    }
}

/// The fault that `serde_json` found, without the value that its own message shows.
#[derive(Debug)]
struct JsonError {
    what: &'static str,
    wanted: &'static str,
    line: usize,
    column: usize,
}

impl JsonError {
    fn new<T>(error: &serde_json::Error) -> JsonError {
        use serde_json::error::Category;
        let what = match error.classify() {
            Category::Data => "it is of another type",
            Category::Eof => "it ends too early",
            Category::Syntax => "it is not JSON",
            Category::Io => "it cannot be read",
        };
        JsonError { what, wanted: std::any::type_name::<T>(), line: error.line(), column: error.column() }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JsonError { what, wanted, line, column } = self;
        write!(f, "{what} ({wanted}, line {line}, column {column})")
    }
}

impl StdError for JsonError {}

/// The kind of fault of a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached, is not ready yet (`LOADING`, `CLUSTERDOWN`, too many clients), has no primary at
    /// the moment, or shows a certificate that cannot be trusted.
    Unavailable,
    /// The store did not answer within the [`operation_timeout`](crate::SessionManagerBuilder::operation_timeout).
    Timeout,
    /// The store answered that it refuses the call (`OOM`, `READONLY`, `NOAUTH`, `MISCONF`, `BUSY`).
    Rejected,
    /// The record of this session is damaged, or its key holds something else (`WRONGTYPE`). Other sessions are not
    /// affected, and this one can still be ended with [`destroy`](crate::SessionManager::destroy).
    Corrupt,
    /// This process was forked from one that had the store open in a way that cannot be shared.
    Forked,
    /// Anything else that the store reported.
    Backend,
}

/// A fault of the store. [`kind`](StoreError::kind) says how to handle it.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    source: Option<Source>,
}

impl StoreError {
    /// Makes a fault of this kind. The message must not hold a secret, a token, a session id or a value.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> StoreError {
        StoreError { kind, message: message.into(), source: None }
    }

    /// Adds the cause of the fault.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Source>) -> StoreError {
        self.source = Some(source.into());
        self
    }

    /// Gives the kind of the fault.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// A fault in the settings. The message says what to do instead, and shows no password.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// A secret of fewer than 32 bytes.
    #[non_exhaustive]
    SecretTooShort {
        /// How long it is.
        bytes: usize,
    },
    /// The operating system gave no random bytes for [`Secret::generate`](crate::Secret::generate).
    Randomness(Source),
    /// Neither `store_url` nor `store` was called.
    NoStore,
    /// A store URL with a scheme that this library does not know.
    #[non_exhaustive]
    UnknownScheme {
        /// The text before the colon.
        scheme: String,
    },
    /// A store URL that needs a feature which this build lacks.
    #[non_exhaustive]
    FeatureMissing {
        /// The URL's scheme.
        scheme: String,
        /// The feature to switch on in `Cargo.toml`.
        feature: &'static str,
    },
    /// A store URL that cannot be read.
    #[non_exhaustive]
    StoreUrl {
        /// What a URL of this scheme looks like.
        expected: &'static str,
    },
    /// A store URL that names a user and no password: Redis would be used as its default user.
    #[non_exhaustive]
    StoreUser {
        /// How the password is written in this place of the URL.
        password: &'static str,
    },
    /// A file that the store URL names for TLS, and that cannot be used.
    #[non_exhaustive]
    PemFile {
        /// The URL's parameter: `ca`, `cert` or `key`.
        parameter: &'static str,
        /// What the file has to contain.
        content: &'static str,
        /// What is wrong with it.
        source: Source,
    },
    /// No certificates of authorities to trust are installed on this system, and the store URL names none.
    #[non_exhaustive]
    NoRootCertificates {
        /// The fault that occurred while looking for them.
        source: Source,
    },
    /// A namespace that is empty, longer than 64 bytes, or has a character other than ASCII letters, digits, `-`, `_`
    /// and `.`.
    Namespace,
    /// A cookie name that is empty, longer than 64 bytes, or holds a byte that RFC 6265bis does not allow there.
    CookieName,
    /// A cookie name with a prefix whose conditions the other settings do not meet.
    #[non_exhaustive]
    CookiePrefix {
        /// The prefix.
        prefix: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// A path that does not begin with `/`, is longer than 1,024 bytes, or never occurs in a browser's request: it
    /// holds a byte that browsers percent-encode, a `;` or a `,`, or a segment `.` or `..`.
    CookiePath,
    /// A domain that is not a host name.
    CookieDomain,
    /// A domain with which browsers drop the cookie: an IP address, or a single label such as `localhost` or `com`.
    #[non_exhaustive]
    CookieDomainDropped {
        /// What it is.
        what: &'static str,
    },
    /// `SameSite=None` without `Secure`: browsers refuse such a cookie.
    SameSiteNoneNeedsSecure,
    /// `Partitioned` without `Secure`: browsers refuse such a cookie.
    PartitionedNeedsSecure,
    /// A timeout of less than a millisecond.
    #[non_exhaustive]
    ZeroTimeout {
        /// The setting's name.
        setting: &'static str,
    },
    /// A timeout of more than 100 years, or an `operation_timeout` of more than an hour.
    #[non_exhaustive]
    TimeoutTooLong {
        /// The setting's name.
        setting: &'static str,
        /// The longest that is allowed.
        longest: &'static str,
    },
    /// An idle timeout that is longer than the absolute one. The session would never reach it.
    #[non_exhaustive]
    IdleBeyondAbsolute {
        /// The idle timeout.
        idle: Duration,
        /// The absolute timeout.
        absolute: Duration,
    },
    /// A `pool_size` of zero or of more than 1,000.
    PoolSize,
    /// A `max_sessions_per_group` of zero or of more than 100,000.
    MaxSessionsPerGroup,
    /// More than 16 accepted secrets.
    TooManySecrets,
    /// A `max_session_bytes` of zero or of more than 512 MiB, the most that a Redis string can hold.
    MaxSessionBytes,
    /// A `max_session_keys` of zero or of more than 100,000.
    MaxSessionKeys,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::SecretTooShort { bytes } => write!(
                f,
                "the secret has {bytes} bytes; give at least 32 random ones, for instance from `openssl rand -hex 32`"
            ),
            ConfigError::Randomness(source) => {
                write!(f, "the operating system gave no random bytes for a secret: {source}")
            }
            ConfigError::NoStore => {
                f.write_str("no store is set: call store_url(\"redis://127.0.0.1:6379\") or store(...)")
            }
            ConfigError::UnknownScheme { scheme } => write!(
                f,
                "store_url does not know the scheme {scheme:?}; use redis://host:port, redis+unix:///path, \
                 redis-sentinel://host:port#name, redis-cluster://host:port (each with rediss for TLS), sqlite:///path \
                 or memory:"
            ),
            ConfigError::FeatureMissing { scheme, feature } => write!(
                f,
                "a store_url of the scheme {scheme:?} needs the feature {feature:?} of multi-process-session: \
                 add it in Cargo.toml"
            ),
            ConfigError::StoreUrl { expected } => {
                write!(f, "the store_url cannot be read; it has to look like {expected}")
            }
            ConfigError::StoreUser { password } => write!(
                f,
                "the store_url names a user but no password, so it would connect as the default user; add {password} \
                 (for a user with `nopass`, add any password)"
            ),
            ConfigError::PemFile { parameter, content, source } => write!(
                f,
                "the file that {parameter:?} of the store_url names cannot be used ({source}); it is to be a PEM file \
                 that this process can read, with {content}"
            ),
            ConfigError::NoRootCertificates { source } => write!(
                f,
                "this system has no certificates of authorities to trust ({source}); install them (on Debian: \
                 ca-certificates), or name a PEM file: store_url(\"rediss://host:port?ca=/path/to/ca.pem\")"
            ),
            ConfigError::Namespace => {
                f.write_str("the namespace has to be 1 to 64 ASCII letters, digits, '-', '_' or '.'")
            }
            ConfigError::CookieName => f.write_str(
                "the cookie name has to be 1 to 64 ASCII letters, digits or any of !#$%&'*+-.^_`|~ (RFC 6265bis)",
            ),
            ConfigError::CookiePrefix { prefix, needs } => {
                write!(
                    f,
                    "browsers refuse a cookie whose name begins with {prefix:?} without {needs}; change one of them"
                )
            }
            ConfigError::CookiePath => f.write_str(
                "the cookie path has to begin with '/', and to be written as browsers send paths, or it never matches; \
                 it may have up to 1,024 bytes; percent-encode blanks, bytes that are not ASCII, and any of \
                 \"#<>?\\^`{|}; leave out segments '.' and '..', and end before a segment that holds ';' or ','",
            ),
            ConfigError::CookieDomain => f.write_str(
                "the cookie domain has to be a host name of ASCII letters, digits, '-' and '.', with no dot at an end",
            ),
            ConfigError::CookieDomainDropped { what } => write!(
                f,
                "browsers drop a cookie whose Domain is {what}; leave domain() out, so that the cookie goes back to \
                 the host that set it"
            ),
            ConfigError::SameSiteNoneNeedsSecure => {
                f.write_str("browsers refuse SameSite=None without Secure: call secure(true), or choose Lax or Strict")
            }
            ConfigError::PartitionedNeedsSecure => {
                f.write_str("browsers refuse Partitioned without Secure: call secure(true), or leave partitioned out")
            }
            ConfigError::ZeroTimeout { setting } => {
                write!(f, "{setting} is shorter than a millisecond; give it at least one")
            }
            ConfigError::TimeoutTooLong { setting, longest } => {
                write!(f, "{setting} is over {longest}; give a shorter one")
            }
            ConfigError::IdleBeyondAbsolute { idle, absolute } => write!(
                f,
                "the idle_timeout ({idle:?}) is longer than the absolute_timeout ({absolute:?}); make it shorter"
            ),
            ConfigError::PoolSize => f.write_str(
                "pool_size has to be between 1 and 1,000; as many connections as the process has threads are enough",
            ),
            ConfigError::MaxSessionsPerGroup => {
                f.write_str("max_sessions_per_group has to be between 1 and 100,000; leave it out for no limit")
            }
            ConfigError::TooManySecrets => {
                f.write_str("more than 16 secrets are accepted; drop those whose sessions have all ended")
            }
            ConfigError::MaxSessionBytes => f.write_str("max_session_bytes has to be between 1 and 512 MiB"),
            ConfigError::MaxSessionKeys => f.write_str("max_session_keys has to be between 1 and 100,000"),
        }
    }
}

impl StdError for ConfigError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            ConfigError::Randomness(source)
            | ConfigError::PemFile { source, .. }
            | ConfigError::NoRootCertificates { source } => Some(&**source),
            _ => None,
        }
    }
}
