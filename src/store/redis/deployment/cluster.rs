//! A Redis Cluster: each request goes to the node that serves its slot.
//!
//! The cluster client of the `redis` crate is not used, because it sends a command again after a read timeout, and it
//! sleeps between its tries without looking at a deadline. This client ends by the deadline, and leaves retries to the
//! client of the node.

pub(crate) mod cluster_url;
mod nodes;
pub(crate) mod slots;
mod topology;

use crate::deadline::Deadline;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::redis::deployment::cluster::cluster_url::ClusterUrl;
use crate::store::redis::deployment::cluster::nodes::Nodes;
use crate::store::redis::deployment::cluster::slots::SlotMap;
use crate::store::redis::deployment::cluster::topology::Topology;
use crate::store::redis::deployment::incidents::Incidents;
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::{Affects, Failure, Redirect};
use crate::store::redis::wire::node::Node;
use crate::store::stats::Counters;
use std::cell::Cell;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// After this many redirections, a request pauses before each try, because the nodes do not agree about the slot yet.
const MANY_REDIRECTS: u32 = 4;
/// The pause before a request is sent again while the nodes do not agree, or while the keys of a slot are on two nodes.
const PAUSE: Duration = Duration::from_millis(5);

/// The connections of one process to a cluster.
pub(crate) struct ClusterClient {
    url: Arc<ClusterUrl>,
    topology: Topology,
    incidents: Incidents,
}

/// Where a request is sent next.
struct Destination {
    node: Node,
    /// Whether the node is about to get the slot, so that `ASKING` has to be sent before the request.
    asking: bool,
}

/// A request on its way to the right node.
struct Routing {
    slot: u16,
    deadline: Deadline,
    /// How often the request was sent.
    tries: u32,
    /// Whether a replacement was looked for, because a node failed.
    has_replaced: bool,
    /// The reason why a node has last told us to wait.
    waited_for: Option<Redirect>,
}

impl ClusterClient {
    pub(crate) fn new(url: Arc<ClusterUrl>, pool_size: u32, counters: Arc<Counters>) -> ClusterClient {
        let nodes = Nodes::new(url.clone(), pool_size, counters);
        let topology = Topology::new(nodes);
        ClusterClient { incidents: Incidents::new(url.to_string()), url, topology }
    }

    /// Sends a request to the node that serves this slot, and follows redirections. `proof` is as for
    /// `NodeClient::request`.
    pub(crate) fn request<R>(
        &self,
        slot: u16,
        proof: &Cell<Proof>,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<R, Failure>,
    ) -> Result<R, StoreError> {
        self.topology.renew_if_stale(deadline.halfway());
        let mut to = self.home_of(slot, deadline)?;
        let mut routing = Routing { slot, deadline, tries: 0, has_replaced: false, waited_for: None };
        loop {
            routing.tries += 1;
            if routing.tries > MANY_REDIRECTS {
                self.pause(&mut routing)?;
            }
            let node = self.topology.nodes.client(&to.node, deadline)?;
            let answer = node.request(proof, deadline, |connection, until| {
                connection.asking = to.asking;
                request(connection, until)
            });
            to = match answer {
                Ok(result) => {
                    self.incidents.note_answer(proof.get());
                    return Ok(result);
                }
                Err(failure) => self.next(to.node, failure, &mut routing)?,
            };
        }
    }

    /// Decides where a request that failed at a node is sent next. If it is not sent again, gives the error.
    fn next(&self, from: Node, failure: Failure, routing: &mut Routing) -> Result<Destination, StoreError> {
        match failure {
            Failure::Redirected(Redirect::Moved(node)) => {
                self.topology.expire();
                Ok(Destination { node: resolve(node, &from), asking: false })
            }
            Failure::Redirected(Redirect::Ask(node)) => Ok(Destination { node: resolve(node, &from), asking: true }),
            Failure::Redirected(reason @ (Redirect::NotReady(_) | Redirect::KeysMoving(_))) => {
                self.wait(from, reason, routing)
            }
            // Another node would refuse it too.
            Failure::Refused { error, affects } if affects != Affects::ThisConnection => Err(error),
            failure => self.replace(from, failure, routing),
        }
    }

    /// Waits a little until the nodes agree, and then asks again which node serves the slot.
    fn wait(&self, from: Node, reason: Redirect, routing: &mut Routing) -> Result<Destination, StoreError> {
        let Routing { slot, deadline, tries, .. } = *routing;
        // The node may be cut off, and not know what the others have agreed on.
        self.topology.distrust(&from);
        if deadline.left() <= 2 * PAUSE {
            return Err(self.given_up(reason));
        }
        // The pauses grow. So the nodes stay free even if many calls wait.
        thread::sleep((PAUSE * tries.min(10)).min(deadline.left() / 2));
        self.topology.renew(deadline.halfway());
        let destination = self.home_of(slot, deadline)?;
        routing.waited_for = Some(reason);
        Ok(destination)
    }

    /// Looks once whether another node has taken the place of one that failed.
    fn replace(&self, failed: Node, failure: Failure, routing: &mut Routing) -> Result<Destination, StoreError> {
        let was_asked = !matches!(failure, Failure::TooLate);
        let is_replica = matches!(failure, Failure::NotPrimary(_));
        let error = failure.into_store_error(self.url.of_node(&failed));
        if !is_replica && !matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Timeout) {
            return Err(error);
        }
        if was_asked {
            self.topology.distrust(&failed);
        }
        if routing.deadline.has_passed() {
            // If this request has waited, report the reason for the wait, not this failure.
            return Err(routing.waited_for.take().map_or(error, |reason| self.given_up(reason)));
        }
        if routing.has_replaced {
            return Err(error);
        }
        routing.has_replaced = true;
        self.topology.renew(routing.deadline.halfway());
        match self.topology.known_node_of(routing.slot) {
            Some(node) if node != failed => Ok(Destination { node, asking: false }),
            _ => Err(error),
        }
    }

    /// Pauses before a request that was redirected many times is sent again.
    fn pause(&self, routing: &mut Routing) -> Result<(), StoreError> {
        if routing.deadline.has_passed() {
            return Err(routing.waited_for.take().map_or_else(|| self.disagreement(), |reason| self.given_up(reason)));
        }
        thread::sleep(PAUSE);
        Ok(())
    }

    /// Returns the node that serves a slot.
    fn home_of(&self, slot: u16, deadline: Deadline) -> Result<Destination, StoreError> {
        let node = self.topology.node_of(slot, deadline).map_err(|error| self.outage(error))?;
        Ok(Destination { node, asking: false })
    }

    /// Sends a request to every primary. If a slot has no primary, the result is an error.
    pub(crate) fn request_everywhere(
        &self,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<(), Failure>,
    ) -> Result<(), StoreError> {
        let map = self.topology.renewed_map(deadline).map_err(|error| self.outage(error))?;
        for node in map.nodes() {
            let client = self.topology.nodes.client(node, deadline)?;
            let answer = client.request(&Cell::new(Proof::Reads), deadline, &request);
            answer.map_err(|failure| client.store_error(failure))?;
        }
        self.check_complete(&map)?;
        self.incidents.note_answer(Proof::Reads);
        Ok(())
    }

    /// Asks the nodes how they divide all slots now.
    pub(crate) fn renewed_map(&self, deadline: Deadline) -> Result<Arc<SlotMap>, StoreError> {
        let map = self.topology.renewed_map(deadline).map_err(|error| self.outage(error))?;
        self.check_complete(&map)?;
        Ok(map)
    }

    fn check_complete(&self, map: &SlotMap) -> Result<(), StoreError> {
        if map.is_complete() { Ok(()) } else { Err(self.outage(self.topology.unknown())) }
    }

    /// Returns whether the same node serves these slots, as far as is known.
    pub(crate) fn is_one_node(&self, one: u16, other: u16) -> bool {
        self.topology.is_one_node(one, other)
    }

    pub(crate) fn close_idle(&self) {
        self.topology.nodes.close_idle();
    }

    /// Makes the error of a request that nodes have redirected to each other until the deadline.
    fn disagreement(&self) -> StoreError {
        let message = format!("the nodes of {} do not agree which of them keeps this session", self.url);
        self.outage(StoreError::new(StoreErrorKind::Unavailable, message))
    }

    /// Makes the error of a request that has waited in vain.
    fn given_up(&self, reason: Redirect) -> StoreError {
        let is_outage = matches!(reason, Redirect::NotReady(_));
        let error = Failure::Redirected(reason).into_store_error(&*self.url);
        if is_outage { self.outage(error) } else { error }
    }

    /// Logs an error of the whole cluster. The errors of single nodes are logged by their clients.
    fn outage(&self, error: StoreError) -> StoreError {
        self.incidents.note_outage(&error);
        error
    }
}

/// Returns the node that a redirection leads to. A node that does not know its own name leaves it out, and is at the
/// host of the node that was asked.
fn resolve(to: Node, from: &Node) -> Node {
    if to.host.is_empty() { Node::new(&from.host, to.port) } else { to }
}
