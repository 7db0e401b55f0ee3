//! How long sessions live, and when their life is extended.

use std::time::Duration;

/// When the use of a session extends its idle timeout (and its cookie).
///
/// An extension costs a write in the store and a `Set-Cookie`, so by default it is made at most once a minute. So
/// that a session never ends early, what is stored, and `Max-Age`, are longer than the idle timeout by that interval.
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

    /// Whether a load is to extend a session that has `left` to live.
    #[must_use]
    pub fn is_due(self, left: Duration, idle_timeout: Duration) -> bool {
        self != Refresh::Never && left < idle_timeout
    }
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

    #[test]
    fn a_refresh_is_due_once_the_interval_is_used_up() {
        let day = 24 * 60 * MINUTE;
        assert!(!Refresh::default().is_due(day + MINUTE, day));
        assert!(!Refresh::default().is_due(day, day));
        assert!(Refresh::default().is_due(day - Duration::from_millis(1), day));
        assert!(!Refresh::Never.is_due(Duration::ZERO, day));
    }
}
