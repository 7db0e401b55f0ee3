//! A Redis Cluster of the test's own.

use super::redis::{Redis, free_port};
use super::until;
use std::collections::BTreeSet;

const SLOTS: usize = 16384;
/// How long a node may be silent before it counts as lost.
const NODE_TIMEOUT: &str = "2000";

pub struct Cluster {
    pub nodes: Vec<Node>,
}

pub struct Node {
    pub redis: Redis,
    pub port: u16,
    bus: u16,
}

impl Node {
    pub fn start(options: &[&str]) -> Node {
        let (port, bus) = (free_port(), free_port());
        let (port_text, bus_text) = (port.to_string(), bus.to_string());
        let own =
            ["--port", &port_text, "--cluster-port", &bus_text, "--bind", "127.0.0.1", "--cluster-enabled", "yes"];
        let more = ["--cluster-node-timeout", NODE_TIMEOUT, "--repl-diskless-sync-delay", "0"];
        Node { redis: Redis::start_with(&[&own[..], &more[..], options].concat()), port, bus }
    }

    pub fn id(&self) -> String {
        self.redis.run(&["CLUSTER", "MYID"])
    }

    fn meet(&self, other: &Node) {
        let (port, bus) = (other.port.to_string(), other.bus.to_string());
        self.redis.run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    }

    pub fn info(&self, line: &str) -> bool {
        self.redis.run::<String>(&["CLUSTER", "INFO"]).lines().any(|other| other.trim() == line)
    }
}

impl Cluster {
    /// So many primaries, which share the slots evenly.
    pub fn start(primaries: usize) -> Cluster {
        Cluster::start_with(primaries, &[])
    }

    pub fn start_with(primaries: usize, options: &[&str]) -> Cluster {
        let nodes: Vec<Node> = (0..primaries).map(|_| Node::start(options)).collect();
        for (number, node) in nodes.iter().enumerate() {
            let (first, last) = (SLOTS * number / primaries, SLOTS * (number + 1) / primaries - 1);
            node.redis.run::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            node.redis.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            nodes[0].meet(node);
        }
        let cluster = Cluster { nodes };
        cluster.wait_until_sound();
        cluster
    }

    /// Adds a replica to each of the primaries.
    pub fn add_replicas(&mut self) {
        let primaries = self.nodes.len();
        for number in 0..primaries {
            let replica = Node::start(&[]);
            self.nodes[0].meet(&replica);
            self.nodes.push(replica);
            self.wait_until_sound();
            let (primary, replica) = (self.nodes[number].id(), &self.nodes[primaries + number]);
            until(|| replica.redis.try_run::<()>(&["CLUSTER", "REPLICATE", &primary]).is_ok());
            until(|| replica.redis.run::<String>(&["INFO", "replication"]).contains("master_link_status:up"));
        }
        // All nodes know who is whose replica.
        let replicas = |node: &Node| node.redis.run::<String>(&["CLUSTER", "NODES"]).matches("slave ").count();
        until(|| self.nodes.iter().all(|node| replicas(node) == primaries));
    }

    fn wait_until_sound(&self) {
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        until(|| self.nodes.iter().all(|node| node.info("cluster_state:ok") && node.info(&known)));
    }

    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    /// The node that has the slot of this key.
    pub fn node_of(&self, key: &str) -> &Node {
        let has = |node: &&Node| node.redis.try_run::<i64>(&["EXISTS", key]).is_ok();
        self.nodes.iter().find(has).expect("some node has the slot")
    }

    pub fn keys(&self) -> Vec<String> {
        let keys: BTreeSet<String> = self.nodes.iter().flat_map(|node| node.redis.keys()).collect();
        keys.into_iter().collect()
    }

    pub fn records(&self) -> Vec<String> {
        let records: BTreeSet<String> = self.nodes.iter().flat_map(|node| node.redis.records()).collect();
        records.into_iter().collect()
    }
}

/// The slot of a key.
pub fn slot_of(node: &Node, key: &str) -> u16 {
    node.redis.run(&["CLUSTER", "KEYSLOT", key])
}

impl Cluster {
    /// Begins to move a slot: its new keys go to the other node, and what is there still can be moved by `move_keys`.
    pub fn begin_to_move(slot: u16, from: &Node, to: &Node) {
        let slot = slot.to_string();
        to.redis.run::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from.id()]);
        from.redis.run::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to.id()]);
    }

    pub fn move_keys(slot: u16, from: &Node, to: &Node) {
        let port = to.port.to_string();
        loop {
            let keys: Vec<String> = from.redis.run(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "100"]);
            if keys.is_empty() {
                return;
            }
            let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            migrate.extend(keys.iter().map(String::as_str));
            from.redis.run::<String>(&migrate);
        }
    }

    pub fn end_to_move(&self, slot: u16, to: &Node) {
        let (slot, id) = (slot.to_string(), to.id());
        to.redis.run::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        for node in &self.nodes {
            node.redis.run::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        }
    }

    pub fn move_slot(&self, slot: u16, from: &Node, to: &Node) {
        Cluster::begin_to_move(slot, from, to);
        Cluster::move_keys(slot, from, to);
        self.end_to_move(slot, to);
    }
}
