//! Waits until a change is on replicas and on disk, if the store URL asks for that.

use crate::deadline::Deadline;
use crate::error::{ConfigError, StoreError, StoreErrorKind};
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::{Affects, Failure};
use redis::{Cmd, Value, cmd};
use std::time::Duration;

/// How late the reply to `WAIT` may come after its timeout: Redis looks at its clock ten times a second.
const WAIT_REPLY_DELAY: Duration = Duration::from_millis(150);

/// What a change waits for besides the primary's reply.
#[derive(Clone, Copy)]
pub(crate) struct Wait {
    /// The number of replicas that have to have the change.
    replicas: u32,
    /// Whether the primary and these replicas have to have it on disk.
    on_disk: bool,
}

impl Wait {
    /// Takes `wait_replicas` and `wait_aof` out of a URL's query. Returns the rest of the URL.
    pub(crate) fn take(url: &str) -> Result<(String, Option<Wait>), ConfigError> {
        let malformed = ConfigError::StoreUrl {
            expected: "…?wait_replicas=1 with a number of replicas, or …?wait_aof=1, or both with & between them",
        };
        let (rest, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut wait, mut others, mut found) = (Wait { replicas: 0, on_disk: false }, Vec::new(), false);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                // Of two numbers, nobody could say which one holds.
                Some(("wait_replicas", number)) => match number.parse() {
                    Ok(replicas @ 1..=100) if !number.starts_with('+') && wait.replicas == 0 => {
                        (wait.replicas, found) = (replicas, true);
                    }
                    _ => return Err(malformed),
                },
                Some(("wait_aof", "1")) => (wait.on_disk, found) = (true, true),
                Some(("wait_aof", _)) => return Err(malformed),
                _ => others.push(parameter),
            }
        }
        let query = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
        Ok((format!("{path}{query}{fragment}"), found.then_some(wait)))
    }

    /// Waits until all writes of this connection are on the replicas and, if asked for, on disk.
    pub(crate) fn on(self, connection: &mut Connection, deadline: Deadline) -> Result<(), Failure> {
        let left = deadline.left();
        if left.is_zero() {
            let error = StoreError::new(StoreErrorKind::Timeout, "the change was made, but no time is left to wait");
            return Err(Failure::of_this_request(error));
        }
        // Redis has to give up early enough for its reply to arrive before the deadline.
        let operation_timeout = left - (left / 8).max(WAIT_REPLY_DELAY).min(left / 2);
        let milliseconds = operation_timeout.as_millis().max(1).try_into().unwrap_or(u64::MAX);
        let reply = match connection.request(&self.command(milliseconds), deadline) {
            Err(Failure::Refused { error, affects }) => {
                let message = "the change was made, but Redis cannot wait for replicas or the disk (wait_aof needs \
                               Redis 7.2 and appendonly yes)";
                let affects = if affects == Affects::ThisConnection { affects } else { Affects::Writes };
                let error = StoreError::new(error.kind(), message).caused_by(error);
                return Err(Failure::Refused { error, affects });
            }
            Err(Failure::NotPrimary(error)) => {
                let message = "the change was made, but the node is not the primary any more";
                return Err(Failure::NotPrimary(StoreError::new(error.kind(), message).caused_by(error)));
            }
            reply => reply?,
        };
        let (local, replicas) = match reply {
            Value::Int(replicas) => (1, replicas),
            Value::Array(parts) => match parts[..] {
                [Value::Int(local), Value::Int(replicas)] => (local, replicas),
                _ => return Err(Failure::not_ours("the reply to WAITAOF is of another form")),
            },
            _ => return Err(Failure::not_ours("the reply to WAIT is of another form")),
        };
        if local >= 1 && replicas >= i64::from(self.replicas) {
            return Ok(());
        }
        let message = format!(
            "the change was made, but in time only {replicas} of {} replicas have it{}; save again to wait for them",
            self.replicas,
            if self.on_disk { " on disk, or the primary has not" } else { "" }
        );
        let error = StoreError::new(StoreErrorKind::Timeout, message);
        Err(Failure::Refused { error, affects: Affects::Writes })
    }

    fn command(self, milliseconds: u64) -> Cmd {
        let mut command = cmd(if self.on_disk { "WAITAOF" } else { "WAIT" });
        if self.on_disk {
            command.arg(1);
        }
        command.arg(self.replicas).arg(milliseconds);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_parameters_are_taken_out_of_the_url() {
        for (url, rest, expected) in [
            ("redis://a", "redis://a", None),
            ("redis://a?wait_replicas=2", "redis://a", Some((2, false))),
            ("redis://a/1?protocol=resp3&wait_aof=1", "redis://a/1?protocol=resp3", Some((0, true))),
            (
                "redis-sentinel://a,b/0?wait_replicas=1&wait_aof=1&x=y#name",
                "redis-sentinel://a,b/0?x=y#name",
                Some((1, true)),
            ),
        ] {
            let (taken, wait) = Wait::take(url).unwrap();
            assert_eq!((&*taken, wait.map(|wait| (wait.replicas, wait.on_disk))), (rest, expected), "{url}");
        }
        for url in [
            "redis://a?wait_replicas=0",
            "redis://a?wait_replicas=1&wait_replicas=2",
            "redis://a?wait_replicas=",
            "redis://a?wait_aof=yes",
            "redis://a?wait_replicas=-1",
            "redis://a?wait_replicas=+1",
        ] {
            assert!(Wait::take(url).is_err(), "{url}");
        }
    }
}
