//! The values of groups.

use crate::error::StoreError;
use crate::store::group_update::GroupUpdate;
use crate::store::group_values::{GroupValues, REMEMBERED};
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::Values;
use crate::store::refusal::Refusal;
use crate::store::restore::Restored;
use crate::store::sqlite::columns::{milliseconds, time};
use crate::store::sqlite::failure::Failure;
use crate::store::sqlite::namespace;
use crate::store::sqlite::operation::Operation;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

impl Operation<'_> {
    /// Returns the values of a group.
    pub(crate) fn group_values(&self, group: &GroupKey<'_>) -> Result<Values, Failure<StoreError>> {
        Ok(read(self.sqlite, group, self.now())?)
    }

    /// Changes the values of a group, unless this same call has changed them before.
    pub(crate) fn update_group(&self, group: &GroupKey<'_>, update: &GroupUpdate<'_>) -> Result<(), Failure<Refusal>> {
        let transaction = self.begin()?;
        let now = self.now();
        remove_outdated(&transaction, group, now)?;
        let nonces: Vec<u8> = transaction
            .prepare_cached("SELECT nonces FROM kept_groups WHERE tag = ?1")?
            .query_row([group.tag.as_bytes()], |row| row.get(0))
            .optional()?
            .unwrap_or_default();
        let nonce = self.call.nonce;
        if nonces.chunks_exact(nonce.len()).any(|known| known == nonce) {
            return Ok(());
        }
        update.apply(&read(&transaction, group, now)?)?;
        for (key, json) in update.changes {
            set(&transaction, group, key, json.as_deref())?;
        }
        let nonces: Vec<u8> = nonce.into_iter().chain(nonces).take(REMEMBERED * nonce.len()).collect();
        keep(&transaction, group, &nonces, now + update.idle_timeout)?;
        self.disk_space.commit(transaction)?;
        Ok(())
    }

    /// Returns the values of a group, and what is stored beside them.
    pub(crate) fn read_group(&self, group: &GroupKey<'_>) -> Result<GroupValues, Failure<StoreError>> {
        // All is read at the same moment of the database.
        let transaction = self.sqlite.unchecked_transaction()?;
        Ok(read_all(&transaction, group, self.now())?)
    }

    /// Keeps the values of a group as another store has them, unless they were changed here since they came from there.
    pub(crate) fn restore_group(
        &self,
        group: &GroupKey<'_>,
        values: &GroupValues,
    ) -> Result<Restored, Failure<StoreError>> {
        let transaction = self.begin()?;
        let now = self.now();
        let found = read_all(&transaction, group, now)?;
        let restored = found.restored(values);
        if restored == Restored::Kept {
            return Ok(restored);
        }
        remove_outdated(&transaction, group, now)?;
        if values.nonces.is_empty() {
            transaction.prepare_cached("DELETE FROM kept_groups WHERE tag = ?1")?.execute([group.tag.as_bytes()])?;
        } else {
            transaction.prepare_cached("DELETE FROM group_values WHERE tag = ?1")?.execute([group.tag.as_bytes()])?;
            for (key, json) in &values.values {
                set(&transaction, group, key, json.json())?;
            }
            keep(&transaction, group, &values.nonces, values.expires_at)?;
            transaction
                .prepare_cached("UPDATE kept_groups SET copied = ?2 WHERE tag = ?1")?
                .execute(params![group.tag.as_bytes(), values.last_nonce()])?;
        }
        self.disk_space.commit(transaction)?;
        Ok(restored)
    }
}

/// Keeps the values of a group until this time, or until the last session of the group expires if that is later.
fn keep(sqlite: &Connection, group: &GroupKey<'_>, nonces: &[u8], until: SystemTime) -> rusqlite::Result<()> {
    let namespace = namespace::serial(sqlite, group.namespace)?;
    sqlite
        .prepare_cached(
            "INSERT INTO kept_groups (tag, namespace, expires, nonces)
             VALUES (?1, ?2,
               max(?3, ifnull((SELECT max(expires) FROM sessions WHERE in_group > 0
                 AND in_group = (SELECT serial FROM groups WHERE tag = ?1)), 0)),
               ?4)
             ON CONFLICT DO UPDATE SET nonces = excluded.nonces, expires = max(expires, excluded.expires)",
        )?
        .execute(params![group.tag.as_bytes(), namespace, milliseconds(until), nonces])
        .map(drop)
}

/// Reads the values of a group, and what is stored beside them.
fn read_all(sqlite: &Connection, group: &GroupKey<'_>, now: SystemTime) -> rusqlite::Result<GroupValues> {
    let kept = sqlite
        .prepare_cached(
            "SELECT expires, nonces, copied FROM kept_groups
             WHERE tag = ?1 AND expires > ?2 AND namespace IN (SELECT serial FROM namespaces)",
        )?
        .query_row(params![group.tag.as_bytes(), milliseconds(now)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    Ok(match kept {
        Some((expires, nonces, copied_nonce)) => {
            GroupValues { values: read(sqlite, group, now)?, expires_at: time(expires), nonces, copied_nonce }
        }
        None => GroupValues::none(now),
    })
}

/// Reads the values of a group.
pub(crate) fn read(sqlite: &Connection, group: &GroupKey<'_>, now: SystemTime) -> rusqlite::Result<Values> {
    sqlite
        .prepare_cached(
            "SELECT key, json FROM group_values JOIN kept_groups USING (tag)
             WHERE tag = ?1 AND expires > ?2 AND namespace IN (SELECT serial FROM namespaces)",
        )?
        .query_map(params![group.tag.as_bytes(), milliseconds(now)], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Keeps the values of the group of this key until the session of the key expires. Values that have expired stay so.
pub(crate) fn keep_until(
    sqlite: &Connection,
    key: &RecordKey<'_>,
    until: SystemTime,
    now: SystemTime,
) -> rusqlite::Result<()> {
    let Some(tag) = key.tag else { return Ok(()) };
    sqlite
        .prepare_cached("UPDATE kept_groups SET expires = ?2 WHERE tag = ?1 AND expires < ?2 AND expires > ?3")?
        .execute(params![tag.as_bytes(), milliseconds(until), milliseconds(now)])
        .map(drop)
}

/// Removes values that have expired, or have ended with their namespace.
fn remove_outdated(sqlite: &Connection, group: &GroupKey<'_>, now: SystemTime) -> rusqlite::Result<()> {
    sqlite
        .prepare_cached(
            "DELETE FROM kept_groups
             WHERE tag = ?1 AND (expires <= ?2 OR namespace NOT IN (SELECT serial FROM namespaces))",
        )?
        .execute(params![group.tag.as_bytes(), milliseconds(now)])
        .map(drop)
}

/// Sets a key, or removes it.
fn set(sqlite: &Connection, group: &GroupKey<'_>, key: &str, json: Option<&str>) -> rusqlite::Result<usize> {
    let tag = group.tag.as_bytes();
    match json {
        Some(json) => sqlite
            .prepare_cached(
                "INSERT INTO group_values (tag, key, json) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET json = excluded.json",
            )?
            .execute(params![tag, key, json]),
        None => {
            sqlite.prepare_cached("DELETE FROM group_values WHERE tag = ?1 AND key = ?2")?.execute(params![tag, key])
        }
    }
}
