//! Transactions: load, work and save, again and again until no other request comes between.

use crate::context::Context;
use crate::cookie::SetCookie;
use crate::error::Error;
use crate::random;
use crate::session::Session;
use crate::store::stats::Counted;
use std::time::Duration;

/// How often a transaction is tried before it answers `Conflict`.
const TRIES: u32 = 32;

/// Does `work` on a session and saves it, unless another request changed the session meanwhile: then it begins again.
/// Gives the result of `work`, and what the client is sent.
pub(crate) fn transact<R, E: From<Error>>(
    context: &Context,
    load: impl Fn() -> Result<Session, Error>,
    mut work: impl FnMut(&mut Session) -> Result<R, E>,
) -> Result<(R, Option<SetCookie>, Option<String>), E> {
    let (deadline, mut cookie_due, mut was_live) = (context.deadline(), false, false);
    for attempt in 0..TRIES {
        let mut session = load()?;
        if was_live && session.is_new() {
            context.count(Counted::Gone);
            return Err(Error::Gone.into());
        }
        was_live = !session.is_new();
        session.exclusive = true;
        // A refresh is due once: the next attempt would not see it.
        session.cookie_due |= cookie_due;
        cookie_due = session.cookie_due;
        match work(&mut session) {
            Ok(result) => match session.save() {
                Ok(set_cookie) => {
                    session.settled = true;
                    return Ok((result, set_cookie, session.token()));
                }
                Err(Error::Conflict) => {}
                Err(error) => return Err(error.into()),
            },
            // It has saved by itself, and met another request.
            Err(_) if session.conflicted => {}
            Err(error) => {
                session.settled = true;
                return Err(error);
            }
        }
        session.settled = true;
        if deadline.has_passed() {
            break;
        }
        back_off(attempt)?;
    }
    Err(Error::Conflict.into())
}

/// Waits for a random time that grows with the attempts, so that competing requests fall out of step.
fn back_off(attempt: u32) -> Result<(), Error> {
    let random = u64::from(u16::from_be_bytes(random::bytes()?));
    std::thread::sleep(Duration::from_micros(random * u64::from(attempt.min(8)) / 64));
    Ok(())
}
