//! Logs the incidents of a node or a deployment: one line when an incident begins, and one when it ends.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::wire::error_reply::code;
use crate::store::redis::wire::failure::{Affects, Failure};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time without a failure after which an incident ends. So if some requests fail and others succeed, the log gets
/// one line, not one for each failure.
const CALM: Duration = Duration::from_secs(1);
/// The longest such time. If an incident soon begins again, its time is doubled, up to this.
const LONGEST_CALM: Duration = Duration::from_secs(64);

/// The incidents of one node or deployment.
pub(crate) struct Incidents {
    /// The name of the node or deployment in the log.
    name: String,
    /// Whether an incident is going on. If not, the lock is not needed.
    any: AtomicBool,
    /// Counts the answers.
    answers: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last incident of each kind.
    incidents: BTreeMap<Kind, Incident>,
    /// The number of answers at the time of the last timeout.
    answers_at_timeout: Option<u64>,
    /// Whether nothing is logged, because the node is not needed.
    is_retired: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The node cannot be used.
    Outage,
    /// The node answers, and refuses requests with this code.
    Refusals(&'static str),
}

#[derive(Clone)]
struct Incident {
    began: Instant,
    last_failure: Instant,
    failures: u64,
    /// The incident ends only with an answer that proves this.
    ended_by: Proof,
    /// The time without a failure that has to pass before the incident ends.
    calm: Duration,
    has_ended: bool,
}

impl Incidents {
    pub(crate) fn new(name: String) -> Incidents {
        Incidents { name, any: AtomicBool::new(false), answers: AtomicU64::new(0), state: Mutex::new(State::default()) }
    }

    /// Returns whether an outage is going on that the log knows of.
    pub(crate) fn has_outage(&self) -> bool {
        self.any.load(Ordering::Relaxed)
            && self.state().incidents.get(&Kind::Outage).is_some_and(|outage| !outage.has_ended)
    }

    /// Notes an answer, and what it proves.
    pub(crate) fn note_answer(&self, proof: Proof) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        if self.any.load(Ordering::Relaxed) {
            for (kind, incident) in self.end(Instant::now(), proof) {
                log::warn!("{} {}", self.name, kind.end_of(&incident));
            }
        }
    }

    /// Notes the failure of a request. An answer to the request would have proved `missed`.
    pub(crate) fn note_failure(&self, failure: &Failure, missed: Proof) {
        match failure {
            Failure::Connection(_) | Failure::NoScript | Failure::TooLate => {}
            Failure::Refused { affects: Affects::ThisRequest, .. } | Failure::Redirected(_) => {
                self.note_answer(Proof::Alive);
            }
            Failure::Refused { error, affects: Affects::ThisConnection } => match error.kind() {
                StoreErrorKind::Unavailable => self.note_outage(error),
                StoreErrorKind::Timeout => self.note_timeout(error),
                _ => self.note_refusal(error, missed),
            },
            Failure::Refused { error, affects: Affects::SimilarRequests } => self.note_state(error, missed),
            Failure::Refused { error, affects: Affects::Writes } | Failure::NotPrimary(error) => {
                self.note_state(error, Proof::Writes);
            }
        }
    }

    /// Notes that the node or deployment cannot be used.
    pub(crate) fn note_outage(&self, error: &StoreError) {
        if self.begin(Instant::now(), Kind::Outage, Proof::Alive) {
            log::error!("{} cannot be used: {error}", self.name);
        }
    }

    /// Notes an error that the node gives because of its present state.
    fn note_state(&self, error: &StoreError, ended_by: Proof) {
        match error.kind() {
            StoreErrorKind::Unavailable => self.note_outage(error),
            _ => self.note_refusal(error, ended_by),
        }
    }

    fn note_refusal(&self, error: &StoreError, ended_by: Proof) {
        self.note_answer(Proof::Alive);
        if self.begin(Instant::now(), Kind::Refusals(code(error)), ended_by) {
            log::error!("{} refuses requests: {error}", self.name);
        }
    }

    /// Notes a timeout. One timeout alone may come from a slow request. Two timeouts are an outage if no call got an
    /// answer between them.
    fn note_timeout(&self, error: &StoreError) {
        let answers = self.answers.load(Ordering::Relaxed);
        let before = self.state().answers_at_timeout.replace(answers);
        if before == Some(answers) || self.has_outage() {
            self.note_outage(error);
        } else {
            log::debug!("{}: {error}", self.name);
        }
    }

    /// Ends all incidents, and logs nothing from now on: the node is not needed any more.
    pub(crate) fn retire(&self, why: &str) {
        let mut state = self.state();
        state.is_retired = true;
        self.any.store(false, Ordering::Relaxed);
        let failures: u64 =
            state.incidents.values().filter(|incident| !incident.has_ended).map(|incident| incident.failures).sum();
        state.incidents.clear();
        drop(state);
        if failures > 0 {
            log::warn!("{} is not asked any more: {why}; requests that failed: {failures}", self.name);
        }
    }

    /// Logs incidents again: the node is needed.
    pub(crate) fn reinstate(&self) {
        self.state().is_retired = false;
    }

    /// Notes a failure. Returns whether an incident begins with it.
    fn begin(&self, now: Instant, kind: Kind, ended_by: Proof) -> bool {
        let mut state = self.state();
        if state.is_retired {
            return false;
        }
        self.any.store(true, Ordering::Relaxed);
        let incident = state.incidents.entry(kind).or_insert_with(|| Incident::none(now, ended_by));
        let begins = incident.has_ended;
        if begins {
            *incident = incident.next(now, ended_by);
        }
        incident.last_failure = now;
        incident.failures += 1;
        incident.ended_by = incident.ended_by.max(ended_by);
        begins
    }

    /// Returns the incidents that end with an answer.
    fn end(&self, now: Instant, proof: Proof) -> Vec<(Kind, Incident)> {
        let mut state = self.state();
        let mut ended = Vec::new();
        for (kind, incident) in &mut state.incidents {
            let is_calm = now.saturating_duration_since(incident.last_failure) >= incident.calm;
            if !incident.has_ended && is_calm && proof >= incident.ended_by {
                incident.has_ended = true;
                ended.push((*kind, incident.clone()));
            }
        }
        self.any.store(state.incidents.values().any(|incident| !incident.has_ended), Ordering::Relaxed);
        ended
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Incident {
    /// Makes an incident that has ended before it had any failure.
    fn none(now: Instant, ended_by: Proof) -> Incident {
        Incident { began: now, last_failure: now, failures: 0, ended_by, calm: CALM, has_ended: true }
    }

    /// Makes the incident of the same kind that begins now.
    fn next(&self, now: Instant, ended_by: Proof) -> Incident {
        let since = now.saturating_duration_since(self.last_failure);
        let begins_again = self.failures > 0 && since < self.calm * 10;
        let calm = if begins_again { (self.calm * 2).min(LONGEST_CALM) } else { CALM };
        Incident { calm, has_ended: false, ..Incident::none(now, ended_by) }
    }
}

impl Kind {
    /// Words the end of an incident.
    fn end_of(self, incident: &Incident) -> String {
        let what = match self {
            Kind::Outage => "can be used again; requests that failed".to_owned(),
            Kind::Refusals("") => "no longer refuses requests; requests that it refused".to_owned(),
            Kind::Refusals(code) => format!("no longer refuses requests ({code}); requests that it refused"),
        };
        let lasted = incident.last_failure.saturating_duration_since(incident.began);
        format!("{what}: {}, in {lasted:.1?}", incident.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incidents() -> Incidents {
        Incidents::new("redis://a".to_owned())
    }

    fn times() -> impl Fn(u64) -> Instant {
        let start = Instant::now();
        move |milliseconds| start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn an_outage_begins_once_and_ends_when_nothing_has_failed_for_a_while() {
        let (incidents, at) = (incidents(), times());
        let begins = |time| incidents.begin(at(time), Kind::Outage, Proof::Alive);
        let ends =
            |time| incidents.end(at(time), Proof::Reads).into_iter().map(|(_, incident)| incident.failures).next();
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
    fn an_incident_that_soon_begins_again_needs_more_calm_to_end() {
        let (incidents, at) = (incidents(), times());
        let (mut begun, mut ended) = (0, 0);
        // One request in two seconds is refused, and all others are served, for an hour.
        for time in (0..3_600_000).step_by(500) {
            if time % 2000 == 0 {
                begun += u32::from(incidents.begin(at(time), Kind::Refusals("NOPERM"), Proof::Writes));
            } else {
                ended += incidents.end(at(time), Proof::Writes).len();
            }
        }
        assert!(begun < 4 && ended < 4, "{begun} {ended}");
        assert_eq!(incidents.end(at(3_700_000), Proof::Writes).len(), 1);
    }

    #[test]
    fn refusals_end_when_what_was_refused_is_done() {
        let (incidents, at) = (incidents(), times());
        assert!(incidents.begin(at(0), Kind::Refusals("OOM"), Proof::Writes));
        assert!(incidents.begin(at(0), Kind::Refusals("NOAUTH"), Proof::Reads));
        assert!(incidents.end(at(5000), Proof::Alive).is_empty());
        let ended = incidents.end(at(5000), Proof::Reads);
        assert!(matches!(ended[..], [(Kind::Refusals("NOAUTH"), _)]));
        let ended = incidents.end(at(5000), Proof::Writes);
        assert!(matches!(ended[..], [(Kind::Refusals("OOM"), _)]));
    }

    #[test]
    fn one_slow_request_is_not_an_outage_and_two_without_an_answer_between_them_are() {
        let incidents = incidents();
        let timeout = || Failure::of_connection(StoreError::new(StoreErrorKind::Timeout, "no answer"));
        incidents.note_failure(&timeout(), Proof::Reads);
        incidents.note_answer(Proof::Reads);
        incidents.note_failure(&timeout(), Proof::Reads);
        assert!(!incidents.has_outage());
        incidents.note_failure(&timeout(), Proof::Reads);
        assert!(incidents.has_outage());
    }
}
