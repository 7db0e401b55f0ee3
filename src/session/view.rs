//! The values as this request sees them: those of the record, with the changes of this request.

use crate::error::Error;
use crate::session::Session;
use crate::session::pending::Pending;
use crate::store::update::add;
use std::borrow::Cow;

impl Session {
    /// Returns the JSON text of a key.
    pub(super) fn json(&self, key: &str) -> Result<Option<Cow<'_, str>>, Error> {
        if let Some(value) = self.layers().find_map(|layer| layer.overriding(key)) {
            return value.map(|value| self.text(key, value)).transpose();
        }
        let value = self.record.values.get(key);
        match self.increment_of(key) {
            Some(by) => Ok(Some(add(key, value, by)?.to_string().into())),
            None => value.map(|value| self.text(key, value)).transpose(),
        }
    }

    /// Returns whether a key has a value, even a key of the library's own.
    pub(super) fn holds(&self, key: &str) -> bool {
        self.layers().find_map(|layer| layer.holds(key)).unwrap_or_else(|| self.record.values.contains_key(key))
    }

    /// Returns whether this request has set or removed a key, so that the value in the store does not matter.
    pub(super) fn overrides(&self, key: &str) -> bool {
        self.layers().any(|layer| layer.overriding(key).is_some())
    }

    /// Returns the sum that this request adds to a key that it does not override.
    pub(super) fn increment_of(&self, key: &str) -> Option<i64> {
        self.layers().filter_map(|layer| layer.increment(key)).reduce(i64::saturating_add)
    }

    /// Returns the changes that the store has not confirmed, latest first.
    pub(super) fn layers(&self) -> impl Iterator<Item = &Pending> {
        std::iter::once(&self.pending).chain(self.in_flight.as_ref().map(|sent| &sent.pending))
    }
}
