//! Measures a group of 100,000 sessions: joining it, listing it, and ending it at once while another process works on a
//! session of its own.
//!
//! `cargo bench --all-features --bench groups`

#![allow(missing_docs)]

mod support;

use multi_process_session::SessionManager;
use std::time::{Duration, Instant};
use support::fork::{Signals, child};
use support::is_measured;
use support::place::Place;
use support::{builder, cookie, session_with};

fn main() {
    let (sessions, seconds) = if is_measured() { (100_000, 5) } else { (1_000, 1) };
    for (name, place) in [("Redis", Place::redis()), ("SQLite", Place::sqlite())] {
        let manager = builder(&place.url()).operation_timeout(Duration::from_secs(20)).build().unwrap();
        let mut joins: Vec<Duration> = Vec::new();
        let mut last = String::new();
        for _ in 0..sessions {
            let start = Instant::now();
            last = join(&manager);
            joins.push(start.elapsed());
        }
        let first = percentile(&mut joins[..1000].to_vec(), 50);
        let late = percentile(&mut joins[sessions - 1000..].to_vec(), 50);
        println!("{name}: create in a group, median of the first 1,000 {first:?}, of the last {late:?}");
        let group = manager.group("everyone");
        let (time, len) = timed(|| group.len().unwrap());
        let (list_time, listed) = timed(|| group.sessions_with(&["device"]).unwrap().len());
        assert_eq!((len, listed), (sessions, sessions));
        println!("{name}: len {time:?}, sessions_with {list_time:?}");

        let (ready, go) = (Signals::new(), Signals::new());
        let guard = manager.before_fork();
        let other = child(|| {
            let header = session_with(&manager, &[("user", "ada")]);
            let (mut worst, mut count) = (Duration::ZERO, 0);
            ready.send();
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(seconds) {
                let (time, ()) = timed(|| {
                    let mut session = manager.load(&header).unwrap();
                    session.set("count", &count).unwrap();
                    session.save().unwrap();
                });
                count += 1;
                worst = worst.max(time);
                if count == 100 {
                    go.send();
                }
            }
            format!("{count} requests of another process meanwhile, the slowest {worst:?}")
        });
        drop(guard);
        ready.wait();
        go.wait();
        let (time, ended) = timed(|| group.clear().unwrap());
        assert_eq!(ended, sessions as u64);
        assert!(manager.load(&last).unwrap().is_new());
        println!("{name}: clear of {ended} sessions {time:?}; {}", other.join());
    }
}

fn join(manager: &SessionManager) -> String {
    let mut session = manager.load(None).unwrap();
    session.set("device", "a browser").unwrap();
    session.set("cart", "three apples").unwrap();
    session.set_group_name("everyone");
    cookie(&session.save().unwrap().unwrap())
}

fn timed<R>(work: impl FnOnce() -> R) -> (Duration, R) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
