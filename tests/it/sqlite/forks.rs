//! Forks of a process that uses a SQLite file: a child that inherits an open file does not touch it, and gets an error.

use crate::support::fork::{Child, child, child_of, children, in_own_process, is_a_thread_asleep, is_waiting};
use crate::support::sqlite::Sqlite;
use crate::support::wait::StopOnDrop;
use crate::support::{builder, failure, manager, session_with, until};
use nix::unistd::gettid;
use std::fs;
use std::iter;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

#[test]
fn children_of_a_parent_that_has_not_used_it_share_the_file() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let manager = sqlite.manager();
        let tokens = children(8, |_| (0..100).map(|_| session_with(&manager, &[("a", "1")]) + "\n").collect());
        let tokens: std::collections::BTreeSet<String> =
            tokens.iter().flat_map(|said| said.lines()).map(str::to_owned).collect();
        assert_eq!(tokens.len(), 800);
        assert!(tokens.iter().all(|header| manager.load(&**header).unwrap().keys() == ["a"]));
    });
}

#[test]
fn a_child_forked_while_the_file_was_open_is_told_so_and_harms_nobody() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let manager = sqlite.manager();
        let header = session_with(&manager, &[("user", "ada")]);
        for _ in 0..8 {
            let said = child(|| {
                let opened = open_files();
                let (load, message) = failure(manager.load(&header));
                assert!(message.contains("before_fork()"), "{message}");
                // The same for another manager, and for a grandchild.
                let other = failure(sqlite.manager().ping()).0;
                let grandchild = child(|| format!("{:?}", failure(manager.ping()).0)).join();
                assert_eq!(open_files(), opened, "SQLite is not touched");
                format!("{load:?} {other:?} {grandchild}")
            });
            // Meanwhile the parent goes on.
            let mut session = manager.load(&header).unwrap();
            session.increment("count", 1).unwrap();
            session.save().unwrap();
            assert_eq!(said.join(), "Forked Forked Forked");
        }
        assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(8));
        sqlite.assert_sound();
    });
}

#[test]
fn children_forked_under_a_guard_are_all_right_in_every_order_of_exits() {
    in_own_process(|| {
        for order in 0..3 {
            let sqlite = Sqlite::new();
            let manager = sqlite.manager();
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
                        // The first child ends early, or the last one, or all of them.
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
            sqlite.assert_sound();
        }
    });
}

#[test]
fn threads_that_fork_at_once_under_their_own_guards_have_sound_children() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        // There are many connections, so that it takes a while to close them.
        let manager = builder(&sqlite.url()).pool_size(16).operation_timeout(Duration::from_secs(60)).build().unwrap();
        let header = session_with(&manager, &[("user", "ada")]);
        let count = || {
            let mut session = manager.load(&header).unwrap();
            session.increment("count", 1).unwrap();
            session.set("large", &"x".repeat(100_000)).unwrap();
            session.save().unwrap();
        };
        for round in 1..=40 {
            let together = Barrier::new(6);
            let fork = || {
                // All threads have a connection open, and fork at the same moment.
                count();
                together.wait();
                let guard = manager.before_fork();
                let forked = child(|| {
                    count();
                    String::new()
                });
                drop(guard);
                // A fork may copy a lock that a thread holds while it ends, so none ends before the last fork.
                together.wait();
                forked.join();
            };
            thread::scope(|scope| {
                let threads: Vec<_> = (0..6).map(|_| scope.spawn(fork)).collect();
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            });
            assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(12 * round));
        }
        sqlite.assert_sound();
    });
}

#[test]
fn children_forked_under_a_guard_while_threads_queue_to_write_can_write() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let manager = builder(&sqlite.url()).operation_timeout(Duration::from_secs(60)).build().unwrap();
        let header = session_with(&manager, &[("user", "ada")]);
        let count = || {
            let mut session = manager.load(&header).unwrap();
            session.increment("count", 1).unwrap();
            session.save().unwrap();
        };
        let stop = AtomicBool::new(false);
        let counted: usize = thread::scope(|scope| {
            let _stop = StopOnDrop(&stop);
            let threads: Vec<_> = (0..12)
                .map(|_| {
                    scope.spawn(|| {
                        let times = iter::repeat_with(count).take_while(|()| !stop.load(Ordering::Relaxed)).count();
                        // The last one counts too.
                        times + 1
                    })
                })
                .collect();
            for _ in 0..20 {
                let forked = child_of(&manager, || {
                    // The child's threads queue as well.
                    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(count))));
                    String::new()
                });
                forked.join();
            }
            stop.store(true, Ordering::Relaxed);
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(counted + 20 * 4));
        sqlite.assert_sound();
    });
}

#[test]
fn a_child_forked_without_a_guard_while_threads_queue_to_write_is_told_so_at_once() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let manager = builder(&sqlite.url()).operation_timeout(Duration::from_secs(60)).build().unwrap();
        let header = session_with(&manager, &[("user", "ada")]);
        let save = || {
            let mut session = manager.load(&header).unwrap();
            session.increment("count", 1).unwrap();
            session.save().map(drop)
        };
        let mut session = manager.load(&header).unwrap();
        session.set("a", &1).unwrap();
        let locked = sqlite.connect();
        locked.execute_batch("BEGIN IMMEDIATE").unwrap();
        thread::scope(|scope| {
            let writes = scope.spawn(save);
            until(|| is_a_thread_asleep());
            let (tell, told) = mpsc::channel();
            let queues = scope.spawn(move || {
                tell.send(gettid()).unwrap();
                save()
            });
            let waiting = told.recv().unwrap();
            until(|| is_waiting(waiting));
            let forked = child(|| format!("{:?}", failure(session.save()).0));
            assert_eq!(forked.join(), "Forked");
            locked.execute_batch("COMMIT").unwrap();
            [writes, queues].into_iter().for_each(|thread| thread.join().unwrap().unwrap());
        });
        assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(2));
    });
}

#[test]
fn a_guard_closes_every_sqlite_file_of_the_process() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let url = |name: &str| format!("sqlite://{}", sqlite.folder().join(name).display());
        let managers = [manager(&url("one.db")), manager(&url("one.db")), manager(&url("other.db"))];
        managers.iter().for_each(|manager| manager.ping().unwrap());
        let guard = managers[0].before_fork();
        let held = child(|| {
            drop(guard);
            managers.iter().for_each(|manager| drop(session_with(manager, &[("a", "1")])));
            String::new()
        });
        held.join();
    });
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
