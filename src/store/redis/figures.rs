//! Figures of every node, from `INFO`.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::maintenance::Figure;
use crate::store::redis::node_facts::{Info, part};
use crate::store::redis::operation::Operation;

/// The names of figures, and of what `INFO` calls them.
const FIGURES: [(&str, &str); 11] = [
    ("used_memory_bytes", "used_memory"),
    ("maxmemory_bytes", "maxmemory"),
    ("connected_clients", "connected_clients"),
    ("commands_per_second", "instantaneous_ops_per_sec"),
    ("calls", "total_commands_processed"),
    ("error_replies", "total_error_replies"),
    ("rejected_connections", "rejected_connections"),
    ("evicted_keys", "evicted_keys"),
    ("expired_keys", "expired_keys"),
    ("replicas", "connected_slaves"),
    ("uptime_seconds", "uptime_in_seconds"),
];

impl Operation<'_> {
    /// Returns the figures of every node that keeps sessions. A figure that a node does not have is left out.
    pub(crate) fn figures(&self) -> Result<Vec<Figure>, StoreError> {
        let mut figures = Vec::new();
        for facts in self.facts_of_each_node(&[])? {
            let info = facts.info.ok_or_else(|| {
                StoreError::new(StoreErrorKind::Rejected, "the server does not tell its figures: the user needs +info")
            })?;
            let known = FIGURES.iter().filter_map(|(name, of_info)| Some((*name, info.number(of_info)?)));
            for (name, value) in known.chain(counted(&info)) {
                figures.push(Figure { name: format!("{}{name}", facts.prefix), value });
            }
        }
        Ok(figures)
    }
}

/// Figures that are counted from several parts of `INFO`.
fn counted(info: &Info) -> impl Iterator<Item = (&'static str, f64)> {
    // The sum of no numbers is -0.
    let keys = info.numbered("db").iter().filter_map(|db| part(db, "keys")).fold(0.0, |sum, keys| sum + keys);
    let replicas = info.numbered("slave");
    let lag = replicas.iter().filter_map(|replica| part(replica, "lag")).reduce(f64::max);
    let offset = info.number("master_repl_offset");
    let behind = replicas.iter().filter_map(|replica| Some(offset? - part(replica, "offset")?)).reduce(f64::max);
    let lags = [("replication_lag_seconds", lag), ("replication_lag_bytes", behind)];
    [("keys", keys)].into_iter().chain(lags.into_iter().filter_map(|(name, value)| Some((name, value?))))
}
