//! The time by which a call ends.

use crate::lifetime::LONGEST_TIMEOUT;
use std::time::{Duration, Instant};

/// The time by which a call has to end, and shares of the time until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline of a call that begins now and may take this long. A timeout of more than 100 years counts
    /// as 100 years.
    #[must_use]
    pub fn after(timeout: Duration) -> Deadline {
        Deadline(Instant::now() + timeout.min(LONGEST_TIMEOUT))
    }

    /// Returns the time that is left: zero once the deadline has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Returns whether no time is left.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// Returns an earlier deadline, after half of the time that is left. The other half remains for a second try.
    #[must_use]
    pub fn halfway(self) -> Deadline {
        self.share_of(2)
    }

    /// Returns an earlier deadline, for the first of several tries that share the time that is left.
    #[must_use]
    pub fn share_of(self, tries: u32) -> Deadline {
        let now = Instant::now();
        Deadline(now + self.0.saturating_duration_since(now) / tries.max(1))
    }

    /// Returns the deadlines of several tries that follow one another. Take each one when its try begins: it is an even
    /// share of the time that is left then. So if a try ends early, the later tries have more time.
    #[cfg(feature = "redis")]
    pub(crate) fn shares(self, tries: usize) -> impl Iterator<Item = Deadline> {
        (1..=tries).rev().map(move |remaining| self.share_of(u32::try_from(remaining).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_lie_between_now_and_the_deadline() {
        let deadline = Deadline::after(Duration::from_secs(600));
        let (half, third) = (deadline.halfway(), deadline.share_of(3));
        assert!(third < half && half < deadline && !third.has_passed());
        assert!(deadline.left() > Duration::from_secs(590));
        assert!(deadline.share_of(0) <= deadline);
    }

    #[test]
    #[cfg(feature = "redis")]
    fn what_one_try_leaves_the_next_ones_share() {
        let deadline = Deadline::after(Duration::from_secs(600));
        let mut shares = deadline.shares(3);
        let first = shares.next().unwrap();
        assert!(Duration::from_secs(190) < first.left() && first.left() <= Duration::from_secs(200));
        // The first try has taken no time.
        assert!(shares.next().unwrap().left() > Duration::from_secs(290));
        assert!(shares.next().unwrap().left() > Duration::from_secs(590));
        assert_eq!(shares.next(), None);
        assert_eq!(deadline.shares(0).next(), None);
    }

    #[test]
    fn the_longest_deadline_does_not_panic() {
        assert!(Deadline::after(Duration::MAX).left() > LONGEST_TIMEOUT / 2);
    }

    #[test]
    fn a_deadline_that_has_passed_leaves_nothing() {
        let passed = Deadline::after(Duration::ZERO);
        assert!(passed.has_passed() && passed.halfway().has_passed());
        assert_eq!(passed.left(), Duration::ZERO);
    }
}
