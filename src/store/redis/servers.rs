//! The servers that a store URL names, as one process uses them.

mod cluster;
pub(crate) mod health;
mod introduction;
mod pace;
mod pool;
mod sentinel;
pub(crate) mod slots;
mod target;

use crate::deadline::Deadline;
use crate::error::{ConfigError, StoreError};
use crate::store::redis::generation::Generations;
use crate::store::redis::servers::cluster::{Cluster, Seeds};
use crate::store::redis::servers::health::Shows;
use crate::store::redis::servers::pool::Pool;
use crate::store::redis::servers::slots::slot_of;
use crate::store::redis::servers::target::Target;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::Failure;
use crate::store::stats::Counters;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

/// What a store URL names.
#[derive(Clone)]
pub(crate) enum Source {
    /// One server at a time.
    Single(Arc<Target>),
    Cluster(Arc<Seeds>),
}

pub(crate) enum Servers {
    Single(Box<Pool>),
    Cluster(Box<Cluster>),
}

impl Source {
    pub(crate) fn parse(url: &str) -> Result<Source, ConfigError> {
        if url.starts_with("redis-cluster:") || url.starts_with("rediss-cluster:") {
            return Seeds::parse(url).map(|seeds| Source::Cluster(Arc::new(seeds)));
        }
        Target::parse(url).map(|target| Source::Single(Arc::new(target)))
    }

    pub(crate) fn open(&self, pool_size: u32, counters: &Arc<Counters>) -> Result<Servers, StoreError> {
        match self {
            Source::Single(target) => {
                Pool::new(target.clone(), pool_size, counters.clone()).map(|pool| Servers::Single(Box::new(pool)))
            }
            Source::Cluster(seeds) => {
                let cluster = Cluster::new(seeds.clone(), pool_size, counters.clone());
                Ok(Servers::Cluster(Box::new(cluster)))
            }
        }
    }

    /// Under which keys it keeps the generations of namespaces.
    pub(crate) fn generations(&self) -> Generations {
        match self {
            Source::Single(_) => Generations::One,
            Source::Cluster(_) => Generations::of_slots(),
        }
    }

    /// Whether two keys can be named in one script.
    pub(crate) fn are_together(&self, one: &str, other: &str) -> bool {
        match self {
            Source::Single(_) => true,
            Source::Cluster(_) => slot_of(one.as_bytes()) == slot_of(other.as_bytes()),
        }
    }
}

impl Servers {
    /// Makes a request where this key is kept. `shows` is as for `Pool::request`.
    pub(crate) fn request<R>(
        &self,
        key: &[u8],
        shows: &Cell<Shows>,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<R, Failure>,
    ) -> Result<R, StoreError> {
        match self {
            Servers::Single(pool) => pool.ask(shows, deadline, request),
            Servers::Cluster(cluster) => cluster.request(slot_of(key), shows, deadline, request),
        }
    }

    /// Makes a request to every server that keeps sessions.
    pub(crate) fn ask_all(
        &self,
        deadline: Deadline,
        request: impl Fn(&mut Connection, Deadline) -> Result<(), Failure>,
    ) -> Result<(), StoreError> {
        match self {
            Servers::Single(pool) => pool.ask(&Cell::new(Shows::Reads), deadline, request),
            Servers::Cluster(cluster) => cluster.ask_all(deadline, request),
        }
    }

    /// What to put between the braces of a key, so that each server that keeps sessions gets one.
    pub(crate) fn a_tag_for_each(&self, deadline: Deadline) -> Result<Vec<String>, StoreError> {
        match self {
            Servers::Single(_) => Ok(vec![tag(0)]),
            Servers::Cluster(cluster) => {
                let map = cluster.renewed_map(deadline)?;
                let mut nodes = map.nodes();
                let mut tags = Vec::new();
                for tag in (0..MANY_TAGS).map(tag) {
                    if nodes.is_empty() {
                        break;
                    }
                    let node = map.node_of(slot_of(tag.as_bytes()));
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
    pub(crate) fn serve_alike(&self, one: &str, other: &str) -> bool {
        match self {
            Servers::Single(_) => true,
            Servers::Cluster(cluster) => {
                let [one, other] = [one, other].map(|key| slot_of(key.as_bytes()));
                cluster.serves_alike(one, other)
            }
        }
    }

    pub(crate) fn close_idle(&self) {
        match self {
            Servers::Single(pool) => pool.close_idle(),
            Servers::Cluster(cluster) => cluster.close_idle(),
        }
    }
}

/// Enough for one of them to be in each of 16,384 slots; a server that names nonsense is not looked for any longer.
const MANY_TAGS: u32 = 300_000;

fn tag(number: u32) -> String {
    format!("probe-{number}")
}

/// Without user and password.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Single(target) => target.fmt(f),
            Source::Cluster(seeds) => seeds.fmt(f),
        }
    }
}
