//! What an operator does to the embedded store's file and its companions while workers run, or have run.

#![allow(missing_docs)]

mod support;

use multi_process_session::{SessionManager, StoreErrorKind};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, getuid, mkfifo, setuid};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use support::fork::{Signals, child, in_own_process};
use support::log::collect;
use support::{builder, failure, session_with, until};
use tempfile::TempDir;

fn manager(folder: &TempDir) -> SessionManager {
    builder(&format!("sqlite://{}", file(folder, "").display())).build().unwrap()
}

/// The file, or the companion whose name ends like this.
fn file(folder: &TempDir, ending: &str) -> PathBuf {
    folder.path().join(format!("sessions.db{ending}"))
}

fn sql(folder: &TempDir) -> rusqlite::Connection {
    rusqlite::Connection::open(file(folder, "")).unwrap()
}

fn is_sound(folder: &TempDir) -> bool {
    let check: String = sql(folder).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    check == "ok"
}

fn is_alive(manager: &SessionManager, header: &str) -> bool {
    !manager.load(header).unwrap().is_new()
}

fn take_log_away(folder: &TempDir) {
    for ending in ["-wal", "-shm"] {
        fs::remove_file(file(folder, ending)).unwrap();
    }
}

/// A worker that made a session, and was killed: what it saved is in the log.
fn leave_a_log(folder: &TempDir) -> String {
    let manager = manager(folder);
    let (wait, header) = (Signals::new(), file(folder, "-header"));
    let worker = child(|| {
        let saved = session_with(&manager, &[("user", "grace")]);
        fs::write(&header, saved).unwrap();
        wait.send();
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    });
    wait.wait();
    worker.kill();
    fs::read_to_string(&header).unwrap()
}

// ---- backups ----

/// Under a log of another file, SQLite may see a file that is damaged.
fn is_refusal(kind: StoreErrorKind, message: &str) -> bool {
    [StoreErrorKind::Unavailable, StoreErrorKind::Backend].contains(&kind) && message.contains("-wal and -shm files")
}

#[test]
fn a_backup_beside_the_log_of_the_old_file_is_refused_and_left_alone() {
    in_own_process("a_backup_beside_the_log_of_the_old_file_is_refused_and_left_alone", || {
        for how in ["VACUUM INTO", "a copy"] {
            let folder = tempfile::tempdir().unwrap();
            let backup = file(&folder, "-backup");
            let before = session_with(&manager(&folder), &[("user", "ada")]);
            match how {
                "a copy" => drop(fs::copy(file(&folder, ""), &backup).unwrap()),
                _ => drop(sql(&folder).execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap()),
            }
            let (worker, idle) = (manager(&folder), manager(&folder));
            idle.ping().unwrap();
            let after: Vec<String> = (0..20).map(|_| session_with(&worker, &[("user", "grace")])).collect();
            let content = fs::read(&backup).unwrap();
            fs::rename(&backup, file(&folder, "")).unwrap();

            // A worker that is started now, and one that has been running.
            for _ in 0..2 {
                let (kind, message) = failure(manager(&folder).ping());
                assert!(is_refusal(kind, &message), "{how}: {message}");
            }
            until(|| worker.ping().is_err());
            for manager in [&worker, &manager(&folder)] {
                let (kind, message) = failure(manager.load(&before));
                assert!(is_refusal(kind, &message), "{how}: {message}");
            }
            assert!(fs::read(file(&folder, "")).unwrap() == content, "{how}: it is left alone");

            take_log_away(&folder);
            for manager in [&worker, &manager(&folder), &idle] {
                until(|| manager.load(&before).is_ok_and(|session| !session.is_new()));
                assert!(after.iter().all(|header| !is_alive(manager, header)), "{how}: saved after the backup");
            }
            let new = session_with(&worker, &[("user", "grace")]);
            assert!(is_alive(&manager(&folder), &new));
            drop((worker, idle));
            // From now on its own log is believed, whoever is killed.
            assert!(is_sound(&folder));
            let header = leave_a_log(&folder);
            assert!(is_alive(&manager(&folder), &header), "{how}");
        }
    });
}

#[test]
fn another_stores_file_beside_the_log_of_the_old_one_is_refused() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let header = session_with(&manager(&other), &[("user", "grace")]);
    let worker = manager(&folder);
    session_with(&worker, &[("user", "ada")]);
    fs::rename(file(&other, ""), file(&folder, "")).unwrap();
    until(|| worker.ping().is_err());
    let (kind, message) = failure(worker.load(&header));
    assert!(is_refusal(kind, &message), "{message}");
    take_log_away(&folder);
    assert!(is_alive(&worker, &header));
    assert!(is_sound(&folder));
}

#[test]
fn a_backup_beside_the_log_of_killed_workers_is_refused() {
    in_own_process("a_backup_beside_the_log_of_killed_workers_is_refused", || {
        let folder = tempfile::tempdir().unwrap();
        let before = session_with(&manager(&folder), &[("user", "ada")]);
        let backup = file(&folder, "-backup");
        sql(&folder).execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
        let after = leave_a_log(&folder);
        assert!(is_alive(&manager(&folder), &after), "the log of killed workers is believed");
        let after = leave_a_log(&folder);
        fs::rename(&backup, file(&folder, "")).unwrap();
        let (kind, message) = failure(manager(&folder).load(&before));
        assert!(is_refusal(kind, &message), "{message}");
        take_log_away(&folder);
        assert!(is_alive(&manager(&folder), &before) && !is_alive(&manager(&folder), &after));
        assert!(is_sound(&folder));
    });
}

#[test]
fn files_that_are_moved_together_are_believed_when_their_log_has_been_written_into_them() {
    in_own_process("files_that_are_moved_together_are_believed_when_their_log_has_been_written_into_them", || {
        let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let header = leave_a_log(&folder);
        for ending in ["", "-wal", "-shm"] {
            fs::copy(file(&folder, ending), file(&copy, ending)).unwrap();
        }
        assert_eq!(failure(manager(&copy).load(&header)).0, StoreErrorKind::Unavailable);
        sql(&copy).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        assert!(is_alive(&manager(&copy), &header));
    });
}

// ---- the log ----

#[test]
fn a_log_that_is_taken_away_is_noticed_and_what_was_in_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (worker, idle) = (manager(&folder), manager(&folder));
    let headers: Vec<String> = (0..20).map(|_| session_with(&worker, &[("user", "ada")])).collect();
    idle.ping().unwrap();
    take_log_away(&folder);
    until(|| {
        assert!(headers.iter().all(|header| is_alive(&worker, header)));
        file(&folder, "-wal").exists()
    });
    let new = session_with(&worker, &[("user", "grace")]);
    for manager in [&worker, &idle, &manager(&folder)] {
        assert!(headers.iter().chain([&new]).all(|header| is_alive(manager, header)));
    }
    assert!(is_sound(&folder));
}

#[test]
fn processes_that_were_parted_by_a_log_that_was_taken_away_meet_again() {
    in_own_process("processes_that_were_parted_by_a_log_that_was_taken_away_meet_again", || {
        let folder = tempfile::tempdir().unwrap();
        let manager = manager(&folder);
        let (wait, header) = (Signals::new(), file(&folder, "-header"));
        let old = child(|| {
            manager.ping().unwrap();
            wait.send();
            until(|| {
                manager.ping().unwrap();
                header.exists()
            });
            let header = fs::read_to_string(&header).unwrap();
            until(|| is_alive(&manager, &header));
            let mut session = manager.load(&header).unwrap();
            session.set("seen", &true).unwrap();
            session.save().unwrap();
            String::new()
        });
        wait.wait();
        take_log_away(&folder);
        // A process that opens the file now has to wait for the other one.
        let saved = session_with(&manager, &[("user", "ada")]);
        fs::write(folder.path().join("header"), &saved).unwrap();
        fs::rename(folder.path().join("header"), &header).unwrap();
        old.join();
        assert_eq!(manager.load(&saved).unwrap().get("seen").unwrap(), Some(true));
        assert!(is_sound(&folder));
    });
}

#[test]
fn nothing_is_lost_when_companions_are_deleted_while_processes_write() {
    in_own_process("nothing_is_lost_when_companions_are_deleted_while_processes_write", || {
        for gone in [&["-shm"][..], &["-wal"], &["-wal", "-shm"]] {
            let folder = tempfile::tempdir().unwrap();
            let manager = manager(&folder);
            let (busy, stop) = (file(&folder, "-busy"), file(&folder, "-stop"));
            // Logs in all the time, and at the end all of that is there.
            let work = |number: usize| {
                let (mut headers, mut refused) = (Vec::new(), 0);
                loop {
                    let last = stop.exists();
                    let mut session = manager.load(None).unwrap();
                    session.set("user", &number).unwrap();
                    match session.save() {
                        Ok(cookie) => headers.push(support::cookie(&cookie.unwrap())),
                        Err(error) => {
                            assert_eq!(failure(Err::<(), _>(error)).0, StoreErrorKind::Unavailable);
                            refused += 1;
                        }
                    }
                    let _ = fs::write(format!("{}{number}", busy.display()), headers.len().to_string());
                    if last {
                        break;
                    }
                    thread::sleep(Duration::from_millis(2));
                }
                let lost = headers.iter().filter(|header| !is_alive(&manager, header)).count();
                assert_eq!((lost, refused), (0, 0), "of {} after {gone:?} was deleted", headers.len());
                String::new()
            };
            let saved = |number: usize| -> usize {
                let said = fs::read_to_string(format!("{}{number}", busy.display()));
                said.ok().and_then(|said| said.parse().ok()).unwrap_or(0)
            };
            let mut workers: Vec<_> = (0..3).map(|number| child(|| work(number))).collect();
            until(|| (0..3).all(|number| saved(number) > 20));
            let before: Vec<usize> = (0..3).map(saved).collect();
            gone.iter().for_each(|ending| fs::remove_file(file(&folder, ending)).unwrap());
            // One that is started at that moment.
            workers.push(child(|| work(3)));
            until(|| (0..3).all(|number| saved(number) > before[number] + 20) && saved(3) > 20);
            until(|| ["-wal", "-shm"].iter().all(|ending| file(&folder, ending).exists()));
            fs::write(&stop, "").unwrap();
            workers.into_iter().for_each(|worker| drop(worker.join()));
            assert!(is_sound(&folder), "{gone:?}");
        }
    });
}

#[test]
fn a_worker_that_does_not_notice_is_told_of_and_not_written_beside() {
    in_own_process("a_worker_that_does_not_notice_is_told_of_and_not_written_beside", || {
        for gone in [&["-shm"][..], &["-wal"], &["-wal", "-shm"]] {
            let folder = tempfile::tempdir().unwrap();
            let manager = builder(&format!("sqlite://{}", file(&folder, "").display()))
                .operation_timeout(Duration::from_millis(100))
                .build()
                .unwrap();
            let (ready, go) = (Signals::new(), Signals::new());
            let idle = child(|| {
                let header = session_with(&manager, &[("user", "ada")]);
                ready.send();
                go.wait();
                header
            });
            ready.wait();
            gone.iter().for_each(|ending| fs::remove_file(file(&folder, ending)).unwrap());
            let (kind, message) = failure(manager.ping());
            assert_eq!(kind, StoreErrorKind::Unavailable, "{message}");
            assert!(message.contains("was removed while workers run"), "{message}");
            go.send();
            let header = idle.join();
            until(|| manager.ping().is_ok());
            assert!(is_sound(&folder));
            // The child ended without closing its log: what is in a deleted one is gone with it.
            assert_eq!(is_alive(&manager, &header), gone == ["-shm"], "{gone:?}");
        }
    });
}

// ---- what is open ----

#[test]
fn files_that_were_deleted_give_their_space_back() {
    in_own_process("files_that_were_deleted_give_their_space_back", || {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..10 {
            let manager = manager(&folder);
            session_with(&manager, &[("user", "ada")]);
            drop(manager);
            fs::remove_file(file(&folder, "")).unwrap();
        }
        let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let open: Vec<PathBuf> = open.filter(|path| path.starts_with(folder.path())).collect();
        assert_eq!(open, Vec::<PathBuf>::new());
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["sessions.db-reserve"]);
    });
}

#[test]
fn what_somebody_put_in_the_place_of_the_reserve_is_left_alone() {
    for what in ["a symbolic link", "a link", "a FIFO", "a folder"] {
        let folder = tempfile::tempdir().unwrap();
        let (victim, reserve) = (folder.path().join("victim"), file(&folder, "-reserve"));
        fs::write(&victim, "hello").unwrap();
        match what {
            "a symbolic link" => std::os::unix::fs::symlink(&victim, &reserve).unwrap(),
            "a link" => fs::hard_link(&victim, &reserve).unwrap(),
            "a FIFO" => mkfifo(&reserve, Mode::S_IRWXU).unwrap(),
            _ => fs::create_dir(&reserve).unwrap(),
        }
        let worker = manager(&folder);
        let (done, wait) = std::sync::mpsc::channel();
        // A call that waits for a reader of the FIFO would never end.
        thread::spawn(move || done.send(session_with(&worker, &[("user", "ada")])));
        let header = wait.recv_timeout(Duration::from_secs(60)).expect(what);
        assert!(is_alive(&manager(&folder), &header));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "hello", "{what}");
    }
}

#[test]
fn a_reserve_that_a_long_log_needed_is_given_back_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager(&folder);
    let save = || drop(session_with(&manager, &[("value", &"x".repeat(100_000))]));
    save();
    let length = || fs::metadata(file(&folder, "-reserve")).unwrap().len();
    let whole = length();
    let reader = sql(&folder);
    reader.execute_batch("BEGIN; SELECT count(*) FROM sessions").unwrap();
    (0..200).for_each(|_| save());
    assert!(length() > 10 * whole, "{} bytes: the database is to grow by what is in the log", length());
    reader.execute_batch("COMMIT").unwrap();
    until(|| {
        save();
        length() <= 8 * whole
    });
}

// ---- rights ----

#[test]
fn a_file_that_can_be_written_again_is_at_once() {
    in_own_process("a_file_that_can_be_written_again_is_at_once", || {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let said = child(|| {
            // Root may write everything.
            if getuid().is_root() {
                setuid(Uid::from_raw(65534)).unwrap();
            }
            let header = session_with(&manager(&folder), &[("user", "ada")]);
            let mode = |mode| {
                for ending in ["", "-wal", "-shm"] {
                    let _ = fs::set_permissions(file(&folder, ending), fs::Permissions::from_mode(mode));
                }
            };
            let save = |manager: &SessionManager| {
                let mut session = manager.load(&header)?;
                session.increment("count", 1)?;
                session.save().map(drop)
            };
            let keeps_the_log = manager(&folder);
            keeps_the_log.ping().unwrap();
            let worker = manager(&folder);
            mode(0o444);
            assert_eq!(failure(save(&worker)).0, StoreErrorKind::Rejected);
            assert!(is_alive(&worker, &header), "it can be read");
            mode(0o600);
            save(&worker).expect("it can be written");
            assert!(is_alive(&worker, &header));

            let worker = manager(&folder);
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
    in_own_process("a_process_says_what_it_opened_and_who_else_may_write_it", || {
        collect(log::LevelFilter::Info);
        let folder = tempfile::tempdir().unwrap();
        let worker = manager(&folder);
        let header = session_with(&worker, &[("user", "ada")]);
        assert!(is_alive(&worker, &header));
        let path = file(&folder, "").display().to_string();
        let first = format!(
            "{path}: SQLite {}, journal mode wal, synchronous=normal, up to 8 connections in this process",
            rusqlite::version()
        );
        assert_eq!(support::log::lines(), std::slice::from_ref(&first), "once");

        fs::set_permissions(file(&folder, ""), fs::Permissions::from_mode(0o666)).unwrap();
        manager(&folder).ping().unwrap();
        let lines = support::log::lines();
        assert_eq!(lines[0], first);
        assert!(lines.len() == 2 && lines[1].contains("others than its owner can write it (mode 666)"), "{lines:?}");

        // Only root can give a file away.
        if getuid().is_root() {
            fs::set_permissions(file(&folder, ""), fs::Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(file(&folder, ""), Some(65534), None).unwrap();
            manager(&folder).ping().unwrap();
            let lines = support::log::lines();
            assert!(lines.len() == 2 && lines[1].contains("belongs to user 65534"), "{lines:?}");
        }
        let guard = worker.before_fork();
        let said = child(|| {
            support::log::take();
            worker.ping().unwrap();
            support::log::lines().remove(0)
        });
        drop(guard);
        assert_eq!(said.join(), first, "in each process");
    });
}
