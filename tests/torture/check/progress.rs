//! Progress: after any fault of a connection or a server, every thread can work again.

use super::super::history::{History, Id, NEVER, Operation, Outcome};
use super::{Rules, Violation};
use std::collections::BTreeMap;

/// Of this many tries, at least one has to succeed.
const TRIES: usize = 100;

pub(super) fn check(history: &History, rules: &Rules, violations: &mut Vec<Violation>) {
    let mut kinds: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    let mut threads: BTreeMap<Id, Vec<&Operation>> = BTreeMap::new();
    for operation in history.operations.iter().filter(|operation| operation.completed != NEVER) {
        kinds.entry(operation.call.name()).or_default().push(operation);
        threads.entry(operation.id >> 32).or_default().push(operation);
    }
    for tries in kinds.values().filter(|tries| tries.len() >= TRIES && !tries.iter().any(|it| is_success(it))) {
        violations.push(Violation::new("no operation of this kind ever succeeded", 0, tries.iter().take(1).copied()));
    }
    for mut operations in threads.into_values() {
        operations.sort_by_key(|operation| operation.invoked);
        let mut last = operations[0].invoked;
        for operation in operations {
            if operation.completed.saturating_sub(last)
                > rules.outage + history.stalled_between(last, operation.completed)
            {
                violations.push(Violation::new("a thread did not come back to work", operation.session, [operation]));
                break;
            }
            if is_success(operation) {
                last = operation.completed;
            }
        }
    }
}

fn is_success(operation: &Operation) -> bool {
    !matches!(operation.outcome, None | Some(Outcome::Fault(_)))
}
