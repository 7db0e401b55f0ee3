//! What a change waits for besides the primary: replicas, and the disk.

use crate::deadline::Deadline;
use crate::error::{ConfigError, StoreError, StoreErrorKind};
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::{Extent, Failure};
use crate::store::redis::wire::socket::left;
use redis::{Cmd, Value, cmd};
use std::time::Duration;

/// How much later than it was asked to a Redis may answer.
const LATE: Duration = Duration::from_millis(150);

#[derive(Clone, Copy)]
pub(crate) struct Wait {
    /// How many replicas are to have it.
    replicas: u32,
    /// Whether the primary, and they, are to have it on disk.
    on_disk: bool,
}

impl Wait {
    /// Takes `wait_replicas` and `wait_aof` out of a URL's query; `None` if it says nothing of them.
    pub(crate) fn take(url: &str) -> Result<(String, Option<Wait>), ConfigError> {
        let malformed = ConfigError::StoreUrl {
            expected: "…?wait_replicas=1 with a number of replicas, or …?wait_aof=1, or both with & between them",
        };
        let (rest, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut wait, mut others, mut found) = (Wait { replicas: 0, on_disk: false }, Vec::new(), false);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("wait_replicas", number)) => match number.parse() {
                    Ok(replicas @ 1..=100) if !number.starts_with('+') => (wait.replicas, found) = (replicas, true),
                    _ => return Err(malformed),
                },
                Some(("wait_aof", "1")) => (wait.on_disk, found) = (true, true),
                Some(("wait_aof", _)) => return Err(malformed),
                _ => others.push(parameter),
            }
        }
        let query = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
        Ok((format!("{place}{query}{fragment}"), found.then_some(wait)))
    }

    /// Waits until what was written on this connection is where it is to be.
    pub(crate) fn on(self, connection: &mut Connection, deadline: Deadline) -> Result<(), Failure> {
        // The reply has to come before the deadline, and Redis looks at its clock ten times a second.
        let Ok(left) = left(deadline) else {
            let error = StoreError::new(StoreErrorKind::Timeout, "the change was made, but no time is left to wait");
            return Err(Failure::of_this(error));
        };
        let patience = left - (left / 8).max(LATE).min(left / 2);
        let milliseconds = patience.as_millis().max(1).try_into().unwrap_or(u64::MAX);
        let reply = match connection.request(&self.command(milliseconds), deadline) {
            Err(Failure::Refused { error, extent }) => {
                let message = "the change was made, but the server cannot wait for where it is to be (wait_aof needs Redis \
                               7.2 and appendonly yes)";
                let extent = if extent == Extent::Connection { extent } else { Extent::Writes };
                let error = StoreError::new(error.kind(), message).caused_by(error);
                return Err(Failure::Refused { error, extent });
            }
            Err(Failure::NotPrimary(error)) => {
                let message = "the change was made, but the server is no primary any more";
                return Err(Failure::NotPrimary(StoreError::new(error.kind(), message).caused_by(error)));
            }
            reply => reply?,
        };
        let (local, replicas) = match reply {
            Value::Int(replicas) => (1, replicas),
            Value::Array(parts) => match parts[..] {
                [Value::Int(local), Value::Int(replicas)] => (local, replicas),
                _ => return Err(Failure::not_ours("WAITAOF came back with something else")),
            },
            _ => return Err(Failure::not_ours("WAIT came back with something else")),
        };
        if local >= 1 && replicas >= i64::from(self.replicas) {
            return Ok(());
        }
        let message = format!(
            "the change was made, but within the time only {replicas} of {} replicas have it{}; save again to wait for them",
            self.replicas,
            if self.on_disk { " on disk, or the primary has not" } else { "" }
        );
        let error = StoreError::new(StoreErrorKind::Timeout, message);
        Err(Failure::Refused { error, extent: Extent::Writes })
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
            "redis://a?wait_replicas=",
            "redis://a?wait_aof=yes",
            "redis://a?wait_replicas=-1",
            "redis://a?wait_replicas=+1",
        ] {
            assert!(Wait::take(url).is_err(), "{url}");
        }
    }
}
