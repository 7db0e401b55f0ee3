//! Measures what a call costs: its time, and the CPU that this process and Redis spend on it.
//!
//! Other work on the machine disturbs every measurement. So cases are compared only within a round, in which each case
//! runs for a short slice, one after the other. Over several rounds, the median of the ratios counts.

use super::place::Place;
use super::redis::{Redis, run};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use redis::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

/// How many calls a thread makes before the slice begins: they open its connection.
const WARM_UP: usize = 20;

/// Makes one call.
pub type Call<'a> = Box<dyn FnMut() + 'a>;

/// The mean costs of the calls of one slice, in microseconds a call.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The time of the slice, divided by the calls of all threads. With 16 threads, one call takes about 16 times as
    /// long.
    pub time: f64,
    pub client_cpu: f64,
    /// 0 without a Redis.
    pub redis_cpu: f64,
}

impl Cost {
    /// The CPU of both sides.
    pub fn cpu(&self) -> f64 {
        self.client_cpu + self.redis_cpu
    }
}

/// Reads the clocks of this process, and of the Redis servers that it uses.
pub struct Meter {
    servers: Vec<Connection>,
}

/// The clocks at one moment, in microseconds.
struct Clocks {
    time: Instant,
    client_cpu: f64,
    redis_cpu: f64,
}

impl Meter {
    pub fn of(place: &Place) -> Meter {
        match place {
            Place::Redis(redis) => Meter::of_redis(redis),
            Place::Sqlite(_) => Meter { servers: Vec::new() },
            Place::Cluster(cluster) => {
                Meter { servers: cluster.nodes.iter().map(|node| node.redis.connect()).collect() }
            }
        }
    }

    pub fn of_redis(redis: &Redis) -> Meter {
        Meter { servers: vec![redis.connect()] }
    }

    /// Measures a slice: each thread makes this number of calls.
    ///
    /// Each thread prepares its calls by `prepare`, which is told how many of them there will be. That is not measured.
    pub fn measure<'a>(&mut self, threads: usize, calls: usize, prepare: &(dyn Fn(usize) -> Call<'a> + Sync)) -> Cost {
        let meet = &Barrier::new(threads + 1);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(move || work(meet, calls, || prepare(calls + WARM_UP)));
            }
            meet.wait(); // Every thread is ready.
            let before = self.clocks();
            meet.wait(); // The calls begin.
            meet.wait(); // They are done.
            let after = self.clocks();
            meet.wait(); // The threads may end.
            before.until(&after, threads * calls)
        })
    }

    fn clocks(&mut self) -> Clocks {
        Clocks {
            redis_cpu: self.servers.iter_mut().map(cpu_of_redis).sum(),
            client_cpu: cpu_of_this_process(),
            time: Instant::now(),
        }
    }
}

impl Clocks {
    fn until(&self, later: &Clocks, calls: usize) -> Cost {
        let of_a_call = |micros: f64| micros / calls as f64;
        Cost {
            time: of_a_call((later.time - self.time).as_secs_f64() * 1e6),
            client_cpu: of_a_call(later.client_cpu - self.client_cpu),
            redis_cpu: of_a_call(later.redis_cpu - self.redis_cpu),
        }
    }
}

/// Does the work of one thread. A thread that panics still meets the others, which would wait for it for ever.
fn work<'a>(meet: &Barrier, calls: usize, prepare: impl FnOnce() -> Call<'a>) {
    let prepared = catch_unwind(AssertUnwindSafe(|| repeat(WARM_UP, prepare())));
    meet.wait();
    meet.wait();
    let worked = prepared.and_then(|call| catch_unwind(AssertUnwindSafe(|| repeat(calls, call))));
    meet.wait();
    meet.wait();
    if let Err(panic) = worked {
        resume_unwind(panic);
    }
}

fn repeat(times: usize, mut call: Call<'_>) -> Call<'_> {
    (0..times).for_each(|_| call());
    call
}

fn cpu_of_this_process() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("Linux");
    (usage.user_time() + usage.system_time()).num_microseconds() as f64
}

fn cpu_of_redis(connection: &mut Connection) -> f64 {
    let info: String = run(connection, &["INFO", "cpu"]);
    let seconds = |line: &str| {
        let (name, seconds) = line.trim_end().split_once(':')?;
        ["used_cpu_sys", "used_cpu_user"].contains(&name).then(|| seconds.parse::<f64>().expect("a number"))
    };
    info.lines().filter_map(seconds).sum::<f64>() * 1e6
}

// ---- medians ----

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the median of the ratios of two cases, whose costs were measured in the same rounds.
pub fn median_ratio(costs: &[Cost], beside: &[Cost], part: fn(&Cost) -> f64) -> f64 {
    median(costs.iter().zip(beside).map(|(cost, beside)| part(cost) / part(beside)))
}
