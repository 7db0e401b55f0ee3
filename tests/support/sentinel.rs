//! A primary, its replica, and Sentinels that watch them.

use super::ports::free_port;
use super::redis::Redis;
use super::tls::path;
use super::until;
use std::fs;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The name of the primary.
pub const NAME: &str = "sessions";

/// A Redis with a port.
pub struct Server {
    pub redis: Redis,
    pub port: u16,
}

impl Server {
    pub fn primary(options: &[&str]) -> Server {
        let port = free_port();
        let own = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"];
        Server { redis: Redis::start_with(&[&own, options].concat()), port }
    }

    /// Starts a replica of this server, and waits until it is connected.
    pub fn replica(&self) -> Server {
        let replica = Server::primary(&["--replicaof", "127.0.0.1", &self.port.to_string()]);
        until(|| replica.redis.run::<String>(&["INFO", "replication"]).contains("master_link_status:up"));
        replica
    }

    pub fn become_primary(&self) {
        let _: String = self.redis.run(&["REPLICAOF", "NO", "ONE"]);
    }

    pub fn become_replica_of(&self, primary: &Server) {
        let _: String = self.redis.run(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
    }

    /// Waits until a replica has everything that is here now.
    pub fn wait_for(&self, replica: &Server) {
        let offset = |server: &Server, name: &str| -> u64 {
            let info: String = server.redis.run(&["INFO", "replication"]);
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|offset| offset.trim().parse().ok()).unwrap_or_default()
        };
        let here = offset(self, "master_repl_offset");
        until(|| offset(replica, "slave_repl_offset") >= here);
    }

    /// How many scripts it was asked to run so far, including those that it refused.
    pub fn scripts(&self) -> String {
        let info: String = self.redis.run(&["INFO", "commandstats"]);
        info.lines().filter(|line| line.starts_with("cmdstat_eval")).collect()
    }

    /// How many clients are connected to the port, without replicas and Sentinels.
    pub fn clients(&self) -> usize {
        let list: String = self.redis.run(&["CLIENT", "LIST", "TYPE", "normal"]);
        let at_port = format!("laddr=127.0.0.1:{} ", self.port);
        list.lines().filter(|line| line.contains(&at_port) && !line.contains("name=sentinel")).count()
    }
}

/// A Sentinel; gone when dropped.
pub struct Sentinel {
    child: Child,
    pub port: u16,
    _folder: TempDir,
}

impl Sentinel {
    /// Starts one that watches this server. `quorum` Sentinels have to agree that it is down.
    pub fn watching(primary: &Server, quorum: u32) -> Sentinel {
        let port = free_port();
        Sentinel::start(port, primary.port, quorum, &format!("port {port}\nbind 127.0.0.1\n"))
    }

    /// Starts one with further lines in its configuration.
    pub fn start(port: u16, primary: u16, quorum: u32, further: &str) -> Sentinel {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("sentinel.conf");
        let lines = format!(
            "{further}unixsocket {socket}\ndir {dir}\nsentinel monitor {NAME} 127.0.0.1 {primary} {quorum}\n\
             sentinel down-after-milliseconds {NAME} 500\nsentinel failover-timeout {NAME} 5000\n",
            socket = path(&folder.path().join("sentinel.sock")),
            dir = path(folder.path()),
        );
        fs::write(&file, lines).expect("a file");
        let child = Command::new("redis-server")
            .args([path(&file), "--sentinel"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server does not start ({error}): apt-get install -y redis-server"));
        let sentinel = Sentinel { child, port, _folder: folder };
        until(|| sentinel.connect().is_some());
        sentinel
    }

    fn connect(&self) -> Option<redis::Connection> {
        let url = format!("redis+unix://{}", self._folder.path().join("sentinel.sock").display());
        redis::Client::open(url).ok()?.get_connection().ok()
    }

    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id().cast_signed())
    }

    pub fn run<T: redis::FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let mut packed = redis::cmd("SENTINEL");
        packed.arg(command);
        packed.query(&mut self.connect().expect("the sentinel answers"))
    }

    /// The port of the primary that it names.
    pub fn names(&self) -> u16 {
        self.run::<(String, u16)>(&["GET-MASTER-ADDR-BY-NAME", NAME]).expect("it knows the name").1
    }

    /// Lets it watch another server, as after a failover.
    pub fn watch(&self, primary: &Server) {
        // Both at once, so that nobody finds it without a primary.
        let mut both = redis::pipe();
        both.cmd("SENTINEL").arg(&["REMOVE", NAME]);
        both.cmd("SENTINEL").arg(&["MONITOR", NAME, "127.0.0.1", &primary.port.to_string(), "2"]);
        both.exec(&mut self.connect().expect("the sentinel answers")).expect("it knows the name");
    }

    /// Waits until it knows a replica that could take over.
    pub fn wait_for_replica(&self) {
        until(|| {
            let replicas: Vec<std::collections::HashMap<String, String>> = self.run(&["REPLICAS", NAME]).unwrap();
            replicas.iter().any(|replica| replica["flags"] == "slave" && replica["master-link-status"] == "ok")
        });
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A store URL of these Sentinels.
pub fn url(sentinels: &[u16]) -> String {
    let hosts: Vec<String> = sentinels.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("redis-sentinel://{}/0#{NAME}", hosts.join(","))
}
