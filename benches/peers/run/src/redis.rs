//! A Redis of its own, and what it tells of its work.

use crate::http::Client;
use crate::server::Server;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

pub struct Redis {
    child: Child,
    client: redis::Client,
    pub url: String,
    _folder: TempDir,
}

/// Gives a port that nobody uses.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket").port()
}

impl Redis {
    pub fn start() -> Redis {
        let (folder, port) = (tempfile::tempdir().expect("a temporary folder"), free_port().to_string());
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let url = format!("redis://127.0.0.1:{port}");
        let client = redis::Client::open(&*url).expect("a URL");
        while client.get_connection().is_err() {
            thread::sleep(Duration::from_millis(20));
        }
        Redis { child, client, url, _folder: folder }
    }

    fn info(&self, section: &str, name: &str) -> f64 {
        let text = self.info_text(section);
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.trim().parse().ok()).expect("a number")
    }

    fn info_text(&self, section: &str) -> String {
        let mut connection = self.client.get_connection().expect("Redis is there");
        redis::cmd("INFO").arg(section).query(&mut connection).expect("INFO")
    }

    pub fn version(&self) -> String {
        let text = self.info_text("server");
        text.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("?").to_owned()
    }

    /// The CPU that it has used so far.
    pub fn cpu(&self) -> Duration {
        Duration::from_secs_f64(self.info("cpu", "used_cpu_user") + self.info("cpu", "used_cpu_sys"))
    }

    /// How many round trips to Redis a request makes. With one request at a time, each round trip is one read of Redis.
    pub fn round_trips(&self, server: &Server, path: &str) -> f64 {
        const REQUESTS: u32 = 50;
        let mut client = Client::logged_in(server);
        client.get(path);
        let reads = || self.info("stats", "total_reads_processed");
        // Asking is read too.
        let before = reads();
        let of_asking = reads() - before;
        let before = reads();
        for _ in 0..REQUESTS {
            client.get(path);
        }
        thread::sleep(Duration::from_millis(300));
        ((reads() - before - of_asking) / f64::from(REQUESTS) * 10.0).round() / 10.0
    }

    pub fn send(&self, signal: i32) {
        // SAFETY: the process is our child and has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
