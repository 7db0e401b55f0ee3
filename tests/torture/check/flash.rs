//! A flash value is taken once.

use super::super::history::{Id, Operation, Outcome};
use super::{OfSession, Violation};
use std::collections::HashMap;

pub(super) fn check(session: &OfSession<'_>, violations: &mut Vec<Violation>) {
    let mut taken: HashMap<Id, &Operation> = HashMap::new();
    for operation in &session.operations {
        let Some(Outcome::Taken(Some((owner, value)))) = operation.outcome else { continue };
        if owner != session.number {
            violations.push(Violation::new("a session has the values of another", session.number, [*operation]));
        }
        if let Some(before) = taken.insert(value, operation) {
            violations.push(Violation::new("a flash value was taken twice", session.number, [before, operation]));
        }
        let wrote = |other: &&&Operation| other.id == value && other.changes().is_some_and(|changes| changes.flash);
        if session.operations.iter().find(wrote).is_none_or(|write| write.invoked > operation.completed) {
            violations.push(Violation::new("a value that nobody had written", session.number, [*operation]));
        }
    }
}
