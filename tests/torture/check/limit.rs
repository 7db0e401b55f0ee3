//! The limits of groups: at no moment is a group larger, sessions end in the order of joining, and a login is refused
//! only if its group is full.

use super::super::history::{Applied, Id, NEVER, Operation, Outcome, limit_of};
use super::Violation;
use super::group::{Groups, OfGroup, listed};
use super::life::{Life, Link};
use multi_process_session::AtLimit;
use std::collections::{HashMap, HashSet};

pub(super) fn check(groups: &Groups<'_>, lives: &HashMap<Id, Life<'_>>, violations: &mut Vec<Violation>) {
    for (number, group) in groups.iter() {
        check_sizes(number, group, violations);
        check_refusals(number, group, lives, violations);
    }
    check_ends(groups, lives, violations);
}

/// A list or a count shows one moment of the group, in every store: the whole group is in one slot of a cluster.
fn check_sizes(number: u32, group: &OfGroup<'_>, violations: &mut Vec<Violation>) {
    let Some((limit, _)) = limit_of(number) else { return };
    let counted = |operation: &Operation| match &operation.outcome {
        Some(Outcome::Counted(count)) => *count,
        _ => listed(operation).len() as u64,
    };
    for operation in group.lists.iter().chain(&group.counts).filter(|operation| counted(operation) > limit as u64) {
        violations.push(Violation::new("a group is larger than its limit", 0, [*operation]));
    }
}

/// A login is refused only if its group was full at one moment of the call.
fn check_refusals(number: u32, group: &OfGroup<'_>, lives: &HashMap<Id, Life<'_>>, violations: &mut Vec<Violation>) {
    let mut refused = group.logins.iter().filter(|login| login.outcome == Some(Outcome::Full)).peekable();
    if refused.peek().is_none() {
        return;
    }
    let Some((limit, AtLimit::RefuseNewest)) = limit_of(number) else {
        let what = "a login was refused in a group that refuses none";
        violations.extend(refused.map(|login| Violation::new(what, login.session, [*login])));
        return;
    };
    let members = possible_members(number, group, lives);
    for login in refused {
        let others =
            || members.iter().filter(|(session, from, _)| *session != login.session && *from < login.completed);
        let moments = others().map(|(_, from, _)| (*from).max(login.invoked)).filter(|from| *from < login.completed);
        let size = |at| {
            let then = others().filter(|(_, from, until)| *from <= at && at <= *until);
            then.map(|(session, ..)| *session).collect::<HashSet<_>>().len()
        };
        if moments.map(size).max().unwrap_or(0) < limit {
            let what = "a login was refused, and its group was not full";
            let mut near: Vec<_> = group.logins.iter().filter(|other| other.invoked < login.completed).collect();
            near.sort_by_key(|other| other.invoked);
            let last = near.len().saturating_sub(12);
            violations.push(Violation::new(what, login.session, near.drain(last..).chain([login]).copied()));
        }
    }
}

/// The sessions that may have been members, each with the time from when and until when.
fn possible_members(number: u32, group: &OfGroup<'_>, lives: &HashMap<Id, Life<'_>>) -> Vec<(Id, u64, u64)> {
    let mut members = Vec::new();
    for (session, life) in lives {
        for (at, link) in life.links.iter().enumerate().filter(|(_, link)| link.group == Some(number)) {
            let until = life.not_current_since(at).map_or(NEVER, |(time, _)| time);
            members.push((*session, link.maker.invoked, until));
        }
        // A member that may have got an id that nobody knows.
        let lost = life.moves.iter().filter(|(moving, _)| moving.applied() == Applied::Perhaps);
        let stays = lost.filter(|(_, base)| base.is_none_or(|base| life.links[base].group == Some(number)));
        members.extend(stays.map(|(moving, _)| (*session, moving.invoked, NEVER)));
    }
    for login in group.logins.iter().filter(|login| login.outcome != Some(Outcome::Full)) {
        // In a cluster, a login reserves its place before the old id has ended. If the login is lost, so is the place.
        let until = if login.applied() == Applied::Perhaps { NEVER } else { login.completed };
        members.push((login.session, login.invoked, until));
    }
    members
}

/// A login ends only sessions that are over the limit, and tells all of them.
fn check_ends(groups: &Groups<'_>, lives: &HashMap<Id, Life<'_>>, violations: &mut Vec<Violation>) {
    for (session, life) in lives {
        for link in &life.links {
            if let Some(login) = groups.ended_by_login(link.public)
                && !enders(link, *session, groups).iter().any(|ender| ender.id == login.id)
            {
                let what = "a login ended a session that was not over the limit";
                violations.push(Violation::new(what, *session, [link.maker, login]));
            }
        }
        for load in &life.over_limit {
            let Some(at) = life.position(load) else { continue };
            let ids = &life.links[at..];
            let may_have_ended_it = |login: &&Operation| {
                let is_unsure = login.applied() == Applied::Perhaps || login.resent || login.completed > load.invoked;
                let tells_it = || ids.iter().any(|link| login.ended_by_login().contains(&link.public));
                login.invoked < load.completed && (is_unsure || tells_it())
            };
            let mut logins = ids.iter().flat_map(|link| enders(link, *session, groups));
            if !life.may_be_unknown(load.completed) && !logins.any(|login| may_have_ended_it(&login)) {
                let what = "a limit ended a session, and no login told it";
                violations.push(Violation::new(what, *session, [life.links[at].maker, *load]));
            }
        }
    }
}

/// The logins of others that may have come later than the last login of this session, in the order of invocation.
fn later_logins<'h>(link: &Link<'h>, session: Id, groups: &Groups<'h>) -> Vec<&'h Operation> {
    let Some((group, login)) = link.group.zip(link.login) else { return Vec::new() };
    let is_later = |other: &&Operation| {
        other.session != session && other.applied() != Applied::No && other.completed > login.invoked
    };
    let mut later: Vec<_> = groups.logins(group).filter(is_later).collect();
    later.sort_by_key(|login| login.invoked);
    later
}

/// The login with which the limit was reached for the first time, so that the session may have ended. The sessions that
/// joined first end. So as many others as the limit allows have to join later than this session.
pub(super) fn reached_by<'h>(link: &Link<'h>, session: Id, groups: &Groups<'h>) -> Option<&'h Operation> {
    let (limit, AtLimit::EndOldest) = limit_of(link.group?)? else { return None };
    let mut others = HashSet::new();
    later_logins(link, session, groups).into_iter().find(|login| others.insert(login.session) && others.len() == limit)
}

/// All logins that may have ended the session because of the limit.
pub(super) fn enders<'h>(link: &Link<'h>, session: Id, groups: &Groups<'h>) -> Vec<&'h Operation> {
    let Some(first) = reached_by(link, session, groups) else { return Vec::new() };
    let mut logins = later_logins(link, session, groups);
    // Of logins that ran at the same time, one that was invoked earlier may have come last.
    logins.retain(|login| login.completed > first.invoked);
    logins
}
