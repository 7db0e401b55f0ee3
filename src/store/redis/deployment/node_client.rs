//! The client of one node: sends a request, and once more on a fresh connection if the first one fails.

mod open;

use crate::deadline::Deadline;
use crate::error::StoreError;
use crate::store::process::pool::Lease;
use crate::store::redis::deployment::circuit_breaker::CircuitBreaker;
use crate::store::redis::deployment::connections::{Connections, PooledConnection};
use crate::store::redis::deployment::incidents::Incidents;
use crate::store::redis::deployment::node_locator::NodeLocator;
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::deployment::sentinel::Sentinels;
use crate::store::redis::deployment::sentinel::primary::Primary;
use crate::store::redis::deployment::single::{Single, Trial};
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::{Affects, Failure};
use crate::store::redis::wire::node_url::NodeUrl;
use crate::store::stats::{Counter, Counters};
use std::cell::Cell;
use std::sync::Arc;

/// The connections of one process to one node, and what it knows about the node. Behind Sentinels, that is the node
/// that is the primary at the moment.
pub(crate) struct NodeClient {
    /// The name of the node in errors and in the log.
    name: String,
    node_locator: NodeLocator,
    connections: Connections,
    pool_size: u32,
    breaker: CircuitBreaker,
    incidents: Incidents,
    counters: Arc<Counters>,
}

impl NodeClient {
    /// Makes the client of the node at this address.
    pub(crate) fn at_address(
        url: NodeUrl,
        pool_size: u32,
        deadline: Deadline,
        counters: Arc<Counters>,
    ) -> Result<NodeClient, StoreError> {
        NodeClient::new(url.to_string(), NodeLocator::Address(Single::new(url)), pool_size, deadline, counters)
    }

    /// Makes the client of the primary that Sentinels name.
    pub(crate) fn of_primary(
        sentinels: Arc<Sentinels>,
        pool_size: u32,
        deadline: Deadline,
        counters: Arc<Counters>,
    ) -> Result<NodeClient, StoreError> {
        let name = sentinels.to_string();
        NodeClient::new(name, NodeLocator::Sentinels(Primary::new(sentinels)), pool_size, deadline, counters)
    }

    fn new(
        name: String,
        node_locator: NodeLocator,
        pool_size: u32,
        deadline: Deadline,
        counters: Arc<Counters>,
    ) -> Result<NodeClient, StoreError> {
        Ok(NodeClient {
            node_locator,
            connections: Connections::new(pool_size, deadline, counters.clone())?,
            pool_size,
            breaker: CircuitBreaker::new(),
            incidents: Incidents::new(name.clone()),
            counters,
            name,
        })
    }

    /// Like `request`, but a redirection is an error: the node belongs to a cluster, and the store URL does not name a
    /// cluster.
    pub(crate) fn request_without_redirection<R>(
        &self,
        proof: &Cell<Proof>,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<R, Failure>,
    ) -> Result<R, StoreError> {
        self.request(proof, deadline, request).map_err(|failure| {
            let is_redirected = matches!(failure, Failure::Redirected(_));
            let error = self.store_error(failure);
            if !is_redirected {
                return error;
            }
            let refusal = Failure::Refused { error, affects: Affects::SimilarRequests };
            self.incidents.note_failure(&refusal, proof.get());
            self.store_error(refusal)
        })
    }

    /// Sends a request. If its connection fails, sends the request once more on a fresh connection. The node may have
    /// carried out the first request, so a request that is carried out twice must do the same as once.
    ///
    /// `proof` holds what an answer proves about the node. The closure may change it.
    pub(crate) fn request<R>(
        &self,
        proof: &Cell<Proof>,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let answer = self.try_twice(deadline, request);
        match &answer {
            Ok(_) => self.incidents.note_answer(proof.get()),
            Err(failure) => self.incidents.note_failure(failure, proof.get()),
        }
        answer
    }

    fn try_twice<R>(
        &self,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        // A timeout here means that other calls of this process use all connections. It proves nothing about the node.
        let mut lease = self.connections.lease(deadline).map_err(Failure::of_this_request)?;
        let mut first = match self.idle_connection(&mut lease, deadline) {
            Some(pooled) => Try::reusing(pooled, deadline),
            None => Try::afresh(self.open(deadline)?, deadline),
        };
        let failure = match self.send(&mut first, &request) {
            Ok(result) => {
                lease.put_back(first.pooled);
                return Ok(result);
            }
            Err(failure) => failure,
        };
        let trial = self.after_first_try(first, failure, &mut lease, deadline)?;
        let mut second = Try::afresh(self.open(deadline)?, deadline);
        self.counters.add(Counter::Retries, 1);
        match self.send(&mut second, &request) {
            Ok(result) => {
                if let Some(trial) = trial {
                    trial.succeeded(&self.connections, &mut second.pooled, &self.name);
                }
                lease.put_back(second.pooled);
                Ok(result)
            }
            Err(failure) => match (self.after_last_try(second, failure, &mut lease), trial) {
                // The first refusal may say that a change was made before it.
                (Failure::NotPrimary(_), Some(trial)) => Err(Failure::NotPrimary(trial.into_refusal())),
                (failure, _) => Err(failure),
            },
        }
    }

    fn send<R>(
        &self,
        to: &mut Try,
        request: impl Fn(&mut Connection, Deadline) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        self.counters.add(Counter::RoundTrips, 1);
        let result = request(&mut to.pooled.connection, to.deadline)?;
        to.pooled.note_use();
        Ok(result)
    }

    /// Decides whether a request that failed is sent once more. If not, the result is the failure. If the second try is
    /// to find out whether the address now leads to another node, gives the trial.
    fn after_first_try(
        &self,
        first: Try,
        failure: Failure,
        lease: &mut Lease<PooledConnection>,
        deadline: Deadline,
    ) -> Result<Option<Trial<'_>>, Failure> {
        match (failure, &self.node_locator) {
            (Failure::NotPrimary(error), NodeLocator::Sentinels(_)) => {
                self.connections.distrust(&first.pooled);
                log::warn!("{} has moved ({error}); looking for it", self.name);
                Ok(None)
            }
            (Failure::NotPrimary(error), NodeLocator::Address(single)) => {
                let trial = single.begin_trial(&self.connections, first.pooled.epoch, error, deadline);
                trial.map(Some).map_err(|error| {
                    // Without a trial, this connection is as good as a fresh one.
                    lease.put_back(first.pooled);
                    Failure::NotPrimary(error)
                })
            }
            (failure @ (Failure::Connection(_) | Failure::NoScript), _) => {
                // Redis may close a connection that was idle for a long time. That proves nothing about other
                // connections.
                let was_closed = first.was_idle && failure.is_closed();
                if !was_closed {
                    self.connections.distrust(&first.pooled);
                }
                if !first.was_idle && failure.is_timeout() {
                    return Err(Failure::of_connection(self.store_error(failure)));
                }
                let is_news = !was_closed && !self.incidents.has_outage();
                let level = if is_news { log::Level::Warn } else { log::Level::Debug };
                let why = match failure {
                    Failure::Connection(error) => error.to_string(),
                    _ => "the script was not found".to_owned(),
                };
                log::log!(level, "the connection to {} failed ({why}); trying a fresh one", self.name);
                Ok(None)
            }
            (failure, _) => Err(self.after_last_try(first, failure, lease)),
        }
    }

    /// Decides what becomes of the connection of a request that failed for good. Returns the failure.
    fn after_last_try(&self, last: Try, failure: Failure, lease: &mut Lease<PooledConnection>) -> Failure {
        match (&failure, &self.node_locator) {
            (Failure::Connection(_) | Failure::NoScript, _) => {
                self.connections.distrust(&last.pooled);
                return Failure::of_connection(self.store_error(failure));
            }
            (
                Failure::NotPrimary(_) | Failure::Refused { affects: Affects::ThisConnection, .. },
                NodeLocator::Sentinels(_),
            ) => self.connections.distrust(&last.pooled),
            // A fresh connection may lead to a node that is ready. Only a few calls a second try this.
            (Failure::Refused { affects: Affects::ThisConnection, .. }, NodeLocator::Address(single))
                if single.may_replace_connection() => {}
            // The node has done nothing, or nothing was even sent. The connection is as good as before.
            _ => lease.put_back(last.pooled),
        }
        failure
    }

    /// Takes the idle connection of a lease, if that may still be used.
    fn idle_connection(&self, lease: &mut Lease<PooledConnection>, deadline: Deadline) -> Option<PooledConnection> {
        let pooled = lease.take()?;
        if let NodeLocator::Sentinels(primary) = &self.node_locator {
            primary.check(&self.connections, &self.name, deadline);
        }
        Some(pooled).filter(|pooled| self.connections.may_use(pooled))
    }

    /// Makes the error that the caller of the store gets.
    pub(crate) fn store_error(&self, failure: Failure) -> StoreError {
        failure.into_store_error(&self.name)
    }

    /// Returns a number that changes when connections may lead to another node, or to a node that was restarted.
    pub(crate) fn epoch(&self) -> u64 {
        self.connections.epoch().number()
    }

    /// Notes whether the cluster needs this node. Failures of a node that is not needed are not logged.
    pub(crate) fn note_whether_needed(&self, is_needed: bool) {
        if is_needed {
            self.incidents.reinstate();
        } else {
            self.incidents.retire("it is not a primary of the cluster any more");
        }
    }

    pub(crate) fn close_idle(&self) {
        self.connections.close_idle();
        if let NodeLocator::Sentinels(primary) = &self.node_locator {
            primary.close_idle();
        }
    }
}

/// One try of a request: on a connection, until a deadline.
struct Try {
    pooled: PooledConnection,
    deadline: Deadline,
    was_idle: bool,
}

impl Try {
    fn reusing(pooled: PooledConnection, deadline: Deadline) -> Try {
        let was_idle = pooled.was_idle();
        // A connection that was idle may be dead without a sign. So half of the time is kept for a fresh one.
        Try { pooled, deadline: if was_idle { deadline.halfway() } else { deadline }, was_idle }
    }

    fn afresh(pooled: PooledConnection, deadline: Deadline) -> Try {
        Try { pooled, deadline, was_idle: false }
    }
}
