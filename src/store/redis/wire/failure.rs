//! How a call to Redis can fail, and what that says about its connection.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::redis::wire::node::Node;
use redis::{RedisError, ServerError};
use std::{fmt, io};

/// Why a request got no reply that can be used.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection is of no use any more: what comes next on it may be anything. The request may have been carried
    /// out.
    Connection(io::Error),
    /// The server answered with an error.
    Refused { error: StoreError, extent: Extent },
    /// The server is a replica, or was made one: what it has done will not last.
    NotPrimary(StoreError),
    /// A node of a cluster has done nothing, and says what to do instead.
    Redirected(Redirect),
    /// The server does not have the script.
    NoScript,
    /// The deadline had passed before anything was sent.
    TooLate,
}

/// What it is that a server refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// This request: the next one may be served.
    This,
    /// All requests like this one, by the state that the server is in. The connection is good.
    All,
    /// All that is written, by the state that the server is in. The connection is good.
    Writes,
    /// Whatever is asked on this connection: it leads to a server that is not ready, or does not know us.
    Connection,
}

/// What a node of a cluster says of a request that it is not to serve.
#[derive(Debug)]
pub(crate) enum Redirect {
    /// The slot is at another node.
    Moved(Node),
    /// This once, ask another node: the slot is on its way there.
    Ask(Node),
    /// Try again: some of the keys are on their way to another node.
    OnTheMove(StoreError),
    /// Try again: the cluster is finding itself.
    Later(StoreError),
}

impl Failure {
    /// Something came that is no reply to this request.
    pub(crate) fn not_ours(what: &'static str) -> Failure {
        Failure::Connection(io::Error::new(io::ErrorKind::InvalidData, what))
    }

    /// An error that is about this request alone.
    pub(crate) fn of_this(error: StoreError) -> Failure {
        Failure::Refused { error, extent: Extent::This }
    }

    pub(crate) fn refused(error: &ServerError) -> Failure {
        Failure::from_reply(error.code(), error.details().unwrap_or_default())
    }

    /// What a script met and went on: the text of an error reply.
    pub(crate) fn met_by_script(text: &str) -> Failure {
        let text = text.trim_start_matches('-');
        let (error_code, details) = text.split_once(' ').unwrap_or((text, ""));
        match Failure::from_reply(error_code, details) {
            Failure::Refused { error, .. } => Failure::Refused { error, extent: Extent::Writes },
            failure => failure,
        }
    }

    fn from_reply(error_code: &str, details: &str) -> Failure {
        if error_code == "NOSCRIPT" {
            return Failure::NoScript;
        }
        // Redis repeats what it did not understand, passwords included.
        let details = details.split(", with args beginning with").next().unwrap_or_default();
        let text = format!("{error_code} {details}");
        let kind = kind(&text);
        let error = StoreError::new(kind, format!("Redis answered with an error: {}", one_line(&text)));
        let node = || details.rsplit_once(' ').and_then(|(_, node)| Node::parse(node)).filter(|node| node.host != "?");
        if error_code == "MOVED" || error_code == "ASK" {
            return Failure::Redirected(match node() {
                Some(node) if error_code == "MOVED" => Redirect::Moved(node),
                Some(node) => Redirect::Ask(node),
                None => {
                    let message = "a node is to be called by a name that nobody has given it; see \
                                   cluster-preferred-endpoint-type";
                    Redirect::Later(StoreError::new(StoreErrorKind::Unavailable, message).caused_by(error))
                }
            });
        }
        if error_code == "CROSSSLOT" {
            let message = "the server is a node of a cluster; use a redis-cluster:// URL (feature cluster)";
            return Failure::Refused { error: StoreError::new(kind, message).caused_by(error), extent: Extent::All };
        }
        if says(&text, "TRYAGAIN") {
            return Failure::Redirected(Redirect::OnTheMove(error));
        }
        if says(&text, "CLUSTERDOWN") {
            return Failure::Redirected(Redirect::Later(error));
        }
        if is_replica(&text) || says(&text, "MASTERDOWN") {
            return Failure::NotPrimary(error);
        }
        let extent = match kind {
            StoreErrorKind::Unavailable => Extent::Connection,
            _ if says(&text, "NOAUTH") => Extent::Connection,
            _ if ["OOM", "MISCONF", "NOREPLICAS"].iter().any(|code| says(&text, code)) => Extent::Writes,
            StoreErrorKind::Rejected => Extent::All,
            _ if text.contains("unknown command") || text.contains("unknown subcommand") => Extent::All,
            _ => Extent::This,
        };
        Failure::Refused { error, extent }
    }

    pub(crate) fn is_timeout(&self) -> bool {
        use io::ErrorKind::{TimedOut, WouldBlock};
        matches!(self, Failure::Connection(error) if matches!(error.kind(), TimedOut | WouldBlock))
    }

    /// Whether the other side has closed the connection.
    pub(crate) fn is_closed(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let is_closed = |error: &io::Error| {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        };
        matches!(self, Failure::Connection(error) if is_closed(error))
    }

    /// The fault as the caller is told it; `place` is the server's address.
    pub(crate) fn into_store_error(self, place: impl fmt::Display) -> StoreError {
        let timeout = self.is_timeout();
        match self {
            Failure::Connection(error) if timeout => {
                StoreError::new(StoreErrorKind::Timeout, format!("no answer from {place} in time")).caused_by(error)
            }
            Failure::Connection(error) => {
                StoreError::new(StoreErrorKind::Unavailable, format!("no connection to {place}")).caused_by(error)
            }
            Failure::Refused { error, .. }
            | Failure::NotPrimary(error)
            | Failure::Redirected(Redirect::Later(error) | Redirect::OnTheMove(error)) => error,
            Failure::Redirected(_) => StoreError::new(
                StoreErrorKind::Backend,
                format!("{place} is a node of a cluster; use a redis-cluster:// URL (feature cluster)"),
            ),
            Failure::TooLate => StoreError::new(StoreErrorKind::Timeout, format!("no time was left to ask {place}")),
            Failure::NoScript => {
                StoreError::new(StoreErrorKind::Backend, format!("{place} forgot a script while it was running it"))
            }
        }
    }
}

/// A fault that was told already.
impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Refused { error, extent: Extent::Connection }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Connection(error)
    }
}

/// Of the parser: either the connection failed, or what came is no RESP.
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

/// What a server says, or what is said of it, as it may stand in a log: the text may be of any length and hold anything.
pub(crate) fn one_line(text: &str) -> String {
    const MOST: usize = 300;
    let printable = |c: char| match c {
        ' '..='~' => c,
        _ if c.is_control() => ' ',
        _ => '?',
    };
    let line: String = text.chars().take(MOST).map(printable).collect();
    line.trim_end().to_owned()
}

/// What was asked of several servers, and none could do.
pub(crate) fn none_could(what: String, failures: &[StoreError]) -> StoreError {
    let kind = match failures {
        [first, rest @ ..] if rest.iter().all(|failure| failure.kind() == first.kind()) => first.kind(),
        _ => StoreErrorKind::Unavailable,
    };
    let reasons: Vec<String> = failures.iter().map(ToString::to_string).collect();
    StoreError::new(kind, if reasons.is_empty() { what } else { format!("{what}: {}", reasons.join("; ")) })
}

const REFUSES: [&str; 9] =
    ["OOM", "READONLY", "MISCONF", "NOAUTH", "NOPERM", "WRONGPASS", "BUSY", "NOREPLICAS", "DENIED"];

/// The code by which a server refuses requests; empty if it gives another reason.
pub(crate) fn code(error: &StoreError) -> &'static str {
    let text = error.to_string();
    let code = REFUSES.into_iter().find(|code| says(&text, code));
    code.unwrap_or(if denies(&text) { "NOPERM" } else { "" })
}

/// Sorts an error reply by its code. Before Redis 7, an error inside a script comes as `ERR`, and its code stands
/// somewhere in the text.
fn kind(text: &str) -> StoreErrorKind {
    use StoreErrorKind::{Backend, Corrupt, Rejected, Unavailable};
    const NOT_READY: [&str; 4] = ["LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"];
    let says = |code: &str| says(text, code);
    if text.contains("max number of clients") || NOT_READY.iter().any(|code| says(code)) {
        Unavailable
    } else if says("WRONGTYPE") {
        Corrupt
    } else if REFUSES.iter().any(|code| says(code)) || is_replica(text) || denies(text) {
        Rejected
    } else {
        Backend
    }
}

/// The last two are what WAIT says, and if the server is made a replica meanwhile.
fn is_replica(text: &str) -> bool {
    says(text, "READONLY") || text.contains("cannot be used with replica") || says(text, "UNBLOCKED")
}

/// Says inside a script that the user has too few rights: from Redis 7 on without a code, and since 7.2 in other words.
fn denies(text: &str) -> bool {
    text.contains("The user executing the script can't") || text.contains("ACL failure in script")
}

fn says(text: &str, code: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_replies_are_sorted_by_their_code_wherever_it_stands() {
        for (text, expected) in [
            ("LOADING Redis is loading the dataset in memory", StoreErrorKind::Unavailable),
            ("ERR max number of clients reached", StoreErrorKind::Unavailable),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", StoreErrorKind::Corrupt),
            ("ERR Error running script: @user_script:12: WRONGTYPE Operation against", StoreErrorKind::Corrupt),
            ("OOM command not allowed when used memory > 'maxmemory'.", StoreErrorKind::Rejected),
            ("ERR Error running script: @user_script:9: -OOM command not allowed", StoreErrorKind::Rejected),
            ("READONLY You can't write against a read only replica.", StoreErrorKind::Rejected),
            ("NOAUTH Authentication required.", StoreErrorKind::Rejected),
            ("ERR The user executing the script can't run this command or subcommand", StoreErrorKind::Rejected),
            ("ERR ACL failure in script: User ada has no permissions to run the 'time'", StoreErrorKind::Rejected),
            ("ERR unknown command", StoreErrorKind::Backend),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }
}
