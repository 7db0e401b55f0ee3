//! Groups: the sessions of one tag.

use super::{GroupKey, RecordKey, milliseconds, standing, unsigned};
use crate::group::SessionInfo;
use crate::store::Values;
use crate::token::PublicId;
use rusqlite::{Connection, params};
use std::time::SystemTime;

pub(super) fn sessions(
    sqlite: &Connection,
    group: &GroupKey<'_>,
    keys: &[&str],
    now: SystemTime,
) -> rusqlite::Result<Vec<SessionInfo>> {
    // One statement, so that what it reads is of one moment. The keys come as a JSON array.
    let mut statement = sqlite.prepare_cached(
        "SELECT version, created, joined, refreshed, ends, idle, expires, nonces, id, key, json
         FROM sessions
         LEFT JOIN session_values ON session = serial AND key IN (SELECT value FROM json_each(?3))
         WHERE tag = ?1 AND tag <> x'' AND expires > ?2
         ORDER BY serial",
    )?;
    let keys = serde_json::Value::from(keys).to_string();
    let mut rows = statement.query(params![group.tag.as_bytes(), milliseconds(now), keys])?;
    let mut sessions: Vec<SessionInfo> = Vec::new();
    while let Some(row) = rows.next()? {
        let id = PublicId::from_bytes(row.get(8)?);
        if sessions.last().is_none_or(|last| last.public_id != id) {
            sessions.push(SessionInfo::new(id, standing(row)?.info(now), Values::new()));
        }
        if let (Some(key), Some(last)) = (row.get(9)?, sessions.last_mut()) {
            last.values.insert(key, row.get(10)?);
        }
    }
    Ok(sessions)
}

pub(super) fn len(sqlite: &Connection, group: &GroupKey<'_>, now: SystemTime) -> rusqlite::Result<usize> {
    sqlite
        .prepare_cached("SELECT count(*) FROM sessions WHERE tag = ?1 AND tag <> x'' AND expires > ?2")?
        .query_row(params![group.tag.as_bytes(), milliseconds(now)], |row| Ok(unsigned(row, 0)? as usize))
}

/// Ends all sessions of a group but one, and says how many of them were alive.
pub(super) fn clear(
    sqlite: &mut Connection,
    group: &GroupKey<'_>,
    except: Option<PublicId>,
    now: SystemTime,
) -> rusqlite::Result<u64> {
    let mut statement = sqlite
        .prepare_cached("DELETE FROM sessions WHERE tag = ?1 AND tag <> x'' AND id IS NOT ?2 RETURNING expires")?;
    let except = except.as_ref().map(PublicId::as_bytes);
    let mut rows = statement.query(params![group.tag.as_bytes(), except])?;
    let mut ended = 0;
    while let Some(row) = rows.next()? {
        ended += u64::from(row.get::<_, i64>(0)? > milliseconds(now));
    }
    Ok(ended)
}

/// Ends those that joined first, until the group has no more live sessions than this. The one of this key stays.
pub(super) fn limit(
    sqlite: &Connection,
    key: &RecordKey<'_>,
    max_sessions: usize,
    now: SystemTime,
) -> rusqlite::Result<usize> {
    sqlite
        .prepare_cached(
            "DELETE FROM sessions WHERE serial IN (
               SELECT serial FROM sessions WHERE tag = ?1 AND tag <> x'' AND expires > ?3
               ORDER BY id = ?2 DESC, joined DESC, serial DESC LIMIT -1 OFFSET ?4)",
        )?
        .execute(params![
            super::tag(key),
            key.id.as_bytes(),
            milliseconds(now),
            i64::try_from(max_sessions).unwrap_or(i64::MAX)
        ])
}
