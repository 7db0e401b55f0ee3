//! Ends all sessions of a namespace by removing its generation.
//!
//! In a cluster, every slot has a generation, and the generations are removed one after the other. Meanwhile a login
//! may move a session from a slot that is not cleared yet into one that is. So each cleared slot keeps the time of the
//! call, and handover_prepare.lua refuses a session that was created at that time or earlier.
//!
//! The clocks of the nodes may differ. So the time of the call is the latest time that any node shows when the call
//! begins: every session that existed then has an earlier creation time. A session that is created just after the call,
//! at a node whose clock is behind, may end when it moves.

use crate::deadline::Deadline;
use crate::error::StoreError;
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::operation::Operation;
use crate::store::redis::script::ScriptCall;
use crate::store::redis::state;
use crate::store::redis::wire::commands::Commands;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::Failure;
use std::cell::{Cell, RefCell};

/// The most slots of a node that are cleared in one round trip.
const BATCH: usize = 512;

/// The keys of some generations that are kept by one node, as far as is known.
struct Batch<'k> {
    keys: &'k [String],
    /// The time of the call, in milliseconds since 1970. Without a cluster it is 0.
    time: u64,
}

impl Operation<'_> {
    /// Ends all sessions of a namespace. Then removes records for at most half of the time that the call has left, so
    /// that a full memory has room again. The other records expire.
    pub(crate) fn clear_namespace(&self, namespace: &str) -> Result<(), StoreError> {
        self.end_namespace(namespace)?;
        self.sweep_namespace(namespace);
        Ok(())
    }

    /// Ends all sessions of a namespace; in a cluster, slot by slot.
    fn end_namespace(&self, namespace: &str) -> Result<(), StoreError> {
        let keys = self.shared.generations.keys(namespace);
        if keys.len() == 1 {
            return self.clear_batch(&Batch { keys: &keys, time: 0 });
        }
        let time = self.latest_time()?;
        let client = self.client()?;
        for of_one_node in keys.chunk_by(|one, other| client.are_at_one_node(one, other)) {
            for keys in of_one_node.chunks(BATCH) {
                self.clear_batch(&Batch { keys, time })?;
            }
        }
        Ok(())
    }

    /// Returns the latest time that a server's clock shows, in milliseconds since 1970.
    fn latest_time(&self) -> Result<u64, StoreError> {
        let (mut commands, latest) = (Commands::default(), Cell::new(0));
        commands.add(&["TIME"]);
        let commands = self.marked(commands);
        self.client()?.request_everywhere(self.call.deadline, |connection, until| {
            let time = self.ask_plainly(connection, until, &commands)?.pop();
            latest.set(latest.get().max(state::clock(time)?));
            Ok(())
        })?;
        Ok(latest.get())
    }

    /// Clears all slots of a batch at the node that serves the first one. If a slot has moved to another node
    /// meanwhile, the slot is cleared there afterwards.
    fn clear_batch(&self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let elsewhere = RefCell::new(Vec::new());
        let deadline = self.call.deadline;
        self.client()?.request(batch.keys[0].as_bytes(), &Cell::new(Proof::Reads), deadline, |connection, until| {
            *elsewhere.borrow_mut() = self.clear_at(connection, until, batch)?;
            self.wait(connection, deadline)
        })?;
        for call in elsewhere.take() {
            self.run(&call.and_wait())?;
        }
        Ok(())
    }

    /// Clears the first slot of a batch, and then all others at once. Returns the calls for the slots that this node
    /// does not serve.
    fn clear_at(
        &self,
        connection: &mut Connection,
        deadline: Deadline,
        batch: &Batch<'_>,
    ) -> Result<Vec<ScriptCall<'_>>, Failure> {
        let clear = |key: &String| {
            self.scripts().namespace_clear.on(vec![key.clone()]).arg(batch.time).arg(self.trace_lifetime())
        };
        let (first, others) = (&batch.keys[0], &batch.keys[1..]);
        self.ask(connection, deadline, &clear(first))?;
        let others: Vec<ScriptCall<'_>> = others.iter().map(clear).collect();
        if others.is_empty() || connection.asking {
            return Ok(others);
        }
        let replies = self.ask_all(connection, deadline, &others)?;
        let mut elsewhere = Vec::new();
        for (call, reply) in others.into_iter().zip(replies) {
            match reply {
                Ok(_) => {}
                Err(Failure::Redirected(_) | Failure::NoScript) => elsewhere.push(call),
                Err(failure) => return Err(failure),
            }
        }
        Ok(elsewhere)
    }
}
