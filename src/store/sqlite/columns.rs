//! How columns hold times, numbers and tags.

use crate::store::key::RecordKey;
use rusqlite::Row;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time as a column holds it: milliseconds since 1970.
pub(crate) fn milliseconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

/// The time that a column holds.
pub(crate) fn time(milliseconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds.max(0) as u64)
}

/// Reads a number that the store never writes below zero, nor near the end of its range.
pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number)
        .ok()
        .filter(|number| *number < 1 << 60)
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// The tag of a key as a column holds it: empty if the session is not in a group.
pub(crate) fn tag<'a>(key: &'a RecordKey<'_>) -> &'a [u8] {
    key.tag.as_ref().map_or(&[], |tag| tag.as_bytes())
}
