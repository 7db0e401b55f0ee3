//! Each key of a session is a linearizable register: every value read was there at one moment of the read.
//!
//! All written values are different, so a read shows which write it saw. The rule is that of Gibbons and Korach
//! ("Testing shared memories", 1997). A write and the reads of its value form a zone of time. If the first of them
//! ended before the last of them began, the value was there for all the time between, and no other value was. All
//! removals write the same (nothing), so they are checked pair by pair.

use super::super::history::{Applied, Id, NEVER, Operation, Outcome};
use super::{OfSession, Violation};
use std::collections::{BTreeMap, HashMap};

struct Write<'h> {
    operation: Option<&'h Operation>,
    invoked: u64,
    /// When it had taken effect at the latest: it was acknowledged, or somebody had read it.
    by: u64,
    /// The last invocation of those that read it, and of itself.
    last_invoked: u64,
    is_removal: bool,
}

#[derive(Default)]
pub(super) struct Register<'h> {
    writes: Vec<Write<'h>>,
    by_operation: HashMap<Id, usize>,
    refused: HashMap<Id, &'h Operation>,
    reads: Vec<(&'h Operation, Option<Id>)>,
}

pub(super) fn check(session: &OfSession<'_>, violations: &mut Vec<Violation>) {
    let mut registers: BTreeMap<&str, Register<'_>> = BTreeMap::new();
    for operation in &session.operations {
        let changes = operation.changes();
        for key in changes.iter().flat_map(|changes| changes.set.iter().chain(&changes.remove)) {
            registers.entry(key).or_default();
        }
        if let Some(Outcome::Alive { values, .. }) = &operation.outcome {
            for (key, _) in values {
                registers.entry(key).or_default();
            }
        }
    }
    for operation in &session.operations {
        for (key, register) in &mut registers {
            register.add(operation, key);
        }
    }
    for register in registers.values_mut() {
        register.check(session.number, violations);
    }
}

impl<'h> Register<'h> {
    fn add(&mut self, operation: &'h Operation, key: &str) {
        if let Some(Outcome::Alive { values, .. }) = &operation.outcome {
            let value = values.iter().find(|(name, _)| name == key).map(|(_, (_, write))| *write);
            self.read(operation, value);
        }
        let Some(changes) = operation.changes() else { return };
        let sets = changes.set.iter().any(|name| name == key);
        if !sets && !changes.clear && !changes.remove.iter().any(|name| name == key) {
            return;
        }
        self.write(operation, sets);
    }

    /// Adds an operation that read this write, or nothing.
    pub(super) fn read(&mut self, operation: &'h Operation, write: Option<Id>) {
        self.reads.push((operation, write));
    }

    /// Adds an operation that sets the value, or removes it.
    pub(super) fn write(&mut self, operation: &'h Operation, sets: bool) {
        if operation.applied() == Applied::No {
            self.refused.insert(operation.id, operation);
            return;
        }
        if sets {
            self.by_operation.insert(operation.id, self.writes.len());
        }
        self.writes.push(Write {
            operation: Some(operation),
            invoked: operation.invoked,
            by: operation.acknowledged(),
            last_invoked: operation.invoked,
            is_removal: !sets,
        });
    }

    pub(super) fn check(&mut self, session: Id, violations: &mut Vec<Violation>) {
        let mut complain = |what, operations: &[&Operation]| {
            violations.push(Violation::new(what, session, operations.iter().copied()));
        };
        for (read, value) in &self.reads {
            let Some(value) = value else { continue };
            if let Some(refused) = self.refused.get(value) {
                complain("a save that was refused was applied", &[refused, read]);
                continue;
            }
            match self.by_operation.get(value) {
                Some(at) if self.writes[*at].invoked < read.completed => {
                    let write = &mut self.writes[*at];
                    write.by = write.by.min(read.completed);
                    write.last_invoked = write.last_invoked.max(read.invoked);
                }
                _ => complain("a value that nobody had written", &[read]),
            }
        }
        // Before the first write there is nothing.
        self.writes.push(Write { operation: None, invoked: 0, by: 0, last_invoked: 0, is_removal: true });
        let mut by_effect: Vec<&Write<'_>> = self.writes.iter().filter(|write| write.by != NEVER).collect();
        by_effect.sort_by_key(|write| write.by);
        // The write that was invoked last of those that had taken effect by then.
        let latest = |writes: &[&Write<'h>]| {
            let mut latest: Vec<(u64, u64, Option<&'h Operation>)> = Vec::new();
            for write in writes {
                let (_, invoked, operation) = latest.last().copied().unwrap_or((0, 0, None));
                let later = write.invoked >= invoked;
                latest.push((write.by, write.invoked.max(invoked), if later { write.operation } else { operation }));
            }
            latest
        };
        let all = latest(&by_effect);
        by_effect.retain(|write| !write.is_removal);
        let values = latest(&by_effect);
        let before = |latest: &[(u64, u64, Option<&'h Operation>)], time: u64| {
            latest[..latest.partition_point(|(by, ..)| *by < time)].last().copied()
        };
        for (read, value) in &self.reads {
            match value {
                Some(value) => {
                    let Some(write) = self.by_operation.get(value).map(|at| &self.writes[*at]) else { continue };
                    if let Some((_, invoked, Some(later))) = before(&all, read.invoked)
                        && invoked > write.by
                    {
                        let what = "an acknowledged save was lost: an older value was read after it";
                        complain(what, &[write.operation.expect("a write"), later, read]);
                    }
                }
                None => {
                    let Some((_, invoked, Some(later))) = before(&values, read.invoked) else { continue };
                    let explained = |removal: &&Write<'_>| removal.invoked < read.completed && removal.by >= invoked;
                    if self.writes.iter().filter(|write| write.is_removal).all(|removal| !explained(&removal)) {
                        complain("an acknowledged save was lost: its value is missing", &[later, read]);
                    }
                }
            }
        }
        self.check_zones(&mut complain);
    }

    fn check_zones(&self, complain: &mut impl FnMut(&'static str, &[&Operation])) {
        let zones = || self.writes.iter().filter(|write| !write.is_removal && write.by != NEVER);
        let mut forward: Vec<&Write<'_>> = zones().filter(|write| write.by < write.last_invoked).collect();
        forward.sort_by_key(|write| write.by);
        let operation = |write: &Write<'h>| write.operation.expect("a value's write");
        for pair in forward.windows(2) {
            if pair[1].by < pair[0].last_invoked {
                complain("two values were there at the same time", &[operation(pair[0]), operation(pair[1])]);
            }
        }
        for write in zones().filter(|write| write.by >= write.last_invoked) {
            let before = forward.partition_point(|other| other.by < write.last_invoked);
            if let Some(around) = forward[..before].last()
                && write.by < around.last_invoked
            {
                complain("a value was there while another was", &[operation(around), operation(write)]);
            }
        }
    }
}
