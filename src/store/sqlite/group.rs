//! Groups: the sessions with one serial of a group.

use crate::deadline::Deadline;
use crate::id::PublicId;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::{SessionInfo, Values};
use crate::store::sqlite::forward::{Purpose, end_graces, forwarded};
use crate::store::sqlite::{milliseconds, next_serial, room, state, tag, trace, unsigned};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::time::SystemTime;

/// The serial of the group that a record with this key is in; 0 where it is in none.
pub(crate) fn serial(sqlite: &Connection, key: &RecordKey<'_>) -> rusqlite::Result<i64> {
    if key.tag.is_none() {
        return Ok(0);
    }
    sqlite
        .prepare_cached(concat!(
            "INSERT INTO groups (serial, tag) VALUES (",
            next_serial!("groups"),
            ", ?1) ON CONFLICT (tag) DO UPDATE SET tag = tag RETURNING serial",
        ))?
        .query_row([tag(key)], |row| row.get(0))
}

pub(crate) fn sessions(
    sqlite: &Connection,
    group: &GroupKey<'_>,
    keys: &[&str],
    now: SystemTime,
) -> rusqlite::Result<Vec<SessionInfo>> {
    // One statement, so that what it reads is of one moment. The keys come as a JSON array.
    let mut statement = sqlite.prepare_cached(
        "SELECT version, created, joined, began, refreshed, ends, idle, own_idle, expires, nonces, id, key, json
         FROM groups
         JOIN sessions ON in_group = groups.serial AND in_group > 0
         LEFT JOIN session_values ON session = sessions.serial AND key IN (SELECT value FROM json_each(?3))
         WHERE tag = ?1 AND expires > ?2 AND namespace IN (SELECT serial FROM namespaces)
         ORDER BY sessions.serial",
    )?;
    let keys = serde_json::Value::from(keys).to_string();
    let mut rows = statement.query(params![group.tag.as_bytes(), milliseconds(now), keys])?;
    let mut sessions: Vec<SessionInfo> = Vec::new();
    while let Some(row) = rows.next()? {
        let id = PublicId::from_bytes(row.get(10)?);
        if sessions.last().is_none_or(|last| last.public_id != id) {
            sessions.push(SessionInfo::new(id, state(row)?.info(now), Values::new()));
        }
        if let (Some(key), Some(last)) = (row.get(11)?, sessions.last_mut()) {
            last.values.insert(key, row.get(12)?);
        }
    }
    Ok(sessions)
}

pub(crate) fn len(sqlite: &Connection, group: &GroupKey<'_>, now: SystemTime) -> rusqlite::Result<usize> {
    sqlite
        .prepare_cached(
            "SELECT count(*) FROM groups JOIN sessions ON in_group = groups.serial AND in_group > 0
             WHERE tag = ?1 AND expires > ?2 AND namespace IN (SELECT serial FROM namespaces)",
        )?
        .query_row(params![group.tag.as_bytes(), milliseconds(now)], |row| Ok(unsigned(row, 0)? as usize))
}

/// Ends all sessions of a group but one: the row of the group goes, and the one that stays gets a new one. Says how many
/// of those that ended were alive, and the serial that their records are left with.
pub(crate) fn end(
    sqlite: &mut Connection,
    group: &GroupKey<'_>,
    except: Option<PublicId>,
    now: SystemTime,
) -> rusqlite::Result<(u64, Option<i64>)> {
    let transaction = sqlite.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let except = except.map(|id| group.session(id));
    let except = match &except {
        Some(key) => Some(forwarded(&transaction, key, Purpose::Use, now)?.map_or(key.id, |key| key.id)),
        None => None,
    };
    let before = len(&transaction, group, now)?;
    let old_serial: Option<i64> = transaction
        .prepare_cached("DELETE FROM groups WHERE tag = ?1 RETURNING serial")?
        .query_row([group.tag.as_bytes()], |row| row.get(0))
        .optional()?;
    // Below 1 it is not one of ours, and 0 stands for no group.
    if let (Some(id), Some(old_serial)) = (except, old_serial.filter(|serial| *serial > 0)) {
        end_graces(&transaction, &group.session(id), now)?;
        let new_serial = serial(&transaction, &group.session(id))?;
        let stays = transaction
            .prepare_cached("UPDATE sessions SET in_group = ?3 WHERE id = ?1 AND in_group = ?2")?
            .execute(params![id.as_bytes(), old_serial, new_serial])?;
        if stays == 0 {
            transaction.prepare_cached("DELETE FROM groups WHERE serial = ?1")?.execute([new_serial])?;
        }
    }
    let after = len(&transaction, group, now)?;
    transaction.commit()?;
    Ok((before.saturating_sub(after) as u64, old_serial))
}

/// Removes the records that a group has left, until then.
pub(crate) fn sweep(sqlite: &Connection, serial: i64, now: SystemTime, deadline: Deadline) {
    let batch = "SELECT serial FROM sessions WHERE in_group = ?1 AND in_group > 0 LIMIT ?2";
    room::sweep(sqlite, batch, serial, now, deadline);
}

/// The number of the session that joins this group next. The time cannot tell who was first: it stands still between two
/// joins, or is put back.
pub(crate) fn next_in_order(sqlite: &Connection, serial: i64) -> rusqlite::Result<i64> {
    if serial == 0 {
        return Ok(0);
    }
    // Where that would be beyond all numbers, somebody wrote it.
    sqlite
        .prepare_cached(
            "SELECT min(ifnull(max(join_order), 0), 1 << 62) + 1 FROM sessions WHERE in_group = ?1 AND in_group > 0",
        )?
        .query_row([serial], |row| row.get(0))
}

/// The live sessions of the group of the tag `?1` but the one with the id `?2`, those that joined last first, as SQL.
macro_rules! others_in_order {
    () => {
        "SELECT serial FROM sessions
         WHERE in_group = (SELECT groups.serial FROM groups WHERE tag = ?1) AND in_group > 0
           AND id <> ?2 AND expires > ?3 AND namespace IN (SELECT namespaces.serial FROM namespaces)
         ORDER BY join_order DESC "
    };
}

/// Ends those that joined first, until the group has no more live sessions than this. The one of this key stays. Gives
/// the serial that the records of many are left with: they are dead, and others are not to wait until they are removed.
pub(crate) fn limit(
    sqlite: &Connection,
    key: &RecordKey<'_>,
    max_sessions: usize,
    now: SystemTime,
) -> rusqlite::Result<Option<i64>> {
    let others = i64::try_from(max_sessions).unwrap_or(i64::MAX).saturating_sub(1);
    let mut statement = sqlite.prepare_cached(concat!(others_in_order!(), "LIMIT ?4 OFFSET ?5"))?;
    let surplus: Vec<i64> = statement
        .query_map(params![tag(key), key.id.as_bytes(), milliseconds(now), room::BATCH + 1, others], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if surplus.len() as i64 <= room::BATCH {
        let mut delete = sqlite.prepare_cached("DELETE FROM sessions WHERE serial = ?1")?;
        for serial in surplus {
            trace::leave(sqlite, serial, now)?;
            delete.execute([serial])?;
        }
        return Ok(None);
    }
    let mut statement = sqlite.prepare_cached(concat!(others_in_order!(), "LIMIT ?4"))?;
    let stay: Vec<i64> = statement
        .query_map(params![tag(key), key.id.as_bytes(), milliseconds(now), others], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    // As where the group ends: its row goes, and those that stay get a new one.
    let old_serial: i64 = sqlite
        .prepare_cached("DELETE FROM groups WHERE tag = ?1 RETURNING serial")?
        .query_row([tag(key)], |row| row.get(0))?;
    let new_serial = serial(sqlite, key)?;
    sqlite.prepare_cached("UPDATE sessions SET in_group = ?3 WHERE id = ?1 AND in_group = ?2")?.execute(params![
        key.id.as_bytes(),
        old_serial,
        new_serial
    ])?;
    let mut stays = sqlite.prepare_cached("UPDATE sessions SET in_group = ?2 WHERE serial = ?1")?;
    stay.iter().try_for_each(|serial| stays.execute([*serial, new_serial]).map(drop))?;
    Ok(Some(old_serial))
}
