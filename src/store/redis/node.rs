//! A server, as URLs, Sentinels and clusters name it.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Node {
    pub(super) fn new(host: impl Into<String>, port: u16) -> Node {
        Node { host: host.into(), port }
    }

    /// From `host:port`, as redirections have it: there an IPv6 address has no brackets.
    pub(super) fn parse(text: &str) -> Option<Node> {
        let (host, port) = text.trim_end().rsplit_once(':')?;
        Some(Node::new(host, port.parse().ok()?))
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Node { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}
