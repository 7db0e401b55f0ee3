//! A node: one Redis server.

use std::fmt;

/// A node, as URLs, Sentinels and clusters name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Node {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Node {
    pub(crate) fn new(host: impl Into<String>, port: u16) -> Node {
        Node { host: host.into(), port }
    }

    /// Makes a node from a host that a node or a Sentinel has named. Returns `None` if the text cannot be the name or
    /// the address of a host, because the text appears in errors and in the log. The text is empty if a node of a
    /// cluster does not know its own host.
    pub(crate) fn named_by_redis(host: String, port: u16) -> Option<Node> {
        (host.len() <= 255 && host.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Node::new(host, port))
    }

    /// Reads `host:port` as redirections write it: an IPv6 address has no brackets there.
    pub(crate) fn parse(text: &str) -> Option<Node> {
        let (host, port) = text.trim_end().rsplit_once(':')?;
        Node::named_by_redis(host.to_owned(), port.parse().ok()?)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Node { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_name_is_refused() {
        for fine in ["", "10.0.0.1", "::1", "redis-1.example.com", "fe80::1%eth0"] {
            assert!(Node::named_by_redis(fine.to_owned(), 1).is_some(), "{fine}");
        }
        for host in ["a\nb", "a b", "\x1b[2J", "a\u{2028}b", "\0", &*"a".repeat(256)] {
            assert!(Node::named_by_redis(host.to_owned(), 1).is_none(), "{host:?}");
            assert!(Node::parse(&format!("{host}:1")).is_none(), "{host:?}");
        }
    }
}
