//! The primary that [Redis Sentinels](https://redis.io/docs/latest/develop/reference/sentinel-clients/) name.

use crate::deadline::Deadline;
use crate::error::{ConfigError, StoreError, StoreErrorKind};
use crate::store::redis::wire::address::{Address, hosts_of};
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::{Failure, none_could};
use crate::store::redis::wire::node::Node;
use crate::store::redis::wire::socket::left;
use redis::{Value, cmd, from_redis_value};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fmt, thread};

const DEFAULT_PORT: &str = ":26379";
/// Between two rounds while a failover is under way.
const PAUSE: Duration = Duration::from_millis(25);

pub(crate) struct Sentinels {
    /// What they call the primary and its replicas.
    name: String,
    sentinels: Vec<Address>,
    /// The one that knew last is asked first, so that a silent one costs its share of the time only once.
    first: AtomicUsize,
    /// How to log in at the primary; the place in it is that of a sentinel.
    server: Address,
}

impl Sentinels {
    /// From a `redis-sentinel://` or `rediss-sentinel://` URL.
    pub(crate) fn parse(url: &str) -> Result<Sentinels, ConfigError> {
        let expected = "redis-sentinel://[user:password@]host[:port],host[:port][/database]\
                        [?sentinel_user=user&sentinel_pass=password]#name-of-the-primary, and over TLS \
                        rediss-sentinel:// with the parameters of rediss:// too";
        let malformed = || ConfigError::StoreUrl { expected };
        let (scheme, rest) = url.split_once("-sentinel://").ok_or_else(malformed)?;
        let (rest, name) = rest.split_once('#').ok_or_else(malformed)?;
        let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        // The characters that Sentinel itself allows.
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)) {
            return Err(malformed());
        }
        let places = hosts_of(hosts, DEFAULT_PORT, expected)?;
        let first = hosts.split(',').next().unwrap_or_default();
        let server_url = format!("{scheme}://{login}{first}{path_and_query}");
        let (server, parameters) = Address::parse_with(&server_url, &["sentinel_user", "sentinel_pass"], expected)?;
        let parameter = |name: &str| parameters.get(name).map(String::as_str);
        let (user, password) = (parameter("sentinel_user"), parameter("sentinel_pass"));
        if user.is_some() && password.is_none_or(str::is_empty) {
            return Err(ConfigError::StoreUser { password: "sentinel_pass=password" });
        }
        let sentinels = places.iter().map(|place| server.at(place).with_login(user, password));
        Ok(Sentinels { name: name.to_owned(), sentinels: sentinels.collect(), first: AtomicUsize::new(0), server })
    }

    pub(crate) fn max_lifetime(&self) -> Duration {
        self.server.max_lifetime()
    }

    /// A connection to the primary, and where that is.
    pub(crate) fn connect(&self, deadline: Deadline) -> Result<(Connection, Node), StoreError> {
        let mut told = None;
        loop {
            let mut failures = Vec::new();
            let mut replica_named = false;
            for (which, until) in self.turns(deadline) {
                let asked = self.ask_afresh(which, until).map(|(primary, _)| primary);
                match asked.and_then(|primary| Ok((self.open(&primary, until)?, primary))) {
                    Ok((Some(connection), primary)) => {
                        self.first.store(which, Ordering::Relaxed);
                        return Ok((connection, primary));
                    }
                    Ok((None, named)) => {
                        replica_named = true;
                        failures.push(unavailable(format!("{named} is named, but is a replica")));
                    }
                    Err(failure) => failures.push(failure),
                }
            }
            let error = self.not_found(&failures);
            if !left(deadline).is_ok_and(|left| left > PAUSE) {
                // What the last round lacked may have been time alone.
                return Err(told.unwrap_or(error));
            }
            if !replica_named {
                return Err(error);
            }
            // A replica is named while a failover goes on: the next round may find that it is over.
            told = Some(error);
            thread::sleep(PAUSE);
        }
    }

    /// The primary as a sentinel names it: the one that was asked before, over the connection that was kept, or else
    /// the first one that answers.
    pub(crate) fn ask_again(&self, kept: &mut Option<Connection>, deadline: Deadline) -> Result<Node, StoreError> {
        if let Some(mut connection) = kept.take()
            && let Ok(Some(primary)) = self.ask(&mut connection, deadline.halfway())
        {
            *kept = Some(connection);
            return Ok(primary);
        }
        let mut failures = Vec::new();
        for (which, until) in self.turns(deadline) {
            match self.ask_afresh(which, until) {
                Ok((primary, connection)) => {
                    *kept = Some(connection);
                    // If there is another primary, this one knows of it.
                    self.first.store(which, Ordering::Relaxed);
                    return Ok(primary);
                }
                Err(failure) => failures.push(failure),
            }
        }
        Err(self.not_found(&failures))
    }

    /// The sentinels, each with the end of its share of the time. The server that it names is part of that, so that
    /// neither hides the next one.
    fn turns(&self, deadline: Deadline) -> impl Iterator<Item = (usize, Deadline)> {
        let count = self.sentinels.len();
        let first = self.first.load(Ordering::Relaxed);
        (0..count).map(move |tried| ((first + tried) % count, deadline.share_of((count - tried) as u32)))
    }

    /// The primary that a sentinel names, and a connection to that sentinel.
    fn ask_afresh(&self, which: usize, deadline: Deadline) -> Result<(Node, Connection), StoreError> {
        let sentinel = &self.sentinels[which];
        let mut connection =
            Connection::open(sentinel, deadline).map_err(|failure| failure.into_store_error(sentinel))?;
        match self.ask(&mut connection, deadline) {
            Ok(Some(primary)) => Ok((primary, connection)),
            Ok(None) => Err(unavailable(format!("{sentinel} knows none of that name"))),
            Err(failure) => Err(failure.into_store_error(sentinel)),
        }
    }

    fn ask(&self, sentinel: &mut Connection, deadline: Deadline) -> Result<Option<Node>, Failure> {
        let mut question = cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(&self.name);
        let answer = sentinel.request(&question, deadline)?;
        let no_address = || Failure::not_ours("a sentinel named no address");
        let named: Option<(String, u16)> = from_redis_value(answer).map_err(|_| no_address())?;
        named.map(|(host, port)| Node::named(host, port).ok_or_else(no_address)).transpose()
    }

    /// A connection to the server that is named, if that takes itself for a primary too: a sentinel may not know yet
    /// what happened.
    fn open(&self, named: &Node, deadline: Deadline) -> Result<Option<Connection>, StoreError> {
        let address = self.server.at(named);
        let mut connection =
            Connection::open(&address, deadline).map_err(|failure| failure.into_store_error(&address))?;
        match connection.request(&cmd("ROLE"), deadline) {
            Ok(Value::Array(role)) if role.first() == Some(&Value::BulkString(b"master".to_vec())) => {
                Ok(Some(connection))
            }
            Ok(_) => Ok(None),
            Err(failure) => Err(failure.into_store_error(&address)),
        }
    }

    fn not_found(&self, failures: &[StoreError]) -> StoreError {
        none_could(format!("no primary named {:?} is found", self.name), failures)
    }
}

fn unavailable(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, message)
}

/// Without users and passwords.
impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentinels: Vec<String> = self.sentinels.iter().map(Address::to_string).collect();
        write!(f, "the primary {:?} of {}", self.name, sentinels.join(", "))
    }
}
