//! How the client of a node opens connections.

use crate::deadline::Deadline;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::redis::deployment::announce::announce;
use crate::store::redis::deployment::connections::PooledConnection;
use crate::store::redis::deployment::node_client::NodeClient;
use crate::store::redis::deployment::node_locator::NodeLocator;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::Failure;
use crate::store::redis::wire::node::Node;
use crate::store::stats::Counter;

impl NodeClient {
    pub(crate) fn open(&self, deadline: Deadline) -> Result<PooledConnection, Failure> {
        self.breaker.check().map_err(Failure::of_connection)?;
        let before = self.connections.epoch();
        let (mut connection, node) = self.connect(deadline)?;
        let is_first = self.counters.add(Counter::Connections, 1) == 0;
        if is_first
            && log::log_enabled!(log::Level::Warn)
            && announce(&self.name, &mut connection, self.pool_size, deadline.halfway()).is_err()
        {
            // A proxy before the node may not understand these commands and close the connection.
            connection = self.connect(deadline)?.0;
        }
        let epoch = match (&self.node_locator, node) {
            (NodeLocator::Sentinels(primary), Some(node)) => primary.note_connection(node, before, &self.connections),
            _ => before,
        };
        Ok(PooledConnection::new(connection, epoch, self.node_locator.max_lifetime()))
    }

    /// Connects. If Sentinels have named the node, gives it too.
    fn connect(&self, deadline: Deadline) -> Result<(Connection, Option<Node>), Failure> {
        let connected = self.node_locator.connect(deadline);
        self.breaker.note_attempt(connected.as_ref().err().and_then(|failure| self.refusal(failure)));
        connected.map_err(|failure| Failure::of_connection(self.store_error(failure)))
    }

    /// Returns the error if the node answered, and refused the connection.
    fn refusal<'f>(&self, failure: &'f Failure) -> Option<&'f StoreError> {
        match (failure, &self.node_locator) {
            (Failure::Refused { error, .. }, NodeLocator::Address(_)) => Some(error),
            (Failure::Refused { error, .. } | Failure::NotPrimary(error), _)
                if error.kind() == StoreErrorKind::Rejected =>
            {
                Some(error)
            }
            _ => None,
        }
    }
}
