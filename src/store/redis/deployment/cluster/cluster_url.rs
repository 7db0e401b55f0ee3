//! The URL of a cluster.

use crate::error::ConfigError;
use crate::store::redis::deployment::hosts::Hosts;
use crate::store::redis::wire::node::Node;
use crate::store::redis::wire::node_url::NodeUrl;
use std::fmt;

const DEFAULT_PORT: &str = ":6379";

/// What a URL says about a cluster. Shown without user and password.
pub(crate) struct ClusterUrl {
    /// Some of the nodes, from which the others are learned.
    pub(crate) seeds: Vec<Node>,
    first: NodeUrl,
}

impl ClusterUrl {
    /// Reads a `redis-cluster://` or `rediss-cluster://` URL.
    pub(crate) fn parse(url: &str) -> Result<ClusterUrl, ConfigError> {
        let expected = "redis-cluster://[user:password@]host[:port],host[:port], with no database, and over TLS \
                        rediss-cluster:// with the parameters of rediss:// too";
        let malformed = || ConfigError::StoreUrl { expected };
        let (scheme, rest) = url.split_once("-cluster://").ok_or_else(malformed)?;
        let Hosts { nodes, first, .. } = Hosts::parse(scheme, rest, DEFAULT_PORT, &[], expected)?;
        if first.has_database() {
            return Err(malformed());
        }
        Ok(ClusterUrl { seeds: nodes, first })
    }

    /// Returns the URL of one of the nodes.
    pub(crate) fn of_node(&self, node: &Node) -> NodeUrl {
        self.first.with_node(node)
    }
}

impl fmt::Display for ClusterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds: Vec<String> = self.seeds.iter().map(Node::to_string).collect();
        write!(f, "{}-cluster://{}", self.first.scheme(), seeds.join(","))
    }
}
