//! A backup in the place of the SQLite file, beside the log of the old file: it is refused until that log is deleted.

use crate::support::fork::{Signals, child, in_own_process};
use crate::support::sqlite::Sqlite;
use crate::support::{failure, is_alive, session_with, until};
use multi_process_session::StoreErrorKind;
use std::fs;

/// Lets a worker make a session and kills it, so that the session is in the log.
fn leave_a_log(sqlite: &Sqlite) -> String {
    let manager = sqlite.manager();
    let (wait, header) = (Signals::new(), sqlite.companion("-header"));
    let worker = child(|| {
        let saved = session_with(&manager, &[("user", "grace")]);
        fs::write(&header, saved).unwrap();
        wait.send();
        nix::unistd::pause();
        unreachable!("only a signal that kills comes")
    });
    wait.wait();
    worker.kill();
    fs::read_to_string(&header).unwrap()
}

/// With the log of another file, SQLite may see a damaged file.
fn is_refusal(kind: StoreErrorKind, message: &str) -> bool {
    [StoreErrorKind::Unavailable, StoreErrorKind::Backend].contains(&kind) && message.contains("-wal and -shm files")
}

#[test]
fn a_backup_beside_the_log_of_the_old_file_is_refused_and_left_alone() {
    in_own_process(|| {
        for how in ["VACUUM INTO", "a copy"] {
            let sqlite = Sqlite::new();
            let backup = sqlite.companion("-backup");
            let before = session_with(&sqlite.manager(), &[("user", "ada")]);
            match how {
                "a copy" => drop(fs::copy(sqlite.path(), &backup).unwrap()),
                _ => drop(sqlite.connect().execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap()),
            }
            let (worker, idle) = (sqlite.manager(), sqlite.manager());
            idle.ping().unwrap();
            let after: Vec<String> = (0..20).map(|_| session_with(&worker, &[("user", "grace")])).collect();
            let content = fs::read(&backup).unwrap();
            fs::rename(&backup, sqlite.path()).unwrap();

            // A worker that starts now is refused, and so is one that runs already.
            for _ in 0..2 {
                let (kind, message) = failure(sqlite.manager().ping());
                assert!(is_refusal(kind, &message), "{how}: {message}");
            }
            until(|| worker.ping().is_err());
            for manager in [&worker, &sqlite.manager()] {
                let (kind, message) = failure(manager.load(&before));
                assert!(is_refusal(kind, &message), "{how}: {message}");
            }
            assert!(fs::read(sqlite.path()).unwrap() == content, "{how}: it is left alone");

            sqlite.delete_log();
            for manager in [&worker, &sqlite.manager(), &idle] {
                until(|| manager.load(&before).is_ok_and(|session| !session.is_new()));
                assert!(after.iter().all(|header| !is_alive(manager, header)), "{how}: saved after the backup");
            }
            let new = session_with(&worker, &[("user", "grace")]);
            assert!(is_alive(&sqlite.manager(), &new));
            drop((worker, idle));
            // From now on the log of killed workers is believed again.
            sqlite.assert_sound();
            let header = leave_a_log(&sqlite);
            assert!(is_alive(&sqlite.manager(), &header), "{how}");
        }
    });
}

#[test]
fn another_stores_file_beside_the_log_of_the_old_one_is_refused() {
    in_own_process(|| {
        let (sqlite, other) = (Sqlite::new(), Sqlite::new());
        let header = session_with(&other.manager(), &[("user", "grace")]);
        let worker = sqlite.manager();
        session_with(&worker, &[("user", "ada")]);
        fs::rename(other.path(), sqlite.path()).unwrap();
        until(|| worker.ping().is_err());
        let (kind, message) = failure(worker.load(&header));
        assert!(is_refusal(kind, &message), "{message}");
        sqlite.delete_log();
        assert!(is_alive(&worker, &header));
        sqlite.assert_sound();
    });
}

#[test]
fn a_backup_beside_the_log_of_killed_workers_is_refused() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let before = session_with(&sqlite.manager(), &[("user", "ada")]);
        let backup = sqlite.companion("-backup");
        sqlite.connect().execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
        let after = leave_a_log(&sqlite);
        assert!(is_alive(&sqlite.manager(), &after), "the log of killed workers is believed");
        let after = leave_a_log(&sqlite);
        fs::rename(&backup, sqlite.path()).unwrap();
        let (kind, message) = failure(sqlite.manager().load(&before));
        assert!(is_refusal(kind, &message), "{message}");
        sqlite.delete_log();
        assert!(is_alive(&sqlite.manager(), &before) && !is_alive(&sqlite.manager(), &after));
        sqlite.assert_sound();
    });
}

#[test]
fn files_that_are_moved_together_are_believed_when_their_log_has_been_written_into_them() {
    in_own_process(|| {
        let (sqlite, copy) = (Sqlite::new(), Sqlite::new());
        let header = leave_a_log(&sqlite);
        for ending in ["", "-wal", "-shm"] {
            fs::copy(sqlite.companion(ending), copy.companion(ending)).unwrap();
        }
        assert_eq!(failure(copy.manager().load(&header)).0, StoreErrorKind::Unavailable);
        copy.connect().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        assert!(is_alive(&copy.manager(), &header));
    });
}
