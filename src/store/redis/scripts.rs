//! The scripts: each is an operation, and one round trip.

use crate::store::call::Call;
use redis::{Arg, Cmd, cmd};

/// A script and the hash that Redis knows it by.
pub(crate) struct Script {
    text: String,
    hash: String,
    /// Whether it changes what a session is, and not only how long it lives.
    pub(crate) writes: bool,
    /// Whether it adds to what Redis keeps whenever it answers "ok", so that it is refused where the memory is full.
    pub(crate) adds: bool,
    /// Whether it extends the life of a session on the way, and tells what kept it from doing so.
    pub(crate) refreshes: bool,
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
        Script::alone(&[include_str!("scripts/prelude.lua"), body].join("\n"))
    }

    /// A writing script that needs nothing of the prelude.
    fn alone(text: &str) -> Script {
        let text = text.to_owned();
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Script { text, hash, writes: true, adds: false, refreshes: false }
    }

    /// A call of this script on these keys, its nonce the first argument.
    pub(crate) fn call(&self, keys: &[String], call: &Call) -> Cmd {
        let mut command = cmd("EVALSHA");
        command.arg(&self.hash).arg(keys.len()).arg(keys).arg(&call.nonce);
        command
    }

    /// The first key of a call.
    pub(crate) fn key(call: &Cmd) -> &[u8] {
        match call.args_iter().nth(3) {
            Some(Arg::Simple(key)) => key,
            _ => &[],
        }
    }

    /// The same call for a server that does not have the script.
    pub(crate) fn in_full(&self, call: &Cmd) -> Cmd {
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
pub(crate) struct Scripts {
    pub(crate) create: Script,
    pub(crate) load: Script,
    pub(crate) update: Script,
    pub(crate) delete: Script,
    pub(crate) group_ids: Script,
    pub(crate) group_len: Script,
    pub(crate) group_read: Script,
    pub(crate) group_clear: Script,
    pub(crate) group_limit: Script,
    pub(crate) namespace_clear: Script,
    pub(crate) namespace_sweep: Script,
    pub(crate) sweep: Script,
    pub(crate) pending: Script,
    pub(crate) take: Script,
    /// The same, waiting for it to be where it is to be.
    pub(crate) take_again: Script,
    pub(crate) activate: Script,
    pub(crate) discard: Script,
    pub(crate) probe: Script,
}

impl Scripts {
    pub(crate) fn new() -> Scripts {
        Scripts {
            create: Script::adding(include_str!("scripts/create.lua")),
            load: Script::refreshing(include_str!("scripts/load.lua")),
            update: Script::adding(include_str!("scripts/update.lua")),
            delete: Script::writing(include_str!("scripts/delete.lua")),
            group_ids: Script::reading(include_str!("scripts/group_ids.lua")),
            group_len: Script::reading(include_str!("scripts/group_len.lua")),
            group_read: Script::reading(include_str!("scripts/group_read.lua")),
            group_clear: Script::writing(include_str!("scripts/group_clear.lua")),
            group_limit: Script::reading(include_str!("scripts/group_limit.lua")),
            namespace_clear: Script::alone(include_str!("scripts/namespace_clear.lua")),
            namespace_sweep: Script::reading(include_str!("scripts/namespace_sweep.lua")),
            sweep: Script::reading(include_str!("scripts/sweep.lua")),
            pending: Script::reading(include_str!("scripts/pending.lua")),
            take: Script::reading(include_str!("scripts/take.lua")),
            take_again: Script::writing(include_str!("scripts/take.lua")),
            activate: Script::adding(include_str!("scripts/activate.lua")),
            discard: Script::reading(include_str!("scripts/discard.lua")),
            probe: Script::adding(include_str!("scripts/probe.lua")),
        }
    }
}
