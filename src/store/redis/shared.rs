//! What all operations of a store share.

use crate::store::process::per_process::PerProcess;
use crate::store::redis::deployment::{Client, Deployment};
use crate::store::redis::generation::Generations;
use crate::store::redis::scripts::Scripts;
use crate::store::redis::wait::Wait;
use crate::store::stats::Counters;
use std::sync::Arc;

/// The parts of a store that its operations use.
pub(crate) struct Shared {
    pub(crate) deployment: Deployment,
    pub(crate) pool_size: u32,
    pub(crate) clients: PerProcess<Client>,
    pub(crate) scripts: Scripts,
    pub(crate) generations: Generations,
    /// What a change waits for after the reply of the primary.
    pub(crate) wait: Option<Wait>,
    pub(crate) counters: Arc<Counters>,
}

impl Shared {
    pub(crate) fn new(deployment: Deployment, pool_size: u32, wait: Option<Wait>) -> Shared {
        Shared {
            generations: Generations::of(&deployment),
            deployment,
            pool_size,
            clients: PerProcess::new(),
            scripts: Scripts::new(),
            wait,
            counters: Arc::default(),
        }
    }
}
