//! Connections to a node, and what is said on them.

pub(crate) mod address;
pub(crate) mod connection;
pub(crate) mod failure;
pub(crate) mod node;
pub(crate) mod socket;
#[cfg(feature = "tls")]
pub(crate) mod tls;
