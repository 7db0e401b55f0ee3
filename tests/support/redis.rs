//! A Redis server of the test's own.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The rights that the README says a user needs.
pub fn rights() -> Vec<&'static str> {
    let readme = include_str!("../../README.md");
    let command = readme.lines().find_map(|line| line.trim().strip_prefix("ACL SETUSER sessions on >password "));
    command.expect("the README has it").split(' ').collect()
}

/// A server on a unix socket in a folder of its own; gone when dropped.
pub struct Redis {
    child: Child,
    folder: TempDir,
    options: Vec<String>,
}

impl Redis {
    pub fn start() -> Redis {
        Redis::start_with(&[])
    }

    /// With further options, such as `["--maxmemory", "2mb"]`.
    pub fn start_with(options: &[&str]) -> Redis {
        Redis::start_in(&std::env::temp_dir(), options)
    }

    /// With its folder in this one.
    pub fn start_in(parent: &Path, options: &[&str]) -> Redis {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("mps-{}-", STARTED.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).expect("a temporary folder");
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let redis = Redis { child: Redis::spawn(&folder, &options), folder, options };
        redis.wait_until_ready();
        redis
    }

    fn spawn(folder: &TempDir, options: &[String]) -> Child {
        Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(["--unixsocket", "redis.sock", "--dir", folder.path().to_str().expect("a path of UTF-8")])
            .args(options)
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server does not start ({error}): apt-get install -y redis-server"))
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.try_connect().is_none() {
            assert!(Instant::now() < deadline, "redis-server does not come up");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn try_connect(&self) -> Option<redis::Connection> {
        let mut connection = redis::Client::open(self.url()).ok()?.get_connection().ok()?;
        redis::cmd("PING").exec(&mut connection).ok()?;
        Some(connection)
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id().cast_signed())
    }

    /// Adds the user that the README adds.
    pub fn add_user_of_the_readme(&self) {
        self.run::<()>(&[&["ACL", "SETUSER", "sessions", "on", ">password"], &rights()[..]].concat());
    }

    /// This URL of a server for that user.
    pub fn as_user(url: &str) -> String {
        format!("{url}?user=sessions&pass=password")
    }

    /// A connection past the library, to look at what is really there.
    pub fn connect(&self) -> redis::Connection {
        self.try_connect().expect("the server answers")
    }

    pub fn run<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_run(command).expect("the command works")
    }

    /// The same for a command that may be refused.
    pub fn try_run<T: redis::FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let mut packed = redis::cmd(command[0]);
        packed.arg(&command[1..]);
        packed.query(&mut self.connect())
    }

    /// All keys, apart from what is left for a while of ended sessions and replaced ids, and from those of generations.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = self.all_keys();
        keys.retain(|key| !self.is_left_over(key) && !key.contains(":generation"));
        keys
    }

    pub fn all_keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.run(&["KEYS", "*"]);
        keys.sort();
        keys
    }

    /// Whether a key holds a trace, or where a replaced id leads.
    pub fn is_left_over(&self, key: &str) -> bool {
        let fields = self.try_run::<[Option<String>; 3]>(&["HMGET", key, "v", "t", "f"]);
        matches!(fields, Ok([None, Some(_), _] | [None, _, Some(_)]))
    }

    /// The keys of sessions, apart from those of groups.
    pub fn records(&self) -> Vec<String> {
        self.keys().into_iter().filter(|key| !is_of_group(key)).collect()
    }

    /// The keys of sessions, and those of what is left of them.
    pub fn records_and_left_overs(&self) -> Vec<String> {
        let mut keys = self.all_keys();
        keys.retain(|key| !is_of_group(key) && !key.contains(":generation"));
        keys
    }

    /// All that a key holds, and how long it lives.
    pub fn record(&self, key: &str) -> std::collections::BTreeMap<String, Vec<u8>> {
        self.run(&["HGETALL", key])
    }

    /// When a key expires (ms since 1970). `PEXPIRETIME` would tell, but only from Redis 7.0 on.
    pub fn expires(&self, key: &str) -> i64 {
        let mut connection = self.connect();
        let milliseconds = |(seconds, micros): (i64, i64)| seconds * 1000 + micros / 1000;
        loop {
            let (before, left, after): (_, i64, _) = redis::pipe()
                .cmd("TIME")
                .cmd("PTTL")
                .arg(key)
                .cmd("TIME")
                .query(&mut connection)
                .expect("three replies");
            assert!(left >= 0, "{key} expires");
            if milliseconds(before) == milliseconds(after) {
                return milliseconds(before) + left;
            }
        }
    }

    /// The commands that clients send while `work` runs: one for each round trip. What scripts call is not among them.
    pub fn commands<R>(&self, work: impl FnOnce() -> R) -> (Vec<String>, R) {
        let mut monitor = UnixStream::connect(self.socket()).expect("the server listens");
        let mut lines = BufReader::new(monitor.try_clone().expect("a second handle")).lines();
        let mut next = move || lines.next().expect("the server goes on").expect("text");
        monitor.write_all(b"MONITOR\r\n").expect("the server reads");
        assert_eq!(next(), "+OK");
        let mut marker = self.connect();
        let mut mark = |text: &str| redis::cmd("ECHO").arg(text).exec(&mut marker).expect("the server answers");
        mark("from here");
        let result = work();
        mark("to here");
        while !next().contains("from here") {}
        let mut commands = Vec::new();
        loop {
            let line = next();
            if line.contains("to here") {
                return (commands, result);
            }
            if !line.contains(" lua] ") {
                commands.push(line.split('"').nth(1).expect("a command").to_lowercase());
            }
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server ends");
    }

    /// Starts it again where it was, with the same options; empty, unless they have it keep a file.
    pub fn restart(&mut self) {
        self.child = Redis::spawn(&self.folder, &self.options);
        self.wait_until_ready();
    }
}

fn is_of_group(key: &str) -> bool {
    key.ends_with('}') && !key.contains(":generation") || key.ends_with("}:joined") || key.contains("}:ended:")
}

/// A port of this machine that nobody listens on: below those that outgoing connections are given.
pub fn free_port() -> u16 {
    free_port_among(20_000)
}

/// One of the `many` ports from 10,000 on. Processes that look at the same time look at different ones.
pub fn free_port_among(many: u32) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    loop {
        let port = 10_000 + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % many;
        let port = u16::try_from(port).expect("it is below 30,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
