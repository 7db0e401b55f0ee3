//! The nodes of a cluster, each with a client of its own.

use crate::deadline::Deadline;
use crate::error::StoreError;
use crate::store::redis::deployment::cluster::cluster_url::ClusterUrl;
use crate::store::redis::deployment::node_client::NodeClient;
use crate::store::redis::wire::node::Node;
use crate::store::stats::Counters;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) struct Nodes {
    pub(crate) url: Arc<ClusterUrl>,
    pool_size: u32,
    counters: Arc<Counters>,
    clients: Mutex<HashMap<Node, Arc<NodeClient>>>,
}

impl Nodes {
    pub(crate) fn new(url: Arc<ClusterUrl>, pool_size: u32, counters: Arc<Counters>) -> Nodes {
        Nodes { url, pool_size, counters, clients: Mutex::default() }
    }

    pub(crate) fn client(&self, node: &Node, deadline: Deadline) -> Result<Arc<NodeClient>, StoreError> {
        if let Some(client) = self.clients().get(node) {
            return Ok(client.clone());
        }
        let new = NodeClient::at_address(self.url.of_node(node), self.pool_size, deadline, self.counters.clone())?;
        Ok(self.clients().entry(node.clone()).or_insert(Arc::new(new)).clone())
    }

    /// Forgets the clients of nodes that are not primaries any more, which closes their connections. The clients of the
    /// seeds stay, because seeds may still be asked for the slot map.
    pub(crate) fn keep(&self, primaries: &[&Node]) {
        self.clients().retain(|node, client| {
            let is_primary = primaries.contains(&node);
            client.note_whether_needed(is_primary);
            is_primary || self.url.seeds.contains(node)
        });
    }

    pub(crate) fn close_idle(&self) {
        self.clients().values().for_each(|client| client.close_idle());
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<Node, Arc<NodeClient>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
