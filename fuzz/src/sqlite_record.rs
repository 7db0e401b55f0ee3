//! Damaged rows in a SQLite file. A call may fail only with an error, and a logout ends the session.

use crate::calls::{CALLS, clear_group, log_out};
use crate::input::Input;
use crate::sqlite_template::Template;
use crate::{PATIENT, SHORT};
use rusqlite::types::Value;
use std::sync::OnceLock;

struct World {
    template: Template,
    /// Each table, and one of its columns.
    columns: Vec<(String, String)>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let template = Template::new();
        let connection = rusqlite::Connection::open(template.path()).expect("the file opens");
        let sql = "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c
                   WHERE m.type = 'table' ORDER BY 1, 2";
        let mut statement = connection.prepare(sql).expect("SQLite has these");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("they can be read");
        let columns = rows.collect::<Result<_, _>>().expect("they are texts");
        World { template, columns }
    })
}

pub fn run(data: &[u8]) {
    let World { template, columns } = world();
    let mut input = Input(data);
    let (call, cookie, logs_out) = (input.pick(&CALLS), input.pick(&template.cookies), input.bit());
    template.write(&template.whole, &[]);
    let connection = rusqlite::Connection::open(template.path()).expect("the file opens");
    while !input.is_used_up() {
        // What SQLite refuses changes nothing.
        let _ = damage(&mut input, columns, &connection);
    }
    drop(connection);
    let manager = template.manager(SHORT);
    let _ = call(&manager, cookie);
    if logs_out {
        drop(manager);
        log_out(&template.manager(PATIENT), cookie).expect("a logout works on damaged records");
    } else {
        let _ = clear_group(&manager);
    }
}

/// Writes something into one column: of one row, or of all.
fn damage(
    input: &mut Input<'_>,
    columns: &[(String, String)],
    connection: &rusqlite::Connection,
) -> rusqlite::Result<usize> {
    let ((table, column), row) = (input.pick(columns), input.below(16));
    let rows = match row {
        15 => "true".to_owned(),
        row => format!("{column} = (SELECT {column} FROM {table} NOT INDEXED LIMIT 1 OFFSET {row})"),
    };
    let (from, other) = input.pick(columns);
    let copy = format!("(SELECT {other} FROM {from} NOT INDEXED LIMIT 1 OFFSET {})", input.below(15));
    let (new, value) = match input.below(8) {
        0..=2 => ("?1", Value::Integer(input.integer())),
        3 => ("?1", Value::Blob(input.bytes(18).to_vec())),
        4 => ("?1", Value::Text(String::from_utf8_lossy(input.bytes(8)).into_owned())),
        5 => ("?1", Value::Null),
        // From another row: an id that leads to itself, a session that is there twice.
        _ => (&copy[..], Value::Null),
    };
    connection.execute(&format!("UPDATE OR REPLACE {table} SET {column} = ifnull({new}, ?1) WHERE {rows}"), [value])
}

pub fn seeds() -> Vec<Vec<u8>> {
    (0..CALLS.len() as u8)
        .flat_map(|call| [vec![call, 0, 0, 0, 0, 0, 0, 6], vec![call, 5, 1, 3, 15, 3, 3, 0, 9]])
        .collect()
}
