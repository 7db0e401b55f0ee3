//! A Redis server for the comparison.

use crate::server::free_address;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// It is killed when dropped.
pub struct Redis {
    child: Child,
    address: SocketAddr,
    control: BufReader<TcpStream>,
}

impl Redis {
    /// Starts a server that keeps nothing on disk.
    pub fn start() -> Redis {
        let address = free_address();
        let mut child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server does not start ({error}): install it, version 6.2 or later"));
        let deadline = Instant::now() + Duration::from_secs(20);
        let control = loop {
            if let Ok(stream) = TcpStream::connect(address) {
                break BufReader::new(stream);
            }
            let has_ended = child.try_wait().is_ok_and(|status| status.is_some());
            assert!(!has_ended && Instant::now() < deadline, "redis-server does not answer");
            thread::sleep(Duration::from_millis(20));
        };
        Redis { child, address, control }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn process(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub fn version(&mut self) -> String {
        self.info("redis_version")
    }

    /// Returns how many times the server has read commands, this question included.
    pub fn reads(&mut self) -> u64 {
        self.info("total_reads_processed").parse().expect("a number")
    }

    /// Does something while the server is stopped: it accepts connections and commands, and answers nothing.
    pub fn while_silent<T>(&self, work: impl FnOnce() -> T) -> T {
        kill(self.process(), Signal::SIGSTOP).expect("the server runs");
        let result = work();
        kill(self.process(), Signal::SIGCONT).expect("the server runs");
        result
    }

    fn info(&mut self, field: &str) -> String {
        self.control.get_mut().write_all(b"INFO\r\n").expect("Redis takes commands");
        let mut length = String::new();
        self.control.read_line(&mut length).expect("Redis answers");
        let length: usize = length.trim_start_matches('$').trim().parse().expect("a text");
        let mut text = vec![0; length + 2];
        self.control.read_exact(&mut text).expect("Redis answers");
        let text = String::from_utf8(text).expect("it is UTF-8");
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("this Redis does not tell {field}: version 6.2 or later is needed")).to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
