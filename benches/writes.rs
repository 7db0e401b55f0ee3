//! Measures threads and processes that only write to one SQLite file.
//!
//! `cargo bench --all-features --bench writes` prints the medians of several rounds for 1 thread, for 16 threads of one
//! process, and for 4 processes: writes in a second, the median and the 99th percentile of a write, and the processor
//! time of a write. It compares each round with 1 thread in the same round.

#![allow(missing_docs)]

mod support;

use multi_process_session::SessionManager;
use nix::sys::resource::{UsageWho, getrusage};
use std::thread;
use std::time::{Duration, Instant};
use support::fork::children;
use support::is_measured;
use support::sqlite::Sqlite;
use support::{manager, session_with};

const VALUES: [(&str, &str); 5] =
    [("user", "ada"), ("name", "Ada Lovelace"), ("cart", "three apples"), ("theme", "dark"), ("language", "en")];
/// Processes, and the threads of each.
const WRITERS: [(usize, usize); 3] = [(1, 1), (1, 16), (4, 1)];

/// The figures of one slice. Times are in microseconds.
#[derive(Clone, Copy)]
struct Round {
    per_second: f64,
    p50: f64,
    p99: f64,
    /// The processor time of a write.
    cpu: f64,
}

fn main() {
    let (rounds, time) = if is_measured() { (7, Duration::from_secs(1)) } else { (1, Duration::from_millis(20)) };
    let sqlite = Sqlite::new();
    let rounds: Vec<[Round; 3]> = (0..rounds)
        .map(|_| WRITERS.map(|(processes, threads)| round(&sqlite.url(), processes, threads, time)))
        .collect();
    for (number, (processes, threads)) in WRITERS.into_iter().enumerate() {
        let of = |figure: fn(Round) -> f64| median(rounds.iter().map(|round| figure(round[number])));
        let ratios =
            |figure: fn(Round) -> f64| rounds.iter().map(move |round| figure(round[number]) / figure(round[0]));
        let to_one = |figure| median(ratios(figure));
        println!(
            "{processes} processes of {threads} threads: {:.0} writes a second, p50 {:.0} us, p99 {:.0} us, {:.1} us \
             of processor time a write; p99 is {:.1} x p50, processor time {:.2} x that of 1 thread, writes {:.2} x",
            of(|round| round.per_second),
            of(|round| round.p50),
            of(|round| round.p99),
            of(|round| round.cpu),
            of(|round| round.p99 / round.p50),
            to_one(|round| round.cpu),
            to_one(|round| round.per_second),
        );
    }
}

/// Lets threads of several processes write for some time, each to a session of its own.
fn round(url: &str, processes: usize, threads: usize, time: Duration) -> Round {
    let said = children(processes, |_| {
        let manager = manager(url);
        let before = processor_time();
        let times: Vec<u64> = thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| write(&manager, time))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let used = processor_time() - before;
        let times: Vec<String> = times.iter().map(u64::to_string).collect();
        format!("{} {}", used.as_nanos(), times.join(" "))
    });
    let (mut cpu, mut times) = (0, Vec::new());
    for said in said {
        let mut numbers = said.split(' ').map(|number| number.parse::<u64>().unwrap());
        cpu += numbers.next().unwrap();
        times.extend(numbers);
    }
    times.sort();
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    Round {
        per_second: times.len() as f64 / time.as_secs_f64(),
        p50: micros(times[times.len() / 2]),
        p99: micros(times[times.len() * 99 / 100]),
        cpu: micros(cpu) / times.len() as f64,
    }
}

/// Saves a change again and again for some time. Returns the time of each save, in nanoseconds.
fn write(manager: &SessionManager, time: Duration) -> Vec<u64> {
    let mut session = manager.load(&session_with(manager, &VALUES)).unwrap();
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        session.set("count", &times.len()).unwrap();
        let start = Instant::now();
        let _ = session.save().unwrap();
        times.push(start.elapsed().as_nanos() as u64);
    }
    times
}

/// The processor time that this process has used.
fn processor_time() -> Duration {
    let used = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    Duration::from_micros((micros(used.user_time()) + micros(used.system_time())).unsigned_abs())
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
