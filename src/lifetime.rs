//! How long sessions live, and when their life is extended.

use std::time::Duration;

/// The longest timeout that is accepted: 100 years.
pub(crate) const LONGEST_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Says when the use of a session extends its life, and renews its cookie.
///
/// An extension costs a write in the store and a `Set-Cookie`. So, by default, it is made at most once a minute. The
/// stored life and the cookie's `Max-Age` are longer than the idle timeout by this interval, so that a session never
/// ends early.
///
/// With every choice, the cookie of a live session is renewed at least once in 30 days of use, because browsers keep no
/// cookie for longer than 400 days (RFC 6265bis, section 5.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refresh {
    /// On a load, if the last extension was at least this long ago. If the interval is longer than a hundredth of the
    /// idle timeout, a hundredth of the idle timeout counts.
    ///
    /// Default: `After(60 s)`.
    After(Duration),
    /// On every load. Each response then carries a `Set-Cookie`.
    EveryLoad,
    /// Never. The session ends one idle timeout after it was created or got a new id, even if it is used. The renewal
    /// of the cookie once in 30 days does not extend this life.
    Never,
}

impl Default for Refresh {
    fn default() -> Refresh {
        Refresh::After(Duration::from_secs(60))
    }
}

impl Refresh {
    /// Returns how long a record lives in the store from now: the idle timeout and the refresh interval.
    pub(crate) fn stored_life(self, idle_timeout: Duration) -> Duration {
        match self {
            Refresh::After(interval) => idle_timeout + interval.min(idle_timeout / 100),
            Refresh::EveryLoad | Refresh::Never => idle_timeout,
        }
    }
}

/// The settings that decide how long a session lives. Each call hands them to the store.
///
/// A record keeps the timeouts that it was made with. If the settings of a call are stricter, they hold from the next
/// use on. The idle timeout of a call does not hold for a session that was given [one of its
/// own](crate::Session::set_idle_timeout).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Lifetime {
    /// How long a session lives from its last use.
    pub idle_timeout: Duration,
    /// How long a session lives at most from its creation or its last login, however much it is used.
    pub absolute_timeout: Option<Duration>,
    /// When a use extends the session's life.
    pub refresh: Refresh,
}

impl Lifetime {
    /// The longest time without a refresh. After it, a refresh is due in any case, so that the cookie is renewed.
    pub const LONGEST_WITHOUT_REFRESH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_interval_is_added_to_what_is_stored_and_capped_at_a_hundredth() {
        let day = 24 * 60 * MINUTE;
        assert_eq!(Refresh::default().stored_life(day), day + MINUTE);
        assert_eq!(Refresh::default().stored_life(10 * MINUTE), 10 * MINUTE + Duration::from_secs(6));
        assert_eq!(Refresh::EveryLoad.stored_life(day), day);
        assert_eq!(Refresh::Never.stored_life(day), day);
    }
}
