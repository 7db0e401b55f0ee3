//! The schema of the database, and the check that a file has our schema.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::sqlite::failure::store_error;
use crate::store::sqlite::files::FileIds;
use crate::store::sqlite::foreign_log::write_birth;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::Path;

/// The mark of our files in SQLite's header: "mps" and a byte.
const APPLICATION_ID: i64 = 0x6d_70_73_01;
const SCHEMA: &str = include_str!("schema.sql");
const SCHEMA_VERSION: i64 = 3;

/// Returns whether the file has our schema. Returns `false` if the file is empty, and an error if it holds anything
/// else.
pub(crate) fn has_schema(sqlite: &Connection, path: &Path) -> Result<bool, StoreError> {
    let about = "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) \
                 FROM pragma_application_id, pragma_user_version";
    let about: (i64, i64, i64) = sqlite
        .query_row(about, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .map_err(|error| store_error(error, path))?;
    let refusal = match about {
        (APPLICATION_ID, SCHEMA_VERSION, _) => return Ok(true),
        (0, 0, 0) => return Ok(false),
        (APPLICATION_ID, version, _) => format!(
            "its schema is version {version}, and this program knows version {SCHEMA_VERSION} only; \
             use the newer version of multi-process-session that wrote it, or another file"
        ),
        _ => "it holds something else; give sessions a file of their own".to_owned(),
    };
    Err(StoreError::new(StoreErrorKind::Backend, format!("{}: {refusal}", path.display())))
}

/// Creates our schema in an empty file.
pub(crate) fn create_schema(sqlite: &Connection, path: &Path, opening: &FileIds) -> Result<(), StoreError> {
    let fault = |error| store_error(error, path);
    let transaction = Transaction::new_unchecked(sqlite, TransactionBehavior::Immediate).map_err(fault)?;
    // Another process may have been faster.
    if !has_schema(&transaction, path)? {
        transaction.execute_batch(SCHEMA).map_err(fault)?;
        write_birth(&transaction, opening).map_err(fault)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(fault)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(fault)?;
    }
    transaction.commit().map_err(fault)
}
