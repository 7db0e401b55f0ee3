//! A Redis Cluster: a pool for each node, and every request to the node of its slot.
//!
//! The `redis` crate's own client sends a command again after a read timeout, and sleeps between its tries without
//! regard to a deadline.

use crate::deadline::Deadline;
use crate::error::{ConfigError, StoreError, StoreErrorKind};
use crate::store::redis::servers::health::{Health, Shows};
use crate::store::redis::servers::pool::Pool;
use crate::store::redis::servers::slots::SlotMap;
use crate::store::redis::servers::target::Target;
use crate::store::redis::wire::address::{Address, hosts_of};
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::{Extent, Failure, Redirect, none_could};
use crate::store::redis::wire::node::Node;
use crate::store::redis::wire::socket::left;
use crate::store::stats::Counters;
use arc_swap::ArcSwap;
use redis::cmd;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, thread};

const DEFAULT_PORT: &str = ":6379";
/// After so many redirections, one after the other, the nodes do not agree yet.
const MANY_REDIRECTS: u32 = 4;
/// How long to wait before asking again while that is so, or while the keys of a slot are on two nodes.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Cluster {
    seeds: Arc<Seeds>,
    pool_size: u32,
    counters: Arc<Counters>,
    health: Health,
    map: ArcSwap<SlotMap>,
    /// Whether the map is to be asked for before the next request.
    stale: AtomicBool,
    /// Held by the one that asks for the map.
    asking: Mutex<()>,
    pools: Mutex<HashMap<Node, Arc<Pool>>>,
    /// The node that failed last: it is asked for the map last.
    suspect: Mutex<Option<Node>>,
    /// Why nodes did not give the map when it was last asked for.
    failures: Mutex<Vec<StoreError>>,
}

/// What a URL says of a cluster.
pub(crate) struct Seeds {
    pub(crate) nodes: Vec<Node>,
    /// How to log in at each node.
    pub(crate) address: Address,
}

impl Seeds {
    /// From a `redis-cluster://` or `rediss-cluster://` URL.
    pub(crate) fn parse(url: &str) -> Result<Seeds, ConfigError> {
        let expected = "redis-cluster://[user:password@]host[:port],host[:port], with no database, and over TLS \
                        rediss-cluster:// with the parameters of rediss:// too";
        let malformed = || ConfigError::StoreUrl { expected };
        let (scheme, rest) = url.split_once("-cluster://").ok_or_else(malformed)?;
        let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let nodes = hosts_of(hosts, DEFAULT_PORT, expected)?;
        let first = hosts.split(',').next().unwrap_or_default();
        let (address, _) = Address::parse_with(&format!("{scheme}://{login}{first}{path_and_query}"), &[], expected)?;
        if address.has_database() {
            return Err(malformed());
        }
        Ok(Seeds { nodes, address })
    }
}

/// Without user and password.
impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<String> = self.nodes.iter().map(Node::to_string).collect();
        write!(f, "{}-cluster://{}", self.address.scheme(), nodes.join(","))
    }
}

impl Cluster {
    pub(crate) fn new(seeds: Arc<Seeds>, pool_size: u32, counters: Arc<Counters>) -> Cluster {
        Cluster {
            seeds,
            pool_size,
            counters,
            health: Health::default(),
            map: ArcSwap::default(),
            stale: AtomicBool::new(true),
            asking: Mutex::default(),
            pools: Mutex::default(),
            suspect: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Makes a request at the node that serves this slot, wherever that leads. `shows` is as for `Pool::request`.
    pub(crate) fn request<R>(
        &self,
        slot: u16,
        shows: &Cell<Shows>,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<R, Failure>,
    ) -> Result<R, StoreError> {
        let answer = self.find(slot, shows, deadline, request);
        if answer.is_ok() {
            self.health.note_success(&*self.seeds, shows.get());
        }
        answer
    }

    fn find<R>(
        &self,
        slot: u16,
        shows: &Cell<Shows>,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<R, Failure>,
    ) -> Result<R, StoreError> {
        if self.stale.load(Ordering::Relaxed) {
            self.renew_map(deadline.halfway());
        }
        let (mut node, mut asking) = (self.node_of(slot, deadline)?, false);
        let (mut retried, mut put_off) = (false, None);
        let mut redirects = 0;
        loop {
            redirects += 1;
            if redirects > MANY_REDIRECTS {
                if left(deadline).is_err() {
                    return Err(put_off.map_or_else(|| self.unsettled(), |later| self.given_up(later)));
                }
                thread::sleep(PAUSE);
            }
            let pool = self.pool(&node)?;
            let answer = pool.request(shows, deadline, |connection, until| {
                connection.asking = asking;
                request(connection, until)
            });
            let failure = match answer {
                Ok(result) => return Ok(result),
                Err(failure) => failure,
            };
            match failure {
                Failure::Redirected(Redirect::Moved(to)) => {
                    self.stale.store(true, Ordering::Relaxed);
                    (node, asking) = (named(to, &node), false);
                }
                Failure::Redirected(Redirect::Ask(to)) => (node, asking) = (named(to, &node), true),
                Failure::Redirected(later @ (Redirect::Later(_) | Redirect::OnTheMove(_))) => {
                    // It may be cut off, and not know what the others have agreed on.
                    self.distrust(&node);
                    if !left(deadline).is_ok_and(|left| left > 2 * PAUSE) {
                        return Err(self.given_up(later));
                    }
                    // Ever longer, so that many who wait do not keep the nodes busy.
                    thread::sleep((PAUSE * redirects.min(10)).min(left(deadline).unwrap_or_default() / 2));
                    self.renew_map(deadline.halfway());
                    (node, asking) = (self.node_of(slot, deadline)?, false);
                    put_off = Some(later);
                }
                // Another node would not do better.
                Failure::Refused { error, extent } if extent != Extent::Connection => return Err(error),
                failure => {
                    let was_asked = !matches!(failure, Failure::TooLate);
                    let was_demoted = matches!(failure, Failure::NotPrimary(_));
                    let error = pool.told(failure);
                    if !was_demoted && !matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Timeout) {
                        return Err(error);
                    }
                    if was_asked {
                        // A replica may have taken its place.
                        self.distrust(&node);
                    }
                    if left(deadline).is_err() {
                        // If the time has gone with waiting, what was waited for is the reason.
                        return Err(put_off.map_or(error, |later| self.given_up(later)));
                    }
                    if retried {
                        return Err(error);
                    }
                    retried = true;
                    self.renew_map(deadline.halfway());
                    match self.map.load().node_of(slot) {
                        Some(other) if *other != node => (node, asking) = (other.clone(), false),
                        _ => return Err(error),
                    }
                }
            }
        }
    }

    fn unsettled(&self) -> StoreError {
        let message = format!("the nodes of {} do not agree which of them keeps this session", self.seeds);
        self.unfit(StoreError::new(StoreErrorKind::Unavailable, message))
    }

    /// From then on this node is asked last where the slots are.
    fn distrust(&self, node: &Node) {
        *lock(&self.suspect) = Some(node.clone());
        self.stale.store(true, Ordering::Relaxed);
    }

    /// What was waited for has not come.
    fn given_up(&self, later: Redirect) -> StoreError {
        let is_outage = matches!(later, Redirect::Later(_));
        let error = Failure::Redirected(later).into_store_error(&*self.seeds);
        if is_outage { self.unfit(error) } else { error }
    }

    /// An error that is the cluster's, and not that of one of its nodes: their pools tell the log of those.
    fn unfit(&self, error: StoreError) -> StoreError {
        self.health.note_outage(&*self.seeds, &error);
        error
    }

    /// Makes a request to every primary. It is an error if a slot has none.
    pub(crate) fn ask_all(
        &self,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<(), Failure>,
    ) -> Result<(), StoreError> {
        let map = self.ask_for_new_map(deadline)?;
        for node in map.nodes() {
            let pool = self.pool(node)?;
            pool.request(&Cell::new(Shows::Reads), deadline, &request).map_err(|failure| pool.told(failure))?;
        }
        if !map.is_complete() {
            return Err(self.unknown());
        }
        self.health.note_success(&*self.seeds, Shows::Reads);
        Ok(())
    }

    /// A map of all slots, as the nodes divide them now.
    pub(crate) fn renewed_map(&self, deadline: Deadline) -> Result<Arc<SlotMap>, StoreError> {
        let map = self.ask_for_new_map(deadline)?;
        if map.is_complete() { Ok(map) } else { Err(self.unknown()) }
    }

    fn ask_for_new_map(&self, deadline: Deadline) -> Result<Arc<SlotMap>, StoreError> {
        self.stale.store(true, Ordering::Relaxed);
        while !self.renew_map(deadline) {
            left(deadline).map_err(|_| self.unknown())?;
            thread::sleep(PAUSE);
        }
        Ok(self.map.load_full())
    }

    /// Whether the same node serves these slots, as far as is known.
    pub(crate) fn serves_alike(&self, one: u16, other: u16) -> bool {
        let map = self.map.load();
        map.node_of(one) == map.node_of(other)
    }

    pub(crate) fn close_idle(&self) {
        lock(&self.pools).values().for_each(|pool| pool.close_idle());
    }

    fn node_of(&self, slot: u16, deadline: Deadline) -> Result<Node, StoreError> {
        let known = || self.map.load().node_of(slot).cloned();
        while known().is_none() {
            self.stale.store(true, Ordering::Relaxed);
            if self.renew_map(deadline) {
                break;
            }
            left(deadline).map_err(|_| self.unknown())?;
            thread::sleep(PAUSE);
        }
        known().ok_or_else(|| self.unknown())
    }

    fn unknown(&self) -> StoreError {
        let what = format!("no node of {} says where all slots are", self.seeds);
        self.unfit(none_could(what, &lock(&self.failures)))
    }

    /// Asks the nodes for the map, one after the other, each with its share of the time, until one knows of all slots. If
    /// none answers, the old map is used on. Says `false` if another thread is at it: that is not waited for.
    fn renew_map(&self, deadline: Deadline) -> bool {
        let Ok(_asking) = self.asking.try_lock() else { return false };
        if !self.stale.swap(false, Ordering::Relaxed) {
            return true; // Another thread was faster.
        }
        let nodes = self.nodes_to_ask();
        let (mut maps, mut failures) = (Vec::new(), Vec::new());
        for (tried, node) in nodes.iter().enumerate() {
            if deadline.has_passed() {
                break;
            }
            match self.ask_for_map(node, deadline.share_of((nodes.len() - tried) as u32)) {
                Ok(map) => {
                    let is_complete = map.is_complete();
                    maps.push(map);
                    if is_complete {
                        break;
                    }
                }
                Err(error) => failures.push(error),
            }
        }
        *lock(&self.failures) = failures;
        // Of those that know as much, the first: whom we distrust is asked last.
        match maps.into_iter().rev().max_by_key(SlotMap::slots) {
            Some(map) => {
                self.forget_pools(&map);
                self.map.store(Arc::new(map));
            }
            None => self.stale.store(true, Ordering::Relaxed),
        }
        true
    }

    fn ask_for_map(&self, node: &Node, deadline: Deadline) -> Result<SlotMap, StoreError> {
        let mut slots = cmd("CLUSTER");
        slots.arg("SLOTS");
        let pool = self.pool(node)?;
        let reply = pool.request(&Cell::new(Shows::Reads), deadline, |connection, until| {
            connection.asking = false;
            connection.request(&slots, until)
        });
        let map = SlotMap::parse(reply.map_err(|failure| pool.told(failure))?, &node.host);
        // A node that has just been started knows of no slots.
        map.filter(|map| map.slots() > 0).ok_or_else(|| {
            let message = format!("{node} does not say how the cluster's slots are divided");
            StoreError::new(StoreErrorKind::Unavailable, message)
        })
    }

    /// Those that are in the map, those of the URL, and the one that failed last.
    fn nodes_to_ask(&self) -> Vec<Node> {
        let map = self.map.load();
        let mut nodes: Vec<Node> = Vec::new();
        for node in map.nodes().into_iter().chain(&self.seeds.nodes) {
            if !nodes.contains(node) {
                nodes.push(node.clone());
            }
        }
        if let Some(suspect) = &*lock(&self.suspect) {
            nodes.sort_by_key(|node| node == suspect);
        }
        nodes
    }

    fn pool(&self, node: &Node) -> Result<Arc<Pool>, StoreError> {
        if let Some(pool) = lock(&self.pools).get(node) {
            return Ok(pool.clone());
        }
        let target = Target::Server(self.seeds.address.at(node));
        let new = Arc::new(Pool::new(Arc::new(target), self.pool_size, self.counters.clone())?);
        Ok(lock(&self.pools).entry(node.clone()).or_insert(new).clone())
    }

    /// Closes the connections to nodes that are not primaries any more. Those of the URL may be asked for the map still.
    fn forget_pools(&self, map: &SlotMap) {
        let nodes = map.nodes();
        lock(&self.pools).retain(|node, pool| {
            let is_primary = nodes.contains(&node);
            pool.note_whether_needed(is_primary);
            is_primary || self.seeds.nodes.contains(node)
        });
    }
}

/// The node that a redirection leads to. One that does not know its own name leaves it out: it is at the same host.
fn named(to: Node, from: &Node) -> Node {
    if to.host.is_empty() { Node::new(&from.host, to.port) } else { to }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
