//! A SQLite file of the test's own.

use multi_process_session::SessionManager;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The file, in a folder of its own; gone when dropped. It is made by the first call of a manager.
pub struct Sqlite {
    folder: TempDir,
}

impl Sqlite {
    pub fn new() -> Sqlite {
        Sqlite { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path().display())
    }

    /// Makes another manager of this file.
    pub fn manager(&self) -> SessionManager {
        super::manager(&self.url())
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self) -> PathBuf {
        self.companion("")
    }

    /// The path of the companion whose name ends like this: `-wal`, `-shm` or `-reserve`.
    pub fn companion(&self, ending: &str) -> PathBuf {
        self.folder.path().join(format!("sessions.db{ending}"))
    }

    /// Deletes the log and its index, as somebody may do who tidies up.
    pub fn delete_log(&self) {
        for ending in ["-wal", "-shm"] {
            std::fs::remove_file(self.companion(ending)).expect("it is there");
        }
    }

    /// Opens a connection past the library, to look at what is really there.
    pub fn connect(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).expect("it opens")
    }

    pub fn count(&self, table: &str) -> usize {
        let count = |row: &rusqlite::Row<'_>| row.get::<_, u32>(0);
        let count = self.connect().query_row(&format!("SELECT count(*) FROM {table}"), [], count);
        count.expect("a table") as usize
    }

    #[track_caller]
    pub fn assert_sound(&self) {
        assert_eq!(problems(&self.connect()).expect("the tables are there"), [""; 0]);
    }
}

/// Says what is wrong with a file: damaged pages, and rows that do not fit together.
pub fn problems(connection: &rusqlite::Connection) -> rusqlite::Result<Vec<String>> {
    let mut problems = Vec::new();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if check != "ok" {
        problems.push(check);
    }
    for (what, sql) in [
        ("groups without sessions", "SELECT count(*) FROM groups WHERE serial NOT IN (SELECT in_group FROM sessions)"),
        ("names without a group", "SELECT count(*) FROM sessions WHERE (in_group = 0) <> (group_name IS NULL)"),
        (
            "values of no session",
            "SELECT count(*) FROM session_values WHERE session NOT IN (SELECT serial FROM sessions)",
        ),
    ] {
        let count: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        if count > 0 {
            problems.push(format!("{count} {what}"));
        }
    }
    Ok(problems)
}
