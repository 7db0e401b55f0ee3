//! The servers that a store URL names, as one process uses them.

#[cfg(feature = "cluster")]
use super::cluster::{Cluster, Seeds};
use super::connection::Connection;
use super::failure::Failure;
use super::generation::Generations;
use super::health::Shows;
use super::pool::Pool;
use super::target::Target;
use crate::store::metrics::Counters;
use crate::{ConfigError, StoreError};
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// What a store URL names.
#[derive(Clone)]
pub(super) enum Source {
    /// One server at a time.
    Single(Arc<Target>),
    #[cfg(feature = "cluster")]
    Cluster(Arc<Seeds>),
}

pub(super) enum Servers {
    Single(Box<Pool>),
    #[cfg(feature = "cluster")]
    Cluster(Box<Cluster>),
}

impl Source {
    pub(super) fn parse(url: &str) -> Result<Source, ConfigError> {
        #[cfg(feature = "cluster")]
        if url.starts_with("redis-cluster:") || url.starts_with("rediss-cluster:") {
            return Seeds::parse(url).map(|seeds| Source::Cluster(Arc::new(seeds)));
        }
        Target::parse(url).map(|target| Source::Single(Arc::new(target)))
    }

    pub(super) fn open(&self, pool_size: u32, counters: &Arc<Counters>) -> Result<Servers, StoreError> {
        match self {
            Source::Single(target) => {
                Pool::new(target.clone(), pool_size, counters.clone()).map(|pool| Servers::Single(Box::new(pool)))
            }
            #[cfg(feature = "cluster")]
            Source::Cluster(seeds) => {
                let cluster = Cluster::new(seeds.clone(), pool_size, counters.clone());
                Ok(Servers::Cluster(Box::new(cluster)))
            }
        }
    }

    /// Under which keys it keeps the generations of namespaces.
    pub(super) fn generations(&self) -> Generations {
        match self {
            Source::Single(_) => Generations::One,
            #[cfg(feature = "cluster")]
            Source::Cluster(_) => Generations::of_slots(),
        }
    }

    /// Whether two keys can be named in one script.
    #[cfg_attr(not(feature = "cluster"), expect(unused_variables))]
    pub(super) fn are_together(&self, one: &str, other: &str) -> bool {
        match self {
            Source::Single(_) => true,
            #[cfg(feature = "cluster")]
            Source::Cluster(_) => super::slots::slot_of(one.as_bytes()) == super::slots::slot_of(other.as_bytes()),
        }
    }
}

impl Servers {
    /// Makes a request where this key is kept. `shows` is as for `Pool::request`.
    #[cfg_attr(not(feature = "cluster"), expect(unused_variables))]
    pub(super) fn request<R>(
        &self,
        key: &[u8],
        shows: &Cell<Shows>,
        deadline: Instant,
        request: impl Fn(&mut Connection, Instant) -> Result<R, Failure>,
    ) -> Result<R, StoreError> {
        match self {
            Servers::Single(pool) => pool.ask(shows, deadline, request),
            #[cfg(feature = "cluster")]
            Servers::Cluster(cluster) => cluster.request(super::slots::slot_of(key), shows, deadline, request),
        }
    }

    /// Makes a request to every server that keeps sessions.
    pub(super) fn ask_all(
        &self,
        deadline: Instant,
        request: impl Fn(&mut Connection, Instant) -> Result<(), Failure>,
    ) -> Result<(), StoreError> {
        match self {
            Servers::Single(pool) => pool.ask(&Cell::new(Shows::Reads), deadline, request),
            #[cfg(feature = "cluster")]
            Servers::Cluster(cluster) => cluster.ask_all(deadline, request),
        }
    }

    /// What to put between the braces of a key, so that each server that keeps sessions gets one.
    #[cfg_attr(not(feature = "cluster"), expect(unused_variables))]
    pub(super) fn a_tag_for_each(&self, deadline: Instant) -> Result<Vec<String>, StoreError> {
        match self {
            Servers::Single(_) => Ok(vec![tag(0)]),
            #[cfg(feature = "cluster")]
            Servers::Cluster(cluster) => {
                let map = cluster.renewed_map(deadline)?;
                let mut nodes = map.nodes();
                let mut tags = Vec::new();
                for tag in (0..MANY_TAGS).map(tag) {
                    if nodes.is_empty() {
                        break;
                    }
                    let node = map.node_of(super::slots::slot_of(tag.as_bytes()));
                    if let Some(at) = nodes.iter().position(|other| Some(*other) == node) {
                        nodes.swap_remove(at);
                        tags.push(tag);
                    }
                }
                Ok(tags)
            }
        }
    }

    /// Whether these keys are at the same server, as far as is known.
    #[cfg_attr(not(feature = "cluster"), expect(unused_variables))]
    pub(super) fn serve_alike(&self, one: &str, other: &str) -> bool {
        match self {
            Servers::Single(_) => true,
            #[cfg(feature = "cluster")]
            Servers::Cluster(cluster) => {
                let [one, other] = [one, other].map(|key| super::slots::slot_of(key.as_bytes()));
                cluster.serves_alike(one, other)
            }
        }
    }

    pub(super) fn close_idle(&self) {
        match self {
            Servers::Single(pool) => pool.close_idle(),
            #[cfg(feature = "cluster")]
            Servers::Cluster(cluster) => cluster.close_idle(),
        }
    }
}

/// Enough for one of them to be in each of 16,384 slots; a server that names nonsense is not looked for any longer.
#[cfg(feature = "cluster")]
const MANY_TAGS: u32 = 300_000;

fn tag(number: u32) -> String {
    format!("probe-{number}")
}

/// Without user and password.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Single(target) => target.fmt(f),
            #[cfg(feature = "cluster")]
            Source::Cluster(seeds) => seeds.fmt(f),
        }
    }
}
