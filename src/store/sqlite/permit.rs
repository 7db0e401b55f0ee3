//! Which process has SQLite open.
//!
//! SQLite's table of file locks is global to the process, and a fork copies it: the child of a process that has a
//! database open takes the parent's locks for its own, and acknowledged writes can vanish
//! (<https://www.sqlite.org/howtocorrupt.html>, section 2.6). So a child that was forked while there were connections
//! never touches SQLite. Like that table, this record is global to the process, whatever stores there are.

use crate::{StoreError, StoreErrorKind};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// The process that has SQLite open, and how many connections it has, in the upper and the lower half.
static OPEN: AtomicU64 = AtomicU64::new(0);

/// The right to have one connection open. Got before it is opened, given back after it is closed.
pub(super) struct Permit(());

impl Permit {
    pub(super) fn get() -> Result<Permit, StoreError> {
        let me = process::id();
        let one_more = |open| match split(open) {
            (owner, connections) if owner == me => Some(join(me, connections + 1)),
            (_, 0) => Some(join(me, 1)),
            _ => None,
        };
        match OPEN.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more) {
            Ok(_) => Ok(Permit(())),
            Err(_) => Err(StoreError::new(
                StoreErrorKind::Forked,
                "this process was forked from one that had its SQLite file open, so SQLite is not to be trusted here; \
                 let the parent fork under before_fork(), or not use its sessions before",
            )),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let me = process::id();
        let one_less = |open| match split(open) {
            (owner, connections) if owner == me => Some(join(me, connections - 1)),
            _ => None,
        };
        let _ = OPEN.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
    }
}

fn split(open: u64) -> (u32, u32) {
    ((open >> 32) as u32, open as u32)
}

fn join(owner: u32, connections: u32) -> u64 {
    u64::from(owner) << 32 | u64::from(connections)
}
