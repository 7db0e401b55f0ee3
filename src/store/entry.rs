//! What `Entries` keep under one name, and its form as JSON text.

use crate::end_reason::EndReason;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::call::Nonce;
use crate::store::forward::Forward;
use crate::store::group_values::GroupValues;
use crate::store::record::Values;
use crate::store::state::RecordState;
use crate::store::stored_record::StoredRecord;
use crate::store::stored_value::StoredValue;
use crate::store::trace::Trace;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What [`Entries`](crate::store::Entries) keep under one name: a record, a forward from an old id to the id that
/// replaced it, the trace of a session that has ended, or the values of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry(pub(crate) Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Record(StoredRecord),
    Forward(Forward),
    Trace(Trace),
    GroupValues(GroupValues),
}

impl Entry {
    /// Returns the time after which the entry is not needed any more. Then the store can remove it.
    #[must_use]
    pub fn outdated_at(&self) -> SystemTime {
        match &self.0 {
            Kind::Record(record) => record.state.expires_at,
            Kind::Forward(forward) => forward.trail_ends,
            Kind::Trace(trace) => trace.ends_at,
            Kind::GroupValues(group) => group.expires_at,
        }
    }

    /// Returns the entry as JSON text, for stores that keep text. [`from_json`](Entry::from_json) reads it.
    ///
    /// The text is an object with one field, which tells the kind of the entry: `record`, `forward`, `trace` or
    /// `group_values`.
    /// ```json
    /// {"trace": {"nonce": "YWJjZGVmZ2g", "reason": "o", "ends_at": 1700000000000000000}}
    /// ```
    /// A record has a `group_name`, a `join_order`, its `values`, and the fields of a
    /// [`RecordState`](crate::store::RecordState). A time is the number of nanoseconds since 1970, a duration is a
    /// number of nanoseconds, and nonces are URL-safe base64. Later versions of the library read what this version
    /// writes.
    #[must_use]
    pub fn to_json(&self) -> String {
        let object = match &self.0 {
            Kind::Record(record) => json!({ "record": record_to_json(record) }),
            Kind::Forward(forward) => json!({ "forward": {
                "new_id": forward.new_id.to_string(),
                "grace_ends": nanoseconds(forward.grace_ends),
                "trail_ends": nanoseconds(forward.trail_ends),
            } }),
            Kind::Trace(trace) => json!({ "trace": {
                "nonce": URL_SAFE_NO_PAD.encode(trace.nonce),
                "reason": trace.reason.letter(),
                "ends_at": nanoseconds(trace.ends_at),
            } }),
            Kind::GroupValues(group) => json!({ "group_values": {
                "values": values_to_json(&group.values),
                "expires_at": nanoseconds(group.expires_at),
                "nonces": URL_SAFE_NO_PAD.encode(&group.nonces),
                "copied_nonce": group.copied_nonce.map(|nonce| URL_SAFE_NO_PAD.encode(nonce)),
            } }),
        };
        object.to_string()
    }

    /// Returns the entry of a JSON text that [`to_json`](Entry::to_json) has written.
    ///
    /// # Errors
    /// A [`StoreError`] of the kind [`Corrupt`](StoreErrorKind::Corrupt) if the text is damaged.
    pub fn from_json(json: &str) -> Result<Entry, StoreError> {
        let object: Option<Value> = serde_json::from_str(json).ok();
        object.as_ref().and_then(kind_from_json).map(Entry).ok_or_else(|| {
            StoreError::new(StoreErrorKind::Corrupt, "the session's record is damaged; destroy() still ends it")
        })
    }
}

fn record_to_json(record: &StoredRecord) -> Value {
    let StoredRecord { group_name, join_order, values, state, copied_nonce } = record;
    json!({
        "group_name": group_name,
        "join_order": join_order,
        "values": values_to_json(values),
        "version": state.version,
        "created_at": nanoseconds(state.created_at),
        "joined_at": state.joined_at.map(nanoseconds),
        "began_at": nanoseconds(state.began_at),
        "refreshed_at": state.refreshed_at.map(nanoseconds),
        "ends_at": state.ends_at.map(nanoseconds),
        "idle_timeout": saturated(state.idle_timeout),
        "has_own_idle_timeout": state.has_own_idle_timeout,
        "persistent": state.persistent,
        "expires_at": nanoseconds(state.expires_at),
        "nonces": URL_SAFE_NO_PAD.encode(&state.nonces),
        "copied_nonce": copied_nonce.map(|nonce| URL_SAFE_NO_PAD.encode(nonce)),
    })
}

fn kind_from_json(object: &Value) -> Option<Kind> {
    let (kind, fields) = object.as_object()?.iter().next()?;
    match &**kind {
        "record" => record_from_json(fields).map(Kind::Record),
        "forward" => Some(Kind::Forward(Forward {
            new_id: fields["new_id"].as_str()?.parse().ok()?,
            grace_ends: time(&fields["grace_ends"])?,
            trail_ends: time(&fields["trail_ends"])?,
        })),
        "trace" => Some(Kind::Trace(Trace {
            nonce: nonce(&fields["nonce"])?,
            reason: EndReason::of_letter(fields["reason"].as_str()?.as_bytes()),
            ends_at: time(&fields["ends_at"])?,
        })),
        "group_values" => Some(Kind::GroupValues(GroupValues {
            values: values(&fields["values"])?,
            expires_at: time(&fields["expires_at"])?,
            nonces: bytes(&fields["nonces"])?,
            copied_nonce: optional(&fields["copied_nonce"], nonce)?,
        })),
        _ => None,
    }
}

fn record_from_json(fields: &Value) -> Option<StoredRecord> {
    Some(StoredRecord {
        group_name: optional(&fields["group_name"], text)?,
        join_order: count(&fields["join_order"])?,
        values: values(&fields["values"])?,
        state: RecordState {
            version: count(&fields["version"])?,
            created_at: time(&fields["created_at"])?,
            joined_at: optional(&fields["joined_at"], time)?,
            began_at: time(&fields["began_at"])?,
            refreshed_at: optional(&fields["refreshed_at"], time)?,
            ends_at: optional(&fields["ends_at"], time)?,
            idle_timeout: Duration::from_nanos(fields["idle_timeout"].as_u64()?),
            has_own_idle_timeout: fields["has_own_idle_timeout"].as_bool()?,
            persistent: optional(&fields["persistent"], Value::as_bool)?,
            expires_at: time(&fields["expires_at"])?,
            nonces: bytes(&fields["nonces"])?,
        },
        copied_nonce: optional(&fields["copied_nonce"], nonce)?,
    })
}

fn nanoseconds(time: SystemTime) -> u64 {
    saturated(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn saturated(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn values(value: &Value) -> Option<Values> {
    value.as_object()?.iter().map(|(key, value)| Some((key.clone(), stored_value(value)?))).collect()
}

/// Reads a value: JSON text as it is, and the bytes of a sealed value in an object.
fn stored_value(value: &Value) -> Option<StoredValue> {
    match value {
        Value::String(json) => Some(StoredValue::Json(json.clone())),
        object => Some(StoredValue::Sealed(bytes(&object["sealed"])?)),
    }
}

fn values_to_json(values: &Values) -> Value {
    let to_json = |value: &StoredValue| match value {
        StoredValue::Json(json) => json!(json),
        StoredValue::Sealed(bytes) => json!({ "sealed": URL_SAFE_NO_PAD.encode(bytes) }),
    };
    values.iter().map(|(key, value)| (key.clone(), to_json(value))).collect()
}

fn time(value: &Value) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_nanos(value.as_u64()?))
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(value.as_str()?).ok()
}

fn nonce(value: &Value) -> Option<Nonce> {
    bytes(value)?.try_into().ok()
}

/// Reads a number that counts up. A number so large that counting on could overflow is damage.
fn count(value: &Value) -> Option<u64> {
    value.as_u64().filter(|number| *number < 1 << 60)
}

fn optional<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<Option<T>> {
    if value.is_null() { Some(None) } else { read(value).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PublicId;
    use proptest::prelude::*;

    fn at(nanoseconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(nanoseconds)
    }

    fn full_record() -> StoredRecord {
        StoredRecord {
            group_name: Some("ada".to_owned()),
            join_order: 2,
            values: [
                ("address".to_owned(), StoredValue::Sealed(vec![1, 0, 255])),
                ("user".to_owned(), r#""ada""#.into()),
            ]
            .into(),
            state: RecordState {
                version: 3,
                created_at: at(1_700_000_000_123_456_789),
                joined_at: Some(at(4)),
                began_at: at(5),
                refreshed_at: Some(at(6)),
                ends_at: Some(at(7)),
                idle_timeout: Duration::from_nanos(8),
                has_own_idle_timeout: true,
                persistent: Some(false),
                expires_at: at(9),
                nonces: b"abcdefgh12345678".to_vec(),
            },
            copied_nonce: None,
        }
    }

    /// Stores keep these texts, and later versions have to read them.
    #[test]
    fn the_texts_are_the_same_in_every_version() {
        let full = full_record();
        let mut bare = full.clone();
        (bare.group_name, bare.state.joined_at, bare.state.refreshed_at, bare.state.ends_at) = (None, None, None, None);
        bare.state.persistent = None;
        let forward = Forward { new_id: PublicId::from_bytes([7; 18]), grace_ends: at(1), trail_ends: at(u64::MAX) };
        for (kind, json) in [
            (
                Kind::Record(full),
                concat!(
                    r#"{"record":{"began_at":5,"copied_nonce":null,"created_at":1700000000123456789,"#,
                    r#""ends_at":7,"expires_at":9,"#,
                    r#""group_name":"ada","has_own_idle_timeout":true,"idle_timeout":8,"join_order":2,"joined_at":4,"#,
                    r#""nonces":"YWJjZGVmZ2gxMjM0NTY3OA","persistent":false,"refreshed_at":6,"#,
                    r#""values":{"address":{"sealed":"AQD_"},"user":"\"ada\""},"version":3}}"#
                ),
            ),
            (
                Kind::Record(bare),
                concat!(
                    r#"{"record":{"began_at":5,"copied_nonce":null,"created_at":1700000000123456789,"#,
                    r#""ends_at":null,"expires_at":9,"#,
                    r#""group_name":null,"has_own_idle_timeout":true,"idle_timeout":8,"join_order":2,"#,
                    r#""joined_at":null,"nonces":"YWJjZGVmZ2gxMjM0NTY3OA","persistent":null,"refreshed_at":null,"#,
                    r#""values":{"address":{"sealed":"AQD_"},"user":"\"ada\""},"version":3}}"#
                ),
            ),
            (
                Kind::Forward(forward),
                concat!(
                    r#"{"forward":{"grace_ends":1,"new_id":"BwcHBwcHBwcHBwcHBwcHBwcH","#,
                    r#""trail_ends":18446744073709551615}}"#
                ),
            ),
            (
                Kind::Trace(Trace { nonce: *b"abcdefgh", reason: EndReason::OverLimit, ends_at: at(1) }),
                r#"{"trace":{"ends_at":1,"nonce":"YWJjZGVmZ2g","reason":"l"}}"#,
            ),
            (
                Kind::GroupValues(GroupValues {
                    values: [("roles".to_owned(), "[]".into())].into(),
                    expires_at: at(1),
                    nonces: b"abcdefgh".to_vec(),
                    copied_nonce: Some(*b"abcdefgh"),
                }),
                concat!(
                    r#"{"group_values":{"copied_nonce":"YWJjZGVmZ2g","expires_at":1,"nonces":"YWJjZGVmZ2g","#,
                    r#""values":{"roles":"[]"}}}"#
                ),
            ),
        ] {
            let entry = Entry(kind);
            assert_eq!(entry.to_json(), json);
            assert_eq!(Entry::from_json(json).unwrap(), entry);
        }
    }

    #[test]
    fn a_number_that_could_overflow_is_refused() {
        for (field, number) in [("version", 3), ("join_order", 2)] {
            let json = Entry(Kind::Record(full_record())).to_json();
            let damaged = json.replace(&format!(r#""{field}":{number}"#), &format!(r#""{field}":{}"#, u64::MAX));
            assert_ne!(damaged, json);
            assert_eq!(Entry::from_json(&damaged).unwrap_err().kind(), StoreErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_damaged_text_is_refused_or_read_as_something_else() {
        let json = Entry(Kind::Record(full_record())).to_json();
        for end in 0..json.len() {
            assert_eq!(Entry::from_json(&json[..end]).unwrap_err().kind(), StoreErrorKind::Corrupt);
        }
        for field in serde_json::from_str::<Value>(&json).unwrap()["record"].as_object().unwrap().keys() {
            for text in ["-1", "1.5", "[]", "{}", "true"] {
                let mut damaged: Value = serde_json::from_str(&json).unwrap();
                damaged["record"][field] = serde_json::from_str(text).unwrap();
                let read = Entry::from_json(&damaged.to_string());
                let is_fine =
                    matches!((&**field, text), ("has_own_idle_timeout" | "persistent", "true") | ("values", "{}"));
                assert_eq!(read.is_ok(), is_fine, "{field}: {text}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(json: String) {
            let _ = Entry::from_json(&json);
        }
    }
}
