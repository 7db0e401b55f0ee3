//! How fast connections are opened to a server that refuses what it is asked.

use std::time::{Duration, Instant};

/// This many may be opened at once, and one more each time that this has passed.
const AT_ONCE: u32 = 4;
const EACH: Duration = Duration::from_millis(250);

pub(crate) struct Pace {
    left: u32,
    since: Instant,
}

impl Pace {
    pub(crate) fn new() -> Pace {
        Pace { left: AT_ONCE, since: Instant::now() }
    }

    /// Whether one more may be opened now. If so, it counts.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        let more = now.saturating_duration_since(self.since).as_millis() / EACH.as_millis();
        if more > 0 {
            self.left = (u128::from(self.left) + more).min(AT_ONCE.into()) as u32;
            self.since = now;
        }
        let allows = self.left > 0;
        self.left -= u32::from(allows);
        allows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_at_once_and_then_a_few_a_second() {
        let mut pace = Pace::new();
        let start = pace.since;
        let mut opened_by =
            |milliseconds: u64| (0..milliseconds).filter(|at| pace.allows(start + Duration::from_millis(*at))).count();
        let opened = opened_by(10_000);
        assert!((40..=44).contains(&opened), "{opened}");
        let mut pace = Pace { left: 0, since: start };
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| pace.allows(later)).count(), AT_ONCE as usize);
    }
}
