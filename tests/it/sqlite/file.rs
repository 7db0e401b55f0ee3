//! The SQLite file: who may use it, what may be wrong with it, and how it is deleted or replaced while workers run.

use crate::support::fork::{child, in_own_process};
use crate::support::log::{collect, take, take_lines};
use crate::support::sqlite::Sqlite;
use crate::support::{builder, clock, failure, is_alive, manager, session_with, until};
use multi_process_session::{SessionManager, SqliteStore, StoreErrorKind};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{Uid, getuid, setuid};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

#[test]
fn the_file_is_made_for_its_owner_alone() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let manager = sqlite.manager();
        assert_eq!(fs::read_dir(sqlite.folder()).unwrap().count(), 0, "build opens nothing");
        let header = session_with(&manager, &[("user", "ada")]);
        assert_eq!(manager.load(&header).unwrap().keys(), ["user"]);
        for file in fs::read_dir(sqlite.folder()).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        }
        drop(manager);
        let mut names: Vec<_> = fs::read_dir(sqlite.folder()).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["sessions.db", "sessions.db-reserve"], "the log is put away");
    });
}

#[test]
fn what_is_wrong_with_the_file_is_said() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let file = sqlite.path();
        let ping = || failure(sqlite.manager().ping());

        let missing = manager(&format!("sqlite://{}/missing/sessions.db", sqlite.folder().display()));
        let (kind, message) = failure(missing.ping());
        assert!(kind == StoreErrorKind::Unavailable && message.contains("folder is missing"), "{message}");

        fs::write(&file, "this is not a database, but a text that is long enough to look at").unwrap();
        let (kind, message) = ping();
        assert!(kind == StoreErrorKind::Backend && message.contains("not a SQLite database"), "{message}");
        assert!(fs::read_to_string(&file).unwrap().starts_with("this is not a database"), "it is left alone");

        fs::remove_file(&file).unwrap();
        sqlite.connect().execute_batch("CREATE TABLE customers (name TEXT)").unwrap();
        let before = fs::read(&file).unwrap();
        let (kind, message) = ping();
        assert!(kind == StoreErrorKind::Backend && message.contains("something else"), "{message}");
        assert_eq!(fs::read(&file).unwrap(), before, "it is left alone");

        fs::remove_file(&file).unwrap();
        sqlite.manager().ping().unwrap();
        sqlite.connect().pragma_update(None, "user_version", 99).unwrap();
        let (kind, message) = ping();
        assert!(kind == StoreErrorKind::Backend && message.contains("version 99"), "{message}");

        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(ping().0, StoreErrorKind::Unavailable);
    });
}

#[test]
fn a_file_that_may_not_be_written_can_be_read() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let writer = sqlite.manager();
        let header = session_with(&writer, &[("user", "ada")]);
        let guard = writer.before_fork();
        let readable = |mode| {
            for path in fs::read_dir(sqlite.folder()).unwrap().map(|file| file.unwrap().path()) {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
        };
        readable(0o444);
        fs::set_permissions(sqlite.folder(), fs::Permissions::from_mode(0o777)).unwrap();
        let said = child(|| {
            // Root may write any file.
            if nix::unistd::getuid().is_root() {
                nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).unwrap();
            }
            let manager = sqlite.manager();
            let mut session = manager.load(&header).unwrap();
            session.set("a", &1).unwrap();
            let (kind, message) = failure(session.save());
            assert_eq!(failure(manager.check_writes()), (kind, message.clone()));
            format!("{:?} {kind:?} {message}", session.get::<String>("user").unwrap())
        });
        let said = said.join();
        assert!(said.starts_with("Some(\"ada\") Rejected") && said.contains("cannot be written"), "{said}");
        readable(0o600);
        drop(guard);
        assert_eq!(writer.load(&header).unwrap().keys(), ["user"]);
    });
}

#[test]
fn a_file_that_can_be_written_again_is_at_once() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        fs::set_permissions(sqlite.folder(), fs::Permissions::from_mode(0o777)).unwrap();
        let said = child(|| {
            // Root may write any file.
            if getuid().is_root() {
                setuid(Uid::from_raw(65534)).unwrap();
            }
            let header = session_with(&sqlite.manager(), &[("user", "ada")]);
            let mode = |mode| {
                for ending in ["", "-wal", "-shm"] {
                    let _ = fs::set_permissions(sqlite.companion(ending), fs::Permissions::from_mode(mode));
                }
            };
            let save = |manager: &SessionManager| {
                let mut session = manager.load(&header)?;
                session.increment("count", 1)?;
                session.save().map(drop)
            };
            let keeps_the_log = sqlite.manager();
            keeps_the_log.ping().unwrap();
            let worker = sqlite.manager();
            mode(0o444);
            assert_eq!(failure(save(&worker)).0, StoreErrorKind::Rejected);
            assert!(is_alive(&worker, &header), "it can be read");
            mode(0o600);
            save(&worker).expect("it can be written");
            assert!(is_alive(&worker, &header));

            let worker = sqlite.manager();
            mode(0o000);
            assert_eq!(failure(worker.load(&header)).0, StoreErrorKind::Unavailable);
            mode(0o600);
            save(&worker).expect("it can be opened");
            String::new()
        });
        said.join();
    });
}

#[test]
fn a_process_says_what_it_opened_and_who_else_may_write_it() {
    in_own_process(|| {
        collect(log::LevelFilter::Info);
        let sqlite = Sqlite::new();
        let worker = sqlite.manager();
        let header = session_with(&worker, &[("user", "ada")]);
        assert!(is_alive(&worker, &header));
        let path = sqlite.path().display().to_string();
        let first = format!(
            "{path}: SQLite {}, journal mode wal, synchronous=normal, up to 8 connections in this process",
            rusqlite::version()
        );
        assert_eq!(take_lines(), std::slice::from_ref(&first), "once");

        fs::set_permissions(sqlite.path(), fs::Permissions::from_mode(0o666)).unwrap();
        sqlite.manager().ping().unwrap();
        let lines = take_lines();
        assert_eq!(lines[0], first);
        assert!(lines.len() == 2 && lines[1].contains("others than its owner can write it (mode 666)"), "{lines:?}");

        // Only root can give the file to another user.
        if getuid().is_root() {
            fs::set_permissions(sqlite.path(), fs::Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(sqlite.path(), Some(65534), None).unwrap();
            sqlite.manager().ping().unwrap();
            let lines = take_lines();
            assert!(lines.len() == 2 && lines[1].contains("belongs to user 65534"), "{lines:?}");
        }
        let guard = worker.before_fork();
        let said = child(|| {
            take();
            worker.ping().unwrap();
            take_lines().remove(0)
        });
        drop(guard);
        assert_eq!(said.join(), first, "in each process");
    });
}

#[test]
fn a_file_that_cannot_grow_refuses_saves_and_loses_nothing() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let said = child(|| {
            let manager = sqlite.manager();
            let header = session_with(&manager, &[("user", "ada")]);
            // SAFETY: the signal is ignored, so no handler of ours runs.
            unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn).unwrap() };
            setrlimit(Resource::RLIMIT_FSIZE, 200_000, 200_000).unwrap();
            let mut session = manager.load(&header).unwrap();
            session.set("big", &"x".repeat(500_000)).unwrap();
            let (kind, _) = failure(session.save());
            assert_eq!(manager.load(&header).unwrap().keys(), ["user"]);
            let _ = manager.destroy(&header).unwrap();
            format!("{kind:?} {}", manager.load(&header).unwrap().is_new())
        });
        assert_eq!(said.join(), "Rejected true");
        sqlite.assert_sound();
    });
}

#[test]
fn ended_sessions_do_not_pile_up() {
    let sqlite = Sqlite::new();
    let (now, pass) = clock();
    let store = SqliteStore::with_clock(sqlite.path(), now);
    let manager = builder("memory:").store(store).idle_timeout(Duration::from_secs(100)).build().unwrap();
    let count = |table: &str| -> u32 {
        sqlite.connect().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    for _ in 0..20 {
        for _ in 0..10 {
            session_with(&manager, &[("user", "ada"), ("cart", "full")]);
        }
        pass(Duration::from_secs(102));
    }
    assert!(count("sessions") <= 20, "{}", count("sessions"));
    assert_eq!(count("session_values"), 2 * count("sessions"), "values end with their session");
}

#[test]
fn a_file_that_is_taken_away_is_noticed() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let manager = sqlite.manager();
        let header = session_with(&manager, &[("user", "ada")]);
        for name in ["sessions.db", "sessions.db-wal", "sessions.db-shm"] {
            fs::remove_file(sqlite.folder().join(name)).unwrap();
        }
        until(|| !is_alive(&manager, &header));
        let header = session_with(&manager, &[("user", "grace")]);
        assert!(!sqlite.manager().load(&header).unwrap().is_new(), "others find what is saved then");

        fs::remove_file(sqlite.path()).unwrap();
        let (kind, message) = failure(sqlite.manager().ping());
        assert!(kind == StoreErrorKind::Unavailable && message.contains("its log is there"), "{message}");
    });
}

#[test]
fn closing_a_file_that_was_replaced_does_not_harm_the_new_one() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let (old, idle) = (sqlite.manager(), sqlite.manager());
        old.ping().unwrap();
        idle.ping().unwrap();
        for name in ["sessions.db", "sessions.db-wal", "sessions.db-shm"] {
            fs::remove_file(sqlite.folder().join(name)).unwrap();
        }
        let new = sqlite.manager();
        let header = session_with(&new, &[("user", "ada")]);
        let log = || fs::metadata(sqlite.companion("-wal")).map(|log| log.len()).unwrap_or(0);
        let before = log();
        assert!(before > 0, "what was saved is in the log");
        drop((old, idle));
        assert_eq!(log(), before, "and stays there");
        assert!(!new.load(&header).unwrap().is_new());
    });
}
