//! The scripts: each is an operation, and one round trip.

use crate::store::Call;
use redis::{Arg, Cmd, cmd};

/// A script and the hash that Redis knows it by.
pub(super) struct Script {
    text: String,
    hash: String,
    /// Whether it changes what a session is, and not only how long it lives.
    pub(super) writes: bool,
    /// Whether it adds to what Redis keeps whenever it answers "ok", so that it is refused where the memory is full.
    pub(super) adds: bool,
    /// Whether it extends the life of a session on the way, and tells what kept it from doing so.
    pub(super) refreshes: bool,
}

impl Script {
    fn reading(body: &str) -> Script {
        Script { writes: false, ..Script::writing(body) }
    }

    fn refreshing(body: &str) -> Script {
        Script { refreshes: true, ..Script::reading(body) }
    }

    fn adding(body: &str) -> Script {
        Script { adds: true, ..Script::writing(body) }
    }

    fn writing(body: &str) -> Script {
        Script::alone(&[include_str!("prelude.lua"), body].join("\n"))
    }

    /// A writing script that needs nothing of the prelude.
    fn alone(text: &str) -> Script {
        let text = text.to_owned();
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Script { text, hash, writes: true, adds: false, refreshes: false }
    }

    /// A call of this script on these keys, its nonce the first argument.
    pub(super) fn call(&self, keys: &[String], call: &Call) -> Cmd {
        let mut command = cmd("EVALSHA");
        command.arg(&self.hash).arg(keys.len()).arg(keys).arg(&call.nonce);
        command
    }

    /// The first key of a call.
    pub(super) fn key(call: &Cmd) -> &[u8] {
        match call.args_iter().nth(3) {
            Some(Arg::Simple(key)) => key,
            _ => &[],
        }
    }

    /// The same call for a server that does not have the script.
    pub(super) fn in_full(&self, call: &Cmd) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(&self.text);
        for argument in call.args_iter().skip(2) {
            if let Arg::Simple(bytes) = argument {
                command.arg(bytes);
            }
        }
        command
    }
}

/// Made with the store, and not on first use: a lock that is held while they are made could be copied by a fork.
pub(super) struct Scripts {
    pub(super) create: Script,
    pub(super) load: Script,
    pub(super) update: Script,
    pub(super) delete: Script,
    pub(super) group_ids: Script,
    pub(super) group_len: Script,
    pub(super) group_read: Script,
    pub(super) group_clear: Script,
    pub(super) group_limit: Script,
    pub(super) namespace_clear: Script,
    pub(super) namespace_sweep: Script,
    pub(super) sweep: Script,
    pub(super) pending: Script,
    pub(super) take: Script,
    /// The same, waiting for it to be where it is to be.
    pub(super) take_again: Script,
    pub(super) activate: Script,
    pub(super) discard: Script,
    pub(super) probe: Script,
}

impl Scripts {
    pub(super) fn new() -> Scripts {
        Scripts {
            create: Script::adding(include_str!("create.lua")),
            load: Script::refreshing(include_str!("load.lua")),
            update: Script::adding(include_str!("update.lua")),
            delete: Script::writing(include_str!("delete.lua")),
            group_ids: Script::reading(include_str!("group_ids.lua")),
            group_len: Script::reading(include_str!("group_len.lua")),
            group_read: Script::reading(include_str!("group_read.lua")),
            group_clear: Script::writing(include_str!("group_clear.lua")),
            group_limit: Script::reading(include_str!("group_limit.lua")),
            namespace_clear: Script::alone(include_str!("namespace_clear.lua")),
            namespace_sweep: Script::reading(include_str!("namespace_sweep.lua")),
            sweep: Script::reading(include_str!("sweep.lua")),
            pending: Script::reading(include_str!("pending.lua")),
            take: Script::reading(include_str!("take.lua")),
            take_again: Script::writing(include_str!("take.lua")),
            activate: Script::adding(include_str!("activate.lua")),
            discard: Script::reading(include_str!("discard.lua")),
            probe: Script::adding(include_str!("probe.lua")),
        }
    }
}
