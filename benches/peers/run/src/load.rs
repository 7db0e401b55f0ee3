//! Load: connections that ask for a page as fast as they are answered.

use crate::http::Client;
use crate::redis::Redis;
use crate::server::Server;
use std::thread;
use std::time::{Duration, Instant};

/// What a slice of load cost.
pub struct Load {
    pub requests_a_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// CPU of the server and of Redis for one request, in microseconds.
    pub server_cpu: f64,
    pub redis_cpu: f64,
}

impl Load {
    /// Asks for a page on so many connections at once, each with a session of its own. If the path ends with a `=`, a
    /// new value is appended for each request.
    pub fn run(server: &Server, redis: &Redis, path: &str, connections: usize, slice: Duration) -> Load {
        let mut clients: Vec<Client> = (0..connections).map(|_| Client::logged_in(server)).collect();
        let (server_before, redis_before, start) = (server.cpu(), redis.cpu(), Instant::now());
        let mut times: Vec<Duration> = thread::scope(|scope| {
            let running: Vec<_> =
                clients.iter_mut().map(|client| scope.spawn(move || ask(client, path, start + slice))).collect();
            running.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        let elapsed = start.elapsed();
        let of_a_request = |cpu: Duration| cpu.as_secs_f64() * 1e6 / times.len() as f64;
        let (server_cpu, redis_cpu) =
            (of_a_request(server.cpu() - server_before), of_a_request(redis.cpu() - redis_before));
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        Load {
            requests_a_second: times.len() as f64 / elapsed.as_secs_f64(),
            p50: at(50),
            p99: at(99),
            server_cpu,
            redis_cpu,
        }
    }
}

fn ask(client: &mut Client, path: &str, end: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    while Instant::now() < end {
        let path = if path.ends_with('=') { format!("{path}{}", times.len()) } else { path.to_owned() };
        let start = Instant::now();
        assert_eq!(client.get(&path).status, 200);
        times.push(start.elapsed());
    }
    times
}
