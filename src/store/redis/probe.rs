//! A write for nothing: whether saves and logouts would be taken now.

use crate::error::{StoreError, StoreErrorKind};
use crate::store::redis::operation::Operation;

impl Operation<'_> {
    /// Writes, reads and removes keys of its own in this namespace, at every server that keeps sessions.
    pub(crate) fn check_writes(&self, namespace: &str) -> Result<(), StoreError> {
        let script = &self.scripts().probe;
        for tag in self.servers()?.a_tag_for_each(self.call.deadline)? {
            let nonce = String::from_utf8_lossy(&self.call.nonce);
            let key = |name| format!("{namespace}:{{{tag}}}:{nonce}:{name}");
            let keys = ["record", "members", "joined", "other"].map(key);
            let mut reply = self.run(script, &self.command(script, &keys))?;
            if reply.status() != "ok" || reply.key()? != nonce {
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

    /// The commands that a script calls, or names where it makes a list of them.
    fn commands(lua: &str) -> Vec<String> {
        let code: Vec<&str> = lua.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
        let code = code.join("\n");
        let parts: Vec<&str> = code.split('\'').collect();
        let quoted = parts.windows(2).step_by(2).map(|pair| (pair[0], pair[1]));
        let is_called = |before: &str| ["call(", "in_chunks(", "{ "].iter().any(|end| before.ends_with(end));
        let is_command = |word: &str| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
        quoted.filter(|(before, word)| is_called(before) && is_command(word)).map(|(_, word)| word.to_owned()).collect()
    }

    #[test]
    fn every_command_of_the_scripts_is_tried() {
        // TIME is called by now_ms; ZMSCORE needs Redis 6.2.
        const LEFT_OUT: [&str; 2] = ["TIME", "ZMSCORE"];
        let tried = commands(include_str!("scripts/probe.lua"));
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/redis/scripts");
        let mut called = 0;
        for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "lua") {
                for command in commands(&fs::read_to_string(&file).unwrap()) {
                    let is_tried = tried.contains(&command) || LEFT_OUT.contains(&&*command);
                    assert!(is_tried, "{command} of {}", file.display());
                    called += 1;
                }
            }
        }
        assert!(called > 50, "{called}");
    }
}
