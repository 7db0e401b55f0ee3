//! The key that signs tokens.

use crate::error::{ConfigError, Error};
use crate::random;
use std::fmt;
use zeroize::Zeroizing;

/// The key that signs tokens: at least 32 random bytes.
///
/// Every worker of an application needs the same secret, so it belongs in the configuration, not in the code. `Debug`
/// does not show it.
///
/// # Security
/// A person who has the secret can sign a token for any session id, but still has to guess the id of a live session
/// among 192 random bits. OWASP ASVS 7.2.3 asks for tokens of at least 128 bits of entropy.
///
/// A secret, and the keys that a manager derives from it, are overwritten in memory when they are dropped. Three things
/// are not overwritten: the text or bytes that the application passes to [`Secret::new`], copies that remain on the
/// stack where a value was moved or a key was set up, and memory that was swapped out.
///
/// # Examples
/// ```
/// use multi_process_session::Secret;
///
/// let secret = Secret::new("0123456789abcdef0123456789abcdef")?;
/// assert!(Secret::new("too short").is_err());
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// # Ok::<(), multi_process_session::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The shortest secret that is accepted, in bytes. It is as long as the hash, as RFC 2104 advises.
    pub const MIN_BYTES: usize = 32;

    /// Makes a secret of these bytes, without changing them.
    ///
    /// # Errors
    /// [`ConfigError::SecretTooShort`] if there are fewer than 32 bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Secret, ConfigError> {
        let bytes = bytes.as_ref();
        if bytes.len() < Secret::MIN_BYTES {
            return Err(ConfigError::SecretTooShort { bytes: bytes.len() });
        }
        Ok(Secret(Zeroizing::new(bytes.to_vec())))
    }

    /// Reads a secret from an environment variable, such as `SESSION_SECRET`.
    ///
    /// The secret consists of the bytes of the variable as they are. `openssl rand -base64 48` makes a good one.
    ///
    /// # Errors
    /// [`ConfigError::SecretNotSet`], or [`ConfigError::SecretTooShort`] if there are fewer than 32 bytes.
    ///
    /// # Security
    /// The processes that this one starts get the variable too, unless they are given another environment.
    ///
    /// # Examples
    /// ```
    /// use multi_process_session::Secret;
    ///
    /// let error = Secret::from_env("A_VARIABLE_THAT_IS_NOT_SET").unwrap_err();
    /// assert!(error.to_string().contains("openssl rand -base64 48"));
    /// ```
    pub fn from_env(variable: &str) -> Result<Secret, ConfigError> {
        match std::env::var_os(variable) {
            Some(text) => Secret::new(Zeroizing::new(text.into_encoded_bytes())),
            None => Err(ConfigError::SecretNotSet { variable: variable.to_owned() }),
        }
    }

    /// Makes a secret of 32 bytes from the operating system's generator.
    ///
    /// Use it for tests, and for programs whose sessions may end when the program ends. Call it once, before forking,
    /// so that all workers share the secret. A restart makes another secret, which logs everyone out.
    ///
    /// # Errors
    /// [`ConfigError::Randomness`] if the operating system gives no random bytes.
    pub fn generate() -> Result<Secret, ConfigError> {
        match random::bytes::<{ Secret::MIN_BYTES }>() {
            Ok(bytes) => Secret::new(Zeroizing::new(bytes)),
            Err(Error::Randomness(source)) => Err(ConfigError::Randomness(source)),
            Err(other) => Err(ConfigError::Randomness(Box::new(other))),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_the_environment() {
        assert!(matches!(
            Secret::from_env("A_VARIABLE_THAT_IS_NOT_SET"),
            Err(ConfigError::SecretNotSet { variable }) if variable == "A_VARIABLE_THAT_IS_NOT_SET"
        ));
        // Cargo sets this one, and nobody knows how long it is.
        let text = std::env::var("CARGO_MANIFEST_DIR").unwrap();
        match Secret::from_env("CARGO_MANIFEST_DIR") {
            Ok(secret) => assert_eq!(secret.as_bytes(), text.as_bytes()),
            Err(error) => assert!(text.len() < 32 && matches!(error, ConfigError::SecretTooShort { .. }), "{error}"),
        }
    }

    #[test]
    fn what_holds_a_secret_is_overwritten_when_it_is_dropped() {
        fn is_overwritten<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        is_overwritten(&Secret::new([1; 32]).unwrap().0);
        // An HMAC consists of states of its hash, and has nothing of its own to overwrite.
        is_overwritten(&<sha2::Sha256 as sha2::Digest>::new());
    }
}
