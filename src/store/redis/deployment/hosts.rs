//! URLs that name several nodes, with commas between them.

use crate::error::ConfigError;
use crate::store::redis::wire::node::Node;
use crate::store::redis::wire::node_url::{NodeUrl, Parameters};
use redis::ConnectionAddr;

/// What a URL with several nodes says.
pub(crate) struct Hosts {
    pub(crate) nodes: Vec<Node>,
    /// The URL of the first node alone. It holds the login, the database and the TLS settings.
    pub(crate) first: NodeUrl,
    pub(crate) parameters: Parameters,
}

impl Hosts {
    /// Reads the part of a URL after `://`. A node without a port gets `default_port`, which begins with a colon. The
    /// query may have the parameters of a [`NodeUrl`] and those in `more`.
    pub(crate) fn parse(
        scheme: &str,
        rest: &str,
        default_port: &str,
        more: &[&str],
        expected: &'static str,
    ) -> Result<Hosts, ConfigError> {
        let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let nodes: Result<_, ConfigError> = hosts.split(',').map(|host| node(host, default_port, expected)).collect();
        let nodes = nodes?;
        let first = hosts.split(',').next().unwrap_or_default();
        let first = format!("{scheme}://{login}{first}{path_and_query}");
        let (first, parameters) = NodeUrl::parse_with(&first, more, expected)?;
        Ok(Hosts { nodes, first, parameters })
    }
}

fn node(host: &str, default_port: &str, expected: &'static str) -> Result<Node, ConfigError> {
    let has_port = host.rfind(':') > host.rfind(']');
    // A URL that the `redis` crate can read.
    let url = format!("redis://{host}{}", if has_port { "" } else { default_port });
    match NodeUrl::parse_with(&url, &[], expected)?.0.addr() {
        ConnectionAddr::Tcp(host, port) => Ok(Node::new(host, *port)),
        _ => Err(ConfigError::StoreUrl { expected }),
    }
}
