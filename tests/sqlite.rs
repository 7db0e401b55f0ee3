//! The embedded store: its file, its locks, its forks, and workers that are killed.

#![allow(missing_docs)]

mod support;

use multi_process_session::{Refresh, SessionManager, SqliteStore, StoreErrorKind};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use std::fs;
use std::io::{PipeReader, Read, Write, pipe};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};
use support::fork::{Child, child, children, in_own_process};
use support::{builder, clock, cookie, failure, manager, session_with};
use tempfile::TempDir;

fn url(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join("sessions.db").display())
}

fn sql(folder: &TempDir) -> rusqlite::Connection {
    rusqlite::Connection::open(folder.path().join("sessions.db")).unwrap()
}

// ---- the file ----

#[test]
fn the_file_is_made_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager(&url(&folder));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "build opens nothing");
    let header = session_with(&manager, &[("user", "ada")]);
    assert_eq!(manager.load(&header).unwrap().keys(), ["user"]);
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
    drop(manager);
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["sessions.db", "sessions.db-reserve"], "the log is put away");
}

#[test]
fn what_is_wrong_with_the_file_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.db");
    let ping = || failure(manager(&url(&folder)).ping());

    let missing = manager(&format!("sqlite://{}/missing/sessions.db", folder.path().display()));
    let (kind, message) = failure(missing.ping());
    assert!(kind == StoreErrorKind::Unavailable && message.contains("folder is missing"), "{message}");

    fs::write(&file, "this is not a database, but a text that is long enough to look at").unwrap();
    let (kind, message) = ping();
    assert!(kind == StoreErrorKind::Backend && message.contains("not a SQLite database"), "{message}");
    assert!(fs::read_to_string(&file).unwrap().starts_with("this is not a database"), "it is left alone");

    fs::remove_file(&file).unwrap();
    sql(&folder).execute_batch("CREATE TABLE customers (name TEXT)").unwrap();
    let before = fs::read(&file).unwrap();
    let (kind, message) = ping();
    assert!(kind == StoreErrorKind::Backend && message.contains("something else"), "{message}");
    assert_eq!(fs::read(&file).unwrap(), before, "it is left alone");

    fs::remove_file(&file).unwrap();
    manager(&url(&folder)).ping().unwrap();
    sql(&folder).pragma_update(None, "user_version", 3).unwrap();
    let (kind, message) = ping();
    assert!(kind == StoreErrorKind::Backend && message.contains("version 3"), "{message}");

    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(ping().0, StoreErrorKind::Unavailable);
}

#[test]
fn a_file_that_may_not_be_written_can_be_read() {
    in_own_process("a_file_that_may_not_be_written_can_be_read", || {
        let folder = tempfile::tempdir().unwrap();
        let writer = manager(&url(&folder));
        let header = session_with(&writer, &[("user", "ada")]);
        let guard = writer.before_fork();
        let readable = |mode| {
            for path in fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()) {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
        };
        readable(0o444);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let said = child(|| {
            // Root may write everything.
            if nix::unistd::getuid().is_root() {
                nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).unwrap();
            }
            let manager = manager(&url(&folder));
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
fn a_file_that_cannot_grow_refuses_saves_and_loses_nothing() {
    in_own_process("a_file_that_cannot_grow_refuses_saves_and_loses_nothing", || {
        let folder = tempfile::tempdir().unwrap();
        let said = child(|| {
            let manager = manager(&url(&folder));
            let header = session_with(&manager, &[("user", "ada")]);
            // SAFETY: the signal is ignored, no handler of ours runs.
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
        assert!(is_sound(&folder));
    });
}

#[test]
fn ended_sessions_do_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let (now, pass) = clock();
    let store = SqliteStore::with_clock(folder.path().join("sessions.db"), now);
    let manager = builder("memory:").store(store).idle_timeout(Duration::from_secs(100)).build().unwrap();
    let count = |table: &str| -> u32 {
        sql(&folder).query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
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
    let folder = tempfile::tempdir().unwrap();
    let manager = manager(&url(&folder));
    let header = session_with(&manager, &[("user", "ada")]);
    for name in ["sessions.db", "sessions.db-wal", "sessions.db-shm"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while !manager.load(&header).unwrap().is_new() {
        assert!(Instant::now() < deadline, "the worker goes on with a file that is not there");
        thread::yield_now();
    }
    let header = session_with(&manager, &[("user", "grace")]);
    assert!(!support::manager(&url(&folder)).load(&header).unwrap().is_new(), "others find what is saved then");

    fs::remove_file(folder.path().join("sessions.db")).unwrap();
    let (kind, message) = failure(support::manager(&url(&folder)).ping());
    assert!(kind == StoreErrorKind::Unavailable && message.contains("its log is there"), "{message}");
}

#[test]
fn closing_a_file_that_was_replaced_does_not_harm_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (old, idle) = (manager(&url(&folder)), manager(&url(&folder)));
    old.ping().unwrap();
    idle.ping().unwrap();
    for name in ["sessions.db", "sessions.db-wal", "sessions.db-shm"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let new = manager(&url(&folder));
    let header = session_with(&new, &[("user", "ada")]);
    let log = || fs::metadata(folder.path().join("sessions.db-wal")).map(|log| log.len()).unwrap_or(0);
    let before = log();
    assert!(before > 0, "what was saved is in the log");
    drop((old, idle));
    assert_eq!(log(), before, "and stays there");
    assert!(!new.load(&header).unwrap().is_new());
}

#[test]
fn numbers_that_we_never_write_are_not_believed() {
    for damage in ["version = -1", "size = -1", "idle = -1", "version = 9223372036854775807"] {
        let folder = tempfile::tempdir().unwrap();
        let manager = manager(&url(&folder));
        let header = session_with(&manager, &[("user", "ada")]);
        let mut session = manager.load(&header).unwrap();
        sql(&folder).execute(&format!("UPDATE sessions SET {damage}"), []).unwrap();
        session.set("a", &1).unwrap();
        assert_eq!(failure(session.save()).0, StoreErrorKind::Corrupt, "{damage}");
        let _ = manager.destroy(&header).unwrap();
        assert!(manager.load(&header).unwrap().is_new());
    }
}

#[test]
fn a_row_that_somebody_damaged_is_one_sessions_problem() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager(&url(&folder));
    let header = session_with(&manager, &[("user", "ada")]);
    sql(&folder).execute("UPDATE session_values SET json = CAST(x'22ff22' AS TEXT)", []).unwrap();
    let other = session_with(&manager, &[("user", "grace")]);
    let (kind, message) = failure(manager.load(&header));
    assert!(kind == StoreErrorKind::Corrupt && message.contains("destroy()"), "{message}");
    assert_eq!(manager.load(&other).unwrap().keys(), ["user"]);
    let _ = manager.destroy(&header).unwrap();
    assert!(manager.load(&header).unwrap().is_new());
}

// ---- locks ----

#[test]
fn a_lock_is_waited_for_until_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let manager = builder(&url(&folder)).operation_timeout(Duration::from_millis(300)).build().unwrap();
    let header = session_with(&manager, &[("user", "ada")]);
    let locked = sql(&folder);
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut session = manager.load(&header).expect("reading waits for nobody");
    session.set("a", &1).unwrap();
    let start = Instant::now();
    let (kind, message) = failure(session.save());
    assert!(kind == StoreErrorKind::Timeout && message.contains("locked"), "{message}");
    assert!((0.3..3.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    thread::scope(|scope| {
        let patient = builder(&url(&folder)).operation_timeout(Duration::from_secs(60)).build().unwrap();
        let waiting = scope.spawn(move || session_with(&patient, &[("b", "2")]));
        locked.execute_batch("COMMIT").unwrap();
        waiting.join().unwrap();
    });
    session.save().unwrap();
    assert_eq!(manager.load(&header).unwrap().keys(), ["a", "user"]);
}

#[test]
fn a_refresh_that_cannot_be_written_does_not_fail_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let (now, pass) = clock();
    let store = SqliteStore::with_clock(folder.path().join("sessions.db"), now);
    let manager = builder("memory:").store(store).operation_timeout(Duration::from_millis(300)).build().unwrap();
    let header = session_with(&manager, &[("user", "ada")]);
    pass(Duration::from_secs(1000));
    let locked = sql(&folder);
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(manager.load(&header).unwrap().save().unwrap(), None, "not refreshed, so no cookie");
    locked.execute_batch("ROLLBACK").unwrap();
    assert!(manager.load(&header).unwrap().save().unwrap().is_some(), "refreshed");
}

#[test]
fn a_refresh_that_waits_for_a_lock_brings_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let (now, pass) = clock();
    let store = Arc::new(SqliteStore::with_clock(folder.path().join("sessions.db"), now));
    let idle = Duration::from_secs(1000);
    let manager = || builder("memory:").store(store.clone()).idle_timeout(idle).build().unwrap();
    let (waiting, other) = (manager(), manager());
    let header = session_with(&waiting, &[("user", "ada")]);
    pass(Duration::from_secs(1009));
    let locked = sql(&folder);
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        let loads = scope.spawn(|| waiting.load(&header).unwrap().is_new());
        // Until it has read, and waits with its refresh.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_waiting() {
            assert!(Instant::now() < deadline, "nobody waits for the lock");
            thread::yield_now();
        }
        pass(Duration::from_secs(2));
        assert!(other.load(&header).unwrap().is_new(), "expired");
        locked.execute_batch("ROLLBACK").unwrap();
        assert!(loads.join().unwrap(), "it has ended while the lock was waited for");
    });
    assert!(other.load(&header).unwrap().is_new(), "and stays so");
}

#[test]
fn a_refresh_that_waits_for_a_lock_finds_a_session_that_got_a_new_id_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let manager = builder(&url(&folder)).refresh(Refresh::EveryLoad).build().unwrap();
    let header = session_with(&manager, &[("user", "ada")]);
    let locked = sql(&folder);
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        let loads = scope.spawn(|| manager.load(&header).unwrap().get::<String>("user").unwrap());
        // Until it has read, and waits with its refresh.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_waiting() {
            assert!(Instant::now() < deadline, "nobody waits for the lock");
            thread::yield_now();
        }
        // What `regenerate_with_grace` does.
        let move_on = "INSERT INTO forwards SELECT id, x'', zeroblob(18), refreshed + 60000, expires FROM sessions;
             UPDATE sessions SET id = zeroblob(18), version = version + 1;
             COMMIT";
        locked.execute_batch(move_on).unwrap();
        assert_eq!(loads.join().unwrap().as_deref(), Some("ada"), "the old id still reaches it");
    });
}

#[test]
fn waits_for_the_lock_are_counted() {
    in_own_process("waits_for_the_lock_are_counted", || {
        let folder = tempfile::tempdir().unwrap();
        let manager = manager(&url(&folder));
        let header = session_with(&manager, &[("user", "ada")]);
        assert_eq!((manager.stats().lock_waits, manager.stats().lock_waited), (0, Duration::ZERO));
        let locked = sql(&folder);
        locked.execute_batch("BEGIN IMMEDIATE").unwrap();
        thread::scope(|scope| {
            let save = scope.spawn(|| {
                let mut session = manager.load(&header).unwrap();
                session.set("a", &1).unwrap();
                session.save().unwrap();
            });
            let deadline = Instant::now() + Duration::from_secs(20);
            while !is_waiting() {
                assert!(Instant::now() < deadline, "nobody waits for the lock");
                thread::yield_now();
            }
            locked.execute_batch("COMMIT").unwrap();
            save.join().unwrap();
        });
        let stats = manager.stats();
        assert!(stats.lock_waits == 1 && stats.lock_waited > Duration::ZERO, "{stats:?}");
    });
}

/// Whether a thread of this process sleeps for a moment, as one that waits for a lock does.
fn is_waiting() -> bool {
    let system_calls = fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("syscall")).ok());
    // clock_nanosleep on x86-64 and on ARM.
    system_calls.into_iter().any(|call| call.starts_with("230 ") || call.starts_with("115 "))
}

#[test]
fn eight_processes_that_write_at_once_never_meet_a_lock() {
    in_own_process("eight_processes_that_write_at_once_never_meet_a_lock", || {
        let folder = tempfile::tempdir().unwrap();
        // The file itself is made by all of them at once, too.
        let manager = builder(&url(&folder)).operation_timeout(Duration::from_secs(60)).build().unwrap();
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

// ---- forks ----

#[test]
fn children_of_a_parent_that_has_not_used_it_share_the_file() {
    in_own_process("children_of_a_parent_that_has_not_used_it_share_the_file", || {
        let folder = tempfile::tempdir().unwrap();
        let manager = manager(&url(&folder));
        let tokens = children(8, |_| (0..100).map(|_| session_with(&manager, &[("a", "1")]) + "\n").collect());
        let tokens: std::collections::BTreeSet<String> =
            tokens.iter().flat_map(|said| said.lines()).map(str::to_owned).collect();
        assert_eq!(tokens.len(), 800);
        assert!(tokens.iter().all(|header| manager.load(&**header).unwrap().keys() == ["a"]));
    });
}

#[test]
fn a_child_forked_while_the_file_was_open_is_told_so_and_harms_nobody() {
    in_own_process("a_child_forked_while_the_file_was_open_is_told_so_and_harms_nobody", || {
        let folder = tempfile::tempdir().unwrap();
        let manager = manager(&url(&folder));
        let header = session_with(&manager, &[("user", "ada")]);
        for _ in 0..8 {
            let said = child(|| {
                let opened = open_files();
                let (load, message) = failure(manager.load(&header));
                assert!(message.contains("before_fork()"), "{message}");
                // Nor by another manager, nor in a grandchild.
                let other = failure(support::manager(&url(&folder)).ping()).0;
                let grandchild = child(|| format!("{:?}", failure(manager.ping()).0)).join();
                assert_eq!(open_files(), opened, "SQLite is not touched");
                format!("{load:?} {other:?} {grandchild}")
            });
            // The parent works on meanwhile.
            let mut session = manager.load(&header).unwrap();
            session.increment("count", 1).unwrap();
            session.save().unwrap();
            assert_eq!(said.join(), "Forked Forked Forked");
        }
        assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(8));
        assert!(is_sound(&folder));
    });
}

#[test]
fn children_forked_under_a_guard_are_all_right_in_every_order_of_exits() {
    in_own_process("children_forked_under_a_guard_are_all_right_in_every_order_of_exits", || {
        for order in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let manager = manager(&url(&folder));
            let header = session_with(&manager, &[("user", "ada")]);
            let count = |times: u32| {
                for _ in 0..times {
                    let mut session = manager.load(&header).unwrap();
                    session.increment("count", 1).unwrap();
                    session.save().unwrap();
                }
            };
            let guard = manager.before_fork();
            let mut forked: Vec<Child> = (0..8)
                .map(|number| {
                    child(|| {
                        // The first, the last, or all of them end early, while others still work.
                        count(if order == 2 || number == order * 7 { 5 } else { 50 });
                        String::new()
                    })
                })
                .collect();
            drop(guard);
            count(20);
            if order == 1 {
                forked.reverse();
            }
            forked.into_iter().for_each(|child| drop(child.join()));
            count(1);
            let expected = if order == 2 { 8 * 5 } else { 7 * 50 + 5 } + 21;
            assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(expected));
            drop(manager);
            assert!(is_sound(&folder), "order {order}");
        }
    });
}

#[test]
fn threads_that_fork_at_once_under_their_own_guards_have_sound_children() {
    in_own_process("threads_that_fork_at_once_under_their_own_guards_have_sound_children", || {
        let folder = tempfile::tempdir().unwrap();
        // Many connections, so that closing them takes a while.
        let manager = builder(&url(&folder)).pool_size(16).operation_timeout(Duration::from_secs(60)).build().unwrap();
        let header = session_with(&manager, &[("user", "ada")]);
        let count = || {
            let mut session = manager.load(&header).unwrap();
            session.increment("count", 1).unwrap();
            session.set("large", &"x".repeat(100_000)).unwrap();
            session.save().unwrap();
        };
        let rounds = 40;
        for round in 0..rounds {
            let together = Barrier::new(6);
            thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| {
                        // All have a connection open, and begin to fork at the same moment.
                        count();
                        together.wait();
                        let guard = manager.before_fork();
                        let forked = child(|| {
                            count();
                            String::new()
                        });
                        drop(guard);
                        forked.join();
                    });
                }
            });
            assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(12 * (round + 1)));
        }
        assert!(is_sound(&folder));
    });
}

// ---- kill -9 ----

#[test]
fn workers_killed_in_the_middle_of_saves_lose_no_acknowledged_one() {
    in_own_process("workers_killed_in_the_middle_of_saves_lose_no_acknowledged_one", || {
        let folder = tempfile::tempdir().unwrap();
        let manager = builder(&url(&folder)).operation_timeout(Duration::from_secs(60)).build().unwrap();
        let headers: Vec<String> = (0..4).map(|_| session_with(&manager, &[("start", "x")])).collect();
        let mut acknowledged = [0_u64; 4];
        let mut random = 1_u64;
        for round in 0..50 {
            let workers: Vec<(Child, PipeReader)> = {
                let _guard = manager.before_fork();
                headers.iter().map(|header| saving_worker(&manager, header)).collect()
            };
            // Each is killed after a number of acknowledged saves, wherever the next one is by then.
            for (number, (worker, mut said)) in workers.into_iter().enumerate() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let mut last = [0; 8];
                for _ in 0..=(random >> 33) % 20 {
                    said.read_exact(&mut last).unwrap();
                }
                // Somewhere in the next one, which takes about as long.
                let moment = Instant::now() + Duration::from_micros((random >> 40) % 2000);
                while Instant::now() < moment {}
                worker.kill();
                // What it still acknowledged before it died.
                while said.read_exact(&mut last).is_ok() {}
                acknowledged[number] = u64::from_le_bytes(last);
            }
            for (header, acknowledged) in headers.iter().zip(&mut acknowledged) {
                let session = manager.load(&**header).unwrap();
                let (one, two) = (session.get::<u64>("one").unwrap(), session.get::<String>("two").unwrap());
                assert!(one.map(many_pages) == two, "round {round}: half a save");
                assert!(one >= Some(*acknowledged), "round {round}: {one:?} of {acknowledged}");
                assert!(one <= Some(*acknowledged + 1), "round {round}: more than was sent");
            }
        }
        assert!(is_sound(&folder));
    });
}

/// A child that counts on in a session, and says each count that was acknowledged.
fn saving_worker(manager: &SessionManager, header: &str) -> (Child, PipeReader) {
    let (said, mut say) = pipe().unwrap();
    let worker = child(|| {
        let mut session = manager.load(header).unwrap();
        let mut next = session.get::<u64>("one").unwrap().unwrap_or_default();
        loop {
            next += 1;
            session.set("one", &next).unwrap();
            session.set("two", &many_pages(next)).unwrap();
            session.save().unwrap();
            say.write_all(&next.to_le_bytes()).unwrap();
        }
    });
    (worker, said)
}

/// A value that takes many pages of the file, so that writing it takes a while.
fn many_pages(count: u64) -> String {
    format!("{count:08}").repeat(5_000)
}

fn is_sound(folder: &TempDir) -> bool {
    let check: String = sql(folder).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    check == "ok"
}

/// The files of the database that this process has open.
fn open_files() -> Vec<String> {
    let targets = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let mut files: Vec<String> = targets.filter(|path| is_ours(path)).map(|path| path.display().to_string()).collect();
    files.sort();
    files
}

fn is_ours(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sessions.db"))
}

/// How many commits there are in the log.
fn commits(log: &Path) -> usize {
    // A header, and frames of a header and a page of 4 kB. The frame that ends a commit tells the database's length.
    let log = fs::read(log).unwrap();
    let salts = &log[16..24];
    log[32..].chunks_exact(24 + 4096).filter(|frame| frame[8..16] == *salts && frame[4..8] != [0; 4]).count()
}

#[test]
fn a_limit_that_ends_many_sessions_does_not_keep_others_waiting_until_they_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let url = format!("sqlite://{}", path.display());
    let log_in = |manager: &SessionManager| {
        let mut session = manager.load(None).unwrap();
        session.set_group_name("ada");
        cookie(&session.save().unwrap().unwrap())
    };
    let unlimited = manager(&url);
    let first = log_in(&unlimited);
    // As many more, with ids of their own.
    let sql = rusqlite::Connection::open(&path).unwrap();
    sql.execute_batch(
        "CREATE TEMP TABLE copies AS SELECT * FROM sessions;
         WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n <= 3000)
         INSERT INTO copies SELECT n, randomblob(18), namespace, in_group, group_name, version, created, joined, n,
                                   began, refreshed, ends, idle, own_idle, expires, keys, size, nonces
                            FROM numbers, (SELECT * FROM sessions);
         INSERT INTO main.sessions SELECT * FROM copies WHERE serial > 1;
         PRAGMA wal_checkpoint(TRUNCATE);",
    )
    .unwrap();
    let last = log_in(&unlimited);
    assert_eq!(unlimited.group("ada").len().unwrap(), 3002);
    sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let limited = builder(&url).max_sessions_per_group(5).build().unwrap();
    let new = log_in(&limited);
    // One for the login, which ends them all, and one for each part that is removed.
    let commits = commits(&folder.path().join("sessions.db-wal"));
    assert!(commits > 5, "{commits} commits");
    assert_eq!(limited.group("ada").len().unwrap(), 5);
    let alive = |header: &str| !limited.load(header).unwrap().is_new();
    assert_eq!([alive(&first), alive(&last), alive(&new)], [false, true, true]);
    let kept: i64 = sql.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 5);
    // Those that stayed keep their order.
    for _ in 0..3 {
        log_in(&limited);
    }
    assert_eq!([alive(&last), alive(&new)], [true, true]);
    log_in(&limited);
    assert_eq!([alive(&last), alive(&new)], [false, true]);
}
