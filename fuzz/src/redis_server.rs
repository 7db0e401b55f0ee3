//! A Redis server that ends together with this process, and the data that it holds before each input.

use crate::calls::{GROUP, login, renew};
use crate::{PATIENT, secret};
use multi_process_session::SessionManager;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The script that runs the server. It waits until this process has ended in any way, which closes the pipe, and then
/// stops the server.
const SCRIPT: &str = "redis-server \"$@\" >/dev/null & cat; kill $!; wait; rm -rf \"$PWD\"";

pub(crate) struct Server {
    folder: PathBuf,
    _shell: Child,
}

impl Server {
    pub(crate) fn start() -> Server {
        let folder = tempfile::Builder::new().prefix("mps-fuzz-").tempdir().expect("a temporary folder").keep();
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh", "--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no"])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell");
        let server = Server { folder, _shell: shell };
        let deadline = Instant::now() + Duration::from_secs(20);
        while server.try_connect().is_none() {
            assert!(Instant::now() < deadline, "redis-server does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("redis.sock")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Opens a connection that does not go through the library.
    pub(crate) fn connect(&self) -> redis::Connection {
        self.try_connect().expect("the server answers")
    }

    fn try_connect(&self) -> Option<redis::Connection> {
        let mut connection = redis::Client::open(self.url()).ok()?.get_connection().ok()?;
        redis::cmd("PING").exec(&mut connection).ok()?;
        Some(connection)
    }

    pub(crate) fn manager(&self, timeout: Duration) -> SessionManager {
        let builder = SessionManager::builder(secret(1)).store_url(&self.url());
        builder.operation_timeout(timeout).pool_size(2).build().expect("the settings are fine")
    }
}

/// A database of a few sessions, to which the server is set back for each input.
pub(crate) struct Template {
    /// Each key, and what `DUMP` and `RESTORE` exchange of it.
    keys: Vec<(Vec<u8>, Vec<u8>)>,
    /// `Cookie` headers of ada's session and of its id before, which still leads to it.
    pub(crate) ada: [String; 2],
    /// Of a session in no group.
    pub(crate) edith: [String; 2],
    /// Of another member of ada's group, and its public id.
    pub(crate) grace: String,
    pub(crate) grace_id: String,
}

impl Template {
    pub(crate) fn new(server: &Server) -> Template {
        let manager = server.manager(PATIENT);
        let mut names = Names { connection: server.connect(), seen: Vec::new() };
        let ada = names.after(|| login(&manager, "ada", Some(GROUP)));
        let edith = names.after(|| login(&manager, "edith", None));
        let grace = names.after(|| login(&manager, "grace", Some(GROUP)));
        let ada = [names.after(|| renew(&manager, &ada)), ada];
        let edith = [names.after(|| renew(&manager, &edith)), edith];
        names.after(|| {
            let ended = login(&manager, "ended", Some(GROUP));
            drop(manager.destroy(ended.as_str()).expect("the server works"))
        });
        let grace_id = manager.load(grace.as_str()).expect("the server works").public_id().to_string();

        let Names { mut connection, seen } = names;
        let dump = |name: Vec<u8>| {
            let dump: Option<Vec<u8>> = redis::cmd("DUMP").arg(&name).query(&mut connection).expect("the server works");
            dump.map(|dump| (name, dump))
        };
        Template { keys: seen.into_iter().filter_map(dump).collect(), ada, edith, grace, grace_id }
    }

    pub(crate) fn restore(&self, connection: &mut redis::Connection) {
        let mut commands = redis::pipe();
        commands.cmd("FLUSHALL");
        for (name, dump) in &self.keys {
            commands.cmd("RESTORE").arg(name).arg(600_000).arg(dump);
        }
        commands.exec(connection).expect("the server works");
    }

    /// The names of all keys but that of grace's record.
    pub(crate) fn names(&self) -> Vec<&[u8]> {
        let names = self.keys.iter().map(|(name, _)| &name[..]);
        names.filter(|name| !name.ends_with(self.grace_id.as_bytes())).collect()
    }
}

/// The names of keys in the order in which they came: ids are random, and an input must mean the same the next time.
struct Names {
    connection: redis::Connection,
    seen: Vec<Vec<u8>>,
}

impl Names {
    fn after<R>(&mut self, step: impl FnOnce() -> R) -> R {
        let result = step();
        let mut names: Vec<Vec<u8>> =
            redis::cmd("KEYS").arg("*").query(&mut self.connection).expect("the server works");
        names.retain(|name| !self.seen.contains(name));
        names.sort_by_key(Vec::len);
        self.seen.extend(names);
        result
    }
}
