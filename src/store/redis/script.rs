//! A Lua script, and one call of it.

use crate::store::call::Nonce;
use crate::store::redis::arguments::{Argument, Arguments};
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::keys::field;
use crate::store::update::{Change, ChangeSet};
use redis::Cmd;

/// A script, and the hash by which Redis knows it.
pub(crate) struct Script {
    pub(crate) text: String,
    hash: String,
    /// What the status "ok" of the script proves about the node.
    pub(crate) proof_of_ok: Proof,
}

/// One call of a script: the script, its keys and its arguments.
pub(crate) struct ScriptCall<'s> {
    pub(crate) script: &'s Script,
    keys: Vec<String>,
    arguments: Arguments,
    /// Whether the call waits until its change is on replicas or on disk, if the store URL asks for that.
    pub(crate) waits: bool,
}

impl Script {
    /// Makes a script by joining these texts.
    pub(crate) fn new(proof_of_ok: Proof, texts: &[&str]) -> Script {
        let text = texts.join("\n");
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Script { text, hash, proof_of_ok }
    }

    /// Begins a call of the script on these keys, of which there is at least one.
    pub(crate) fn on(&self, keys: Vec<String>) -> ScriptCall<'_> {
        ScriptCall { script: self, keys, arguments: Arguments::new(), waits: false }
    }
}

impl ScriptCall<'_> {
    /// Adds the next argument that the script reads.
    pub(crate) fn arg(mut self, argument: impl Argument) -> Self {
        self.arguments.add(argument);
        self
    }

    /// Adds a list: the number of its items, and then the items.
    pub(crate) fn list<A: Argument>(mut self, items: impl IntoIterator<Item = A>) -> Self {
        let items: Vec<A> = items.into_iter().collect();
        self.arguments.add(items.len());
        items.into_iter().for_each(|item| self.arguments.add(item));
        self
    }

    /// Adds a change set, and the totals of its increments if the caller knows what to expect: see values.lua.
    pub(crate) fn changes(self, changes: &ChangeSet, totals: Option<&[(String, i64)]>) -> Self {
        let (mut sets, mut removes, mut increments) = (Vec::new(), Vec::new(), Vec::new());
        for (key, change) in &changes.keys {
            match change {
                Change::Set(value) => sets.push((field(key), value)),
                Change::Remove => removes.push(field(key)),
                Change::Increment(by) => {
                    let total = totals.and_then(|totals| totals.get(increments.len()));
                    increments.push((field(key), (*by, total.map(|(_, total)| *total))));
                }
            }
        }
        self.arg(changes.clear).list(sets).list(removes).list(increments)
    }

    /// Makes the call wait after an "ok" until its change is on replicas or on disk, if the store URL asks for that.
    pub(crate) fn and_wait(self) -> Self {
        ScriptCall { waits: true, ..self }
    }

    /// Returns the key that decides which node runs the script.
    pub(crate) fn key(&self) -> &[u8] {
        self.keys.first().map_or(&[], |key| key.as_bytes())
    }

    /// Returns the command for a node that has the script.
    pub(crate) fn evalsha(&self, nonce: Nonce) -> Cmd {
        self.command("EVALSHA", &self.script.hash, nonce)
    }

    /// Returns the command for a node that does not have the script.
    pub(crate) fn eval(&self, nonce: Nonce) -> Cmd {
        self.command("EVAL", &self.script.text, nonce)
    }

    /// Makes a command that runs the script. The nonce is the first argument.
    fn command(&self, name: &str, script: &str, nonce: Nonce) -> Cmd {
        // With room for most calls, the command does not grow while it is made.
        let mut command = Cmd::with_capacity(4 + self.keys.len() + self.arguments.len(), 512);
        command.arg(name).arg(script).arg(self.keys.len()).arg(&self.keys).arg(&nonce);
        for argument in self.arguments.iter() {
            command.arg(argument);
        }
        command
    }
}
