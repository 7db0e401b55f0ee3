//! Sessions in the memory of this process.

use crate::error::{StoreError, StoreErrorKind};
use crate::id::{GroupTag, PublicId};
use crate::lifetime::Lifetime;
use crate::process::Process;
use crate::store::Store;
use crate::store::call::{Call, Nonce};
use crate::store::forward::{LONGEST_GRACE, TRAIL, follow};
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::{NewRecord, Record, RecordInfo, SessionInfo, Size, Values};
use crate::store::refusal::Refusal;
use crate::store::state::{RecordState, TRACE};
use crate::store::update::{Update, Updated};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Keeps sessions in the memory of the one process that made it: for examples, tests and single-process servers.
///
/// `store_url("memory:")` makes one. Sessions end with the process. Memory cannot be shared, so a process forked from
/// the one that made it gets [`StoreErrorKind::Forked`] instead of sessions that no other worker sees.
///
/// # Examples
/// ```
/// use multi_process_session::{MemoryStore, Secret, SessionManager};
///
/// let manager = SessionManager::builder(Secret::generate()?).store(MemoryStore::new()).build()?;
/// # Ok::<(), multi_process_session::ConfigError>(())
/// ```
pub struct MemoryStore {
    process: Process,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    records: HashMap<Key, Kept>,
    /// Ids that were replaced a while ago.
    forwards: HashMap<Key, Forward>,
    /// Until when a session is known that ended soon after a call with this nonce made it.
    ended: HashMap<(PublicId, Nonce), SystemTime>,
    /// How often a session joined a group: the time cannot tell who was first.
    joins: u64,
    /// How many of all these there may be before the dead ones are cleared away.
    sweep_at: usize,
}

type Key = (PublicId, Option<GroupTag>);

struct Kept {
    namespace: String,
    state: RecordState,
    values: Values,
    group_name: Option<String>,
    /// Which of the joins its own was.
    join_order: u64,
}

struct Forward {
    new_id: PublicId,
    /// Until when calls reach the session by the old id.
    grace_ends: SystemTime,
    /// Until when the old id still ends the session.
    trail_ends: SystemTime,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> MemoryStore {
        MemoryStore::with_clock(SystemTime::now)
    }

    /// An empty store that takes the time from `clock`, so that tests can let timeouts pass.
    pub fn with_clock(clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> MemoryStore {
        MemoryStore { process: Process::this(), clock: Box::new(clock), shelf: Mutex::default() }
    }

    fn open(&self) -> Result<(MutexGuard<'_, Shelf>, SystemTime), StoreError> {
        if !self.process.is_this() {
            return Err(StoreError::new(
                StoreErrorKind::Forked,
                "sessions in memory belong to the process that made the store, and this one was forked from it; \
                 use SQLite or Redis, or make the manager after forking",
            ));
        }
        // A poisoned shelf is sound: nothing panics between two writes.
        Ok((self.shelf.lock().unwrap_or_else(PoisonError::into_inner), (self.clock)()))
    }
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl Shelf {
    /// The key that a record has now, and its id if that is another one than was asked for.
    fn follow(&self, key: &RecordKey<'_>, leads: impl Fn(&Forward) -> bool) -> (Key, Option<PublicId>) {
        let Ok(found) = follow(*key, |key| {
            let forward = self.forwards.get(&(key.id, key.tag)).filter(|forward| leads(forward));
            Ok::<_, Infallible>(forward.map(|forward| forward.new_id))
        });
        ((found.id, found.tag), (found.id != key.id).then_some(found.id))
    }

    fn in_grace(&self, key: &RecordKey<'_>, now: SystemTime) -> (Key, Option<PublicId>) {
        self.follow(key, |forward| forward.grace_ends > now && forward.grace_ends <= now + LONGEST_GRACE)
    }

    /// The live sessions of a group.
    fn members(&self, tag: GroupTag, now: SystemTime) -> impl Iterator<Item = (PublicId, &Kept)> {
        let in_group = self.records.iter().filter(move |((_, of), _)| *of == Some(tag));
        in_group.filter(move |(_, kept)| kept.is_live(now)).map(|((id, _), kept)| (*id, kept))
    }

    /// Ends those that joined first, until the group has no more sessions than this. The one with this id stays.
    fn limit(&mut self, key: Key, max_sessions: Option<usize>, now: SystemTime) {
        let ((own, Some(tag)), Some(max_sessions)) = (key, max_sessions) else { return };
        let mut members: Vec<_> = self.members(tag, now).map(|(id, kept)| (kept.join_order, id)).collect();
        members.sort_by_key(|(order, id)| Reverse((*id == own, *order)));
        for (_, id) in members.into_iter().skip(max_sessions) {
            self.end((id, Some(tag)), now);
        }
    }

    /// Removes a record, and says whether it was alive.
    fn end(&mut self, key: Key, now: SystemTime) -> bool {
        let Some(kept) = self.records.remove(&key) else { return false };
        let known_until = kept.state.created_at.min(now) + TRACE;
        if let Some(nonce) = kept.state.nonces.last_chunk().filter(|_| known_until > now) {
            self.ended.insert((key.0, *nonce), known_until);
        }
        kept.is_live(now)
    }

    /// Removes all records of which that is said, and says how many were alive.
    fn end_all(&mut self, ends: impl Fn(&Key, &Kept) -> bool, now: SystemTime) -> u64 {
        let keys: Vec<Key> = self.records.iter().filter(|(key, kept)| ends(key, kept)).map(|(key, _)| *key).collect();
        keys.into_iter().filter(|key| self.end(*key, now)).count() as u64
    }

    fn next_join(&mut self) -> u64 {
        self.joins += 1;
        self.joins
    }

    fn live(&mut self, key: Key, now: SystemTime) -> Option<&mut Kept> {
        self.records.get_mut(&key).filter(|kept| kept.is_live(now))
    }

    /// Clears the dead away each time there are twice as many.
    fn sweep(&mut self, now: SystemTime) {
        let len = |shelf: &Shelf| shelf.records.len() + shelf.forwards.len() + shelf.ended.len();
        if len(self) >= self.sweep_at {
            self.records.retain(|_, kept| kept.is_live(now));
            self.forwards.retain(|_, forward| forward.trail_ends > now);
            self.ended.retain(|_, known_until| *known_until > now);
            self.sweep_at = (len(self) * 2).max(64);
        }
    }
}

impl Kept {
    fn is_live(&self, now: SystemTime) -> bool {
        self.state.expires_at > now
    }

    fn apply(&mut self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call, now: SystemTime) -> Result<(), Refusal> {
        self.state = self.state.clone().alive(&update.lifetime, now).ok_or(Refusal::Gone)?;
        if self.state.knows(call.nonce) {
            return Ok(());
        }
        let state = self.state.clone().after(key, update, call, now)?;
        if update.holds.is_some_and(|(key, json)| self.values.get(key).is_none_or(|held| held != json)) {
            return Err(Refusal::Conflict);
        }
        let values = update.changes.apply(&self.values)?;
        update.check_size(Size::of(&self.values), Size::of(&values))?;
        (self.state, self.values) = (state, values);
        if let Some(key) = update.new_key {
            let name = update.join.map(|join| join.name.to_owned());
            self.group_name = name.or(self.group_name.take()).filter(|_| key.tag.is_some());
        }
        Ok(())
    }

    fn integer(&self, key: &str) -> Option<i64> {
        self.values.get(key)?.parse().ok()
    }
}

impl Store for MemoryStore {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<RecordInfo, Refusal> {
        record.check_size()?;
        let (mut shelf, now) = self.open()?;
        if let Some(kept) = shelf.live((key.id, key.tag), now) {
            return if kept.state.knows(call.nonce) { Ok(kept.state.info(now)) } else { Err(Refusal::IdTaken) };
        }
        if shelf.ended.get(&(key.id, call.nonce)).is_some_and(|known_until| *known_until > now) {
            return Err(Refusal::Gone);
        }
        let state = RecordState::new(record, call, now);
        let info = state.info(now);
        shelf.sweep(now);
        let kept = Kept {
            namespace: key.namespace.to_owned(),
            state,
            values: record.values.clone(),
            group_name: record.join.map(|join| join.name.to_owned()),
            join_order: shelf.next_join(),
        };
        shelf.records.insert((key.id, key.tag), kept);
        shelf.limit((key.id, key.tag), record.join.and_then(|join| join.max_sessions), now);
        Ok(info)
    }

    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, _: &Call) -> Result<Option<Record>, StoreError> {
        let (mut shelf, now) = self.open()?;
        let (key, forwarded_to) = shelf.in_grace(key, now);
        let Some(kept) = shelf.records.get_mut(&key) else { return Ok(None) };
        let Some(mut state) = kept.state.clone().alive(lifetime, now) else { return Ok(None) };
        let refreshed = state.refresh(lifetime.refresh, now);
        kept.state = state;
        Ok(Some(Record {
            info: kept.state.info(now),
            values: kept.values.clone(),
            group_name: kept.group_name.clone(),
            refreshed,
            forwarded_to,
        }))
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Refusal> {
        let (mut shelf, now) = self.open()?;
        let new_key = update.new_key.map(|key| (key.id, key.tag));
        let (mut at, mut forwarded_to) = shelf.in_grace(key, now);
        if let Some(new_key) = new_key {
            match shelf.live(new_key, now) {
                // This call was made before.
                Some(kept) if kept.state.knows(call.nonce) => (at, forwarded_to) = (new_key, None),
                Some(_) => return Err(Refusal::IdTaken),
                None if forwarded_to.is_some() => return Err(Refusal::Gone),
                None => {}
            }
        }
        let kept = shelf.live(at, now).ok_or(Refusal::Gone)?;
        kept.apply(key, update, call, now)?;
        let totals = update.changes.increments().filter_map(|(key, _)| Some((key.to_owned(), kept.integer(key)?)));
        let updated = Updated { info: kept.state.info(now), totals: totals.collect(), forwarded_to };
        if let Some(new_key) = new_key.filter(|new_key| *new_key != at)
            && let Some(mut kept) = shelf.records.remove(&at)
        {
            if update.join.is_some() {
                kept.join_order = shelf.next_join();
            }
            shelf.sweep(now);
            shelf.records.insert(new_key, kept);
            if at.1 == new_key.1 {
                let grace = update.grace.unwrap_or_default();
                let forward =
                    Forward { new_id: new_key.0, grace_ends: now + grace, trail_ends: now + TRAIL.max(grace) };
                shelf.forwards.insert(at, forward);
            }
            shelf.limit(new_key, update.join.and_then(|join| join.max_sessions), now);
        }
        Ok(updated)
    }

    fn delete(&self, key: &RecordKey<'_>, _: &Call) -> Result<bool, StoreError> {
        let (mut shelf, now) = self.open()?;
        let (key, _) = shelf.follow(key, |forward| forward.trail_ends > now);
        Ok(shelf.end(key, now))
    }

    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], _: &Call) -> Result<Vec<SessionInfo>, StoreError> {
        let (shelf, now) = self.open()?;
        let about = |(id, kept): (PublicId, &Kept)| {
            let asked = kept.values.iter().filter(|(key, _)| keys.contains(&key.as_str()));
            SessionInfo::new(id, kept.state.info(now), asked.map(|(key, json)| (key.clone(), json.clone())).collect())
        };
        Ok(shelf.members(group.tag, now).map(about).collect())
    }

    fn group_len(&self, group: &GroupKey<'_>, _: &Call) -> Result<usize, StoreError> {
        let (shelf, now) = self.open()?;
        Ok(shelf.members(group.tag, now).count())
    }

    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, _: &Call) -> Result<u64, StoreError> {
        let (mut shelf, now) = self.open()?;
        let except = except.map(|id| shelf.in_grace(&group.session(id), now).0.0);
        let leads_to = |tag: Option<GroupTag>, new_id| tag == Some(group.tag) && Some(new_id) == except;
        for (_, forward) in shelf.forwards.iter_mut().filter(|((_, tag), forward)| leads_to(*tag, forward.new_id)) {
            forward.grace_ends = now;
        }
        let stays = |id: PublicId, tag| tag != Some(group.tag) || except == Some(id);
        Ok(shelf.end_all(|(id, tag), _| !stays(*id, *tag), now))
    }

    fn clear_namespace(&self, namespace: &str, _: &Call) -> Result<(), StoreError> {
        let (mut shelf, now) = self.open()?;
        shelf.end_all(|_, kept| kept.namespace == namespace, now);
        Ok(())
    }

    fn ping(&self, _: &Call) -> Result<(), StoreError> {
        self.open().map(drop)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory:")
    }
}
