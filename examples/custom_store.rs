//! A store of your own: one file for each session, in a folder that processes share. And its tests.
//!
//! ```text
//! cargo run --example custom_store --features contract
//! cargo test --example custom_store --features contract
//! ```
//!
//! It is written to be read, not to be fast: one lock for all, and a whole file for each change.

use multi_process_session::store::Refusal;
use multi_process_session::{
    Call, GroupKey, LONGEST_GRACE, Lifetime, NewRecord, PublicId, Record, RecordInfo, RecordKey, RecordState, Secret,
    SessionInfo, SessionManager, Size, Store, StoreError, StoreErrorKind, TRAIL, Update, Updated, Values,
};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime};

#[derive(Debug)]
struct FolderStore {
    folder: PathBuf,
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
enum Kept {
    Record(Box<Session>),
    /// An id that was replaced. Until the grace ends, it leads to the session. Until the trail ends, it can end the
    /// session.
    Forward {
        new_id: String,
        grace_ends: SystemTime,
        trail_ends: SystemTime,
    },
    /// A session that ended soon after it was created: the call that made it may be sent once more.
    Ended {
        nonces: Vec<u8>,
        known_until: SystemTime,
    },
}

#[derive(Serialize, Deserialize)]
struct Session {
    namespace: String,
    values: Values,
    group_name: Option<String>,
    #[serde(with = "State")]
    state: RecordState,
}

/// Tells serde what a `RecordState` is made of.
#[derive(Serialize, Deserialize)]
#[serde(remote = "RecordState")]
struct State {
    version: u64,
    created_at: SystemTime,
    joined_at: Option<SystemTime>,
    began_at: SystemTime,
    refreshed_at: Option<SystemTime>,
    ends_at: Option<SystemTime>,
    idle_timeout: Duration,
    has_own_idle_timeout: bool,
    expires_at: SystemTime,
    nonces: Vec<u8>,
}

fn now() -> SystemTime {
    SystemTime::now()
}

fn fault(error: io::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the folder of sessions cannot be used").caused_by(error)
}

impl FolderStore {
    /// Holds the lock until what it gives is dropped. Every call is to end by its deadline, waiting included.
    fn lock(&self, call: &Call) -> Result<Flock<File>, StoreError> {
        let mut file = File::create(self.folder.join("lock")).map_err(fault)?;
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(lock),
                Err((file, _)) => file,
            };
            if call.deadline.has_passed() {
                return Err(StoreError::new(StoreErrorKind::Timeout, "other processes kept the folder locked"));
            }
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// The namespace is part of id and tag already.
    fn path(&self, key: &RecordKey<'_>) -> PathBuf {
        self.folder.join(key.tag.map_or(key.id.to_string(), |tag| format!("{tag}.{}", key.id)))
    }

    fn read_file(&self, key: &RecordKey<'_>) -> Result<Option<Kept>, StoreError> {
        match fs::read(self.path(key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            bytes => serde_json::from_slice(&bytes.map_err(fault)?)
                .map(Some)
                .map_err(|_| StoreError::new(StoreErrorKind::Corrupt, "the file of this session is damaged")),
        }
    }

    /// The record, if it is alive.
    fn read(&self, key: &RecordKey<'_>) -> Result<Option<Session>, StoreError> {
        match self.read_file(key)? {
            Some(Kept::Record(session)) if session.state.expires_at > now() => Ok(Some(*session)),
            _ => Ok(None),
        }
    }

    /// The key that a record has now, and its id if that is another one than was asked for: to use it, or to end it.
    fn follow<'a>(
        &self,
        key: &RecordKey<'a>,
        to_end_it: bool,
    ) -> Result<(RecordKey<'a>, Option<PublicId>), StoreError> {
        let mut found = *key;
        // A damaged file may lead in a circle.
        for _ in 0..100 {
            match self.read_file(&found)? {
                Some(Kept::Forward { new_id, grace_ends, trail_ends })
                    if now() < if to_end_it { trail_ends } else { grace_ends }
                        && (to_end_it || grace_ends <= now() + LONGEST_GRACE) =>
                {
                    let Ok(id) = new_id.parse() else { break };
                    found.id = id;
                }
                _ => break,
            }
        }
        Ok((found, (found.id != key.id).then_some(found.id)))
    }

    /// The live sessions of a group, those that joined first first.
    fn members(&self, group: &GroupKey<'_>) -> Result<Vec<(PublicId, Session)>, StoreError> {
        let (mut members, prefix) = (Vec::new(), format!("{}.", group.tag));
        for file in fs::read_dir(&self.folder).map_err(fault)? {
            let name = file.map_err(fault)?.file_name().to_string_lossy().into_owned();
            if let Some(id) = name.strip_prefix(&prefix).and_then(|id| id.parse().ok())
                && let Ok(Some(session)) = self.read(&group.session(id))
            {
                members.push((id, session));
            }
        }
        members.sort_by_key(|(_, session)| session.state.joined_at);
        Ok(members)
    }

    /// All files that can be read.
    fn files(&self) -> Result<Vec<(PathBuf, Kept)>, StoreError> {
        let mut files = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(fault)? {
            let path = file.map_err(fault)?.path();
            if let Some(kept) = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                files.push((path, kept));
            }
        }
        Ok(files)
    }

    /// Lets no id that a session of the group had before lead there any more.
    fn end_graces(&self, group: &GroupKey<'_>, id: PublicId) -> Result<(), StoreError> {
        let prefix = format!("{}.", group.tag);
        for (path, kept) in self.files()? {
            if let Kept::Forward { new_id, trail_ends, .. } = kept
                && new_id == id.to_string()
                && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
            {
                self.write_to(path, &Kept::Forward { new_id, grace_ends: now(), trail_ends })?;
            }
        }
        Ok(())
    }

    /// Ends those that joined first, until the group has no more sessions than this. The one of this key stays.
    fn limit(&self, key: &RecordKey<'_>, max_sessions: Option<usize>) -> Result<(), StoreError> {
        let (Some(tag), Some(max_sessions)) = (key.tag, max_sessions) else { return Ok(()) };
        let group = key.group(tag);
        let members = self.members(&group)?;
        let surplus = members.len().saturating_sub(max_sessions);
        for (id, _) in members.iter().filter(|(id, _)| *id != key.id).take(surplus) {
            self.remove(&group.session(*id))?;
        }
        Ok(())
    }

    fn write_record(&self, key: &RecordKey<'_>, session: Session) -> Result<(), StoreError> {
        self.write(key, &Kept::Record(Box::new(session)))
    }

    fn write(&self, key: &RecordKey<'_>, kept: &Kept) -> Result<(), StoreError> {
        self.write_to(self.path(key), kept)
    }

    /// Renaming puts the new file in the place of the old one at once.
    fn write_to(&self, path: PathBuf, kept: &Kept) -> Result<(), StoreError> {
        let new = self.folder.join("new");
        fs::write(&new, serde_json::to_vec(kept).map_err(io::Error::from).map_err(fault)?).map_err(fault)?;
        fs::rename(new, path).map_err(fault)
    }

    fn remove(&self, key: &RecordKey<'_>) -> Result<(), StoreError> {
        self.remove_from(self.path(key), self.read_file(key).ok().flatten())
    }

    fn remove_from(&self, path: PathBuf, kept: Option<Kept>) -> Result<(), StoreError> {
        if let Some(Kept::Record(session)) = kept {
            let known_until = session.state.created_at + Duration::from_secs(60);
            if known_until > now() {
                return self.write_to(path, &Kept::Ended { nonces: session.state.nonces, known_until });
            }
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault(error)),
            _ => Ok(()),
        }
    }
}

impl Session {
    /// Applies the update, unless this very call has done so before.
    fn apply(&mut self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<(), Refusal> {
        let state = self.state.clone().alive(&update.lifetime, now()).ok_or(Refusal::Gone)?;
        if state.knows(call.nonce) {
            return Ok(());
        }
        let state = state.after(key, update, call, now())?;
        if update.holds.is_some_and(|(key, json)| self.values.get(key).is_none_or(|held| held != json)) {
            return Err(Refusal::Conflict);
        }
        let values = update.changes.apply(&self.values)?;
        update.check_size(Size::of(&self.values), Size::of(&values))?;
        (self.state, self.values) = (state, values);
        if let Some(join) = update.join {
            self.group_name = Some(join.name.to_owned());
        } else if update.new_key.is_some_and(|key| key.tag.is_none()) {
            self.group_name = None;
        }
        Ok(())
    }
}

impl Store for FolderStore {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<RecordInfo, Refusal> {
        record.check_size()?;
        let _lock = self.lock(call)?;
        if let Some(session) = self.read(key)? {
            return match session.state.knows(call.nonce) {
                true => Ok(session.state.info(now())),
                false => Err(Refusal::IdTaken),
            };
        }
        if let Some(Kept::Ended { nonces, known_until }) = self.read_file(key)?
            && known_until > now()
            && nonces.chunks_exact(call.nonce.len()).any(|nonce| nonce == call.nonce)
        {
            return Err(Refusal::Gone);
        }
        let session = Session {
            namespace: key.namespace.to_owned(),
            values: record.values.clone(),
            group_name: record.join.map(|join| join.name.to_owned()),
            state: RecordState::new(record, call, now()),
        };
        let info = session.state.info(now());
        self.write_record(key, session)?;
        self.limit(key, record.join.and_then(|join| join.max_sessions))?;
        Ok(info)
    }

    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Option<Record>, StoreError> {
        let _lock = self.lock(call)?;
        let (key, forwarded_to) = self.follow(key, false)?;
        let Some(mut session) = self.read(&key)? else { return Ok(None) };
        let Some(state) = session.state.alive(lifetime, now()) else { return Ok(None) };
        session.state = state;
        let due = session.state.refresh(lifetime.refresh, now());
        let (info, values, group_name) =
            (session.state.info(now()), session.values.clone(), session.group_name.clone());
        // A refresh that cannot be written does not fail the load.
        let refreshed = due && self.write_record(&key, session).is_ok();
        Ok(Some(Record { info, values, group_name, refreshed, forwarded_to }))
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Refusal> {
        let _lock = self.lock(call)?;
        let (at, forwarded_to) = self.follow(key, false)?;
        let moved = update.new_key.map(|new_key| self.read(&new_key)).transpose()?.flatten();
        let mut session = match moved {
            Some(moved) if moved.state.knows(call.nonce) => moved, // This call was made before.
            Some(_) => return Err(Refusal::IdTaken),
            None if update.new_key.is_some() && forwarded_to.is_some() => return Err(Refusal::Gone),
            None => self.read(&at)?.ok_or(Refusal::Gone)?,
        };
        session.apply(key, update, call)?;
        let total = |key: &str| session.values.get(key)?.parse().ok();
        let totals = update.changes.increments().filter_map(|(key, _)| Some((key.to_owned(), total(key)?)));
        let updated = Updated { info: session.state.info(now()), totals: totals.collect(), forwarded_to };
        self.write_record(update.new_key.as_ref().unwrap_or(&at), session)?;
        if let Some(new_key) = &update.new_key {
            if new_key.tag == key.tag {
                let (grace, new_id) = (update.grace.unwrap_or_default(), new_key.id.to_string());
                let forward = Kept::Forward { new_id, grace_ends: now() + grace, trail_ends: now() + TRAIL.max(grace) };
                self.write(key, &forward)?;
            } else {
                self.remove(key)?;
            }
            self.limit(new_key, update.join.and_then(|join| join.max_sessions))?;
            return Ok(Updated { forwarded_to: None, ..updated });
        }
        Ok(updated)
    }

    fn delete(&self, key: &RecordKey<'_>, call: &Call) -> Result<bool, StoreError> {
        let _lock = self.lock(call)?;
        // A damaged record can be ended too.
        let (key, _) = self.follow(key, true).unwrap_or((*key, None));
        let was_alive = self.read(&key).is_ok_and(|session| session.is_some());
        self.remove(&key)?;
        Ok(was_alive)
    }

    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], call: &Call) -> Result<Vec<SessionInfo>, StoreError> {
        let _lock = self.lock(call)?;
        let about = |(id, mut session): (PublicId, Session)| {
            session.values.retain(|key, _| keys.contains(&key.as_str()));
            SessionInfo::new(id, session.state.info(now()), session.values)
        };
        Ok(self.members(group)?.into_iter().map(about).collect())
    }

    fn group_len(&self, group: &GroupKey<'_>, call: &Call) -> Result<usize, StoreError> {
        let _lock = self.lock(call)?;
        Ok(self.members(group)?.len())
    }

    /// Under the lock this is one step for all others.
    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, call: &Call) -> Result<u64, StoreError> {
        let _lock = self.lock(call)?;
        let except = except.map(|id| self.follow(&group.session(id), false)).transpose()?.map(|(key, _)| key.id);
        let mut ended = 0;
        for (id, _) in self.members(group)?.into_iter().filter(|(id, _)| Some(*id) != except) {
            self.remove(&group.session(id))?;
            ended += 1;
        }
        if let Some(except) = except {
            self.end_graces(group, except)?;
        }
        Ok(ended)
    }

    fn clear_namespace(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        let _lock = self.lock(call)?;
        for (path, kept) in self.files()? {
            if matches!(&kept, Kept::Record(session) if session.namespace == namespace) {
                self.remove_from(path, Some(kept))?;
            }
        }
        Ok(())
    }

    fn ping(&self, call: &Call) -> Result<(), StoreError> {
        self.lock(call).map(drop)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = FolderStore { folder: folder.path().to_owned() };
    let manager = SessionManager::builder(Secret::generate()?).store(store).build()?;

    let mut session = manager.load(None)?;
    session.set("user", "ada")?;
    let set_cookie = session.save()?.expect("a new session has a cookie");

    // A browser sends back what stands before the first semicolon.
    let cookie = set_cookie.as_str().split(';').next();
    let user: Option<String> = manager.load(cookie)?.get("user")?;
    println!("the session of {} is kept in a file", user.expect("it was set"));
    Ok(())
}

// ---- The tests ----

#[cfg(test)]
mod tests {
    use super::*;
    use multi_process_session::contract::{SharedSubject, Subject};
    use multi_process_session::{contract_tests, shared_contract_tests};
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::process::Command;
    use tempfile::TempDir;

    // Both make a test for each promise: one_process::create_never_overwrites, and so on.
    contract_tests!(one_process, Fresh::new());
    shared_contract_tests!(several_processes, Fresh::new(), in_own_process);

    /// A store in a folder of its own.
    struct Fresh {
        store: FolderStore,
        _folder: TempDir,
    }

    impl Fresh {
        fn new() -> Fresh {
            let folder = tempfile::tempdir().expect("a temporary folder");
            Fresh { store: FolderStore { folder: folder.path().to_owned() }, _folder: folder }
        }
    }

    impl Subject for Fresh {
        fn store(&self) -> &dyn Store {
            &self.store
        }

        fn let_time_pass(&self, key: &RecordKey<'_>, time: Duration) {
            let store = &self.store;
            match store.read_file(key).expect("the folder can be read") {
                Some(Kept::Record(mut session)) => {
                    let state = &mut session.state;
                    state.created_at -= time;
                    state.began_at -= time;
                    state.expires_at -= time;
                    for at in [&mut state.joined_at, &mut state.refreshed_at, &mut state.ends_at].into_iter().flatten()
                    {
                        *at -= time;
                    }
                    store.write_record(key, *session).expect("the folder can be written");
                }
                Some(Kept::Forward { new_id, grace_ends, trail_ends }) => {
                    let earlier =
                        Kept::Forward { new_id, grace_ends: grace_ends - time, trail_ends: trail_ends - time };
                    store.write(key, &earlier).expect("the folder can be written");
                }
                Some(Kept::Ended { .. }) | None => {}
            }
        }
    }

    impl SharedSubject for Fresh {
        fn open(&self) -> Box<dyn Store> {
            Box::new(FolderStore { folder: self.store.folder.clone() })
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

    /// Runs a test in a process of its own, so that it can fork: a fork copies only the thread that calls it, and
    /// whatever other threads hold locked stays locked in the child.
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
