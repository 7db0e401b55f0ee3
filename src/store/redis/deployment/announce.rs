//! The line in the log about the node to which a process connects first.

use crate::deadline::Deadline;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::Failure;
use crate::store::redis::wire::one_line::one_line;
use redis::{Value, cmd};

/// Logs the version of the node, and whether the node evicts keys. If the Redis user may not ask for one of these, the
/// log line leaves it out.
///
/// # Errors
/// The connection failed, and cannot be used any more.
pub(crate) fn announce(
    name: &str,
    connection: &mut Connection,
    pool_size: u32,
    deadline: Deadline,
) -> Result<(), Failure> {
    let hello = unless_refused(connection.request(&cmd("HELLO"), deadline))?;
    let memory = unless_refused(connection.request(cmd("INFO").arg("memory"), deadline))?;
    let server = hello.and_then(|hello| Some(format!("{} {}", field(&hello, "server")?, field(&hello, "version")?)));
    let server = server.unwrap_or_else(|| "a server that does not tell its version".to_owned());
    let memory = memory.and_then(text).unwrap_or_default();
    let policy = line(&memory, "maxmemory_policy").unwrap_or_else(|| "unknown (INFO is not allowed)".to_owned());
    log::info!("{name}: {server}, maxmemory-policy {policy}, up to {pool_size} connections of this process");
    let is_limited = line(&memory, "maxmemory").is_some_and(|most| most != "0");
    if is_limited && (policy.starts_with("allkeys-") || policy.starts_with("volatile-")) {
        log::warn!("{name} logs users out when its memory is full: its maxmemory-policy is {policy}; set noeviction");
    }
    Ok(())
}

/// Returns the reply, or `None` if the server refuses to answer.
fn unless_refused(reply: Result<Value, Failure>) -> Result<Option<Value>, Failure> {
    match reply {
        Ok(value) => Ok(Some(value)),
        Err(failure @ (Failure::Connection(_) | Failure::TooLate)) => Err(failure),
        Err(_) => Ok(None),
    }
}

/// Finds the field of this name in a reply to `HELLO`. Such a reply is a map in RESP3, and a list in RESP2.
fn field(hello: &Value, name: &str) -> Option<String> {
    let value = match hello {
        Value::Map(pairs) => pairs.iter().find(|(key, _)| is(key, name)).map(|(_, value)| value),
        Value::Array(parts) => parts.chunks_exact(2).find(|pair| is(&pair[0], name)).map(|pair| &pair[1]),
        _ => None,
    };
    value.cloned().and_then(text).map(|text| short(&text))
}

/// Finds the line of this name in a reply to `INFO`.
fn line(info: &str, name: &str) -> Option<String> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(short)
}

fn is(value: &Value, name: &str) -> bool {
    matches!(value, Value::BulkString(bytes) if bytes == name.as_bytes())
        || matches!(value, Value::SimpleString(text) if text == name)
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

fn short(text: &str) -> String {
    one_line(text).chars().take(40).collect()
}
