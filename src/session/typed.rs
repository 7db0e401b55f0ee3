//! The session as a struct of the application, whose fields are keys of the session.

use crate::error::Error;
use crate::json::{JsonFault, to_json};
use crate::session::{Session, check_key};
use crate::store::update::Change;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde_json::value::RawValue;
use std::any::type_name;
use std::cell::Cell;
use std::collections::BTreeMap;

impl Session {
    /// Reads the session as a struct: the field `theme` is the value of the key `theme`.
    ///
    /// Give each field a default (`#[serde(default)]` on the struct), because a new session has no keys. Keys of the
    /// session that are not fields of the struct are ignored. With `#[serde(deny_unknown_fields)]` they are an error.
    ///
    /// # Errors
    /// [`Error::Decode`] if the values do not fit the struct. The `key` of the error is empty if the fault is not in
    /// one value, for instance if a field is missing. [`Error::NotAnInteger`], as for [`get`](Session::get).
    ///
    /// # Examples
    /// ```
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Default, Deserialize, Serialize)]
    /// #[serde(default)]
    /// struct Profile {
    ///     theme: String,
    ///     cart: Vec<u32>,
    /// }
    ///
    /// # use multi_process_session::{Secret, SessionManager};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// let mut session = manager.load(None)?;
    /// let mut profile: Profile = session.read_as()?;
    /// profile.cart.push(4711);
    /// session.write_as(&profile)?;
    /// assert_eq!(session.get("cart")?, Some(vec![4711]));
    /// # session.save()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        // The key whose value is being read. `None` before the first one and after the last one.
        let current = Cell::new(None);
        let mut values = Vec::new();
        for key in self.keys() {
            if let Some(json) = self.json(key)? {
                let json = RawValue::from_string(json.into_owned()).map_err(|error| decode::<T>(Some(key), &error))?;
                values.push((key, json));
            }
        }
        let read = values.iter().map(|(key, json)| {
            current.set(Some(*key));
            (*key, &**json)
        });
        let end = std::iter::from_fn(|| {
            current.set(None);
            None
        });
        T::deserialize(MapDeserializer::new(read.chain(end))).map_err(|error| decode::<T>(current.get(), &error))
    }

    /// Writes a struct into the session: the field `theme` becomes the value of the key `theme`.
    ///
    /// Only the fields whose value differs from that in the session are [set](Session::set). So if two requests change
    /// different fields at the same time, both changes are kept. Call [`read_as`](Session::read_as), change the struct,
    /// and call `write_as`, without other changes of the session in between: `write_as` would undo them.
    ///
    /// Keys of the session that are not fields of the struct stay. So does the key of a field that serde skips
    /// (`skip_serializing_if`). An `Option` that is `None`, and is not skipped, sets a `null`. To remove a key, call
    /// [`remove`](Session::remove).
    ///
    /// The order of a `HashMap` does not count as a change. The order of a `HashSet` does, and it differs each time. So
    /// use a `BTreeSet` instead of a `HashSet`.
    ///
    /// # Errors
    /// Those of [`set`](Session::set). [`Error::Encode`] with an empty `key` if `value` is neither a struct nor a map.
    /// After an error, the session is as it was.
    pub fn write_as<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let object = to_json("", value)?;
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(&object).map_err(|_| {
            let source = format!("it is neither a struct nor a map ({})", type_name::<T>()).into();
            Error::Encode { key: String::new(), source }
        })?;
        let mut changed = Vec::new();
        for (key, json) in &fields {
            check_key(key)?;
            let value = json.get().into();
            self.check_value(key, &value)?;
            // A value that cannot be read is replaced.
            let is_kept = matches!(self.json(key), Ok(Some(before)) if is_same(&before, json.get()));
            if !is_kept {
                changed.push((key, value));
            }
        }
        for (key, value) in changed {
            self.change(key, Change::Set(value));
        }
        Ok(())
    }
}

fn decode<T>(key: Option<&str>, error: &serde_json::Error) -> Error {
    let source = match key {
        Some(_) => Box::new(JsonFault::new::<T>(error)) as Box<dyn std::error::Error + Send + Sync>,
        None => format!("a field is missing, or the fields do not fit together ({})", type_name::<T>()).into(),
    };
    Error::Decode { key: key.unwrap_or_default().to_owned(), source }
}

/// Returns whether two texts are the same value. The order of an object's keys does not matter. Numbers are compared as
/// they are written, so that none is rounded.
fn is_same(one: &str, other: &str) -> bool {
    type Object<'a> = BTreeMap<String, &'a RawValue>;
    type List<'a> = Vec<&'a RawValue>;
    let is_same = |(one, other): (&&RawValue, &&RawValue)| is_same(one.get(), other.get());
    if one == other {
        return true;
    }
    if let (Ok(one), Ok(other)) = (serde_json::from_str::<Object<'_>>(one), serde_json::from_str::<Object<'_>>(other)) {
        return one.keys().eq(other.keys()) && one.values().zip(other.values()).all(is_same);
    }
    match (serde_json::from_str::<List<'_>>(one), serde_json::from_str::<List<'_>>(other)) {
        (Ok(one), Ok(other)) => one.len() == other.len() && one.iter().zip(&other).all(is_same),
        _ => false,
    }
}
