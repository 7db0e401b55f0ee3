//! The Redis that a store URL names: a single server, Sentinels, or a cluster.
//!
//! A deployment has one or more nodes, and a connection goes to one of them. The modules above pass each request as a
//! closure, so this module does not know what a request sends.

mod all_failed;
mod announce;
mod circuit_breaker;
pub(crate) mod cluster;
mod connections;
mod hosts;
mod incidents;
mod node_client;
mod node_locator;
pub(crate) mod proof;
mod sentinel;
mod single;
mod token_bucket;

use crate::deadline::Deadline;
use crate::error::{ConfigError, StoreError};
use crate::store::redis::deployment::cluster::ClusterClient;
use crate::store::redis::deployment::cluster::cluster_url::ClusterUrl;
use crate::store::redis::deployment::cluster::slots::slot_of;
use crate::store::redis::deployment::node_client::NodeClient;
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::deployment::sentinel::Sentinels;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::Failure;
use crate::store::redis::wire::node_url::NodeUrl;
use crate::store::stats::Counters;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

/// What a store URL names. Its `Display` form shows neither the user nor the password.
pub(crate) enum Deployment {
    Single(NodeUrl),
    Sentinel(Arc<Sentinels>),
    Cluster(Arc<ClusterUrl>),
}

/// The connections of one process to a deployment.
pub(crate) enum Client {
    /// Every key is at one node.
    Node(Box<NodeClient>),
    /// Every key is at the node of its slot.
    Cluster(Box<ClusterClient>),
}

/// The nodes that keep sessions.
pub(crate) struct Layout {
    pub(crate) nodes: Vec<NodePlace>,
    /// A number that is another one if other nodes keep the sessions.
    pub(crate) fingerprint: u64,
}

/// A node that keeps sessions.
pub(crate) struct NodePlace {
    /// A key with this hash tag is kept by the node.
    pub(crate) hash_tag: String,
    /// The address of the node, in a cluster.
    pub(crate) name: Option<String>,
}

impl Deployment {
    pub(crate) fn parse(url: &str) -> Result<Deployment, ConfigError> {
        match url.split_once(':').map_or("", |(scheme, _)| scheme) {
            "redis-sentinel" | "rediss-sentinel" => Sentinels::parse(url).map(Arc::new).map(Deployment::Sentinel),
            "redis-cluster" | "rediss-cluster" => ClusterUrl::parse(url).map(Arc::new).map(Deployment::Cluster),
            _ => NodeUrl::parse(url).map(Deployment::Single),
        }
    }

    /// Makes the client of this process. The client does not connect yet.
    pub(crate) fn open(
        &self,
        pool_size: u32,
        deadline: Deadline,
        counters: &Arc<Counters>,
    ) -> Result<Client, StoreError> {
        let counters = counters.clone();
        Ok(match self {
            Deployment::Single(url) => {
                Client::Node(Box::new(NodeClient::at_address(url.clone(), pool_size, deadline, counters)?))
            }
            Deployment::Sentinel(sentinels) => {
                Client::Node(Box::new(NodeClient::of_primary(sentinels.clone(), pool_size, deadline, counters)?))
            }
            Deployment::Cluster(url) => Client::Cluster(Box::new(ClusterClient::new(url.clone(), pool_size, counters))),
        })
    }

    /// Returns whether keys are divided into slots, so that one script can name only keys of one slot.
    pub(crate) fn has_slots(&self) -> bool {
        matches!(self, Deployment::Cluster(_))
    }

    /// Returns whether another node can take the place of one that fails.
    pub(crate) fn expects_replicas(&self) -> bool {
        !matches!(self, Deployment::Single(_))
    }

    /// Returns whether one script can name both keys.
    pub(crate) fn are_in_one_slot(&self, one: &str, other: &str) -> bool {
        !self.has_slots() || slot_of(one.as_bytes()) == slot_of(other.as_bytes())
    }
}

impl Client {
    /// Sends a request to the node that keeps this key. If the connection fails, the request is sent again, although
    /// the node may have carried it out already. So a request that is carried out twice must do the same as once.
    ///
    /// `proof` holds what an answer proves about the node. The closure may change it.
    pub(crate) fn request<R>(
        &self,
        key: &[u8],
        proof: &Cell<Proof>,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<R, Failure>,
    ) -> Result<R, StoreError> {
        match self {
            Client::Node(node) => node.request_without_redirection(proof, deadline, request),
            Client::Cluster(cluster) => cluster.request(slot_of(key), proof, deadline, request),
        }
    }

    /// Sends a request to every node that keeps sessions.
    pub(crate) fn request_everywhere(
        &self,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<(), Failure>,
    ) -> Result<(), StoreError> {
        match self {
            Client::Node(node) => node.request_without_redirection(&Cell::new(Proof::Reads), deadline, request),
            Client::Cluster(cluster) => cluster.request_everywhere(deadline, request),
        }
    }

    /// Returns one hash tag for each node that keeps sessions. A key with this hash tag is kept by that node.
    pub(crate) fn hash_tag_of_each_node(&self, deadline: Deadline) -> Result<Vec<String>, StoreError> {
        Ok(self.layout(deadline)?.nodes.into_iter().map(|node| node.hash_tag).collect())
    }

    /// Asks which nodes keep sessions now.
    pub(crate) fn layout(&self, deadline: Deadline) -> Result<Layout, StoreError> {
        match self {
            Client::Node(node) => {
                Ok(Layout { nodes: vec![NodePlace { hash_tag: tag(0), name: None }], fingerprint: node.epoch() })
            }
            Client::Cluster(cluster) => {
                let map = cluster.renewed_map(deadline)?;
                let mut missing = map.nodes();
                let mut nodes = Vec::new();
                for hash_tag in (0..MOST_HASH_TAGS).map(tag) {
                    if missing.is_empty() {
                        break;
                    }
                    let node = map.node_of(slot_of(hash_tag.as_bytes()));
                    if let Some(at) = missing.iter().position(|other| Some(*other) == node) {
                        let name = Some(missing.swap_remove(at).to_string());
                        nodes.push(NodePlace { hash_tag, name });
                    }
                }
                Ok(Layout { nodes, fingerprint: map.fingerprint() })
            }
        }
    }

    /// Returns whether the nodes are no longer those of this layout, as far as is known.
    pub(crate) fn has_changed(&self, layout: &Layout) -> bool {
        match self {
            Client::Node(node) => node.epoch() != layout.fingerprint,
            // A node that does not keep a slot any more redirects requests, which are then repeated elsewhere.
            Client::Cluster(_) => false,
        }
    }

    /// Returns whether both keys are at the same node, as far as is known.
    pub(crate) fn are_at_one_node(&self, one: &str, other: &str) -> bool {
        match self {
            Client::Node(_) => true,
            Client::Cluster(cluster) => cluster.is_one_node(slot_of(one.as_bytes()), slot_of(other.as_bytes())),
        }
    }

    /// Closes the connections that no call uses.
    pub(crate) fn close_idle(&self) {
        match self {
            Client::Node(node) => node.close_idle(),
            Client::Cluster(cluster) => cluster.close_idle(),
        }
    }
}

/// The most hash tags that are tried. They are enough to find one for each of the 16,384 slots. Without a limit, the
/// search would not end if the map is wrong.
const MOST_HASH_TAGS: u32 = 300_000;

fn tag(number: u32) -> String {
    format!("probe-{number}")
}

impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deployment::Single(url) => url.fmt(f),
            Deployment::Sentinel(sentinels) => sentinels.fmt(f),
            Deployment::Cluster(url) => url.fmt(f),
        }
    }
}
