//! The values of records.

use crate::store::record::Size;
use crate::store::refusal::Refusal;
use crate::store::sqlite::failure::Failure;
use crate::store::update::{Change, ChangeSet, add};
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
        sqlite.prepare_cached("DELETE FROM session_values WHERE session = ?1")?.execute([serial])?;
        total = Size::default();
    }
    for (key, change) in &changes.keys {
        let before = get(sqlite, serial, key)?;
        if let Some(json) = &before {
            total.keys = total.keys.saturating_sub(1);
            total.bytes = total.bytes.saturating_sub(Size::of_value(key, json).bytes);
        }
        let sum;
        let json = match change {
            Change::Remove => {
                remove(sqlite, serial, key)?;
                continue;
            }
            Change::Set(json) => json,
            Change::Increment(by) => {
                sum = add(key, before.as_deref(), *by)?.to_string();
                &sum
            }
        };
        set(sqlite, serial, key, json)?;
        total.keys += 1;
        total.bytes = total.bytes.saturating_add(Size::of_value(key, json).bytes);
    }
    Ok(total)
}

/// Gives the present values of the keys that a change increments.
pub(crate) fn totals(sqlite: &Connection, serial: i64, changes: &ChangeSet) -> rusqlite::Result<Vec<(String, i64)>> {
    let mut totals = Vec::new();
    for (key, _) in changes.increments() {
        if let Some(total) = get(sqlite, serial, key)?.and_then(|json| json.parse().ok()) {
            totals.push((key.to_owned(), total));
        }
    }
    Ok(totals)
}

pub(crate) fn get(sqlite: &Connection, serial: i64, key: &str) -> rusqlite::Result<Option<String>> {
    sqlite
        .prepare_cached("SELECT json FROM session_values WHERE session = ?1 AND key = ?2")?
        .query_row(params![serial, key], |row| row.get(0))
        .optional()
}

pub(crate) fn set(sqlite: &Connection, serial: i64, key: &str, json: &str) -> rusqlite::Result<usize> {
    sqlite
        .prepare_cached(
            "INSERT INTO session_values (session, key, json) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET json = excluded.json",
        )?
        .execute(params![serial, key, json])
}

fn remove(sqlite: &Connection, serial: i64, key: &str) -> rusqlite::Result<usize> {
    sqlite.prepare_cached("DELETE FROM session_values WHERE session = ?1 AND key = ?2")?.execute(params![serial, key])
}
