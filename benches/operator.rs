//! Measures the program `mps` on a store with many sessions: how fast it counts, lists and copies, how much memory it
//! takes, and how much longer the loads of another process take meanwhile.
//!
//! `cargo bench --all-features --bench operator` fills a SQLite file and a Redis with 10,000 sessions each, and
//! `-- sessions=1000000` with more. `-- cluster=1` copies into a cluster too.

#![allow(missing_docs)]

#[allow(dead_code, unreachable_pub)] // it uses a part of it
#[path = "../tests/it/operators/mps.rs"]
mod mps;
mod support;

use mps::command;
use multi_process_session::store::{Call, Deadline, GroupKey, Located, Maintenance, Restored, Scan, open};
use multi_process_session::{PublicId, SessionManager};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::place::Place;
use support::{VALUES, argument, builder, cookie, is_alive, is_measured, pick};

/// How many sessions other processes use meanwhile.
const IN_USE: usize = 1_000;

fn main() {
    let sessions = argument("sessions").unwrap_or(pick(10_000, 200));
    let sqlite = Filled::new(Place::sqlite(), sessions);
    let redis = Filled::new(Place::redis(), 0);
    sqlite.measure("SQLite: count", &["count"]);
    sqlite.measure("SQLite: list", &["list"]);
    sqlite.measure("SQLite to Redis: copy", &["copy", "--to", &redis.place.url()]);
    sqlite.measure("SQLite to Redis: copy again", &["copy", "--to", &redis.place.url(), "--delete"]);
    let redis = Filled { cookies: sqlite.cookies.clone(), sessions, ..redis };
    redis.measure("Redis: count", &["count"]);
    redis.measure("Redis: list", &["list"]);
    let back = Place::sqlite();
    redis.measure("Redis to SQLite: copy", &["copy", "--to", &back.url()]);
    if argument("cluster").is_some() {
        let cluster = Filled::new(Place::cluster(), 0);
        sqlite.measure("SQLite to a cluster: copy", &["copy", "--to", &cluster.place.url()]);
        let cluster = Filled { cookies: sqlite.cookies.clone(), sessions, ..cluster };
        cluster.measure("cluster: count", &["count"]);
        assert!(cluster.cookies.iter().all(|cookie| is_alive(&cluster.manager, cookie)));
    }
    let [redis, back] = [&redis.manager, &builder(&back.url()).build().unwrap()];
    assert!(sqlite.cookies.iter().all(|cookie| is_alive(redis, cookie) && is_alive(back, cookie)));
}

struct Filled {
    place: Place,
    manager: SessionManager,
    /// The cookies of the sessions that are in use.
    cookies: Vec<String>,
    sessions: usize,
}

impl Filled {
    /// Fills a store with this number of sessions, most of them copies of one of them.
    fn new(place: Place, sessions: usize) -> Filled {
        let manager = builder(&place.url()).pool_size(2).build().unwrap();
        let cookies: Vec<String> = (0..sessions.min(IN_USE)).map(|number| create(&manager, number)).collect();
        manager.ping().unwrap();
        if sessions > cookies.len() {
            let begun = Instant::now();
            add_copies(&*open(&place.url(), 2, Duration::from_secs(60)).unwrap(), sessions - cookies.len());
            println!("{sessions} sessions were made in {:.0?}", begun.elapsed());
        }
        Filled { place, manager, cookies, sessions }
    }

    /// Runs the program while this process loads sessions, and prints what both of them took.
    fn measure(&self, what: &str, arguments: &[&str]) {
        let alone = self.loads(|| thread::sleep(Duration::from_secs(pick(2, 0) as u64)));
        let mut memory = 0;
        let begun = Instant::now();
        let beside = self.loads(|| {
            let mut child = nice(&command(&self.place.url(), arguments)).stdout(Stdio::null()).spawn().unwrap();
            memory = peak_memory(&mut child);
        });
        let took = begun.elapsed().as_secs_f64();
        if is_measured() {
            println!(
                "{what}: {took:.2} s, {:.0} sessions a second, {:.1} MiB; p99 of a load {:.0} us, alone {:.0} us: \
                 {:.2} x",
                self.sessions as f64 / took,
                memory as f64 / 1024.0,
                beside,
                alone,
                beside / alone,
            );
        }
    }

    /// Loads sessions while `work` runs, as a server in use does, and gives the time that 99 of 100 loads take at most,
    /// in microseconds.
    fn loads(&self, work: impl FnOnce()) -> f64 {
        let done = &AtomicBool::new(false);
        thread::scope(|scope| {
            let loader = scope.spawn(move || {
                let mut times = Vec::new();
                for cookie in self.cookies.iter().cycle() {
                    let begun = Instant::now();
                    assert!(is_alive(&self.manager, cookie));
                    times.push(begun.elapsed().as_secs_f64() * 1e6);
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    thread::sleep(Duration::from_micros(500));
                }
                times.sort_by(f64::total_cmp);
                times[times.len() * 99 / 100]
            });
            work();
            done.store(true, Ordering::Relaxed);
            loader.join().unwrap()
        })
    }
}

/// Gives the command with the lowest priority for the processor, as the guide advises on a machine with other work.
/// `-- nice=0` leaves the priority as it is.
fn nice(command: &Command) -> Command {
    let mut nice = Command::new("nice");
    nice.args(["-n", &argument("nice").unwrap_or(19).to_string()]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => nice.env(name, value),
            None => nice.env_remove(name),
        };
    }
    nice
}

fn create(manager: &SessionManager, number: usize) -> String {
    let mut session = manager.load(None).unwrap();
    for (key, value) in VALUES {
        session.set(key, value).unwrap();
    }
    if number % 2 == 1 {
        session.set_group_name(&format!("user {}", number / 4));
    }
    cookie(&session.save().unwrap().unwrap())
}

/// Adds copies of the sessions that are there, under ids of their own, and half of them in groups of two. Nobody has a
/// cookie for them.
fn add_copies(store: &dyn Maintenance, number: usize) {
    let call = || Call::until(Deadline::after(Duration::from_secs(60))).unwrap();
    let page = store.scan(&Scan { namespace: "mps", with_values: true, from: None }, &call()).unwrap();
    let (members, alone): (Vec<_>, Vec<_>) = page.sessions.iter().partition(|(at, _)| at.tag.is_some());
    for (number, template) in (0..number).map(|number| (number, [&alone, &members][number % 2])) {
        let mut id = [0; 18];
        id[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let (at, record) = template[number % template.len()];
        let mut record = record.clone();
        record.group_name = at.tag.map(|_| format!("copy {}", number / 4));
        let tag = record.group_name.as_deref().map(|name| GroupKey::named("mps", name).tag);
        let key = Located { id: PublicId::from_bytes(id), tag };
        assert_eq!(store.restore(&key.key("mps"), &record, &call()).unwrap(), Restored::Created);
    }
}

/// Waits for the end of the program, and gives the most memory that it had, in KiB.
fn peak_memory(child: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return peak;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
