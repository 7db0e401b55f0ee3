//! The connections that this process has open through SQLite.
//!
//! SQLite has one table of file locks in each process, and a fork copies this table. If the parent has a database open,
//! the child believes that it holds the parent's locks, and acknowledged writes can be lost
//! (<https://www.sqlite.org/howtocorrupt.html>, section 2.6). So a child that was forked while there were connections
//! never uses SQLite.
//!
//! SQLite also has only one view of the companions of an open database in each process: a new connection uses the
//! companions that the older connections use. So this list is global too, and all stores share it.

use crate::error::{StoreError, StoreErrorKind};
use crate::process::Process;
use crate::store::sqlite::files::FileIds;
use arc_swap::ArcSwapOption;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The list is swapped, never locked: a fork could copy a lock while it is held.
static OPEN: ArcSwapOption<Open> = ArcSwapOption::const_empty();
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The open connections of one process.
struct Open {
    process: Process,
    /// The connections by their numbers, and the files that each has open.
    connections: Vec<(u64, FileIds)>,
}

/// The right to have one connection open. A connection gets it before it is opened, and gives it back after it has been
/// closed.
pub(crate) struct Permit {
    number: u64,
}

impl Permit {
    /// Returns a permit for a connection to these files. Returns `None` if this process has the same database open with
    /// other companions than those that exist now.
    pub(crate) fn get(files: FileIds) -> Result<Option<Permit>, StoreError> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        change(|connections| {
            let connections = connections.map_err(|Inherited| {
                StoreError::new(
                    StoreErrorKind::Forked,
                    "this process was forked from one that had its SQLite file open, so it cannot use SQLite safely; \
                     let the parent fork under before_fork(), or let it use no sessions before the fork",
                )
            })?;
            if connections.iter().any(|(_, other)| is_other_log(other, &files)) {
                return Ok((None, connections));
            }
            // SQLite makes the companions that are missing.
            let whole = if files.is_whole() { files } else { FileIds { log: None, shared_memory: None, ..files } };
            Ok((Some(Permit { number }), with(connections, number, whole)))
        })
    }

    /// Notes the files that the connection has open, once their companions are there.
    pub(crate) fn note_files(&self, files: FileIds) {
        let _ = change(|connections| connections.map(|others| ((), with(others, self.number, files))));
    }

    /// Returns whether another connection of this process has these files open.
    pub(crate) fn has_others(&self, files: FileIds) -> bool {
        OPEN.load().as_ref().is_some_and(|open| {
            open.connections.iter().any(|(number, other)| *number != self.number && *other == files)
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let _ = change(|connections| {
            let mut others = connections?;
            others.retain(|(number, _)| *number != self.number);
            Ok::<_, Inherited>(((), others))
        });
    }
}

/// The list holds connections of the parent process, which had the database open at the fork.
struct Inherited;

fn is_other_log(open: &FileIds, now: &FileIds) -> bool {
    // While a connection is being opened, its companions may not be there yet.
    open.database == now.database
        && open.log.is_some()
        && (open.log, open.shared_memory) != (now.log, now.shared_memory)
}

fn with(mut connections: Vec<(u64, FileIds)>, number: u64, files: FileIds) -> Vec<(u64, FileIds)> {
    connections.retain(|(other, _)| *other != number);
    connections.push((number, files));
    connections
}

/// Changes the list, unless `work` refuses.
fn change<R, E>(
    work: impl Fn(Result<Vec<(u64, FileIds)>, Inherited>) -> Result<(R, Vec<(u64, FileIds)>), E>,
) -> Result<R, E> {
    loop {
        let current = OPEN.load_full();
        let connections = match &current {
            Some(open) if open.process.is_this() => Ok(open.connections.clone()),
            Some(open) if !open.connections.is_empty() => Err(Inherited),
            _ => Ok(Vec::new()),
        };
        let (result, connections) = work(connections)?;
        let next = Some(Arc::new(Open { process: Process::this(), connections }));
        let previous = OPEN.compare_and_swap(&current, next);
        if previous.as_ref().map(Arc::as_ptr) == current.as_ref().map(Arc::as_ptr) {
            return Ok(result);
        }
    }
}
