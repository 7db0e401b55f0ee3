//! The URL of a node.

use crate::error::ConfigError;
use crate::store::redis::wire::node::Node;
use crate::store::redis::wire::one_line::one_line;
#[cfg(feature = "tls")]
use crate::store::redis::wire::tls::Tls;
use redis::{Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, cmd};
use socket2::SockAddr;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How long a connection is used by default. The name or address of a node may lead to another node by then.
const MAX_LIFETIME: Duration = Duration::from_secs(300);

/// The parameters of a URL's query.
pub(crate) type Parameters = BTreeMap<String, String>;

/// What the URL of a node says: the address of the node, the login, and whether TLS is used. Its `Display` form shows
/// neither the user nor the password.
#[derive(Clone)]
pub(crate) struct NodeUrl {
    info: ConnectionInfo,
    max_lifetime: Duration,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl NodeUrl {
    /// Reads a `redis://`, `rediss://` or `redis+unix://` URL.
    pub(crate) fn parse(url: &str) -> Result<NodeUrl, ConfigError> {
        let expected = match url.starts_with("rediss:") {
            false => "redis://[user:password@]host[:port][/database] or redis+unix:///path/to/socket",
            true => {
                "rediss://[user:password@]host[:port][/database][?ca=/ca.pem&cert=/client.pem&key=/client.key], \
                 cert and key together"
            }
        };
        NodeUrl::parse_with(url, &[], expected).map(|(url, _)| url)
    }

    /// Reads such a URL. Its query may have the usual parameters and `more`. Every other parameter is refused: it might
    /// have been meant to make the connection safer.
    pub(crate) fn parse_with(
        url: &str,
        more: &[&str],
        expected: &'static str,
    ) -> Result<(NodeUrl, Parameters), ConfigError> {
        let over_tls = url.strip_prefix("rediss:");
        let known: &[&str] = match url {
            _ if over_tls.is_some() => &["protocol", "max_lifetime", "ca", "cert", "key"],
            _ if url.starts_with("redis+unix:") => &["protocol", "max_lifetime", "db", "user", "pass"],
            _ => &["protocol", "max_lifetime"],
        };
        let plain = over_tls.map_or_else(|| url.to_owned(), |rest| format!("redis:{rest}"));
        let is_known = |name: &String| known.contains(&name.as_str()) || more.contains(&name.as_str());
        let (info, parameters) = read(&plain)
            .filter(|(_, parameters)| parameters.keys().all(is_known))
            .ok_or(ConfigError::StoreUrl { expected })?;
        let settings = info.redis_settings();
        if settings.username().is_some() && settings.password().is_none_or(str::is_empty) {
            let is_unix = matches!(info.addr(), ConnectionAddr::Unix(_));
            let password = if is_unix { "&pass=password" } else { "it as user:password@" };
            return Err(ConfigError::StoreUser { password });
        }
        let max_lifetime = parameters.get("max_lifetime").map_or(Ok(MAX_LIFETIME), |text| lifetime(text))?;
        #[cfg(feature = "tls")]
        let tls = match info.addr() {
            ConnectionAddr::Tcp(host, _) if over_tls.is_some() => Some(Tls::new(host, &parameters, expected)?),
            _ => None,
        };
        let url = NodeUrl {
            info,
            max_lifetime,
            #[cfg(feature = "tls")]
            tls,
        };
        Ok((url, parameters))
    }

    /// Returns the URL of another node, with the same login, database and TLS settings.
    pub(crate) fn with_node(&self, node: &Node) -> NodeUrl {
        let mut other = self.clone();
        other.info = other.info.set_addr(ConnectionAddr::Tcp(node.host.clone(), node.port));
        other
    }

    /// Returns the URL of the same node with another login, and with the default database and protocol.
    pub(crate) fn with_login(mut self, user: Option<&str>, password: Option<&str>) -> NodeUrl {
        let mut settings = redis::RedisConnectionInfo::default();
        if let Some(user) = user {
            settings = settings.set_username(user);
        }
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        self.info = self.info.set_redis_settings(settings);
        self
    }

    /// Returns whether the URL names another database than the first.
    pub(crate) fn has_database(&self) -> bool {
        self.info.redis_settings().db() != 0
    }

    /// Returns the longest time for which a connection may be used.
    pub(crate) fn max_lifetime(&self) -> Duration {
        self.max_lifetime
    }

    /// Returns the host and port, or the path of a unix socket.
    pub(crate) fn addr(&self) -> &ConnectionAddr {
        self.info.addr()
    }

    /// Gives `redis`, or `rediss` for TLS.
    pub(crate) fn scheme(&self) -> &'static str {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return "rediss";
        }
        "redis"
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Returns the first commands of a new connection: they choose the protocol, log in, and choose the database.
    pub(crate) fn login(&self) -> Vec<Cmd> {
        let settings = self.info.redis_settings();
        let mut commands = Vec::new();
        let login = settings.password().map(|password| (settings.username(), password));
        if settings.protocol().supports_resp3() {
            let mut hello = cmd("HELLO");
            hello.arg(3);
            if let Some((user, password)) = login {
                hello.arg("AUTH").arg(user.unwrap_or("default")).arg(password);
            }
            commands.push(hello);
        } else if let Some((user, password)) = login {
            let mut auth = cmd("AUTH");
            auth.arg(user).arg(password);
            commands.push(auth);
        }
        if settings.db() != 0 {
            let mut select = cmd("SELECT");
            select.arg(settings.db());
            commands.push(select);
        }
        commands
    }
}

/// Reads the parameter `max_lifetime`, a number of seconds.
fn lifetime(text: &str) -> Result<Duration, ConfigError> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) if !text.starts_with('+') => Ok(Duration::from_secs(seconds)),
        _ => Err(ConfigError::StoreUrl { expected: "…?max_lifetime=300 with a number of seconds, 1 to 86400" }),
    }
}

/// Reads a URL without TLS with the `redis` crate. Returns also the parameters of the query.
fn read(url: &str) -> Option<(ConnectionInfo, Parameters)> {
    let parsed = redis::parse_redis_url(url)?;
    let info = url.into_connection_info().ok()?;
    let reachable = match info.addr() {
        ConnectionAddr::Tcp(host, port) => !host.is_empty() && *port != 0,
        ConnectionAddr::Unix(path) => SockAddr::unix(path).is_ok(),
        _ => false,
    };
    (reachable && parsed.fragment().is_none() && info.redis_settings().db() >= 0)
        .then(|| (info, parsed.query_pairs().into_owned().collect()))
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.info.addr() {
            ConnectionAddr::Unix(path) => write!(f, "redis+unix://{}", one_line(&path.to_string_lossy())),
            ConnectionAddr::Tcp(host, port) => write!(f, "{}://{}", self.scheme(), Node::new(host, *port)),
            address => write!(f, "{}://{address}", self.scheme()),
        }
    }
}
