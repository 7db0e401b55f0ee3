//! Values that only the token of the session opens.
//!
//! The data key of the session is one of its values: sealed for the present id, under [`DATA_KEY_NAME`], and through a
//! grace also for the old ids, each under [`OLD_DATA_KEY_PREFIX`] and its public id.
//!
//! All requests of a session use the same data key. A session gets it at its creation. A session that was stored plain
//! gets it in an update that expects the version that was read. A login of another user, after which no old id and no
//! old value is left, gets a new one.

use crate::error::Error;
use crate::session::Session;
use crate::store::stored_value::StoredValue;
use std::borrow::Cow;

#[cfg(feature = "seal")]
mod begin;
#[cfg(feature = "seal")]
mod data_key;
#[cfg(feature = "seal")]
mod keep;

/// The name under which the record keeps the sealed data key.
const DATA_KEY_NAME: &str = "\0\0seal";
/// The beginning of the names under which it keeps the data key sealed for old ids. The public id follows.
#[cfg(feature = "seal")]
const OLD_DATA_KEY_PREFIX: &str = "\0\0seal:";

impl Session {
    /// Returns the JSON text of a value of this session.
    pub(super) fn text<'a>(&self, key: &str, value: &'a StoredValue) -> Result<Cow<'a, str>, Error> {
        match value {
            StoredValue::Json(json) => Ok(json.into()),
            #[cfg(feature = "seal")]
            StoredValue::Sealed(sealed) => self.open(key, sealed).map(Cow::from),
            #[cfg(not(feature = "seal"))]
            StoredValue::Sealed(_) => Err(Error::Sealed { key: key.to_owned() }),
        }
    }

    /// Refuses a new id if the session has a data key, because the data key would be lost.
    #[cfg(not(feature = "seal"))]
    pub(super) fn check_that_nothing_is_sealed(&self) -> Result<(), Error> {
        if self.pending.new_id.is_some() && self.record.values.contains_key(DATA_KEY_NAME) {
            return Err(Error::Sealed { key: String::new() });
        }
        Ok(())
    }
}
