//! What all operations of a store share.

use crate::store::process::per_process::PerProcess;
use crate::store::redis::generation::Generations;
use crate::store::redis::scripts::Scripts;
use crate::store::redis::servers::{Servers, Source};
use crate::store::redis::wait::Wait;
use crate::store::stats::Counters;
use std::sync::Arc;

/// The parts of a store that its operations use.
pub(crate) struct Shared {
    pub(crate) source: Source,
    pub(crate) pool_size: u32,
    pub(crate) servers: PerProcess<Servers>,
    pub(crate) scripts: Scripts,
    pub(crate) generations: Generations,
    /// What a change waits for besides the primary.
    pub(crate) wait: Option<Wait>,
    pub(crate) counters: Arc<Counters>,
}

impl Shared {
    pub(crate) fn new(source: Source, pool_size: u32, wait: Option<Wait>) -> Shared {
        Shared {
            generations: source.generations(),
            source,
            pool_size,
            servers: PerProcess::new(),
            scripts: Scripts::new(),
            wait,
            counters: Arc::default(),
        }
    }
}
