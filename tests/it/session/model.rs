//! Random operations on the same sessions from several handles: every answer is the answer of a naive model.

use crate::support::place::Place;
use crate::support::{builder, clock, cookie};
use multi_process_session::{Error, MemoryStore, PublicId, Session, SessionManager};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const HANDLES: usize = 3;
const KEYS: [&str; 3] = ["a", "b", "c"];
const GROUPS: [&str; 2] = ["ada", "grace"];
const MINUTE: u32 = 60;
// No sum of steps in time is one of these, so nothing ends at the very moment when the test looks at it.
const IDLE: u32 = 10 * 60 + 30;
const ABSOLUTE: u32 = 25 * 60 + 30;

#[derive(Clone, Debug)]
enum Op {
    Load { handle: usize, cookie: usize },
    Peek { handle: usize, cookie: usize },
    Set { handle: usize, key: usize, json: &'static str },
    Increment { handle: usize, key: usize, by: i64 },
    Remove { handle: usize, key: usize },
    Take { handle: usize, key: usize },
    Clear { handle: usize },
    Regenerate { handle: usize, with_grace: bool },
    Join { handle: usize, group: usize },
    Leave { handle: usize },
    SetIdleTimeout { handle: usize, minutes: u32 },
    SetPersistent { handle: usize, persistent: bool },
    SetInGroup { group: usize, number: u32 },
    Save { handle: usize },
    Destroy { handle: usize },
    DestroyByCookie { cookie: usize },
    RemoveFromGroup { cookie: usize, group: usize },
    ClearGroup { group: usize },
    ClearGroupExcept { group: usize, handle: usize },
    LetTimePass { hours: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    let (handle, key, cookie) = (0..HANDLES, 0..KEYS.len(), 0..6_usize);
    let json = prop::sample::select(vec!["1", "-7", "\"x\"", "9223372036854775807", "[1,2]", "null"]);
    let by = prop::sample::select(vec![1, -1, 5, i64::MAX, i64::MIN]);
    prop_oneof![
        8 => (handle.clone(), cookie.clone()).prop_map(|(handle, cookie)| Op::Load { handle, cookie }),
        3 => (handle.clone(), cookie.clone()).prop_map(|(handle, cookie)| Op::Peek { handle, cookie }),
        1 => (handle.clone(), any::<bool>())
            .prop_map(|(handle, persistent)| Op::SetPersistent { handle, persistent }),
        2 => (0..GROUPS.len(), 1..100_u32).prop_map(|(group, number)| Op::SetInGroup { group, number }),
        4 => (handle.clone(), key.clone(), json).prop_map(|(handle, key, json)| Op::Set { handle, key, json }),
        4 => (handle.clone(), key.clone(), by).prop_map(|(handle, key, by)| Op::Increment { handle, key, by }),
        2 => (handle.clone(), key.clone()).prop_map(|(handle, key)| Op::Remove { handle, key }),
        1 => (handle.clone(), key).prop_map(|(handle, key)| Op::Take { handle, key }),
        1 => handle.clone().prop_map(|handle| Op::Clear { handle }),
        3 => (handle.clone(), any::<bool>())
            .prop_map(|(handle, with_grace)| Op::Regenerate { handle, with_grace }),
        3 => (handle.clone(), 0..GROUPS.len()).prop_map(|(handle, group)| Op::Join { handle, group }),
        1 => handle.clone().prop_map(|handle| Op::Leave { handle }),
        1 => (0..GROUPS.len()).prop_map(|group| Op::ClearGroup { group }),
        1 => (0..GROUPS.len(), handle.clone()).prop_map(|(group, handle)| Op::ClearGroupExcept { group, handle }),
        1 => (0..GROUPS.len(), cookie.clone()).prop_map(|(group, cookie)| Op::RemoveFromGroup { group, cookie }),
        1 => (handle.clone(), prop::sample::select(vec![4 * 60 + 30, IDLE]))
            .prop_map(|(handle, minutes)| Op::SetIdleTimeout { handle, minutes }),
        8 => handle.clone().prop_map(|handle| Op::Save { handle }),
        1 => handle.prop_map(|handle| Op::Destroy { handle }),
        1 => cookie.prop_map(|cookie| Op::DestroyByCookie { cookie }),
        6 => prop::sample::select(vec![3, 5, 8]).prop_map(|hours| Op::LetTimePass { hours }),
    ]
}

// ---- the model ----

type Values = BTreeMap<&'static str, String>;

#[derive(Clone, Debug)]
enum Change {
    Set(String),
    Remove,
    Increment(i64),
}

/// Times are minutes.
#[derive(Clone, Debug)]
struct ModelRecord {
    id: usize,
    group: Option<usize>,
    values: Values,
    idle: u32,
    ends: u32,
    expires: u32,
    persistent: Option<bool>,
}

#[derive(Clone, Debug, Default)]
struct ModelSession {
    /// `None` until there is a record.
    id: Option<usize>,
    seen: Values,
    cleared: bool,
    changes: BTreeMap<&'static str, Change>,
    idle: Option<u32>,
    persistent: Option<bool>,
    renew: Option<Renew>,
    cookie_due: bool,
    cookie_may_be_due: bool,
    /// When the record expires, as far as the session knows. Its cookie ends then.
    expires: u32,
    group: Option<usize>,
    /// Whether it was loaded by an id that was replaced.
    forwarded: bool,
    /// The number in the values of its group.
    of_group: Option<u32>,
    /// Whether its last cookie outlives the browser.
    has_persistent_cookie: bool,
}

/// A new id that is asked for.
#[derive(Clone, Copy, Debug)]
struct Renew {
    with_grace: bool,
    change: GroupChange,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum GroupChange {
    None,
    Join(usize),
    Leave,
}

#[derive(Debug, Default)]
struct Model {
    now: u32,
    ids: usize,
    records: Vec<ModelRecord>,
    /// The number in the values of each group, and when they expire.
    of_groups: [(Option<u32>, u32); GROUPS.len()],
    /// Ids that were replaced with a grace, and the new ids. Whenever time passes, it is more than any grace.
    forwards: BTreeMap<usize, usize>,
    /// Ids that were replaced while the session stayed in its group, or without one, and the new ids. A logout by them
    /// ends the session. Whenever time passes, it is more than this lasts.
    trails: BTreeMap<usize, usize>,
    /// Whether time passes for the cookies too. If not, only the times in the records are put back, and it depends on
    /// the seconds of the clock whether a cookie ends before its session.
    cookies_age: bool,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Saved { cookie: bool },
    Gone,
    NotAnInteger,
}

impl Answer {
    fn has_cookie(&self) -> bool {
        *self == Answer::Saved { cookie: true }
    }
}

fn sum(json: Option<&String>, by: i64) -> Option<String> {
    let value: i64 = json.map_or(Some(0), |json| json.parse().ok())?;
    value.checked_add(by).map(|sum| sum.to_string())
}

impl Model {
    fn live(&mut self, id: usize) -> Option<&mut ModelRecord> {
        let now = self.now;
        self.records.iter_mut().find(|record| record.id == id && record.expires > now)
    }

    /// The id that the session with this id has now.
    fn follow(&self, id: usize) -> usize {
        self.forwards.get(&id).map_or(id, |next| self.follow(*next))
    }

    /// The id of the session that ends when this id is ended.
    fn ended_by(&self, id: usize) -> usize {
        self.trails.get(&id).map_or(id, |next| self.ended_by(*next))
    }

    fn end(&mut self, ends: impl Fn(&ModelRecord) -> bool) -> u64 {
        let (now, mut ended) = (self.now, 0);
        self.records.retain(|record| {
            ended += u64::from(ends(record) && record.expires > now);
            !ends(record)
        });
        ended
    }

    fn new_id(&mut self) -> usize {
        self.ids += 1;
        self.ids
    }

    /// Keeps the values of groups as long as their sessions live.
    fn keep_values(&mut self) {
        for record in self.records.iter().filter(|record| record.expires > self.now) {
            if let Some((_, until)) =
                record.group.map(|group| &mut self.of_groups[group]).filter(|kept| kept.1 > self.now)
            {
                *until = record.expires.max(*until);
            }
        }
    }

    fn of_group(&self, group: Option<usize>) -> Option<u32> {
        let (number, until) = self.of_groups[group?];
        number.filter(|_| until > self.now)
    }

    fn set_in_group(&mut self, group: usize, number: u32) {
        let kept = self.of_groups[group].1.max(self.now + IDLE);
        self.of_groups[group] = (Some(number), kept);
        self.keep_values();
    }

    /// Looks at a session, and changes nothing.
    fn peek(&mut self, cookie: Option<(usize, u32)>) -> ModelSession {
        let (records, of_groups) = (self.records.clone(), self.of_groups);
        let session = self.load(cookie);
        let expires = records.iter().find(|record| Some(record.id) == session.id).map_or(0, |record| record.expires);
        (self.records, self.of_groups) = (records, of_groups);
        ModelSession { cookie_due: false, cookie_may_be_due: false, expires, ..session }
    }

    fn load(&mut self, cookie: Option<(usize, u32)>) -> ModelSession {
        let (now, id, cookies_age) = (self.now, cookie.map(|(id, _)| id), self.cookies_age);
        let current = id.map(|id| self.follow(id));
        let forwarded = current != id;
        let Some(record) = current.and_then(|id| self.live(id)) else { return ModelSession::default() };
        let full = (now + record.idle).min(record.ends);
        let refreshed = full > record.expires;
        record.expires = record.expires.max(full);
        // An earlier load refreshed it, and no answer had the cookie.
        let owed = cookie.is_some_and(|(_, ends)| ends < record.expires);
        let cookie_due = refreshed || owed && cookies_age;
        let cookie_may_be_due = owed && !cookies_age;
        let (id, seen, group, expires) = (current, record.values.clone(), record.group, record.expires);
        let has_persistent_cookie = record.persistent.unwrap_or(true);
        let of_group = self.of_group(group);
        self.keep_values();
        ModelSession {
            id,
            seen,
            group,
            forwarded,
            cookie_due,
            cookie_may_be_due,
            expires,
            of_group,
            has_persistent_cookie,
            ..ModelSession::default()
        }
    }

    fn save(&mut self, session: &mut ModelSession) -> Answer {
        let now = self.now;
        let Some(id) = session.id else {
            let view = session.view().expect("increments of a new session start at 0");
            let group = session.group_to_be();
            if view.is_empty() && group.is_none() {
                return Answer::Saved { cookie: false };
            }
            let idle = session.idle.unwrap_or(IDLE);
            let (id, ends) = (self.new_id(), now + ABSOLUTE);
            let expires = (now + idle).min(ends);
            let persistent = session.persistent;
            self.records.push(ModelRecord { id, group, values: view.clone(), idle, ends, expires, persistent });
            self.keep_values();
            let has_persistent_cookie = persistent.unwrap_or(true);
            let seen = view;
            *session =
                ModelSession { id: Some(id), seen, group, expires, has_persistent_cookie, ..ModelSession::default() };
            return Answer::Saved { cookie: true };
        };
        if session.forwarded && session.renew.is_some() {
            if !session.renew.is_some_and(|renew| renew.with_grace) {
                return Answer::Gone;
            }
            session.renew = None;
        }
        let changes_life = session.idle.is_some() || session.persistent.is_some() || session.renew.is_some();
        if !session.cleared && session.changes.is_empty() && !changes_life {
            return Answer::Saved { cookie: std::mem::take(&mut session.cookie_due) && !session.forwarded };
        }
        let (new_id, current) = (self.new_id(), self.follow(id));
        let mut renew = session.renew;
        if current != id && renew.is_some() {
            if !renew.is_some_and(|renew| renew.with_grace) {
                return Answer::Gone;
            }
            renew = None;
        }
        let Some(record) = self.live(current) else { return Answer::Gone };
        let Some(values) = session.applied_to(&record.values) else { return Answer::NotAnInteger };
        record.values = values;
        let forwarded = session.forwarded || current != id;
        let changes_life = session.idle.is_some() || session.persistent.is_some() || renew.is_some();
        let cookie = (session.cookie_due || changes_life) && !forwarded;
        if let Some(GroupChange::Join(_)) = renew.map(|renew| renew.change) {
            record.ends = now + ABSOLUTE;
        }
        if renew.is_some() || session.idle.is_some() {
            let group = renew.map_or(record.group, |renew| renew.change.applied_to(record.group));
            let leaves = record.group.is_some() && group != record.group;
            record.idle = session.idle.unwrap_or(if leaves { IDLE } else { record.idle });
            record.persistent = record.persistent.filter(|_| !leaves);
            record.expires = (now + record.idle).min(record.ends);
        }
        record.persistent = session.persistent.or(record.persistent);
        if let Some(Renew { with_grace, change }) = renew {
            record.id = new_id;
            let group = change.applied_to(record.group);
            let stays = group == record.group;
            record.group = group;
            if stays {
                self.trails.insert(current, new_id);
            }
            if with_grace {
                self.forwards.insert(current, new_id);
            }
        }
        let record = self.live(if renew.is_some() { new_id } else { current }).expect("it is alive");
        // Of other requests' changes, a session sees only the totals of its own increments.
        let mut seen = if session.cleared { Values::new() } else { session.seen.clone() };
        for (key, change) in &session.changes {
            match change {
                Change::Set(json) => drop(seen.insert(key, json.clone())),
                Change::Remove => drop(seen.remove(key)),
                Change::Increment(_) => drop(seen.insert(key, record.values[key].clone())),
            }
        }
        let (id, group, expires) = (Some(record.id), record.group, record.expires);
        let has_persistent_cookie = record.persistent.unwrap_or(true);
        let changes_group = renew.is_some_and(|renew| renew.change != GroupChange::None);
        let of_group = session.of_group.filter(|_| !changes_group);
        self.keep_values();
        *session = ModelSession {
            id,
            seen,
            group,
            forwarded,
            expires,
            of_group,
            has_persistent_cookie,
            ..ModelSession::default()
        };
        Answer::Saved { cookie }
    }
}

impl GroupChange {
    fn applied_to(self, group: Option<usize>) -> Option<usize> {
        match self {
            GroupChange::None => group,
            GroupChange::Join(group) => Some(group),
            GroupChange::Leave => None,
        }
    }
}

impl ModelSession {
    fn group_to_be(&self) -> Option<usize> {
        self.renew.map_or(self.group, |renew| renew.change.applied_to(self.group))
    }

    fn renew(&mut self, with_grace: bool, change: GroupChange) {
        let before = self.renew.unwrap_or(Renew { with_grace, change });
        let change = if change == GroupChange::None { before.change } else { change };
        self.renew = Some(Renew { with_grace: with_grace && before.with_grace, change });
    }

    fn applied_to(&self, values: &Values) -> Option<Values> {
        let mut values = if self.cleared { Values::new() } else { values.clone() };
        for (key, change) in &self.changes {
            match change {
                Change::Set(json) => drop(values.insert(key, json.clone())),
                Change::Remove => drop(values.remove(key)),
                Change::Increment(by) => drop(values.insert(key, sum(values.get(key), *by)?)),
            }
        }
        Some(values)
    }

    fn view(&self) -> Option<Values> {
        self.applied_to(&self.seen)
    }

    fn value(&self, key: &'static str) -> Result<Option<String>, ()> {
        let alone = ModelSession {
            changes: self.changes.iter().filter(|(k, _)| **k == key).map(|(k, c)| (*k, c.clone())).collect(),
            ..self.clone()
        };
        alone.view().map(|values| values.get(key).cloned()).ok_or(())
    }

    /// Returns whether this is possible.
    fn increment(&mut self, key: &'static str, by: i64) -> bool {
        let change = match self.changes.get(key) {
            Some(Change::Set(json)) => sum(Some(json), by).map(Change::Set),
            Some(Change::Remove) => Some(Change::Set(by.to_string())),
            Some(Change::Increment(before)) => before.checked_add(by).map(Change::Increment),
            None if self.cleared => Some(Change::Set(by.to_string())),
            None => Some(Change::Increment(by)),
        };
        let possible = change.is_some();
        self.changes.extend(change.map(|change| (key, change)));
        possible
    }
}

// ---- the library beside the model ----

struct Run<'a> {
    manager: SessionManager,
    let_time_pass: &'a dyn Fn(Duration),
    model: Model,
    handles: Vec<(Session, ModelSession)>,
    /// Cookies that were given out, the ids in them, and when they end.
    cookies: Vec<(String, usize, u32)>,
    public_ids: BTreeMap<usize, PublicId>,
}

impl Run<'_> {
    fn step(&mut self, op: &Op) {
        match *op {
            Op::Load { handle, cookie } | Op::Peek { handle, cookie } => {
                let known = self.cookies.get(cookie);
                let (header, token) =
                    (known.map(|(header, ..)| header.as_str()), known.map(|(_, id, ends)| (*id, *ends)));
                let (session, model) = match op {
                    Op::Load { .. } => (self.manager.load(header).unwrap(), self.model.load(token)),
                    _ => (self.manager.peek(header).unwrap(), self.model.peek(token)),
                };
                assert_eq!(session.is_new(), model.id.is_none());
                if let Some(id) = model.id {
                    assert_eq!(session.public_id(), self.public_ids[&id]);
                }
                self.handles[handle] = (session, model);
            }
            Op::Set { handle, key, json } => {
                let (session, model) = &mut self.handles[handle];
                session.set(KEYS[key], &serde_json::from_str::<serde_json::Value>(json).unwrap()).unwrap();
                model.changes.insert(KEYS[key], Change::Set(json.to_owned()));
            }
            Op::Increment { handle, key, by } => {
                let (session, model) = &mut self.handles[handle];
                match session.increment(KEYS[key], by) {
                    Ok(()) => assert!(model.increment(KEYS[key], by)),
                    Err(Error::NotAnInteger { key: named, .. }) => {
                        assert!(!model.increment(KEYS[key], by));
                        assert_eq!(named, KEYS[key]);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            Op::Remove { handle, key } => {
                let (session, model) = &mut self.handles[handle];
                let known = model.value(KEYS[key]) != Ok(None);
                assert_eq!(session.remove(KEYS[key]), known);
                model.changes.insert(KEYS[key], Change::Remove);
            }
            Op::Take { handle, key } => {
                let (session, model) = &mut self.handles[handle];
                match (session.take::<serde_json::Value>(KEYS[key]), model.value(KEYS[key])) {
                    (Ok(None), Ok(None)) | (Err(Error::NotAnInteger { .. }), Err(())) => {}
                    (Ok(Some(value)), Ok(Some(json))) => {
                        assert_eq!(value.to_string(), json);
                        model.changes.insert(KEYS[key], Change::Remove);
                    }
                    (answer, expected) => panic!("{answer:?}, {expected:?}"),
                }
            }
            Op::Clear { handle } => {
                let (session, model) = &mut self.handles[handle];
                session.clear();
                model.changes.clear();
                model.cleared = true;
            }
            Op::Regenerate { handle, with_grace } => {
                let (session, model) = &mut self.handles[handle];
                match with_grace {
                    true => session.regenerate_with_grace(Duration::from_secs(60)),
                    false => session.regenerate(),
                }
                model.renew(with_grace, GroupChange::None);
            }
            Op::Join { handle, group } => {
                let (session, model) = &mut self.handles[handle];
                session.set_group_name(GROUPS[group]);
                // No value of one user passes to the next.
                if [model.group_to_be(), model.group].into_iter().flatten().any(|present| present != group) {
                    model.cleared = true;
                    model.changes.retain(|_, change| matches!(change, Change::Set(_)));
                }
                model.renew(false, GroupChange::Join(group));
            }
            Op::Leave { handle } => {
                let (session, model) = &mut self.handles[handle];
                session.leave_group();
                if model.group_to_be().is_some() {
                    model.renew(false, GroupChange::Leave);
                }
            }
            Op::ClearGroup { group } => {
                let ended = self.manager.group(GROUPS[group]).clear().unwrap();
                assert_eq!(ended, self.model.end(|record| record.group == Some(group)));
            }
            Op::ClearGroupExcept { group, handle } => {
                let (session, model) = &self.handles[handle];
                let ended = self.manager.group(GROUPS[group]).clear_except(session).unwrap();
                let stays = model.id.map(|id| self.model.follow(id));
                assert_eq!(ended, self.model.end(|record| record.group == Some(group) && Some(record.id) != stays));
                // Clients with an old id of it are logged out as well.
                if self.model.records.iter().any(|record| record.group == Some(group) && Some(record.id) == stays) {
                    self.model.forwards.retain(|_, new_id| Some(*new_id) != stays);
                }
            }
            Op::RemoveFromGroup { cookie, group } => {
                let Some((_, id, _)) = self.cookies.get(cookie) else { return };
                let removed = self.manager.group(GROUPS[group]).remove(self.public_ids[id]).unwrap();
                // A list that is a moment old works, too: the button ends the session that had this id.
                let current = self.model.ended_by(*id);
                assert_eq!(
                    u64::from(removed),
                    self.model.end(|record| record.group == Some(group) && record.id == current)
                );
            }
            Op::SetIdleTimeout { handle, minutes } => {
                let (session, model) = &mut self.handles[handle];
                session.set_idle_timeout(Duration::from_secs((minutes * MINUTE).into()));
                model.idle = Some(minutes);
            }
            Op::SetPersistent { handle, persistent } => {
                let (session, model) = &mut self.handles[handle];
                session.set_persistent(persistent);
                model.persistent = Some(persistent);
            }
            Op::SetInGroup { group, number } => {
                self.manager.group(GROUPS[group]).set_value("number", &number).unwrap();
                self.model.set_in_group(group, number);
            }
            Op::Save { handle } => {
                let (session, model) = &mut self.handles[handle];
                let mut set_cookie = None;
                let answer = match session.save() {
                    Ok(given) => {
                        set_cookie = given;
                        Answer::Saved { cookie: set_cookie.is_some() }
                    }
                    Err(Error::Gone) => Answer::Gone,
                    Err(Error::NotAnInteger { .. }) => Answer::NotAnInteger,
                    Err(error) => panic!("{error}"),
                };
                let may_have_cookie = std::mem::take(&mut model.cookie_may_be_due) && answer.has_cookie();
                let expected = self.model.save(model);
                assert!(answer == expected || may_have_cookie && !expected.has_cookie(), "{answer:?}, {expected:?}");
                if let Some(id) = model.id {
                    let known = self.public_ids.entry(id).or_insert_with(|| session.public_id());
                    assert_eq!(session.public_id(), *known);
                }
                if let Some(set_cookie) = set_cookie {
                    assert_eq!(set_cookie.contains("Max-Age"), model.has_persistent_cookie, "{set_cookie:?}");
                    self.cookies.push((cookie(&set_cookie), model.id.expect("it is kept"), model.expires));
                }
            }
            Op::Destroy { handle } => {
                let fresh = (self.manager.load(None).unwrap(), ModelSession::default());
                let (session, model) = std::mem::replace(&mut self.handles[handle], fresh);
                assert!(session.destroy().unwrap().is_some());
                let current = model.id.map(|id| self.model.ended_by(id));
                self.model.end(|record| Some(record.id) == current);
            }
            Op::DestroyByCookie { cookie } => {
                let Some((header, id, _)) = self.cookies.get(cookie) else { return };
                let _ = self.manager.destroy(header.as_str()).unwrap();
                let current = self.model.ended_by(*id);
                self.model.end(|record| record.id == current);
            }
            Op::LetTimePass { hours } => {
                (self.let_time_pass)(Duration::from_secs((hours * 60 * MINUTE).into()));
                self.model.now += hours * 60;
                self.model.forwards.clear();
                self.model.trails.clear();
            }
        }
        let may_change = !matches!(op, Op::Set { .. } | Op::Increment { .. } | Op::Remove { .. } | Op::Load { .. });
        for (group, name) in GROUPS.iter().enumerate().filter(|_| may_change) {
            let live = self.model.records.iter().filter(|record| record.expires > self.model.now);
            let members: BTreeSet<PublicId> =
                live.filter(|record| record.group == Some(group)).map(|record| self.public_ids[&record.id]).collect();
            let listed: BTreeSet<PublicId> =
                self.manager.group(name).sessions().unwrap().iter().map(|session| session.public_id()).collect();
            assert_eq!(listed, members, "{name}");
        }
        for (session, model) in &self.handles {
            assert_eq!(session.group_name(), model.group_to_be().map(|group| GROUPS[group]));
            assert_eq!(session.authenticated_at().is_some(), model.group.is_some());
            let changes_group = model.renew.is_some_and(|renew| renew.change != GroupChange::None);
            let of_group = model.of_group.filter(|_| !changes_group);
            assert_eq!(session.group_value::<u32>("number").unwrap(), of_group);
            for key in KEYS {
                match (session.get::<serde_json::Value>(key), model.value(key)) {
                    (Ok(value), Ok(json)) => {
                        // A null is there, and is read as `None`.
                        let json = json.filter(|json| json != "null");
                        assert_eq!(value.filter(|value| !value.is_null()).map(|value| value.to_string()), json);
                    }
                    (Err(Error::NotAnInteger { .. }), Err(())) => {}
                    (answer, expected) => panic!("{key}: {answer:?}, {expected:?}"),
                }
                assert_eq!(session.contains_key(key), model.value(key) != Ok(None));
            }
            let keys: Vec<&str> = KEYS.into_iter().filter(|key| model.value(key) != Ok(None)).collect();
            assert_eq!(
                (session.keys(), session.len(), session.is_empty()),
                (keys.clone(), keys.len(), keys.is_empty())
            );
        }
    }

    /// Looks at what is really kept, with fresh handles.
    fn end(mut self) {
        for (header, id, ends) in &self.cookies {
            let session = self.manager.load(header.as_str()).unwrap();
            let model = self.model.load(Some((*id, *ends)));
            let values: Vec<_> = session.keys().into_iter().map(str::to_owned).collect();
            assert_eq!(values, model.seen.keys().map(|key| key.to_string()).collect::<Vec<_>>());
            for (key, json) in &model.seen {
                let value = session.get::<serde_json::Value>(key).unwrap().unwrap_or_default();
                assert_eq!(&value.to_string(), json);
            }
        }
        for (header, ..) in &self.cookies {
            let _ = self.manager.destroy(header.as_str()).unwrap();
        }
        for name in GROUPS {
            self.manager.group(name).clear().unwrap();
            self.manager.group(name).remove_value("number").unwrap();
        }
    }
}

fn run(manager: &SessionManager, let_time_pass: &dyn Fn(Duration), cookies_age: bool, ops: &[Op]) {
    let fresh = || (manager.load(None).unwrap(), ModelSession::default());
    let mut run = Run {
        manager: manager.clone(),
        let_time_pass,
        model: Model { cookies_age, ..Model::default() },
        handles: (0..HANDLES).map(|_| fresh()).collect(),
        cookies: Vec::new(),
        public_ids: BTreeMap::new(),
    };
    ops.iter().for_each(|op| run.step(op));
    run.end();
}

fn check(cases: u32, url: &str, store: Option<MemoryStore>, let_time_pass: &dyn Fn(Duration)) {
    let minutes = |minutes: u32| Duration::from_secs((minutes * MINUTE).into());
    let mut builder = builder(url).idle_timeout(minutes(IDLE)).absolute_timeout(minutes(ABSOLUTE));
    let cookies_age = store.is_some();
    if let Some(store) = store {
        builder = builder.store(store);
    }
    let manager = builder.operation_timeout(Duration::from_secs(60)).build().unwrap();
    manager.ping().unwrap();
    proptest!(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() },
        |(ops in prop::collection::vec(op(), 1..60))| run(&manager, let_time_pass, cookies_age, &ops));
}

#[test]
fn memory_answers_as_the_model() {
    let (now, pass) = clock();
    check(1000, "memory:", Some(MemoryStore::with_clock(now)), &pass);
}

#[test]
fn sqlite_answers_as_the_model() {
    let place = Place::sqlite();
    check(250, &place.url(), None, &|time| place.let_time_pass_for_all(time));
}

#[test]
fn redis_answers_as_the_model() {
    let place = Place::redis();
    check(250, &place.url(), None, &|time| place.let_time_pass_for_all(time));
}
