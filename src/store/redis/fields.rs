//! The fields of a record: see prelude.lua.

use crate::end_reason::EndReason;
use crate::store::call::Nonce;
use crate::store::record::Values;
use crate::store::redis::state;
use crate::store::stored_value::StoredValue;
use redis::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The fields of a record.
#[derive(Default)]
pub(crate) struct Fields {
    pub(crate) is_empty: bool,
    pub(crate) values: Values,
    /// The packed state. It is missing if there is no record, but only a forward or a trace.
    pub(crate) state: Option<Vec<u8>>,
    pub(crate) joined_at: Option<SystemTime>,
    pub(crate) group_name: Option<String>,
    pub(crate) began_at: Option<SystemTime>,
    /// Whether the record is only prepared: see handover.rs.
    pub(crate) is_prepared: bool,
    /// The reason in the trace of an ended session.
    pub(crate) reason: Option<EndReason>,
    pub(crate) has_trace: bool,
    pub(crate) has_forward: bool,
    /// The nonce of the last change when the record came from another store.
    pub(crate) copied_nonce: Option<Nonce>,
    /// The nonces of earlier calls: the fields `n0` to `n3`.
    pub(crate) nonces: [Vec<u8>; 4],
}

impl Fields {
    /// Reads the reply to `HGETALL`. Returns `None` if a field is damaged.
    pub(crate) fn read(reply: Value) -> Option<Fields> {
        let mut fields = Fields::default();
        match reply {
            Value::Array(list) => {
                fields.is_empty = list.is_empty();
                let mut list = list.into_iter();
                while let (Some(field), Some(value)) = (list.next(), list.next()) {
                    fields.add(field, value)?;
                }
            }
            // RESP3 has maps.
            Value::Map(pairs) => {
                fields.is_empty = pairs.is_empty();
                for (field, value) in pairs {
                    fields.add(field, value)?;
                }
            }
            _ => return None,
        }
        Some(fields)
    }

    fn add(&mut self, field: Value, value: Value) -> Option<()> {
        let (Value::BulkString(mut field), Value::BulkString(mut value)) = (field, value) else { return None };
        match &*field {
            [b':', ..] => {
                field.remove(0);
                self.values.insert(String::from_utf8(field).ok()?, StoredValue::from_bytes(value)?);
            }
            b"s" => self.state = Some(value),
            b"g" if value.len() >= 6 => {
                self.group_name = Some(String::from_utf8(value.split_off(6)).ok()?);
                self.joined_at = Some(state::time(&value)?);
            }
            b"g" => return None,
            b"b" => {
                let milliseconds = std::str::from_utf8(&value).ok()?.parse().ok()?;
                self.began_at = Some(UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds))?);
            }
            b"p" => self.is_prepared = true,
            b"c" => self.copied_nonce = value.try_into().ok(),
            b"t" => self.has_trace = true,
            b"r" => self.reason = Some(EndReason::of_letter(&value)),
            b"f" => self.has_forward = true,
            [b'n', digit @ b'0'..=b'3'] => self.nonces[usize::from(digit - b'0')] = value,
            _ => {}
        }
        Some(())
    }
}
