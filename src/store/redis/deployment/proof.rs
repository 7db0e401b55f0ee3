//! What an answer says about the node that gave it.

/// What an answer proves. Each level proves the levels before it, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Proof {
    /// The node is alive.
    Alive,
    /// The node serves reads.
    Reads,
    /// The node accepts commands that add data. A node whose memory is full accepts only commands that remove data.
    Writes,
}
