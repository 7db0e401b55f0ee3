//! Locks of a SQLite file: processes and threads that write at the same time wait for each other, until their
//! deadlines.

use crate::support::fork::{children, in_own_process, is_a_thread_asleep, is_waiting};
use crate::support::sqlite::Sqlite;
use crate::support::wait::in_time;
use crate::support::{builder, clock, failure, is_alive, login, session_with, until, with_timeout};
use multi_process_session::store::Store;
use multi_process_session::{Refresh, SessionManager, SqliteStore, StoreErrorKind};
use nix::unistd::gettid;
use std::fs;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_lock_is_waited_for_until_the_deadline() {
    let sqlite = Sqlite::new();
    let manager = with_timeout(&sqlite.url(), Duration::from_millis(300));
    let header = session_with(&sqlite.manager(), &[("user", "ada")]);
    let locked = sqlite.connect();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut session = manager.load(&header).expect("reading waits for nobody");
    session.set("a", &1).unwrap();
    let start = Instant::now();
    let (kind, message) = failure(session.save());
    assert!(kind == StoreErrorKind::Timeout && message.contains("locked"), "{message}");
    assert!((0.3..3.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    thread::scope(|scope| {
        let patient = with_timeout(&sqlite.url(), Duration::from_secs(60));
        let waiting = scope.spawn(move || session_with(&patient, &[("b", "2")]));
        locked.execute_batch("COMMIT").unwrap();
        waiting.join().unwrap();
    });
    session.save().unwrap();
    assert_eq!(manager.load(&header).unwrap().keys(), ["a", "user"]);
}

#[test]
fn a_refresh_that_cannot_be_written_does_not_fail_the_load() {
    let sqlite = Sqlite::new();
    let (now, pass) = clock();
    let store = SqliteStore::with_clock(sqlite.path(), now);
    let manager = builder("memory:").store(store).operation_timeout(Duration::from_millis(300)).build().unwrap();
    let header = session_with(&manager, &[("user", "ada")]);
    pass(Duration::from_secs(1000));
    let locked = sqlite.connect();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(manager.load(&header).unwrap().save().unwrap(), None, "not refreshed, so no cookie");
    locked.execute_batch("ROLLBACK").unwrap();
    assert!(manager.load(&header).unwrap().save().unwrap().is_some(), "refreshed");
    assert_eq!(manager.stats().connections, 1, "a connection that met a lock is used again");
}

#[test]
fn a_refresh_that_waits_for_a_lock_brings_nothing_back() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let (now, pass) = clock();
        let store = Arc::new(SqliteStore::with_clock(sqlite.path(), now));
        let idle = Duration::from_secs(1000);
        let manager = || builder("memory:").store(store.clone()).idle_timeout(idle).build().unwrap();
        let (waiting, other) = (manager(), manager());
        let header = session_with(&waiting, &[("user", "ada")]);
        pass(Duration::from_secs(1009));
        let locked = sqlite.connect();
        locked.execute_batch("BEGIN IMMEDIATE").unwrap();
        thread::scope(|scope| {
            let loads = scope.spawn(|| waiting.load(&header).unwrap().is_new());
            // Now it has read, and waits with its refresh.
            until(|| is_a_thread_asleep());
            pass(Duration::from_secs(2));
            assert!(other.load(&header).unwrap().is_new(), "expired");
            locked.execute_batch("ROLLBACK").unwrap();
            assert!(loads.join().unwrap(), "it has ended while the lock was waited for");
        });
        assert!(other.load(&header).unwrap().is_new(), "and stays so");
    });
}

#[test]
fn a_refresh_that_waits_for_a_lock_finds_a_session_that_got_a_new_id_meanwhile() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let manager = builder(&sqlite.url()).refresh(Refresh::EveryLoad).build().unwrap();
        let header = session_with(&manager, &[("user", "ada")]);
        let locked = sqlite.connect();
        locked.execute_batch("BEGIN IMMEDIATE").unwrap();
        thread::scope(|scope| {
            let loads = scope.spawn(|| manager.load(&header).unwrap().get::<String>("user").unwrap());
            // Now it has read, and waits with its refresh.
            until(|| is_a_thread_asleep());
            // This is what `regenerate_with_grace` does.
            let move_on = "INSERT INTO forwards SELECT id, x'', zeroblob(18), refreshed + 60000, expires FROM sessions;
             UPDATE sessions SET id = zeroblob(18), version = version + 1;
             COMMIT";
            locked.execute_batch(move_on).unwrap();
            assert_eq!(loads.join().unwrap().as_deref(), Some("ada"), "the old id still reaches it");
        });
    });
}

#[test]
fn waits_for_the_lock_are_counted() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let manager = sqlite.manager();
        let header = session_with(&manager, &[("user", "ada")]);
        assert_eq!((manager.stats().lock_waits, manager.stats().lock_waited), (0, Duration::ZERO));
        let locked = sqlite.connect();
        locked.execute_batch("BEGIN IMMEDIATE").unwrap();
        thread::scope(|scope| {
            let save = scope.spawn(|| {
                let mut session = manager.load(&header).unwrap();
                session.set("a", &1).unwrap();
                session.save().unwrap();
            });
            until(|| is_a_thread_asleep());
            locked.execute_batch("COMMIT").unwrap();
            save.join().unwrap();
        });
        let stats = manager.stats();
        assert!(stats.lock_waits == 1 && stats.lock_waited > Duration::ZERO, "{stats:?}");
    });
}

#[test]
fn threads_that_wait_to_write_keep_their_deadlines_and_leave_readers_alone() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let store = Arc::new(SqliteStore::new(sqlite.path()));
        let manager = |timeout| builder("memory:").store(store.clone()).operation_timeout(timeout).build().unwrap();
        let (patient, hasty) = (manager(Duration::from_secs(60)), manager(Duration::from_millis(300)));
        let header = session_with(&patient, &[("user", "ada")]);
        let save = |manager: &SessionManager| {
            let mut session = manager.load(&header).unwrap();
            session.increment("count", 1).unwrap();
            session.save().map(drop)
        };
        let locked = sqlite.connect();
        locked.execute_batch("BEGIN IMMEDIATE").unwrap();
        thread::scope(|scope| {
            let first = scope.spawn(|| save(&patient));
            until(|| is_a_thread_asleep());
            // There are more of them than connections.
            let others: Vec<_> = (0..12)
                .map(|_| {
                    let (tell, told) = mpsc::channel();
                    let (save, patient) = (&save, &patient);
                    let other = scope.spawn(move || {
                        tell.send(gettid()).unwrap();
                        save(patient)
                    });
                    let waiting = told.recv().unwrap();
                    until(|| is_waiting(waiting));
                    other
                })
                .collect();
            let (kind, message) = in_time(Duration::from_millis(300), || failure(save(&hasty)));
            assert!(kind == StoreErrorKind::Timeout && message.contains("locked"), "{message}");
            assert!(!hasty.load(&header).unwrap().is_new(), "readers have connections");
            assert_eq!(store.stats().lock_waits, 1, "the others still wait");
            locked.execute_batch("COMMIT").unwrap();
            first.join().unwrap().unwrap();
            others.into_iter().for_each(|other| other.join().unwrap().unwrap());
        });
        assert_eq!(patient.load(&header).unwrap().get("count").unwrap(), Some(13));
        assert_eq!(store.stats().lock_waits, 14);
    });
}

#[test]
fn eight_processes_that_write_at_once_never_meet_a_lock() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        // The file itself is made by all of them at once, too.
        let manager = with_timeout(&sqlite.url(), Duration::from_secs(60));
        let headers = children(8, |_| {
            let header = session_with(&manager, &[("user", "ada")]);
            for _ in 0..200 {
                let mut session = manager.load(&header).unwrap();
                session.increment("count", 1).unwrap();
                session.save().unwrap();
            }
            header
        });
        for header in headers {
            assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(200));
        }
    });
}

/// How many commits there are in the log.
fn commits(log: &Path) -> usize {
    // A header, and frames of a header and a page of 4 kB. The frame that ends a commit has the length of the database.
    let log = fs::read(log).unwrap();
    let salts = &log[16..24];
    log[32..].chunks_exact(24 + 4096).filter(|frame| frame[8..16] == *salts && frame[4..8] != [0; 4]).count()
}

#[test]
fn a_limit_that_ends_many_sessions_does_not_keep_others_waiting_until_they_are_removed() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let unlimited = sqlite.manager();
        let first = login(&unlimited, "ada");
        // Copies it 3,000 times, with an id for each copy.
        let sql = sqlite.connect();
        sql.execute_batch(
            "CREATE TEMP TABLE copies AS SELECT * FROM sessions;
         WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n <= 3000)
         INSERT INTO copies SELECT n, randomblob(18), namespace, in_group, group_name, version, created, joined,
                                   join_order + n, began, refreshed, ends, idle, own_idle, persistent,
                                   expires, keys, size, nonces, copied
                            FROM numbers, (SELECT * FROM sessions);
         INSERT INTO main.sessions SELECT * FROM copies WHERE serial > 1;
         PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .unwrap();
        let last = login(&unlimited, "ada");
        assert_eq!(unlimited.group("ada").len().unwrap(), 3002);
        sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let limited = builder(&sqlite.url()).max_sessions_per_group(5).build().unwrap();
        let new = login(&limited, "ada");
        // One commit is the login, which ends all of them. Each part that is removed has a commit of its own.
        let commits = commits(&sqlite.companion("-wal"));
        assert!(commits > 5, "{commits} commits");
        assert_eq!(limited.group("ada").len().unwrap(), 5);
        let alive = |header: &str| is_alive(&limited, header);
        assert_eq!([alive(&first), alive(&last), alive(&new)], [false, true, true]);
        assert_eq!(sqlite.count("sessions"), 5);
        // The others keep their order.
        for _ in 0..3 {
            login(&limited, "ada");
        }
        assert_eq!([alive(&last), alive(&new)], [true, true]);
        login(&limited, "ada");
        assert_eq!([alive(&last), alive(&new)], [false, true]);
    });
}
