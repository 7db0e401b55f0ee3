//! A Redis server of the test's own.

use super::until;
use multi_process_session::SessionManager;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// The options of a server that hands each change to the system before it acknowledges it, so that a kill loses
/// nothing. With `everysec` it may acknowledge first. With `always` it waits for the disk, and ends itself when that is
/// full.
pub const WRITES_FIRST: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "no"];

/// The rights that a user needs, as the guide says.
pub fn rights() -> Vec<&'static str> {
    let page = include_str!("../../docs/redis.md");
    let command = page.lines().find_map(|line| line.trim().strip_prefix("ACL SETUSER sessions on >password "));
    command.expect("the page has it").split(' ').collect()
}

/// A server on a unix socket, in a folder of its own; gone when dropped.
pub struct Redis {
    child: Child,
    folder: TempDir,
    options: Vec<String>,
}

impl Redis {
    pub fn start() -> Redis {
        Redis::start_with(&[])
    }

    /// Starts one with further options, such as `["--maxmemory", "2mb"]`.
    pub fn start_with(options: &[&str]) -> Redis {
        Redis::start_in(&std::env::temp_dir(), options)
    }

    /// Starts one whose folder lies in this folder.
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
        until(|| self.try_connect().is_some());
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

    /// Adds the user that the guide adds.
    pub fn add_user_of_the_guide(&self) {
        self.run::<()>(&[&["ACL", "SETUSER", "sessions", "on", ">password"], &rights()[..]].concat());
    }

    /// This URL of a server for that user.
    pub fn as_user(url: &str) -> String {
        format!("{url}?user=sessions&pass=password")
    }

    /// Opens a connection past the library, to look at what is really there.
    pub fn connect(&self) -> redis::Connection {
        self.try_connect().expect("the server answers")
    }

    pub fn run<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_run(command).expect("the command works")
    }

    /// Like `run`, for a command that may be refused.
    pub fn try_run<T: redis::FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        try_run(&mut self.connect(), command)
    }

    /// All keys, except those that are kept for a while for ended sessions and replaced ids, and those of generations.
    pub fn keys(&self) -> Vec<String> {
        let connection = &mut self.connect();
        let mut keys = self.all_keys();
        keys.retain(|key| !is_left_over(connection, key) && !key.contains(":generation"));
        keys
    }

    pub fn all_keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.run(&["KEYS", "*"]);
        keys.sort();
        keys
    }

    /// The keys of sessions, without those of groups.
    pub fn records(&self) -> Vec<String> {
        self.keys().into_iter().filter(|key| !is_of_group(key)).collect()
    }

    /// Returns the keys of sessions, traces, forwards and values of groups.
    pub fn records_and_left_overs(&self) -> Vec<String> {
        let mut keys = self.all_keys();
        keys.retain(|key| key.ends_with("}:values") || !is_of_group(key) && !key.contains(":generation"));
        keys
    }

    /// Returns whether a key holds a trace or a forward.
    pub fn is_left_over(&self, key: &str) -> bool {
        is_left_over(&mut self.connect(), key)
    }

    /// All fields and values of a record.
    pub fn record(&self, key: &str) -> BTreeMap<String, Vec<u8>> {
        self.run(&["HGETALL", key])
    }

    /// Returns the key of the members of the only group.
    pub fn group_index(&self) -> String {
        self.keys().into_iter().find(|key| key.ends_with('}')).expect("there is a group")
    }

    /// Returns the sessions in one of the two sets of a group. The entry for the generation of the namespace is left
    /// out.
    pub fn members(&self, set: &str) -> BTreeSet<String> {
        let mut members: BTreeSet<String> = self.run(&["ZRANGE", set, "0", "-1"]);
        members.remove("generation");
        members
    }

    #[track_caller]
    pub fn assert_every_key_expires(&self) {
        for key in self.keys() {
            assert!(self.run::<i64>(&["PTTL", &key]) > 0, "{key}");
        }
    }

    /// When a key expires, in milliseconds since 1970. (`PEXPIRETIME` exists only from Redis 7.0 on.)
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

    /// The commands that clients send while `work` runs: one for each round trip. Plain commands are sent several at
    /// once, of which HGETALL or TIME is the first, and ECHO the last. Commands that scripts call do not count.
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
        let (mut commands, mut loading) = (Vec::new(), BTreeSet::new());
        loop {
            let line = next();
            if line.contains("to here") {
                return (commands, result);
            }
            let (client, command) = line.split_once("] \"").expect("a client and its command");
            let client = client.rsplit('[').next().expect("the part after the time").to_owned();
            let name = command.split('"').next().expect("a name").to_lowercase();
            if client.ends_with(" lua") || loading.contains(&client) && name != "echo" || loading.remove(&client) {
                continue;
            }
            if name == "hgetall" || name == "time" {
                loading.insert(client);
            }
            commands.push(name);
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server ends");
    }

    /// Starts the server again on the same socket with the same options. Its data is lost, unless the options keep a
    /// file.
    pub fn restart(&mut self) {
        self.child = Redis::spawn(&self.folder, &self.options);
        self.wait_until_ready();
    }
}

/// The key of a session that is not in a group.
pub fn record_key(manager: &SessionManager, header: &str) -> String {
    let session = manager.load(header).expect("the store works");
    assert_eq!(session.group_name(), None, "it is in a group");
    format!("mps:{}", session.public_id())
}

/// Runs a command on a connection that is open already.
pub fn run<T: redis::FromRedisValue>(connection: &mut redis::Connection, command: &[&str]) -> T {
    try_run(connection, command).expect("the command works")
}

fn try_run<T: redis::FromRedisValue>(connection: &mut redis::Connection, command: &[&str]) -> redis::RedisResult<T> {
    let mut packed = redis::cmd(command[0]);
    packed.arg(&command[1..]);
    packed.query(connection)
}

/// Returns whether a key holds a trace or a forward.
fn is_left_over(connection: &mut redis::Connection, key: &str) -> bool {
    let fields = try_run::<[Option<Vec<u8>>; 3]>(connection, &["HMGET", key, "s", "t", "f"]);
    matches!(fields, Ok([None, Some(_), _] | [None, _, Some(_)]))
}

fn is_of_group(key: &str) -> bool {
    key.ends_with('}') && !key.contains(":generation")
        || key.ends_with("}:joined")
        || key.ends_with("}:values")
        || key.contains("}:ended:")
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
