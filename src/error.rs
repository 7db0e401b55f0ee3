//! The errors of calls ([`Error`]), of the store ([`StoreError`]), and of the settings ([`ConfigError`]).
//!
//! The text of an error carries its cause, because applications print `{error}`. `source()` gives only what the text
//! has not said, so that nothing stands twice in a printed chain.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// Returns the first error of a chain of causes whose text is not a part of `text`.
fn unsaid<'e>(text: &str, cause: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    std::iter::successors(Some(cause), |&cause| cause.source()).find(|cause| !text.contains(&cause.to_string()))
}

/// The error of a call on a session, a group or the manager.
///
/// The text, `{error}`, carries the cause. `source()` gives only what the text has not said. No text holds a secret, a
/// token, a session id or a value: only keys and public ids.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The store failed. The changes are still in the session. [`save`](crate::Session::save) may be called again, and
    /// does not apply them twice. The documentation of `save` names two exceptions.
    Store(StoreError),
    /// After the load, the session has ended (by a logout or a timeout), or another request gave it a new id. Nothing
    /// was written. A save never brings an ended session back.
    Gone,
    /// Another request changed the session after it was loaded. Only [`transact`](crate::SessionManager::transact)
    /// gives this error: after 32 tries, or when the operation timeout is used up.
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
        /// The key of the value. Empty if [`write_as`](crate::Session::write_as) cannot write the whole.
        key: String,
        /// The reason and the place. The text of serde is left out, because it shows values.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value cannot be read as the type asked for. The value stays where it is.
    #[non_exhaustive]
    Decode {
        /// The key of the value. Empty if [`read_as`](crate::Session::read_as) cannot read the whole.
        key: String,
        /// The reason and the place. The text of serde is left out, because it shows values.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A key is longer than [`MAX_KEY_BYTES`](crate::Session::MAX_KEY_BYTES), a group's name is longer than
    /// [`MAX_GROUP_NAME_BYTES`](crate::Session::MAX_GROUP_NAME_BYTES), or the session would grow beyond
    /// [`max_session_bytes`](crate::SessionManagerBuilder::max_session_bytes) or
    /// [`max_session_keys`](crate::SessionManagerBuilder::max_session_keys). Nothing was written.
    #[non_exhaustive]
    TooLarge {
        /// The beginning of the key that is too long, or the largest key among the changes. Empty for a group's name.
        key: String,
        /// The part that is too large.
        what: Oversize,
        /// The size of the part: in bytes, or as a number of keys.
        size: usize,
        /// The largest size that is allowed.
        limit: usize,
    },
    /// The user has as many sessions as the [limit](crate::SessionManagerBuilder::max_sessions_per_group) allows, and
    /// [`RefuseNewest`](crate::AtLimit::RefuseNewest) is set for this login. Nothing was written: the client is not
    /// logged in.
    #[non_exhaustive]
    TooManySessions {
        /// The largest number of sessions that the user may have.
        limit: usize,
    },
    /// A key begins with a NUL character. Such keys are reserved for the library.
    #[non_exhaustive]
    ReservedKey {
        /// The key.
        key: String,
    },
    /// The value of this key is [sealed](crate::SessionManagerBuilder::seal_values), so
    /// [`increment`](crate::Session::increment) cannot add to it, and [`SessionInfo::get`](crate::SessionInfo::get)
    /// cannot read it. A program without the feature `seal` gets this error for every sealed value, and when it saves a
    /// new id for a session with sealed values. Nothing was written.
    #[non_exhaustive]
    Sealed {
        /// The key of the value. Empty if the session as a whole was meant.
        key: String,
    },
    /// The operating system gave no random bytes. The library does not use weaker random numbers instead.
    Randomness(Box<dyn std::error::Error + Send + Sync>),
    /// The operating system's generator gave a session id that another session has. Nothing was written. Do not trust
    /// this machine's generator.
    IdTaken,
}

/// The part that is too large, in an [`Error::TooLarge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// Returns the HTTP status for the response to a request that failed with this error.
    ///
    /// | status | error | what the client can do |
    /// |---|---|---|
    /// | 503 | [`Store`](Error::Store), if another try may help | try again in a moment |
    /// | 409 | [`Gone`](Error::Gone) | load the page again, or log in again |
    /// | 409 | [`Conflict`](Error::Conflict) | try again |
    /// | 409 | [`TooManySessions`](Error::TooManySessions) | log out on another device |
    /// | 400 | [`ReservedKey`](Error::ReservedKey) | send another key |
    /// | 413 | [`TooLarge`](Error::TooLarge) | send less |
    /// | 500 | all others, among them a damaged record | nothing: look into the log |
    ///
    /// # Security
    /// After an `Error::Store`, nobody knows who the client is. Do not treat it as logged in.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match self {
            Error::Store(error) => match error.kind {
                StoreErrorKind::Corrupt | StoreErrorKind::Forked => 500,
                _ => 503,
            },
            Error::Gone | Error::Conflict | Error::TooManySessions { .. } => 409,
            Error::ReservedKey { .. } => 400,
            Error::TooLarge { .. } => 413,
            _ => 500,
        }
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
            Error::Encode { key, source } if key.is_empty() => {
                write!(f, "the value for the session cannot be written as JSON: {source}")
            }
            Error::Encode { key, source } => write!(f, "the value for {key:?} cannot be written as JSON: {source}"),
            Error::Decode { key, source } if key.is_empty() => {
                write!(f, "the session cannot be read as the type asked for: {source}")
            }
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
            Error::TooManySessions { limit } => write!(
                f,
                "the user has {limit} sessions already, as many as are allowed, so this login was refused; end one of \
                 them first"
            ),
            Error::ReservedKey { key } => {
                write!(f, "the key {key:?} begins with a NUL character, which is reserved; choose another")
            }
            Error::Sealed { key } if key.is_empty() => f.write_str(
                "the values of the session are sealed, and a new id would lose them; build the program with the \
                 feature `seal`",
            ),
            Error::Sealed { key } => write!(
                f,
                "the value of {key:?} is sealed, so the store cannot add to it, and a list cannot show it; name the \
                 key in `readable`; to read it in its own session, build the program with the feature `seal`"
            ),
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
        let cause: &(dyn StdError + 'static) = match self {
            Error::Store(error) => error,
            Error::Encode { source, .. } | Error::Decode { source, .. } | Error::Randomness(source) => &**source,
            _ => return None,
        };
        unsaid(&self.to_string(), cause)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        Error::Store(error)
    }
}

/// The kind of a fault of the store. [`StoreError::kind`] gives it.
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
    /// This process was forked from a process that had the store open, and cannot use that store. Processes cannot
    /// share the memory of a memory store, and must not share an open SQLite file.
    Forked,
    /// Anything else that the store reported.
    Backend,
}

/// An error of the store. [`kind`](StoreError::kind) says how to handle it.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// Makes a fault of this kind. The message must not hold a secret, a token, a session id or a value.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> StoreError {
        StoreError { kind, message: message.into(), source: None }
    }

    /// Adds the cause of the fault.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind of the fault.
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
        unsaid(&self.to_string(), self.source.as_deref()?)
    }
}

/// A fault in the settings. The message says what to do instead, and shows no password.
///
/// `Debug` gives the message too: a `main` that returns this error shows it by `Debug`.
#[non_exhaustive]
pub enum ConfigError {
    /// A secret of fewer than 32 bytes.
    #[non_exhaustive]
    SecretTooShort {
        /// The length of the secret, in bytes.
        bytes: usize,
    },
    /// The environment variable that [`Secret::from_env`](crate::Secret::from_env) reads is not set.
    #[non_exhaustive]
    SecretNotSet {
        /// The name of the variable.
        variable: String,
    },
    /// The operating system gave no random bytes for [`Secret::generate`](crate::Secret::generate).
    Randomness(Box<dyn std::error::Error + Send + Sync>),
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
    /// A store URL that names a user and no password. With such a URL, the library would log in as Redis's default
    /// user.
    #[non_exhaustive]
    StoreUser {
        /// How the password is written in this place of the URL.
        password: &'static str,
    },
    /// A PEM file for TLS that cannot be used. The store URL names the file.
    #[non_exhaustive]
    PemFile {
        /// The URL's parameter: `ca`, `cert` or `key`.
        parameter: &'static str,
        /// What the file has to contain.
        content: &'static str,
        /// Why the file cannot be used.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No certificates of authorities to trust are installed on this system, and the store URL names none.
    #[non_exhaustive]
    NoRootCertificates {
        /// The fault that occurred while looking for them.
        source: Box<dyn std::error::Error + Send + Sync>,
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
        /// The settings that the prefix needs.
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
        /// The kind of the domain.
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
    /// An idle timeout that is longer than the absolute timeout. Every session would end before its idle timeout.
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

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::SecretTooShort { bytes } => write!(
                f,
                "the secret has {bytes} bytes; give at least 32 random ones, such as `openssl rand -base64 48` makes"
            ),
            ConfigError::SecretNotSet { variable } => write!(
                f,
                "the environment variable {variable} is not set; put the secret of the application into it, the same \
                 for all workers and at every start; `openssl rand -base64 48` makes one"
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
            | ConfigError::NoRootCertificates { source } => unsaid(&self.to_string(), &**source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    type Source = Box<dyn StdError + Send + Sync>;

    /// A cause with a cause of its own, which its text may carry.
    #[derive(Debug)]
    struct Cause {
        text: &'static str,
        source: Option<Source>,
        carries_source: bool,
    }

    impl fmt::Display for Cause {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match &self.source {
                Some(source) if self.carries_source => write!(f, "{}: {source}", self.text),
                _ => f.write_str(self.text),
            }
        }
    }

    impl StdError for Cause {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
        }
    }

    fn key() -> String {
        "key".to_owned()
    }

    const CAUSES: [&str; 3] = ["a first cause", "a second one", "and a third"];

    /// Chains of causes: some causes carry the text of their own cause, as those of many libraries do.
    fn causes() -> impl Iterator<Item = Source> {
        [(false, false), (true, false), (true, true)].into_iter().flat_map(|(first, second)| {
            let cause = move || {
                let cause = |text, source, carries_source| Source::from(Cause { text, source, carries_source });
                let third = cause(CAUSES[2], None, false);
                cause(CAUSES[0], Some(cause(CAUSES[1], Some(third), second)), first)
            };
            [cause(), Box::new(io::Error::other(cause()))]
        })
    }

    /// The texts of an error and of all its causes. Fails if one of them repeats another.
    fn texts(error: &dyn StdError) -> Vec<String> {
        let texts: Vec<_> = std::iter::successors(Some(error), |&e| e.source()).map(|e| e.to_string()).collect();
        for (position, text) in texts.iter().enumerate() {
            for cause in &texts[position + 1..] {
                assert!(!text.contains(cause), "{text:?} says {cause:?} already");
            }
        }
        texts
    }

    #[test]
    fn every_cause_is_said_and_none_is_said_twice() {
        let store_error = |cause| StoreError::new(StoreErrorKind::Backend, "a fault").caused_by(cause);
        let with_cause: [&dyn Fn(Source) -> Box<dyn StdError>; 8] = [
            &|cause| store_error(cause).into(),
            &|cause| Error::Store(store_error(cause)).into(),
            &|source| Error::Encode { key: key(), source }.into(),
            &|source| Error::Decode { key: key(), source }.into(),
            &|cause| Error::Randomness(cause).into(),
            &|cause| ConfigError::Randomness(cause).into(),
            &|source| ConfigError::PemFile { parameter: "ca", content: "a certificate", source }.into(),
            &|source| ConfigError::NoRootCertificates { source }.into(),
        ];
        for (error, cause) in with_cause.iter().flat_map(|error| causes().map(move |cause| (error, cause))) {
            let texts = texts(&*error(cause));
            assert!(texts[0].contains(CAUSES[0]), "{texts:?} carries its cause");
            for cause in CAUSES {
                assert_eq!(texts.iter().filter(|text| text.contains(cause)).count(), 1, "{texts:?} says {cause:?}");
            }
        }
    }

    #[test]
    fn an_error_has_a_status() {
        let store = |kind| Error::Store(StoreError::new(kind, "a fault"));
        let too_large = Error::TooLarge { key: key(), what: Oversize::Session, size: 2, limit: 1 };
        for (status, error) in [
            (503, store(StoreErrorKind::Unavailable)),
            (503, store(StoreErrorKind::Timeout)),
            (503, store(StoreErrorKind::Rejected)),
            (503, store(StoreErrorKind::Backend)),
            (500, store(StoreErrorKind::Corrupt)),
            (500, store(StoreErrorKind::Forked)),
            (409, Error::Gone),
            (409, Error::Conflict),
            (413, too_large),
            (409, Error::TooManySessions { limit: 1 }),
            (400, Error::ReservedKey { key: key() }),
            (500, Error::NotAnInteger { key: key() }),
            (500, Error::Sealed { key: key() }),
            (500, Error::IdTaken),
        ] {
            assert_eq!(error.http_status(), status, "{error}");
        }
    }

    #[test]
    fn no_store_says_a_cause_twice() {
        use crate::manager::SessionManager;
        use crate::secret::Secret;
        // Nothing listens on port 1, and the folder is missing.
        for url in ["redis://127.0.0.1:1", "redis+unix:///missing/socket", "sqlite:///missing/folder/sessions.db"] {
            match SessionManager::builder(Secret::generate().unwrap()).store_url(url).build() {
                Ok(manager) => assert!(!texts(&manager.ping().unwrap_err()).is_empty()),
                Err(error) => assert!(matches!(error, ConfigError::FeatureMissing { .. }), "{error}"),
            }
        }
        let error = SessionManager::builder(Secret::generate().unwrap()).store_url("rediss://a?ca=/missing").build();
        texts(&error.unwrap_err());
        let error = crate::json::from_json::<u8>("key", "\"text\"").unwrap_err();
        assert_eq!(texts(&error).len(), 1);
    }
}
