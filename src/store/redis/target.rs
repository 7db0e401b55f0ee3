//! What a store URL leads to: a server, or whichever server is the primary.

use super::address::Address;
use super::connection::Connection;
use super::failure::Failure;
use super::node::Node;
#[cfg(feature = "sentinel")]
use super::sentinel::Sentinels;
use crate::{ConfigError, StoreError};
use std::fmt;
use std::time::{Duration, Instant};

pub(super) enum Target {
    Server(Address),
    #[cfg(feature = "sentinel")]
    Primary(Sentinels),
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Target, ConfigError> {
        #[cfg(feature = "sentinel")]
        if url.starts_with("redis-sentinel:") || url.starts_with("rediss-sentinel:") {
            return Sentinels::parse(url).map(Target::Primary);
        }
        Address::parse(url).map(Target::Server)
    }

    /// A connection, and the server that it leads to where that can change.
    pub(super) fn connect(&self, deadline: Instant) -> Result<(Connection, Option<Node>), Failure> {
        match self {
            Target::Server(address) => Ok((Connection::open(address, deadline)?, None)),
            #[cfg(feature = "sentinel")]
            Target::Primary(sentinels) => {
                let (connection, primary) = sentinels.connect(deadline)?;
                Ok((connection, Some(primary)))
            }
        }
    }

    /// The server that is the primary now, where that can change. For the next time, a connection is `kept`.
    #[cfg_attr(not(feature = "sentinel"), expect(unused_variables))]
    pub(super) fn ask_again(
        &self,
        kept: &mut Option<Connection>,
        deadline: Instant,
    ) -> Result<Option<Node>, StoreError> {
        match self {
            Target::Server(_) => Ok(None),
            #[cfg(feature = "sentinel")]
            Target::Primary(sentinels) => sentinels.ask_again(kept, deadline).map(Some),
        }
    }

    /// How long a connection may be used at most.
    pub(super) fn max_lifetime(&self) -> Duration {
        match self {
            Target::Server(address) => address.max_lifetime(),
            #[cfg(feature = "sentinel")]
            Target::Primary(sentinels) => sentinels.max_lifetime(),
        }
    }

    /// Whether a new connection may lead to another server than the last one did.
    pub(super) fn can_move(&self) -> bool {
        !matches!(self, Target::Server(_))
    }
}

/// Without user and password.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Server(address) => address.fmt(f),
            #[cfg(feature = "sentinel")]
            Target::Primary(sentinels) => sentinels.fmt(f),
        }
    }
}
