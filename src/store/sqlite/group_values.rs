//! The values of groups.

use crate::error::StoreError;
use crate::store::group_update::GroupUpdate;
use crate::store::group_values::REMEMBERED;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::Values;
use crate::store::refusal::Refusal;
use crate::store::sqlite::columns::milliseconds;
use crate::store::sqlite::failure::Failure;
use crate::store::sqlite::namespace;
use crate::store::sqlite::operation::Operation;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

impl Operation<'_> {
    /// Gives the values of a group.
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
        let life = update.idle_timeout.as_millis() as i64;
        transaction
            .prepare_cached(
                "INSERT INTO kept_groups (tag, namespace, expires, nonces)
                 VALUES (?1, ?2,
                   max(?3 + ?4, ifnull((SELECT max(expires) FROM sessions WHERE in_group > 0
                     AND in_group = (SELECT serial FROM groups WHERE tag = ?1)), 0)),
                   ?5)
                 ON CONFLICT DO UPDATE SET nonces = excluded.nonces, expires = max(expires, excluded.expires)",
            )?
            .execute(params![
                group.tag.as_bytes(),
                namespace::serial(&transaction, group.namespace)?,
                milliseconds(now),
                life,
                nonces
            ])?;
        self.disk_space.commit(transaction)?;
        Ok(())
    }
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

/// Keeps the values of the group of this key until the session of the key expires.
pub(crate) fn keep_until(sqlite: &Connection, key: &RecordKey<'_>, until: SystemTime) -> rusqlite::Result<()> {
    let Some(tag) = key.tag else { return Ok(()) };
    sqlite
        .prepare_cached("UPDATE kept_groups SET expires = ?2 WHERE tag = ?1 AND expires < ?2")?
        .execute(params![tag.as_bytes(), milliseconds(until)])
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
