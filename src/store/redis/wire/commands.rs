//! Several commands that are sent at once.

use redis::Cmd;

/// Commands, packed as they are sent.
#[derive(Default)]
pub(crate) struct Commands {
    pub(crate) packed: Vec<u8>,
    pub(crate) count: usize,
    /// A command that is used again for each `add`, to save allocations.
    scratch: Cmd,
}

impl Commands {
    /// Adds a command: its name and its arguments.
    pub(crate) fn add(&mut self, words: &[&str]) {
        self.scratch.clear();
        self.scratch.arg(words).write_packed_command(&mut self.packed);
        self.count += 1;
    }
}

impl<'a> FromIterator<&'a Cmd> for Commands {
    fn from_iter<I: IntoIterator<Item = &'a Cmd>>(commands: I) -> Commands {
        let mut all = Commands::default();
        for command in commands {
            command.write_packed_command(&mut all.packed);
            all.count += 1;
        }
        all
    }
}
