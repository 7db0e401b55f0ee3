//! The life of one session: under which ids it was reached, and when it had ended.
//!
//! Its ids follow one another in a chain. Whoever reaches a later one by an earlier one (in the grace) finds it dead
//! when the later one is dead, so the death of an id is that of all before it.

use super::super::history::{Applied, Call, Id, NEVER, NewId, Operation, Outcome, Public, Reason, Token, group_name};
use super::group::Groups;
use super::limit;
use super::{CLOCKS_DIFFER, OfSession, Violation, reason};
use std::collections::HashMap;

/// The number of forwards that the checker relies on. It is smaller than the number that the library follows.
const FORWARDS: usize = 6;
const MILLISECOND: u64 = 1_000_000;

/// An id that the session had.
pub(super) struct Link<'h> {
    pub(super) public: Public,
    /// The operation that gave the id to the client.
    pub(super) maker: &'h Operation,
    pub(super) group: Option<u32>,
    /// The last login of its group, which decides its place in the order of joining.
    pub(super) login: Option<&'h Operation>,
    /// The time at which the session had surely joined its present group.
    member_since: u64,
}

/// The latest time at which something can have ended, and the operation that proves it.
type End<'h> = Option<(u64, &'h Operation)>;

pub(super) struct Life<'h> {
    pub(super) session: Id,
    pub(super) links: Vec<Link<'h>>,
    pub(super) by_public: HashMap<Public, usize>,
    by_token: HashMap<Token, usize>,
    /// For each id.
    dead: Vec<End<'h>>,
    /// For each id: when the session had another one, or none.
    moved: Vec<End<'h>>,
    pub(super) ends: Vec<&'h Operation>,
    /// The operations that changed the id, or may have changed it. With each, the position of the id before it, if
    /// known.
    pub(super) moves: Vec<(&'h Operation, Option<usize>)>,
    /// The loads that found that a limit had ended it.
    pub(super) over_limit: Vec<&'h Operation>,
    /// The time when the first operation began that may have given the session an id that no worker knows.
    unknown_since: u64,
}

fn earlier<'h>(end: &mut End<'h>, time: u64, operation: &'h Operation) {
    if end.is_none_or(|(before, _)| time < before) {
        *end = Some((time, operation));
    }
}

pub(super) fn grace(operation: &Operation) -> Option<u64> {
    match operation.new_id() {
        NewId::Grace(milliseconds) => Some(milliseconds * MILLISECOND),
        _ => None,
    }
}

impl<'h> Life<'h> {
    pub(super) fn check(session: &OfSession<'h>, groups: &Groups<'h>, violations: &mut Vec<Violation>) -> Life<'h> {
        let mut complain = |what, operations: &[&Operation]| {
            violations.push(Violation::new(what, session.number, operations.iter().copied()));
        };
        let mut life = Life::of(session, &mut complain);
        life.bury(session, groups);
        for operation in &session.operations {
            life.check_operation(operation, groups, &mut complain);
        }
        life
    }

    /// Follows the ids from the first to the last.
    fn of(session: &OfSession<'h>, complain: &mut impl FnMut(&'static str, &[&Operation])) -> Life<'h> {
        let mut life = Life {
            session: session.number,
            links: Vec::new(),
            by_public: HashMap::new(),
            by_token: HashMap::new(),
            dead: Vec::new(),
            moved: Vec::new(),
            ends: Vec::new(),
            moves: Vec::new(),
            over_limit: Vec::new(),
            unknown_since: NEVER,
        };
        let mut children: HashMap<Public, Vec<&'h Operation>> = HashMap::new();
        let mut next = None;
        for operation in &session.operations {
            match &operation.call {
                Call::Create(_) if operation.new_token().is_some() => next = Some(*operation),
                Call::Create(_) if operation.applied() != Applied::No => {
                    life.unknown_since = life.unknown_since.min(operation.invoked);
                }
                Call::Save(base, changes) if changes.new_id != NewId::No => {
                    if operation.new_token().is_some() {
                        children.entry(*base).or_default().push(operation);
                    } else if operation.applied() == Applied::Perhaps {
                        life.unknown_since = life.unknown_since.min(operation.invoked);
                    }
                }
                _ => {}
            }
        }
        while let Some(maker) = next {
            let (token, public) = maker.new_token().expect("it made one");
            let parent = life.links.last().map_or((None, NEVER), |link| (link.group, link.member_since));
            let (group, member_since) = match maker.new_id() {
                NewId::Join(group) if parent.0 == Some(*group) => parent,
                NewId::Join(group) => (Some(*group), maker.completed),
                NewId::Leave => (None, NEVER),
                _ => parent,
            };
            let login =
                if maker.joins().is_some() { Some(maker) } else { life.links.last().and_then(|link| link.login) };
            life.by_public.insert(public, life.links.len());
            life.by_token.insert(token, life.links.len());
            life.links.push(Link { public, maker, group, login: login.filter(|_| group.is_some()), member_since });
            next = children.remove(&public).map(|children| {
                if children.len() > 1 {
                    complain("two requests both got a new id for the same old one", &children);
                }
                children[0]
            });
        }
        life
    }

    /// The id that an operation was for: the one presented, or the one that the session had by what was known.
    pub(super) fn position(&self, operation: &Operation) -> Option<usize> {
        match &operation.call {
            Call::Save(public, _)
            | Call::TakeFlash(public)
            | Call::Destroy(Some(public))
            | Call::Remove(_, public)
            | Call::IsAlive(public) => self.by_public.get(public).copied(),
            Call::Create(_) => None,
            _ => self.by_token.get(&operation.token).copied(),
        }
    }

    /// Finds out when each id was dead at the latest.
    fn bury(&mut self, session: &OfSession<'h>, groups: &Groups<'h>) {
        let (mut dead, mut moved) = (vec![None; self.links.len()], vec![None; self.links.len()]);
        let mut gone_moves = Vec::new();
        for operation in &session.operations {
            if operation.outcome == Some(Outcome::Dead(Reason::OverLimit)) {
                self.over_limit.push(operation);
            }
            let position = self.position(operation);
            let refused = match (&operation.call, &operation.outcome) {
                (Call::Load | Call::Peek | Call::Transact(_), Some(Outcome::Dead(_) | Outcome::Gone)) => true,
                (Call::IsAlive(_), Some(Outcome::Lives(false))) => true,
                (Call::Save(_, changes), Some(Outcome::Gone)) => !changes.new_id.is_strict(),
                (Call::TakeFlash(_), Some(Outcome::Gone)) => true,
                _ => false,
            };
            if let Some(position) = position.filter(|_| refused) {
                earlier(&mut dead[position], operation.completed, operation);
            }
            match &operation.call {
                Call::Destroy(_) | Call::Remove(..) => {
                    self.ends.push(operation);
                    // A session that is not a member of the group is not touched.
                    let touches = |at: &usize| match operation.call {
                        Call::Remove(group, _) => self.links[*at].group == Some(group),
                        _ => true,
                    };
                    if let Some(position) = position.filter(touches)
                        && operation.acknowledged() != NEVER
                    {
                        earlier(&mut dead[position], operation.completed, operation);
                    }
                }
                Call::Save(..) if *operation.new_id() != NewId::No => {
                    if operation.new_token().is_some() {
                        self.moves.push((operation, position));
                        if let Some(position) = position {
                            earlier(&mut moved[position], operation.completed, operation);
                            let grace = grace(operation).map_or(0, |grace| grace + CLOCKS_DIFFER);
                            earlier(&mut dead[position], operation.completed + grace, operation);
                        }
                    } else if operation.applied() == Applied::Perhaps {
                        self.moves.push((operation, position));
                    } else if operation.outcome == Some(Outcome::Gone) {
                        gone_moves.push((*operation, position));
                    }
                }
                _ => {}
            }
        }
        // In a cluster, another operation may end the session while it gets a new id. Its old id is replaced then.
        gone_moves.retain(|(moving, _)| {
            let meanwhile = |end: &&Operation| end.invoked < moving.completed && end.completed > moving.invoked;
            self.ends.iter().any(meanwhile)
        });
        self.moves.append(&mut gone_moves);
        for (link, dead) in self.links.iter().zip(&mut dead) {
            for clear in link.group.into_iter().flat_map(|group| groups.clears(group)) {
                let spares = matches!(clear.call, Call::ClearExcept(..)) && clear.session == session.number;
                if clear.acknowledged() != NEVER && link.member_since < clear.invoked && !spares {
                    earlier(dead, clear.completed, clear);
                }
            }
            if let Some(login) = groups.ended_by_login(link.public) {
                earlier(dead, login.completed, login);
            }
        }
        // If a session ends, all its ids are dead. This includes later ids than the one with which it was ended, if
        // that id surely led to them.
        let reaches_all = |end: &&&Operation, at: usize| {
            let after = self
                .moves
                .iter()
                .filter(|(moving, base)| moving.invoked < end.completed && base.is_none_or(|base| base >= at));
            let mut forwards = 0;
            let leads_on = |(moving, _): &(&Operation, _)| {
                forwards += 1;
                grace(moving).is_some_and(|grace| end.completed + CLOCKS_DIFFER < moving.invoked + grace)
            };
            after.copied().collect::<Vec<_>>().iter().all(leads_on) && forwards <= FORWARDS
        };
        for end in self.ends.iter().filter(|end| end.acknowledged() != NEVER) {
            let Some(at) = self.position(end) else { continue };
            let of_group = match end.call {
                Call::Remove(group, _) => self.links[at].group == Some(group),
                _ => true,
            };
            if of_group && reaches_all(&end, at) {
                dead.iter_mut().for_each(|dead| earlier(dead, end.completed, end));
            }
        }
        let mut later: End<'h> = None;
        for dead in dead.iter_mut().rev() {
            if let Some((time, operation)) = later {
                earlier(dead, time, operation);
            }
            later = *dead;
        }
        (self.dead, self.moved) = (dead, moved);
    }

    fn check_operation(
        &self,
        operation: &'h Operation,
        groups: &Groups<'h>,
        complain: &mut impl FnMut(&'static str, &[&Operation]),
    ) {
        let position = self.position(operation);
        if operation.call.is_load() && position.is_none() && !self.may_be_unknown(operation.completed) {
            complain("a cookie that no operation gave out", &[operation]);
        }
        let mut is_alive = |position: Option<usize>| {
            if let Some((_, end)) = position.and_then(|at| self.dead[at]).filter(|(time, _)| operation.invoked > *time)
            {
                complain("it was alive after its end had been acknowledged or seen", &[end, operation]);
            }
        };
        match (&operation.call, &operation.outcome) {
            (Call::Load | Call::Peek, Some(Outcome::Alive { public, group, .. })) => {
                is_alive(position);
                let now = self.by_public.get(public).copied();
                is_alive(now);
                if now.is_none() && self.unknown_since > operation.completed {
                    complain("it has an id that nobody gave it", &[operation]);
                }
                let expected = now.or(position).map(|at| &self.links[at]);
                if let Some(link) = expected
                    && link.group.map(group_name) != *group
                {
                    complain("it is in another group than it joined", &[link.maker, operation]);
                }
            }
            (Call::Save(..) | Call::Transact(_), Some(Outcome::Done { .. }))
            | (Call::TakeFlash(_), Some(Outcome::Taken(Some(_))))
            | (Call::IsAlive(_), Some(Outcome::Lives(true)))
                if operation.asks_the_store() =>
            {
                is_alive(position)
            }
            (call, Some(Outcome::Dead(_) | Outcome::Gone | Outcome::Lives(false)))
                if !operation.resent || call.is_load() || matches!(call, Call::IsAlive(_)) =>
            {
                let Some(position) = position else { return };
                let is_strict = operation.new_id().is_strict();
                // A session that was reached by an old id gets no new id.
                let is_old = is_strict && self.by_token.get(&operation.token) != Some(&position);
                if !is_old && !self.is_end_explained(operation, position, is_strict, groups) {
                    complain("it is missing, and nothing can have ended it", &[self.links[position].maker, operation]);
                } else if let Some(Outcome::Dead(reason)) = operation.outcome {
                    let causes = self.causes(operation, position, groups);
                    if !reason::fits(reason, operation, &causes) {
                        let operations: Vec<&Operation> = causes.into_iter().map(|(cause, _)| cause).collect();
                        complain("the reason of an end does not fit", &[operations, vec![operation]].concat());
                    }
                }
            }
            _ => {}
        }
    }

    /// When the session no longer had this id for sure.
    pub(super) fn not_current_since(&self, at: usize) -> End<'h> {
        let mut end = self.dead[at];
        if let Some((time, operation)) = self.moved[at] {
            earlier(&mut end, time, operation);
        }
        end
    }

    /// Until when the session surely had this id.
    pub(super) fn current_until(&self, at: usize, groups: &Groups<'h>) -> u64 {
        let link = &self.links[at];
        let ends = self.ends.iter().map(|end| end.invoked);
        let moves = self.moves.iter().filter(|(_, base)| base.is_none_or(|base| base >= at));
        let clears = link.group.into_iter().flat_map(|group| groups.clears(group));
        let clears = clears.filter(|clear| clear.acknowledged() > link.maker.invoked).map(|clear| clear.invoked);
        let over_limit = limit::reached_by(link, self.session, groups).map(|login| login.invoked);
        ends.chain(moves.map(|(moving, _)| moving.invoked)).chain(clears).chain(over_limit).min().unwrap_or(NEVER)
    }

    /// Whether it may have had an id by then that nobody knows.
    pub(super) fn may_be_unknown(&self, time: u64) -> bool {
        self.unknown_since < time
    }
}
