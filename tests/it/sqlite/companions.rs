//! The companions of the SQLite file: its log, the index of the log, and the reserve of space. Somebody deletes or
//! replaces them.

use crate::support::fork::{Signals, child, in_own_process};
use crate::support::sqlite::Sqlite;
use crate::support::{builder, failure, is_alive, session_with, until};
use multi_process_session::StoreErrorKind;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

#[test]
fn a_log_that_is_taken_away_is_noticed_and_what_was_in_it_is_kept() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let (worker, idle) = (sqlite.manager(), sqlite.manager());
        let headers: Vec<String> = (0..20).map(|_| session_with(&worker, &[("user", "ada")])).collect();
        idle.ping().unwrap();
        sqlite.delete_log();
        until(|| {
            assert!(headers.iter().all(|header| is_alive(&worker, header)));
            sqlite.companion("-wal").exists()
        });
        let new = session_with(&worker, &[("user", "grace")]);
        for manager in [&worker, &idle, &sqlite.manager()] {
            assert!(headers.iter().chain([&new]).all(|header| is_alive(manager, header)));
        }
        sqlite.assert_sound();
    });
}

#[test]
fn processes_that_were_parted_by_a_log_that_was_taken_away_meet_again() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let manager = sqlite.manager();
        let (wait, header) = (Signals::new(), sqlite.companion("-header"));
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
        sqlite.delete_log();
        // A process that opens the file now has to wait for the other one.
        let saved = session_with(&manager, &[("user", "ada")]);
        fs::write(sqlite.folder().join("header"), &saved).unwrap();
        fs::rename(sqlite.folder().join("header"), &header).unwrap();
        old.join();
        assert_eq!(manager.load(&saved).unwrap().get("seen").unwrap(), Some(true));
        sqlite.assert_sound();
    });
}

#[test]
fn nothing_is_lost_when_companions_are_deleted_while_processes_write() {
    in_own_process(|| {
        for gone in [&["-shm"][..], &["-wal"], &["-wal", "-shm"]] {
            let sqlite = Sqlite::new();
            let manager = sqlite.manager();
            let (busy, stop) = (sqlite.companion("-busy"), sqlite.companion("-stop"));
            // Makes sessions without a pause, and at the end all of them are there.
            let work = |number: usize| {
                let (mut headers, mut refused) = (Vec::new(), 0);
                loop {
                    let last = stop.exists();
                    let mut session = manager.load(None).unwrap();
                    session.set("user", &number).unwrap();
                    match session.save() {
                        Ok(cookie) => headers.push(crate::support::cookie(&cookie.unwrap())),
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
            gone.iter().for_each(|ending| fs::remove_file(sqlite.companion(ending)).unwrap());
            // Another worker starts at that moment.
            workers.push(child(|| work(3)));
            until(|| (0..3).all(|number| saved(number) > before[number] + 20) && saved(3) > 20);
            until(|| ["-wal", "-shm"].iter().all(|ending| sqlite.companion(ending).exists()));
            fs::write(&stop, "").unwrap();
            workers.into_iter().for_each(|worker| drop(worker.join()));
            sqlite.assert_sound();
        }
    });
}

#[test]
fn a_worker_that_does_not_notice_is_told_of_and_not_written_beside() {
    in_own_process(|| {
        for gone in [&["-shm"][..], &["-wal"], &["-wal", "-shm"]] {
            let sqlite = Sqlite::new();
            let manager = builder(&sqlite.url()).operation_timeout(Duration::from_millis(100)).build().unwrap();
            let (ready, go) = (Signals::new(), Signals::new());
            let idle = child(|| {
                let header = session_with(&manager, &[("user", "ada")]);
                ready.send();
                go.wait();
                header
            });
            ready.wait();
            gone.iter().for_each(|ending| fs::remove_file(sqlite.companion(ending)).unwrap());
            let (kind, message) = failure(manager.ping());
            assert_eq!(kind, StoreErrorKind::Unavailable, "{message}");
            assert!(message.contains("was removed while workers run"), "{message}");
            go.send();
            let header = idle.join();
            until(|| manager.ping().is_ok());
            sqlite.assert_sound();
            // The child ended without closing its log. The content of a deleted log is gone with it.
            assert_eq!(is_alive(&manager, &header), gone == ["-shm"], "{gone:?}");
        }
    });
}

#[test]
fn files_that_were_deleted_give_their_space_back() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        for _ in 0..10 {
            let manager = sqlite.manager();
            session_with(&manager, &[("user", "ada")]);
            drop(manager);
            fs::remove_file(sqlite.path()).unwrap();
        }
        let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let open: Vec<PathBuf> = open.filter(|path| path.starts_with(sqlite.folder())).collect();
        assert_eq!(open, Vec::<PathBuf>::new());
        let left: Vec<_> = fs::read_dir(sqlite.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["sessions.db-reserve"]);
    });
}

#[test]
fn what_somebody_put_in_the_place_of_the_reserve_is_left_alone() {
    for what in ["a symbolic link", "a link", "a FIFO", "a folder"] {
        let sqlite = Sqlite::new();
        let (victim, reserve) = (sqlite.folder().join("victim"), sqlite.companion("-reserve"));
        fs::write(&victim, "hello").unwrap();
        match what {
            "a symbolic link" => std::os::unix::fs::symlink(&victim, &reserve).unwrap(),
            "a link" => fs::hard_link(&victim, &reserve).unwrap(),
            "a FIFO" => mkfifo(&reserve, Mode::S_IRWXU).unwrap(),
            _ => fs::create_dir(&reserve).unwrap(),
        }
        let worker = sqlite.manager();
        let (done, wait) = std::sync::mpsc::channel();
        // A call that waits until somebody reads from the FIFO would never end.
        thread::spawn(move || done.send(session_with(&worker, &[("user", "ada")])));
        let header = wait.recv_timeout(Duration::from_secs(60)).expect(what);
        assert!(is_alive(&sqlite.manager(), &header));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "hello", "{what}");
    }
}

#[test]
fn a_reserve_that_a_long_log_needed_is_given_back_after_it() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let manager = sqlite.manager();
        let save = || drop(session_with(&manager, &[("value", &"x".repeat(100_000))]));
        save();
        let length = || fs::metadata(sqlite.companion("-reserve")).unwrap().len();
        let whole = length();
        let reader = sqlite.connect();
        reader.execute_batch("BEGIN; SELECT count(*) FROM sessions").unwrap();
        (0..200).for_each(|_| save());
        assert!(length() > 10 * whole, "{} bytes: the database is to grow by what is in the log", length());
        reader.execute_batch("COMMIT").unwrap();
        until(|| {
            save();
            length() <= 8 * whole
        });
    });
}
