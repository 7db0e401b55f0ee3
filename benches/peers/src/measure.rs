//! What a server costs.

use crate::behaviour::Silence;
use crate::cpu;
use crate::load::{self, Route, Visitor};
use crate::redis::Redis;
use crate::server::Server;
use std::time::{Duration, Instant};

/// All that is known of a server in the end.
#[derive(Default)]
pub struct Figures {
    pub rounds: Vec<Round>,
    pub round_trips: RoundTrips,
    /// Whether both of two writes at once were kept, for each try.
    pub kept_both: Vec<bool>,
    /// Whether a logout held while another request ran, for each try.
    pub stayed_out: Vec<bool>,
    /// What came of a request while Redis was silent.
    pub silence: Option<Silence>,
}

/// Round trips to Redis for one request.
#[derive(Default)]
pub struct RoundTrips {
    pub read: f64,
    pub count: f64,
}

pub struct Round {
    pub bare: Sample,
    pub read: Sample,
    pub count: Sample,
}

impl Figures {
    pub fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }
}

/// A figure of a round.
pub type Cost = fn(&Round) -> f64;

/// What the session adds to the bare route, in microseconds of processor time.
impl Round {
    pub fn read_server(&self) -> f64 {
        self.read.server - self.bare.server
    }

    pub fn read_redis(&self) -> f64 {
        self.read.redis - self.bare.redis
    }

    pub fn count_server(&self) -> f64 {
        self.count.server - self.bare.server
    }

    pub fn count_redis(&self) -> f64 {
        self.count.redis - self.bare.redis
    }
}

/// What one route costs under load. Times are in microseconds.
pub struct Sample {
    pub requests_a_second: f64,
    pub p50: f64,
    pub p99: f64,
    /// Processor time of the server for one request.
    pub server: f64,
    /// Processor time of Redis for one request.
    pub redis: f64,
}

pub fn round(server: &Server, visitors: &mut [Visitor], redis: &Redis, time: Duration) -> Result<Round, String> {
    let mut sample = |route| sample(server, route, visitors, redis, time);
    Ok(Round { bare: sample(Route::Bare)?, read: sample(Route::Read)?, count: sample(Route::Count)? })
}

fn sample(
    server: &Server,
    route: Route,
    visitors: &mut [Visitor],
    redis: &Redis,
    time: Duration,
) -> Result<Sample, String> {
    let lanes = load::open(server, route, visitors)?;
    let used = || -> Result<_, String> {
        Ok((cpu::time(&server.processes()?)?, cpu::time(&[redis.process()])?, Instant::now()))
    };
    let (server_before, redis_before, begin) = used()?;
    let latencies = load::run(lanes, time)?;
    let (server_after, redis_after, end) = used()?;
    let requests = latencies.len() as f64;
    Ok(Sample {
        requests_a_second: requests / (end - begin).as_secs_f64(),
        p50: latencies[latencies.len() / 2],
        p99: latencies[latencies.len() * 99 / 100],
        server: (server_after - server_before).as_secs_f64() * 1e6 / requests,
        redis: (redis_after - redis_before).as_secs_f64() * 1e6 / requests,
    })
}

/// Counts round trips, while requests come one at a time. Then each read of Redis's event loop is a round trip: the
/// commands of a pipeline arrive together.
pub fn round_trips(server: &Server, visitors: &mut [Visitor], redis: &mut Redis) -> Result<RoundTrips, String> {
    let mut count = |route: Route| {
        let before = redis.reads();
        for visitor in &mut *visitors {
            let body = visitor.browser(server).get(route.path())?;
            if !visitor.accepts(route, &body) {
                return Err(format!("{}: a wrong answer: {body:?}", route.path()));
            }
        }
        // The second question is a read, too.
        Ok((redis.reads() - before - 1) as f64 / visitors.len() as f64)
    };
    Ok(RoundTrips { read: count(Route::Read)?, count: count(Route::Count)? })
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
