//! The answers of a store that did not make a change.

use crate::error::{Error, Oversize, StoreError};

/// The reason why a store did not make a change.
///
/// The manager turns a refusal into an [`Error`] for the application.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The session has ended. See [`Error::Gone`].
    Gone,
    /// The record has another version than [expected](crate::store::Update::expected), or a key does not
    /// [hold](crate::store::Update::holds) the value that it has to. See [`Error::Conflict`].
    Conflict,
    /// There is a live record under the key already. See [`Error::IdTaken`].
    IdTaken,
    /// The value of a key cannot be incremented. See [`Error::NotAnInteger`].
    NotAnInteger {
        /// The key of the value.
        key: String,
    },
    /// The values would be larger than the limit. See [`Error::TooLarge`].
    TooLarge {
        /// The key with the largest change.
        key: String,
        /// The size that the values would have together.
        bytes: usize,
        /// The largest size that is allowed.
        limit: usize,
    },
    /// The session would have more keys than the limit. See [`Error::TooLarge`].
    TooManyKeys {
        /// The key with the largest change.
        key: String,
        /// The number of keys that the session would have.
        keys: usize,
        /// The largest number that is allowed.
        limit: usize,
    },
    /// The group has as many sessions as it may have, and the login was to be refused then. See
    /// [`Error::TooManySessions`].
    TooManySessions {
        /// The limit.
        limit: usize,
    },
    /// The store failed. It is not known whether the change was made.
    Fault(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::Fault(error)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::Gone => Error::Gone,
            Refusal::Conflict => Error::Conflict,
            Refusal::IdTaken => Error::IdTaken,
            Refusal::NotAnInteger { key } => Error::NotAnInteger { key },
            Refusal::TooLarge { key, bytes, limit } => {
                Error::TooLarge { key, what: Oversize::Session, size: bytes, limit }
            }
            Refusal::TooManyKeys { key, keys, limit } => {
                Error::TooLarge { key, what: Oversize::Keys, size: keys, limit }
            }
            Refusal::TooManySessions { limit } => Error::TooManySessions { limit },
            Refusal::Fault(error) => Error::Store(error),
        }
    }
}
