//! Checks whether the nodes answer, and whether they accept writes.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::redis::operation::Operation;
use crate::store::redis::wire::failure::Failure;
use redis::{Value, cmd};

impl Operation<'_> {
    /// Pings every node that keeps sessions.
    pub(crate) fn ping(&self) -> Result<(), StoreError> {
        let nonce = self.call.nonce;
        let mut ping = cmd("PING");
        ping.arg(&nonce);
        self.client()?.request_everywhere(self.call.deadline, |connection, deadline| {
            match connection.request(&ping, deadline)? {
                Value::BulkString(echo) if echo == nonce => Ok(()),
                _ => Err(Failure::not_ours("a PING came back with another text")),
            }
        })
    }

    /// Writes, reads and removes test keys in this namespace, at every node that keeps sessions.
    pub(crate) fn check_writes(&self, namespace: &str) -> Result<(), StoreError> {
        let nonce = String::from_utf8_lossy(&self.call.nonce);
        for tag in self.client()?.hash_tag_of_each_node(self.call.deadline)? {
            let key = |name| format!("{namespace}:{{{tag}}}:{nonce}:{name}");
            let keys = ["record", "members", "joined", "other"].map(key);
            let mut reply = self.run(&self.scripts().probe.on(keys.to_vec()).and_wait())?;
            if reply.status() != "ok" || reply.text()? != nonce {
                let message = "what was written could not be read; look whether a proxy sends reads to a replica";
                return Err(StoreError::new(StoreErrorKind::Backend, message));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Returns the commands that a script calls, and those that it names in a list.
    fn commands(lua: &str) -> Vec<String> {
        let code: Vec<&str> = lua.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
        let code = code.join("\n");
        let parts: Vec<&str> = code.split('\'').collect();
        let quoted = parts.windows(2).step_by(2).map(|pair| (pair[0], pair[1]));
        let is_called =
            |before: &str| ["call(", "call_or_nil(", "in_chunks(", "{ "].iter().any(|end| before.ends_with(end));
        let is_command = |word: &str| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
        quoted.filter(|(before, word)| is_called(before) && is_command(word)).map(|(_, word)| word.to_owned()).collect()
    }

    #[test]
    fn every_command_of_the_scripts_is_tried() {
        // `TIME` is called at the top of prelude.lua, which the probe includes.
        const LEFT_OUT: &str = "TIME";
        let tried = commands(include_str!("scripts/probe.lua"));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/redis/scripts");
        let files = [folder.join("shared"), folder].map(|folder| fs::read_dir(folder).unwrap());
        let mut called = 0;
        for file in files.into_iter().flatten().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "lua") {
                for command in commands(&fs::read_to_string(&file).unwrap()) {
                    let is_tried = tried.contains(&command) || command == LEFT_OUT;
                    assert!(is_tried, "{command} of {}", file.display());
                    called += 1;
                }
            }
        }
        assert!(called > 50, "{called}");
    }
}
