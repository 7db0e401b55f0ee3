//! The serials of groups and namespaces. No serial is given twice.

/// The next serial of a table, as SQL. It is NULL, for which SQLite gives the next number. If that number would be out
/// of range, somebody else wrote into the table, and the serial is random.
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
