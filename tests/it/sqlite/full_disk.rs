//! A SQLite file on a full disk: saves are refused, whatever ends sessions works, and the log stays short.

use crate::support::disk::{fill, mount_small_disk};
use crate::support::fork::{Signals, child, in_own_process, in_own_process_of, is_a_thread_asleep, test_of};
use crate::support::sqlite::Sqlite;
use crate::support::wait::StopOnDrop;
use crate::support::{builder, clock, failure, is_alive, login, session_with, until, with_timeout};
use multi_process_session::{Error, SessionManager, SqliteStore, StoreErrorKind};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_WRLCK, SEEK_SET, flock};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::parent_id;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// SQLite's lock for checkpoints: one byte of the `-shm` file. See "WAL-Index Locking" in the description of its files.
const CHECKPOINT_LOCK: flock =
    flock { l_type: F_WRLCK as i16, l_whence: SEEK_SET as i16, l_start: 121, l_len: 1, l_pid: 0 };

/// Runs the body of a test in a process of its own, with the file on a disk of this size.
fn on_a_small_disk(size: &str, body: impl Fn(&Sqlite)) {
    in_own_process_of(test_of(&body), || {
        let sqlite = Sqlite::new();
        let said = child(|| {
            mount_small_disk(sqlite.folder(), size);
            body(&sqlite);
            String::new()
        });
        said.join();
    });
}

/// Logs a user in this number of times.
fn log_in(manager: &SessionManager, user: &str, times: usize) -> Vec<String> {
    (0..times).map(|_| login(manager, user)).collect()
}

/// Makes an anonymous session of this size.
fn visit(manager: &SessionManager, bytes: usize) -> Result<(), Error> {
    let mut session = manager.load(None)?;
    session.set("visit", &"x".repeat(bytes))?;
    session.save().map(drop)
}

/// Makes sessions until there is no room for another one.
fn flood(manager: &SessionManager) {
    for bytes in [20_000, 2000, 1] {
        let refusal = loop {
            if let Err(refusal) = visit(manager, bytes) {
                break failure(Err::<(), _>(refusal));
            }
        };
        assert!(refusal.0 == StoreErrorKind::Rejected && refusal.1.contains("disk is full"), "{refusal:?}");
    }
}

/// Ends 3 sessions of the user, each in another way. The last one is left.
fn log_out(manager: &SessionManager, user: &str, sessions: &[String]) {
    let _ = manager.destroy(&sessions[0]).unwrap();
    manager.load(&sessions[1]).unwrap().destroy().unwrap();
    let kept = manager.load(&sessions[3]).unwrap();
    assert_eq!(manager.group(user).clear_except(&kept).unwrap(), 1);
    let alive: Vec<bool> = sessions.iter().map(|header| is_alive(manager, header)).collect();
    assert_eq!(alive, [false, false, false, true]);
}

#[test]
fn a_full_disk_refuses_saves_and_loses_nothing() {
    on_a_small_disk("8m", |sqlite| {
        let manager = builder(&sqlite.url()).max_session_bytes(20 << 20).build().unwrap();
        let header = session_with(&manager, &[("user", "ada")]);
        let mut session = manager.load(&header).unwrap();
        session.set("big", &"x".repeat(9_000_000)).unwrap();
        let (kind, message) = failure(session.save());
        assert!(kind == StoreErrorKind::Rejected && message.contains("disk is full"), "{kind:?} {message}");
        assert_eq!(manager.load(&header).unwrap().keys(), ["user"]);
        session_with(&manager, &[("user", "grace")]);
        let check: String = sqlite.connect().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        let _ = manager.destroy(&header).unwrap();
        assert!(!is_alive(&manager, &header));
    });
}

#[test]
fn whatever_ends_sessions_works_while_a_flood_keeps_the_disk_full() {
    on_a_small_disk("6m", |sqlite| {
        // The floods never sleep, so on a busy machine it may take a while to get the lock.
        let manager = with_timeout(&sqlite.url(), Duration::from_secs(60));
        let users: Vec<String> = (0..150).map(|number| format!("user {number}")).collect();
        let sessions: Vec<_> = users.iter().map(|user| log_in(&manager, user, 4)).collect();
        let anonymous = session_with(&manager, &[("visit", "1")]);
        let guard = manager.before_fork();
        // Two other processes fill the disk, and keep it full.
        let parent = std::process::id();
        let floods: Vec<_> = (0..2)
            .map(|_| {
                child(|| {
                    flood(&manager);
                    while parent_id() == parent {
                        let _ = visit(&manager, 500);
                    }
                    String::new()
                })
            })
            .collect();
        drop(guard);
        flood(&manager);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stop = StopOnDrop(&stop);
            // There is always a reader.
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        manager.group("user 149").sessions_with(&["user"]).unwrap();
                    }
                });
            }
            for (user, sessions) in users.iter().zip(&sessions) {
                log_out(&manager, user, sessions);
            }
            for (user, sessions) in users.iter().zip(&sessions) {
                assert_eq!(manager.group(user).clear().unwrap(), 1);
                assert!(!is_alive(&manager, &sessions[3]));
            }
            manager.destroy_every_session().unwrap();
            assert!(!is_alive(&manager, &anonymous));
        });
        floods.into_iter().for_each(crate::support::fork::Child::kill);
    });
}

#[test]
fn whatever_ends_sessions_works_on_a_disk_that_others_filled() {
    on_a_small_disk("24m", |sqlite| {
        let manager = sqlite.manager();
        let filler = sqlite.folder().join("filler");
        for round in 0..6 {
            let users: Vec<String> = (0..20).map(|number| format!("user {round} {number}")).collect();
            let sessions: Vec<_> = users.iter().map(|user| log_in(&manager, user, 4)).collect();
            // The content of the log has to go into a database that cannot grow.
            (0..20 * round).for_each(|_| visit(&manager, 5000).unwrap());
            fill(&filler);
            let mut session = manager.load(&sessions[0][0]).unwrap();
            session.set("more", &"x".repeat(100_000)).unwrap();
            // The files themselves have some room left, but not for long.
            until(|| visit(&manager, 10_000).is_err());
            for (user, sessions) in users.iter().zip(&sessions) {
                log_out(&manager, user, sessions);
                assert_eq!(manager.group(user).clear().unwrap(), 1);
                fill(&filler);
            }
            fs::remove_file(&filler).unwrap();
            visit(&manager, 10_000).expect("there is room again");
        }
    });
}

#[test]
fn a_reader_that_stays_does_not_keep_sessions_from_being_ended_on_a_full_disk() {
    on_a_small_disk("12m", |sqlite| {
        let manager = sqlite.manager();
        let users: Vec<String> = (0..12).map(|number| format!("user {number}")).collect();
        let sessions: Vec<_> = users.iter().map(|user| log_in(&manager, user, 4)).collect();
        let reader = sqlite.connect();
        reader.execute_batch("BEGIN; SELECT count(*) FROM sessions").unwrap();
        flood(&manager);
        let (kind, message) = failure(manager.check_writes());
        assert!(kind == StoreErrorKind::Rejected && message.contains("disk is full"), "{kind:?} {message}");
        for (user, sessions) in users.iter().zip(&sessions) {
            log_out(&manager, user, sessions);
            let _ = visit(&manager, 500);
        }
        reader.execute_batch("COMMIT").unwrap();
    });
}

/// Fills the disk, and ends sessions beside a reader that stays, until there is no room for that either. Returns what
/// sessions are left.
fn use_up_reserve(sqlite: &Sqlite, manager: &SessionManager) -> Vec<String> {
    // Each session has pages of its own.
    let mut headers: Vec<_> =
        (0..600).map(|_| session_with(manager, &[("user", "ada"), ("value", &"x".repeat(5000))])).collect();
    let reader = sqlite.connect();
    reader.execute_batch("BEGIN; SELECT count(*) FROM sessions").unwrap();
    visit(manager, 1).unwrap();
    fill(&sqlite.folder().join("filler"));
    // A logout that is refused takes all of its time.
    let hasty = with_timeout(&sqlite.url(), Duration::from_secs(5));
    let ended = headers.iter().take_while(|header| hasty.destroy(header.as_str()).is_ok()).count();
    assert!(ended < headers.len(), "more of them are needed to fill the disk");
    reader.execute_batch("COMMIT").unwrap();
    headers.split_off(ended)
}

#[test]
fn the_reserve_is_used_up_before_a_logout_is_refused() {
    on_a_small_disk("24m", |sqlite| {
        let manager = sqlite.manager();
        let headers = use_up_reserve(sqlite, &manager);
        // What is left of the reserve is for the growth of the database.
        let left = fs::metadata(sqlite.companion("-reserve")).map_or(0, |reserve| reserve.len());
        assert!(left < 1 << 19, "{} sessions are left, and there is room: {left}", headers.len());
        let _ = manager.destroy(&headers[0]).unwrap();
    });
}

#[test]
fn a_logout_on_a_full_disk_waits_for_the_checkpoint_of_another_process() {
    on_a_small_disk("24m", |sqlite| {
        let manager = with_timeout(&sqlite.url(), Duration::from_secs(60));
        let headers = use_up_reserve(sqlite, &manager);
        let (locked, done) = (Signals::new(), Signals::new());
        let other = child(|| {
            let index = fs::File::options().write(true).open(sqlite.companion("-shm")).unwrap();
            fcntl(&index, FcntlArg::F_SETLK(&CHECKPOINT_LOCK)).unwrap();
            locked.send();
            done.wait();
            String::new()
        });
        locked.wait();
        thread::scope(|scope| {
            let logout = scope.spawn(|| manager.destroy(&headers[0]).map(drop));
            until(|| logout.is_finished() || is_a_thread_asleep());
            done.send();
            logout.join().unwrap().unwrap();
        });
        other.join();
        assert!(!is_alive(&manager, &headers[0]));
    });
}

#[test]
fn room_that_was_given_up_for_a_checkpoint_does_not_go_to_the_log() {
    on_a_small_disk("12m", |sqlite| {
        let manager = sqlite.manager();
        session_with(&manager, &[("user", "ada")]);
        // The log has to become longer for the next save.
        let _ = sqlite.connect().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        let filler = sqlite.folder().join("filler");
        fill(&filler);
        // Another process has given up the reserve, and half of its room is in use already.
        fs::remove_file(sqlite.companion("-reserve")).unwrap();
        fill(&sqlite.folder().join("checkpoint"));
        let filler = fs::File::options().write(true).open(filler).unwrap();
        filler.set_len(filler.metadata().unwrap().len() - (1 << 19)).unwrap();
        let length = || fs::metadata(sqlite.companion("-wal")).unwrap().len();
        let before = length();
        let (kind, message) = failure(visit(&manager, 1));
        assert!(kind == StoreErrorKind::Rejected && message.contains("disk is full"), "{kind:?} {message}");
        assert_eq!(length(), before);
    });
}

#[test]
fn sessions_can_be_ended_by_workers_that_are_started_on_a_full_disk() {
    on_a_small_disk("12m", |sqlite| {
        let before = sqlite.manager();
        let sessions = log_in(&before, "ada", 4);
        drop(before);
        assert!(!Path::new(&sqlite.companion("-wal")).exists(), "nobody has it open");
        fill(&sqlite.folder().join("filler"));
        log_out(&sqlite.manager(), "ada", &sessions);
    });
}

#[test]
fn sessions_that_expire_make_room_on_a_full_disk() {
    on_a_small_disk("12m", |sqlite| {
        let (now, pass) = clock();
        let store = SqliteStore::with_clock(sqlite.path(), now);
        let manager = builder("memory:").store(store).idle_timeout(Duration::from_secs(100)).build().unwrap();
        flood(&manager);
        pass(Duration::from_secs(200));
        until(|| visit(&manager, 2000).is_ok());
        let header = log_in(&manager, "ada", 1).remove(0);
        assert!(is_alive(&manager, &header));
    });
}

#[test]
fn the_log_file_has_room_for_many_commits_before_it_becomes_longer() {
    let sqlite = Sqlite::new();
    let manager = sqlite.manager();
    let mut session = manager.load(&session_with(&manager, &[("user", "ada")])).unwrap();
    let lengths: BTreeSet<u64> = (0..1000)
        .map(|number| {
            session.set("number", &number).unwrap();
            session.save().unwrap();
            fs::metadata(sqlite.companion("-wal")).unwrap().len()
        })
        .collect();
    assert!(lengths.len() < 50, "{lengths:?}");
}

#[test]
fn the_log_stays_short_while_there_is_always_a_reader() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let manager = sqlite.manager();
        let header = session_with(&manager, &[("value", "")]);
        let readers = [sqlite.connect(), sqlite.connect()];
        let stop = AtomicBool::new(false);
        let longest = thread::scope(|scope| {
            let _stop = StopOnDrop(&stop);
            let [one, other] = readers;
            scope.spawn(|| {
                // Each reader ends when the next one has begun.
                let (mut ending, mut beginning) = (one, other);
                ending.execute_batch("BEGIN; SELECT count(*) FROM sessions").unwrap();
                while !stop.load(Ordering::Relaxed) {
                    beginning.execute_batch("BEGIN; SELECT count(*) FROM sessions").unwrap();
                    thread::sleep(Duration::from_millis(2));
                    ending.execute_batch("COMMIT").unwrap();
                    std::mem::swap(&mut ending, &mut beginning);
                }
            });
            let save = |number: u32| {
                let mut session = manager.load(&header).unwrap();
                // The value is another one on each page.
                session.set("value", &format!("{number:010}").repeat(10_000)).unwrap();
                session.save().unwrap();
                fs::metadata(sqlite.companion("-wal")).unwrap().len()
            };
            (0..1000).map(save).max().unwrap()
        });
        // 100 MB went through the log.
        assert!(longest < 50 << 20, "{longest} bytes");
    });
}
