//! The folder that adds up the counters of all workers.

use crate::support::fork::{Lines, child, children, in_own_process};
use crate::support::place::Place;
use crate::support::{manager, session_with, until};
use multi_process_session::{SessionManager, Stats, StatsFolder, StoreErrorKind};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The files that processes have left in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let own = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    own.map(|own| own.join("stats.json")).filter(|file| file.exists()).collect()
}

fn calls(manager: &SessionManager, number: usize) {
    for _ in 0..number {
        manager.ping().unwrap();
    }
}

#[test]
fn the_counters_of_forked_workers_add_up() {
    in_own_process(|| {
        let folder = tempfile::tempdir().unwrap();
        for place in Place::all() {
            let path = folder.path().join(if matches!(place, Place::Redis(_)) { "redis" } else { "sqlite" });
            let manager = manager(&place.url());
            StatsFolder::new(&path).clear().unwrap();
            let pages = children(6, |number| {
                let mut folder = StatsFolder::new(&path);
                // Each write puts new numbers in the place of the old ones.
                for _ in 0..=number {
                    calls(&manager, 10);
                    drop(session_with(&manager, &[("user", "ada")]));
                    folder.write(&manager.stats()).unwrap();
                }
                let total = folder.total().unwrap();
                assert!(total.calls >= manager.stats().calls);
                assert!(total.since <= manager.stats().since);
                total.to_openmetrics()
            });
            assert!(pages.iter().all(|page| page.ends_with("# EOF\n")));
            let total = StatsFolder::new(&path).total().unwrap();
            assert_eq!((total.created, total.calls, total.call_durations.count()), (21, 21 * 11, 21 * 11));
            assert_eq!((total.connections, total.pool_size), (6, 6 * 8));
            assert_eq!(files(&path).len(), 6);
        }
    });
}

#[test]
fn a_killed_worker_stays_in_the_total_and_no_counter_goes_down() {
    in_own_process(|| {
        // In memory, where a rename could hide a file from a list of its folder.
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let sqlite = Place::sqlite();
        let manager = manager(&sqlite.url());
        let all = StatsFolder::new(folder.path());
        let (mut known, mut killed) = (Stats::default(), 0);
        for _ in 0..20 {
            let mut told = Lines::new();
            let worker = child(|| {
                let mut own = StatsFolder::new(folder.path());
                loop {
                    calls(&manager, 1);
                    own.write(&manager.stats()).unwrap();
                    told.send(&manager.stats().calls.to_string());
                }
            });
            // The worker is in the middle of its work, and is killed at any place of it.
            let written: u64 = (0..10).map(|_| told.next().parse::<u64>().unwrap()).max().unwrap();
            let before = all.total().unwrap();
            assert!(before.calls >= known.calls + written, "{before:?} {known:?}");
            worker.kill();
            let after = all.total().unwrap();
            assert!(after.calls >= before.calls && after.call_durations.count() == after.calls, "{after:?}");
            (known, killed) = (after, killed + 1);
            assert_eq!(files(folder.path()).len(), killed);
        }
    });
}

#[test]
fn a_total_that_is_taken_while_workers_write_never_goes_down() {
    const FILES: u64 = 3000;
    const LARGE: u64 = 1 << 40;
    in_own_process(|| {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let all = StatsFolder::new(folder.path());
        // So many files that a list of the folder takes several system calls. If a total leaves out one of them, the
        // loss is larger than all that is counted meanwhile.
        let writer = child(|| {
            let mut own = StatsFolder::new(folder.path());
            let mut stats = Stats::default();
            stats.calls = LARGE;
            loop {
                for second in 1..=FILES {
                    stats.since = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
                    own.write(&stats).unwrap();
                }
                stats.calls += 1;
            }
        });
        let mut last = 0;
        until(|| {
            let calls = all.total().unwrap().calls;
            assert!(calls >= last, "{calls} after {last}");
            last = calls;
            calls > FILES * (LARGE + 20)
        });
        writer.kill();
        assert!(all.total().unwrap().calls >= last);
    });
}

#[test]
fn the_connections_of_a_silent_process_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let mut stats = Stats::default();
    (stats.pool_size, stats.connections_open, stats.connections_in_use, stats.connections) = (8, 3, 2, 9);
    let mut all = StatsFolder::new(folder.path());
    all.write(&stats).unwrap();
    let connections = || {
        let total = all.total().unwrap();
        (total.pool_size, total.connections_open, total.connections_in_use, total.connections)
    };
    assert_eq!(connections(), (8, 3, 2, 9));
    let file = File::options().append(true).open(&files(folder.path())[0]).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(61)).unwrap();
    assert_eq!(connections(), (0, 0, 0, 9));
    file.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
    assert_eq!(connections(), (8, 3, 2, 9), "the clock was put back");
}

#[test]
fn two_managers_of_a_process_count_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = StatsFolder::new(folder.path().join("not made yet"));
    assert_eq!(all.total().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    let managers = [manager("memory:"), manager("memory:")];
    for (number, manager) in managers.iter().enumerate() {
        calls(manager, number + 1);
        all.write(&manager.stats()).unwrap();
        // A second handle of the same folder writes to the same file.
        StatsFolder::new(folder.path().join("not made yet")).write(&manager.stats()).unwrap();
    }
    std::fs::write(folder.path().join("not made yet/1-2"), "a file of somebody else").unwrap();
    assert_eq!(all.total().unwrap().calls, 3);
    let sum: Stats = managers.iter().map(SessionManager::stats).sum();
    assert_eq!((sum.calls, sum.call_durations.count(), sum.since), (3, 3, managers[0].stats().since));
}

#[test]
fn sums_hold_all_counters() {
    let mut one = Stats::default();
    (one.calls, one.pool_size, one.waited, one.lock_waited) = (1, 2, Duration::from_secs(3), Duration::from_secs(4));
    one.errors = [(StoreErrorKind::Timeout, 5), (StoreErrorKind::Backend, 6)].into();
    one.connections_open = 7;
    let mut sum = one.clone();
    sum.errors = [(StoreErrorKind::Timeout, u64::MAX), (StoreErrorKind::Corrupt, 1)].into();
    sum += one;
    let errors = [(StoreErrorKind::Timeout, u64::MAX), (StoreErrorKind::Corrupt, 1), (StoreErrorKind::Backend, 6)];
    assert_eq!((sum.calls, sum.pool_size, sum.connections_open, &sum.errors), (2, 4, 14, &errors.into()));
    assert_eq!((sum.waited, sum.lock_waited), (Duration::from_secs(6), Duration::from_secs(8)));
}

#[test]
fn a_cleared_folder_counts_from_zero_and_keeps_what_is_not_ours() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = StatsFolder::new(folder.path());
    let manager = manager("memory:");
    calls(&manager, 3);
    all.write(&manager.stats()).unwrap();
    fs::write(folder.path().join("notes"), "mine").unwrap();
    fs::create_dir(folder.path().join("1-x")).unwrap();
    // A process was killed between its two steps.
    fs::create_dir(folder.path().join("1-2")).unwrap();
    fs::write(folder.path().join("1-2").join("next"), "{\"cal").unwrap();
    assert_eq!(all.total().unwrap().calls, 3);
    all.clear().unwrap();
    assert_eq!(all.total().unwrap(), Stats::default());
    let left = |name: &str| folder.path().join(name).exists();
    assert_eq!((left("notes"), left("1-x"), left("1-2")), (true, true, false));
    all.write(&manager.stats()).unwrap();
    let file = files(folder.path()).remove(0);
    fs::write(&file, "{").unwrap();
    let error = all.total().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}
