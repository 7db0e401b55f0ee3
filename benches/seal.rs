//! Measures what sealing adds to each value: CPU of this process and of Redis, and bytes of fields and values in Redis.
//!
//! `cargo bench --all-features --bench seal` starts a Redis of its own. Sessions of 20 values are read whole, and
//! written whole, with plain values and with sealed ones, in turns. Every figure is the median of several rounds.

#![allow(missing_docs)]

mod support;

use multi_process_session::SessionManager;
use std::hint::black_box;
use support::meter::{Call, Meter, median};
use support::redis::{Redis, record_key};
use support::{builder, cookie, pick};

/// The values of a session.
const VALUES: usize = 20;
/// The sizes of the texts, in bytes.
const SIZES: [usize; 3] = [20, 100, 1000];
/// The calls whose costs are measured together.
const CALLS: usize = 300;

/// The CPU time that sealing may add to one value.
const MOST_MICROSECONDS: f64 = 5.0;
/// The bytes that sealing may add to one value in Redis: 29, and the value's share of the data key.
const MOST_BYTES: f64 = 48.0;

fn main() {
    let redis = Redis::start();
    let plain = builder(&redis.url()).build().unwrap();
    let sealing = builder(&redis.url()).seal_values().build().unwrap();
    let mut meter = Meter::of_redis(&redis);
    println!("What sealing adds to each of {VALUES} values");
    for size in SIZES {
        let headers = [&plain, &sealing].map(|manager| session(manager, size));
        for (what, prepare) in [("read", reads as Prepare), ("written", writes)] {
            let mut added = Vec::new();
            for _ in 0..pick(15, 1) {
                let mut cost = |manager: &SessionManager, header: &str| {
                    meter.measure(1, pick(CALLS, 2), &|_| prepare(manager, header, size)).cpu()
                };
                let costs = [cost(&plain, &headers[0]), cost(&sealing, &headers[1])];
                added.push((costs[1] - costs[0]) / VALUES as f64);
            }
            let added = median(added);
            println!(
                "{size:>5} bytes, {what:<8} {added:>6.2} µs   (aim {MOST_MICROSECONDS} µs: {})",
                is_met(added, MOST_MICROSECONDS)
            );
        }
        let bytes = |manager: &SessionManager, header: &str| {
            let record = redis.record(&record_key(manager, header));
            record.iter().map(|(field, value)| field.len() + value.len()).sum::<usize>() as f64
        };
        let added = (bytes(&sealing, &headers[1]) - bytes(&plain, &headers[0])) / VALUES as f64;
        println!(
            "{size:>5} bytes, kept     {added:>6.1} bytes, with its part of the data key (aim {MOST_BYTES}: {})",
            is_met(added, MOST_BYTES)
        );
    }
}

type Prepare = for<'a> fn(&'a SessionManager, &'a str, usize) -> Call<'a>;

fn is_met(added: f64, at_most: f64) -> &'static str {
    if added <= at_most { "met" } else { "NOT met" }
}

fn session(manager: &SessionManager, size: usize) -> String {
    let mut session = manager.load(None).unwrap();
    for key in keys() {
        session.set(&key, &"x".repeat(size)).unwrap();
    }
    cookie(&session.save().unwrap().unwrap())
}

fn keys() -> Vec<String> {
    (0..VALUES).map(|number| format!("value{number}")).collect()
}

/// Reads all values of a session.
fn reads<'a>(manager: &'a SessionManager, header: &'a str, _: usize) -> Call<'a> {
    let keys = keys();
    Box::new(move || {
        let session = manager.load(header).unwrap();
        for key in &keys {
            black_box(session.get::<String>(key).unwrap().unwrap());
        }
    })
}

/// Writes all values of a session.
fn writes<'a>(manager: &'a SessionManager, header: &'a str, size: usize) -> Call<'a> {
    let (keys, value) = (keys(), "y".repeat(size));
    Box::new(move || {
        let mut session = manager.load(header).unwrap();
        for key in &keys {
            session.set(key, &value).unwrap();
        }
        session.save().unwrap();
    })
}
