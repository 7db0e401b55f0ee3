//! Worker processes that use their sessions without a pause, and count what was acknowledged.

use super::fork::{Child, child};
use super::{kind, session_with, until};
use multi_process_session::{SessionManager, StoreErrorKind};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const WORKERS: usize = 4;

/// Each worker has a session of its own, where it counts exactly, and all of them share another one.
pub struct Load {
    folder: TempDir,
    own: Vec<String>,
    shared: String,
    workers: Vec<Child>,
}

impl Load {
    /// Forks the workers.
    pub fn start(manager: &SessionManager) -> Load {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let own: Vec<String> = (0..WORKERS).map(|who| session_with(manager, &[("who", &who.to_string())])).collect();
        let mut load = Load { folder, own, shared: session_with(manager, &[("who", "all")]), workers: Vec::new() };
        load.workers = (0..WORKERS).map(|who| child(|| load.work(manager, who))).collect();
        load
    }

    fn work(&self, manager: &SessionManager, who: usize) -> String {
        let [mut acknowledged, mut failed] = [self.acknowledged(who), self.failed(who)].map(append_to);
        let [mut own, mut shared] = [Count::default(), Count::default()];
        while !self.stop().exists() {
            let before = own.acknowledged;
            let faults = [
                own.one_more(manager, &self.own[who], &who.to_string()),
                shared.one_more(manager, &self.shared, "all"),
            ];
            if own.acknowledged > before {
                acknowledged.write_all(b".").expect("a file");
            }
            for kind in faults.into_iter().flatten() {
                writeln!(failed, "{kind:?}").expect("a file");
                // Do not ask a server that is down thousands of times.
                thread::sleep(Duration::from_millis(1));
            }
        }
        format!("{} {} {}", own.acknowledged, own.unacknowledged, shared.acknowledged)
    }

    /// The file with a byte for each acknowledged change of this worker's own session.
    fn acknowledged(&self, who: usize) -> PathBuf {
        self.folder.path().join(format!("acknowledged-{who}"))
    }

    /// The file with a line for each fault.
    fn failed(&self, who: usize) -> PathBuf {
        self.folder.path().join(format!("failed-{who}"))
    }

    fn stop(&self) -> PathBuf {
        self.folder.path().join("stop")
    }

    /// Waits until each worker has had this number of further changes acknowledged, and gives the time that this took.
    pub fn wait_for_changes(&self, more: u64) -> Duration {
        wait_until_all_grow(more, |who| length(self.acknowledged(who)))
    }

    /// Waits until each worker has had one more fault.
    pub fn wait_for_faults(&self) {
        wait_until_all_grow(1, |who| length(self.failed(who)));
    }

    /// Ends the workers, and sees that no acknowledged change was lost and none was applied twice. Returns the kinds of
    /// all faults.
    pub fn end(mut self, manager: &SessionManager) -> BTreeSet<String> {
        File::create(self.stop()).expect("a file");
        let said: Vec<String> = self.workers.drain(..).map(Child::join).collect();
        let count = |header: &str| manager.load(header).unwrap().get::<u64>("count").unwrap().unwrap_or(0);
        let mut acknowledged_by_all = 0;
        for (who, said) in said.iter().enumerate() {
            let numbers: Vec<u64> = said.split(' ').map(|number| number.parse().expect("a number")).collect();
            let (acknowledged, unacknowledged) = (numbers[0], numbers[1]);
            let total = count(&self.own[who]);
            let possible = acknowledged..=acknowledged + unacknowledged;
            assert!(possible.contains(&total), "worker {who} counts {total}, not {possible:?}");
            acknowledged_by_all += numbers[2];
        }
        // Not an exact count: more than two dozen changes of others may come between the two tries of a change.
        assert!(count(&self.shared) >= acknowledged_by_all, "{} of {acknowledged_by_all}", count(&self.shared));
        let failed = (0..WORKERS).map(|who| fs::read_to_string(self.failed(who)).expect("a file"));
        failed.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

/// A test that fails leaves no workers behind.
impl Drop for Load {
    fn drop(&mut self) {
        self.workers.drain(..).for_each(Child::kill);
    }
}

#[derive(Default)]
struct Count {
    acknowledged: u64,
    unacknowledged: u64,
}

impl Count {
    /// A request that counts, as a worker makes it. Returns the kind of a fault.
    fn one_more(&mut self, manager: &SessionManager, header: &str, who: &str) -> Option<StoreErrorKind> {
        let mut session = match manager.load(header) {
            Ok(session) => session,
            Err(error) => return Some(kind::<()>(Err(error))),
        };
        assert_eq!(session.get::<String>("who").unwrap().as_deref(), Some(who), "nobody sees another's session");
        session.increment("count", 1).unwrap();
        match session.save() {
            Ok(_) => self.acknowledged += 1,
            Err(error) => {
                self.unacknowledged += 1;
                return Some(kind::<()>(Err(error)));
            }
        }
        None
    }
}

fn append_to(path: PathBuf) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("a file")
}

fn length(path: PathBuf) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

fn wait_until_all_grow(by: u64, length: impl Fn(usize) -> u64) -> Duration {
    let (start, before) = (Instant::now(), (0..WORKERS).map(&length).collect::<Vec<_>>());
    until(|| (0..WORKERS).all(|who| length(who) >= before[who] + by));
    start.elapsed()
}
