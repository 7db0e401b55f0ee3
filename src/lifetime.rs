//! How long sessions live, and when their life is extended.

use std::time::Duration;

/// Longer timeouts are refused.
pub(crate) const LONGEST_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// When the use of a session extends its idle timeout (and its cookie).
///
/// An extension costs a write in the store and a `Set-Cookie`, so by default it is made at most once a minute. So
/// that a session never ends early, what is stored, and `Max-Age`, are longer than the idle timeout by that interval.
///
/// Whatever is chosen here, the cookie of a session that lives on is renewed at least once in 30 days of use, since
/// browsers keep no cookie for longer than 400 days (RFC 6265bis, section 5.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refresh {
    /// On the first load that comes this long after the last extension. Never more than a hundredth of the idle
    /// timeout: a longer interval counts as that. The default is `After(60 s)`.
    After(Duration),
    /// On every load. Each answer then carries a `Set-Cookie`.
    EveryLoad,
    /// Never: the session ends one idle timeout after it was created (or given a new id), used or not.
    Never,
}

impl Default for Refresh {
    fn default() -> Refresh {
        Refresh::After(Duration::from_secs(60))
    }
}

impl Refresh {
    /// How long a record lives in the store from now: the idle timeout and the refresh interval.
    #[must_use]
    pub fn stored_life(self, idle_timeout: Duration) -> Duration {
        match self {
            Refresh::After(interval) => idle_timeout + interval.min(idle_timeout / 100),
            Refresh::EveryLoad | Refresh::Never => idle_timeout,
        }
    }
}

/// The settings that decide how long a session lives, as every call brings them to the store.
///
/// A record keeps the timeouts that it was made with. Where these here are stricter, they hold from the next use on; the
/// idle timeout does not hold for a session that was given [one of its own](crate::Session::set_idle_timeout).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lifetime {
    /// How long a session lives from its last use.
    pub idle_timeout: Duration,
    /// How long it lives at most from its creation or its last login, however much it is used.
    pub absolute_timeout: Option<Duration>,
    /// When a use extends its life.
    pub refresh: Refresh,
}

impl Lifetime {
    /// After this long without a refresh one is due in any case, for the sake of the cookie.
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
