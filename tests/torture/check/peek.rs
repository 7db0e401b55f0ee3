//! A peek never extends a life.

use super::super::history::{Call, NewId, Operation, Outcome};
use super::{OfSession, Violation};

pub(super) fn check(session: &OfSession<'_>, violations: &mut Vec<Violation>) {
    let mut seen: Vec<(&Operation, u64)> = Vec::new();
    for operation in &session.operations {
        if let Some(Outcome::Alive { expires, .. }) = operation.outcome {
            seen.push((operation, expires));
        }
    }
    let extenders: Vec<&Operation> = session.operations.iter().copied().filter(|it| may_extend(it)).collect();
    for (at, (later, after)) in seen.iter().enumerate() {
        let has_ended_before = |(earlier, _): &&(&Operation, u64)| earlier.completed < later.invoked;
        let Some((earlier, before)) = seen[..at].iter().rfind(has_ended_before) else { continue };
        let between = |it: &&Operation| it.invoked < later.completed && it.completed > earlier.invoked;
        if after > before && !extenders.iter().any(between) {
            violations.push(Violation::new("a peek has extended a life", session.number, [*earlier, *later]));
        }
    }
}

fn may_extend(operation: &Operation) -> bool {
    match &operation.call {
        Call::Create(_) | Call::Load | Call::Transact(_) => true,
        Call::Save(_, changes) => changes.new_id != NewId::No,
        _ => false,
    }
}
