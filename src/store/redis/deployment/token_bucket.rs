//! A token bucket: allows 4 attempts at once, and then 4 each second.

use std::time::{Duration, Instant};

/// The most tokens that the bucket holds.
const CAPACITY: u32 = 4;
/// The time in which one token is added.
const INTERVAL: Duration = Duration::from_millis(250);

/// Limits how often a node that refuses requests is tried again.
pub(crate) struct TokenBucket {
    tokens: u32,
    filled_at: Instant,
}

impl TokenBucket {
    /// Makes a full bucket.
    pub(crate) fn new() -> TokenBucket {
        TokenBucket { tokens: CAPACITY, filled_at: Instant::now() }
    }

    /// Takes a token. Returns whether there was one.
    pub(crate) fn take(&mut self) -> bool {
        self.take_at(Instant::now())
    }

    fn take_at(&mut self, now: Instant) -> bool {
        let more = now.saturating_duration_since(self.filled_at).as_millis() / INTERVAL.as_millis();
        if more > 0 {
            self.tokens = (u128::from(self.tokens) + more).min(CAPACITY.into()) as u32;
            self.filled_at = now;
        }
        let has_token = self.tokens > 0;
        self.tokens -= u32::from(has_token);
        has_token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_at_once_and_then_a_few_a_second() {
        let mut bucket = TokenBucket::new();
        let start = bucket.filled_at;
        let taken = (0..10_000).filter(|at| bucket.take_at(start + Duration::from_millis(*at))).count();
        assert!((40..=44).contains(&taken), "{taken}");
        let mut bucket = TokenBucket { tokens: 0, filled_at: start };
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| bucket.take_at(later)).count(), CAPACITY as usize);
    }
}
