//! Why a session has ended, for the client's next request and for the application's hook.

use crate::id::PublicId;

/// The reason why a session has ended.
///
/// [`Session::ended_because`](crate::Session::ended_because) gives it to the next request of the client, and
/// [`on_end`](crate::SessionManagerBuilder::on_end) to a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The client logged out: [`Session::destroy`](crate::Session::destroy) or
    /// [`SessionManager::destroy`](crate::SessionManager::destroy).
    LoggedOut,
    /// One of these calls ended it: [`Group::remove`](crate::Group::remove), [`Group::clear`](crate::Group::clear),
    /// [`Group::clear_except`](crate::Group::clear_except), or
    /// [`destroy_every_session`](crate::SessionManager::destroy_every_session). An operator who ends a session with
    /// `mps` leaves this reason too.
    ///
    /// A session that ended because of the limit may have this reason for a moment, until the login that ended it has
    /// removed its record.
    LoggedOutElsewhere,
    /// A later login of the same user ended it, because of the
    /// [limit](crate::SessionManagerBuilder::max_sessions_per_group).
    OverLimit,
    /// The session lives on under a new id. The client's cookie has the old one.
    NewId,
    /// Its idle timeout or its absolute timeout has passed.
    ///
    /// A store remembers the other reasons for 5 minutes. After that, or if the store has lost the session, the reason
    /// is `Expired` too.
    Expired,
}

impl EndReason {
    /// The letter by which stores keep a reason.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            EndReason::LoggedOut => "o",
            EndReason::LoggedOutElsewhere => "e",
            EndReason::OverLimit => "l",
            EndReason::NewId => "n",
            EndReason::Expired => "x",
        }
    }

    /// Returns the reason of a letter. A letter that is unknown, or that was lost, means that it expired.
    pub(crate) fn of_letter(letter: &[u8]) -> EndReason {
        match letter {
            b"o" => EndReason::LoggedOut,
            b"e" => EndReason::LoggedOutElsewhere,
            b"l" => EndReason::OverLimit,
            b"n" => EndReason::NewId,
            _ => EndReason::Expired,
        }
    }
}

/// The end of a session: which session, and why.
///
/// The function that [`on_end`](crate::SessionManagerBuilder::on_end) sets gets one for each session that this process
/// ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SessionEnd {
    /// The public id of the session.
    pub public_id: PublicId,
    /// Why it has ended.
    pub reason: EndReason,
}
