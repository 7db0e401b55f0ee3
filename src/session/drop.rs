//! Warns when a session is dropped and the application has forgotten to save it.

use crate::session::Session;
use crate::token::Transport;
use log::Level;

impl Drop for Session {
    fn drop(&mut self) {
        if !self.warn_on_drop {
            return;
        }
        let (id, lines) = (self.public_id(), &self.context.lines);
        if self.has_unsaved_changes() {
            let line = format_args!("session {id}: dropped with unsaved changes; call save()");
            lines.unsaved.log(Level::Warn, line);
        } else if self.cookie_due && self.is_sent_by(Transport::Cookie) {
            let line = format_args!("session {id}: dropped with a cookie to renew; a page that calls save() sends it");
            lines.unsent_cookie.log(Level::Info, line);
        }
    }
}

impl Session {
    /// Drops the changes without a warning: the application knows that they are not saved.
    pub(crate) fn give_up(&mut self) {
        self.warn_on_drop = false;
    }

    fn has_unsaved_changes(&self) -> bool {
        let is_pending = if self.is_new() { self.is_worth_keeping() } else { !self.pending.is_empty() };
        is_pending || self.in_flight.is_some()
    }
}
