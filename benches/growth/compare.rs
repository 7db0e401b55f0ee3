//! Compares calls on two kinds of sessions.

use crate::sessions::{create, load, save, small_values};
use crate::support::meter::{Call, Cost, Meter, median, median_ratio};
use crate::support::pick;
use crate::support::place::Place;
use crate::support::processor::{pin, pin_this_thread};
use multi_process_session::SessionManager;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Measures calls on two kinds of sessions by turns, all of it on one processor. Returns the CPU of a call on `large`,
/// divided by that of a call on `small`.
pub(crate) fn compare<'a>(
    what: &str,
    small: &'a Side<'a>,
    large: &'a Side<'a>,
    calls: fn(&'a Side<'a>, usize) -> Call<'a>,
) -> f64 {
    let _pinned = pin_this_thread(0);
    let _servers_pinned = [small, large].map(|side| match side.place {
        Place::Redis(redis) => Some(pin(redis.pid(), 0)),
        _ => None,
    });
    let mut costs = [Vec::new(), Vec::new()];
    let mut meters = [small, large].map(|side| Meter::of(side.place));
    for _ in 0..pick(11, 1) {
        for (number, side) in [small, large].into_iter().enumerate() {
            costs[number].push(meters[number].measure(1, pick(400, 20), &|count| calls(side, count)));
        }
    }
    let line = |part: fn(&Cost) -> f64| {
        let [small, large] = costs.each_ref().map(|costs| median(costs.iter().map(part)));
        format!("{small:>6.1} us, {large:>6.1} us: {:.2} x", median_ratio(&costs[1], &costs[0], part))
    };
    println!("  {what:<24} time {}    CPU {}", line(|cost| cost.time), line(Cost::cpu));
    median_ratio(&costs[1], &costs[0], Cost::cpu)
}

/// The sessions of one side of a comparison.
pub(crate) struct Side<'a> {
    place: &'a Place,
    manager: &'a SessionManager,
    /// Their `Cookie` headers.
    headers: Vec<String>,
    position: AtomicUsize,
}

impl<'a> Side<'a> {
    /// Loads each session once, because the first load is a refresh.
    pub(crate) fn new(place: &'a Place, manager: &'a SessionManager, headers: Vec<String>) -> Side<'a> {
        headers.iter().for_each(|header| load(manager, header));
        Side { place, manager, headers, position: AtomicUsize::new(0) }
    }

    /// Returns another header each time. The steps are wide, so that neighbours in the store are not used one after the
    /// other.
    fn next(&self) -> &str {
        const STEP: usize = 7_919; // a prime number, so that every header gets its turn
        &self.headers[self.position.fetch_add(STEP, Ordering::Relaxed) % self.headers.len()]
    }

    pub(crate) fn loads(&'a self, _: usize) -> Call<'a> {
        Box::new(|| load(self.manager, self.next()))
    }

    pub(crate) fn saves(&'a self, calls: usize) -> Call<'a> {
        let mut sessions: Vec<_> = (0..calls).map(|_| self.manager.load(self.next()).unwrap()).collect();
        Box::new(move || save(&mut sessions.pop().unwrap(), sessions.len()))
    }

    /// New sessions join the group, and end again.
    pub(crate) fn logins_and_logouts(&'a self, _: usize) -> Call<'a> {
        let group = self.manager.load(self.next()).unwrap().group_name().unwrap().to_owned();
        Box::new(move || {
            let header = create(self.manager, &small_values(), Some(&group));
            drop(self.manager.destroy(&header).unwrap());
        })
    }
}
