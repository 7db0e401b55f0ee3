//! Measures how long the largest calls keep Redis from answering other clients: calls on groups of a million sessions,
//! and on sessions as large as the default settings allow.
//!
//! `cargo bench --all-features --bench stall` prints for each call how long it took, how long its longest script took,
//! and how long another client waited for the answer to a `PING` at most. `-- members=100000` makes smaller groups, and
//! `-- --test` tries all of it with a few sessions.

#![allow(missing_docs)]

mod support;

use multi_process_session::{Session, SessionManager};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use support::is_measured;
use support::redis::Redis;
use support::{builder, cookie};

/// The default limits.
const KEYS: usize = 1_000;
const BYTES: usize = 1 << 20;

/// A client that pings all the time.
struct Pinger {
    longest: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pinger {
    fn start(redis: &Redis) -> Pinger {
        let (longest, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut connection = redis.connect();
        let thread = thread::spawn({
            let (longest, stop) = (longest.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    redis::cmd("PING").exec(&mut connection).expect("the server answers");
                    longest.fetch_max(start.elapsed().as_micros() as u64, Ordering::Relaxed);
                    thread::sleep(Duration::from_micros(500));
                }
            }
        });
        Pinger { longest, stop, thread: Some(thread) }
    }
}

impl Drop for Pinger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Bench {
    /// Ends before the server does.
    pinger: Pinger,
    redis: Redis,
    manager: SessionManager,
    members: usize,
    is_test: bool,
}

/// What a group is filled with.
#[derive(Clone, Copy, PartialEq)]
enum Fill {
    Live,
    Expired,
    /// Live, and Redis has evicted the order of joining.
    Disordered,
}

impl Bench {
    fn limited(&self, max_sessions: usize) -> SessionManager {
        builder(&self.redis.url()).max_sessions_per_group(max_sessions).build().unwrap()
    }

    fn measure<R>(&self, what: &str, work: impl FnOnce() -> R) -> R {
        self.redis.run::<()>(&["SLOWLOG", "RESET"]);
        self.redis.run::<()>(&["CONFIG", "RESETSTAT"]);
        thread::sleep(Duration::from_millis(20));
        self.pinger.longest.store(0, Ordering::Relaxed);
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        thread::sleep(Duration::from_millis(20));
        let slow: Vec<Vec<redis::Value>> = self.redis.run(&["SLOWLOG", "GET", "10000"]);
        let micros = |entry: &Vec<redis::Value>| match entry[2] {
            redis::Value::Int(micros) => micros,
            _ => 0,
        };
        let longest = Duration::from_micros(slow.iter().map(micros).max().unwrap_or(0).unsigned_abs());
        let too_long = slow.iter().filter(|entry| micros(entry) > 20_000).count();
        let commands = self.redis.run::<String>(&["INFO", "commandstats"]);
        let scripts = commands.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap_or_default();
        let waited = Duration::from_micros(self.pinger.longest.load(Ordering::Relaxed));
        if !self.is_test {
            println!(
                "{what}: {took:.1?}, longest command {longest:.1?}, {too_long} took over 20 ms; another client waited \
                 {waited:.1?} at most; {scripts}"
            );
        }
        result
    }

    /// Makes a group of `members` members, directly in Redis. The members have no records.
    fn fill(&self, fill: Fill) {
        self.redis.run::<()>(&["FLUSHALL", "SYNC"]);
        login(&self.manager);
        let members = self.redis.keys().into_iter().find(|key| key.ends_with('}')).expect("there is a group");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as usize;
        let mut connection = self.redis.connect();
        for first in (0..self.members).step_by(20_000) {
            let (mut by_expiry, mut by_joining) = (redis::cmd("ZADD"), redis::cmd("ZADD"));
            by_expiry.arg(&members);
            by_joining.arg(format!("{members}:joined"));
            for number in first..(first + 20_000).min(self.members) {
                let expires = if fill == Fill::Expired { now - 5_000 } else { now + 3_600_000 + number };
                by_expiry.arg(expires).arg(format!("{number:024}"));
                by_joining.arg((now - 5_000) * 1_000 - number).arg(format!("{number:024}"));
            }
            by_expiry.exec(&mut connection).unwrap();
            by_joining.exec(&mut connection).unwrap();
        }
        if fill == Fill::Disordered {
            self.redis.run::<i64>(&["DEL", &format!("{members}:joined")]);
        }
    }

    fn groups(&self) {
        let (manager, group, members) = (&self.manager, self.manager.group("ada"), self.members);
        self.fill(Fill::Expired);
        self.measure(&format!("login, {members} members have expired"), || login(manager));
        self.fill(Fill::Live);
        self.measure(&format!("login, {members} members are alive"), || login(manager));
        self.measure("len", || group.len().unwrap());
        self.measure("sessions", || group.sessions().unwrap().len());
        for limit in [5, 1_000, 2_000] {
            self.fill(Fill::Live);
            let limited = self.limited(limit);
            self.measure(&format!("login, at most {limit} from now on"), || login(&limited));
        }
        self.fill(Fill::Disordered);
        self.measure("login after the order of joining was evicted", || login(manager));
        let limited = self.limited(5);
        self.measure("login after the order of joining was evicted, at most 5", || login(&limited));
        self.fill(Fill::Live);
        self.measure("clear", || group.clear().unwrap());
        self.fill(Fill::Live);
        let session = manager.load(&login(manager)).unwrap();
        self.measure("clear_except", || group.clear_except(&session).unwrap());
        self.measure("destroy_every_session", || manager.destroy_every_session().unwrap());
    }

    /// Measures calls on sessions with the largest number of keys, and with short and long keys.
    fn sessions(&self) {
        self.redis.run::<()>(&["FLUSHALL", "SYNC"]);
        let keys = if self.is_test { 20 } else { KEYS };
        for key_bytes in [8, 1_000] {
            let names: Vec<String> = (0..2 * keys).map(|number| format!("{number:0key_bytes$}")).collect();
            let (first, second) = names.split_at(keys);
            let about = |what: &str| format!("{what}, {keys} keys of {key_bytes} bytes");
            let change = |what: &str, header: &str, change: &dyn Fn(&mut Session)| {
                let mut session = self.measure(&about("load"), || self.manager.load(header).unwrap());
                change(&mut session);
                let set_cookie = self.measure(&about(what), || session.save().unwrap());
                set_cookie.map_or_else(|| header.to_owned(), |set_cookie| cookie(&set_cookie))
            };
            let mut session = self.manager.load(None).unwrap();
            first.iter().for_each(|name| session.set(name, &1).unwrap());
            let header = self.measure(&about("create"), || cookie(&session.save().unwrap().unwrap()));
            change("set all", &header, &|session| first.iter().for_each(|name| session.set(name, &2).unwrap()));
            change("increment all", &header, &|session| {
                first.iter().for_each(|name| session.increment(name, i64::MAX / 2).unwrap());
            });
            change("remove all and increment others", &header, &|session| {
                first.iter().for_each(|name| _ = session.remove(name));
                second.iter().for_each(|name| session.increment(name, 1).unwrap());
            });
            let header = change("log in", &header, &|session| session.set_group_name("bob"));
            let header = change("renew the id", &header, &|session| session.regenerate());
            change("clear", &header, &|session| session.clear());
            self.measure(&about("destroy"), || drop(self.manager.destroy(&header).unwrap()));
        }
    }

    /// Measures calls on a group of many sessions of the largest size.
    fn large_group(&self) {
        self.redis.run::<()>(&["FLUSHALL", "SYNC"]);
        let (sessions, bytes) = if self.is_test { (5, 1_000) } else { (500, BYTES - 100) };
        let large = |manager: &SessionManager| {
            let mut session = manager.load(None).unwrap();
            session.set("device", &"x".repeat(bytes)).unwrap();
            session.set_group_name("ada");
            cookie(&session.save().unwrap().unwrap())
        };
        for _ in 1..sessions {
            large(&self.manager);
        }
        let header = self.measure("create a session of 1 MB", || large(&self.manager));
        self.measure("load a session of 1 MB", || self.manager.load(&header).unwrap());
        let group = self.manager.group("ada");
        self.measure(&format!("list {sessions} sessions of 1 MB"), || group.sessions_with(&["device"]).unwrap().len());
        self.measure(&format!("clear {sessions} sessions of 1 MB"), || group.clear().unwrap());
    }
}

fn login(manager: &SessionManager) -> String {
    let mut session = manager.load(None).unwrap();
    session.set("device", "phone").unwrap();
    session.set_group_name("ada");
    cookie(&session.save().unwrap().unwrap())
}

fn main() {
    let is_test = !is_measured();
    let members = std::env::args().find_map(|argument| argument.strip_prefix("members=")?.parse().ok());
    let redis = Redis::start_with(&["--slowlog-log-slower-than", "500", "--slowlog-max-len", "10000"]);
    let bench = Bench {
        pinger: Pinger::start(&redis),
        manager: builder(&redis.url()).operation_timeout(Duration::from_secs(60)).build().unwrap(),
        redis,
        members: members.unwrap_or(if is_test { 3_000 } else { 1_000_000 }),
        is_test,
    };
    bench.groups();
    bench.sessions();
    bench.large_group();
}
