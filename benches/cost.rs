//! Measures what each call costs this process and Redis, beside a bare `GET` in the same run.
//!
//! `cargo bench --all-features --bench cost` starts a Redis of its own, and calls it over a unix socket and over TCP,
//! with 1, 4 and 16 threads. It prints for each call how many of them are made in a second, how much CPU one of them
//! costs on both sides, and the ratios to the bare `GET`. Every figure is the median of several rounds. At the end, it
//! says which aims are met. `-- rounds=25` measures for longer.

#![allow(missing_docs)]

mod support;

use multi_process_session::{Session, SessionManager};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use support::aim::Aims;
use support::bare::Bare;
use support::meter::{Call, Cost, Meter, median, median_ratio};
use support::ports::free_port;
use support::processor::{pin, pin_this_thread};
use support::redis::Redis;
use support::{VALUES, argument, builder_with_own_timeouts, cookie, pick, session_with};

const THREADS: [usize; 3] = [1, 4, 16];
/// The size of each of the two pools: as many connections as the most threads, so no thread waits.
const CONNECTIONS: u32 = 16;
/// The calls of all threads in one slice.
const CALLS: usize = 960;

const BARE: &str = "bare GET";
const TWO_TRIPS: &str = "bare GET, then EXPIRE";

/// A kind of call.
struct Case {
    name: &'static str,
    /// Prepares one thread for this number of calls, and gives the function that makes one call.
    prepare: for<'a> fn(&'a Server, usize) -> Call<'a>,
}

const CASES: [Case; 15] = [
    Case { name: BARE, prepare: |server, _| Box::new(|| server.bare.get()) },
    Case { name: TWO_TRIPS, prepare: |server, _| Box::new(|| server.bare.get_and_expire()) },
    Case { name: "load", prepare: |server, _| server.load(server.visitor()) },
    Case { name: "load, in a group", prepare: |server, _| server.load(server.user()) },
    Case { name: "save", prepare: |server, _| server.save(server.visitor()) },
    Case { name: "save, in a group", prepare: |server, _| server.save(server.user()) },
    Case { name: "load + save", prepare: |server, _| server.load_and_save(server.visitor()) },
    Case { name: "load + save, in a group", prepare: |server, _| server.load_and_save(server.user()) },
    Case { name: "login of a new session", prepare: |server, calls| server.login(calls, Server::new_session) },
    Case { name: "login of a stored session", prepare: |server, calls| server.login(calls, Server::stored_session) },
    Case { name: "logout", prepare: |server, calls| server.logout(calls, Server::visitor) },
    Case { name: "logout, in a group", prepare: |server, calls| server.logout(calls, Server::user) },
    Case { name: "anonymous", prepare: |server, _| server.load_nothing(None) },
    Case { name: "forged cookie", prepare: |server, _| server.load_nothing(Some(forged(&server.visitor()))) },
    // Shows how far a ratio can be trusted.
    Case { name: "bare GET once more", prepare: |server, _| Box::new(|| server.bare.get()) },
];

/// An aim: what a call costs beside a bare call.
struct Aim {
    threads: usize,
    what: &'static str,
    part: fn(&Cost) -> f64,
    call: &'static str,
    beside: &'static str,
    at_most: f64,
}

const AIMS: [Aim; 5] = [
    Aim { threads: 16, what: "Redis CPU", part: redis_cpu, call: "load", beside: BARE, at_most: 1.3 },
    Aim { threads: 16, what: "client CPU", part: client_cpu, call: "load", beside: BARE, at_most: 1.5 },
    Aim { threads: 16, what: "Redis CPU", part: redis_cpu, call: "save", beside: BARE, at_most: 2.3 },
    Aim { threads: 16, what: "client CPU", part: client_cpu, call: "save", beside: BARE, at_most: 1.5 },
    Aim { threads: 1, what: "latency", part: time, call: "load + save", beside: TWO_TRIPS, at_most: 1.15 },
];

fn main() {
    let port = free_port().to_string();
    let redis = Redis::start_with(&["--port", &port, "--bind", "127.0.0.1"]);
    let mut aims = Aims::default();
    for (transport, url) in [("unix socket", redis.url()), ("TCP", format!("redis://127.0.0.1:{port}"))] {
        let server = Server::new(&url);
        let mut figures = Figures::default();
        for threads in THREADS {
            server.measure(&redis, threads, &mut figures);
            figures.print(transport, threads);
        }
        figures.judge(transport, &mut aims);
    }
    aims.print();
}

/// The ways to call Redis over one transport.
struct Server {
    bare: Bare,
    manager: SessionManager,
    users: AtomicU64,
}

impl Server {
    fn new(url: &str) -> Server {
        let manager = builder_with_own_timeouts(url).pool_size(CONNECTIONS).build().unwrap();
        Server { bare: Bare::new(url, CONNECTIONS), manager, users: AtomicU64::new(0) }
    }

    /// Measures all cases by turns. Each slice begins with an empty Redis. A single thread and Redis have a processor
    /// each, as in most deployments.
    fn measure(&self, redis: &Redis, threads: usize, figures: &mut Figures) {
        let _pinned = (threads == 1).then(|| [pin_this_thread(0), pin(redis.pid(), 1)]);
        let mut meter = Meter::of_redis(redis);
        let (rounds, calls) = (argument("rounds").unwrap_or(pick(9, 1)), pick(CALLS, 64));
        for _ in 0..rounds {
            for Case { name, prepare } in &CASES {
                redis.run::<()>(&["FLUSHALL", "SYNC"]);
                self.bare.set();
                let cost = meter.measure(threads, calls / threads, &|calls| prepare(self, calls));
                figures.add(threads, name, cost);
            }
        }
    }

    // ---- sessions ----

    /// Makes a session without a group, and gives its `Cookie` header. The session was loaded once, because the first
    /// load is a refresh.
    fn visitor(&self) -> String {
        let header = session_with(&self.manager, &VALUES);
        drop(self.manager.load(&header).unwrap());
        header
    }

    /// Like `visitor`, for the only session of a user.
    fn user(&self) -> String {
        let mut session = self.new_session();
        session.set_group_name(&self.new_user());
        let header = cookie(&session.save().unwrap().unwrap());
        drop(self.manager.load(&header).unwrap());
        header
    }

    fn new_session(&self) -> Session {
        let mut session = self.manager.load(None).unwrap();
        VALUES.iter().for_each(|(key, value)| session.set(key, value).unwrap());
        session
    }

    fn stored_session(&self) -> Session {
        self.manager.load(&self.visitor()).unwrap()
    }

    fn new_user(&self) -> String {
        format!("user {}", self.users.fetch_add(1, Ordering::Relaxed))
    }

    // ---- calls ----

    fn load(&self, header: String) -> Call<'_> {
        Box::new(move || assert!(!black_box(self.manager.load(&header).unwrap()).is_new()))
    }

    /// Saves a session that was loaded before.
    fn save(&self, header: String) -> Call<'_> {
        let mut session = self.manager.load(&header).unwrap();
        let mut number = 0;
        Box::new(move || {
            number += 1;
            set_and_save(&mut session, number);
        })
    }

    fn load_and_save(&self, header: String) -> Call<'_> {
        let mut number = 0;
        Box::new(move || {
            number += 1;
            set_and_save(&mut self.manager.load(&header).unwrap(), number);
        })
    }

    /// Logs a user in, in each of these sessions.
    fn login(&self, calls: usize, session: fn(&Server) -> Session) -> Call<'_> {
        let mut sessions: Vec<_> = (0..calls).map(|_| (session(self), self.new_user())).collect();
        Box::new(move || {
            let (mut session, user) = sessions.pop().unwrap();
            session.set_group_name(&user);
            assert!(session.save().unwrap().is_some());
        })
    }

    /// These sessions end within a minute of their creation, so each of them leaves a trace. Most sessions live longer
    /// and leave none.
    fn logout(&self, calls: usize, session: fn(&Server) -> String) -> Call<'_> {
        let mut headers: Vec<_> = (0..calls).map(|_| session(self)).collect();
        Box::new(move || drop(black_box(self.manager.destroy(&headers.pop().unwrap()).unwrap())))
    }

    /// Loads without a cookie, or with one that is worth nothing.
    fn load_nothing(&self, header: Option<String>) -> Call<'_> {
        Box::new(move || assert!(black_box(self.manager.load(header.as_deref()).unwrap()).is_new()))
    }
}

fn set_and_save(session: &mut Session, number: u64) {
    session.set("changed", &number).unwrap();
    let _ = session.save().unwrap();
}

/// Changes the last character of a cookie.
fn forged(header: &str) -> String {
    let (rest, last) = header.split_at(header.len() - 1);
    format!("{rest}{}", if last == "A" { "B" } else { "A" })
}

// ---- figures ----

/// The costs of each call in each round, by the number of threads and the name of the call.
#[derive(Default)]
struct Figures {
    costs: BTreeMap<(usize, String), Vec<Cost>>,
}

impl Figures {
    fn add(&mut self, threads: usize, call: &str, cost: Cost) {
        self.costs.entry((threads, call.to_owned())).or_default().push(cost);
    }

    fn of(&self, threads: usize, call: &str) -> &[Cost] {
        &self.costs[&(threads, call.to_owned())]
    }

    fn print(&self, transport: &str, threads: usize) {
        let title = format!("{transport}, {}", threads_text(threads));
        println!("\n{title:<28} {:>10} {:>21} {:>21}", "calls/s", "client CPU us", "Redis CPU us");
        for Case { name, .. } in &CASES {
            let (costs, bare) = (self.of(threads, name), self.of(threads, BARE));
            let rate = median(costs.iter().map(|cost| 1e6 / cost.time));
            let [client, redis] = [client_cpu, redis_cpu].map(|part| {
                let (micros, ratio) = (median(costs.iter().map(part)), median_ratio(costs, bare, part));
                format!("{micros:>8.1} {ratio:>10.2} x")
            });
            println!("{name:<28} {rate:>10.0} {client:>21} {redis:>21}");
        }
    }

    fn judge(&self, transport: &str, aims: &mut Aims) {
        for Aim { threads, what, part, call, beside, at_most } in &AIMS {
            for call in [String::from(*call), format!("{call}, in a group")] {
                let ratio = median_ratio(self.of(*threads, &call), self.of(*threads, beside), *part);
                let what = format!("{transport}, {}, {call}: {what} beside {beside}", threads_text(*threads));
                aims.add(&what, ratio, *at_most);
            }
        }
    }
}

fn threads_text(threads: usize) -> String {
    if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") }
}

fn time(cost: &Cost) -> f64 {
    cost.time
}

fn client_cpu(cost: &Cost) -> f64 {
    cost.client_cpu
}

fn redis_cpu(cost: &Cost) -> f64 {
    cost.redis_cpu
}
