//! Proves from a history that the promises held, or shows where they did not.

mod cause;
mod count;
mod flash;
mod group;
mod group_value;
mod life;
mod limit;
mod peek;
mod progress;
mod reason;
mod register;

use super::history::{Call, History, Id, NEVER, Operation, Outcome, group_name};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// How much the wall clock of the store and the monotonic clock here may differ, in nanoseconds.
const CLOCKS_DIFFER: u64 = 200_000_000;

/// The rules for the operations of a run.
pub struct Rules {
    /// The kinds of errors that are allowed, because a fault from outside explains them.
    pub kinds: Vec<&'static str>,
    /// How long an operation may take, in nanoseconds.
    pub longest: u64,
    /// How long one thread may get only errors, in nanoseconds.
    pub outage: u64,
}

/// A promise that was broken.
#[derive(Debug)]
pub struct Violation {
    pub what: &'static str,
    pub session: Id,
    /// The operations that show it.
    pub lines: Vec<String>,
}

impl Violation {
    fn new<'a>(what: &'static str, session: Id, operations: impl IntoIterator<Item = &'a Operation>) -> Violation {
        let lines = operations.into_iter().map(|operation| format!("{operation:?}")).collect();
        Violation { what, session, lines }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}: {}", self.session, self.what)?;
        self.lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// The operations on one session, in the order of their invocations.
pub struct OfSession<'h> {
    pub number: Id,
    pub operations: Vec<&'h Operation>,
}

/// Finds all violations in a history.
pub fn check(history: &History, rules: &Rules) -> Vec<Violation> {
    let mut violations: Vec<Violation> = Vec::new();
    for note in &history.notes {
        violations.push(Violation { what: "something that must not happen", session: 0, lines: vec![note.clone()] });
    }
    let mut sessions: BTreeMap<Id, Vec<&Operation>> = BTreeMap::new();
    for operation in &history.operations {
        check_answer(operation, history, rules, &mut violations);
        if operation.session != 0 {
            sessions.entry(operation.session).or_default().push(operation);
        }
    }
    progress::check(history, rules, &mut violations);
    let groups = group::Groups::of(history);
    let mut lives = HashMap::new();
    for (number, mut operations) in sessions {
        operations.sort_by_key(|operation| operation.invoked);
        let session = OfSession { number, operations };
        register::check(&session, &mut violations);
        count::check(&session, &mut violations);
        flash::check(&session, &mut violations);
        peek::check(&session, &mut violations);
        lives.insert(number, life::Life::check(&session, &groups, &mut violations));
    }
    groups.check(&lives, &mut violations);
    limit::check(&groups, &lives, &mut violations);
    group_value::check(history, &mut violations);
    violations
}

/// Finds what is wrong with one operation alone.
fn check_answer(operation: &Operation, history: &History, rules: &Rules, violations: &mut Vec<Violation>) {
    let mut complain = |what| violations.push(Violation::new(what, operation.session, [operation]));
    let stalled = history.stalled(operation);
    if operation.completed != NEVER && operation.completed - operation.invoked > rules.longest + stalled {
        complain("an operation took longer than its timeout allows");
    }
    match (&operation.call, &operation.outcome) {
        (_, Some(Outcome::Fault(kind))) if kind == "Timeout" && stalled > 0 => {}
        (_, Some(Outcome::Fault(kind))) if !rules.kinds.contains(&kind.as_str()) => {
            complain("an error that nothing explains");
        }
        (Call::Save(..) | Call::Create(_), Some(Outcome::Conflict)) => complain("an error that nothing explains"),
        (Call::Save(_, changes), Some(Outcome::Done { token: None, .. })) if changes.new_id.is_strict() => {
            complain("a new id was acknowledged, and no cookie given out");
        }
        (_, Some(Outcome::Alive { me, group, values, of_group, .. })) => {
            if of_group.is_some_and(|(owner, _)| u32::try_from(owner).ok().map(group_name) != *group) {
                complain("a session has the value of another group");
            }
            if me.is_none() {
                complain("a session has lost what it was made with");
            }
            if me.is_some_and(|me| me != operation.session)
                || values.iter().any(|(_, (session, _))| *session != operation.session)
            {
                complain("a session has the values of another");
            }
            let value = |key| values.iter().find(|(name, _)| name == key).map(|(_, value)| value);
            if value("left") != value("right") {
                complain("half of a save was applied");
            }
        }
        _ => {}
    }
}
