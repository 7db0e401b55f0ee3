//! The store of a run: a URL for the library, and a look past the library at what is really there.

use crate::support::cluster::Cluster;
use crate::support::redis::Redis;
use crate::support::sqlite::problems;
use nix::sys::signal::{Signal, kill};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

pub const NAMESPACE: &str = "torture";

pub struct Place {
    pub url: String,
    look: Look,
    /// The server, if it may be killed.
    server: Option<Redis>,
    _cluster: Option<Cluster>,
    _folder: Option<TempDir>,
}

/// How to look past the library.
enum Look {
    /// At these servers, each of which has keys of its own.
    Redis(Vec<String>),
    Sqlite(PathBuf),
}

impl Place {
    /// Opens `sqlite`, `redis`, `cluster` or a URL. A server that may be killed writes each change to the disk before
    /// it acknowledges it.
    pub fn open(store: &str, may_be_killed: bool) -> Result<Place, String> {
        let place = |url: String, look| Place { url, look, server: None, _cluster: None, _folder: None };
        match store {
            "sqlite" => {
                let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
                let path = folder.path().join("sessions.db");
                let url = format!("sqlite://{}", path.display());
                Ok(Place { _folder: Some(folder), ..place(url, Look::Sqlite(path)) })
            }
            "redis" => {
                let durable = ["--appendonly", "yes", "--appendfsync", "always"];
                let server = Redis::start_with(if may_be_killed { &durable } else { &[] });
                let url = server.url();
                Ok(Place { server: Some(server), ..place(url.clone(), Look::Redis(vec![url])) })
            }
            "cluster" => {
                let cluster = Cluster::start(3);
                let nodes = cluster.nodes.iter().map(|node| node.redis.url()).collect();
                let url = cluster.url();
                Ok(Place { _cluster: Some(cluster), ..place(url, Look::Redis(nodes)) })
            }
            url if url.starts_with("redis://") || url.starts_with("redis+unix://") => {
                Ok(place(url.to_owned(), Look::Redis(vec![url.to_owned()])))
            }
            url => match url.strip_prefix("sqlite://") {
                Some(path) => Ok(place(url.to_owned(), Look::Sqlite(path.into()))),
                None => Err(format!("there is no way to look past the library into the store {url:?}")),
            },
        }
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self.look, Look::Sqlite(_))
    }

    pub fn has_own_server(&self) -> bool {
        self.server.is_some()
    }

    fn servers(&self) -> &[String] {
        match &self.look {
            Look::Redis(urls) => urls,
            Look::Sqlite(_) => &[],
        }
    }

    /// Closes all connections of the servers. Returns how many.
    pub fn kill_connections(&self) -> u64 {
        let kill = |url: &String| -> redis::RedisResult<u64> {
            redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).query(&mut connect(url)?)
        };
        self.servers().iter().map(|url| kill(url).unwrap_or(0)).sum()
    }

    /// Locks the SQLite file for this time.
    pub fn hold_lock(&self, time: Duration) {
        if let Look::Sqlite(path) = &self.look {
            let sqlite = rusqlite::Connection::open(path).expect("it opens");
            // Try as often as the library does. With longer pauses, this would hardly ever get the lock.
            let wait = |_| {
                std::thread::sleep(Duration::from_micros(50));
                true
            };
            sqlite.busy_handler(Some(wait)).expect("it is our own");
            if sqlite.execute_batch("BEGIN IMMEDIATE").is_ok() {
                std::thread::sleep(time);
                sqlite.execute_batch("ROLLBACK").expect("it is our own");
            }
        }
    }

    /// Kills the server, and starts it again where it was.
    pub fn kill_server(&mut self, down: Duration) {
        if let Some(server) = &mut self.server {
            server.kill();
            std::thread::sleep(down);
            server.restart();
        }
    }

    /// Lets the server fall silent.
    pub fn stop_server(&self, silent: Duration) {
        if let Some(server) = &self.server {
            kill(server.pid(), Signal::SIGSTOP).expect("it is our child");
            std::thread::sleep(silent);
            kill(server.pid(), Signal::SIGCONT).expect("it is our child");
        }
    }

    /// Lists the data in the store that should not exist.
    pub fn inspect(&self) -> Vec<String> {
        match &self.look {
            Look::Redis(urls) => {
                let problems = |url: &String| inspect_redis(url).unwrap_or_else(|error| vec![error.to_string()]);
                urls.iter().flat_map(problems).collect()
            }
            Look::Sqlite(path) => {
                let found = rusqlite::Connection::open(path).and_then(|connection| problems(&connection));
                found.unwrap_or_else(|error| vec![error.to_string()])
            }
        }
    }

    /// Removes whatever a round has left.
    pub fn clean(&self) {
        match &self.look {
            Look::Redis(urls) => {
                for url in urls {
                    let mut connection = connect(url).expect("the server answers");
                    for key in keys(&mut connection).expect("the server answers") {
                        redis::cmd("DEL").arg(key).exec(&mut connection).expect("the server answers");
                    }
                }
            }
            Look::Sqlite(path) => {
                let sqlite = rusqlite::Connection::open(path).expect("it opens");
                let all =
                    ["sessions", "groups", "forwards", "ended", "kept_groups"].map(|it| format!("DELETE FROM {it};"));
                sqlite.execute_batch(&all.concat()).expect("it is ours alone");
            }
        }
    }
}

fn connect(url: &str) -> redis::RedisResult<redis::Connection> {
    redis::Client::open(url)?.get_connection_with_timeout(Duration::from_secs(5))
}

fn keys(connection: &mut redis::Connection) -> redis::RedisResult<Vec<String>> {
    redis::cmd("KEYS").arg(format!("{NAMESPACE}:*")).query(connection)
}

fn inspect_redis(url: &str) -> redis::RedisResult<Vec<String>> {
    let mut connection = connect(url)?;
    let mut problems = Vec::new();
    let mut keys = keys(&mut connection)?;
    keys.retain(|key| !key.contains(":generation")); // of the namespace, which has no end
    let records: BTreeSet<&String> = keys.iter().collect();
    for key in &keys {
        let left: i64 = redis::cmd("PTTL").arg(key).query(&mut connection)?;
        if left == -1 {
            problems.push(format!("{key} never expires"));
        }
        if !key.ends_with('}') {
            continue;
        }
        let mut ids = |key: &str| redis::cmd("ZRANGE").arg(&[key, "0", "-1"]).query(&mut connection);
        let (mut members, joined): (BTreeSet<String>, BTreeSet<String>) = (ids(key)?, ids(&format!("{key}:joined"))?);
        members.remove("generation"); // not a session, but what the group belongs to
        if members != joined {
            problems.push(format!("{key}: {} members, and {} that have joined", members.len(), joined.len()));
        }
        for id in members.iter().filter(|id| !records.contains(&format!("{key}:{id}"))) {
            problems.push(format!("{key}: the member {id} has no record"));
        }
    }
    Ok(problems)
}
