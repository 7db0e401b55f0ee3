//! What can have ended a session, or taken an id from it.

use super::super::history::{Call, Operation, Reason};
use super::group::Groups;
use super::life::{Life, grace};
use super::{CLOCKS_DIFFER, limit};

impl<'h> Life<'h> {
    /// Whether anything can have ended the session, or taken this id from it, before the operation was answered.
    pub(super) fn is_end_explained(
        &self,
        operation: &Operation,
        at: usize,
        any_move: bool,
        groups: &Groups<'h>,
    ) -> bool {
        let before = |other: &Operation| other.invoked < operation.completed && other.id != operation.id;
        let ended = self.ends.iter().any(|end| before(end));
        let moved = self.moves.iter().any(|(moving, base)| {
            let is_over = |grace| moving.invoked + grace < operation.completed + CLOCKS_DIFFER;
            before(moving) && base.is_none_or(|base| base >= at) && (any_move || grace(moving).is_none_or(is_over))
        });
        let link = &self.links[at];
        let mut clears = link.group.into_iter().flat_map(|group| groups.clears(group));
        let over_limit = limit::reached_by(link, self.session, groups).is_some_and(before);
        let cleared = clears.any(|clear| before(clear) && clear.acknowledged() > link.maker.invoked);
        ended || moved || over_limit || cleared
    }

    /// All that can have ended the session, or taken this id from it, before the operation was answered. With each, the
    /// reason that it gives.
    pub(super) fn causes(&self, operation: &Operation, at: usize, groups: &Groups<'h>) -> Vec<(&'h Operation, Reason)> {
        let link = &self.links[at];
        let ends = self.ends.iter().map(|end| match end.call {
            Call::Remove(..) => (*end, Reason::LoggedOutElsewhere),
            _ => (*end, Reason::LoggedOut),
        });
        let moves = self.moves.iter().filter(|(_, base)| base.is_none_or(|base| base >= at));
        let clears = link.group.into_iter().flat_map(|group| groups.clears(group));
        let clears = clears.filter(|clear| clear.acknowledged() > link.maker.invoked);
        let logins = limit::enders(link, self.session, groups);
        ends.chain(moves.map(|(moving, _)| (*moving, Reason::NewId)))
            .chain(clears.map(|clear| (clear, Reason::LoggedOutElsewhere)))
            .chain(logins.into_iter().map(|login| (login, Reason::OverLimit)))
            .filter(|(cause, _)| cause.invoked < operation.completed)
            .collect()
    }
}
