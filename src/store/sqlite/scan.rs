//! Looks at the sessions of a namespace, a few at a time, and finds a session by its public id. Nothing here writes.

use crate::error::{StoreError, StoreErrorKind};
use crate::id::{GroupTag, PublicId};
use crate::store::maintenance::{Located, Page, Position, Scan};
use crate::store::record::{Size, Values};
use crate::store::sqlite::columns::{milliseconds, unsigned};
use crate::store::sqlite::failure::Failure;
use crate::store::sqlite::operation::Operation;
use crate::store::sqlite::rows::{AFTER_STATE, state, state_columns};
use crate::store::stored_record::StoredRecord;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// How many rows one page looks at. A page that read more would keep the log from beginning anew for longer.
const PAGE: i64 = 200;

/// How many bytes of values one page reads. Only the last session of a page goes beyond it.
const PAGE_BYTES: usize = 4_000_000;

/// The SQL condition for a live session of the namespace `?2` at the time `?3`. For a namespace that the
/// file does not know, `IS` makes it false, and not NULL.
macro_rules! is_live {
    () => {
        "namespace IS (SELECT namespaces.serial FROM namespaces WHERE name = ?2) AND expires > ?3
         AND (in_group = 0 OR in_group IN (SELECT groups.serial FROM groups))"
    };
}

/// The SQL for the tag of a session's group. It is NULL if the session is in no group.
macro_rules! tag {
    () => {
        "(SELECT tag FROM groups WHERE groups.serial = in_group AND in_group > 0)"
    };
}

/// The columns that [`session`] reads.
macro_rules! session_columns {
    () => {
        concat!(state_columns!(), ", serial, id, group_name, join_order, ", tag!(), ", copied")
    };
}

impl Operation<'_> {
    /// Returns the live sessions among the rows that come next. The rows come in the order of their serials, which a
    /// session keeps for all of its life.
    pub(crate) fn scan(&self, scan: &Scan<'_>) -> Result<Page, Failure<StoreError>> {
        let from = match scan.from {
            Some(Position(serial)) => serial.parse().map_err(|_| Failure::Refused(not_ours()))?,
            None => i64::MIN,
        };
        let now = milliseconds(self.now());
        // The values are read at the same moment of the database as the rows.
        let transaction = self.sqlite.unchecked_transaction()?;
        let mut statement = transaction.prepare_cached(concat!(
            "SELECT ",
            session_columns!(),
            ", ",
            is_live!(),
            " FROM sessions WHERE serial > ?1 ORDER BY serial LIMIT ?4",
        ))?;
        let mut rows = statement.query(params![from, scan.namespace, now, PAGE])?;
        let (mut sessions, mut looked_at, mut last, mut bytes) = (Vec::new(), 0, from, 0);
        while bytes < PAGE_BYTES
            && let Some(row) = rows.next()?
        {
            (looked_at, last) = (looked_at + 1, row.get(AFTER_STATE)?);
            if row.get(AFTER_STATE + 6)?
                && let Ok((at, mut record)) = session(row)
            {
                if scan.with_values {
                    // A damaged value damages the record.
                    let Some(values) = values(&transaction, last)? else { continue };
                    bytes += Size::of(&values).bytes;
                    record.values = values;
                }
                sessions.push((at, record));
            }
        }
        let is_full = looked_at == PAGE || bytes >= PAGE_BYTES;
        Ok(Page { sessions, next: is_full.then(|| Position(last.to_string())) })
    }

    /// Reads the live sessions at these places.
    pub(crate) fn read(
        &self,
        namespace: &str,
        places: &[Located],
        with_values: bool,
    ) -> Result<Vec<(Located, StoredRecord)>, Failure<StoreError>> {
        let now = milliseconds(self.now());
        let transaction = self.sqlite.unchecked_transaction()?;
        let sql = concat!("SELECT ", session_columns!(), " FROM sessions WHERE id = ?1 AND ", is_live!());
        let mut statement = transaction.prepare_cached(sql)?;
        let mut sessions = Vec::new();
        for place in places {
            let mut rows = statement.query(params![place.id.as_bytes(), namespace, now])?;
            while let Some(row) = rows.next()? {
                let Ok((at, mut record)) = session(row) else { continue };
                if at != *place {
                    continue;
                }
                if with_values {
                    let Some(values) = values(&transaction, row.get(AFTER_STATE)?)? else { continue };
                    record.values = values;
                }
                sessions.push((at, record));
            }
        }
        Ok(sessions)
    }

    /// Finds a live session of a namespace by its public id.
    pub(crate) fn find(&self, namespace: &str, id: PublicId) -> Result<Option<Located>, Failure<StoreError>> {
        let tag: Option<Option<[u8; 18]>> = self
            .sqlite
            .prepare_cached(concat!("SELECT ", tag!(), " FROM sessions WHERE id = ?1 AND ", is_live!()))?
            .query_row(params![id.as_bytes(), namespace, milliseconds(self.now())], |row| row.get(0))
            .optional()?;
        Ok(tag.map(|tag| Located { id, tag: tag.map(GroupTag::from_bytes) }))
    }
}

/// Reads a row, still without values. An error means that the row is damaged.
fn session(row: &Row<'_>) -> rusqlite::Result<(Located, StoredRecord)> {
    let tag: Option<[u8; 18]> = row.get(AFTER_STATE + 4)?;
    let at = Located { id: PublicId::from_bytes(row.get(AFTER_STATE + 1)?), tag: tag.map(GroupTag::from_bytes) };
    let (group_name, join_order) = (row.get(AFTER_STATE + 2)?, unsigned(row, AFTER_STATE + 3)?);
    let copied_nonce = row.get(AFTER_STATE + 5)?;
    Ok((at, StoredRecord { group_name, join_order, values: Values::new(), state: state(row)?, copied_nonce }))
}

/// Reads the values of a session. Returns `None` if one of them is damaged.
fn values(sqlite: &Connection, serial: i64) -> rusqlite::Result<Option<Values>> {
    let mut statement = sqlite.prepare_cached("SELECT key, value FROM session_values WHERE session = ?1")?;
    let mut rows = statement.query([serial])?;
    let mut values = Values::new();
    while let Some(row) = rows.next()? {
        let (Ok(key), Ok(json)) = (row.get(0), row.get(1)) else { return Ok(None) };
        values.insert(key, json);
    }
    Ok(Some(values))
}

fn not_ours() -> StoreError {
    StoreError::new(StoreErrorKind::Backend, "the position of the scan is not of this store")
}
