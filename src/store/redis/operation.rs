//! A call under way, from its first script to its last.

use crate::deadline::Deadline;
use crate::error::StoreError;
use crate::lifetime::Lifetime;
use crate::store::call::Call;
use crate::store::forward::MOST_FORWARDS;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::process::per_process::Entered;
use crate::store::record::Record;
use crate::store::redis::keys::{ended_key, group_keys, own_key, record_keys};
use crate::store::redis::reply::Reply;
use crate::store::redis::scripts::{Script, Scripts};
use crate::store::redis::servers::Servers;
use crate::store::redis::servers::health::Shows;
use crate::store::redis::wire::connection::Connection;
use crate::store::redis::wire::failure::Failure;
use crate::store::redis::{RedisStore, lifetime, milliseconds, optional};
use crate::store::stats::Counted;
use crate::token::PublicId;
use redis::Cmd;
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// A call under way. A fork waits for all of it: between two of its scripts, a session may be neither here nor there.
pub(crate) struct Operation<'a> {
    pub(crate) store: &'a RedisStore,
    pub(crate) call: &'a Call,
    process: Entered<Servers>,
}

/// Where a session is that was reached by an id, and what is known of it.
pub(crate) struct Reached<'a> {
    pub(crate) key: RecordKey<'a>,
    /// The id that it has now, if it is another one.
    pub(crate) forwarded_to: Option<PublicId>,
    /// The version that it has had at least since the earliest of the ids by which it was reached, if it is another
    /// one.
    pub(crate) since: Option<u64>,
    /// Whether the call was made before, under an id that it had then.
    pub(crate) made_before: bool,
    /// Whether something was ended on the way there.
    pub(crate) was_alive: bool,
}

impl<'a> Operation<'a> {
    pub(crate) fn begin(store: &'a RedisStore, call: &'a Call) -> Result<Operation<'a>, StoreError> {
        Ok(Operation { store, call, process: store.servers.enter(call.deadline)? })
    }

    pub(crate) fn servers(&self) -> Result<&Servers, StoreError> {
        let store = self.store;
        self.process.get_or_open(|| store.source.open(store.pool_size, &store.counters))
    }

    pub(crate) fn scripts(&self) -> &'a Scripts {
        &self.store.scripts
    }

    /// The keys of a record as scripts take them: that of its generation comes first.
    pub(crate) fn keys(&self, key: &RecordKey<'_>) -> Vec<String> {
        let mut keys = vec![self.store.generations.key(key.namespace, &own_key(key))];
        keys.extend(record_keys(key));
        keys
    }

    /// Those of a group, in the same way.
    pub(crate) fn group_keys(&self, group: &GroupKey<'_>) -> Vec<String> {
        let [members, joined] = group_keys(group);
        vec![self.store.generations.key(group.namespace, &members), members, joined]
    }

    /// Where the sessions of the group of this key that this call ends are remembered until their records are removed.
    pub(crate) fn ended_key(&self, key: &RecordKey<'_>) -> Option<String> {
        key.tag.map(|tag| ended_key(&key.group(tag), self.call.nonce))
    }

    /// A call of this script on these keys.
    pub(crate) fn command(&self, script: &Script, keys: &[String]) -> Cmd {
        script.call(keys, self.call)
    }

    /// How long what tells that this call was made before is kept (ms).
    pub(crate) fn memory(&self) -> u64 {
        let left = self.call.deadline.left();
        milliseconds(left.max(Duration::from_secs(60)))
    }

    /// Runs a script; sends its text only where the server does not have it.
    pub(crate) fn run(&self, script: &Script, command: &Cmd) -> Result<Reply, StoreError> {
        self.run_until(self.call.deadline, script, command)
    }

    pub(crate) fn run_until(&self, deadline: Deadline, script: &Script, command: &Cmd) -> Result<Reply, StoreError> {
        let shows = Cell::new(if script.adds { Shows::Writes } else { Shows::Reads });
        // A load is answered also if the refresh that came with it was refused.
        let unrefreshed = RefCell::new(None);
        let answer = self.servers()?.request(Script::key(command), &shows, deadline, |connection, until| {
            let reply = self.reply(connection, until, script, command)?;
            if let Some(refused) = script.refreshes.then(|| reply.refused_refresh()).flatten() {
                unrefreshed.replace(Some(reply));
                return Err(refused);
            }
            let has_written = script.adds && reply.status() == "ok" || script.refreshes && reply.has_refreshed();
            shows.set(if has_written { Shows::Writes } else { Shows::Reads });
            if let Some(wait) = self.store.wait.filter(|_| script.writes && reply.status() == "ok") {
                // The connection is alive, so all of the time may be used.
                wait.on(connection, deadline)?;
            }
            Ok(reply)
        });
        match (answer, unrefreshed.into_inner()) {
            (Err(_), Some(reply)) => {
                self.store.counters.add(Counted::RefusedRefreshes, 1);
                Ok(reply)
            }
            (answer, _) => answer,
        }
    }

    pub(crate) fn reply(
        &self,
        connection: &mut Connection,
        deadline: Deadline,
        script: &Script,
        command: &Cmd,
    ) -> Result<Reply, Failure> {
        let reply = match connection.request(command, deadline) {
            Err(Failure::NoScript) => connection.request(&script.in_full(command), deadline)?,
            reply => reply?,
        };
        Reply::new(reply, self.call.nonce)
    }

    /// The replies to many scripts that are sent at once.
    pub(crate) fn replies(
        &self,
        connection: &mut Connection,
        deadline: Deadline,
        commands: &[Cmd],
    ) -> Result<Vec<Result<Reply, Failure>>, Failure> {
        let replies = connection.request_all(commands, deadline)?;
        Ok(replies.into_iter().map(|reply| Reply::new(reply?, self.call.nonce)).collect())
    }

    /// Runs a script on a session, wherever that has gone: `command` makes the command for where it is. `None` if it
    /// leads on and on, as only a damaged one does.
    pub(crate) fn run_on<'k>(
        &self,
        script: &Script,
        key: &RecordKey<'k>,
        command: impl Fn(&Reached<'k>) -> Cmd,
    ) -> Result<(Option<Reply>, Reached<'k>), StoreError> {
        let mut at = Reached { key: *key, forwarded_to: None, since: None, made_before: false, was_alive: false };
        for _ in 0..=MOST_FORWARDS {
            let mut reply = self.run(script, &command(&at))?;
            match reply.status() {
                "forward" => {}
                "made before" => at.made_before = true,
                _ => return Ok((Some(reply), at)),
            }
            at.key.id = reply.id()?;
            at.forwarded_to = Some(at.key.id);
            let since = reply.number()?;
            at.since = Some(at.since.map_or(since, |before| before.min(since)));
            at.was_alive |= reply.is_true();
        }
        Ok((None, at))
    }

    pub(crate) fn load(&self, key: &RecordKey<'_>, settings: &Lifetime) -> Result<Option<Record>, StoreError> {
        let script = &self.scripts().load;
        let (reply, at) = self.run_on(script, key, |at| {
            let mut command = self.command(script, &self.keys(&at.key));
            command.arg(&lifetime(settings)).arg(optional(at.since));
            command
        })?;
        let Some(mut reply) = reply else { return Ok(None) };
        match reply.status() {
            "ok" => {}
            "gone" => return Ok(None),
            _ => return Err(reply.unexpected()),
        }
        let (info, refreshed) = (reply.info()?, reply.is_true());
        let (values, group_name) = reply.fields()?;
        Ok(Some(Record { info, values, group_name, refreshed, forwarded_to: at.forwarded_to }))
    }
}
