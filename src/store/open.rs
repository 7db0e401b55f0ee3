//! Opens the store that a URL names.

use crate::error::ConfigError;
use crate::store::maintenance::Maintenance;
use crate::store::memory::MemoryStore;
#[cfg(feature = "redis")]
use crate::store::redis::RedisStore;
#[cfg(feature = "sqlite")]
use crate::store::sqlite::SqliteStore;
use std::time::Duration;

/// Opens the store at this URL, like [`store_url`](crate::SessionManagerBuilder::store_url), for operators. It does not
/// connect yet. A `Box<dyn Maintenance>` is a `Box<dyn Store>` too.
///
/// `pool_size` is the largest number of connections of one process. `operation_timeout` is that of the callers.
///
/// # Errors
/// A [`ConfigError`] for each URL that [`store_url`](crate::SessionManagerBuilder::store_url) refuses.
///
/// # Examples
/// ```
/// use multi_process_session::store::{Call, Deadline, Scan, open};
/// use std::time::Duration;
///
/// let timeout = Duration::from_secs(5);
/// let store = open("memory:", 1, timeout)?;
/// let scan = Scan { namespace: "mps", with_values: false, from: None };
/// let page = store.scan(&scan, &Call::until(Deadline::after(timeout))?)?;
/// assert!(page.sessions.is_empty() && page.next.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg_attr(not(any(feature = "redis", feature = "sqlite")), expect(unused_variables))]
pub fn open(url: &str, pool_size: u32, operation_timeout: Duration) -> Result<Box<dyn Maintenance>, ConfigError> {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    match scheme {
        "memory" if url == "memory:" => Ok(Box::new(MemoryStore::new())),
        "memory" => Err(ConfigError::StoreUrl { expected: "memory:, with nothing behind it" }),
        "redis" | "redis+unix" | "rediss" | "redis-cluster" | "rediss-cluster" | "redis-sentinel"
        | "rediss-sentinel" => {
            #[cfg(feature = "redis")]
            return Ok(Box::new(RedisStore::from_url(url, pool_size, operation_timeout)?));
            #[cfg(not(feature = "redis"))]
            Err(missing(scheme, if scheme.starts_with("rediss") { "tls" } else { "redis" }))
        }
        "sqlite" => {
            #[cfg(feature = "sqlite")]
            return Ok(Box::new(SqliteStore::from_url(url, pool_size, operation_timeout)?));
            #[cfg(not(feature = "sqlite"))]
            Err(missing(scheme, "sqlite"))
        }
        _ if url[scheme.len()..].starts_with("://") && scheme.len() <= 32 && scheme.bytes().all(is_scheme) => {
            Err(ConfigError::UnknownScheme { scheme: scheme.to_owned() })
        }
        // A text that is not a scheme may be a password, so the error does not show it.
        _ => Err(ConfigError::UnknownScheme { scheme: String::new() }),
    }
}

#[cfg(any(not(feature = "redis"), not(feature = "sqlite")))]
fn missing(scheme: &str, feature: &'static str) -> ConfigError {
    ConfigError::FeatureMissing { scheme: scheme.to_owned(), feature }
}

#[cfg(all(test, not(any(feature = "redis", feature = "sqlite"))))]
mod tests {
    use crate::error::ConfigError;
    use crate::manager::SessionManager;
    use crate::secret::Secret;

    #[test]
    fn what_was_not_built_in_is_named() {
        for (url, expected) in [
            ("redis://:hunter2@a", "redis"),
            ("redis+unix:///a", "redis"),
            ("rediss://a", "tls"),
            ("redis-sentinel://a#name", "redis"),
            ("rediss-sentinel://a#name", "tls"),
            ("redis-cluster://a", "redis"),
            ("rediss-cluster://a", "tls"),
            ("sqlite:///a.db", "sqlite"),
        ] {
            let secret = Secret::generate().unwrap();
            match SessionManager::builder(secret).store_url(url).build() {
                Err(error @ ConfigError::FeatureMissing { feature, .. }) => {
                    assert_eq!(feature, expected, "{url}");
                    assert!(error.to_string().contains(expected) && !error.to_string().contains("hunter2"), "{error}");
                }
                other => panic!("{url}: {other:?}"),
            }
        }
    }
}
