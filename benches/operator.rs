//! Measures the program `mps` on a store with many sessions: how fast it counts, lists and copies, how much memory it
//! takes, and how much longer the loads of another process take while it runs than while it is stopped.
//!
//! `cargo bench --all-features --bench operator` fills a SQLite file and a Redis with 10,000 sessions each, and
//! `-- sessions=1000000` with more. `-- cluster=1` copies into a cluster too. `-- apart=1` gives the program and the
//! targets of its copies a core of their own, as on another machine. Then only the store makes loads wait.

#![allow(missing_docs)]

#[allow(dead_code, unreachable_pub)] // it uses a part of it
#[path = "../tests/it/operators/mps.rs"]
mod mps;
mod support;

use mps::command;
use multi_process_session::store::{Call, Deadline, GroupKey, Located, Maintenance, Restored, Scan, open};
use multi_process_session::{PublicId, SessionManager};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::place::Place;
use support::{VALUES, argument, builder, cookie, is_alive, is_measured, pick};

/// How many sessions other processes use meanwhile.
const IN_USE: usize = 1_000;

// With `apart=1`, the core of the application and its store, and that of the program and its target.
const APPLICATION: usize = 0;
const PROGRAM: usize = 1;

fn main() {
    let sessions = argument("sessions").unwrap_or(pick(10_000, 200));
    let this_process = Pid::from_raw(0);
    move_to(PROGRAM, this_process);
    let redis = Filled::new(Place::redis(), 0);
    move_to(APPLICATION, this_process);
    let sqlite = Filled::new(Place::sqlite(), sessions);
    sqlite.measure("SQLite: count", &["count"]);
    sqlite.measure("SQLite: list", &["list"]);
    sqlite.measure("SQLite to Redis: copy", &["copy", "--to", &redis.place.url()]);
    sqlite.measure("SQLite to Redis: copy again", &["copy", "--to", &redis.place.url(), "--delete"]);
    let redis = Filled { cookies: sqlite.cookies.clone(), sessions, ..redis };
    if let Place::Redis(server) = &redis.place {
        move_to(APPLICATION, server.pid());
    }
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
        let mut child = nice(&command(&self.place.url(), arguments)).stdout(Stdio::null()).spawn().unwrap();
        let program = Pid::from_raw(child.id() as i32);
        move_to(PROGRAM, program);
        let done = &AtomicBool::new(false);
        let (memory, [(beside, took), (alone, _)]) = thread::scope(|scope| {
            let loader = scope.spawn(|| self.load_with_and_without(program, done));
            let memory = peak_memory(&mut child);
            done.store(true, Ordering::Relaxed);
            (memory, loader.join().unwrap())
        });
        if is_measured() {
            println!(
                "{what}: {:.2} s, {:.0} sessions a second, {:.1} MiB; p99 of a load {beside:.0} us, alone {alone:.0} \
                 us: {:.2} x",
                took.as_secs_f64(),
                self.sessions as f64 / took.as_secs_f64(),
                memory as f64 / 1024.0,
                beside / alone,
            );
        }
    }

    /// Loads sessions, as a server in use does, until the program has ended. The program is stopped half of the time,
    /// by turns, so that what else happens on the machine affects both halves alike. Returns two results, while the
    /// program runs and while it is stopped: the time that 99 of 100 loads take at most, in microseconds, and for how
    /// long it was so.
    fn load_with_and_without(&self, program: Pid, done: &AtomicBool) -> [(f64, Duration); 2] {
        let mut halves = [(Vec::new(), Duration::ZERO), (Vec::new(), Duration::ZERO)];
        let mut cookies = self.cookies.iter().cycle();
        for is_stopped in [false, true].into_iter().cycle() {
            // The program may have ended.
            let _ = kill(program, if is_stopped { Signal::SIGSTOP } else { Signal::SIGCONT });
            let (times, whole) = &mut halves[usize::from(is_stopped)];
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(100) && !done.load(Ordering::Relaxed) {
                let begun = Instant::now();
                assert!(is_alive(&self.manager, cookies.next().unwrap()));
                times.push(begun.elapsed().as_secs_f64() * 1e6);
                thread::sleep(Duration::from_micros(500));
            }
            *whole += began.elapsed();
            if done.load(Ordering::Relaxed) {
                break;
            }
        }
        halves.map(|(mut times, whole)| {
            times.sort_by(f64::total_cmp);
            (times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN), whole)
        })
    }
}

/// Returns the command with the lowest priority for the processor, as the guide advises on a machine with other work.
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

/// Lets a process run only on this core, if `apart=1` asks for it.
fn move_to(core: usize, process: Pid) {
    if argument("apart").is_some() {
        let mut cores = CpuSet::new();
        cores.set(core).unwrap();
        sched_setaffinity(process, &cores).unwrap();
    }
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
    let (mut sessions, mut next) = (Vec::new(), Some(None));
    while let Some(from) = next {
        let page = store.scan(&Scan { namespace: "mps", with_values: true, from: from.as_ref() }, &call()).unwrap();
        sessions.extend(page.sessions);
        next = page.next.map(Some);
    }
    let (members, alone): (Vec<_>, Vec<_>) = sessions.iter().partition(|(at, _)| at.tag.is_some());
    for (number, template) in (0..number).map(|number| (number, [&alone, &members][number % 2])) {
        let mut id = [0; 18];
        id[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let (at, record) = template[number / 2 % template.len()];
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
