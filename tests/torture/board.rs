//! The current sessions, for all workers: a file of slots, each with the current cookie of a session and the one before
//! it. So several processes always work on the same sessions, with new and old cookies.

use super::history::{Id, digest};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const SLOT: usize = 512;

pub struct Board {
    file: File,
    pub slots: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub session: Id,
    pub cookie: String,
    pub previous: Option<String>,
}

impl Board {
    pub fn new(folder: &Path, slots: u64) -> Board {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(folder.join("board"));
        let file = file.expect("a file of slots");
        file.set_len(slots * SLOT as u64).expect("room for the slots");
        Board { file, slots }
    }

    /// The entry in a slot, or `None` if the slot is empty or only half written.
    pub fn get(&self, slot: u64) -> Option<Entry> {
        let mut bytes = [0; SLOT];
        self.file.read_exact_at(&mut bytes, slot * SLOT as u64).expect("a slot");
        let text = str::from_utf8(&bytes).ok()?;
        let (entry, check) = text.trim_end_matches('\0').rsplit_once(' ')?;
        if check.parse() != Ok(digest(entry)) {
            return None;
        }
        let mut words = entry.split(' ');
        let session = words.next()?.parse().ok()?;
        Some(Entry { session, cookie: words.next()?.to_owned(), previous: words.next().map(str::to_owned) })
    }

    pub fn set(&self, slot: u64, entry: &Entry) {
        let mut text = format!("{} {}", entry.session, entry.cookie);
        if let Some(previous) = &entry.previous {
            text = format!("{text} {previous}");
        }
        let mut bytes = format!("{text} {}", digest(&text)).into_bytes();
        assert!(bytes.len() < SLOT, "two cookies fit into a slot");
        bytes.resize(SLOT, 0);
        self.file.write_all_at(&bytes, slot * SLOT as u64).expect("a slot");
    }
}
