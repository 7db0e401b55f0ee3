//! The connections of one process, and what becomes of a request when one fails.

use super::connection::Connection;
use super::failure::Failure;
use super::node::Node;
use super::outage::Outage;
use super::target::Target;
use crate::StoreError;
use crate::store::halfway;
use crate::store::metrics::{Counted, Counters};
use crate::store::places::Places;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A connection that was idle for longer is opened anew: the way to the server may have forgotten it.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// How often Sentinels are asked again, and at least so often while none of them answers.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const ASK_AT_LEAST: Duration = Duration::from_secs(5);

pub(super) struct Pool {
    target: Arc<Target>,
    places: Places<Open>,
    counters: Arc<Counters>,
    outage: Outage,
    /// Moves with every failed connection, and when another server becomes the primary: those opened before are not
    /// trusted any more.
    epoch: AtomicU64,
    /// Where the connections of this epoch lead.
    primary: Mutex<Option<Node>>,
    watch: Mutex<Watch>,
}

/// Whether the primary is still the same.
struct Watch {
    /// A connection that is kept to ask.
    sentinel: Option<Connection>,
    asked: Instant,
    /// After how long they are asked again.
    pause: Duration,
}

struct Open {
    connection: Connection,
    epoch: u64,
    last_used: Instant,
}

impl Pool {
    pub(super) fn new(target: Arc<Target>, size: u32, counters: Arc<Counters>) -> Result<Pool, StoreError> {
        Ok(Pool {
            target,
            places: Places::new(size, counters.clone())?,
            counters,
            outage: Outage::default(),
            epoch: AtomicU64::new(0),
            primary: Mutex::new(None),
            watch: Mutex::new(Watch { sentinel: None, asked: Instant::now(), pause: ASK_AGAIN }),
        })
    }

    /// Makes a request, and makes it once more, on a fresh connection, if its connection fails: so it must not matter
    /// whether it is carried out twice.
    pub(super) fn request<R>(
        &self,
        deadline: Instant,
        request: impl Fn(&mut Connection, Instant) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let answer = self.try_twice(deadline, request);
        match &answer {
            Err(Failure::Refused { error, reusable: false }) => self.outage.note_failure(&*self.target, error),
            Ok(_) => self.outage.note_success(&*self.target),
            Err(_) => {}
        }
        answer
    }

    fn try_twice<R>(
        &self,
        deadline: Instant,
        request: impl Fn(&mut Connection, Instant) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        // Too many calls at once are no outage.
        let busy = |error| Failure::Refused { error, reusable: true };
        let mut place = self.places.take(deadline).map_err(busy)?;
        if place.is_some() && self.target.can_move() {
            self.follow(deadline);
        }
        let mut last_try = false;
        loop {
            let (mut open, reused) = match place.take().filter(|open| self.is_trusted(open)) {
                Some(open) => (open, true),
                None => (self.open(deadline)?, false),
            };
            // An idle connection may be dead without a sign. Half of the time is kept for a fresh one.
            let until = if reused { halfway(deadline) } else { deadline };
            self.counters.add(Counted::RoundTrips, 1);
            if last_try {
                self.counters.add(Counted::Retries, 1);
            }
            match request(&mut open.connection, until) {
                Ok(result) => {
                    open.last_used = Instant::now();
                    *place = Some(open);
                    return Ok(result);
                }
                // Nothing was done, or with TooLate even sent: the connection is as good as before.
                Err(
                    failure @ (Failure::Refused { reusable: true, .. } | Failure::Redirected(_) | Failure::TooLate),
                ) => {
                    *place = Some(open);
                    return Err(failure);
                }
                Err(failure @ Failure::Refused { reusable: false, .. }) => {
                    self.distrust(&open);
                    return Err(failure);
                }
                Err(Failure::NotPrimary(error)) => {
                    self.distrust(&open);
                    if last_try || !self.target.can_move() {
                        return Err(Failure::NotPrimary(error));
                    }
                    log::warn!("{} has moved ({error}); looking for it", self.target);
                    last_try = true;
                }
                Err(failure) => {
                    self.distrust(&open);
                    if last_try || until == deadline && failure.is_timeout() {
                        return Err(self.told(failure).into());
                    }
                    let level = if self.outage.is_under_way() { log::Level::Debug } else { log::Level::Warn };
                    log::log!(level, "the connection to {} failed ({failure:?}); trying a fresh one", self.target);
                    last_try = true;
                }
            }
        }
    }

    /// The fault as the caller is told it.
    pub(super) fn told(&self, failure: Failure) -> StoreError {
        failure.into_store_error(&self.target)
    }

    pub(super) fn close_idle(&self) {
        self.places.close_idle();
        lock(&self.watch).sentinel = None;
    }

    fn is_trusted(&self, open: &Open) -> bool {
        open.epoch == self.epoch.load(Ordering::Relaxed) && open.last_used.elapsed() < MAX_IDLE
    }

    /// Of this connection and those of its time.
    fn distrust(&self, open: &Open) {
        // Only the first one of its time to fail moves the epoch.
        let _ = self.epoch.compare_exchange(open.epoch, open.epoch + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn open(&self, deadline: Instant) -> Result<Open, StoreError> {
        let before = self.epoch.load(Ordering::Relaxed);
        let (connection, primary) = self.target.connect(deadline)?;
        self.counters.add(Counted::Connections, 1);
        let epoch = self.note(primary, before);
        Ok(Open { connection, epoch, last_used: Instant::now() })
    }

    /// Notes where a new connection leads, and gives the epoch that it belongs to. If that is a new primary, all
    /// connections to the old one are closed: those idle now, those in use when they come back.
    fn note(&self, primary: Option<Node>, before: u64) -> u64 {
        let mut known = lock(&self.primary);
        // If the epoch has moved meanwhile, another connection may know better. This one is used once.
        if *known == primary || self.epoch.load(Ordering::Relaxed) != before {
            return before;
        }
        let moved = known.is_some();
        *known = primary;
        drop(known);
        if !moved || self.epoch.compare_exchange(before, before + 1, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return before;
        }
        self.places.close_idle();
        before + 1
    }

    /// Asks now and then whether there is another primary by now: the old one may go on for many seconds as if nothing
    /// were, and what it is told then is lost. One call asks, and the others do not wait for it.
    fn follow(&self, deadline: Instant) {
        let Ok(mut watch) = self.watch.try_lock() else { return };
        if watch.asked.elapsed() < watch.pause {
            return;
        }
        // Sentinels that are silent are no reason to fail, nor to be slow again and again.
        let answer = self.target.ask_again(&mut watch.sentinel, halfway(halfway(deadline)));
        watch.asked = Instant::now();
        let named = match answer {
            Ok(named) => {
                if mem::replace(&mut watch.pause, ASK_AGAIN) > ASK_AGAIN {
                    log::warn!("{}: a Sentinel answers again", self.target);
                }
                named
            }
            Err(error) => {
                if watch.pause == ASK_AGAIN {
                    log::warn!(
                        "{} is used on, but no Sentinel says whether it is still the same: {error}",
                        self.target
                    );
                }
                watch.pause = ASK_AT_LEAST.min(watch.pause * 2);
                return;
            }
        };
        let mut known = lock(&self.primary);
        let (Some(new), Some(old)) = (&named, &*known) else { return };
        if new == old {
            return;
        }
        log::warn!("{} is {new} now, and no longer {old}", self.target);
        *known = None;
        watch.sentinel = None;
        self.epoch.fetch_add(1, Ordering::Relaxed);
        drop((known, watch));
        self.places.close_idle();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
