//! Compares the SQLite store with Redis over a unix socket, in one run and by turns.
//!
//! `cargo bench --all-features --bench stores` prints three things: the medians of a load and of a save by one process;
//! how many requests 1, 4 and 8 forked processes make in a second, with 9 loads for each save; and the times of saves
//! when 4 processes only save.

#![allow(missing_docs)]

mod support;

use multi_process_session::SessionManager;
use std::time::{Duration, Instant};
use support::fork::child;
use support::is_measured;
use support::place::Place;
use support::{manager, session_with};

const VALUES: [(&str, &str); 5] =
    [("user", "ada"), ("name", "Ada Lovelace"), ("cart", "three apples"), ("theme", "dark"), ("language", "en")];
const SECOND: Duration = Duration::from_secs(1);

fn main() {
    let (redis, sqlite) = (Place::redis(), Place::sqlite());
    alone(&redis, &sqlite);
    for processes in [1, 4, 8] {
        for (name, place) in [("Redis", &redis), ("SQLite", &sqlite)] {
            let mut times = together(place, processes, 10);
            println!(
                "{processes} processes, 90 % loads, {name}: {} requests a second, save p50 {:?}, p99 {:?}",
                times.requests,
                percentile(&mut times.saves, 50),
                percentile(&mut times.saves, 99),
            );
        }
    }
    for (name, place) in [("Redis", &redis), ("SQLite", &sqlite)] {
        let mut times = together(place, 4, 1);
        let [half, most, worst] = [50, 99, 100].map(|percent| percentile(&mut times.saves, percent));
        println!(
            "4 processes, saves only, {name}: {} a second, p50 {half:?}, p99 {most:?}, max {worst:?}",
            times.requests
        );
    }
}

/// Measures one process: the library on both stores by turns, and the bare SQL statement of a load.
fn alone(redis: &Place, sqlite: &Place) {
    let managers = [redis, sqlite].map(|place| manager(&place.url()));
    let headers = [0, 1].map(|number| session_with(&managers[number], &VALUES));
    let connection = rusqlite::Connection::open(sqlite.url().strip_prefix("sqlite://").unwrap()).unwrap();
    let mut bare = connection
        .prepare("SELECT sessions.*, key, value FROM sessions JOIN session_values ON session = serial WHERE id = ?1")
        .unwrap();
    let id: Vec<u8> = connection.query_row("SELECT id FROM sessions", [], |row| row.get(0)).unwrap();
    let (mut loads, mut saves) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut bare_loads = Vec::new();
    // The stores take turns in blocks of 100 calls, because a processor that has just waited for Redis is slow at
    // first.
    for block in 0..if is_measured() { 200 } else { 2 } {
        for number in [0, 1] {
            let mut session = managers[number].load(&headers[number]).unwrap();
            for count in 0..100 {
                let start = Instant::now();
                drop(managers[number].load(&headers[number]).unwrap());
                loads[number].push(start.elapsed());
                session.set("count", &(block * 100 + count)).unwrap();
                let start = Instant::now();
                let _ = session.save().unwrap();
                saves[number].push(start.elapsed());
            }
        }
        for _ in 0..100 {
            let start = Instant::now();
            let mut rows = bare.query([&id]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let _: (String, String) = (row.get("key").unwrap(), row.get("value").unwrap());
            }
            bare_loads.push(start.elapsed());
        }
    }
    for (what, [redis, sqlite]) in [("load of 5 values", &mut loads), ("save of one change", &mut saves)] {
        let (redis, sqlite) = (percentile(redis, 50), percentile(sqlite, 50));
        let ratio = redis.as_secs_f64() / sqlite.as_secs_f64();
        println!("{what}: Redis {redis:?}, SQLite {sqlite:?}, {ratio:.1} times as fast");
    }
    println!("the bare SELECT of 5 values: {:?}", percentile(&mut bare_loads, 50));
}

struct Times {
    requests: usize,
    saves: Vec<Duration>,
}

/// Runs forked processes for a second. One request in `of` saves, and the others load.
fn together(place: &Place, processes: usize, of: usize) -> Times {
    let manager = manager(&place.url());
    let guard = manager.before_fork();
    let children: Vec<_> = (0..processes).map(|_| child(|| work(&manager, of))).collect();
    drop(guard);
    let mut times = Times { requests: 0, saves: Vec::new() };
    for said in children.into_iter().map(support::fork::Child::join) {
        let mut numbers = said.split(' ').map(|number| number.parse::<u64>().unwrap());
        times.requests += numbers.next().unwrap() as usize;
        times.saves.extend(numbers.map(Duration::from_nanos));
    }
    times
}

fn work(manager: &SessionManager, of: usize) -> String {
    let header = session_with(manager, &VALUES);
    let (mut requests, mut said) = (0, String::new());
    let mut session = manager.load(&header).unwrap();
    let start = Instant::now();
    let time = if is_measured() { SECOND } else { SECOND / 10 };
    while start.elapsed() < time {
        requests += 1;
        if requests % of > 0 {
            session = manager.load(&header).unwrap();
            continue;
        }
        session.set("count", &requests).unwrap();
        let start = Instant::now();
        let _ = session.save().unwrap();
        said += &format!(" {}", start.elapsed().as_nanos());
    }
    format!("{requests}{said}")
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
