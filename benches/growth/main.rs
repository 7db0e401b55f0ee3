//! Measures how costs grow: with the number of sessions, the size of a group, the size of a session and the number of
//! processes. It also measures how many bytes a session takes in Redis.
//!
//! `cargo bench --all-features --bench growth` prints ratios, each of them the median of several rounds, and at the end
//! which aims are met. It fills a Redis and a SQLite file with a million sessions each, mostly with copies.
//! `-- sessions=100000` makes fewer.

#![allow(missing_docs)]

mod bytes;
mod compare;
mod processes;
mod sessions;
#[path = "../support/mod.rs"]
mod support;

use bytes::bytes;
use compare::{Side, compare};
use multi_process_session::SessionManager;
use processes::many_processes;
use sessions::{create, fill, fill_fast, manager, small_values, values_of};
use std::time::Instant;
use support::aim::Aims;
use support::place::Place;
use support::{argument, pick};

fn main() {
    let mut aims = Aims::default();
    for (store, start) in [("Redis", Place::redis as fn() -> Place), ("SQLite", Place::sqlite)] {
        many_sessions(store, start, &mut aims);
        let place = start();
        let manager = manager(&place);
        large_group(store, &place, &manager);
        large_sessions(store, &place, &manager);
        many_processes(store, &manager);
    }
    bytes(&mut aims);
    aims.print();
}

/// Compares a store that holds many sessions with one that holds few.
fn many_sessions(store: &str, start: fn() -> Place, aims: &mut Aims) {
    let (few, many) = (pick(1_000, 100), argument("sessions").unwrap_or(pick(1_000_000, 1_000)));
    let (place_of_few, place_of_many) = (start(), start());
    let managers = [manager(&place_of_few), manager(&place_of_many)];
    let begin = Instant::now();
    let few_sessions = Side::new(&place_of_few, &managers[0], fill(&managers[0], few));
    // There are enough cookies to use each session only once in a measurement. So no session is in the processor's
    // caches.
    let many_sessions = Side::new(&place_of_many, &managers[1], fill_fast(&place_of_many, &managers[1], many));
    println!("\n{store}: {many} sessions beside {few} (made in {:.0?})", begin.elapsed());
    let cpu = compare("load", &few_sessions, &many_sessions, Side::loads);
    compare("save", &few_sessions, &many_sessions, Side::saves);
    aims.add(&format!("{store}, a load with {many} sessions beside {few}: CPU"), cpu, 1.1);
}

/// Compares a session in a large group with the only session of a group.
fn large_group(store: &str, place: &Place, manager: &SessionManager) {
    let members = pick(10_000, 100);
    println!("\n{store}: {members} sessions in a group beside 1");
    let only = Side::new(place, manager, vec![create(manager, &small_values(), Some("small"))]);
    let headers: Vec<_> = (0..members).map(|_| create(manager, &small_values(), Some("large"))).collect();
    let one_of_many = Side::new(place, manager, vec![headers[members / 2].clone()]);
    compare("load", &only, &one_of_many, Side::loads);
    compare("save", &only, &one_of_many, Side::saves);
    compare("login and logout", &only, &one_of_many, Side::logins_and_logouts);
}

/// Compares large sessions with one of five small values. A save changes one small value.
fn large_sessions(store: &str, place: &Place, manager: &SessionManager) {
    let sessions = |values: &Vec<(String, String)>| Side::new(place, manager, vec![create(manager, values, None)]);
    let small = sessions(&small_values());
    let large_value = ("large".to_owned(), "x".repeat(100 << 10));
    for (what, large) in [
        ("500 values", sessions(&values_of(500, 10))),
        ("a value of 100 KiB and 5 small ones", sessions(&[small_values(), vec![large_value]].concat())),
    ] {
        println!("\n{store}: {what} beside 5 small ones");
        compare("load", &small, &large, Side::loads);
        compare("save of a small change", &small, &large, Side::saves);
    }
}
