//! Measures how costs grow: with the number of sessions, the size of a group, the size of a session and the number of
//! processes. It also measures how many bytes a session takes in Redis.
//!
//! `cargo bench --all-features --bench growth` prints ratios, each of them the median of several rounds, and at the end
//! which aims are met. It fills a Redis and a SQLite file with a million sessions each, mostly with copies.
//! `-- sessions=100000` makes fewer.

#![allow(missing_docs)]

mod support;

use multi_process_session::{Refresh, Session, SessionManager};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::aim::Aims;
use support::copies::Copier;
use support::fork::children_of;
use support::meter::{Call, Cost, Meter, median, median_ratio};
use support::place::Place;
use support::processor::{pin, pin_this_thread};
use support::redis::{Redis, run};
use support::{VALUES, argument, builder_with_own_timeouts, cookie, is_measured};

type Values = Vec<(String, String)>;

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

/// Gives the first number if the bench measures, and the second one if it is only tested.
fn number(measured: usize, tested: usize) -> usize {
    if is_measured() { measured } else { tested }
}

// ---- what is compared ----

/// Compares a store that holds many sessions with one that holds few.
fn many_sessions(store: &str, start: fn() -> Place, aims: &mut Aims) {
    let (few, many) = (number(1_000, 100), argument("sessions").unwrap_or(number(1_000_000, 1_000)));
    let (place_of_few, place_of_many) = (start(), start());
    let managers = [manager(&place_of_few), manager(&place_of_many)];
    let begin = Instant::now();
    let few_sessions = Sessions::new(&place_of_few, &managers[0], fill(&managers[0], few));
    // The cookies are enough to measure each session only once. So the processor's caches do not hold it.
    let many_sessions = Sessions::new(&place_of_many, &managers[1], fill_fast(&place_of_many, &managers[1], many));
    println!("\n{store}: {many} sessions beside {few} (made in {:.0?})", begin.elapsed());
    let cpu = compare("load", &few_sessions, &many_sessions, Sessions::loads);
    compare("save", &few_sessions, &many_sessions, Sessions::saves);
    aims.add(&format!("{store}, a load with {many} sessions beside {few}: CPU"), cpu, 1.1);
}

/// Compares a session in a large group with the only session of a group.
fn large_group(store: &str, place: &Place, manager: &SessionManager) {
    let members = number(10_000, 100);
    println!("\n{store}: {members} sessions in a group beside 1");
    let only = Sessions::new(place, manager, vec![create(manager, &small_values(), Some("small"))]);
    let headers = (0..members).map(|_| create(manager, &small_values(), Some("large")));
    let one_of_many = Sessions::new(place, manager, headers.last().into_iter().collect());
    compare("load", &only, &one_of_many, Sessions::loads);
    compare("save", &only, &one_of_many, Sessions::saves);
    compare("login and logout", &only, &one_of_many, Sessions::logins_and_logouts);
}

/// Compares large sessions with one of five small values. A save changes one small value.
fn large_sessions(store: &str, place: &Place, manager: &SessionManager) {
    let sessions = |values: &Values| Sessions::new(place, manager, vec![create(manager, values, None)]);
    let small = sessions(&small_values());
    let large_value = ("large".to_owned(), "x".repeat(100 << 10));
    for (what, large) in [
        ("500 values", sessions(&values_of(500, 10))),
        ("a value of 100 KiB and 5 small ones", sessions(&[small_values(), vec![large_value]].concat())),
    ] {
        println!("\n{store}: {what} beside 5 small ones");
        compare("load", &small, &large, Sessions::loads);
        compare("save of a small change", &small, &large, Sessions::saves);
    }
}

/// Compares how many calls eight processes make in a second, and how many one makes.
fn many_processes(store: &str, manager: &SessionManager) {
    println!("\n{store}: 8 processes beside 1");
    for (what, calls) in [("loads", loads_of as CallsOf), ("saves", saves_of)] {
        let (mut ones, mut eights) = (Vec::new(), Vec::new());
        for _ in 0..number(3, 1) {
            ones.push(calls_a_second(manager, 1, calls));
            eights.push(calls_a_second(manager, 8, calls));
        }
        let ratio = median(eights.iter().zip(&ones).map(|(eight, one)| eight / one));
        println!("  {what:<24} {:.0} a second, {:.0} a second: {ratio:.2} x", median(ones), median(eights));
    }
}

/// Compares what a session takes in Redis with the same values as one JSON string.
fn bytes(aims: &mut Aims) {
    let redis = Redis::start();
    let manager = builder_with_own_timeouts(&redis.url()).build().unwrap();
    println!("\nRedis: bytes of a session, beside the same values as one JSON string");
    for (values_name, values, at_most) in [
        ("5 small values", small_values(), 1.3),
        ("5 values of 100 bytes", values_of(5, 100), 1.5),
        ("5 values of 1,000 bytes", values_of(5, 1_000), 1.5),
    ] {
        for (group_name, group_size) in [("no group", None), ("a group of 1", Some(1)), ("a group of 10", Some(10))] {
            for (age, changes) in [("new", 0), ("changed 40 times", 40)] {
                let (session, json) = bytes_of_a_session(&redis, &manager, &values, group_size, changes);
                let what = format!("{values_name}, {group_name}, {age}");
                println!("  {what:<56} {session:>7.0}, {json:>6.0}: {:.2} x", session / json);
                aims.add(&format!("bytes of a session: {what}"), session / json, at_most);
            }
        }
    }
}

// ---- rounds ----

/// Measures calls on two kinds of sessions by turns, all of it on one processor. Gives how much more CPU the second kind
/// costs.
fn compare<'a>(
    what: &str,
    small: &'a Sessions<'a>,
    large: &'a Sessions<'a>,
    calls: fn(&'a Sessions<'a>, usize) -> Call<'a>,
) -> f64 {
    let _pinned = pin_this_thread(0);
    let _servers_pinned = [small, large].map(|sessions| match sessions.place {
        Place::Redis(redis) => Some(pin(redis.pid(), 0)),
        _ => None,
    });
    let mut costs = [Vec::new(), Vec::new()];
    let mut meters = [small, large].map(|sessions| Meter::of(sessions.place));
    for _ in 0..number(11, 1) {
        for (side, sessions) in [small, large].into_iter().enumerate() {
            costs[side].push(meters[side].measure(1, number(400, 20), &|count| calls(sessions, count)));
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
struct Sessions<'a> {
    place: &'a Place,
    manager: &'a SessionManager,
    /// Their `Cookie` headers.
    headers: Vec<String>,
    calls: AtomicUsize,
}

impl<'a> Sessions<'a> {
    /// Loads each session once, because the first load is a refresh.
    fn new(place: &'a Place, manager: &'a SessionManager, headers: Vec<String>) -> Sessions<'a> {
        headers.iter().for_each(|header| load(manager, header));
        Sessions { place, manager, headers, calls: AtomicUsize::new(0) }
    }

    /// Gives the next header. The steps are wide, so that neighbours in the store are not used one after the other.
    fn next(&self) -> &str {
        const STEP: usize = 7_919; // a prime number, so that every header gets its turn
        &self.headers[self.calls.fetch_add(STEP, Ordering::Relaxed) % self.headers.len()]
    }

    fn loads(&'a self, _: usize) -> Call<'a> {
        Box::new(|| load(self.manager, self.next()))
    }

    fn saves(&'a self, calls: usize) -> Call<'a> {
        let mut sessions: Vec<_> = (0..calls).map(|_| self.manager.load(self.next()).unwrap()).collect();
        Box::new(move || save(&mut sessions.pop().unwrap(), Some(sessions.len())))
    }

    /// New sessions join the group, and end again.
    fn logins_and_logouts(&'a self, _: usize) -> Call<'a> {
        let group = self.manager.load(self.next()).unwrap().group_name().unwrap().to_owned();
        Box::new(move || {
            let header = create(self.manager, &small_values(), Some(&group));
            drop(self.manager.destroy(&header).unwrap());
        })
    }
}

// ---- calls ----

/// Makes the calls of one process on the session of this `Cookie` header.
type CallsOf = for<'a> fn(&'a SessionManager, &'a str) -> Call<'a>;

fn loads_of<'a>(manager: &'a SessionManager, header: &'a str) -> Call<'a> {
    Box::new(|| load(manager, header))
}

fn saves_of<'a>(manager: &'a SessionManager, header: &'a str) -> Call<'a> {
    let mut session = manager.load(header).unwrap();
    let mut numbers = 0..;
    Box::new(move || save(&mut session, numbers.next()))
}

/// Forks processes that call for half a second, each of them on a session of its own.
fn calls_a_second(manager: &SessionManager, processes: usize, calls: CallsOf) -> f64 {
    let time = Duration::from_millis(if is_measured() { 500 } else { 50 });
    let said = children_of(manager, processes, |_| {
        let header = create(manager, &small_values(), None);
        load(manager, &header);
        let mut call = calls(manager, &header);
        let (mut count, start) = (0, Instant::now());
        while start.elapsed() < time {
            call();
            count += 1;
        }
        count.to_string()
    });
    said.iter().map(|count| count.parse::<f64>().unwrap()).sum::<f64>() / time.as_secs_f64()
}

fn load(manager: &SessionManager, header: &str) {
    assert!(!manager.load(header).unwrap().is_new());
}

fn save(session: &mut Session, number: Option<usize>) {
    session.set("changed", &number).unwrap();
    assert!(session.save().unwrap().is_none());
}

// ---- sessions ----

/// Makes a manager whose sessions are not refreshed after their first load, while the bench runs.
fn manager(place: &Place) -> SessionManager {
    builder_with_own_timeouts(&place.url()).refresh(Refresh::After(Duration::from_secs(3600))).build().unwrap()
}

/// Makes sessions of five small values, and gives their `Cookie` headers.
fn fill(manager: &SessionManager, count: usize) -> Vec<String> {
    (0..count).map(|_| create(manager, &small_values(), None)).collect()
}

/// Like `fill`, but most sessions are copies without a cookie. In each thousand, the library makes 25.
fn fill_fast(place: &Place, manager: &SessionManager, count: usize) -> Vec<String> {
    let mut copier = Copier::new(place, manager);
    let mut headers = Vec::new();
    for _ in 0..count / 1_000 {
        headers.extend(fill(manager, 25));
        copier.copy_last(headers.last().unwrap(), 975);
    }
    headers
}

/// Makes a session, and gives its `Cookie` header.
fn create(manager: &SessionManager, values: &[(String, String)], group: Option<&str>) -> String {
    let mut session = manager.load(None).unwrap();
    values.iter().for_each(|(key, value)| session.set(key, value).unwrap());
    group.into_iter().for_each(|group| session.set_group_name(group));
    cookie(&session.save().unwrap().unwrap())
}

fn small_values() -> Values {
    VALUES.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
}

/// Gives so many values of this length.
fn values_of(count: usize, bytes: usize) -> Values {
    (0..count).map(|number| (format!("key-{number}"), "x".repeat(bytes))).collect()
}

// ---- bytes ----

/// Gives the bytes of a session with its share of what its group takes, and those of its values as one JSON string.
fn bytes_of_a_session(
    redis: &Redis,
    manager: &SessionManager,
    values: &[(String, String)],
    group_size: Option<usize>,
    changes: usize,
) -> (f64, f64) {
    redis.run::<()>(&["FLUSHALL", "SYNC"]);
    let sessions = group_size.unwrap_or(1);
    let group = group_size.map(|_| "ada");
    let mut id = String::new();
    for _ in 0..sessions {
        let mut session = manager.load(&create(manager, values, group)).unwrap();
        (0..changes).for_each(|number| change(&mut session, values, number));
        id = session.public_id().to_string();
    }
    let connection = &mut redis.connect();
    let keys: Vec<String> = redis.all_keys().into_iter().filter(|key| !key.contains(":generation")).collect();
    let bytes: usize = keys.iter().map(|key| memory(connection, key)).sum();
    let record = keys.iter().find(|key| key.ends_with(&id)).expect("the session is there");
    (bytes as f64 / sessions as f64, bytes_of_json(connection, record.len(), values) as f64)
}

/// Changes one value to another one of the same length.
fn change(session: &mut Session, values: &[(String, String)], number: usize) {
    let (key, value) = &values[number % values.len()];
    let other = if number / values.len() % 2 == 0 { value.to_uppercase() } else { value.clone() };
    session.set(key, &other).unwrap();
    let _ = session.save().unwrap();
}

/// The bytes of these values as one JSON string that expires, under a key of this length.
fn bytes_of_json(connection: &mut redis::Connection, key_length: usize, values: &[(String, String)]) -> usize {
    let json: serde_json::Map<_, _> = values.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let (key, json) = ("k".repeat(key_length), serde_json::Value::Object(json).to_string());
    run::<()>(connection, &["SET", &key, &json, "EX", "3600"]);
    memory(connection, &key)
}

fn memory(connection: &mut redis::Connection, key: &str) -> usize {
    run(connection, &["MEMORY", "USAGE", key, "SAMPLES", "0"])
}
