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
use crate::lifetime::Lifetime;
use crate::store::key::RecordKey;
use crate::store::record::{Record, Values};
use crate::store::redis::deployment::proof::Proof;
use crate::store::redis::fields::Fields;
use crate::store::redis::group_values::FoundValues;
use crate::store::redis::keys::values_key;
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
    /// A live session, which needs no refresh, without the values of its group. And the generation of its namespace.
    Session(Record, u64),
    /// No session.
    Ended(EndReason),
    /// Something that the script has to look at.
    Unclear,
}

/// What plain commands found out in one round trip.
pub(crate) struct PlainLoad {
    pub(crate) found: Found,
    pub(crate) group_values: FoundValues,
}

impl Operation<'_> {
    /// Loads a record if plain commands can do it.
    pub(crate) fn load_plainly(
        &self,
        key: &RecordKey<'_>,
        lifetime: &Lifetime,
        purpose: Purpose,
    ) -> Result<PlainLoad, StoreError> {
        let keys = self.record_keys(key);
        let (generation_key, own_key) = (&keys[0], &keys[1]);
        let mut commands = Commands::default();
        commands.add(&["HGETALL", own_key]);
        commands.add(&["TIME"]);
        commands.add(&["HGET", generation_key, "began"]);
        if let (Some(tag), Some(members)) = (key.tag, keys.get(2)) {
            commands.add(&["ZSCORE", members, &key.id.to_string()]);
            commands.add(&["HGETALL", &values_key(&key.group(tag))]);
        }
        let commands = self.marked(commands);
        let proof = Cell::new(Proof::Reads);
        self.client()?.request(own_key.as_bytes(), &proof, self.call.deadline, |connection, until| {
            if connection.asking {
                return Ok(PlainLoad { found: Found::Unclear, group_values: FoundValues::Elsewhere });
            }
            // A key holds a value of another type, or the Redis user may not run one of these commands.
            let is_refused = |failure: &Failure| {
                matches!(failure, Failure::Refused { affects: Affects::ThisRequest | Affects::SimilarRequests, .. })
            };
            let mut replies = match self.ask_each(connection, until, &commands) {
                Err(failure) if is_refused(&failure) => {
                    return Ok(PlainLoad { found: Found::Unclear, group_values: FoundValues::Unknown });
                }
                replies => replies?,
            };
            let group_values = match key.tag.and_then(|_| replies.pop()) {
                None => FoundValues::Known(Value::Nil),
                Some(Ok(values)) => FoundValues::Known(values),
                // The slot is moving, and the key is at the other node, or nowhere.
                Some(Err(Failure::Redirected(_))) => FoundValues::Elsewhere,
                // Damaged values do not hinder the session.
                Some(Err(failure)) if is_refused(&failure) => FoundValues::Known(Value::Nil),
                Some(Err(failure)) => return Err(failure),
            };
            let found = match replies.into_iter().collect() {
                Ok(replies) => found(replies, lifetime, purpose).unwrap_or(Found::Unclear),
                Err(failure) if is_refused(&failure) => Found::Unclear,
                Err(failure) => return Err(failure),
            };
            Ok(PlainLoad { found, group_values })
        })
    }
}

/// Looks at the replies: the fields, the time, the generation, and in a group the membership. Returns `None` if only
/// the script can answer.
fn found(replies: Vec<Value>, lifetime: &Lifetime, purpose: Purpose) -> Option<Found> {
    let mut replies = replies.into_iter();
    let mut next = || replies.next();
    let fields = Fields::read(next()?)?;
    if fields.is_empty || fields.state.is_none() && fields.has_trace && !fields.has_forward {
        return Some(Found::Ended(fields.reason.unwrap_or(EndReason::Expired)));
    }
    let now = UNIX_EPOCH + Duration::from_millis(state::clock(next()).ok()?);
    let Value::BulkString(generation) = next()? else { return None };
    let is_member = next() != Some(Value::Nil);
    let StoredState { state, generation: of_record } =
        StoredState::read(&fields.state?, fields.joined_at, fields.began_at)?;
    let is_current = state::generation(&generation) == Some(of_record) && is_member && !fields.is_prepared;
    let clock_was_put_back = state.began_at > now;
    let state = state.alive(lifetime, now).filter(|_| is_current && !clock_was_put_back)?;
    if purpose == Purpose::Use && state.is_refresh_due(lifetime.refresh, now) {
        return None;
    }
    let (info, values, group_name) = (state.info(now), fields.values, fields.group_name);
    let record = Record { info, values, group_name, group_values: Values::new(), refreshed: false, forwarded_to: None };
    Some(Found::Session(record, of_record))
}
