//! A server of a peer, as a process.

use crate::http::Browser;
use nix::unistd::Pid;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// It is killed when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts a server, and waits until it answers.
    pub fn start(mut command: Command, redis: &str) -> Result<Server, String> {
        let address = free_address();
        let command = command.env("PORT", address.port().to_string()).env("REDIS_URL", redis);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.map_err(|error| format!("the server does not start: {error}"))?;
        let mut server = Server { child, address };
        let deadline = Instant::now() + Duration::from_secs(20);
        while Browser::new(address).get("/bare").is_err() {
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!("the server has ended with {status}"));
            }
            if Instant::now() > deadline {
                return Err("the server does not answer".to_owned());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// The process and its children.
    pub fn processes(&self) -> Result<Vec<Pid>, String> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            .map_err(|error| format!("the kernel does not list children (CONFIG_PROC_CHILDREN): {error}"))?;
        let children = children.split_whitespace().map(|child| child.parse().expect("a process id"));
        Ok([pid.cast_signed()].into_iter().chain(children).map(Pid::from_raw).collect())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The workers of Node end by themselves when their parent has gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound")
}
