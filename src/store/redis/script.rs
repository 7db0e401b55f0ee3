//! A script, and a call of it.

use crate::store::call::Nonce;
use crate::store::redis::arguments::{Argument, Arguments};
use crate::store::redis::deployment::proof::Proof;
use redis::{Cmd, cmd};

/// A script, and the hash by which Redis knows it.
pub(crate) struct Script {
    pub(crate) text: String,
    hash: String,
    /// What an "ok" of the script shows about its server.
    pub(crate) ok_proves: Proof,
}

/// One call of a script: the script, its keys and its arguments.
pub(crate) struct ScriptCall<'s> {
    pub(crate) script: &'s Script,
    keys: Vec<String>,
    arguments: Arguments,
    /// Whether the call waits until its change is on replicas or on disk, where the store's URL asks for that.
    pub(crate) waits: bool,
}

impl Script {
    /// Puts a script together from these texts.
    pub(crate) fn new(ok_proves: Proof, texts: &[&str]) -> Script {
        let text = texts.join("\n");
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Script { text, hash, ok_proves }
    }

    /// Begins a call of the script on these keys, of which there is at least one.
    pub(crate) fn on(&self, keys: Vec<String>) -> ScriptCall<'_> {
        ScriptCall { script: self, keys, arguments: Arguments::default(), waits: false }
    }
}

impl ScriptCall<'_> {
    /// Adds what the script reads next.
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

    /// After an "ok", waits until the change is on replicas or on disk, where the store's URL asks for that.
    pub(crate) fn and_wait(self) -> Self {
        ScriptCall { waits: true, ..self }
    }

    /// The key that decides which server runs the script.
    pub(crate) fn key(&self) -> &[u8] {
        self.keys.first().map_or(&[], |key| key.as_bytes())
    }

    /// The command for a server that has the script.
    pub(crate) fn evalsha(&self, nonce: Nonce) -> Cmd {
        self.command("EVALSHA", &self.script.hash, nonce)
    }

    /// The command for a server that does not have it.
    pub(crate) fn eval(&self, nonce: Nonce) -> Cmd {
        self.command("EVAL", &self.script.text, nonce)
    }

    /// The nonce is the first argument.
    fn command(&self, name: &str, script: &str, nonce: Nonce) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&nonce).arg(&self.arguments.0);
        command
    }
}
