//! The state of a record besides its values, and how calls change it.

use crate::lifetime::{Lifetime, Refresh};
use crate::store::call::{Call, Nonce};
use crate::store::key::RecordKey;
use crate::store::record::{NewRecord, RecordInfo};
use crate::store::refusal::Refusal;
use crate::store::update::Update;
use std::time::{Duration, SystemTime};

/// The longest refresh interval. Processes may have different intervals, and a longer interval of another process is
/// not a reason to shorten a life.
const LONGEST_REFRESH: Refresh = Refresh::After(Duration::MAX);
/// The number of nonces that a record remembers.
const REMEMBERED: usize = 32;

/// The state of a record besides its values, and the rules by which calls change that state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordState {
    /// The version of the record, which every change increases.
    pub version: u64,
    /// When the session was created.
    pub created_at: SystemTime,
    /// When the session joined its group, if it is in one.
    pub joined_at: Option<SystemTime>,
    /// When the absolute timeout began: at the creation, or when the session last joined a group.
    pub began_at: SystemTime,
    /// When the session last got a full life. If it was created with a [shorter
    /// life](NewRecord::unconfirmed_timeout), this is `None` until its first load.
    pub refreshed_at: Option<SystemTime>,
    /// When the session ends at the latest, by its absolute timeout.
    pub ends_at: Option<SystemTime>,
    /// The idle timeout of the session.
    pub idle_timeout: Duration,
    /// Whether the idle timeout was set for this one session.
    pub has_own_idle_timeout: bool,
    /// Whether the cookie of this one session outlives the browser. `None` if the settings decide.
    pub persistent: Option<bool>,
    /// When the session ends if it is not used.
    pub expires_at: SystemTime,
    /// The nonces of the last calls that changed the record, joined. The newest comes first.
    pub nonces: Vec<u8>,
}

impl RecordState {
    /// Returns the state of a record that is created now.
    #[must_use]
    pub fn new(record: &NewRecord<'_>, call: &Call, now: SystemTime) -> RecordState {
        let mut state = RecordState {
            version: 1,
            created_at: now,
            joined_at: record.join.map(|_| now),
            began_at: now,
            refreshed_at: Some(now),
            ends_at: record.lifetime.absolute_timeout.map(|timeout| now + timeout),
            idle_timeout: record.idle_timeout.unwrap_or(record.lifetime.idle_timeout),
            has_own_idle_timeout: record.idle_timeout.is_some(),
            persistent: record.persistent,
            expires_at: now,
            nonces: call.nonce.to_vec(),
        };
        state.extend(record.lifetime.refresh, now);
        if let Some(timeout) = record.unconfirmed_timeout
            && now + timeout < state.expires_at
        {
            state.expires_at = now + timeout;
            state.refreshed_at = None;
        }
        state
    }

    /// Applies these settings where they are stricter than those of the record. Returns `None` if the session has
    /// ended.
    #[must_use]
    pub fn alive(mut self, lifetime: &Lifetime, now: SystemTime) -> Option<RecordState> {
        // The last use can be later than the last refresh, by the longest interval that the idle timeout allows.
        let longest_interval = self.idle_timeout / 100;
        if !self.has_own_idle_timeout {
            self.idle_timeout = self.idle_timeout.min(lifetime.idle_timeout);
        }
        if self.began_at > now {
            // The clock was put back. The next load sets the life anew, so that the session still ends.
            (self.began_at, self.refreshed_at) = (now, None);
        }
        let strictest_end = lifetime.absolute_timeout.map(|timeout| self.began_at + timeout);
        self.ends_at = self.ends_at.into_iter().chain(strictest_end).min();
        let unused_at = self.refreshed_at.map(|at| at + self.idle_timeout + longest_interval);
        let life_ends_at = [unused_at, self.ends_at].into_iter().flatten().fold(self.expires_at, SystemTime::min);
        (life_ends_at > now).then_some(self)
    }

    /// Returns the state of the record for an answer.
    #[must_use]
    pub fn info(&self, now: SystemTime) -> RecordInfo {
        // The clock may have been put back, or the timeouts have become stricter.
        let expires_at = self.expires_at.min(self.full_life(LONGEST_REFRESH, now));
        RecordInfo {
            version: self.version,
            last_nonce: self.nonces.first_chunk().copied().unwrap_or_default(),
            created_at: self.created_at,
            joined_at: self.joined_at,
            refreshed_at: self.refreshed_at.unwrap_or(self.created_at),
            ends_at: self.ends_at,
            idle_timeout: self.idle_timeout,
            expires_at,
            expires_in: expires_at.duration_since(now).unwrap_or_default(),
            has_own_idle_timeout: self.has_own_idle_timeout,
            persistent: self.persistent,
        }
    }

    /// Refreshes the record if a refresh is due. Returns whether it was due.
    #[must_use]
    pub fn refresh(&mut self, refresh: Refresh, now: SystemTime) -> bool {
        let due = self.is_refresh_due(refresh, now);
        if due {
            self.expires_at = self.refreshed_life(refresh, now);
            self.refreshed_at = Some(now);
        }
        due
    }

    /// Returns whether a load has to change the record's life, and renew the cookie.
    #[must_use]
    pub fn is_refresh_due(&self, refresh: Refresh, now: SystemTime) -> bool {
        let full = self.full_life(refresh, now);
        let Some(refreshed_at) = self.refreshed_at else { return true };
        let is_used_up =
            refresh != Refresh::Never && self.expires_at < now + self.idle_timeout && full > self.expires_at;
        // The clock was put back, or the timeouts have become stricter.
        let is_too_long = self.expires_at > self.full_life(LONGEST_REFRESH, now);
        let unrefreshed = now.duration_since(refreshed_at).unwrap_or_default();
        is_used_up || is_too_long || unrefreshed >= Lifetime::LONGEST_WITHOUT_REFRESH
    }

    /// Returns whether a call with this nonce has changed the record already.
    #[must_use]
    pub fn knows(&self, nonce: Nonce) -> bool {
        self.nonces.chunks_exact(nonce.len()).any(|known| known == nonce)
    }

    /// Returns the state of the record under `key` after this update.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] if the record has another version than expected.
    pub fn after(
        mut self,
        key: &RecordKey<'_>,
        update: &Update<'_>,
        call: &Call,
        now: SystemTime,
    ) -> Result<RecordState, Refusal> {
        if update.expected.is_some_and(|expected| expected != self.version) {
            return Err(Refusal::Conflict);
        }
        self.version += 1;
        self.nonces.splice(..0, call.nonce);
        self.nonces.truncate(REMEMBERED * call.nonce.len());
        (self.idle_timeout, self.has_own_idle_timeout) =
            update.new_idle_timeout(key).unwrap_or((self.idle_timeout, self.has_own_idle_timeout));
        self.persistent = update.new_persistence(key).unwrap_or(self.persistent);
        if update.join.is_some() {
            (self.joined_at, self.began_at) = (Some(now), now);
            self.ends_at = update.lifetime.absolute_timeout.map(|timeout| now + timeout);
        } else if update.new_key.is_some_and(|key| key.tag.is_none()) {
            self.joined_at = None;
        }
        if update.changes.idle_timeout.is_some() || update.new_key.is_some() {
            match self.refreshed_at {
                // The cookie of the session has not come back yet, so its life stays short.
                None if update.join.is_none() => {
                    self.expires_at = self.expires_at.min(self.full_life(update.lifetime.refresh, now));
                }
                _ => self.extend(update.lifetime.refresh, now),
            }
        }
        Ok(self)
    }

    /// Gives the record a full life from now, within its absolute timeout.
    fn extend(&mut self, refresh: Refresh, now: SystemTime) {
        self.refreshed_at = Some(now);
        self.expires_at = self.full_life(refresh, now);
    }

    fn full_life(&self, refresh: Refresh, now: SystemTime) -> SystemTime {
        let full = now + refresh.stored_life(self.idle_timeout);
        self.ends_at.map_or(full, |end| end.min(full))
    }

    /// Returns the time at which the record expires after a refresh now.
    fn refreshed_life(&self, refresh: Refresh, now: SystemTime) -> SystemTime {
        let full = self.full_life(refresh, now);
        match (refresh, self.refreshed_at) {
            (Refresh::Never, None) => full.min(self.created_at.min(now) + self.idle_timeout),
            (Refresh::Never, Some(_)) => full.min(self.expires_at),
            _ => full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::{Size, Values};
    use std::time::UNIX_EPOCH;

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn lifetime(idle_timeout: Duration) -> Lifetime {
        Lifetime { idle_timeout, absolute_timeout: None, refresh: Refresh::default() }
    }

    fn start() -> SystemTime {
        UNIX_EPOCH + 20_000 * DAY
    }

    fn created(lifetime: Lifetime, unconfirmed_timeout: Option<Duration>) -> RecordState {
        let size_limit = Size { keys: 10, bytes: 1000 };
        let values = Values::new();
        let record = NewRecord {
            values,
            size_limit,
            lifetime,
            idle_timeout: None,
            persistent: None,
            unconfirmed_timeout,
            join: None,
        };
        RecordState::new(
            &record,
            &Call { deadline: crate::deadline::Deadline::after(Duration::ZERO), nonce: *b"abcdefgh" },
            start(),
        )
    }

    /// A load at this time: whether the record is found, and whether that refreshed it.
    fn load(state: &mut RecordState, lifetime: Lifetime, now: SystemTime) -> Option<bool> {
        *state = state.clone().alive(&lifetime, now)?;
        Some(state.refresh(lifetime.refresh, now))
    }

    #[test]
    fn a_refresh_is_due_once_the_interval_is_used_up() {
        let mut state = created(lifetime(DAY), None);
        assert_eq!(load(&mut state, lifetime(DAY), start() + MINUTE), Some(false));
        assert_eq!(load(&mut state, lifetime(DAY), start() + MINUTE + Duration::from_millis(1)), Some(true));
        assert_eq!(load(&mut state, lifetime(DAY), start() + MINUTE + Duration::from_millis(1)), Some(false));
        let never = Lifetime { refresh: Refresh::Never, ..lifetime(DAY) };
        let mut state = created(never, None);
        assert_eq!(load(&mut state, never, start() + DAY - MINUTE), Some(false));
        assert_eq!(load(&mut state, never, start() + DAY), None);
    }

    #[test]
    fn a_life_that_is_further_away_than_a_full_one_is_set_anew() {
        let mut state = created(lifetime(DAY), None);
        let put_back = start() - 30 * DAY;
        assert_eq!(load(&mut state, lifetime(DAY), put_back), Some(true));
        assert_eq!(state.info(put_back).expires_in, DAY + MINUTE);
        assert_eq!(load(&mut state, lifetime(DAY), put_back + MINUTE), Some(false));
        assert_eq!(load(&mut state, lifetime(DAY), put_back + 2 * MINUTE), Some(true), "the cookie is renewed again");
        let never = Lifetime { refresh: Refresh::Never, ..lifetime(DAY) };
        let mut state = created(never, None);
        assert_eq!(load(&mut state, never, put_back), Some(true));
        assert_eq!(load(&mut state, never, put_back + DAY), None);
    }

    #[test]
    fn an_absolute_timeout_does_not_wait_for_a_clock_that_was_put_back() {
        let year = 365 * DAY;
        for refresh in [Refresh::default(), Refresh::EveryLoad, Refresh::Never] {
            let lifetime = Lifetime { absolute_timeout: Some(DAY), refresh, ..lifetime(DAY) };
            let (mut state, put_back) = (created(lifetime, None), start() - year);
            assert_eq!(load(&mut state, lifetime, put_back), Some(true));
            let lives = (1..100).filter(|hour| load(&mut state, lifetime, put_back + *hour * 60 * MINUTE).is_some());
            assert_eq!(lives.count(), 23, "{refresh:?}");
        }
    }

    #[test]
    fn a_session_in_use_survives_a_stricter_idle_timeout() {
        for (before, after) in [(7 * DAY, MINUTE / 2), (100 * DAY, 120 * MINUTE)] {
            let lax = Lifetime { refresh: Refresh::After(DAY), ..lifetime(before) };
            let mut state = created(lax, None);
            // The last use before the refresh that would be due.
            let last_use = start() + before / 100;
            assert_eq!(load(&mut state, lax, last_use - MINUTE), Some(false));
            assert_eq!(load(&mut state, lifetime(after), last_use), Some(true));
            assert_eq!(load(&mut state, lifetime(after), last_use + after + after / 100), None);
        }
    }

    #[test]
    fn stricter_timeouts_hold_from_the_next_use_on() {
        let mut used = created(lifetime(7 * DAY), None);
        let strict = Lifetime { absolute_timeout: Some(DAY / 2), ..lifetime(30 * MINUTE) };
        let after = |time| start() + time;
        assert_eq!(load(&mut used.clone(), strict, after(3 * 60 * MINUTE)), None, "it was idle for too long");
        assert_eq!(load(&mut used, strict, after(MINUTE / 2)), Some(true));
        assert_eq!(used.info(after(MINUTE / 2)).expires_in, 30 * MINUTE + 18 * MINUTE / 60);
        for visit in 1..48 {
            assert!(load(&mut used, strict, after(visit * 15 * MINUTE)).is_some());
        }
        assert_eq!(load(&mut used, strict, after(DAY / 2)), None, "the absolute timeout ends it");
        let mut own = created(lifetime(7 * DAY), None);
        own.has_own_idle_timeout = true;
        assert_eq!(load(&mut own, lifetime(30 * MINUTE), after(6 * DAY)), Some(true), "it has a timeout of its own");
    }

    #[test]
    fn laxer_timeouts_do_not_reach_a_session_that_exists() {
        let mut state = created(lifetime(DAY), None);
        assert_eq!(load(&mut state, lifetime(7 * DAY), start() + DAY + MINUTE), None);
    }

    #[test]
    fn a_session_is_short_lived_until_it_is_loaded_for_the_first_time() {
        let new = created(lifetime(7 * DAY), Some(30 * MINUTE));
        assert_eq!(new.info(start()).expires_in, 30 * MINUTE);
        assert_eq!(load(&mut new.clone(), lifetime(7 * DAY), start() + 30 * MINUTE), None);
        let mut state = new;
        assert_eq!(load(&mut state, lifetime(7 * DAY), start() + MINUTE / 2), Some(true));
        assert_eq!(state.info(start() + MINUTE / 2).expires_in, 7 * DAY + MINUTE);
        let never = Lifetime { refresh: Refresh::Never, ..lifetime(7 * DAY) };
        let mut state = created(never, Some(30 * MINUTE));
        assert_eq!(load(&mut state, never, start() + 10 * MINUTE), Some(true));
        assert_eq!(state.expires_at, start() + 7 * DAY, "one idle timeout after it was created");
        assert_eq!(load(&mut state, never, start() + 10 * MINUTE), Some(false));
    }

    #[test]
    fn a_cookie_is_renewed_before_browsers_drop_it() {
        let long = 800 * DAY;
        for lifetime in [
            Lifetime { absolute_timeout: Some(long), ..lifetime(long) },
            Lifetime { refresh: Refresh::Never, ..lifetime(long) },
        ] {
            let mut state = created(lifetime, None);
            let renewed = (1..400).filter(|day| load(&mut state, lifetime, start() + *day * DAY) == Some(true));
            assert_eq!(renewed.count(), 13);
            assert_eq!(state.expires_at, start() + long, "and its end stays");
        }
    }
}
