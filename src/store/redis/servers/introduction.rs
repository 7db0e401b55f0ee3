//! What the first connection of a process tells the log of its server.

use crate::deadline::Deadline;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::{Failure, one_line};
use redis::{Value, cmd};
use std::fmt;

/// Tells the log which server this is and whether it evicts. No user needs a right for that: what it may not ask is left
/// out.
///
/// # Errors
/// A fault after which the connection cannot be used any more.
pub(crate) fn introduce(
    server: impl fmt::Display,
    connection: &mut Connection,
    pool_size: u32,
    deadline: Deadline,
) -> Result<(), Failure> {
    let who = answer(connection.request(&cmd("HELLO"), deadline))?;
    let memory = answer(connection.request(cmd("INFO").arg("memory"), deadline))?;
    let name = who.as_ref().and_then(|who| Some(format!("{} {}", named(who, "server")?, named(who, "version")?)));
    let name = name.unwrap_or_else(|| "a server that does not tell its version".to_owned());
    let memory = memory.and_then(text).unwrap_or_default();
    let policy = line_of(&memory, "maxmemory_policy").unwrap_or_else(|| "unknown (INFO is not allowed)".to_owned());
    log::info!("{server}: {name}, maxmemory-policy {policy}, up to {pool_size} connections of this process");
    let is_limited = line_of(&memory, "maxmemory").is_some_and(|most| most != "0");
    if is_limited && (policy.starts_with("allkeys-") || policy.starts_with("volatile-")) {
        log::warn!("{server} logs users out when its memory is full: its maxmemory-policy is {policy}; set noeviction");
    }
    Ok(())
}

/// `None` if the server refuses to tell.
fn answer(reply: Result<Value, Failure>) -> Result<Option<Value>, Failure> {
    match reply {
        Ok(value) => Ok(Some(value)),
        Err(failure @ (Failure::Connection(_) | Failure::TooLate)) => Err(failure),
        Err(_) => Ok(None),
    }
}

/// The value of this name in a reply to `HELLO`.
fn named(reply: &Value, name: &str) -> Option<String> {
    let value = match reply {
        Value::Map(pairs) => pairs.iter().find(|(key, _)| is(key, name)).map(|(_, value)| value),
        Value::Array(parts) => parts.chunks_exact(2).find(|pair| is(&pair[0], name)).map(|pair| &pair[1]),
        _ => None,
    };
    value.cloned().and_then(text).map(|text| short(&text))
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

/// The value of this name in a reply to `INFO`.
fn line_of(info: &str, name: &str) -> Option<String> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(short)
}

fn short(text: &str) -> String {
    one_line(text).chars().take(40).collect()
}
