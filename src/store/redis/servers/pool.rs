//! The connections of one process, and what becomes of a request when one fails.

use crate::deadline::Deadline;
use crate::error::{StoreError, StoreErrorKind};
use crate::random;
use crate::store::process::pool::Places;
use crate::store::redis::servers::health::{Health, Shows};
use crate::store::redis::servers::introduction::introduce;
use crate::store::redis::servers::pace::Pace;
use crate::store::redis::servers::target::Target;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::{Extent, Failure};
use crate::store::redis::wire::node::Node;
use crate::store::stats::{Counted, Counters};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};
use std::{mem, thread};

/// A connection that was idle for longer is opened anew: the way to the server may have forgotten it.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// A connection that was idle for less is as good as in use: it is given all of the time, and not half of it.
const A_MOMENT: Duration = Duration::from_secs(1);
/// How often Sentinels are asked again, and at least so often while none of them answers.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const ASK_AT_LEAST: Duration = Duration::from_secs(5);
/// Between two looks at whether another call has found the primary.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

pub(crate) struct Pool {
    target: Arc<Target>,
    places: Places<Open>,
    size: u32,
    counters: Arc<Counters>,
    health: Health,
    /// Moves with every failed connection, and when another server becomes the primary: those opened before are not
    /// trusted any more.
    epoch: AtomicU64,
    /// Where the connections of this epoch lead.
    primary: Mutex<Option<Node>>,
    watch: Mutex<Watch>,
    /// Held by the call that looks whether a fresh connection leads to a server that refuses less.
    looks: Mutex<Pace>,
    /// Of a server that refuses new connections.
    refused: Mutex<Refused>,
}

/// Why the server refused the last new connection, and how fast others may be opened.
struct Refused {
    error: Option<(StoreErrorKind, String)>,
    pace: Pace,
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
    /// From then on it is not used any more.
    expires: Instant,
}

impl Pool {
    pub(crate) fn new(target: Arc<Target>, size: u32, counters: Arc<Counters>) -> Result<Pool, StoreError> {
        Ok(Pool {
            target,
            places: Places::new(size, counters.clone())?,
            size,
            counters,
            health: Health::default(),
            epoch: AtomicU64::new(0),
            primary: Mutex::new(None),
            watch: Mutex::new(Watch { sentinel: None, asked: Instant::now(), pause: ASK_AGAIN }),
            looks: Mutex::new(Pace::new()),
            refused: Mutex::new(Refused { error: None, pace: Pace::new() }),
        })
    }

    /// Makes a request of which nobody but the caller makes anything: see `request`.
    pub(crate) fn ask<R>(
        &self,
        shows: &Cell<Shows>,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<R, Failure>,
    ) -> Result<R, StoreError> {
        self.request(shows, deadline, request).map_err(|failure| {
            let was_redirected = matches!(failure, Failure::Redirected(_));
            let error = self.told(failure);
            if was_redirected {
                // A node of a cluster, which is not followed here, refuses whatever is not its own.
                let extent = Failure::Refused { error, extent: Extent::All };
                self.health.note_failure(&*self.target, &extent, shows.get());
                return self.told(extent);
            }
            error
        })
    }

    /// Makes a request, and makes it once more, on a fresh connection, if its connection fails: so it must not matter
    /// whether it is carried out twice. `shows` is what an answer would show about the server; `request` may correct it.
    pub(crate) fn request<R>(
        &self,
        shows: &Cell<Shows>,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let answer = self.try_twice(deadline, request);
        match &answer {
            Ok(_) => self.health.note_success(&*self.target, shows.get()),
            Err(failure) => self.health.note_failure(&*self.target, failure, shows.get()),
        }
        answer
    }

    fn try_twice<R>(
        &self,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        // Too many calls at once are no outage.
        let mut place = self.places.take(deadline).map_err(Failure::of_this)?;
        if place.is_some() && self.target.can_move() {
            self.follow(deadline);
        }
        let mut last_try = false;
        let mut look: Option<Look<'_>> = None;
        loop {
            let (mut open, idle) = match place.take().filter(|open| self.is_trusted(open)) {
                Some(open) => {
                    let idle = open.last_used.elapsed();
                    (open, Some(idle))
                }
                None => (self.open(deadline)?, None),
            };
            // A connection that was idle may be dead without a sign. Half of the time is kept for a fresh one.
            let was_idle = idle.is_some_and(|idle| idle >= A_MOMENT);
            let until = if was_idle { deadline.halfway() } else { deadline };
            self.counters.add(Counted::RoundTrips, 1);
            if last_try {
                self.counters.add(Counted::Retries, 1);
            }
            match request(&mut open.connection, until) {
                Ok(result) => {
                    if let Some(Look { epoch, extent, .. }) = look {
                        self.note_better(&mut open, epoch, &extent);
                    }
                    open.last_used = Instant::now();
                    *place = Some(open);
                    return Ok(result);
                }
                Err(Failure::NotPrimary(error)) if self.target.can_move() => {
                    self.distrust(&open);
                    if last_try {
                        return Err(Failure::NotPrimary(error));
                    }
                    log::warn!("{} has moved ({error}); looking for it", self.target);
                    last_try = true;
                }
                Err(Failure::NotPrimary(error)) => {
                    // The address may lead to another server by now. If not, this connection is as good as a fresh one.
                    let new_look = if last_try { None } else { self.look(open.epoch, deadline) };
                    let Some(pace) = new_look else {
                        *place = Some(open);
                        // The first extent may say that a change was made before it came.
                        return Err(Failure::NotPrimary(look.map_or(error, |look| look.extent)));
                    };
                    look = Some(Look { epoch: open.epoch, extent: error, _pace: pace });
                    last_try = true;
                }
                Err(failure @ Failure::Refused { extent: Extent::Connection, .. }) => {
                    // Another connection may lead to a server that is ready; but not each call needs to find out.
                    if self.target.can_move() {
                        self.distrust(&open);
                    } else if !self.looks.try_lock().is_ok_and(|mut looks| looks.allows(Instant::now())) {
                        *place = Some(open);
                    }
                    return Err(failure);
                }
                // Nothing was done, or with TooLate even sent: the connection is as good as before.
                Err(failure @ (Failure::Refused { .. } | Failure::Redirected(_) | Failure::TooLate)) => {
                    *place = Some(open);
                    return Err(failure);
                }
                Err(failure) => {
                    // Servers close what is idle for long, and that says nothing of other connections.
                    let closed_idle = was_idle && failure.is_closed();
                    if !closed_idle {
                        self.distrust(&open);
                    }
                    if last_try || until == deadline && failure.is_timeout() {
                        return Err(self.told(failure).into());
                    }
                    let is_news = !closed_idle && !self.health.is_out();
                    let level = if is_news { log::Level::Warn } else { log::Level::Debug };
                    log::log!(level, "the connection to {} failed ({failure:?}); trying a fresh one", self.target);
                    last_try = true;
                }
            }
        }
    }

    /// Whether a call that was refused by a replica, on a connection of this epoch, may try a fresh connection. One call
    /// does so at a time, a few times a second; the others wait for what it finds.
    fn look(&self, epoch: u64, deadline: Deadline) -> Option<Option<MutexGuard<'_, Pace>>> {
        loop {
            if self.epoch.load(Ordering::Relaxed) != epoch {
                return Some(None);
            }
            let mut pace = match self.looks.try_lock() {
                Ok(pace) => pace,
                Err(TryLockError::Poisoned(pace)) => pace.into_inner(),
                Err(TryLockError::WouldBlock) if deadline.has_passed() => return None,
                Err(TryLockError::WouldBlock) => {
                    thread::sleep(LOOK_AGAIN);
                    continue;
                }
            };
            return pace.allows(Instant::now()).then_some(Some(pace));
        }
    }

    /// A fresh connection does what one of this epoch refused: the address leads to another server by now. All connections
    /// to the old one are closed.
    fn note_better(&self, open: &mut Open, epoch: u64, extent: &StoreError) {
        if self.epoch.compare_exchange(epoch, epoch + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            open.epoch = epoch + 1;
            self.places.close_idle();
            log::warn!("{} leads to another server by now; the last one refused ({extent})", self.target);
        }
    }

    /// Whether these servers are needed still: of those that are not, the log is not told.
    pub(crate) fn note_whether_needed(&self, is_needed: bool) {
        if is_needed {
            self.health.resume();
        } else {
            self.health.retire(&*self.target, "it is not a primary of the cluster any more");
        }
    }

    /// The fault as the caller is told it.
    pub(crate) fn told(&self, failure: Failure) -> StoreError {
        failure.into_store_error(&self.target)
    }

    pub(crate) fn close_idle(&self) {
        self.places.close_idle();
        lock(&self.watch).sentinel = None;
    }

    fn is_trusted(&self, open: &Open) -> bool {
        let now = Instant::now();
        let is_worn = now >= open.expires || now.saturating_duration_since(open.last_used) >= MAX_IDLE;
        open.epoch == self.epoch.load(Ordering::Relaxed) && !is_worn
    }

    /// Of this connection and those of its time.
    fn distrust(&self, open: &Open) {
        // Only the first one of its time to fail moves the epoch.
        let _ = self.epoch.compare_exchange(open.epoch, open.epoch + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn open(&self, deadline: Deadline) -> Result<Open, Failure> {
        self.is_refused_still().map_err(Failure::from)?;
        let before = self.epoch.load(Ordering::Relaxed);
        let (mut connection, primary) = self.connect(deadline)?;
        let is_first = self.counters.add(Counted::Connections, 1) == 0;
        if is_first
            && log::log_enabled!(log::Level::Warn)
            && introduce(&self.target, &mut connection, self.size, deadline.halfway()).is_err()
        {
            // Something in between does not understand the questions.
            connection = self.connect(deadline)?.0;
        }
        let (epoch, now) = (self.note(primary, before), Instant::now());
        Ok(Open { connection, epoch, last_used: now, expires: now + self.lifetime() })
    }

    fn connect(&self, deadline: Deadline) -> Result<(Connection, Option<Node>), Failure> {
        let mut refused = None;
        let answer = self.target.connect(deadline).map_err(|failure| {
            let answered = matches!(failure, Failure::Refused { .. }) && !self.target.can_move();
            let error = self.told(failure);
            if answered || error.kind() == StoreErrorKind::Rejected {
                refused = Some((error.kind(), error.to_string()));
            }
            error.into()
        });
        lock(&self.refused).error = refused;
        answer
    }

    /// If the server refused the last new connection (a wrong password, too many clients), it is asked again a few times a
    /// second and not with each call; the others get the same error.
    fn is_refused_still(&self) -> Result<(), StoreError> {
        let Refused { error, pace } = &mut *lock(&self.refused);
        match error {
            Some((kind, message)) if !pace.allows(Instant::now()) => Err(StoreError::new(*kind, message.as_str())),
            _ => Ok(()),
        }
    }

    /// Of a new connection: a little shorter than it may be, by chance, so that not all are opened anew at once.
    fn lifetime(&self) -> Duration {
        let [chance] = random::bytes().unwrap_or([0]);
        let most = self.target.max_lifetime();
        most - most / 5 * u32::from(chance) / 255
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
    fn follow(&self, deadline: Deadline) {
        let Ok(mut watch) = self.watch.try_lock() else { return };
        if watch.asked.elapsed() < watch.pause {
            return;
        }
        // Sentinels that are silent are no reason to fail, nor to be slow again and again.
        let answer = self.target.ask_again(&mut watch.sentinel, deadline.halfway().halfway());
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

/// A fresh connection that is tried, because one of this epoch refused.
struct Look<'a> {
    epoch: u64,
    extent: StoreError,
    /// Keeps others from looking too.
    _pace: Option<MutexGuard<'a, Pace>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
