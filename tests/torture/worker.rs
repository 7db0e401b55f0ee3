//! One thread of a worker: takes one session after another from the board, and uses it as a request does.

use super::board::{Board, Entry as Slot};
use super::faults;
use super::history::{
    Call, Changes, Entry, Id, NewId, Outcome, Public, Reason, Recorder, Token, Value, digest, group_name, group_number,
    limit_of, token_of,
};
use super::random::Random;
use crate::support::cookie;
use multi_process_session::{EndReason, Error, PublicId, Session, SessionHandle, SessionManager};
use std::mem;
use std::time::{Duration, Instant, UNIX_EPOCH};

pub const GROUPS: u32 = 40;
/// This number of slots gets half of the requests.
const BUSY_SLOTS: u64 = 8;
/// How many old cookies a thread keeps, to use them again.
const OLD_COOKIES: usize = 64;
/// How many handles a thread keeps, to ask them again.
const HANDLES: usize = 32;

pub const KEYS: [&str; 6] = ["a", "b", "c", "d", "left", "right"];
/// The keys of two counters. The first one is changed by increments, the second one in transactions.
pub const COUNTS: [&str; 2] = ["count", "steps"];
/// The key of the value that each group has.
const OF_GROUP: &str = "role";

pub struct Worker<'a> {
    pub manager: &'a SessionManager,
    pub board: &'a Board,
    pub recorder: Recorder,
    pub random: Random,
    old_cookies: Vec<(Id, String)>,
    handles: Vec<(Id, Public, SessionHandle)>,
}

impl<'a> Worker<'a> {
    pub fn new(manager: &'a SessionManager, board: &'a Board, recorder: Recorder, random: Random) -> Worker<'a> {
        Worker { manager, board, recorder, random, old_cookies: Vec::new(), handles: Vec::new() }
    }

    pub fn run(&mut self, until: Instant) {
        while Instant::now() < until {
            let slot =
                if self.random.one_in(2) { self.random.below(BUSY_SLOTS) } else { self.random.below(self.board.slots) };
            match self.random.below(1000) {
                0..8 => self.clear_group(),
                8..20 => self.list_group(),
                20..64 => self.use_old_cookie(),
                64..96 => self.set_group_value(),
                96..112 => self.ask_handles(),
                _ => self.use_slot(slot),
            }
        }
    }

    // ---- what requests do ----

    fn use_slot(&mut self, slot: u64) {
        let Some(entry) = self.board.get(slot) else { return self.create(slot) };
        let old = entry.previous.clone().filter(|_| self.random.one_in(8));
        let is_current = old.is_none();
        let presented = old.as_ref().unwrap_or(&entry.cookie).clone();
        match self.random.below(100) {
            0..2 => {
                let (session, token) = (entry.session, token_of(&presented));
                let manager = self.manager;
                self.operate(session, token, Call::Destroy(None), |_| ended(manager.destroy(&presented)));
            }
            2..10 => self.transact(entry.session, &presented),
            _ => match self.load_or_peek(entry.session, &presented) {
                Some(Some(session)) => {
                    self.keep_handle(entry.session, &session);
                    self.use_session(slot, &entry, &presented, session);
                }
                Some(None) if is_current && self.board.get(slot).as_ref() == Some(&entry) => self.create(slot),
                _ => {}
            },
        }
    }

    fn use_session(&mut self, slot: u64, entry: &Slot, presented: &str, mut session: Session) {
        let (number, token) = (entry.session, token_of(presented));
        // A pause, so that requests overlap.
        if self.random.one_in(4) {
            std::thread::sleep(Duration::from_micros(self.random.below(2000)));
        }
        let public = public(&session.public_id());
        let mut changes = Changes::default();
        match self.random.below(100) {
            0..25 => {}
            25..60 => {
                changes.set = self.keys();
                if self.random.one_in(3) {
                    changes.add = vec![(COUNTS[0].to_owned(), self.random.between(1, 6))];
                }
                if self.random.one_in(8) {
                    let key = KEYS[self.random.below(4) as usize].to_owned();
                    changes.remove.extend(Some(key).filter(|key| !changes.set.contains(key)));
                }
            }
            60..66 => changes.new_id = NewId::Strict,
            66..76 => {
                let short = self.random.one_in(2);
                changes.new_id = NewId::Grace(if short { self.random.between(1, 300) } else { 120_000 });
            }
            76..82 => changes.new_id = NewId::Join(self.random.below(GROUPS.into()) as u32),
            82..84 if session.group_name().is_some() => changes.new_id = NewId::Leave,
            84..88 => changes.flash = true,
            88..93 => {
                self.operate(number, token, Call::TakeFlash(public), |_| {
                    match session.take_flash::<String>("notice") {
                        Ok(taken) => Outcome::Taken(taken.map(|text| value(&text))),
                        Err(error) => fault(&error),
                    }
                });
                return;
            }
            93..96 => {
                self.operate(number, token, Call::Destroy(Some(public)), |_| ended(session.destroy()));
                return;
            }
            96..97 => {
                if let Some(group) = session.group_name().and_then(group_number) {
                    let manager = self.manager;
                    self.operate(number, token, Call::ClearExcept(group, public), |_| {
                        ended(manager.group(&group_name(group)).clear_except(&session))
                    });
                }
                return;
            }
            // Only some sessions are cleared: counts are not exact in those.
            97..100 if number.is_multiple_of(8) => (changes.clear, changes.set) = (true, self.keys()),
            _ => {}
        }
        if changes_user(&session, &changes) {
            if !number.is_multiple_of(8) {
                return;
            }
            (changes.clear, changes.set) = (true, self.keys());
        }
        let is_move = changes.new_id != NewId::No;
        if is_move && self.random.one_in(2) {
            changes.set = self.keys();
            changes.add = vec![(COUNTS[0].to_owned(), self.random.between(1, 6))];
        }
        let sends_something = is_move || changes.flash || !changes.set.is_empty();
        if !sends_something && changes.add.is_empty() && changes.remove.is_empty() {
            return;
        }
        let Some(new_cookie) = self.save(number, presented, session, public, changes) else { return };
        // It may have lost its slot in the meantime.
        if self.board.get(slot).is_some_and(|now| now.session == number && now.cookie == presented) {
            let previous = Some(presented.to_owned());
            self.board.set(slot, &Slot { session: number, cookie: new_cookie, previous });
        }
        self.remember(number, presented);
    }

    fn create(&mut self, slot: u64) {
        let number = self.recorder.next();
        let new_id =
            if self.random.one_in(2) { NewId::Join(self.random.below(GROUPS.into()) as u32) } else { NewId::No };
        let changes = Changes { set: self.keys(), new_id, ..Changes::default() };
        let manager = self.manager;
        let cookie = self.operate_as(number, number, 0, Call::Create(changes.clone()), |_| {
            let session = manager.load(None).and_then(|mut session| {
                session.set("me", &number)?;
                Ok(session)
            });
            match session {
                Ok(mut session) => apply_and_save(&mut session, number, number, 0, &changes, &mut || false),
                Err(error) => (fault(&error), None),
            }
        });
        if let Some(cookie) = cookie {
            self.board.set(slot, &Slot { session: number, cookie, previous: None });
        }
    }

    fn use_old_cookie(&mut self) {
        if !self.old_cookies.is_empty() {
            let at = self.random.below(self.old_cookies.len() as u64) as usize;
            let (session, cookie) = self.old_cookies[at].clone();
            if self.random.one_in(16) {
                let manager = self.manager;
                self.operate(session, token_of(&cookie), Call::Destroy(None), |_| ended(manager.destroy(&cookie)));
            } else {
                self.load_or_peek(session, &cookie);
            }
        }
    }

    fn remember(&mut self, session: Id, cookie: &str) {
        if self.old_cookies.len() == OLD_COOKIES {
            let at = self.random.below(OLD_COOKIES as u64) as usize;
            self.old_cookies.swap_remove(at);
        }
        self.old_cookies.push((session, cookie.to_owned()));
    }

    fn keep_handle(&mut self, number: Id, session: &Session) {
        if let Some(handle) = session.to_handle().filter(|_| self.random.one_in(8)) {
            if self.handles.len() == HANDLES {
                let at = self.random.below(HANDLES as u64) as usize;
                self.handles.swap_remove(at);
            }
            self.handles.push((number, public(&session.public_id()), handle));
        }
    }

    /// Asks some handles in one call. The history has an operation for each of them.
    fn ask_handles(&mut self) {
        let (asked, kept) = mem::take(&mut self.handles).into_iter().partition(|_| self.random.one_in(2));
        self.handles = kept;
        let asked: Vec<(Id, Public, SessionHandle)> = asked;
        // A handle may take over a new id, which the history does not know. So the copies are asked.
        let mut handles: Vec<SessionHandle> = asked.iter().map(|(.., handle)| handle.clone()).collect();
        let operations: Vec<Id> = asked.iter().map(|_| self.recorder.next()).collect();
        faults::connections_failed();
        let at = self.recorder.now();
        for (op, (session, public, _)) in operations.iter().zip(&asked) {
            let call = Call::IsAlive(*public);
            self.recorder.write(&Entry::Invoke { at, op: *op, session: *session, token: 0, call });
        }
        let alive = self.manager.are_alive(&mut handles);
        let (at, resent) = (self.recorder.now(), faults::connections_failed() > 0);
        for (number, (op, handle)) in operations.into_iter().zip(asked).enumerate() {
            let outcome = alive.as_ref().map_or_else(fault, |alive| Outcome::Lives(alive[number]));
            if outcome != Outcome::Lives(false) || self.random.one_in(8) {
                self.handles.push(handle);
            }
            self.recorder.write(&Entry::Complete { at, op, outcome, resent });
        }
    }

    fn set_group_value(&mut self) {
        // Two groups get most of the values, so that a set that is sent again comes after a later one.
        let groups = if self.random.one_in(4) { GROUPS } else { 2 };
        let (op, group) = (self.recorder.next(), self.random.below(groups.into()) as u32);
        let manager = self.manager;
        self.operate_as(op, 0, 0, Call::SetValue(group), |_| {
            (ended(manager.group(&group_name(group)).set_value(OF_GROUP, &format!("{group}:{op}"))), None)
        });
    }

    fn clear_group(&mut self) {
        let group = self.random.below(GROUPS.into()) as u32;
        let manager = self.manager;
        self.operate(0, 0, Call::Clear(group), |_| ended(manager.group(&group_name(group)).clear()));
    }

    fn list_group(&mut self) {
        let group = self.random.below(GROUPS.into()) as u32;
        self.count(group);
        let listed = self.list(group);
        if !listed.is_empty() && self.random.one_in(2) {
            let (id, session) = listed[self.random.below(listed.len() as u64) as usize];
            let manager = self.manager;
            self.operate(session.unwrap_or(0), 0, Call::Remove(group, public(&id)), |_| {
                ended(manager.group(&group_name(group)).remove(id))
            });
        }
    }

    fn transact(&mut self, session: Id, presented: &str) {
        let manager = self.manager;
        self.operate(session, token_of(presented), Call::Transact(COUNTS[1].to_owned()), |_| {
            let stepped = manager.transact(presented, |session| {
                if session.is_new() {
                    return Err(Error::Gone);
                }
                let steps = session.get::<u64>(COUNTS[1])?.unwrap_or(0) + 1;
                session.set(COUNTS[1], &steps)?;
                Ok(steps)
            });
            match stepped {
                Ok((steps, _)) => {
                    let counts = vec![(COUNTS[1].to_owned(), steps)];
                    Outcome::Done { public: 0, token: None, counts, ended: Vec::new() }
                }
                Err(error) => fault(&error),
            }
        });
    }

    /// Some keys to set. The last two are always set together.
    fn keys(&mut self) -> Vec<String> {
        let mut keys: Vec<&str> = KEYS[..4].iter().copied().filter(|_| self.random.one_in(3)).collect();
        if keys.is_empty() || self.random.one_in(4) {
            keys.extend(&KEYS[4..]);
        }
        keys.into_iter().map(str::to_owned).collect()
    }

    // ---- operations ----

    /// Writes down that an operation begins, does it, and writes down its outcome. `work` says whether it was sent
    /// again.
    fn operate(&mut self, session: Id, token: Token, call: Call, work: impl FnOnce(&mut bool) -> Outcome) {
        let op = self.recorder.next();
        self.operate_as(op, session, token, call, |resent| (work(resent), None));
    }

    /// Like `operate`, with the name of the operation. `work` also gives the new cookie, if there is one.
    fn operate_as(
        &mut self,
        op: Id,
        session: Id,
        token: Token,
        call: Call,
        work: impl FnOnce(&mut bool) -> (Outcome, Option<String>),
    ) -> Option<String> {
        faults::connections_failed();
        self.recorder.write(&Entry::Invoke { at: self.recorder.now(), op, session, token, call });
        let mut resent = false;
        let (outcome, new_cookie) = work(&mut resent);
        let at = self.recorder.now();
        if matches!(outcome, Outcome::Fault(_)) {
            // A server that is down is not asked thousands of times.
            std::thread::sleep(Duration::from_millis(2));
        }
        if let Some(cookie) = &new_cookie {
            self.recorder.keep(session, cookie);
        }
        resent |= faults::connections_failed() > 0;
        self.recorder.write(&Entry::Complete { at, op, outcome, resent });
        for text in faults::foreign_replies() {
            self.recorder.write(&Entry::Note { at, text: format!("operation {op}: {text}") });
        }
        new_cookie
    }

    /// Returns the session, `Some(None)` if it is dead, and `None` if the store failed.
    pub fn load(&mut self, number: Id, cookie: &str) -> Option<Option<Session>> {
        let manager = self.manager;
        self.look(number, cookie, Call::Load, || Ok(manager.load(cookie)?))
    }

    /// Like `load`. Some of these loads are peeks.
    fn load_or_peek(&mut self, number: Id, cookie: &str) -> Option<Option<Session>> {
        if !self.random.one_in(4) {
            return self.load(number, cookie);
        }
        let manager = self.manager;
        self.look(number, cookie, Call::Peek, || {
            let mut session = manager.peek(cookie)?;
            match session.save()? {
                None => Ok(session),
                Some(_) => Err("a peek brought a cookie".into()),
            }
        })
    }

    fn look(
        &mut self,
        number: Id,
        cookie: &str,
        call: Call,
        load: impl FnOnce() -> Result<Session, Box<dyn std::error::Error>>,
    ) -> Option<Option<Session>> {
        let mut loaded = None;
        self.operate(number, token_of(cookie), call, |_| match load() {
            Ok(session) if session.is_new() => {
                loaded = Some(None);
                why(&session)
            }
            Ok(session) => {
                let outcome = what_is_in(&session).unwrap_or_else(|error| fault(&error));
                loaded = Some(Some(session));
                outcome
            }
            Err(error) => match error.downcast_ref() {
                Some(error) => fault(error),
                None => Outcome::Fault(error.to_string()),
            },
        });
        loaded
    }

    /// Returns the new cookie, if there is one.
    fn save(
        &mut self,
        number: Id,
        presented: &str,
        mut session: Session,
        public: Public,
        changes: Changes,
    ) -> Option<String> {
        let op = self.recorder.next();
        let (token, mut tries) = (token_of(presented), self.random.below(3));
        self.operate_as(op, number, token, Call::Save(public, changes.clone()), |resent| {
            let mut again = || {
                tries = tries.saturating_sub(1);
                *resent |= tries > 0;
                tries > 0
            };
            apply_and_save(&mut session, number, op, token, &changes, &mut again)
        })
    }

    /// The members of a group, each with the number that it has kept.
    pub fn list(&mut self, group: u32) -> Vec<(PublicId, Option<Id>)> {
        let mut listed = Vec::new();
        let manager = self.manager;
        self.operate(0, 0, Call::List(group), |_| match manager.group(&group_name(group)).sessions_with(&["me"]) {
            Ok(sessions) => {
                listed = sessions.iter().map(|it| (it.public_id(), it.get("me").ok().flatten())).collect();
                Outcome::Listed(listed.iter().map(|(id, session)| (public(id), *session)).collect())
            }
            Err(error) => fault(&error),
        });
        listed
    }

    pub fn count(&mut self, group: u32) {
        let manager = self.manager;
        self.operate(0, 0, Call::Count(group), |_| match manager.group(&group_name(group)).len() {
            Ok(len) => Outcome::Counted(len as u64),
            Err(error) => fault(&error),
        });
    }
}

/// Saves the changes. After a fault of the store, saves them again if `again` says so. Returns the cookie if it is a
/// new one.
fn apply_and_save(
    session: &mut Session,
    number: Id,
    op: Id,
    presented: Token,
    changes: &Changes,
    again: &mut impl FnMut() -> bool,
) -> (Outcome, Option<String>) {
    if let Err(error) = apply(session, number, op, changes) {
        return (fault(&error), None);
    }
    loop {
        match session.save() {
            Ok(set_cookie) => {
                let cookie = set_cookie.as_ref().map(cookie).filter(|cookie| token_of(cookie) != presented);
                let counts =
                    changes.add.iter().map(|(key, _)| Ok((key.clone(), session.get::<u64>(key)?.unwrap_or(0))));
                let token = cookie.as_deref().map(token_of);
                let outcome = match counts.collect::<Result<_, Error>>() {
                    Ok(counts) => {
                        let ended = session.ended_by_login().iter().map(public).collect();
                        Outcome::Done { public: public(&session.public_id()), token, counts, ended }
                    }
                    Err(error) => fault(&error),
                };
                return (outcome, cookie);
            }
            Err(Error::Store(_)) if again() => {}
            Err(error) => return (fault(&error), None),
        }
    }
}

fn apply(session: &mut Session, number: Id, op: Id, changes: &Changes) -> Result<(), Error> {
    if changes_user(session, changes) {
        join(session, changes); // This clears the session too.
        session.set("me", &number)?;
    } else if changes.clear {
        session.clear();
        session.set("me", &number)?;
    }
    for key in &changes.set {
        session.set(key, &format!("{number}:{op}"))?;
    }
    for key in &changes.remove {
        session.remove(key);
    }
    for (key, by) in &changes.add {
        session.increment(key, by.cast_signed())?;
    }
    if changes.flash {
        session.flash("notice", &format!("{number}:{op}"))?;
    }
    match changes.new_id {
        NewId::No => {}
        NewId::Strict => session.regenerate(),
        NewId::Grace(milliseconds) => session.regenerate_with_grace(Duration::from_millis(milliseconds)),
        NewId::Join(_) => join(session, changes),
        NewId::Leave => session.leave_group(),
    }
    Ok(())
}

/// Returns whether the session moves from one user's group to another's. Then its values are removed.
fn changes_user(session: &Session, changes: &Changes) -> bool {
    let NewId::Join(group) = changes.new_id else { return false };
    session.group_name().is_some_and(|present| present != group_name(group))
}

fn join(session: &mut Session, changes: &Changes) {
    if let NewId::Join(group) = changes.new_id {
        session.set_group_name(&group_name(group));
        if let Some((sessions, at_limit)) = limit_of(group) {
            session.limit_group(sessions, at_limit);
        }
    }
}

fn what_is_in(session: &Session) -> Result<Outcome, Error> {
    let mut values = Vec::new();
    for key in KEYS {
        if let Some(text) = session.get::<String>(key)? {
            values.push((key.to_owned(), value(&text)));
        }
    }
    let mut counts = Vec::new();
    for key in COUNTS {
        counts.extend(session.get::<u64>(key)?.map(|count| (key.to_owned(), count)));
    }
    let (public, group) = (public(&session.public_id()), session.group_name().map(str::to_owned));
    let of_group = session.group_value::<String>(OF_GROUP)?.map(|text| value(&text));
    let expires = session.expires_at().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let expires = expires.map_or(0, |since| since.as_millis() as u64);
    Ok(Outcome::Alive { public, group, me: session.get("me")?, values, counts, of_group, expires })
}

/// Returns the reason why a session is dead.
fn why(session: &Session) -> Outcome {
    Outcome::Dead(match session.ended_because() {
        Some(EndReason::LoggedOut) => Reason::LoggedOut,
        Some(EndReason::LoggedOutElsewhere) => Reason::LoggedOutElsewhere,
        Some(EndReason::OverLimit) => Reason::OverLimit,
        Some(EndReason::NewId) => Reason::NewId,
        Some(EndReason::Expired) => Reason::Expired,
        other => return Outcome::Fault(format!("it is dead, and the reason is {other:?}")),
    })
}

fn value(text: &str) -> Value {
    let (session, write) = text.split_once(':').unwrap_or_default();
    (session.parse().unwrap_or(0), write.parse().unwrap_or(0))
}

fn public(id: &PublicId) -> Public {
    digest(&id.to_string())
}

fn ended<T>(answer: Result<T, Error>) -> Outcome {
    answer.map_or_else(|error| fault(&error), |_| Outcome::Ended)
}

fn fault(error: &Error) -> Outcome {
    match error {
        Error::Gone => Outcome::Gone,
        Error::Conflict => Outcome::Conflict,
        Error::TooManySessions { .. } => Outcome::Full,
        Error::Store(error) => Outcome::Fault(format!("{:?}", error.kind())),
        other => Outcome::Fault(other.to_string()),
    }
}
