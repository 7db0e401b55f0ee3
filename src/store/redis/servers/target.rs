//! What a store URL leads to: a server, or whichever server is the primary.

use crate::deadline::Deadline;
use crate::error::{ConfigError, StoreError};
use crate::store::redis::servers::sentinel::Sentinels;
use crate::store::redis::wire::address::Address;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::Failure;
use crate::store::redis::wire::node::Node;
use std::fmt;
use std::time::Duration;

pub(crate) enum Target {
    Server(Address),
    Primary(Sentinels),
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Target, ConfigError> {
        if url.starts_with("redis-sentinel:") || url.starts_with("rediss-sentinel:") {
            return Sentinels::parse(url).map(Target::Primary);
        }
        Address::parse(url).map(Target::Server)
    }

    /// A connection, and the server that it leads to where that can change.
    pub(crate) fn connect(&self, deadline: Deadline) -> Result<(Connection, Option<Node>), Failure> {
        match self {
            Target::Server(address) => Ok((Connection::open(address, deadline)?, None)),
            Target::Primary(sentinels) => {
                let (connection, primary) = sentinels.connect(deadline)?;
                Ok((connection, Some(primary)))
            }
        }
    }

    /// The server that is the primary now, where that can change. For the next time, a connection is `kept`.
    pub(crate) fn ask_again(
        &self,
        kept: &mut Option<Connection>,
        deadline: Deadline,
    ) -> Result<Option<Node>, StoreError> {
        match self {
            Target::Server(_) => Ok(None),
            Target::Primary(sentinels) => sentinels.ask_again(kept, deadline).map(Some),
        }
    }

    /// How long a connection may be used at most.
    pub(crate) fn max_lifetime(&self) -> Duration {
        match self {
            Target::Server(address) => address.max_lifetime(),
            Target::Primary(sentinels) => sentinels.max_lifetime(),
        }
    }

    /// Whether a new connection may lead to another server than the last one did.
    pub(crate) fn can_move(&self) -> bool {
        !matches!(self, Target::Server(_))
    }
}

/// Without user and password.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Server(address) => address.fmt(f),
            Target::Primary(sentinels) => sentinels.fmt(f),
        }
    }
}
