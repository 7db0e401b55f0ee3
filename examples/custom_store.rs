//! A store of your own, and its tests: a folder that processes share, with one file for each session.
//!
//! ```text
//! cargo run -p examples --bin custom_store --features contract
//! cargo test -p examples --bin custom_store --features contract
//! ```
//!
//! The store is easy to read, and slow: it has one lock for all sessions, and writes a whole file for each change. It
//! removes the files of expired sessions only in a `purge`. `Entry::outdated_at` tells when a file can be removed.

use multi_process_session::store::{
    Call, Cleared, Created, Entries, Entry, Figure, Finding, GroupKey, GroupUpdate, GroupValues, Lifetime, Loaded,
    Located, MaintainedEntries, Maintenance, NewRecord, Page, Purged, RecordKey, Refusal, Restored, Scan, Store,
    StoredRecord, Update, Updated, Values,
};
use multi_process_session::{EndReason, PublicId, Secret, SessionInfo, SessionManager, StoreError, StoreErrorKind};
use nix::fcntl::{Flock, FlockArg};
use site::TemporaryFolder;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

#[derive(Debug)]
struct FolderStore {
    folder: PathBuf,
    clock: fn() -> SystemTime,
}

/// The folder, while no other process uses it.
struct LockedFolder<'a> {
    path: &'a Path,
    _lock: Flock<File>,
}

impl FolderStore {
    /// Waits until no other process uses the folder, and gives the time as well. Every call has to end by its deadline,
    /// waiting included.
    fn lock(&self, call: &Call) -> Result<(LockedFolder<'_>, SystemTime), StoreError> {
        let mut file = File::create(self.folder.join("lock")).map_err(fault)?;
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok((LockedFolder { path: &self.folder, _lock: lock }, (self.clock)())),
                Err((file, _)) => file,
            };
            if call.deadline.has_passed() {
                return Err(StoreError::new(StoreErrorKind::Timeout, "other processes kept the folder locked"));
            }
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// These four methods read and write files by name. The library builds all calls of a store from them.
impl Entries for LockedFolder<'_> {
    fn get(&self, name: &str) -> Result<Option<Entry>, StoreError> {
        match fs::read_to_string(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            json => Entry::from_json(&json.map_err(fault)?).map(Some),
        }
    }

    fn put(&mut self, name: &str, entry: Entry) -> Result<(), StoreError> {
        let new = self.path.join("new");
        fs::write(&new, entry.to_json()).map_err(fault)?;
        // This puts the new file in the place of the old one at once. So nobody finds half of a file.
        fs::rename(new, self.path.join(name)).map_err(fault)
    }

    fn remove(&mut self, name: &str) -> Result<(), StoreError> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault(error)),
            _ => Ok(()),
        }
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        for file in fs::read_dir(self.path).map_err(fault)? {
            names.push(file.map_err(fault)?.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| name.starts_with(prefix));
        Ok(names)
    }
}

impl Store for FolderStore {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<Created, Refusal> {
        let (mut folder, now) = self.lock(call)?;
        folder.create(key, record, call, now)
    }

    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError> {
        let (mut folder, now) = self.lock(call)?;
        folder.load(key, lifetime, now)
    }

    fn peek(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError> {
        let (folder, now) = self.lock(call)?;
        folder.peek(key, lifetime, now)
    }

    fn present_ids(
        &self,
        keys: &[RecordKey<'_>],
        lifetime: &Lifetime,
        call: &Call,
    ) -> Result<Vec<Option<PublicId>>, StoreError> {
        let (folder, now) = self.lock(call)?;
        folder.present_ids(keys, lifetime, now)
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Refusal> {
        let (mut folder, now) = self.lock(call)?;
        folder.update(key, update, call, now)
    }

    fn delete(&self, key: &RecordKey<'_>, reason: EndReason, call: &Call) -> Result<Option<PublicId>, StoreError> {
        let (mut folder, now) = self.lock(call)?;
        folder.delete(key, reason, now)
    }

    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], call: &Call) -> Result<Vec<SessionInfo>, StoreError> {
        let (folder, now) = self.lock(call)?;
        folder.group_sessions(group, keys, now)
    }

    fn group_len(&self, group: &GroupKey<'_>, call: &Call) -> Result<usize, StoreError> {
        let (folder, now) = self.lock(call)?;
        folder.group_len(group, now)
    }

    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, call: &Call) -> Result<Cleared, StoreError> {
        let (mut folder, now) = self.lock(call)?;
        folder.clear_group(group, except, now)
    }

    fn group_values(&self, group: &GroupKey<'_>, call: &Call) -> Result<Values, StoreError> {
        let (folder, now) = self.lock(call)?;
        folder.group_values(group, now)
    }

    fn update_group(&self, group: &GroupKey<'_>, update: &GroupUpdate<'_>, call: &Call) -> Result<(), Refusal> {
        let (mut folder, now) = self.lock(call)?;
        folder.update_group(group, update, call, now)
    }

    fn clear_namespace(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        let (mut folder, now) = self.lock(call)?;
        folder.clear_namespace(namespace, now)
    }

    fn ping(&self, call: &Call) -> Result<(), StoreError> {
        self.lock(call).map(drop)
    }
}

/// What operators do with the store. A store works without this.
impl Maintenance for FolderStore {
    fn scan(&self, scan: &Scan<'_>, call: &Call) -> Result<Page, StoreError> {
        let (folder, now) = self.lock(call)?;
        folder.scan(scan, now)
    }

    fn find(&self, namespace: &str, id: PublicId, call: &Call) -> Result<Option<Located>, StoreError> {
        let (folder, now) = self.lock(call)?;
        folder.find(namespace, id, now)
    }

    fn read(
        &self,
        namespace: &str,
        places: &[Located],
        with_values: bool,
        call: &Call,
    ) -> Result<Vec<(Located, StoredRecord)>, StoreError> {
        let (folder, now) = self.lock(call)?;
        folder.read(namespace, places, with_values, now)
    }

    fn restore(&self, key: &RecordKey<'_>, record: &StoredRecord, call: &Call) -> Result<Restored, StoreError> {
        let (mut folder, now) = self.lock(call)?;
        folder.restore(key, record, now)
    }

    fn read_group(&self, group: &GroupKey<'_>, call: &Call) -> Result<GroupValues, StoreError> {
        let (folder, now) = self.lock(call)?;
        folder.read_group(group, now)
    }

    fn restore_group(&self, group: &GroupKey<'_>, values: &GroupValues, call: &Call) -> Result<Restored, StoreError> {
        let (mut folder, now) = self.lock(call)?;
        folder.restore_group(group, values, now)
    }

    fn purge(&self, namespace: &str, call: &Call) -> Result<Purged, StoreError> {
        let (mut folder, now) = self.lock(call)?;
        folder.purge(namespace, now)
    }

    fn findings(&self, _namespace: &str, _call: &Call) -> Result<Vec<Finding>, StoreError> {
        Ok(Vec::new())
    }

    fn figures(&self, _call: &Call) -> Result<Vec<Figure>, StoreError> {
        Ok(Vec::new())
    }
}

fn fault(error: io::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the folder of sessions cannot be used").caused_by(error)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = TemporaryFolder::new()?;
    let store = FolderStore { folder: folder.path().to_owned(), clock: SystemTime::now };
    let manager = SessionManager::builder(Secret::generate()?).store(store).build()?;

    let mut session = manager.load(None)?;
    session.set("user", "ada")?;
    let set_cookie = session.save()?.expect("a new session has a cookie");

    // A browser sends back the name and the value of the cookie.
    let user: Option<String> = manager.load(set_cookie.pair())?.get("user")?;
    println!("the session of {} is kept in a file", user.expect("it was set"));
    Ok(())
}

// ---- The tests ----

#[cfg(test)]
mod tests {
    use super::*;
    use multi_process_session::store::contract::{MaintainedSubject, SharedSubject, Subject};
    use multi_process_session::{contract_tests, maintenance_contract_tests, shared_contract_tests};
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::process::Command;
    use tempfile::TempDir;

    // Each makes a test for each promise: one_process::create_never_overwrites, and so on.
    contract_tests!(one_process, Fresh::new());
    maintenance_contract_tests!(operators, Fresh::new());
    shared_contract_tests!(several_processes, Fresh::new(), in_own_process);

    thread_local! {
        /// How far the clock of this test is ahead of the system's. Each test has a thread of its own.
        static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    fn clock() -> SystemTime {
        SystemTime::now() + PASSED.get()
    }

    /// A store in a folder of its own.
    struct Fresh {
        store: FolderStore,
        _folder: TempDir,
    }

    impl Fresh {
        fn new() -> Fresh {
            let folder = tempfile::tempdir().expect("a temporary folder");
            Fresh { store: FolderStore { folder: folder.path().to_owned(), clock }, _folder: folder }
        }
    }

    impl Subject for Fresh {
        fn store(&self) -> &dyn Store {
            &self.store
        }

        fn let_time_pass(&self, _: &RecordKey<'_>, time: Duration) {
            PASSED.set(PASSED.get() + time);
        }
    }

    impl MaintainedSubject for Fresh {
        fn maintenance(&self) -> &dyn Maintenance {
            &self.store
        }
    }

    impl SharedSubject for Fresh {
        fn open(&self) -> Box<dyn Store> {
            Box::new(FolderStore { folder: self.store.folder.clone(), clock })
        }

        fn in_processes(&self, count: usize, work: &dyn Fn(usize)) {
            let children: Vec<_> = (0..count)
                .map(|number| {
                    // SAFETY: no other test runs in this process.
                    match unsafe { fork() }.expect("a fork") {
                        ForkResult::Parent { child } => child,
                        ForkResult::Child => {
                            let done = catch_unwind(AssertUnwindSafe(|| work(number)));
                            std::process::exit(done.is_err().into())
                        }
                    }
                })
                .collect();
            for child in children {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)), "a process failed");
            }
        }
    }

    /// Runs a test in a process of its own, so that the test can fork. A fork copies only the thread that calls it. A
    /// lock that another thread holds stays locked in the child.
    fn in_own_process(test: &str, body: impl FnOnce()) {
        const INNER: &str = "CUSTOM_STORE_TEST";
        if std::env::var_os(INNER).is_some() {
            return body();
        }
        let mut this_program = Command::new(std::env::current_exe().expect("a test program has a path"));
        let output = this_program.args(["--exact", test]).env(INNER, test).output().expect("a test can be run");
        assert!(output.status.success(), "{test} failed:\n{}", String::from_utf8_lossy(&output.stdout));
    }
}
