//! Transactions: load, work and save, again and again until no other request comes between.

use crate::context::Context;
use crate::cookie::SetCookie;
use crate::error::Error;
use crate::random;
use crate::session::{Session, Transaction};
use crate::store::stats::Counter;
use std::time::Duration;

/// How often a transaction is tried before the answer is `Conflict`.
const TRIES: u32 = 32;

/// Does `work` on a session and saves the session. If another request changed the session meanwhile, it begins again.
/// Returns the result of `work`, and the cookie or the token for the client.
pub(crate) fn transact<R, E: From<Error>>(
    context: &Context,
    load: impl Fn() -> Result<Session, Error>,
    mut work: impl FnMut(&mut Session) -> Result<R, E>,
) -> Result<(R, Option<SetCookie>, Option<String>), E> {
    let (deadline, mut cookie_due, mut was_live) = (context.deadline(), false, false);
    for attempt in 0..TRIES {
        let mut session = load()?;
        if was_live && session.is_new() {
            context.count(Counter::Gone);
            return Err(Error::Gone.into());
        }
        was_live = !session.is_new();
        // If an earlier attempt refreshed the session and then failed, the cookie is still due.
        session.cookie_due |= cookie_due;
        cookie_due = session.cookie_due;
        if let Some((result, set_cookie)) = session.attempt(&mut work)? {
            return Ok((result, set_cookie, session.token()));
        }
        if deadline.has_passed() {
            break;
        }
        back_off(attempt)?;
    }
    Err(Error::Conflict.into())
}

impl Session {
    /// Does the work and saves the session. Returns `None` if another request has changed the session meanwhile.
    fn attempt<R, E: From<Error>>(
        &mut self,
        work: &mut impl FnMut(&mut Session) -> Result<R, E>,
    ) -> Result<Option<(R, Option<SetCookie>)>, E> {
        self.transaction = Transaction::Running;
        let outcome = match work(self) {
            Ok(result) => match self.save() {
                Ok(set_cookie) => Ok(Some((result, set_cookie))),
                Err(Error::Conflict) => Ok(None),
                Err(error) => Err(error.into()),
            },
            // The work called `save` itself, and this save found that another request had changed the session.
            Err(_) if self.transaction == Transaction::Conflicted => Ok(None),
            Err(error) => Err(error),
        };
        // Changes that are not saved now are dropped on purpose.
        self.warn_on_drop = false;
        outcome
    }
}

/// Waits for a random time that grows with the attempts, so that competing requests stop meeting each other.
fn back_off(attempt: u32) -> Result<(), Error> {
    let random = u64::from(u16::from_be_bytes(random::bytes()?));
    std::thread::sleep(Duration::from_micros(random * u64::from(attempt.min(8)) / 64));
    Ok(())
}
