//! Tells the log what is out of order with servers: once when it begins, with its reason, and once when it ends.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::redis::wire::failure::{Extent, Failure, code};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A trouble is over when nothing has failed for this long: where only some requests fail, the log is not told of each.
/// One that comes back soon has to stay away for longer the next time.
const CALM: Duration = Duration::from_secs(1);
const LONGEST_CALM: Duration = Duration::from_secs(64);

/// What an answer shows about its server. The later ones show what the earlier ones do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shows {
    /// The server is alive.
    Life,
    /// It serves requests.
    Reads,
    /// It takes what adds to its data: a full memory takes what removes.
    Writes,
}

#[derive(Default)]
pub(crate) struct Health {
    /// Whether any trouble is under way.
    is_ill: AtomicBool,
    /// Moves with every answer.
    answers: AtomicU64,
    history: Mutex<History>,
}

#[derive(Default)]
struct History {
    troubles: BTreeMap<Trouble, Course>,
    /// Where `answers` stood when a request timed out last.
    timed_out_at: Option<u64>,
    /// Whether nothing is told of these servers, because nobody needs them any more.
    is_retired: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// The servers cannot be used.
    Outage,
    /// They answer, and refuse with this code.
    Extent(&'static str),
}

/// How a trouble has gone so far.
struct Course {
    began: Instant,
    last: Instant,
    /// How many requests have met it.
    met: u64,
    /// The least that an answer has to show for it to be over.
    ended_by: Shows,
    calm: Duration,
    is_over: bool,
}

impl Health {
    /// Whether the log knows that the servers cannot be used.
    pub(crate) fn is_out(&self) -> bool {
        self.is_ill.load(Ordering::Relaxed)
            && self.history().troubles.get(&Trouble::Outage).is_some_and(|course| !course.is_over)
    }

    pub(crate) fn note_success(&self, servers: impl fmt::Display, shows: Shows) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        if self.is_ill.load(Ordering::Relaxed) {
            for (trouble, course) in self.end(Instant::now(), shows) {
                log::warn!("{servers} {}", trouble.is_over(&course));
            }
        }
    }

    /// A request that would have shown this has failed.
    pub(crate) fn note_failure(&self, servers: impl fmt::Display, failure: &Failure, shows: Shows) {
        let (error, ended_by) = match failure {
            Failure::NotPrimary(error) | Failure::Refused { error, extent: Extent::Writes } => (error, Shows::Writes),
            Failure::Refused { error, extent: Extent::All | Extent::Connection } => (error, shows),
            Failure::Refused { extent: Extent::This, .. } | Failure::Redirected(_) => {
                return self.note_success(servers, Shows::Life);
            }
            _ => return,
        };
        let answered = !matches!(failure, Failure::Refused { extent: Extent::Connection, .. });
        match error.kind() {
            StoreErrorKind::Unavailable => self.note_outage(servers, error),
            StoreErrorKind::Timeout if !answered => self.note_timeout(servers, error),
            _ => {
                self.note_success(&servers, Shows::Life);
                if self.begin(Instant::now(), Trouble::Extent(code(error)), ended_by) {
                    log::error!("{servers} refuses requests: {error}");
                }
            }
        }
    }

    pub(crate) fn note_outage(&self, servers: impl fmt::Display, error: &StoreError) {
        if self.begin(Instant::now(), Trouble::Outage, Shows::Life) {
            log::error!("{servers} cannot be used: {error}");
        }
    }

    /// A single request may be too slow by itself. Two in a row, with no answer to anybody in between, are an outage.
    fn note_timeout(&self, servers: impl fmt::Display, error: &StoreError) {
        let answers = self.answers.load(Ordering::Relaxed);
        let before = self.history().timed_out_at.replace(answers);
        if before == Some(answers) || self.is_out() {
            self.note_outage(servers, error);
        } else {
            log::debug!("{servers}: {error}");
        }
    }

    /// Nobody needs these servers any more: whatever is out of order there is told to be over, and nothing is told from
    /// then on.
    pub(crate) fn retire(&self, servers: impl fmt::Display, why: &str) {
        let mut history = self.history();
        history.is_retired = true;
        self.is_ill.store(false, Ordering::Relaxed);
        let met: u64 = history.troubles.values().filter(|course| !course.is_over).map(|course| course.met).sum();
        history.troubles.clear();
        drop(history);
        if met > 0 {
            log::warn!("{servers} is not asked any more: {why}; requests that it failed: {met}");
        }
    }

    /// They are needed again.
    pub(crate) fn resume(&self) {
        self.history().is_retired = false;
    }

    /// Whether that begins a trouble.
    fn begin(&self, now: Instant, trouble: Trouble, ended_by: Shows) -> bool {
        let mut history = self.history();
        if history.is_retired {
            return false;
        }
        self.is_ill.store(true, Ordering::Relaxed);
        let new = Course { began: now, last: now, met: 0, ended_by, calm: CALM, is_over: true };
        let course = history.troubles.entry(trouble).or_insert(new);
        let begins = course.is_over;
        if begins {
            let away = now.saturating_duration_since(course.last);
            let calm = if course.met > 0 && away < course.calm * 10 { course.calm * 2 } else { CALM };
            *course = Course { began: now, last: now, met: 0, ended_by, calm: calm.min(LONGEST_CALM), is_over: false };
        }
        course.last = now;
        course.met += 1;
        course.ended_by = course.ended_by.max(ended_by);
        begins
    }

    /// The troubles that are over with an answer that shows this.
    fn end(&self, now: Instant, shows: Shows) -> Vec<(Trouble, Course)> {
        let mut history = self.history();
        let mut ended = Vec::new();
        for (trouble, course) in &mut history.troubles {
            let is_calm = now.saturating_duration_since(course.last) >= course.calm;
            if !course.is_over && is_calm && shows >= course.ended_by {
                course.is_over = true;
                ended.push((*trouble, Course { ..*course }));
            }
        }
        self.is_ill.store(history.troubles.values().any(|course| !course.is_over), Ordering::Relaxed);
        ended
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trouble {
    fn is_over(self, course: &Course) -> String {
        let what = match self {
            Trouble::Outage => "can be used again; requests that failed".to_owned(),
            Trouble::Extent("") => "no longer refuses requests; those that it refused".to_owned(),
            Trouble::Extent(code) => format!("no longer refuses requests ({code}); those that it refused"),
        };
        format!("{what}: {}, in {:.1?}", course.met, course.last.saturating_duration_since(course.began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> impl Fn(u64) -> Instant {
        let start = Instant::now();
        move |milliseconds| start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn an_outage_begins_once_and_ends_when_nothing_has_failed_for_a_while() {
        let (health, at) = (Health::default(), times());
        let begins = |time| health.begin(at(time), Trouble::Outage, Shows::Life);
        let ends = |time| health.end(at(time), Shows::Reads).into_iter().map(|(_, course)| course.met).next();
        assert_eq!(ends(0), None);
        assert!(begins(0));
        // Some succeed, and some fail.
        assert_eq!(ends(900), None);
        assert!(!begins(950));
        assert_eq!(ends(1900), None);
        assert_eq!(ends(1950), Some(2));
        assert_eq!(ends(9000), None);
        assert!(begins(90_000));
    }

    #[test]
    fn a_trouble_that_comes_back_soon_has_to_stay_away_for_longer() {
        let (health, at) = (Health::default(), times());
        let (mut begun, mut ended) = (0, 0);
        // One request in two seconds is refused, and all others are served, for an hour.
        for time in (0..3_600_000).step_by(500) {
            if time % 2000 == 0 {
                begun += u32::from(health.begin(at(time), Trouble::Extent("NOPERM"), Shows::Writes));
            } else {
                ended += health.end(at(time), Shows::Writes).len();
            }
        }
        assert!(begun < 4 && ended < 4, "{begun} {ended}");
        assert_eq!(health.end(at(3_700_000), Shows::Writes).len(), 1);
    }

    #[test]
    fn a_refusal_is_over_when_what_was_refused_is_done() {
        let (health, at) = (Health::default(), times());
        assert!(health.begin(at(0), Trouble::Extent("OOM"), Shows::Writes));
        assert!(health.begin(at(0), Trouble::Extent("NOAUTH"), Shows::Reads));
        assert!(health.end(at(5000), Shows::Life).is_empty());
        let ended = health.end(at(5000), Shows::Reads);
        assert!(matches!(ended[..], [(Trouble::Extent("NOAUTH"), _)]));
        let ended = health.end(at(5000), Shows::Writes);
        assert!(matches!(ended[..], [(Trouble::Extent("OOM"), _)]));
    }

    #[test]
    fn one_slow_request_is_no_outage_and_two_without_an_answer_in_between_are() {
        let health = Health::default();
        let timeout = || Failure::from(StoreError::new(StoreErrorKind::Timeout, "no answer"));
        health.note_failure("it", &timeout(), Shows::Reads);
        health.note_success("it", Shows::Reads);
        health.note_failure("it", &timeout(), Shows::Reads);
        assert!(!health.is_out());
        health.note_failure("it", &timeout(), Shows::Reads);
        assert!(health.is_out());
    }
}
