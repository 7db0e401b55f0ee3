//! The servers that are compared.

use crate::http::Client;
use crate::redis::{Redis, free_port};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

/// A library, and how its server is started.
pub struct Peer {
    pub name: &'static str,
    /// The packages whose versions the table names.
    pub packages: &'static [&'static str],
    pub settings: &'static str,
    program: &'static [&'static str],
    more: &'static [&'static str],
}

pub const PEERS: [Peer; 5] = [
    Peer {
        name: "multi-process-session",
        packages: &["multi-process-session", "tiny_http"],
        settings: "16 threads, refresh once a minute (the default)",
        program: &["target/release/peer-ours"],
        more: &[],
    },
    Peer {
        name: "multi-process-session, refresh at each load",
        packages: &["multi-process-session", "tiny_http"],
        settings: "16 threads, `Refresh::EveryLoad`",
        program: &["target/release/peer-ours"],
        more: &["each"],
    },
    Peer {
        name: "tower-sessions",
        packages: &["tower-sessions", "tower-sessions-redis-store", "axum"],
        settings: "pool of 6, `OnInactivity` with `with_always_save(true)`",
        program: &["target/release/peer-tower"],
        more: &[],
    },
    Peer {
        name: "actix-session",
        packages: &["actix-session", "actix-web"],
        settings: "2 workers, `TtlExtensionPolicy::OnEveryRequest`",
        program: &["target/release/peer-actix"],
        more: &[],
    },
    Peer {
        name: "express-session",
        packages: &["express-session", "connect-redis", "redis", "express"],
        settings: "2 workers, `rolling: true`",
        program: &["node", "express/server.cjs"],
        more: &[],
    },
];

impl Peer {
    pub fn is_ours(&self) -> bool {
        self.packages[0] == "multi-process-session"
    }
}

pub struct Server {
    pub peer: &'static Peer,
    pub address: String,
    child: Child,
}

impl Server {
    /// Starts the server. Gives `None`, and says so, if it was not built.
    pub fn start(peer: &'static Peer, redis: &Redis) -> Option<Server> {
        if peer.program[0] == "node" && !Path::new("express/node_modules").exists() {
            eprintln!("{} IS LEFT OUT: node and npm are needed", peer.name);
            return None;
        }
        let port = free_port().to_string();
        let child = Command::new(peer.program[0])
            .args(&peer.program[1..])
            .args([&port, &redis.url])
            .args(peer.more)
            .stdout(Stdio::null())
            .spawn()
            .expect("the server was built");
        let server = Server { peer, address: format!("127.0.0.1:{port}"), child };
        for _ in 0..500 {
            if Client::try_new(&server).is_some_and(|mut client| client.get("/bare").status == 200) {
                return Some(server);
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{} does not start", peer.name);
    }

    /// The CPU that the server and its children have used so far.
    pub fn cpu(&self) -> Duration {
        let ticks: u64 = self.processes().iter().filter_map(|process| ticks(*process)).sum();
        // SAFETY: sysconf only reads.
        let in_a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Duration::from_secs_f64(ticks as f64 / in_a_second as f64)
    }

    fn processes(&self) -> Vec<u32> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|id| id.parse().ok()).chain([own]).collect()
    }
}

/// The CPU time of a process in clock ticks: see proc(5).
fn ticks(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?)
}

impl Drop for Server {
    fn drop(&mut self) {
        for process in self.processes() {
            // SAFETY: these are our child and its children.
            unsafe { libc::kill(process as i32, libc::SIGKILL) };
        }
        let _ = self.child.wait();
    }
}
