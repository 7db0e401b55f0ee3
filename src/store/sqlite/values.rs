//! The values of records.

use crate::store::record::Size;
use crate::store::refusal::Refusal;
use crate::store::sqlite::failure::Failure;
use crate::store::stored_value::StoredValue;
use crate::store::update::{Change, ChangeSet, OWN, add};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};

/// Applies changes to the values of a record. `total` is the size of the values before, and the result is their size
/// after.
pub(crate) fn change(
    sqlite: &Connection,
    serial: i64,
    mut total: Size,
    changes: &ChangeSet,
) -> Result<Size, Failure<Refusal>> {
    if changes.clear {
        total = clear(sqlite, serial)?;
    }
    for (key, change) in &changes.keys {
        let before = get(sqlite, serial, key)?;
        if let Some(value) = &before {
            total.keys = total.keys.saturating_sub(1);
            total.bytes = total.bytes.saturating_sub(Size::of_value(key, value).bytes);
        }
        let sum;
        let value = match change {
            Change::Remove => {
                remove(sqlite, serial, key)?;
                continue;
            }
            Change::Set(value) => value,
            Change::Increment(by) => {
                sum = add(key, before.as_ref(), *by)?.to_string().into();
                &sum
            }
        };
        set(sqlite, serial, key, value)?;
        total.keys += 1;
        total.bytes = total.bytes.saturating_add(Size::of_value(key, value).bytes);
    }
    Ok(total)
}

/// Removes all values but the library's own, and gives the size of those.
fn clear(sqlite: &Connection, serial: i64) -> rusqlite::Result<Size> {
    const AFTER_OWN: &str = "\0\x01";
    sqlite
        .prepare_cached("DELETE FROM session_values WHERE session = ?1 AND NOT (key >= ?2 AND key < ?3)")?
        .execute(params![serial, OWN, AFTER_OWN])?;
    sqlite
        .prepare_cached(
            "SELECT count(*), ifnull(sum(length(CAST(key AS BLOB)) + length(CAST(value AS BLOB))), 0)
             FROM session_values WHERE session = ?1",
        )?
        .query_row([serial], |row| {
            Ok(Size { keys: row.get::<_, u32>(0)? as usize, bytes: row.get::<_, u32>(1)? as usize })
        })
}

/// Returns the present values of the keys that a change increments.
pub(crate) fn totals(sqlite: &Connection, serial: i64, changes: &ChangeSet) -> rusqlite::Result<Vec<(String, i64)>> {
    let mut totals = Vec::new();
    for (key, _) in changes.increments() {
        if let Some(total) = get(sqlite, serial, key)?.and_then(|value| value.json()?.parse().ok()) {
            totals.push((key.to_owned(), total));
        }
    }
    Ok(totals)
}

pub(crate) fn get(sqlite: &Connection, serial: i64, key: &str) -> rusqlite::Result<Option<StoredValue>> {
    sqlite
        .prepare_cached("SELECT value FROM session_values WHERE session = ?1 AND key = ?2")?
        .query_row(params![serial, key], |row| row.get(0))
        .optional()
}

pub(crate) fn set(sqlite: &Connection, serial: i64, key: &str, value: &StoredValue) -> rusqlite::Result<usize> {
    sqlite
        .prepare_cached(
            "INSERT INTO session_values (session, key, value) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET value = excluded.value",
        )?
        .execute(params![serial, key, value])
}

fn remove(sqlite: &Connection, serial: i64, key: &str) -> rusqlite::Result<usize> {
    sqlite.prepare_cached("DELETE FROM session_values WHERE session = ?1 AND key = ?2")?.execute(params![serial, key])
}

/// JSON text is a text of SQLite, and a sealed value is a blob.
impl ToSql for StoredValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            StoredValue::Json(json) => json.to_sql(),
            StoredValue::Sealed(bytes) => bytes.to_sql(),
        }
    }
}

impl FromSql for StoredValue {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<StoredValue> {
        match value {
            ValueRef::Blob(bytes) => match StoredValue::from_bytes(bytes.to_vec()) {
                Some(sealed @ StoredValue::Sealed(_)) => Ok(sealed),
                _ => Err(FromSqlError::InvalidType),
            },
            text => text.as_str().map(StoredValue::from),
        }
    }
}
