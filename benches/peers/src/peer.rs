//! The peers: what is built, and with which settings it runs.

pub struct Peer {
    pub name: &'static str,
    pub program: Program,
    pub environment: &'static [(&'static str, &'static str)],
    /// The packages whose versions the report names.
    pub packages: &'static [&'static str],
    pub settings: &'static str,
}

#[derive(PartialEq)]
pub enum Program {
    /// The package of this workspace with this name.
    Rust(&'static str),
    /// `servers/express-session`.
    Node,
}

const OURS: Program = Program::Rust("server-tiny_http");
const OUR_PACKAGES: &[&str] = &["multi-process-session", "tiny_http"];

pub const PEERS: [Peer; 5] = [
    Peer {
        name: "this library",
        program: OURS,
        environment: &[],
        packages: OUR_PACKAGES,
        settings: "16 threads, `pool_size(16)`, idle timeout of an hour, refreshed at most once a minute (the default)",
    },
    Peer {
        name: "this library, refresh on every load",
        program: OURS,
        environment: &[("REFRESH", "every load")],
        packages: OUR_PACKAGES,
        settings: "the same with `Refresh::EveryLoad`",
    },
    Peer {
        name: "tower-sessions",
        program: Program::Rust("server-tower-sessions"),
        environment: &[],
        packages: &["tower-sessions", "tower-sessions-redis-store", "fred", "axum"],
        settings: "tokio with a thread a core, a pool of 6 connections, `Expiry::OnInactivity` of an hour, \
                   `with_always_save(true)`",
    },
    Peer {
        name: "actix-session",
        program: Program::Rust("server-actix-session"),
        environment: &[],
        packages: &["actix-session", "actix-web"],
        settings: "a worker a core, `RedisSessionStore::new`, TTL of an hour, `TtlExtensionPolicy::OnEveryRequest`",
    },
    Peer {
        name: "express-session",
        program: Program::Node,
        environment: &[("NODE_ENV", "production")],
        packages: &["express-session", "connect-redis", "redis", "express"],
        settings: "`NODE_ENV=production`, `cluster` with a worker a core, `rolling: true`, `resave: false`, \
                   `saveUninitialized: false`, `maxAge` of an hour",
    },
];

impl Peer {
    pub fn is_ours(&self) -> bool {
        self.program == OURS
    }

    pub fn place(&self) -> usize {
        PEERS.iter().position(|peer| peer.name == self.name).expect("it is one of them")
    }
}
