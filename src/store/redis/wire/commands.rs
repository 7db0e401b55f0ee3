//! Several commands that are sent at once.

use redis::Cmd;

/// Commands, packed as they are sent.
#[derive(Default)]
pub(crate) struct Commands {
    pub(crate) packed: Vec<u8>,
    pub(crate) number: usize,
    /// The memory of the command that is being packed.
    next: Cmd,
}

impl Commands {
    /// Adds a command: its name and its arguments.
    pub(crate) fn add(&mut self, words: &[&str]) {
        self.next.clear();
        self.next.arg(words).write_packed_command(&mut self.packed);
        self.number += 1;
    }
}

impl<'a> FromIterator<&'a Cmd> for Commands {
    fn from_iter<I: IntoIterator<Item = &'a Cmd>>(commands: I) -> Commands {
        let mut all = Commands::default();
        for command in commands {
            command.write_packed_command(&mut all.packed);
            all.number += 1;
        }
        all
    }
}
