//! What a node tells about itself: `INFO`, some settings, and whether everyone may log in.

use crate::deadline::Deadline;
use crate::error::StoreError;
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::operation::Operation;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::{Affects, Failure};
use redis::{Cmd, FromRedisValue, Value, cmd};
use std::cell::Cell;
use std::collections::BTreeMap;

/// What one node tells. What this user may not ask is `None`.
pub(crate) struct NodeFacts {
    /// The address of the node and a space, in a cluster. Otherwise empty.
    pub(crate) prefix: String,
    pub(crate) info: Option<Info>,
    /// The settings that were asked for.
    settings: BTreeMap<&'static str, String>,
    /// The users who need no password.
    pub(crate) open_users: Option<Vec<String>>,
    /// Whether the node has told about all users. Otherwise only the default user is known.
    pub(crate) sees_all_users: bool,
}

/// The reply to `INFO`: names and values.
pub(crate) struct Info(BTreeMap<String, String>);

impl Operation<'_> {
    /// Asks every node that keeps sessions for `INFO` and these settings.
    pub(crate) fn facts_of_each_node(&self, settings: &[&'static str]) -> Result<Vec<NodeFacts>, StoreError> {
        let client = self.client()?;
        let mut facts = Vec::new();
        for node in client.layout(self.call.deadline)?.nodes {
            let (proof, key) = (Cell::new(Proof::Alive), format!("{{{}}}", node.hash_tag));
            let prefix = node.name.map_or(String::new(), |name| format!("{name} "));
            facts.push(client.request(key.as_bytes(), &proof, self.call.deadline, |connection, until| {
                let prefix = prefix.clone();
                let info = ask_if_allowed(connection, &cmd("INFO"), until)?.and_then(Info::read);
                let settings_of_node = BTreeMap::new();
                let mut facts =
                    NodeFacts { prefix, info, settings: settings_of_node, open_users: None, sees_all_users: false };
                if !settings.is_empty() {
                    facts.ask_more(connection, until, settings)?;
                }
                Ok(facts)
            })?);
        }
        Ok(facts)
    }
}

impl NodeFacts {
    fn ask_more(
        &mut self,
        connection: &mut Connection,
        until: Deadline,
        settings: &[&'static str],
    ) -> Result<(), Failure> {
        for setting in settings {
            let value = ask_if_allowed(connection, cmd("CONFIG").arg("GET").arg(*setting), until)?;
            // The reply is empty if the server does not have the setting.
            let pairs = value.and_then(|value| Vec::<String>::from_redis_value(value).ok());
            if let Some([_, value]) = pairs.as_deref() {
                self.settings.insert(setting, value.clone());
            }
        }
        let rules = ask_if_allowed(connection, cmd("ACL").arg("LIST"), until)?;
        if let Some(rules) = rules.and_then(|rules| Vec::<String>::from_redis_value(rules).ok()) {
            self.open_users = Some(rules.iter().filter_map(|rule| open_user(rule)).map(str::to_owned).collect());
            self.sees_all_users = true;
            return Ok(());
        }
        let default = ask_if_allowed(connection, cmd("ACL").arg("GETUSER").arg("default"), until)?;
        let is_open = |flags: Vec<String>| ["on", "nopass"].iter().all(|flag| flags.iter().any(|has| has == flag));
        self.open_users = default.and_then(flags).map(|flags| match is_open(flags) {
            true => vec!["default".to_owned()],
            false => Vec::new(),
        });
        Ok(())
    }

    /// Returns a setting, if the node tells it.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// Returns a setting that is a number, if the node tells it.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.setting(name)?.parse().ok()
    }
}

impl Info {
    fn read(reply: Value) -> Option<Info> {
        let text = String::from_redis_value(reply).ok()?;
        let pairs = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        Some(Info(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }

    /// Returns the values of all names that are `beginning` and a number.
    pub(crate) fn numbered(&self, beginning: &str) -> Vec<&str> {
        let is_numbered = |name: &str| {
            name.strip_prefix(beginning)
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        self.0.iter().filter(|(name, _)| is_numbered(name)).map(|(_, value)| value.as_str()).collect()
    }
}

/// Returns the number after `name=` in a text such as `ip=10.0.0.1,lag=1`.
pub(crate) fn part(text: &str, name: &str) -> Option<f64> {
    text.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

/// Sends a command. Returns `None` if this user may not send it, or if the server does not have it.
fn ask_if_allowed(connection: &mut Connection, command: &Cmd, deadline: Deadline) -> Result<Option<Value>, Failure> {
    match connection.request(command, deadline) {
        Ok(reply) => Ok(Some(reply)),
        Err(Failure::Refused { affects, .. }) if affects != Affects::ThisConnection => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Returns the name of the user in a line of `ACL LIST`, if this user needs no password and may use keys.
fn open_user(rule: &str) -> Option<&str> {
    let mut words = rule.strip_prefix("user ")?.split(' ');
    let (name, rules) = (words.next()?, words.collect::<Vec<_>>());
    let is_open = ["on", "nopass"].iter().all(|flag| rules.contains(flag));
    // Key patterns, and selectors, which may have some.
    (is_open && rules.iter().any(|rule| rule.starts_with(['~', '%', '(']))).then_some(name)
}

/// Returns the flags of a user from the reply to `ACL GETUSER`.
fn flags(user: Value) -> Option<Vec<String>> {
    let parts = match user {
        Value::Map(pairs) => pairs.into_iter().flat_map(|(name, value)| [name, value]).collect(),
        Value::Array(parts) => parts,
        _ => return None,
    };
    let at = parts.iter().position(|part| matches!(part, Value::BulkString(name) if name == b"flags"))?;
    Vec::<String>::from_redis_value(parts.into_iter().nth(at + 1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn names_and_values_are_read_from_info() {
        let info =
            Info::read(bulk("# Memory\r\nused_memory:12\r\nslave0:ip=a,lag=3\r\nslave_x:1\r\n\r\nodd\r\n")).unwrap();
        assert_eq!((info.number("used_memory"), info.text("odd")), (Some(12.0), None));
        assert_eq!(info.numbered("slave"), ["ip=a,lag=3"]);
        assert_eq!((part("ip=a,lag=3", "lag"), part("ip=a,lag=3", "offset")), (Some(3.0), None));
        assert!(Info::read(Value::Nil).is_none_or(|info| info.text("").is_none()));
    }

    #[test]
    fn a_user_without_a_password_is_found() {
        for (rule, expected) in [
            ("user default on nopass sanitize-payload ~* &* +@all", Some("default")),
            ("user ada on nopass (~a* +get) -@all", Some("ada")),
            ("user ada off nopass ~* +@all", None),
            ("user ada on sanitize-payload #0011 ~* +@all", None),
            ("user health on nopass resetchannels -@all +ping", None),
            ("odd", None),
        ] {
            assert_eq!(open_user(rule), expected, "{rule}");
        }
    }

    #[test]
    fn flags_are_read_from_a_user() {
        let flags_value = Value::Array(vec![bulk("on"), bulk("nopass")]);
        let user = Value::Array(vec![bulk("passwords"), Value::Array(Vec::new()), bulk("flags"), flags_value]);
        assert_eq!(flags(user), Some(vec!["on".to_owned(), "nopass".to_owned()]));
        for damaged in [Value::Nil, Value::Array(Vec::new()), Value::Array(vec![bulk("flags")])] {
            assert_eq!(flags(damaged), None);
        }
    }
}
