//! Groups: a list shows all members, and nothing else.

use super::super::history::{Applied, Call, History, Id, Operation, Outcome, Public, group_number};
use super::Violation;
use super::life::Life;
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Default)]
pub(super) struct OfGroup<'h> {
    clears: Vec<&'h Operation>,
    pub(super) lists: Vec<&'h Operation>,
    pub(super) counts: Vec<&'h Operation>,
    /// All logins, even those that were refused.
    pub(super) logins: Vec<&'h Operation>,
    /// The ids of live members, as loads found them when all was quiet.
    alive: BTreeMap<Public, &'h Operation>,
}

pub(super) struct Groups<'h> {
    groups: BTreeMap<u32, OfGroup<'h>>,
    /// The ids that logins ended because of a limit, and those logins.
    ended_by_login: HashMap<Public, &'h Operation>,
    quiet_from: u64,
}

impl<'h> Groups<'h> {
    pub(super) fn of(history: &'h History) -> Groups<'h> {
        let mut groups: BTreeMap<u32, OfGroup<'h>> = BTreeMap::new();
        let mut ended_by_login = HashMap::new();
        for operation in &history.operations {
            if let Some(group) = operation.joins() {
                groups.entry(group).or_default().logins.push(operation);
                ended_by_login.extend(operation.ended_by_login().iter().map(|public| (*public, operation)));
            }
            if operation.applied() == Applied::No {
                continue;
            }
            match &operation.call {
                Call::Clear(group) | Call::ClearExcept(group, _) => {
                    groups.entry(*group).or_default().clears.push(operation);
                }
                Call::List(group) => groups.entry(*group).or_default().lists.push(operation),
                Call::Count(group) => groups.entry(*group).or_default().counts.push(operation),
                _ => {}
            }
            if let Some(Outcome::Alive { public, group: Some(name), .. }) = &operation.outcome
                && operation.invoked >= history.quiet_from
                && let Some(group) = group_number(name)
            {
                groups.entry(group).or_default().alive.insert(*public, operation);
            }
        }
        for group in groups.values_mut() {
            group.lists.sort_by_key(|list| list.invoked);
        }
        Groups { groups, ended_by_login, quiet_from: history.quiet_from }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &OfGroup<'h>)> {
        self.groups.iter().map(|(number, group)| (*number, group))
    }

    pub(super) fn logins(&self, group: u32) -> impl Iterator<Item = &'h Operation> {
        self.groups.get(&group).into_iter().flat_map(|group| group.logins.iter().copied())
    }

    /// The login that has ended the session with this id, because of the limit of its group.
    pub(super) fn ended_by_login(&self, public: Public) -> Option<&'h Operation> {
        self.ended_by_login.get(&public).copied()
    }

    pub(super) fn clears(&self, group: u32) -> impl Iterator<Item = &'h Operation> {
        self.groups.get(&group).into_iter().flat_map(|group| group.clears.iter().copied())
    }

    pub(super) fn check(&self, lives: &HashMap<Id, Life<'h>>, violations: &mut Vec<Violation>) {
        for (number, group) in &self.groups {
            for list in &group.lists {
                for (public, session) in listed(list) {
                    let what = check_listed(*number, list, *public, *session, lives);
                    violations.extend(what.map(|(what, other)| {
                        Violation::new(what, session.unwrap_or(0), other.into_iter().chain([*list]))
                    }));
                }
            }
            self.check_quiet_end(group, lives, violations);
        }
        let sets: HashMap<Id, BTreeSet<Public>> = self
            .groups
            .values()
            .flat_map(|group| &group.lists)
            .map(|list| (list.id, listed(list).iter().map(|(public, _)| *public).collect()))
            .collect();
        for (session, life) in lives {
            for (at, link) in life.links.iter().enumerate() {
                let Some(group) = link.group.and_then(|group| self.groups.get(&group)) else { continue };
                let until = life.current_until(at, self);
                let first = group.lists.partition_point(|list| list.invoked <= link.maker.completed);
                let during = group.lists[first..].iter().take_while(|list| list.invoked < until);
                for list in during.filter(|list| list.applied() == Applied::Surely && list.completed < until) {
                    if !sets[&list.id].contains(&link.public) {
                        violations.push(Violation::new("a live member is not listed", *session, [link.maker, list]));
                    }
                }
            }
        }
    }

    /// When all is quiet, a group lists those of its sessions that load alive.
    fn check_quiet_end(&self, group: &OfGroup<'h>, lives: &HashMap<Id, Life<'h>>, violations: &mut Vec<Violation>) {
        let Some(list) = group.lists.iter().rfind(|list| list.invoked >= self.quiet_from) else { return };
        for (public, session) in listed(list) {
            let life = session.and_then(|session| lives.get(&session));
            let may_be_unknown =
                life.is_some_and(|life| !life.by_public.contains_key(public) && life.may_be_unknown(list.invoked));
            if !group.alive.contains_key(public) && !may_be_unknown {
                violations.push(Violation::new("it is listed, and not alive", session.unwrap_or(0), [*list]));
            }
        }
        let listed_ids: BTreeSet<Public> = listed(list).iter().map(|(public, _)| *public).collect();
        for (public, load) in &group.alive {
            if !listed_ids.contains(public) {
                violations.push(Violation::new("it is alive, and not listed", load.session, [*load, list]));
            }
        }
        for count in group.counts.iter().filter(|count| count.invoked >= self.quiet_from) {
            if !matches!(count.outcome, Some(Outcome::Counted(length)) if length == listed_ids.len() as u64) {
                violations.push(Violation::new("the length of a group is not that of its list", 0, [*count, list]));
            }
        }
    }
}

pub(super) fn listed(list: &Operation) -> &[(Public, Option<Id>)] {
    match &list.outcome {
        Some(Outcome::Listed(listed)) => listed,
        _ => &[],
    }
}

fn check_listed<'h>(
    group: u32,
    list: &'h Operation,
    public: Public,
    session: Option<Id>,
    lives: &HashMap<Id, Life<'h>>,
) -> Option<(&'static str, Option<&'h Operation>)> {
    let Some(life) = session.and_then(|session| lives.get(&session)) else {
        return Some(("a session is listed that nobody made", None));
    };
    let Some(at) = life.by_public.get(&public) else {
        return (!life.may_be_unknown(list.completed))
            .then_some(("it is listed under an id that nobody gave it", None));
    };
    if life.links[*at].group != Some(group) {
        return Some(("it is listed in a group that it is not in", Some(life.links[*at].maker)));
    }
    let (_, end) = life.not_current_since(*at).filter(|(time, _)| list.invoked > *time)?;
    Some(("it was listed after its end had been acknowledged or seen", Some(end)))
}
