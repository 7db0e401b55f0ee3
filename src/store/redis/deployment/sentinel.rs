//! The primary that [Redis Sentinels](https://redis.io/docs/latest/develop/reference/sentinel-clients/) name.

pub(crate) mod primary;

use crate::deadline::Deadline;
use crate::error::{ConfigError, StoreError, StoreErrorKind};
use crate::store::redis::deployment::all_failed::all_failed;
use crate::store::redis::deployment::hosts::Hosts;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::Failure;
use crate::store::redis::wire::node::Node;
use crate::store::redis::wire::node_url::NodeUrl;
use redis::{Value, cmd, from_redis_value};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fmt, thread};

const DEFAULT_PORT: &str = ":26379";
/// The pause between two rounds while a failover is going on.
const PAUSE: Duration = Duration::from_millis(25);

/// What a URL says about Sentinels. Shown without users and passwords.
pub(crate) struct Sentinels {
    /// What the Sentinels call the primary and its replicas.
    name: String,
    sentinels: Vec<NodeUrl>,
    /// The number of the Sentinel that last named the primary. It is asked first, so that a silent Sentinel before it
    /// does not cost time at each question.
    first: AtomicUsize,
    /// The login and the TLS settings for the primary. The address in this URL is that of a Sentinel, and is not used.
    url: NodeUrl,
}

/// Why a round through all Sentinels did not lead to the primary.
struct NotFound {
    error: StoreError,
    /// A Sentinel named a replica: a failover is going on, and the next round may find its end.
    during_failover: bool,
}

impl Sentinels {
    /// Reads a `redis-sentinel://` or `rediss-sentinel://` URL.
    pub(crate) fn parse(url: &str) -> Result<Sentinels, ConfigError> {
        let expected = "redis-sentinel://[user:password@]host[:port],host[:port][/database]\
                        [?sentinel_user=user&sentinel_pass=password]#name-of-the-primary, and over TLS \
                        rediss-sentinel:// with the parameters of rediss:// too";
        let malformed = || ConfigError::StoreUrl { expected };
        let (scheme, rest) = url.split_once("-sentinel://").ok_or_else(malformed)?;
        let (rest, name) = rest.split_once('#').ok_or_else(malformed)?;
        // The characters that Sentinel itself allows.
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)) {
            return Err(malformed());
        }
        let more = ["sentinel_user", "sentinel_pass"];
        let Hosts { nodes, first, parameters } = Hosts::parse(scheme, rest, DEFAULT_PORT, &more, expected)?;
        let [user, password] = more.map(|name| parameters.get(name).map(String::as_str));
        if user.is_some() && password.is_none_or(str::is_empty) {
            return Err(ConfigError::StoreUser { password: "sentinel_pass=password" });
        }
        let sentinels = nodes.iter().map(|node| first.with_node(node).with_login(user, password)).collect();
        Ok(Sentinels { name: name.to_owned(), sentinels, first: AtomicUsize::new(0), url: first })
    }

    pub(crate) fn max_lifetime(&self) -> Duration {
        self.url.max_lifetime()
    }

    /// Connects to the primary. Returns the connection, and the node that it leads to.
    pub(crate) fn connect(&self, deadline: Deadline) -> Result<(Connection, Node), StoreError> {
        let mut last_round = None;
        loop {
            let NotFound { error, during_failover } = match self.connect_once(deadline) {
                Ok(connected) => return Ok(connected),
                Err(not_found) => not_found,
            };
            if deadline.left() <= PAUSE {
                // This round may have failed only because time was short. The error of the round before says more.
                return Err(last_round.unwrap_or(error));
            }
            if !during_failover {
                return Err(error);
            }
            last_round = Some(error);
            thread::sleep(PAUSE);
        }
    }

    /// Asks each Sentinel for the primary, until one names a node that can be used.
    fn connect_once(&self, deadline: Deadline) -> Result<(Connection, Node), NotFound> {
        let (mut failures, mut during_failover) = (Vec::new(), false);
        // A Sentinel and the node that it names share one part of the time. So time is left for the next Sentinel if
        // the node is silent.
        for (which, until) in self.turns(deadline) {
            let asked = self.ask(which, until).map(|(primary, _)| primary);
            match asked.and_then(|primary| Ok((self.connect_to_primary(&primary, until)?, primary))) {
                Ok((Some(connection), primary)) => {
                    self.first.store(which, Ordering::Relaxed);
                    return Ok((connection, primary));
                }
                Ok((None, replica)) => {
                    during_failover = true;
                    failures.push(unavailable(format!("{replica} is named, but is a replica")));
                }
                Err(failure) => failures.push(failure),
            }
        }
        Err(NotFound { error: self.not_found(&failures), during_failover })
    }

    /// Asks for the primary once more. Uses the connection to a Sentinel that was `kept`. If that fails, asks the
    /// Sentinels in turn until one answers.
    pub(crate) fn ask_again(&self, kept: &mut Option<Connection>, deadline: Deadline) -> Result<Node, StoreError> {
        if let Some(mut connection) = kept.take()
            && let Ok(Some(primary)) = self.ask_over(&mut connection, deadline.halfway())
        {
            *kept = Some(connection);
            return Ok(primary);
        }
        let mut failures = Vec::new();
        for (which, until) in self.turns(deadline) {
            match self.ask(which, until) {
                Ok((primary, connection)) => {
                    *kept = Some(connection);
                    // If another node is the primary now, this Sentinel knows it.
                    self.first.store(which, Ordering::Relaxed);
                    return Ok(primary);
                }
                Err(failure) => failures.push(failure),
            }
        }
        Err(self.not_found(&failures))
    }

    /// Returns the numbers of the Sentinels in the order in which they are asked, each with its share of the time.
    fn turns(&self, deadline: Deadline) -> impl Iterator<Item = (usize, Deadline)> {
        let count = self.sentinels.len();
        let first = self.first.load(Ordering::Relaxed);
        (0..count).map(move |turn| (first + turn) % count).zip(deadline.shares(count))
    }

    /// Asks a Sentinel for the primary. Returns also the connection to the Sentinel.
    fn ask(&self, which: usize, deadline: Deadline) -> Result<(Node, Connection), StoreError> {
        let sentinel = &self.sentinels[which];
        let mut connection =
            Connection::open(sentinel, deadline).map_err(|failure| failure.into_store_error(sentinel))?;
        match self.ask_over(&mut connection, deadline) {
            Ok(Some(primary)) => Ok((primary, connection)),
            Ok(None) => Err(unavailable(format!("{sentinel} does not know this name"))),
            Err(failure) => Err(failure.into_store_error(sentinel)),
        }
    }

    fn ask_over(&self, sentinel: &mut Connection, deadline: Deadline) -> Result<Option<Node>, Failure> {
        let mut question = cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(&self.name);
        let answer = sentinel.request(&question, deadline)?;
        let no_address = || Failure::not_ours("a Sentinel named no address");
        let named: Option<(String, u16)> = from_redis_value(answer).map_err(|_| no_address())?;
        named.map(|(host, port)| Node::named_by_redis(host, port).ok_or_else(no_address)).transpose()
    }

    /// Connects to the node that a Sentinel names. Returns `None` if the node is not a primary: the Sentinel may not
    /// know yet what happened.
    fn connect_to_primary(&self, named: &Node, deadline: Deadline) -> Result<Option<Connection>, StoreError> {
        let url = self.url.with_node(named);
        let mut connection = Connection::open(&url, deadline).map_err(|failure| failure.into_store_error(&url))?;
        match connection.request(&cmd("ROLE"), deadline) {
            Ok(Value::Array(role)) if role.first() == Some(&Value::BulkString(b"master".to_vec())) => {
                Ok(Some(connection))
            }
            Ok(_) => Ok(None),
            Err(failure) => Err(failure.into_store_error(&url)),
        }
    }

    fn not_found(&self, failures: &[StoreError]) -> StoreError {
        all_failed(format!("the primary {:?} cannot be found", self.name), failures)
    }
}

fn unavailable(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, message)
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentinels: Vec<String> = self.sentinels.iter().map(NodeUrl::to_string).collect();
        write!(f, "the primary {:?} of {}", self.name, sentinels.join(", "))
    }
}
