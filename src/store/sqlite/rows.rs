//! The rows of the table `sessions`. A row is a record without its values.

use crate::store::key::RecordKey;
use crate::store::record::{Size, Values};
use crate::store::sqlite::columns::{milliseconds, tag, time, unsigned};
use crate::store::state::RecordState;
use rusqlite::{Connection, OptionalExtension, Params, Row, ffi, params};
use std::time::{Duration, SystemTime};

/// The columns that [`state`] reads, as SQL.
macro_rules! state_columns {
    () => {
        "version, created, joined, began, refreshed, ends, idle, own_idle, persistent, expires, nonces"
    };
}
pub(crate) use state_columns;

/// The number of the column that comes after the [`state_columns`].
pub(crate) const AFTER_STATE: usize = 11;

/// The SQL for the serial of the group with the tag `?2`. It is 0 for the empty tag, and NULL if there is no such
/// group.
macro_rules! in_group {
    () => {
        "iif(?2 = x'', 0, (SELECT groups.serial FROM groups WHERE groups.tag = ?2))"
    };
}

/// The SQL condition for a live record. Its parameters are those of [`live`].
macro_rules! is_live {
    () => {
        concat!(
            "id = ?1 AND in_group = ",
            in_group!(),
            " AND expires > ?3 AND namespace = (SELECT namespaces.serial FROM namespaces WHERE namespaces.name = ?4)"
        )
    };
}

/// A live record without its values.
pub(crate) struct LiveRow {
    pub(crate) serial: i64,
    pub(crate) size: Size,
    pub(crate) state: RecordState,
}

/// A live record with its values.
pub(crate) struct LiveRecord {
    pub(crate) state: RecordState,
    pub(crate) group_name: Option<String>,
    pub(crate) values: Values,
}

/// A row to be inserted.
pub(crate) struct NewRow<'a> {
    pub(crate) key: &'a RecordKey<'a>,
    pub(crate) namespace: i64,
    pub(crate) in_group: i64,
    pub(crate) group_name: Option<&'a str>,
    pub(crate) join_order: i64,
    pub(crate) size: Size,
    pub(crate) state: &'a RecordState,
}

/// A new key for a row.
pub(crate) struct Move<'a> {
    pub(crate) new_key: &'a RecordKey<'a>,
    pub(crate) in_group: i64,
    /// `None` if the name of the group stays.
    pub(crate) group_name: Option<&'a str>,
    /// `None` if the place in the group stays.
    pub(crate) join_order: Option<i64>,
}

/// Finds a live record.
pub(crate) fn find(sqlite: &Connection, key: &RecordKey<'_>, now: SystemTime) -> rusqlite::Result<Option<LiveRow>> {
    sqlite
        .prepare_cached(concat!("SELECT ", state_columns!(), ", serial, keys, size FROM sessions WHERE ", is_live!()))?
        .query_row(live(key, now), |row| {
            let size = Size {
                keys: unsigned(row, AFTER_STATE + 1)? as usize,
                bytes: unsigned(row, AFTER_STATE + 2)? as usize,
            };
            Ok(LiveRow { serial: row.get(AFTER_STATE)?, size, state: state(row)? })
        })
        .optional()
}

/// Reads a live record with its values. It uses one statement, which sees one moment of the database.
pub(crate) fn read(sqlite: &Connection, key: &RecordKey<'_>, now: SystemTime) -> rusqlite::Result<Option<LiveRecord>> {
    let mut statement = sqlite.prepare_cached(concat!(
        "SELECT ",
        state_columns!(),
        ", group_name, key, value FROM sessions LEFT JOIN session_values ON session = serial WHERE ",
        is_live!(),
    ))?;
    let mut rows = statement.query(live(key, now))?;
    let mut found: Option<LiveRecord> = None;
    while let Some(row) = rows.next()? {
        let contents = match &mut found {
            Some(contents) => contents,
            None => found.insert(LiveRecord {
                state: state(row)?,
                group_name: row.get(AFTER_STATE)?,
                values: Values::new(),
            }),
        };
        if let Some(key) = row.get(AFTER_STATE + 1)? {
            contents.values.insert(key, row.get(AFTER_STATE + 2)?);
        }
    }
    Ok(found)
}

/// Inserts a row, and gives its serial.
pub(crate) fn insert(sqlite: &Connection, row: &NewRow<'_>) -> rusqlite::Result<i64> {
    let state = row.state;
    sqlite
        .prepare_cached(
            "INSERT INTO sessions
             (id, namespace, in_group, group_name, version, created, joined, join_order, began, refreshed, ends,
              idle, own_idle, persistent, expires, keys, size, nonces)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?
        .execute(params![
            row.key.id.as_bytes(),
            row.namespace,
            row.in_group,
            row.group_name,
            state.version as i64,
            milliseconds(state.created_at),
            state.joined_at.map(milliseconds),
            row.join_order,
            milliseconds(state.began_at),
            state.refreshed_at.map(milliseconds),
            state.ends_at.map(milliseconds),
            state.idle_timeout.as_millis() as i64,
            state.has_own_idle_timeout,
            state.persistent,
            milliseconds(state.expires_at),
            row.size.keys as i64,
            row.size.bytes as i64,
            state.nonces,
        ])?;
    Ok(sqlite.last_insert_rowid())
}

/// Writes the columns that every change of a record changes: the version, the size and the nonces.
pub(crate) fn write_change(sqlite: &Connection, found: &LiveRow, size: Size) -> rusqlite::Result<usize> {
    let LiveRow { serial, state, .. } = found;
    sqlite
        .prepare_cached("UPDATE sessions SET version = ?2, keys = ?3, size = ?4, nonces = ?5 WHERE serial = ?1")?
        .execute(params![serial, state.version as i64, size.keys as i64, size.bytes as i64, state.nonces])
}

/// Writes the columns for the life of a record. Most changes do not touch them, and so need no work in the index of
/// expiries.
pub(crate) fn write_life(sqlite: &Connection, found: &LiveRow) -> rusqlite::Result<usize> {
    let LiveRow { serial, state, .. } = found;
    sqlite
        .prepare_cached(
            "UPDATE sessions
             SET began = ?2, ends = ?3, idle = ?4, own_idle = ?5, expires = ?6, refreshed = ?7, persistent = ?8
             WHERE serial = ?1",
        )?
        .execute(params![
            serial,
            milliseconds(state.began_at),
            state.ends_at.map(milliseconds),
            state.idle_timeout.as_millis() as i64,
            state.has_own_idle_timeout,
            milliseconds(state.expires_at),
            state.refreshed_at.map(milliseconds),
            state.persistent,
        ])
}

/// Writes the new key of a record.
pub(crate) fn write_key(sqlite: &Connection, found: &LiveRow, to: &Move<'_>) -> rusqlite::Result<usize> {
    sqlite
        .prepare_cached(
            "UPDATE sessions
             SET id = ?2, in_group = ?3, joined = ?4, group_name = iif(?3 = 0, NULL, ifnull(?5, group_name)),
                 join_order = ifnull(?6, join_order)
             WHERE serial = ?1",
        )?
        .execute(params![
            found.serial,
            to.new_key.id.as_bytes(),
            to.in_group,
            found.state.joined_at.map(milliseconds),
            to.group_name,
            to.join_order,
        ])
}

/// Returns the serial of a record, even if it is damaged or expired.
pub(crate) fn serial(sqlite: &Connection, key: &RecordKey<'_>) -> rusqlite::Result<Option<i64>> {
    sqlite
        .prepare_cached(concat!("SELECT serial FROM sessions WHERE id = ?1 AND in_group = ", in_group!()))?
        .query_row((key.id.as_bytes(), tag(key)), |row| row.get(0))
        .optional()
}

/// Removes a record, even if it is damaged. Returns whether the session was alive. Returns `None` if there was no
/// record.
pub(crate) fn remove(sqlite: &Connection, key: &RecordKey<'_>, now: SystemTime) -> rusqlite::Result<Option<bool>> {
    let was_alive = sqlite
        .prepare_cached(concat!(
            "DELETE FROM sessions WHERE id = ?1 AND in_group = ",
            in_group!(),
            " RETURNING expires > ?3 AND namespace IN (SELECT namespaces.serial FROM namespaces)",
        ))?
        .query_row((key.id.as_bytes(), tag(key), milliseconds(now)), |row| row.get(0))
        .optional()?;
    match was_alive {
        // A damaged index leads to another row than the record's.
        Some(_) if serial(sqlite, key)?.is_some() => {
            Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), None))
        }
        was_alive => Ok(was_alive),
    }
}

/// Reads a state from the first columns of a row, which are [`state_columns`].
pub(crate) fn state(row: &Row<'_>) -> rusqlite::Result<RecordState> {
    let optional_time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(time));
    Ok(RecordState {
        version: unsigned(row, 0)?,
        created_at: time(row.get(1)?),
        joined_at: optional_time(2)?,
        began_at: time(row.get(3)?),
        refreshed_at: optional_time(4)?,
        ends_at: optional_time(5)?,
        idle_timeout: Duration::from_millis(unsigned(row, 6)?),
        has_own_idle_timeout: row.get(7)?,
        persistent: row.get(8)?,
        expires_at: time(row.get(9)?),
        nonces: row.get(10)?,
    })
}

/// The parameters of a statement that looks for a live record.
fn live<'a>(key: &'a RecordKey<'_>, now: SystemTime) -> impl Params + 'a {
    (key.id.as_bytes(), tag(key), milliseconds(now), key.namespace)
}
