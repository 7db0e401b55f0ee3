//! The end of all sessions of a namespace.

use super::connection::Connection;
use super::failure::Failure;
use super::health::Shows;
use super::operation::Operation;
use crate::StoreError;
use redis::{Cmd, Value, cmd};
use std::cell::{Cell, RefCell};
use std::time::Instant;

/// How many slots of a cluster's node are cleared by what is sent to it at once.
const BATCH: usize = 512;

impl Operation<'_> {
    /// Ends all sessions of a namespace, by the removal of its generation; in a cluster, slot by slot.
    pub(super) fn end_namespace(&self, namespace: &str) -> Result<(), StoreError> {
        let keys = self.store.generations.keys(namespace);
        // In a cluster twice: meanwhile a login may take a session from a slot that is not cleared yet into one that
        // is. Once the first round has ended, there is none left to take.
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
        let elsewhere = RefCell::new(Vec::new());
        let deadline = self.call.deadline;
        self.servers()?.request(keys[0].as_bytes(), &Cell::new(Shows::Reads), deadline, |connection, until| {
            *elsewhere.borrow_mut() = self.clear_at(connection, until, keys)?;
            self.store.wait.map_or(Ok(()), |wait| wait.on(connection, deadline))
        })?;
        for key in elsewhere.take() {
            self.run(&self.scripts().namespace_clear, &self.clear(key))?;
        }
        Ok(())
    }

    fn clear(&self, key: &String) -> Cmd {
        self.command(&self.scripts().namespace_clear, std::slice::from_ref(key))
    }

    /// Clears the first key by the script, and then all others at once by commands that cost less. Gives those that
    /// this node does not serve.
    fn clear_at<'k>(
        &self,
        connection: &mut Connection,
        deadline: Instant,
        keys: &'k [String],
    ) -> Result<Vec<&'k String>, Failure> {
        self.reply(connection, deadline, &self.scripts().namespace_clear, &self.clear(&keys[0]))?;
        let others = &keys[1..];
        if others.is_empty() || connection.asking {
            return Ok(others.iter().collect());
        }
        // The last reply shows that all are replies to this call.
        let (mut commands, mut echo) = (Vec::with_capacity(keys.len()), cmd("ECHO"));
        for key in others {
            let mut unlink = cmd("UNLINK");
            unlink.arg(key);
            commands.push(unlink);
        }
        echo.arg(&self.call.nonce);
        commands.push(echo);
        let mut replies = connection.request_all(&commands, deadline)?;
        match replies.pop() {
            Some(Ok(Value::BulkString(nonce))) if nonce == self.call.nonce => {}
            _ => return Err(Failure::not_ours("the replies belong to another call")),
        }
        let mut elsewhere = Vec::new();
        for (key, reply) in others.iter().zip(replies) {
            match reply {
                Ok(_) => {}
                Err(Failure::Redirected(_)) => elsewhere.push(key),
                Err(failure) => return Err(failure),
            }
        }
        Ok(elsewhere)
    }
}
