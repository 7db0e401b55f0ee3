//! Values that only the token of the session opens.
//!
//! The data key of the session is one of its values: sealed for the present id, under [`KEY`], and through a grace also
//! for the old ids, each under [`OF_OLD_IDS`] and its public id. Only two steps bring a data key into a record, so that
//! all requests of a session use the same one: the creation, and an update that expects the version that was read.

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

/// The key of the data key.
const KEY: &str = "\0\0seal";
/// What the keys of the data keys for old ids begin with. The public id follows.
#[cfg(feature = "seal")]
const OF_OLD_IDS: &str = "\0\0seal:";

impl Session {
    /// Gives the JSON text of a value of this session.
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
        if self.pending.new_id.is_some() && self.record.values.contains_key(KEY) {
            return Err(Error::Sealed { key: String::new() });
        }
        Ok(())
    }
}
