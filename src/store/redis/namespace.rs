//! The end of all sessions of a namespace.

use super::connection::Connection;
use super::failure::Failure;
use super::health::Shows;
use super::operation::Operation;
use super::reply::Reply;
use super::script::Script;
use crate::StoreError;
use redis::Cmd;
use std::cell::{Cell, RefCell};
use std::time::Instant;

/// How many slots of a cluster's node are cleared by what is sent to it at once.
const BATCH: usize = 512;

impl Operation<'_> {
    /// Ends all sessions of a namespace, by the removal of its generation; in a cluster, slot by slot.
    pub(super) fn end_namespace(&self, namespace: &str) -> Result<(), StoreError> {
        let keys = self.store.generations.keys(namespace);
        // In a cluster twice: meanwhile a login may take a session from a slot that is not cleared yet into one that is. Once
        // the first round has ended, there is none left to take.
        let rounds = if keys.len() == 1 { 1 } else { 2 };
        for _ in 0..rounds {
            self.clear_all(&keys)?;
        }
        Ok(())
    }

    fn clear_all(&self, keys: &[String]) -> Result<(), StoreError> {
        let servers = self.servers()?;
        // By the first one it is learnt which node serves which of the others.
        let (first, others) = keys.split_at(1);
        self.clear_batch(first)?;
        for of_one_node in others.chunk_by(|one, other| servers.serve_alike(one, other)) {
            for batch in of_one_node.chunks(BATCH) {
                self.clear_batch(batch)?;
            }
        }
        Ok(())
    }

    /// Clears what these keys stand for, all at the node that serves the first one; what that has given away meanwhile,
    /// afterwards one by one.
    fn clear_batch(&self, keys: &[String]) -> Result<(), StoreError> {
        let script = &self.scripts().namespace_clear;
        let commands: Vec<Cmd> = keys.iter().map(|key| self.command(script, std::slice::from_ref(key))).collect();
        let elsewhere = RefCell::new(Vec::new());
        let deadline = self.call.deadline;
        self.servers()?.request(keys[0].as_bytes(), &Cell::new(Shows::Reads), deadline, |connection, until| {
            *elsewhere.borrow_mut() = self.clear_at(connection, until, script, &commands)?;
            self.store.wait.map_or(Ok(()), |wait| wait.on(connection, deadline))
        })?;
        for command in elsewhere.take() {
            self.run(script, command)?;
        }
        Ok(())
    }

    /// Sends the first command, and then all others at once. Gives those that this node does not serve.
    fn clear_at<'c>(
        &self,
        connection: &mut Connection,
        deadline: Instant,
        script: &Script,
        commands: &'c [Cmd],
    ) -> Result<Vec<&'c Cmd>, Failure> {
        self.reply(connection, deadline, script, &commands[0])?;
        let others = &commands[1..];
        if others.is_empty() || connection.asking {
            return Ok(others.iter().collect());
        }
        let replies = connection.request_all(others, deadline)?;
        let mut elsewhere = Vec::new();
        for (command, reply) in others.iter().zip(replies) {
            match reply.and_then(|reply| Reply::new(reply, self.call.nonce)) {
                Ok(_) => {}
                Err(Failure::Redirected(_)) => elsewhere.push(command),
                Err(failure) => return Err(failure),
            }
        }
        Ok(elsewhere)
    }
}
