//! Counters are exact. A read gives at least the sum of the additions that were acknowledged before the read, and at
//! most the sum of those that were invoked before its end.

use super::super::history::{Applied, Call, NEVER, Operation, Outcome};
use super::{OfSession, Violation};
use std::collections::BTreeMap;

/// The number of changes that a session remembers at least. A call that is sent again after more changes may be applied
/// twice.
const REMEMBERED: usize = 24;

#[derive(Default)]
struct Counter<'h> {
    additions: Vec<(&'h Operation, u64)>,
    reads: Vec<(&'h Operation, u64)>,
}

pub(super) fn check(session: &OfSession<'_>, violations: &mut Vec<Violation>) {
    let mut counters: BTreeMap<&str, Counter<'_>> = BTreeMap::new();
    for operation in &session.operations {
        if let Some(changes) = operation.changes() {
            if changes.clear {
                return; // It is not known which additions this removed.
            }
            for (key, by) in &changes.add {
                counters.entry(key).or_default().additions.push((operation, *by));
            }
        }
        if let Call::Transact(key) = &operation.call {
            counters.entry(key).or_default().additions.push((operation, 1));
        }
    }
    for operation in &session.operations {
        let count = |counts: &[(String, u64)], key: &str| counts.iter().find(|(name, _)| name == key).map(|it| it.1);
        for (key, counter) in &mut counters {
            match &operation.outcome {
                Some(Outcome::Alive { counts, .. }) => {
                    counter.reads.push((operation, count(counts, key).unwrap_or(0)));
                }
                Some(Outcome::Done { counts, .. }) => {
                    counter.reads.extend(count(counts, key).map(|total| (*operation, total)));
                }
                _ => {}
            }
        }
    }
    counters.values().for_each(|counter| counter.check(session, violations));
}

impl Counter<'_> {
    fn check(&self, session: &OfSession<'_>, violations: &mut Vec<Violation>) {
        let (mut acknowledged, mut possible) = (Vec::new(), Vec::new());
        for (operation, by) in &self.additions {
            match operation.applied() {
                Applied::No => continue,
                Applied::Surely => acknowledged.push((operation.completed, *by)),
                Applied::Perhaps => {}
            }
            let twice = operation.resent && changes_during(operation, session) > REMEMBERED;
            possible.push((operation.invoked, if twice { 2 * by } else { *by }));
        }
        let (acknowledged, possible) = (sums(acknowledged), sums(possible));
        let sum_before = |sums: &[(u64, u64)], time| match sums.partition_point(|(at, _)| *at < time) {
            0 => 0,
            more => sums[more - 1].1,
        };
        let mut complain = |what, read: &Operation| {
            let additions = self.additions.iter().map(|(operation, _)| *operation);
            let mut near: Vec<&Operation> = additions.filter(|operation| operation.invoked < read.completed).collect();
            near.sort_by_key(|operation| operation.invoked);
            let last = near.len().saturating_sub(12);
            violations.push(Violation::new(what, session.number, near.drain(last..).chain([read])));
        };
        for (read, total) in &self.reads {
            if *total < sum_before(&acknowledged, read.invoked) {
                complain("an acknowledged increment was lost", read);
            } else if *total > sum_before(&possible, read.completed) {
                complain("an increment was applied twice", read);
            }
        }
        let mut by_end: Vec<&(&Operation, u64)> = self.reads.iter().collect();
        by_end.sort_by_key(|(read, _)| read.completed);
        let mut highest = Vec::new();
        for (read, total) in by_end {
            highest
                .push((read.completed, highest.last().map_or(*total, |(_, before): &(u64, u64)| *total.max(before))));
        }
        for (read, total) in &self.reads {
            let before = highest.partition_point(|(at, _)| *at < read.invoked);
            if before > 0 && highest[before - 1].1 > *total {
                complain("a count went back", read);
            }
        }
    }
}

fn changes_during(operation: &Operation, session: &OfSession<'_>) -> usize {
    let others = session.operations.iter().filter(|other| !other.call.is_load());
    others.filter(|other| other.invoked < operation.completed && other.completed > operation.invoked).count()
}

/// The sum up to each time.
fn sums(mut additions: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    additions.retain(|(at, _)| *at != NEVER);
    additions.sort_unstable();
    let mut sum = 0;
    for (_, by) in &mut additions {
        sum += *by;
        *by = sum;
    }
    additions
}
