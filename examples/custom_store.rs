//! A store of your own: one file a session, in a folder that processes share. And how to check it.
//!
//! ```text
//! cargo run --example custom_store --features contract
//! ```
//!
//! It is written to be read, not to be fast: one lock for all, and a whole file for each change.

use multi_process_session::contract::{Subject, check, check_shared};
use multi_process_session::{
    Call, Error, NewRecord, Nonce, Record, RecordInfo, RecordKey, Refresh, Store, StoreError, StoreErrorKind, Update,
    Updated, Values, total_size,
};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(Debug)]
struct FolderStore {
    folder: PathBuf,
}

/// What a file holds. Times are since 1970.
#[derive(Serialize, Deserialize)]
struct Kept {
    values: Values,
    version: u64,
    created: Duration,
    ends: Option<Duration>,
    idle: Duration,
    expires: Duration,
    nonces: Vec<Nonce>,
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970")
}

fn fault(error: io::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the folder of sessions cannot be used").caused_by(error)
}

impl FolderStore {
    /// Holds the lock until what it gives is dropped. Every call is to end by its deadline, waiting included.
    fn lock(&self, call: &Call) -> Result<File, StoreError> {
        let file = File::create(self.folder.join("lock")).map_err(fault)?;
        while file.try_lock().is_err() {
            if Instant::now() >= call.deadline {
                return Err(StoreError::new(StoreErrorKind::Timeout, "other processes kept the folder locked"));
            }
            thread::sleep(Duration::from_micros(200));
        }
        Ok(file)
    }

    /// The namespace is part of the id already.
    fn path(&self, key: &RecordKey<'_>) -> PathBuf {
        self.folder.join(key.tag.map_or(key.id.to_string(), |tag| format!("{tag}.{}", key.id)))
    }

    /// The record, if it is alive.
    fn read(&self, key: &RecordKey<'_>) -> Result<Option<Kept>, StoreError> {
        let bytes = match fs::read(self.path(key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(fault)?,
        };
        let kept: Kept = serde_json::from_slice(&bytes)
            .map_err(|_| StoreError::new(StoreErrorKind::Corrupt, "the file of this session is damaged"))?;
        Ok(Some(kept).filter(|kept| kept.expires > now()))
    }

    /// Renaming puts the new file in the place of the old one at once.
    fn write(&self, key: &RecordKey<'_>, kept: &Kept) -> Result<(), StoreError> {
        let new = self.folder.join("new");
        fs::write(&new, serde_json::to_vec(kept).map_err(io::Error::from).map_err(fault)?).map_err(fault)?;
        fs::rename(new, self.path(key)).map_err(fault)
    }

    fn remove(&self, key: &RecordKey<'_>) -> Result<(), StoreError> {
        match fs::remove_file(self.path(key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault(error)),
            _ => Ok(()),
        }
    }
}

impl Kept {
    /// Gives it a full life from now, within its absolute timeout.
    fn extend(&mut self, refresh: Refresh) {
        let full = now() + refresh.stored_life(self.idle);
        self.expires = self.ends.map_or(full, |ends| ends.min(full));
    }

    fn info(&self) -> RecordInfo {
        RecordInfo {
            version: self.version,
            created_at: UNIX_EPOCH + self.created,
            ends_at: self.ends.map(|ends| UNIX_EPOCH + ends),
            idle_timeout: self.idle,
            expires_at: UNIX_EPOCH + self.expires,
            expires_in: self.expires.saturating_sub(now()),
        }
    }

    /// Applies the update, unless this very call has done so before.
    fn apply(&mut self, update: &Update<'_>, call: &Call) -> Result<(), Error> {
        if self.nonces.contains(&call.nonce) {
            return Ok(());
        }
        if update.expected.is_some_and(|expected| expected != self.version) {
            return Err(Error::Conflict);
        }
        if update.holds.is_some_and(|(key, json)| self.values.get(key).is_none_or(|held| held != json)) {
            return Err(Error::Conflict);
        }
        let values = update.changes.apply(&self.values)?;
        update.check_size(total_size(&self.values), total_size(&values))?;
        self.values = values;
        self.version += 1;
        self.nonces.insert(0, call.nonce);
        self.nonces.truncate(32);
        self.idle = update.changes.idle_timeout.unwrap_or(self.idle);
        if update.changes.idle_timeout.is_some() || update.new_key.is_some() {
            self.extend(update.refresh);
        }
        Ok(())
    }
}

impl Store for FolderStore {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord, call: &Call) -> Result<Option<RecordInfo>, Error> {
        record.check_size()?;
        let _lock = self.lock(call)?;
        if let Some(kept) = self.read(key)? {
            return Ok(kept.nonces.contains(&call.nonce).then(|| kept.info()));
        }
        let mut kept = Kept {
            values: record.values.clone(),
            version: 1,
            created: now(),
            ends: record.absolute_timeout.map(|timeout| now() + timeout),
            idle: record.idle_timeout,
            expires: Duration::ZERO,
            nonces: vec![call.nonce],
        };
        kept.extend(record.refresh);
        self.write(key, &kept)?;
        Ok(Some(kept.info()))
    }

    fn load(&self, key: &RecordKey<'_>, refresh: Refresh, call: &Call) -> Result<Option<Record>, StoreError> {
        let _lock = self.lock(call)?;
        let Some(mut kept) = self.read(key)? else { return Ok(None) };
        let before = kept.expires;
        if refresh.is_due(kept.info().expires_in, kept.idle) {
            kept.extend(refresh);
        }
        // A refresh that cannot be written does not fail the load.
        let refreshed = kept.expires > before && self.write(key, &kept).is_ok();
        Ok(Some(Record { info: kept.info(), values: kept.values, refreshed }))
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Error> {
        let _lock = self.lock(call)?;
        let moved = update.new_key.map(|new_key| self.read(&new_key)).transpose()?.flatten();
        let mut kept = match moved {
            Some(moved) if moved.nonces.contains(&call.nonce) => moved, // This call was made before.
            Some(_) => return Err(Error::id_taken()),
            None => self.read(key)?.ok_or(Error::Gone)?,
        };
        kept.apply(update, call)?;
        self.write(update.new_key.as_ref().unwrap_or(key), &kept)?;
        if update.new_key.is_some() {
            self.remove(key)?;
        }
        let total = |key: &str| kept.values.get(key)?.parse().ok();
        let totals = update.changes.increments().filter_map(|(key, _)| Some((key.to_owned(), total(key)?)));
        Ok(Updated { info: kept.info(), totals: totals.collect() })
    }

    fn delete(&self, key: &RecordKey<'_>, call: &Call) -> Result<(), StoreError> {
        let _lock = self.lock(call)?;
        self.remove(key)
    }

    fn ping(&self, call: &Call) -> Result<(), StoreError> {
        self.lock(call).map(drop)
    }
}

// ---- The check ----

impl Subject for FolderStore {
    fn store(&self) -> &dyn Store {
        self
    }

    fn let_time_pass(&self, key: &RecordKey<'_>, time: Duration) {
        if let Some(mut kept) = self.read(key).expect("the folder can be read") {
            kept.created -= time;
            kept.ends = kept.ends.map(|ends| ends - time);
            kept.expires -= time;
            self.write(key, &kept).expect("the folder can be written");
        }
    }
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let open = || FolderStore { folder: folder.path().to_owned() };
    check(&open());
    check_shared(open, in_processes);
    println!("the store keeps the contract");
}

/// Calls `work` with each number in a process of its own, all at once.
fn in_processes(count: usize, work: &dyn Fn(usize)) {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    let children: Vec<_> = (0..count)
        .map(|number| {
            // SAFETY: this program has one thread.
            match unsafe { fork() }.expect("a fork") {
                ForkResult::Parent { child } => child,
                ForkResult::Child => {
                    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(number)));
                    std::process::exit(done.is_err().into())
                }
            }
        })
        .collect();
    for child in children {
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)), "a process failed");
    }
}
