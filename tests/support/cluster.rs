//! A Redis Cluster of the test's own.

use super::ports::free_port_of_node;
use super::redis::{Redis, run};
use super::tls::{Authority, Certified};
use super::until;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const SLOTS: usize = 16384;
/// How long a node may be silent before the other nodes count it as lost, in milliseconds. On a busy machine, a healthy
/// node can be silent for some time.
const NODE_TIMEOUT: &str = "20000";
/// The same, for tests in which a node is lost.
const SHORT_NODE_TIMEOUT: &str = "2000";

pub struct Cluster {
    pub nodes: Vec<Node>,
}

pub struct Node {
    pub redis: Redis,
    pub port: u16,
}

impl Node {
    pub fn start(options: &[&str]) -> Node {
        let port = free_port_of_node();
        Node::start_at(port, &[&["--port", &port.to_string()], options].concat())
    }

    /// Starts one that speaks TLS.
    fn start_with_tls(authority: &Authority, certified: &Certified, options: &[&str]) -> Node {
        let port = free_port_of_node();
        let tls = authority.options(certified, port);
        let tls: Vec<&str> = tls.iter().map(String::as_str).chain(["--tls-cluster", "yes"]).collect();
        Node::start_at(port, &[&tls, options].concat())
    }

    fn start_at(port: u16, options: &[&str]) -> Node {
        let own = ["--bind", "127.0.0.1", "--cluster-enabled", "yes"];
        let more = ["--cluster-node-timeout", NODE_TIMEOUT, "--repl-diskless-sync-delay", "0"];
        Node { redis: Redis::start_with(&[&own[..], &more[..], options].concat()), port }
    }

    pub fn id(&self) -> String {
        self.redis.run(&["CLUSTER", "MYID"])
    }

    fn meet(&self, other: &Node) {
        self.redis.run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string()]);
    }

    /// Whether this node believes that the node of this id has this slot.
    fn believes_in(&self, id: &str, slot: u16) -> bool {
        let nodes: String = self.redis.run(&["CLUSTER", "NODES"]);
        let ranges =
            nodes.lines().find(|line| line.starts_with(id)).into_iter().flat_map(|line| line.split(' ').skip(8));
        let contains = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.parse::<u16>(), last.parse::<u16>());
            matches!((first, last), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
        };
        ranges.into_iter().any(contains)
    }

    /// Whether this node says this line of itself.
    pub fn info(&self, line: &str) -> bool {
        self.redis.run::<String>(&["CLUSTER", "INFO"]).lines().any(|other| other.trim() == line)
    }
}

impl Cluster {
    /// Starts this number of primaries, which share the slots evenly.
    pub fn start(primaries: usize) -> Cluster {
        Cluster::start_with(primaries, &[])
    }

    pub fn start_with_tls(authority: &Authority, certified: &Certified, options: &[&str]) -> Cluster {
        Cluster::of((0..2).map(|_| Node::start_with_tls(authority, certified, options)).collect())
    }

    pub fn start_with(primaries: usize, options: &[&str]) -> Cluster {
        Cluster::of((0..primaries).map(|_| Node::start(options)).collect())
    }

    fn of(nodes: Vec<Node>) -> Cluster {
        let primaries = nodes.len();
        for (number, node) in nodes.iter().enumerate() {
            let slots = SLOTS * number / primaries..SLOTS * (number + 1) / primaries;
            let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
            let add = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str));
            node.redis.run::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            node.redis.run::<()>(&add.collect::<Vec<_>>());
            nodes[0].meet(node);
        }
        let cluster = Cluster { nodes };
        cluster.wait_until_sound();
        cluster
    }

    /// Adds a replica to each of the primaries, which takes its place soon after it is lost.
    pub fn add_replicas(&mut self) {
        let primaries = self.nodes.len();
        for _ in 0..primaries {
            let replica = Node::start(&[]);
            self.nodes[0].meet(&replica);
            self.nodes.push(replica);
        }
        self.wait_until_sound();
        let (primaries, replicas) = self.nodes.split_at(primaries);
        for (primary, replica) in primaries.iter().zip(replicas) {
            let id = primary.id();
            until(|| replica.redis.try_run::<()>(&["CLUSTER", "REPLICATE", &id]).is_ok());
        }
        for replica in replicas {
            until(|| replica.redis.run::<String>(&["INFO", "replication"]).contains("master_link_status:up"));
        }
        // All nodes know which node is the replica of which.
        let known = |node: &Node| node.redis.run::<String>(&["CLUSTER", "NODES"]).matches("slave ").count();
        until(|| self.nodes.iter().all(|node| known(node) == replicas.len()));
        for node in &self.nodes {
            node.redis.run::<()>(&["CONFIG", "SET", "cluster-node-timeout", SHORT_NODE_TIMEOUT]);
        }
    }

    fn wait_until_sound(&self) {
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        for node in &self.nodes {
            let connection = &mut node.redis.connect();
            until(|| {
                let info: String = run(connection, &["CLUSTER", "INFO"]);
                ["cluster_state:ok", &known].iter().all(|line| info.lines().any(|other| other == *line))
            });
        }
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

    /// How many scripts and loads all nodes were asked for so far, including those that they sent elsewhere. Each load
    /// has one ECHO.
    pub fn requests(&self) -> usize {
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<usize>().ok()).unwrap_or_default();
        let of_line = |line: &str| {
            let value = |name: &str| number(line.split([':', ',']).find_map(|part| part.strip_prefix(name)));
            value("calls=") + value("rejected_calls=")
        };
        let of_node = |node: &Node| {
            let info: String = node.redis.run(&["INFO", "commandstats"]);
            let lines =
                info.lines().filter(|line| ["cmdstat_eval", "cmdstat_echo"].iter().any(|name| line.starts_with(name)));
            lines.map(of_line).sum::<usize>()
        };
        self.nodes.iter().map(of_node).sum()
    }

    // ---- slots that move ----

    /// The slot of a key.
    pub fn slot_of(&self, key: &str) -> u16 {
        self.nodes[0].redis.run(&["CLUSTER", "KEYSLOT", key])
    }

    /// The node that has the slot of this key, and another one.
    pub fn node_of_and_another(&self, key: &str) -> (&Node, &Node) {
        let node = self.node_of(key);
        (node, self.nodes.iter().find(|other| other.port != node.port).expect("there is another node"))
    }

    /// Begins to move a slot: its new keys go to the other node, and `move_keys` moves those that are there.
    pub fn begin_to_move(slot: u16, from: &Node, to: &Node) {
        let slot = slot.to_string();
        // Both nodes have to know by then which of them has it.
        until(|| to.redis.try_run::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from.id()]).is_ok());
        until(|| from.redis.try_run::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to.id()]).is_ok());
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
        let (slot_text, id) = (slot.to_string(), to.id());
        // An older message from another node may undo the change at one of them. So all of them have to know it for a
        // while, and until then, try again.
        let mut known_since = None;
        until(|| {
            if self.nodes.iter().all(|node| node.believes_in(&id, slot)) {
                return known_since.get_or_insert_with(Instant::now).elapsed() >= Duration::from_millis(20);
            }
            known_since = None;
            for node in [to].into_iter().chain(&self.nodes) {
                let _ = node.redis.try_run::<()>(&["CLUSTER", "SETSLOT", &slot_text, "NODE", &id]);
            }
            false
        });
    }

    pub fn move_slot(&self, slot: u16, from: &Node, to: &Node) {
        Cluster::begin_to_move(slot, from, to);
        Cluster::move_keys(slot, from, to);
        self.end_to_move(slot, to);
    }
}
