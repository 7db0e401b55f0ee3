//! A value as stores keep it.

use std::fmt;

/// The first byte of a sealed value. No JSON text begins with it.
pub(crate) const SEALED: u8 = 1;

/// A value as stores keep it. A store needs to know only its bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum StoredValue {
    /// JSON text.
    Json(String),
    /// A value that only the token of its session opens. Its first byte is 1, so it is never taken for JSON text.
    Sealed(Vec<u8>),
}

impl StoredValue {
    /// Reads a value from its [bytes](StoredValue::as_bytes). Returns `None` if they are neither text nor sealed.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Option<StoredValue> {
        match bytes.first() {
            Some(&SEALED) => Some(StoredValue::Sealed(bytes)),
            _ => String::from_utf8(bytes).ok().map(StoredValue::Json),
        }
    }

    /// Returns the bytes of the value.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            StoredValue::Json(json) => json.as_bytes(),
            StoredValue::Sealed(bytes) => bytes,
        }
    }

    /// Returns the JSON text. `None` if the value is sealed.
    #[must_use]
    pub fn json(&self) -> Option<&str> {
        match self {
            StoredValue::Json(json) => Some(json),
            StoredValue::Sealed(_) => None,
        }
    }
}

impl From<String> for StoredValue {
    fn from(json: String) -> StoredValue {
        StoredValue::Json(json)
    }
}

impl From<&str> for StoredValue {
    fn from(json: &str) -> StoredValue {
        StoredValue::Json(json.to_owned())
    }
}

// Values can be anything, passwords included.
impl fmt::Debug for StoredValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StoredValue::Json(_) => "Json(..)",
            StoredValue::Sealed(_) => "Sealed(..)",
        })
    }
}
