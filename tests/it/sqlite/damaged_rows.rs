//! Rows of a SQLite file that somebody damaged: no call hangs or panics, a logout ends the session, and other sessions
//! are not affected.

use crate::support::sqlite::Sqlite;
use crate::support::{builder, cookie, failure, session_with};
use multi_process_session::{Error, Refresh, SessionManager, StoreErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const NUMBERS: [&str; 9] = [
    "0",
    "-1",
    "1",
    "9223372036854775807",
    "-9223372036854775808",
    "4611686018427387904",
    "1152921504606846975",
    "253402300800000",
    "NULL",
];
const BYTES: [&str; 6] = ["x''", "x'00'", "zeroblob(18)", "zeroblob(17)", "randomblob(18)", "zeroblob(100000)"];
const TEXTS: [&str; 6] = ["''", "'{'", "'1e999'", "char(0)", "CAST(x'22ff22' AS TEXT)", "printf('%.*c', 100000, 'x')"];

/// Damages every table and every column, in each way.
fn damages() -> Vec<String> {
    let columns: [(&str, &[&str], &[&str]); 7] = [
        (
            "sessions",
            &[
                "serial",
                "namespace",
                "in_group",
                "version",
                "created",
                "joined",
                "join_order",
                "began",
                "refreshed",
                "ends",
                "idle",
                "own_idle",
                "expires",
                "keys",
                "size",
            ],
            &["id", "nonces"],
        ),
        ("session_values", &["session"], &[]),
        ("namespaces", &["serial"], &[]),
        ("groups", &["serial"], &["tag"]),
        ("forwards", &["grace_ends", "expires"], &["id", "tag", "new_id"]),
        ("ended", &["expires"], &["id", "nonce"]),
        ("sqlite_sequence", &["seq"], &[]),
    ];
    let mut damages = Vec::new();
    for (table, numbers, bytes) in columns {
        damages.push(format!("DELETE FROM {table}"));
        for column in numbers {
            damages.extend(NUMBERS.map(|number| format!("UPDATE OR REPLACE {table} SET {column} = {number}")));
        }
        for column in bytes {
            damages.extend(BYTES.map(|bytes| format!("UPDATE OR REPLACE {table} SET {column} = {bytes}")));
        }
    }
    for column in ["key", "value"] {
        damages.extend(TEXTS.map(|text| format!("UPDATE OR REPLACE session_values SET {column} = {text}")));
    }
    damages.extend(TEXTS.map(|text| format!("UPDATE sessions SET group_name = {text}")));
    damages.extend(TEXTS.map(|text| format!("UPDATE OR REPLACE namespaces SET name = {text}")));
    // Ids that lead to themselves, and ids that lead to each other.
    damages.push("UPDATE forwards SET new_id = id".to_owned());
    damages
        .push("INSERT OR REPLACE INTO forwards SELECT new_id, tag, id, grace_ends, expires FROM forwards".to_owned());
    damages
}

/// A manager and its sessions: two of one user and one of nobody. Two of them also have an old id in its grace.
struct Kept {
    sqlite: Sqlite,
    manager: SessionManager,
    sessions: Vec<String>,
}

fn keep() -> Kept {
    let sqlite = Sqlite::new();
    let url = format!("sqlite://{}", sqlite.path().display());
    let manager = builder(&url).refresh(Refresh::EveryLoad).max_sessions_per_group(3).build().unwrap();
    let make = |user: Option<&str>| {
        let mut session = manager.load(None).unwrap();
        session.set("user", &user).unwrap();
        session.increment("count", 1).unwrap();
        user.into_iter().for_each(|user| session.set_group_name(user));
        cookie(&session.save().unwrap().unwrap())
    };
    let mut sessions = vec![make(Some("ada")), make(Some("ada")), make(None)];
    for n in [1, 2] {
        let mut session = manager.load(&sessions[n]).unwrap();
        session.regenerate_with_grace(Duration::from_secs(300));
        sessions.push(cookie(&session.save().unwrap().unwrap()));
    }
    Kept { sqlite, manager, sessions }
}

/// Makes every call on every session.
fn use_it(manager: &SessionManager, sessions: &[String]) -> Result<(), Error> {
    let each = |call: &dyn Fn(&str) -> Result<(), Error>| -> Result<(), Error> {
        sessions.iter().try_for_each(|header| expected(call(header)))
    };
    each(&|header| {
        let session = manager.load(header)?;
        let _ = (session.keys(), session.expires_at(), session.created_at(), format!("{session:?}"));
        Ok(())
    })?;
    each(&|header| {
        let mut session = manager.load(header)?;
        session.increment("count", 1)?;
        session.set("x", &1)?;
        session.save().map(drop)
    })?;
    each(&|header| {
        let mut session = manager.load(header)?;
        session.set_idle_timeout(Duration::from_secs(1000));
        session.save().map(drop)
    })?;
    expected(manager.group("ada").sessions_with(&["user"]).map(drop))?;
    expected(manager.group("ada").len().map(drop))?;
    each(&|header| {
        let session = manager.load(header)?;
        manager.group("bob").clear_except(&session).map(drop)
    })?;
    each(&|header| {
        let mut session = manager.load(header)?;
        session.regenerate_with_grace(Duration::from_secs(9));
        session.save().map(drop)
    })?;
    log_in_and_out(manager)?;

    // A session without a group stays, whatever stands under the number that means no group.
    expected(manager.load(&sessions[2]).and_then(|session| manager.group("ada").clear_except(&session)).map(drop))?;
    expected(manager.group("ada").clear().map(drop))?;
    assert_eq!(manager.group("ada").len()?, 0);
    for header in sessions {
        let _ = manager.destroy(&**header)?;
        assert!(manager.load(&**header)?.is_new(), "a logout ends what is there");
    }
    manager.check_writes()?;
    manager.destroy_every_session()?;
    log_in_and_out(manager)
}

/// Sees that another user is not affected.
fn log_in_and_out(manager: &SessionManager) -> Result<(), Error> {
    let mut session = manager.load(None)?;
    session.set("user", &"grace")?;
    session.set_group_name("grace");
    let other = cookie(&session.save()?.expect("a new session has a cookie"));
    assert_eq!(manager.load(&other)?.get::<String>("user")?.as_deref(), Some("grace"));
    assert_eq!(manager.group("grace").clear()?, 1);
    assert!(manager.load(&other)?.is_new());
    Ok(())
}

/// Lets the answers pass that a call may give.
fn expected(answer: Result<(), Error>) -> Result<(), Error> {
    match answer {
        Err(Error::Gone | Error::Conflict | Error::NotAnInteger { .. } | Error::TooLarge { .. }) => Ok(()),
        Err(Error::Decode { .. }) => Ok(()),
        Err(Error::Store(error)) if error.kind() == StoreErrorKind::Corrupt => Ok(()),
        other => other,
    }
}

/// Lets every call meet this damage, on a thread of their own, because they may hang.
fn meet(damage: &str) -> Result<(), String> {
    let Kept { sqlite, manager, sessions } = keep();
    let sql = rusqlite::Connection::open(sqlite.path()).unwrap();
    // SQLite refuses some of them.
    let _ = sql.execute(damage, []);
    let (say, said) = mpsc::channel();
    thread::spawn(move || {
        let met = catch_unwind(AssertUnwindSafe(|| use_it(&manager, &sessions)));
        let _ = say.send(match met {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(panic) => Err(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned())),
        });
    });
    said.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| Err("it hangs".to_owned()))
}

#[test]
fn damaged_rows_of_a_session_hang_no_call_and_end_with_it() {
    let failures: Vec<String> =
        damages().into_iter().filter_map(|damage| Some(format!("{damage}: {}", meet(&damage).err()?))).collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn numbers_that_we_never_write_are_not_believed() {
    for damage in ["version = -1", "size = -1", "idle = -1", "version = 9223372036854775807"] {
        let sqlite = Sqlite::new();
        let manager = sqlite.manager();
        let header = session_with(&manager, &[("user", "ada")]);
        let mut session = manager.load(&header).unwrap();
        sqlite.connect().execute(&format!("UPDATE sessions SET {damage}"), []).unwrap();
        session.set("a", &1).unwrap();
        assert_eq!(failure(session.save()).0, StoreErrorKind::Corrupt, "{damage}");
        let _ = manager.destroy(&header).unwrap();
        assert!(manager.load(&header).unwrap().is_new());
    }
}

#[test]
fn a_row_that_somebody_damaged_is_one_sessions_problem() {
    let sqlite = Sqlite::new();
    let manager = sqlite.manager();
    let header = session_with(&manager, &[("user", "ada")]);
    sqlite.connect().execute("UPDATE session_values SET value = CAST(x'22ff22' AS TEXT)", []).unwrap();
    let other = session_with(&manager, &[("user", "grace")]);
    let (kind, message) = failure(manager.load(&header));
    assert!(kind == StoreErrorKind::Corrupt && message.contains("destroy()"), "{message}");
    assert_eq!(manager.load(&other).unwrap().keys(), ["user"]);
    let _ = manager.destroy(&header).unwrap();
    assert!(manager.load(&header).unwrap().is_new());
}
