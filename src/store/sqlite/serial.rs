//! The serials of groups and namespaces. No serial is given twice.

/// The SQL for the next serial of a table. It is NULL, and SQLite replaces it by the next number. If this number would
/// be too large, which happens only if another program wrote into the table, the serial is random.
macro_rules! next_serial {
    ($table:literal) => {
        concat!(
            "iif(max(ifnull((SELECT max(seq) FROM sqlite_sequence WHERE name = '",
            $table,
            "'), 0), ifnull((SELECT max(serial) FROM ",
            $table,
            "), 0)) < 1 << 62, NULL, (random() & ((1 << 62) - 1)) + 1)"
        )
    };
}
pub(crate) use next_serial;
