//! Loads a record by plain commands, in one round trip and without a script. This costs Redis less than half of what
//! the script costs.
//!
//! Other clients' commands may run between these commands. The answer is right all the same:
//!
//! - One command reads the record. So its values, its version and its life belong together.
//! - Whether the session is alive is looked at after that: its generation, and in a group its membership. Ending a
//!   session removes its record, its membership or the generation, and none of them comes back. So if all are there,
//!   the session was alive when the record was read, and the answer is that of a load at that moment.
//! - The time is that of Redis, and later than when the record was read. How long the key still lives does not matter:
//!   somebody else may have changed that.
//! - Everything else is left to the script: a record that is not alive or needs a refresh, one whose id was replaced,
//!   and one that is damaged.

use crate::end_reason::EndReason;
use crate::error::StoreError;
use crate::lifetime::{Lifetime, Refresh};
use crate::store::key::RecordKey;
use crate::store::record::{Record, Values};
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::fields::{Fields, group_values};
use crate::store::redis::operation::Operation;
use crate::store::redis::state::{self, StoredState};
use crate::store::redis::wire::commands::Commands;
use crate::store::redis::wire::failure::{Affects, Failure};
use redis::Value;
use std::cell::Cell;
use std::time::{Duration, UNIX_EPOCH};

/// Why a record is loaded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The load counts as a use of the session, and refreshes it if that is due.
    Use,
    /// The load leaves the life of the session as it is.
    Peek,
}

/// What plain commands found under a key.
#[expect(clippy::large_enum_variant, reason = "most values are records, and a box would cost each load an allocation")]
pub(crate) enum Found {
    /// A live session, which needs no refresh.
    Session(Record),
    /// No session.
    Ended(EndReason),
    /// Something that the script has to look at.
    Unclear,
}

impl Operation<'_> {
    /// Loads a record if plain commands can do it.
    pub(crate) fn load_plainly(
        &self,
        key: &RecordKey<'_>,
        lifetime: &Lifetime,
        purpose: Purpose,
    ) -> Result<Found, StoreError> {
        if purpose == Purpose::Use && lifetime.refresh == Refresh::EveryLoad {
            return Ok(Found::Unclear); // The script has to run anyway.
        }
        let keys = self.record_keys(key);
        let (generation_key, own_key) = (&keys[0], &keys[1]);
        let mut commands = Commands::default();
        commands.add(&["HGETALL", own_key]);
        commands.add(&["TIME"]);
        commands.add(&["HGET", generation_key, "began"]);
        if let [_, _, members, _, values] = &*keys {
            commands.add(&["ZSCORE", members, &key.id.to_string()]);
            commands.add(&["HGETALL", values]);
        }
        let commands = self.marked(commands);
        let proof = Cell::new(Proof::Reads);
        self.client()?.request(own_key.as_bytes(), &proof, self.call.deadline, |connection, until| {
            if connection.asking {
                return Ok(Found::Unclear);
            }
            match self.ask_plainly(connection, until, &commands) {
                Ok(replies) => Ok(found(replies, lifetime, purpose).unwrap_or(Found::Unclear)),
                // A key holds a value of another type, or the Redis user may not run one of these commands.
                Err(Failure::Refused { affects: Affects::ThisRequest | Affects::SimilarRequests, .. }) => {
                    Ok(Found::Unclear)
                }
                Err(failure) => Err(failure),
            }
        })
    }
}

/// Looks at the replies: the fields, the time, the generation, and in a group the membership and the values of the
/// group. Gives `None` if only the script can answer.
fn found(replies: Vec<Value>, lifetime: &Lifetime, purpose: Purpose) -> Option<Found> {
    let mut replies = replies.into_iter();
    let mut next = || replies.next();
    let fields = Fields::read(next()?)?;
    if fields.is_empty || fields.state.is_none() && fields.has_trace && !fields.has_forward {
        return Some(Found::Ended(fields.reason.unwrap_or(EndReason::Expired)));
    }
    let now = UNIX_EPOCH + Duration::from_millis(state::clock(next()?)?);
    let Value::BulkString(generation) = next()? else { return None };
    let is_member = next() != Some(Value::Nil);
    let StoredState { state, generation: of_record } =
        StoredState::read(&fields.state?, fields.joined_at, fields.began_at)?;
    let group_values = next().map_or_else(Values::new, |reply| group_values(reply, of_record));
    let is_current = state::generation(&generation) == Some(of_record) && is_member && !fields.is_prepared;
    let clock_was_put_back = state.began_at > now;
    let state = state.alive(lifetime, now).filter(|_| is_current && !clock_was_put_back)?;
    if purpose == Purpose::Use && state.is_refresh_due(lifetime.refresh, now) {
        return None;
    }
    let (info, values, group_name) = (state.info(now), fields.values, fields.group_name);
    Some(Found::Session(Record { info, values, group_name, group_values, refreshed: false, forwarded_to: None }))
}
