//! The secret that signs the cookies.

use multi_process_session::{ConfigError, Secret};

/// Returns the secret in the environment. Without one, returns a random secret and a note that says so.
pub fn secret() -> Result<(Secret, &'static str), ConfigError> {
    match Secret::from_env("SESSION_SECRET") {
        Err(ConfigError::SecretNotSet { .. }) => {
            Ok((Secret::generate()?, "\nwithout SESSION_SECRET the secret is random: sessions end with this program"))
        }
        secret => Ok((secret?, "")),
    }
}
