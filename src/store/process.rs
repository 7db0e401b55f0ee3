//! The parts that stores with connections share: each process opens connections of its own, and keeps them in a pool.

pub(crate) mod per_process;
pub(crate) mod pool;
pub(crate) mod queue;
