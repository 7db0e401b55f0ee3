//! The end of all sessions of a namespace: its generation goes.
//!
//! In a cluster every slot has a generation, and they go one after the other. Meanwhile a login may take a session from
//! a slot that is still to be cleared into one that is. So each slot remembers the time of the call: nothing moves in
//! that was created up to then (pending.lua). That time is the latest of all nodes' clocks, when the call begins. So a
//! session that was there before is not younger, whichever node's clock it was created by. If the clocks differ, a
//! session that is created just after the call by a clock that is behind may end when it moves.

use crate::deadline::Deadline;
use crate::error::StoreError;
use crate::store::redis::operation::Operation;
use crate::store::redis::servers::health::Shows;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::Failure;
use redis::{Cmd, FromRedisValue, Value, cmd};
use std::cell::{Cell, RefCell};

/// How many slots of a cluster's node are cleared by what is sent to it at once.
const BATCH: usize = 512;

/// What is to be cleared at a node.
struct Batch<'k> {
    keys: &'k [String],
    /// The time of the call (ms).
    time: u64,
}

impl Operation<'_> {
    /// Ends all sessions of a namespace, by the removal of its generation; in a cluster, slot by slot.
    pub(crate) fn end_namespace(&self, namespace: &str) -> Result<(), StoreError> {
        let keys = self.store.generations.keys(namespace);
        if keys.len() == 1 {
            return self.clear_batch(&Batch { keys: &keys, time: 0 });
        }
        let time = self.latest_time()?;
        let servers = self.servers()?;
        for of_one_node in keys.chunk_by(|one, other| servers.serve_alike(one, other)) {
            for keys in of_one_node.chunks(BATCH) {
                self.clear_batch(&Batch { keys, time })?;
            }
        }
        Ok(())
    }

    /// What the clock says that is ahead of those of all other servers (ms).
    fn latest_time(&self) -> Result<u64, StoreError> {
        let (mut echo, latest) = (cmd("ECHO"), Cell::new(0));
        echo.arg(&self.call.nonce);
        let questions = [cmd("TIME"), echo];
        self.servers()?.ask_all(self.call.deadline, |connection, until| {
            let mut replies = connection.request_all(&questions, until)?;
            match replies.pop() {
                Some(Ok(Value::BulkString(nonce))) if nonce == self.call.nonce => {}
                _ => return Err(Failure::not_ours("the replies belong to another call")),
            }
            let time = replies.pop().ok_or_else(|| Failure::not_ours("a reply is missing"))??;
            let (seconds, microseconds) = <(u64, u64)>::from_redis_value(time)
                .map_err(|_| Failure::not_ours("TIME came back with something else"))?;
            latest.set(latest.get().max(seconds.saturating_mul(1000).saturating_add(microseconds / 1000)));
            Ok(())
        })?;
        Ok(latest.get())
    }

    /// Clears all at the node that serves the first one; what that has given away meanwhile, afterwards one by one.
    fn clear_batch(&self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let elsewhere = RefCell::new(Vec::new());
        let deadline = self.call.deadline;
        self.servers()?.request(
            batch.keys[0].as_bytes(),
            &Cell::new(Shows::Reads),
            deadline,
            |connection, until| {
                *elsewhere.borrow_mut() = self.clear_at(connection, until, batch)?;
                self.store.wait.map_or(Ok(()), |wait| wait.on(connection, deadline))
            },
        )?;
        for command in elsewhere.take() {
            self.run(&self.scripts().namespace_clear, &command)?;
        }
        Ok(())
    }

    /// Clears the first key, and then all others at once. Gives the commands for those that this node does not serve.
    fn clear_at(
        &self,
        connection: &mut Connection,
        deadline: Deadline,
        batch: &Batch<'_>,
    ) -> Result<Vec<Cmd>, Failure> {
        let script = &self.scripts().namespace_clear;
        let command = |key| {
            let mut command = self.command(script, std::slice::from_ref(key));
            command.arg(batch.time).arg(self.memory());
            command
        };
        let (first, others) = (&batch.keys[0], &batch.keys[1..]);
        self.reply(connection, deadline, script, &command(first))?;
        let others: Vec<Cmd> = others.iter().map(command).collect();
        if others.is_empty() || connection.asking {
            return Ok(others);
        }
        let replies = self.replies(connection, deadline, &others)?;
        let mut elsewhere = Vec::new();
        for (command, reply) in others.into_iter().zip(replies) {
            match reply {
                Ok(_) => {}
                Err(Failure::Redirected(_) | Failure::NoScript) => elsewhere.push(command),
                Err(failure) => return Err(failure),
            }
        }
        Ok(elsewhere)
    }
}
