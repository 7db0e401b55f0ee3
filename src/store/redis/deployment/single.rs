//! A single server: the node that one address leads to.
//!
//! After a failover, a name or a proxy may lead to another node, and nobody tells the processes. Their connections
//! still lead to the old node, which now refuses writes as a replica does. After such a refusal, one call at a time
//! tries a fresh connection, a few times a second. The other calls wait for the result.

use crate::deadline::Deadline;
use crate::error::StoreError;
use crate::store::redis::deployment::connections::{Connections, Epoch, PooledConnection};
use crate::store::redis::deployment::token_bucket::TokenBucket;
use crate::store::redis::wire::node_url::NodeUrl;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::Duration;

/// How often a waiting call looks whether another call has finished its trial.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

pub(crate) struct Single {
    pub(crate) url: NodeUrl,
    /// Locked by the call that tries a fresh connection.
    trials: Mutex<TokenBucket>,
}

/// A request that a node refused, and that is sent again on a fresh connection.
pub(crate) struct Trial<'a> {
    /// The epoch of the connection on which the node refused.
    epoch: Epoch,
    refusal: StoreError,
    /// The lock that lets only one call try at a time. `None` if another call has found a new node already.
    _turn: Option<MutexGuard<'a, TokenBucket>>,
}

impl Single {
    pub(crate) fn new(url: NodeUrl) -> Single {
        Single { url, trials: Mutex::new(TokenBucket::new()) }
    }

    /// Returns whether one more connection may be replaced by a fresh one, because its node refuses all requests.
    pub(crate) fn may_replace_connection(&self) -> bool {
        self.trials.try_lock().is_ok_and(|mut trials| trials.take())
    }

    /// Begins a trial after a refusal on a connection of this epoch. Waits for the trial of another call, at most until
    /// the deadline. If there were too many trials in the last second, the result is the refusal.
    pub(crate) fn begin_trial(
        &self,
        connections: &Connections,
        epoch: Epoch,
        refusal: StoreError,
        deadline: Deadline,
    ) -> Result<Trial<'_>, StoreError> {
        loop {
            if connections.epoch() != epoch {
                return Ok(Trial { epoch, refusal, _turn: None });
            }
            let mut trials = match self.trials.try_lock() {
                Ok(trials) => trials,
                Err(TryLockError::Poisoned(trials)) => trials.into_inner(),
                Err(TryLockError::WouldBlock) if deadline.has_passed() => return Err(refusal),
                Err(TryLockError::WouldBlock) => {
                    thread::sleep(LOOK_AGAIN);
                    continue;
                }
            };
            return match trials.take() {
                true => Ok(Trial { epoch, refusal, _turn: Some(trials) }),
                false => Err(refusal),
            };
        }
    }
}

impl Trial<'_> {
    /// Notes that the trial succeeded: the address leads to another node now. Closes all connections to the old node.
    pub(crate) fn succeeded(self, connections: &Connections, fresh: &mut PooledConnection, name: &str) {
        if let Some(epoch) = connections.replace_node(self.epoch) {
            fresh.epoch = epoch;
            log::warn!("{name} leads to another node now; the last one refused ({})", self.refusal);
        }
    }

    /// Returns the refusal that led to the trial.
    pub(crate) fn into_refusal(self) -> StoreError {
        self.refusal
    }
}
