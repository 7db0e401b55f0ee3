//! How a request can fail, and what that says about its connection.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::redis::wire::node::Node;
use crate::store::redis::wire::one_line::one_line;
use redis::RedisError;
use std::{fmt, io};

/// Why a request got no reply that can be used.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection failed. The request may have been carried out. The connection must not be used again, because
    /// anything may come on it next.
    Connection(io::Error),
    /// The node answered with an error.
    Refused { error: StoreError, affects: Affects },
    /// The node is a replica, or has become one. What it has written will be lost.
    NotPrimary(StoreError),
    /// A node of a cluster did nothing, and says what to do instead.
    Redirected(Redirect),
    /// The node does not have the script.
    NoScript,
    /// The deadline had passed before anything was sent.
    TooLate,
}

/// Which requests a refusal affects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Affects {
    /// This request alone.
    ThisRequest,
    /// All requests like this one, as long as the node is in its present state. The connection is good.
    SimilarRequests,
    /// All requests that write, as long as the node is in its present state. The connection is good.
    Writes,
    /// All requests on this connection. The node is not ready, or the connection is not logged in.
    ThisConnection,
}

/// What a node of a cluster says about a request that it does not serve.
#[derive(Debug)]
pub(crate) enum Redirect {
    /// Another node has the slot.
    Moved(Node),
    /// Another node is about to get the slot, and has to be asked this time.
    Ask(Node),
    /// Some of the keys are on their way to another node. Try again later.
    KeysMoving(StoreError),
    /// The nodes have not agreed yet which of them has which slot. Try again later.
    NotReady(StoreError),
}

impl Failure {
    /// Makes the failure of a connection on which something came that is not the reply to this request.
    pub(crate) fn not_ours(what: &'static str) -> Failure {
        Failure::Connection(io::Error::new(io::ErrorKind::InvalidData, what))
    }

    /// Makes the failure of a request whose keys are on two nodes at the moment.
    pub(crate) fn keys_moving() -> Failure {
        let message = "the keys of a session are moving to another node; try again later";
        Failure::Redirected(Redirect::KeysMoving(StoreError::new(StoreErrorKind::Unavailable, message)))
    }

    /// Makes a refusal that affects this request alone.
    pub(crate) fn of_this_request(error: StoreError) -> Failure {
        Failure::Refused { error, affects: Affects::ThisRequest }
    }

    /// Makes a failure that affects all requests on this connection.
    pub(crate) fn of_connection(error: StoreError) -> Failure {
        Failure::Refused { error, affects: Affects::ThisConnection }
    }

    pub(crate) fn is_timeout(&self) -> bool {
        use io::ErrorKind::{TimedOut, WouldBlock};
        matches!(self, Failure::Connection(error) if matches!(error.kind(), TimedOut | WouldBlock))
    }

    /// Returns whether the other side has closed the connection.
    pub(crate) fn is_closed(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let is_closed = |error: &io::Error| {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        };
        matches!(self, Failure::Connection(error) if is_closed(error))
    }

    /// Makes the error that the caller of the store gets. `name` is that of the node or of the deployment.
    pub(crate) fn into_store_error(self, name: impl fmt::Display) -> StoreError {
        let timeout = self.is_timeout();
        match self {
            Failure::Connection(error) if timeout => {
                StoreError::new(StoreErrorKind::Timeout, format!("no answer from {name} in time")).caused_by(error)
            }
            Failure::Connection(error) => {
                StoreError::new(StoreErrorKind::Unavailable, format!("no connection to {name}")).caused_by(error)
            }
            Failure::Refused { error, .. }
            | Failure::NotPrimary(error)
            | Failure::Redirected(Redirect::NotReady(error) | Redirect::KeysMoving(error)) => error,
            Failure::Redirected(Redirect::Moved(_) | Redirect::Ask(_)) => StoreError::new(
                StoreErrorKind::Backend,
                format!("{name} is a node of a cluster; use a redis-cluster:// URL"),
            ),
            Failure::TooLate => StoreError::new(StoreErrorKind::Timeout, format!("no time was left to ask {name}")),
            Failure::NoScript => {
                StoreError::new(StoreErrorKind::Backend, format!("{name} lost a script while it was running it"))
            }
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Connection(error)
    }
}

/// The parser's errors: the connection failed, or something came that is not RESP.
impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Failure {
        let kind = match error {
            _ if error.is_timeout() => io::ErrorKind::TimedOut,
            _ if error.is_io_error() => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::InvalidData,
        };
        Failure::Connection(io::Error::new(kind, one_line(&error.to_string())))
    }
}
