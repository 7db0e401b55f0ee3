//! How a client finds its node.

use crate::deadline::Deadline;
use crate::store::redis::deployment::sentinel::primary::Primary;
use crate::store::redis::deployment::single::Single;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::Failure;
use crate::store::redis::wire::node::Node;
use std::time::Duration;

/// How a client finds its node: by an address, or by asking Sentinels.
pub(crate) enum NodeLocator {
    Address(Single),
    Sentinels(Primary),
}

impl NodeLocator {
    /// Connects to the node. If Sentinels have named the node, gives it too.
    pub(crate) fn connect(&self, deadline: Deadline) -> Result<(Connection, Option<Node>), Failure> {
        match self {
            NodeLocator::Address(single) => Ok((Connection::open(&single.url, deadline)?, None)),
            NodeLocator::Sentinels(primary) => {
                let (connection, node) = primary.sentinels.connect(deadline).map_err(Failure::of_connection)?;
                Ok((connection, Some(node)))
            }
        }
    }

    pub(crate) fn max_lifetime(&self) -> Duration {
        match self {
            NodeLocator::Address(single) => single.url.max_lifetime(),
            NodeLocator::Sentinels(primary) => primary.sentinels.max_lifetime(),
        }
    }
}
