//! Keeps a session as another store has it.

use crate::error::StoreError;
use crate::store::call::Nonce;
use crate::store::key::RecordKey;
use crate::store::record::Size;
use crate::store::restore::Restored;
use crate::store::restore::{is_earlier, is_over, with_later_life};
use crate::store::sqlite::columns::{milliseconds, tag};
use crate::store::sqlite::failure::Failure;
use crate::store::sqlite::operation::Operation;
use crate::store::sqlite::rows::{LiveRow, NewRow};
use crate::store::sqlite::{group, group_values, namespace, rows, values};
use crate::store::stored_record::StoredRecord;
use rusqlite::{Connection, params};
use std::time::SystemTime;

impl Operation<'_> {
    /// Keeps a session as another store has it, unless this store has a later state of it, or knows that it has ended.
    pub(crate) fn restore(&self, key: &RecordKey<'_>, record: &StoredRecord) -> Result<Restored, Failure<StoreError>> {
        let transaction = self.begin()?;
        let now = self.now();
        if is_over(&record.state, now) {
            return Ok(Restored::Ended);
        }
        let (size, state) = (Size::of(&record.values), record.state.clone());
        let (restored, serial) = match rows::find(&transaction, key, now)? {
            Some(found) if is_earlier(&found.state, copied_nonce(&transaction, found.serial)?, record) => {
                let state = with_later_life(&found.state, state);
                let row = LiveRow { serial: found.serial, size, state };
                rows::write_change(&transaction, &row, size)?;
                rows::write_life(&transaction, &row)?;
                transaction.prepare_cached("DELETE FROM session_values WHERE session = ?1")?.execute([row.serial])?;
                (Restored::Updated, row.serial)
            }
            Some(_) => return Ok(Restored::Kept),
            None if has_ended(&transaction, key, now)? => return Ok(Restored::Ended),
            None if is_taken(&transaction, key, now)? => return Ok(Restored::Kept),
            None => (Restored::Created, insert(&transaction, key, record, size, now)?),
        };
        for (key, json) in &record.values {
            values::set(&transaction, serial, key, json)?;
        }
        transaction
            .prepare_cached("UPDATE sessions SET copied = substr(nonces, 1, ?2) WHERE serial = ?1")?
            .execute(params![serial, size_of::<Nonce>() as i64])?;
        group_values::keep_until(&transaction, key, record.state.expires_at, now)?;
        self.disk_space.commit(transaction)?;
        Ok(restored)
    }
}

/// Returns the nonce of the last change when a session came from another store.
fn copied_nonce(sqlite: &Connection, serial: i64) -> rusqlite::Result<Option<Nonce>> {
    sqlite.prepare_cached("SELECT copied FROM sessions WHERE serial = ?1")?.query_row([serial], |row| row.get(0))
}

/// Inserts the row of a session, and gives its serial.
fn insert(
    sqlite: &Connection,
    key: &RecordKey<'_>,
    record: &StoredRecord,
    size: Size,
    now: SystemTime,
) -> rusqlite::Result<i64> {
    // An expired record may still have this key.
    rows::remove(sqlite, key, now)?;
    let row = NewRow {
        key,
        namespace: namespace::serial(sqlite, key.namespace)?,
        in_group: group::serial(sqlite, key)?,
        group_name: record.group_name.as_deref(),
        join_order: record.join_order as i64,
        size,
        state: &record.state,
    };
    rows::insert(sqlite, &row)
}

/// Returns whether a live session of another namespace has the id and the group of this key. That happens only if
/// somebody restores a session in a namespace in which its id cannot be.
fn is_taken(sqlite: &Connection, key: &RecordKey<'_>, now: SystemTime) -> rusqlite::Result<bool> {
    sqlite
        .prepare_cached(
            "SELECT 1 FROM sessions
             WHERE id = ?1 AND in_group = iif(?2 = x'', 0, (SELECT groups.serial FROM groups WHERE groups.tag = ?2))
               AND expires > ?3 AND namespace IN (SELECT namespaces.serial FROM namespaces)",
        )?
        .exists(params![key.id.as_bytes(), tag(key), milliseconds(now)])
}

/// Returns whether the session of a key without a live record has ended here: it has a trace or a forward, or a row
/// whose namespace or group has ended.
fn has_ended(sqlite: &Connection, key: &RecordKey<'_>, now: SystemTime) -> rusqlite::Result<bool> {
    sqlite
        .prepare_cached(
            "SELECT 1 FROM ended WHERE id = ?1 AND expires > ?3
             UNION ALL SELECT 1 FROM forwards WHERE id = ?1 AND tag = ?2 AND max(expires, grace_ends) > ?3
             UNION ALL SELECT 1 FROM sessions WHERE id = ?1 AND expires > ?3 AND (in_group > 0) = (?2 <> x'')
               AND (namespace NOT IN (SELECT serial FROM namespaces)
                    OR in_group > 0 AND in_group NOT IN (SELECT serial FROM groups))",
        )?
        .exists(params![key.id.as_bytes(), tag(key), milliseconds(now)])
}
