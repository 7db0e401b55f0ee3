//! Groups. A session in a group is alive only while the row of its group exists.

use crate::end_reason::EndReason;
use crate::error::StoreError;
use crate::id::PublicId;
use crate::store::forward::Purpose;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::{Cleared, Join, SessionInfo, Values};
use crate::store::refusal::Refusal;
use crate::store::sqlite::columns::{milliseconds, tag, unsigned};
use crate::store::sqlite::failure::Failure;
use crate::store::sqlite::forward::{end_graces, present_key};
use crate::store::sqlite::operation::Operation;
use crate::store::sqlite::remains::{BATCH, Remains};
use crate::store::sqlite::rows::{AFTER_STATE, state, state_columns};
use crate::store::sqlite::serial::next_serial;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

/// The SQL for the live sessions of the group with the tag `?1`, without the session with the id `?2`. Sessions that
/// joined later come first.
macro_rules! others_in_order {
    () => {
        "SELECT serial, id FROM sessions
         WHERE in_group = (SELECT groups.serial FROM groups WHERE tag = ?1) AND in_group > 0
           AND id <> ?2 AND expires > ?3 AND namespace IN (SELECT namespaces.serial FROM namespaces)
         ORDER BY join_order DESC "
    };
}

impl Operation<'_> {
    /// Lists the live sessions of a group, each with its values of these keys.
    pub(crate) fn group_sessions(
        &self,
        group: &GroupKey<'_>,
        keys: &[&str],
    ) -> Result<Vec<SessionInfo>, Failure<StoreError>> {
        let now = self.now();
        // One statement sees one moment of the database. The keys are passed as a JSON array.
        let mut statement = self.sqlite.prepare_cached(concat!(
            "SELECT ",
            state_columns!(),
            ", id, key, session_values.value
             FROM groups
             JOIN sessions ON in_group = groups.serial AND in_group > 0
             LEFT JOIN session_values ON session = sessions.serial
               AND key IN (SELECT json_each.value FROM json_each(?3))
             WHERE tag = ?1 AND expires > ?2 AND namespace IN (SELECT serial FROM namespaces)
             ORDER BY sessions.serial",
        ))?;
        let keys = serde_json::Value::from(keys).to_string();
        let mut rows = statement.query(params![group.tag.as_bytes(), milliseconds(now), keys])?;
        let mut sessions: Vec<SessionInfo> = Vec::new();
        while let Some(row) = rows.next()? {
            let id = PublicId::from_bytes(row.get(AFTER_STATE)?);
            if sessions.last().is_none_or(|last| last.public_id != id) {
                sessions.push(SessionInfo::new(id, state(row)?.info(now), Values::new()));
            }
            if let (Some(key), Some(last)) = (row.get(AFTER_STATE + 1)?, sessions.last_mut()) {
                last.values.insert(key, row.get(AFTER_STATE + 2)?);
            }
        }
        Ok(sessions)
    }

    /// Returns the number of live sessions of a group.
    pub(crate) fn group_len(&self, group: &GroupKey<'_>) -> Result<usize, Failure<StoreError>> {
        Ok(len(self.sqlite, group, self.now())?)
    }

    /// Ends all sessions of a group but one. Returns those that were alive, and their records that remain.
    ///
    /// The row of the group is deleted, and the session that stays gets a new row for its group.
    pub(crate) fn clear_group(
        &self,
        group: &GroupKey<'_>,
        except: Option<PublicId>,
    ) -> Result<(Cleared, Option<Remains>), Failure<StoreError>> {
        let now = self.now();
        let transaction = self.begin()?;
        let except = match except {
            Some(id) => Some(present_key(&transaction, &group.session(id), Purpose::Use, now)?),
            None => None,
        };
        let before = len(&transaction, group, now)?;
        let mut ids = ids(&transaction, group, now)?;
        let old_serial: Option<i64> = transaction
            .prepare_cached("DELETE FROM groups WHERE tag = ?1 RETURNING serial")?
            .query_row([group.tag.as_bytes()], |row| row.get(0))
            .optional()?;
        // The library writes no serial below 1. In a session, 0 stands for no group.
        if let (Some(key), Some(old_serial)) = (except, old_serial.filter(|serial| *serial > 0)) {
            end_graces(&transaction, &key)?;
            let new_serial = serial(&transaction, &key)?;
            if change_group(&transaction, &key, old_serial, new_serial)? == 0 {
                transaction.prepare_cached("DELETE FROM groups WHERE serial = ?1")?.execute([new_serial])?;
            }
        }
        let after = len(&transaction, group, now)?;
        let stays = self::ids(&transaction, group, now)?;
        transaction.commit()?;
        ids.retain(|id| !stays.contains(id));
        let remains = old_serial.map(|serial| Remains::Group(serial, EndReason::LoggedOutElsewhere));
        Ok((Cleared { number: before.saturating_sub(after) as u64, ids }, remains))
    }

    /// Ends the sessions that joined first, until the group has no more live sessions than its limit. The session of
    /// this key, which has just joined, stays. Returns the sessions that have ended.
    ///
    /// If many sessions end, their records remain for now. The caller removes them after the commit, so that other
    /// calls do not wait for it.
    pub(crate) fn limit_group(
        &self,
        sqlite: &Connection,
        key: &RecordKey<'_>,
        join: Option<Join<'_>>,
        now: SystemTime,
    ) -> Result<(Vec<PublicId>, Option<Remains>), Failure<Refusal>> {
        let Some(limit) = join.and_then(|join| join.limit) else { return Ok((Vec::new(), None)) };
        let others = i64::try_from(limit.sessions).unwrap_or(i64::MAX).saturating_sub(1);
        let mut statement = sqlite.prepare_cached(concat!(others_in_order!(), "LIMIT -1 OFFSET ?4"))?;
        let surplus: Vec<(i64, Option<PublicId>)> = statement
            .query_map(params![tag(key), key.id.as_bytes(), milliseconds(now), others], |row| {
                // The id may be damaged.
                Ok((row.get(0)?, row.get(1).ok().map(PublicId::from_bytes)))
            })?
            .collect::<Result<_, _>>()?;
        if let (Some(limit), false) = (limit.refuses_at(), surplus.is_empty()) {
            return Err(Refusal::TooManySessions { limit }.into());
        }
        let ended = surplus.iter().filter_map(|(_, id)| *id).collect();
        if surplus.len() as i64 > BATCH {
            let old_serial = renew_group(sqlite, key, others, now)?;
            return Ok((ended, Some(Remains::Group(old_serial, EndReason::OverLimit))));
        }
        for (serial, _) in surplus {
            self.leave_trace(sqlite, serial, EndReason::OverLimit, now)?;
            sqlite.prepare_cached("DELETE FROM sessions WHERE serial = ?1")?.execute([serial])?;
        }
        Ok((ended, None))
    }
}

/// Returns the live sessions of a group, except those with a damaged id.
fn ids(sqlite: &Connection, group: &GroupKey<'_>, now: SystemTime) -> rusqlite::Result<Vec<PublicId>> {
    sqlite
        .prepare_cached(
            "SELECT id FROM groups JOIN sessions ON in_group = groups.serial AND in_group > 0
             WHERE tag = ?1 AND expires > ?2 AND length(id) = 18 AND namespace IN (SELECT serial FROM namespaces)",
        )?
        .query_map(params![group.tag.as_bytes(), milliseconds(now)], |row| Ok(PublicId::from_bytes(row.get(0)?)))?
        .collect()
}

/// Returns the serial of the group of this key. If there is no such group, creates it. Returns 0 for a key without a
/// group.
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

/// Returns the place of the session that joins this group now: the time in microseconds, or one more than the last
/// place. The time alone cannot show the order of joining: two joins may have the same time, and the clock may be put
/// back.
pub(crate) fn next_in_order(sqlite: &Connection, serial: i64, now: SystemTime) -> rusqlite::Result<i64> {
    if serial == 0 {
        return Ok(0);
    }
    // The library never writes so large a number. `min` keeps the sum in range if another program did.
    sqlite
        .prepare_cached(
            "SELECT max(?2 * 1000, min(ifnull(max(join_order), 0), 1 << 62) + 1)
             FROM sessions WHERE in_group = ?1 AND in_group > 0",
        )?
        .query_row([serial, milliseconds(now)], |row| row.get(0))
}

fn len(sqlite: &Connection, group: &GroupKey<'_>, now: SystemTime) -> rusqlite::Result<usize> {
    sqlite
        .prepare_cached(
            "SELECT count(*) FROM groups JOIN sessions ON in_group = groups.serial AND in_group > 0
             WHERE tag = ?1 AND expires > ?2 AND namespace IN (SELECT serial FROM namespaces)",
        )?
        .query_row(params![group.tag.as_bytes(), milliseconds(now)], |row| Ok(unsigned(row, 0)? as usize))
}

/// Ends all sessions of a group but this one and the latest `others`: the sessions that stay get a new row for their
/// group. Returns the old serial, which the records of the ended sessions still have.
fn renew_group(sqlite: &Connection, key: &RecordKey<'_>, others: i64, now: SystemTime) -> rusqlite::Result<i64> {
    let mut statement = sqlite.prepare_cached(concat!(others_in_order!(), "LIMIT ?4"))?;
    let stay: Vec<i64> = statement
        .query_map(params![tag(key), key.id.as_bytes(), milliseconds(now), others], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let old_serial: i64 = sqlite
        .prepare_cached("DELETE FROM groups WHERE tag = ?1 RETURNING serial")?
        .query_row([tag(key)], |row| row.get(0))?;
    let new_serial = serial(sqlite, key)?;
    change_group(sqlite, key, old_serial, new_serial)?;
    let mut stays = sqlite.prepare_cached("UPDATE sessions SET in_group = ?2 WHERE serial = ?1")?;
    stay.iter().try_for_each(|serial| stays.execute([*serial, new_serial]).map(drop))?;
    Ok(old_serial)
}

/// Returns a session the new serial of its group.
fn change_group(sqlite: &Connection, key: &RecordKey<'_>, old_serial: i64, new_serial: i64) -> rusqlite::Result<usize> {
    sqlite.prepare_cached("UPDATE sessions SET in_group = ?3 WHERE id = ?1 AND in_group = ?2")?.execute(params![
        key.id.as_bytes(),
        old_serial,
        new_serial
    ])
}
