//! Connections to a node: what is sent on them, and how that can fail.

pub(crate) mod commands;
pub(crate) mod connection;
pub(crate) mod error_reply;
pub(crate) mod failure;
pub(crate) mod node;
pub(crate) mod node_url;
pub(crate) mod one_line;
mod socket;
#[cfg(feature = "tls")]
mod tls;
