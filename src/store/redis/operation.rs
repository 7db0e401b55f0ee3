//! A call to the store that is under way. It runs scripts, sends plain commands, and follows forwards.

use crate::deadline::Deadline;
use crate::error::StoreError;
use crate::id::PublicId;
use crate::store::call::Call;
use crate::store::forward::MOST_FORWARDS;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::process::per_process::Entered;
use crate::store::redis::deployment::Client;
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::keys::{ended_key, group_keys, record_keys, reserved_key, values_key};
use crate::store::redis::reply::Reply;
use crate::store::redis::script::ScriptCall;
use crate::store::redis::scripts::Scripts;
use crate::store::redis::shared::Shared;
use crate::store::redis::wire::commands::Commands;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::Failure;
use crate::store::stats::Counter;
use crate::store::trace::TRACE;
use redis::{Cmd, Value};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// How long at least the later steps of a call find what an earlier step has left for them.
const STEP: Duration = Duration::from_secs(60);

/// A call that is under way. A fork waits until the call has ended. Between two scripts of the call, a session may be
/// alive neither under its old key nor under its new one, so the call must not be cut off there.
pub(crate) struct Operation<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) call: &'a Call,
    process: Entered<Client>,
}

/// What is known of a session after a call has followed its id.
pub(crate) struct Followed<'a> {
    /// The key that the session has now.
    pub(crate) key: RecordKey<'a>,
    /// The id that the session has now, if the call came with an earlier one.
    pub(crate) forwarded_to: Option<PublicId>,
    /// The version in which the earliest of the followed ids was replaced.
    pub(crate) replaced_in: Option<u64>,
    /// Whether the record of an old id remembers this call. Then the call is a repeated one.
    pub(crate) is_repeated: bool,
    /// Whether the call has ended a live session under a followed id.
    pub(crate) was_alive: bool,
}

impl<'a> Operation<'a> {
    pub(crate) fn begin(shared: &'a Shared, call: &'a Call) -> Result<Operation<'a>, StoreError> {
        Ok(Operation { shared, call, process: shared.clients.enter(call.deadline)? })
    }

    pub(crate) fn client(&self) -> Result<&Client, StoreError> {
        let Operation { shared, call, process } = self;
        process.get_or_open(|| shared.deployment.open(shared.pool_size, call.deadline, &shared.counters))
    }

    pub(crate) fn scripts(&self) -> &'a Scripts {
        &self.shared.scripts
    }

    /// Returns the key of the generation and the keys of a record, in the order in which scripts read them.
    pub(crate) fn record_keys(&self, key: &RecordKey<'_>) -> Vec<String> {
        let mut keys = record_keys(key);
        keys.insert(0, self.shared.generations.key(key.namespace, &keys[0]));
        keys
    }

    /// Like `record_keys`, with the key of the group's values. Only scripts that use it get this key: usually it is
    /// missing, and while a slot is moving, a script that names a missing key does not run.
    pub(crate) fn keys_with_values(&self, key: &RecordKey<'_>) -> Vec<String> {
        let mut keys = self.record_keys(key);
        keys.extend(key.tag.map(|tag| values_key(&key.group(tag))));
        keys
    }

    /// Like `keys_with_values`, with the key of the group's reserved places.
    pub(crate) fn all_record_keys(&self, key: &RecordKey<'_>) -> Vec<String> {
        let mut keys = self.keys_with_values(key);
        keys.extend(key.tag.map(|tag| reserved_key(&key.group(tag))));
        keys
    }

    /// Returns the key of the generation and the keys of a group, in the order in which scripts read them.
    pub(crate) fn group_keys(&self, group: &GroupKey<'_>) -> Vec<String> {
        let [members, joined] = group_keys(group);
        vec![self.shared.generations.key(group.namespace, &members), members, joined]
    }

    /// Returns the key of the ended set of this call, or `None` if the record is in no group.
    pub(crate) fn ended_key(&self, key: &RecordKey<'_>) -> Option<String> {
        key.tag.map(|tag| ended_key(&key.group(tag), self.call.nonce))
    }

    /// Returns how long the traces of this call are kept: until the call cannot be sent again, and at least 5 minutes.
    pub(crate) fn trace_lifetime(&self) -> Duration {
        self.call.deadline.left().max(TRACE)
    }

    /// Returns how long this call keeps what only its own later steps need.
    pub(crate) fn step_lifetime(&self) -> Duration {
        self.call.deadline.left().max(STEP)
    }

    /// Runs a script on the node that keeps its keys.
    pub(crate) fn run(&self, call: &ScriptCall<'_>) -> Result<Reply, StoreError> {
        self.run_until(self.call.deadline, call)
    }

    /// Like `run`, with an earlier deadline than that of the call to the store.
    pub(crate) fn run_until(&self, deadline: Deadline, call: &ScriptCall<'_>) -> Result<Reply, StoreError> {
        let proof = Cell::new(call.script.proof_of_ok);
        // A load is answered even if Redis refused its refresh.
        let unrefreshed = RefCell::new(None);
        let answer = self.client()?.request(call.key(), &proof, deadline, |connection, until| {
            let mut reply = self.ask(connection, until, call)?;
            if let Some(refused) = reply.refused_refresh()? {
                unrefreshed.replace(Some(reply));
                return Err(refused);
            }
            proof.set(match reply.status() {
                "ok" | "quick" => call.script.proof_of_ok,
                "refreshed" => Proof::Writes,
                _ => Proof::Reads,
            });
            if call.waits && matches!(reply.status(), "ok" | "quick") {
                // The connection is alive, so the wait may take all of the time.
                self.wait(connection, deadline)?;
            }
            Ok(reply)
        });
        match (answer, unrefreshed.into_inner()) {
            (Err(_), Some(reply)) => {
                self.shared.counters.add(Counter::RefusedRefreshes, 1);
                Ok(reply)
            }
            (answer, _) => answer,
        }
    }

    /// Runs a script on this connection. Sends the text of the script only if the node does not have the script.
    pub(crate) fn ask(
        &self,
        connection: &mut Connection,
        deadline: Deadline,
        call: &ScriptCall<'_>,
    ) -> Result<Reply, Failure> {
        let nonce = self.call.nonce;
        let reply = match connection.request(&call.evalsha(nonce), deadline) {
            Err(Failure::NoScript) => connection.request(&call.eval(nonce), deadline)?,
            reply => reply?,
        };
        Reply::new(reply, nonce)
    }

    /// Sends several calls at once on this connection, and gives the reply to each. The node must have their scripts.
    pub(crate) fn ask_all(
        &self,
        connection: &mut Connection,
        deadline: Deadline,
        calls: &[ScriptCall<'_>],
    ) -> Result<Vec<Result<Reply, Failure>>, Failure> {
        let commands: Vec<Cmd> = calls.iter().map(|call| call.evalsha(self.call.nonce)).collect();
        let commands = commands.iter().collect();
        let replies = connection.request_all(&commands, deadline)?;
        Ok(replies.into_iter().map(|reply| Reply::new(reply?, self.call.nonce)).collect())
    }

    /// Adds an `ECHO` of the nonce to plain commands. It comes last: if a reply is missing or comes twice, another one
    /// stands in its place.
    pub(crate) fn marked(&self, mut commands: Commands) -> Commands {
        commands.add(&["ECHO", &String::from_utf8_lossy(&self.call.nonce)]);
        commands
    }

    /// Sends commands that are [`marked`](Operation::marked), and gives the replies to all but the mark. If a reply is
    /// an error, gives that error.
    pub(crate) fn ask_plainly(
        &self,
        connection: &mut Connection,
        deadline: Deadline,
        marked: &Commands,
    ) -> Result<Vec<Value>, Failure> {
        self.ask_each(connection, deadline, marked)?.into_iter().collect()
    }

    /// Like `ask_plainly`, and gives each reply that is an error in its place.
    pub(crate) fn ask_each(
        &self,
        connection: &mut Connection,
        deadline: Deadline,
        marked: &Commands,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let mut replies = connection.request_all(marked, deadline)?;
        match replies.pop() {
            Some(Ok(Value::BulkString(echo))) if echo == self.call.nonce => Ok(replies),
            Some(Err(failure)) => Err(failure),
            _ => Err(Failure::not_ours("the replies belong to another call")),
        }
    }

    /// If the store URL asks for it, waits until all writes of this connection are on replicas or on disk.
    pub(crate) fn wait(&self, connection: &mut Connection, deadline: Deadline) -> Result<(), Failure> {
        self.shared.wait.map_or(Ok(()), |wait| wait.on(connection, deadline))
    }

    /// Runs a script on a session, and follows forwards to the id that the session has now. `call` makes the call of
    /// the script for each id. The reply is `None` if there are too many forwards, which happens only if one is
    /// damaged.
    pub(crate) fn run_following<'k, 's>(
        &self,
        mut at: Followed<'k>,
        call: impl Fn(&Followed<'k>) -> ScriptCall<'s>,
    ) -> Result<(Option<Reply>, Followed<'k>), StoreError> {
        for _ in 0..=MOST_FORWARDS {
            let mut reply = self.run(&call(&at))?;
            if reply.status() != "forward" {
                return Ok((Some(reply), at));
            }
            at.follow(reply.id()?, reply.number()?);
            at.was_alive |= reply.flag();
            at.is_repeated |= reply.flag();
        }
        Ok((None, at))
    }
}

impl<'a> Followed<'a> {
    /// Begins at this key.
    pub(crate) fn from(key: &RecordKey<'a>) -> Followed<'a> {
        Followed { key: *key, forwarded_to: None, replaced_in: None, is_repeated: false, was_alive: false }
    }

    /// Goes on to `id`, which replaced the present id in the version `replaced_in`.
    pub(crate) fn follow(&mut self, id: PublicId, replaced_in: u64) {
        self.key.id = id;
        self.forwarded_to = Some(id);
        self.replaced_in = Some(self.replaced_in.map_or(replaced_in, |earlier| earlier.min(replaced_in)));
    }
}
