//! Which node of a cluster serves which slot, as the nodes said last.

use crate::deadline::Deadline;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::redis::deployment::all_failed::all_failed;
use crate::store::redis::deployment::cluster::nodes::Nodes;
use crate::store::redis::deployment::cluster::slots::SlotMap;
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::wire::node::Node;
use arc_swap::ArcSwap;
use redis::cmd;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The pause before a thread looks whether another one has renewed the map.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub(crate) struct Topology {
    pub(crate) nodes: Nodes,
    map: ArcSwap<SlotMap>,
    /// Whether the map has to be renewed before the next request.
    is_stale: AtomicBool,
    /// Locked by the thread that renews the map.
    renewal: Mutex<()>,
    /// The node that failed last. It is asked for the map last.
    suspect: Mutex<Option<Node>>,
    /// Why nodes did not give the map when they were asked last.
    failures: Mutex<Vec<StoreError>>,
}

/// How an attempt to renew the map ended.
#[derive(PartialEq, Eq)]
pub(crate) enum Renewal {
    /// The nodes were asked, by this thread or by another one just before.
    Done,
    /// Another thread is asking them now.
    UnderWay,
}

impl Topology {
    pub(crate) fn new(nodes: Nodes) -> Topology {
        Topology {
            nodes,
            map: ArcSwap::default(),
            is_stale: AtomicBool::new(true),
            renewal: Mutex::default(),
            suspect: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Returns the node that serves a slot. Asks the nodes, at most until the deadline, if that is not known.
    pub(crate) fn node_of(&self, slot: u16, deadline: Deadline) -> Result<Node, StoreError> {
        let known = || self.known_node_of(slot);
        while known().is_none() {
            self.expire();
            if self.renew(deadline) == Renewal::Done {
                break;
            }
            self.wait_for_renewal(deadline)?;
        }
        known().ok_or_else(|| self.unknown())
    }

    /// Returns the node that serves a slot, if that is known.
    pub(crate) fn known_node_of(&self, slot: u16) -> Option<Node> {
        self.map.load().node_of(slot).cloned()
    }

    /// Returns whether the same node serves these slots, as far as is known.
    pub(crate) fn is_one_node(&self, one: u16, other: u16) -> bool {
        let map = self.map.load();
        map.node_of(one) == map.node_of(other)
    }

    /// Asks the nodes for the map, and gives it. Slots may be missing.
    pub(crate) fn renewed_map(&self, deadline: Deadline) -> Result<Arc<SlotMap>, StoreError> {
        self.expire();
        while self.renew(deadline) == Renewal::UnderWay {
            self.wait_for_renewal(deadline)?;
        }
        Ok(self.map.load_full())
    }

    /// Has the map renewed before the next request.
    pub(crate) fn expire(&self) {
        self.is_stale.store(true, Ordering::Relaxed);
    }

    /// Has the map renewed before the next request, and this node asked last.
    pub(crate) fn distrust(&self, node: &Node) {
        *lock(&self.suspect) = Some(node.clone());
        self.expire();
    }

    /// Renews the map if that is due.
    pub(crate) fn renew_if_stale(&self, deadline: Deadline) {
        if self.is_stale.load(Ordering::Relaxed) {
            self.renew(deadline);
        }
    }

    /// Renews the map, unless another thread is doing that. Does not wait for the other thread. If no node gives a map,
    /// the old one stays in use.
    pub(crate) fn renew(&self, deadline: Deadline) -> Renewal {
        let Ok(_renewal) = self.renewal.try_lock() else { return Renewal::UnderWay };
        if !self.is_stale.swap(false, Ordering::Relaxed) {
            return Renewal::Done;
        }
        let (maps, failures) = self.ask_nodes(deadline);
        *lock(&self.failures) = failures;
        // Use the map with the most slots. If several maps have the same number, use the first one, because the suspect
        // was asked last.
        match maps.into_iter().rev().max_by_key(SlotMap::slots) {
            Some(map) => {
                self.nodes.keep(&map.nodes());
                self.map.store(Arc::new(map));
            }
            None => self.expire(),
        }
        Renewal::Done
    }

    /// Makes the error of a request whose slot no node serves, as far as is known.
    pub(crate) fn unknown(&self) -> StoreError {
        let what = format!("no node of {} says where all slots are", self.nodes.url);
        all_failed(what, &lock(&self.failures))
    }

    fn wait_for_renewal(&self, deadline: Deadline) -> Result<(), StoreError> {
        if deadline.has_passed() {
            return Err(self.unknown());
        }
        thread::sleep(LOOK_AGAIN);
        Ok(())
    }

    /// Asks the nodes for the map, one after the other, until one of them knows all slots. Each node gets a share of
    /// the time, so that time is left for the next node if one is silent.
    fn ask_nodes(&self, deadline: Deadline) -> (Vec<SlotMap>, Vec<StoreError>) {
        let nodes = self.nodes_to_ask();
        let (mut maps, mut failures) = (Vec::new(), Vec::new());
        for (node, until) in nodes.iter().zip(deadline.shares(nodes.len())) {
            if deadline.has_passed() {
                break;
            }
            match self.ask(node, until) {
                Ok(map) if map.is_complete() => {
                    maps.push(map);
                    break;
                }
                Ok(map) => maps.push(map),
                Err(error) => failures.push(error),
            }
        }
        (maps, failures)
    }

    fn ask(&self, node: &Node, deadline: Deadline) -> Result<SlotMap, StoreError> {
        let mut question = cmd("CLUSTER");
        question.arg("SLOTS");
        let client = self.nodes.client(node, deadline)?;
        let reply = client.request(&Cell::new(Proof::Reads), deadline, |connection, until| {
            connection.asking = false;
            connection.request(&question, until)
        });
        let map = SlotMap::parse(reply.map_err(|failure| client.store_error(failure))?, &node.host);
        // A node that was just started knows of no slots.
        map.filter(|map| map.slots() > 0).ok_or_else(|| {
            let message = format!("{node} does not say how the cluster's slots are divided");
            StoreError::new(StoreErrorKind::Unavailable, message)
        })
    }

    /// Returns the nodes of the map and those of the URL, each once, the suspect last.
    fn nodes_to_ask(&self) -> Vec<Node> {
        let map = self.map.load();
        let mut nodes: Vec<Node> = Vec::new();
        for node in map.nodes().into_iter().chain(&self.nodes.url.seeds) {
            if !nodes.contains(node) {
                nodes.push(node.clone());
            }
        }
        if let Some(suspect) = &*lock(&self.suspect) {
            nodes.sort_by_key(|node| node == suspect);
        }
        nodes
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
