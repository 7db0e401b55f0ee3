//! The error replies of Redis, sorted by their codes.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::redis::wire::failure::{Affects, Failure, Redirect};
use crate::store::redis::wire::node::Node;
use crate::store::redis::wire::one_line::one_line;
use redis::ServerError;

impl Failure {
    /// Makes a failure out of an error reply.
    pub(crate) fn replied(error: &ServerError) -> Failure {
        Failure::of_reply(error.code(), error.details().unwrap_or_default())
    }

    /// Makes a failure out of an error text that a script caught. The script itself went on and replied.
    pub(crate) fn caught_by_script(text: &str) -> Failure {
        let text = text.trim_start_matches('-');
        let (code, details) = text.split_once(' ').unwrap_or((text, ""));
        match Failure::of_reply(code, details) {
            Failure::Refused { error, .. } => Failure::Refused { error, affects: Affects::Writes },
            failure => failure,
        }
    }

    fn of_reply(code: &str, details: &str) -> Failure {
        // An error of Redis repeats the arguments of an unknown command, and a password may be among them.
        let details = details.split(", with args beginning with").next().unwrap_or_default();
        let text = format!("{code} {details}");
        let kind = kind(&text);
        let error = StoreError::new(kind, format!("Redis answered with an error: {}", one_line(&text)));
        match code {
            "NOSCRIPT" => Failure::NoScript,
            "MOVED" | "ASK" => Failure::Redirected(redirect(code, details, error)),
            "CROSSSLOT" => {
                let message = "the server is a node of a cluster; use a redis-cluster:// URL";
                let error = StoreError::new(kind, message).caused_by(error);
                Failure::Refused { error, affects: Affects::SimilarRequests }
            }
            _ if says(&text, "TRYAGAIN") => Failure::Redirected(Redirect::KeysMoving(error)),
            _ if says(&text, "CLUSTERDOWN") => Failure::Redirected(Redirect::NotReady(error)),
            _ if is_replica(&text) || says(&text, "MASTERDOWN") => Failure::NotPrimary(error),
            _ => Failure::Refused { error, affects: affects(kind, &text) },
        }
    }
}

/// Reads the node at the end of a `MOVED` or `ASK`.
fn redirect(code: &str, details: &str, error: StoreError) -> Redirect {
    let node = details.rsplit_once(' ').and_then(|(_, node)| Node::parse(node)).filter(|node| node.host != "?");
    match node {
        Some(node) if code == "MOVED" => Redirect::Moved(node),
        Some(node) => Redirect::Ask(node),
        None => {
            let message = "the cluster announces host names, but a node has none; see cluster-preferred-endpoint-type";
            Redirect::NotReady(StoreError::new(StoreErrorKind::Unavailable, message).caused_by(error))
        }
    }
}

fn affects(kind: StoreErrorKind, text: &str) -> Affects {
    match kind {
        StoreErrorKind::Unavailable => Affects::ThisConnection,
        _ if says(text, "NOAUTH") => Affects::ThisConnection,
        _ if ["OOM", "MISCONF", "NOREPLICAS"].iter().any(|code| says(text, code)) => Affects::Writes,
        StoreErrorKind::Rejected => Affects::SimilarRequests,
        _ if text.contains("unknown command") || text.contains("unknown subcommand") => Affects::SimilarRequests,
        _ => Affects::ThisRequest,
    }
}

const REFUSES: [&str; 9] =
    ["OOM", "READONLY", "MISCONF", "NOAUTH", "NOPERM", "WRONGPASS", "BUSY", "NOREPLICAS", "DENIED"];

/// Returns the code by which Redis refuses requests. The code is empty if Redis gives another reason.
pub(crate) fn code(error: &StoreError) -> &'static str {
    let text = error.to_string();
    let code = REFUSES.into_iter().find(|code| says(&text, code));
    code.unwrap_or(if denies(&text) { "NOPERM" } else { "" })
}

/// Returns the kind of an error reply by its code. The code may stand anywhere in the text: before Redis 7, an error
/// inside a script comes as `ERR` with the code later in the text.
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

/// Returns whether the node is a replica. The last two texts are replies to `WAIT`. A replica gives the first of them,
/// and a node that becomes a replica during the wait gives the second.
fn is_replica(text: &str) -> bool {
    says(text, "READONLY") || text.contains("cannot be used with replica") || says(text, "UNBLOCKED")
}

/// Returns whether the user lacks a right that a script needs. From Redis 7 on this reply has no code, and since 7.2 it
/// has other words.
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
