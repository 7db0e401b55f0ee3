//! The value of a group is a linearizable register: each load of each of its sessions reads it.

use super::super::history::{Call, History, Outcome, group_number};
use super::Violation;
use super::register::Register;
use std::collections::BTreeMap;

pub(super) fn check(history: &History, violations: &mut Vec<Violation>) {
    let mut registers: BTreeMap<u32, Register<'_>> = BTreeMap::new();
    for operation in &history.operations {
        if let Call::SetValue(group) = operation.call {
            registers.entry(group).or_default().write(operation, true);
        }
        if let Some(Outcome::Alive { group: Some(name), of_group, .. }) = &operation.outcome
            && let Some(group) = group_number(name)
        {
            registers.entry(group).or_default().read(operation, of_group.map(|(_, write)| write));
        }
    }
    registers.values_mut().for_each(|register| register.check(0, violations));
}
