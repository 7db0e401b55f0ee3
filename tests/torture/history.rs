//! The history of a run: every operation with its invocation, its acknowledgement and its answer.
//!
//! Each thread of each worker appends to a file of its own, one `write` for an entry. So a killed worker leaves whole
//! entries, and at most the beginning of another one. The clock is `CLOCK_MONOTONIC`, which all processes of a machine
//! share.

use multi_process_session::AtLimit;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Names an operation, the session that it created, and the values that it wrote, so that all of them are unique.
pub type Id = u64;
/// A digest of a cookie.
pub type Token = u64;
/// A digest of a public id.
pub type Public = u64;
/// A time that is later than all others.
pub const NEVER: u64 = u64::MAX;

/// A short name for a cookie or a public id.
pub fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The token in a cookie. A renewed cookie has the same id and group, and another end and signature: the last 36 bytes.
pub fn token_of(cookie: &str) -> Token {
    digest(&cookie[..cookie.len().saturating_sub(48)])
}

/// The name of the group of this number.
pub fn group_name(group: u32) -> String {
    format!("group {group}")
}

/// The number of the group of this name.
pub fn group_number(name: &str) -> Option<u32> {
    name.strip_prefix("group ")?.parse().ok()
}

/// The limit with which all logins of this group come. A third of the groups has none.
pub fn limit_of(group: u32) -> Option<(usize, AtLimit)> {
    match group % 3 {
        0 => Some((3, AtLimit::EndOldest)),
        2 => Some((3, AtLimit::RefuseNewest)),
        _ => None,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewId {
    #[default]
    No,
    Strict,
    /// The old id still reaches the session for this number of milliseconds.
    Grace(u64),
    Join(u32),
    Leave,
}

impl NewId {
    /// Whether the old id is dead at once.
    pub fn is_strict(&self) -> bool {
        matches!(self, NewId::Strict | NewId::Join(_) | NewId::Leave)
    }
}

/// What one save sends. The values that it sets are named after the operation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    pub set: Vec<String>,
    pub remove: Vec<String>,
    pub clear: bool,
    pub add: Vec<(String, u64)>,
    pub flash: bool,
    pub new_id: NewId,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Call {
    Create(Changes),
    Load,
    Peek,
    /// Of a handle that was made when the session had this public id.
    IsAlive(Public),
    /// The public id is the one that the session had after the last answer of the store.
    Save(Public, Changes),
    /// Load, add 1 to this key and save. Begin again if another request came between.
    Transact(String),
    TakeFlash(Public),
    /// Of a loaded session, or of the cookie alone.
    Destroy(Option<Public>),
    Clear(u32),
    ClearExcept(u32, Public),
    Remove(u32, Public),
    List(u32),
    Count(u32),
    /// Sets the value of a group. The value is named after the operation.
    SetValue(u32),
}

impl Call {
    pub fn name(&self) -> &'static str {
        match self {
            Call::Create(_) => "create",
            Call::Load => "load",
            Call::Peek => "peek",
            Call::IsAlive(_) => "is_alive",
            Call::Save(_, changes) => match changes.new_id {
                NewId::No => "save",
                NewId::Strict => "regenerate",
                NewId::Grace(_) => "regenerate_with_grace",
                NewId::Join(_) => "join",
                NewId::Leave => "leave",
            },
            Call::Transact(_) => "transact",
            Call::TakeFlash(_) => "take_flash",
            Call::Destroy(Some(_)) => "destroy",
            Call::Destroy(None) => "destroy by cookie",
            Call::Clear(_) => "clear group",
            Call::ClearExcept(..) => "clear group except",
            Call::Remove(..) => "remove from group",
            Call::List(_) => "list group",
            Call::Count(_) => "count group",
            Call::SetValue(_) => "set group value",
        }
    }

    /// Whether it shows the values of a session.
    pub fn is_load(&self) -> bool {
        matches!(self, Call::Load | Call::Peek)
    }
}

/// A value: the session or the group that it was written in, and the operation that wrote it.
pub type Value = (Id, Id);

/// Why a session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    LoggedOut,
    LoggedOutElsewhere,
    OverLimit,
    NewId,
    Expired,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Of a load.
    Alive {
        public: Public,
        group: Option<String>,
        me: Option<Id>,
        values: Vec<(String, Value)>,
        counts: Vec<(String, u64)>,
        /// The value of its group.
        of_group: Option<Value>,
        /// When it expires, by the store's clock (ms).
        expires: u64,
    },
    /// Of a load.
    Dead(Reason),
    /// Of a handle.
    Lives(bool),
    /// Of a save: the cookie if it is a new one, the counts as the store answered them, and the sessions that a login
    /// has ended.
    Done {
        public: Public,
        token: Option<Token>,
        counts: Vec<(String, u64)>,
        ended: Vec<Public>,
    },
    Taken(Option<Value>),
    Gone,
    Conflict,
    /// Of a login: its group has as many sessions as it may have.
    Full,
    /// Of what ends sessions.
    Ended,
    /// Public ids and sessions.
    Listed(Vec<(Public, Option<Id>)>),
    Counted(u64),
    /// What kind of error.
    Fault(String),
}

impl Outcome {
    pub fn name(&self) -> &str {
        match self {
            Outcome::Dead(Reason::LoggedOut) => "logged out",
            Outcome::Dead(Reason::LoggedOutElsewhere) => "logged out elsewhere",
            Outcome::Dead(Reason::OverLimit) => "over limit",
            Outcome::Dead(Reason::NewId) => "new id",
            Outcome::Dead(Reason::Expired) => "expired",
            Outcome::Lives(false) => "dead",
            Outcome::Gone => "gone",
            Outcome::Conflict => "conflict",
            Outcome::Full => "full",
            Outcome::Fault(kind) => kind,
            _ => "ok",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Entry {
    Invoke {
        at: u64,
        op: Id,
        session: Id,
        token: Token,
        call: Call,
    },
    Complete {
        at: u64,
        op: Id,
        outcome: Outcome,
        resent: bool,
    },
    /// Something that must not happen, and is no answer to an operation.
    Note {
        at: u64,
        text: String,
    },
    /// The machine itself stood still: even a process that only sleeps was not woken in time.
    Stall {
        from: u64,
        to: u64,
    },
}

/// Writes the entries of one thread.
pub struct Recorder {
    file: File,
    cookies: File,
    epoch: Instant,
    first: u64,
    operations: u64,
}

impl Recorder {
    pub fn new(folder: &Path, number: u32, epoch: Instant) -> Recorder {
        let open = |kind| {
            let path = folder.join(format!("{number:06}.{kind}"));
            OpenOptions::new().create_new(true).append(true).open(path).expect("a file of the history")
        };
        Recorder { file: open("log"), cookies: open("cookies"), epoch, first: u64::from(number) << 32, operations: 0 }
    }

    pub fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).expect("no run is that long")
    }

    /// The name of the next operation.
    pub fn next(&mut self) -> Id {
        self.operations += 1;
        self.first + self.operations
    }

    pub fn write(&mut self, entry: &Entry) {
        let mut line = serde_json::to_vec(entry).expect("an entry is JSON");
        line.push(b'\n');
        self.file.write_all(&line).expect("the history can be written");
    }

    /// Keeps a cookie, so that it can be tried again at the end. Call this before its operation is completed.
    pub fn keep(&mut self, session: Id, cookie: &str) {
        self.cookies.write_all(format!("{session} {cookie}\n").as_bytes()).expect("the history can be written");
    }
}

/// All cookies that were kept in a folder, and their sessions.
pub fn cookies(folder: &Path) -> Vec<(Id, String)> {
    let lines = lines(folder, "cookies").flatten();
    lines.filter_map(|line| line.split_once(' ').map(|(id, it)| (id.parse().expect("an id"), it.to_owned()))).collect()
}

/// The lines of all files of a kind, file by file. A worker that was killed in the middle of its last write leaves half
/// a line. It does not count: the event had not happened yet, or nobody was told of it.
fn lines(folder: &Path, kind: &'static str) -> impl Iterator<Item = Vec<String>> {
    let files = std::fs::read_dir(folder).expect("the folder of the history").map(|file| file.expect("a file").path());
    files.filter(move |path| path.extension().is_some_and(|extension| extension == kind)).map(|path| {
        let text = std::fs::read_to_string(path).expect("a file of the history");
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        whole.lines().map(str::to_owned).collect()
    })
}

/// An operation, from what was written about it.
#[derive(Clone, Debug)]
pub struct Operation {
    pub id: Id,
    pub invoked: u64,
    /// When its answer came, or `NEVER` if the worker was killed before.
    pub completed: u64,
    pub session: Id,
    pub token: Token,
    pub call: Call,
    pub outcome: Option<Outcome>,
    /// Whether a connection failed in the meantime, so that it was sent again.
    pub resent: bool,
}

/// Whether an operation took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Surely,
    /// At any time after the invocation, or never.
    Perhaps,
    No,
}

impl Operation {
    pub fn applied(&self) -> Applied {
        match &self.outcome {
            None | Some(Outcome::Fault(_)) => Applied::Perhaps,
            // It was sent twice. It may have been carried out the first time, and refused the second time.
            Some(Outcome::Gone | Outcome::Conflict) if self.resent => Applied::Perhaps,
            // In a cluster the session may have been ended by its old id between the steps of the new one. Others may
            // have seen the saved values before.
            Some(Outcome::Gone) if matches!(self.new_id(), NewId::Grace(_)) => Applied::Perhaps,
            // A login that is sent twice is answered as the first time. So if it is full now, it was full then.
            Some(Outcome::Gone | Outcome::Conflict | Outcome::Full | Outcome::Dead(_)) => Applied::No,
            Some(_) => Applied::Surely,
        }
    }

    /// When it had surely taken effect, or `NEVER`.
    pub fn acknowledged(&self) -> u64 {
        if self.applied() == Applied::Surely { self.completed } else { NEVER }
    }

    pub fn changes(&self) -> Option<&Changes> {
        match &self.call {
            Call::Create(changes) | Call::Save(_, changes) => Some(changes),
            _ => None,
        }
    }

    /// Whether its success says anything. A session that was reached by an old id has a new one already: a save that
    /// asks only for a new id sends nothing then.
    pub fn asks_the_store(&self) -> bool {
        let is_only_a_rotation = self.changes().is_some_and(|changes| {
            let Changes { set, remove, clear, add, flash, new_id } = changes;
            let nothing_else = set.is_empty() && remove.is_empty() && add.is_empty() && !clear && !flash;
            nothing_else && matches!(new_id, NewId::Grace(_))
        });
        !is_only_a_rotation || self.new_token().is_some()
    }

    /// The group that it joins.
    pub fn joins(&self) -> Option<u32> {
        match self.new_id() {
            NewId::Join(group) => Some(*group),
            _ => None,
        }
    }

    /// The sessions that it ended because of the limit of the group that it joined.
    pub fn ended_by_login(&self) -> &[Public] {
        match &self.outcome {
            Some(Outcome::Done { ended, .. }) => ended,
            _ => &[],
        }
    }

    /// The new id that it asks for.
    pub fn new_id(&self) -> &NewId {
        self.changes().map_or(&NewId::No, |changes| &changes.new_id)
    }

    /// The cookie that it gave out.
    pub fn new_token(&self) -> Option<(Token, Public)> {
        match self.outcome {
            Some(Outcome::Done { token: Some(token), public, .. }) => Some((token, public)),
            _ => None,
        }
    }
}

/// All operations of a run.
pub struct History {
    pub operations: Vec<Operation>,
    pub notes: Vec<String>,
    pub stalls: Vec<(u64, u64)>,
    /// The time after the last change.
    pub quiet_from: u64,
}

impl Default for History {
    fn default() -> History {
        History { operations: Vec::new(), notes: Vec::new(), stalls: Vec::new(), quiet_from: NEVER }
    }
}

impl History {
    /// Reads all files of a folder.
    pub fn read(folder: &Path) -> History {
        let mut history = History::default();
        for lines in lines(folder, "log") {
            let entry = |line: String| {
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in the entry {line}"))
            };
            history.add(lines.into_iter().map(entry));
        }
        history
    }

    /// How long the machine stood still during an operation.
    pub fn stalled(&self, operation: &Operation) -> u64 {
        self.stalled_between(operation.invoked, operation.completed)
    }

    pub fn stalled_between(&self, start: u64, end: u64) -> u64 {
        self.stalls.iter().map(|(from, to)| (*to).min(end).saturating_sub((*from).max(start))).sum()
    }

    /// Adds the entries of one thread.
    pub fn add(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let mut under_way: HashMap<Id, usize> = HashMap::new();
        for entry in entries {
            match entry {
                Entry::Invoke { at, op, session, token, call } => {
                    under_way.insert(op, self.operations.len());
                    self.operations.push(Operation {
                        id: op,
                        invoked: at,
                        completed: NEVER,
                        session,
                        token,
                        call,
                        outcome: None,
                        resent: false,
                    });
                }
                Entry::Complete { at, op, outcome, resent } => {
                    let operation = &mut self.operations[under_way[&op]];
                    (operation.completed, operation.outcome, operation.resent) = (at, Some(outcome), resent);
                }
                Entry::Stall { from, to } => self.stalls.push((from, to)),
                Entry::Note { at, text } => self.notes.push(format!("at {at}: {text}")),
            }
        }
    }
}
