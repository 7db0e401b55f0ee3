//! Copies sessions within their store: the fast way to a million of them.

use super::place::Place;
use super::redis::{Redis, record_key};
use super::sqlite::Sqlite;
use multi_process_session::SessionManager;

/// Makes copies of a session that is not in a group. No cookie leads to them.
pub struct Copier<'a> {
    place: &'a Place,
    manager: &'a SessionManager,
    copies: usize,
}

impl<'a> Copier<'a> {
    pub fn new(place: &'a Place, manager: &'a SessionManager) -> Copier<'a> {
        Copier { place, manager, copies: 0 }
    }

    /// Copies the session that was created last. `header` is its `Cookie` header.
    pub fn copy_last(&mut self, header: &str, count: usize) {
        match self.place {
            Place::Redis(redis) => copy_in_redis(redis, &record_key(self.manager, header), self.copies, count),
            Place::Sqlite(sqlite) => copy_last_row(sqlite, count),
            // The keys of copies are in other slots, and COPY works within one slot only.
            Place::Cluster(_) => copy_by_library(self.manager, header, count),
        }
        self.copies += count;
    }
}

/// Makes sessions with the same values.
fn copy_by_library(manager: &SessionManager, header: &str, count: usize) {
    let original = manager.load(header).expect("the store works");
    for _ in 0..count {
        let mut copy = manager.load(None).expect("a new session");
        for key in original.keys() {
            let value = original.get::<serde_json::Value>(key).expect("JSON").expect("the key is there");
            copy.set(key, &value).expect("JSON");
        }
        let _ = copy.save().expect("the store works");
    }
}

/// Copies a record to keys of the same form, with numbers in place of the public id.
fn copy_in_redis(redis: &Redis, key: &str, first: usize, count: usize) {
    let (namespace, id) = key.split_once(':').expect("a record has a namespace");
    let mut copies = redis::pipe();
    for number in first..first + count {
        copies.cmd("COPY").arg(key).arg(format!("{namespace}:{number:0length$}", length = id.len())).ignore();
    }
    copies.exec(&mut redis.connect()).expect("they are copied");
}

/// Copies the last row of `sessions`, and its values. The copies have random public ids.
fn copy_last_row(sqlite: &Sqlite, count: usize) {
    let mut connection = sqlite.connect();
    connection.pragma_update(None, "synchronous", "OFF").expect("a setting"); // Nobody needs the copies after a crash.
    let copy = connection.transaction().expect("nobody else writes");
    let last: i64 = copy.query_row("SELECT max(serial) FROM sessions", [], |row| row.get(0)).expect("there is one");
    let others: String = copy
        .query_row(
            "SELECT group_concat(name) FROM pragma_table_info('sessions') WHERE name NOT IN ('serial', 'id')",
            [],
            |row| row.get(0),
        )
        .expect("there are columns");
    let copies = format!(
        "WITH RECURSIVE copies (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM copies WHERE number < ?2)
         INSERT INTO sessions (id, {others})
         SELECT randomblob(length(id)), {others} FROM copies, sessions WHERE serial = ?1"
    );
    copy.execute(&copies, (last, count as i64)).expect("the rows are copied");
    let values = "INSERT INTO session_values (session, key, value)
                  SELECT copy.serial, key, value FROM sessions AS copy, session_values
                  WHERE copy.serial > ?1 AND session = ?1";
    copy.execute(values, [last]).expect("the values are copied");
    copy.commit().expect("they are kept");
}
