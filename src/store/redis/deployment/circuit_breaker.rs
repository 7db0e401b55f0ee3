//! A circuit breaker: limits the attempts to connect to a node that refuses connections.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::redis::deployment::token_bucket::TokenBucket;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// After the node has refused a connection (a wrong password, too many clients), only a few calls a second try again.
/// The others fail at once with the same error.
pub(crate) struct CircuitBreaker(Mutex<State>);

struct State {
    /// Why the node refused the last attempt to connect. `None` if it did not.
    refusal: Option<(StoreErrorKind, String)>,
    attempts: TokenBucket,
}

impl CircuitBreaker {
    pub(crate) fn new() -> CircuitBreaker {
        CircuitBreaker(Mutex::new(State { refusal: None, attempts: TokenBucket::new() }))
    }

    /// Lets a call connect, or gives it the last refusal.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let State { refusal, attempts } = &mut *self.state();
        match refusal {
            Some((kind, message)) if !attempts.take() => Err(StoreError::new(*kind, message.as_str())),
            _ => Ok(()),
        }
    }

    /// Notes how the last attempt to connect ended: whether the node refused it.
    pub(crate) fn note_attempt(&self, refusal: Option<&StoreError>) {
        self.state().refusal = refusal.map(|error| (error.kind(), error.to_string()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
