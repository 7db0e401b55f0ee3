//! Where a Redis is, as a URL says it.

use crate::error::ConfigError;
use crate::store::redis::wire::failure::one_line;
use crate::store::redis::wire::node::Node;
#[cfg(feature = "tls")]
use crate::store::redis::wire::tls::Tls;
use redis::{Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, cmd};
use socket2::SockAddr;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// After this long a connection is opened anew by default: the name or address may lead to another server by then.
const MAX_LIFETIME: Duration = Duration::from_secs(300);

/// The parameters of a URL's query.
pub(crate) type Parameters = BTreeMap<String, String>;

/// Where a Redis is, how to log in there, and whether over TLS.
#[derive(Clone)]
pub(crate) struct Address {
    info: ConnectionInfo,
    max_lifetime: Duration,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl Address {
    /// From a `redis://`, `rediss://` or `redis+unix://` URL.
    pub(crate) fn parse(url: &str) -> Result<Address, ConfigError> {
        let expected = match url.starts_with("rediss:") {
            false => "redis://[user:password@]host[:port][/database] or redis+unix:///path/to/socket",
            true => {
                "rediss://[user:password@]host[:port][/database][?ca=/ca.pem&cert=/client.pem&key=/client.key], \
                 cert and key together"
            }
        };
        Address::parse_with(url, &[], expected).map(|(address, _)| address)
    }

    /// From such a URL, whose query may have `more` parameters. Anything unknown is refused, above all what looks as if
    /// it would keep the connection safe.
    pub(crate) fn parse_with(
        url: &str,
        more: &[&str],
        expected: &'static str,
    ) -> Result<(Address, Parameters), ConfigError> {
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
        let address = Address {
            info,
            max_lifetime,
            #[cfg(feature = "tls")]
            tls,
        };
        Ok((address, parameters))
    }

    /// Another server, with the same login, database and TLS settings.
    pub(crate) fn at(&self, node: &Node) -> Address {
        let mut other = self.clone();
        other.info = other.info.set_addr(ConnectionAddr::Tcp(node.host.clone(), node.port));
        other
    }

    /// The same server with another login, and with what else is the server's own setting by default.
    pub(crate) fn with_login(mut self, user: Option<&str>, password: Option<&str>) -> Address {
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

    /// Whether it asks for another database than the first.
    pub(crate) fn has_database(&self) -> bool {
        self.info.redis_settings().db() != 0
    }

    /// How long a connection may be used at most.
    pub(crate) fn max_lifetime(&self) -> Duration {
        self.max_lifetime
    }

    pub(crate) fn place(&self) -> &ConnectionAddr {
        self.info.addr()
    }

    /// `redis`, or `rediss` over TLS.
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

    /// What a new connection has to say first.
    pub(crate) fn greeting(&self) -> Vec<Cmd> {
        let settings = self.info.redis_settings();
        let mut greeting = Vec::new();
        let login = settings.password().map(|password| (settings.username(), password));
        if settings.protocol().supports_resp3() {
            let mut hello = cmd("HELLO");
            hello.arg(3);
            if let Some((user, password)) = login {
                hello.arg("AUTH").arg(user.unwrap_or("default")).arg(password);
            }
            greeting.push(hello);
        } else if let Some((user, password)) = login {
            let mut auth = cmd("AUTH");
            auth.arg(user).arg(password);
            greeting.push(auth);
        }
        if settings.db() != 0 {
            let mut select = cmd("SELECT");
            select.arg(settings.db());
            greeting.push(select);
        }
        greeting
    }
}

/// A number of seconds.
fn lifetime(text: &str) -> Result<Duration, ConfigError> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) if !text.starts_with('+') => Ok(Duration::from_secs(seconds)),
        _ => Err(ConfigError::StoreUrl { expected: "…?max_lifetime=300 with a number of seconds, 1 to 86400" }),
    }
}

/// The hosts of a URL that names several, by commas; those without a port get `default_port`, with its colon.
pub(crate) fn hosts_of(hosts: &str, default_port: &str, expected: &'static str) -> Result<Vec<Node>, ConfigError> {
    // A URL of one server for each, which the `redis` crate can read.
    let urls = hosts.split(',').map(|host| {
        let has_port = host.rfind(':') > host.rfind(']');
        format!("redis://{host}{}", if has_port { "" } else { default_port })
    });
    let nodes = urls.map(|url| match Address::parse_with(&url, &[], expected)?.0.place() {
        ConnectionAddr::Tcp(host, port) => Ok(Node::new(host, *port)),
        _ => Err(ConfigError::StoreUrl { expected }),
    });
    nodes.collect()
}

/// What the `redis` crate makes of a URL without TLS, and the parameters of its query. `None` if it cannot be read.
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

/// Without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.info.addr() {
            ConnectionAddr::Unix(path) => write!(f, "redis+unix://{}", one_line(&path.to_string_lossy())),
            ConnectionAddr::Tcp(host, port) => write!(f, "{}://{}", self.scheme(), Node::new(host, *port)),
            address => write!(f, "{}://{address}", self.scheme()),
        }
    }
}
