//! Creates, loads, updates and deletes records. Each change is one script. A load runs a script only if plain commands
//! are not enough.

use crate::end_reason::EndReason;
use crate::error::{StoreError, StoreErrorKind};
use crate::group_limit::GroupLimit;
use crate::id::PublicId;
use crate::lifetime::{Lifetime, Refresh};
use crate::store::forward::TRAIL;
use crate::store::key::RecordKey;
use crate::store::record::{Created, Loaded, NewRecord, Record, RecordInfo, Size};
use crate::store::redis::arguments::milliseconds;
use crate::store::redis::fields::Fields;
use crate::store::redis::group_values::{self, FoundValues};
use crate::store::redis::keys::{field, own_key};
use crate::store::redis::operation::{Followed, Operation};
use crate::store::redis::plain_load::{Found, PlainLoad, Purpose};
use crate::store::redis::quick_update::QuickUpdate;
use crate::store::redis::reply::Reply;
use crate::store::redis::script::ScriptCall;
use crate::store::redis::state;
use crate::store::refusal::Refusal;
use crate::store::update::{Update, Updated};

impl<'a> Operation<'a> {
    /// Creates a record; `size` is the size of its values.
    pub(crate) fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, size: Size) -> Result<Created, Refusal> {
        let mut keys = self.all_record_keys(key);
        keys.extend(self.ended_key(key));
        let limit = record.join.and_then(|join| join.limit);
        let call = self
            .scripts()
            .record_create
            .on(keys)
            .arg(&record.lifetime)
            .arg(record.idle_timeout)
            .arg(state::flags(record.idle_timeout.is_some(), record.persistent))
            .arg(record.unconfirmed_timeout)
            .arg(size)
            .arg(record.join.map(|join| join.name))
            .arg(limit)
            .arg(self.step_lifetime())
            .list(record.values.iter().map(|(key, value)| (field(key), value)));
        let mut reply = self.run(&call.and_wait())?;
        match reply.status() {
            "ok" => {}
            "gone" => return Err(Refusal::Gone),
            "exists" => return Err(Refusal::IdTaken),
            "too many sessions" => return Err(too_many_sessions(limit)),
            _ => return Err(reply.unexpected().into()),
        }
        let info = reply.info()?;
        let ended = self.finish_join(key, limit, &info, reply.over_limit()?);
        Ok(Created { info, ended })
    }

    /// Loads a record. For a use, refreshes it if that is due.
    pub(crate) fn load(
        &self,
        key: &RecordKey<'_>,
        lifetime: &Lifetime,
        purpose: Purpose,
    ) -> Result<Loaded, StoreError> {
        if purpose == Purpose::Use && lifetime.refresh == Refresh::EveryLoad {
            return self.load_by_script(key, lifetime, purpose, FoundValues::Unknown); // The script has to run anyway.
        }
        let PlainLoad { found, group_values } = self.load_plainly(key, lifetime, purpose)?;
        match found {
            Found::Ended(reason) => Ok(Loaded::Ended(reason)),
            Found::Session(record, generation) => {
                let group_values = match group_values {
                    FoundValues::Known(values) => group_values::read(values, generation),
                    _ => self.values_of_record(key, generation)?,
                };
                Ok(Loaded::Record(Record { group_values, ..record }))
            }
            Found::Unclear => self.load_by_script(key, lifetime, purpose, group_values),
        }
    }

    /// Loads a record by the script, which follows forwards and refreshes.
    pub(crate) fn load_by_script(
        &self,
        key: &RecordKey<'_>,
        lifetime: &Lifetime,
        purpose: Purpose,
        group_values: FoundValues,
    ) -> Result<Loaded, StoreError> {
        let names_values = match &group_values {
            FoundValues::Unknown => true,
            FoundValues::Known(values) => !group_values::is_empty(values),
            FoundValues::Elsewhere => false,
        };
        let (reply, at) = self.run_following(Followed::from(key), |at| {
            let keys = if names_values { self.keys_with_values(&at.key) } else { self.record_keys(&at.key) };
            let call = self.scripts().record_load.on(keys).arg(lifetime).arg(at.replaced_in);
            call.arg(purpose == Purpose::Peek)
        })?;
        let Some(mut reply) = reply else { return Ok(Loaded::Ended(EndReason::Expired)) };
        let refreshed = match reply.status() {
            "ok" | "not refreshed" => false,
            "refreshed" => true,
            "gone" => return Ok(Loaded::Ended(reply.end_reason())),
            _ => return Err(reply.unexpected()),
        };
        let info = reply.info()?;
        let (Fields { values, group_name, .. }, generation) = reply.fields()?;
        let group_values = match group_values {
            FoundValues::Elsewhere => self.values_of_record(key, generation)?,
            _ => group_values::read(reply.value(), generation),
        };
        Ok(Loaded::Record(Record { info, values, group_name, group_values, refreshed, forwarded_to: at.forwarded_to }))
    }

    /// Updates a record. If the update has a new key, both keys are in one slot. `Handover` is for keys in two slots.
    pub(crate) fn update(&self, key: &RecordKey<'_>, update: &Update<'_>) -> Result<Updated, Refusal> {
        let quick = if update.new_key.is_none() { QuickUpdate::of(update) } else { None };
        let (reply, at) = self.run_following(Followed::from(key), |at| match &update.new_key {
            // A grace may have ended, which quick_update.lua does not look at.
            None => self.update_call(at, update, quick.as_ref().filter(|_| at.forwarded_to.is_none())),
            Some(new_key) => self.move_call(at, update, new_key),
        })?;
        let Some(mut reply) = reply else { return Err(Refusal::Gone) };
        match (reply.status(), quick) {
            ("quick", Some(quick)) => {
                let (version, last_nonce) = (quick.info.version + 1, self.call.nonce);
                let info = RecordInfo { version, last_nonce, ..quick.info.clone() };
                let (totals, forwarded_to) = (quick.totals, at.forwarded_to);
                return Ok(Updated { info, totals, forwarded_to, ended: Vec::new() });
            }
            ("ok", _) => {}
            _ => return Err(refusal(reply, update)?),
        }
        let info = reply.info()?;
        let totals = reply.totals(update.changes)?;
        let ended = match &update.new_key {
            Some(new_key) => {
                self.finish_join(new_key, update.join.and_then(|join| join.limit), &info, reply.over_limit()?)
            }
            None => Vec::new(),
        };
        Ok(Updated { info, totals, forwarded_to: at.forwarded_to, ended })
    }

    /// Makes the call of the script for the record that was found by following forwards (`at`).
    fn update_call(&self, at: &Followed<'_>, update: &Update<'_>, quick: Option<&QuickUpdate<'_>>) -> ScriptCall<'a> {
        let changes_life = update.changes.idle_timeout.is_some();
        let keys = if changes_life { self.keys_with_values(&at.key) } else { self.record_keys(&at.key) };
        let call = self.scripts().record_update.on(keys).arg(last_change(update));
        let call = match quick {
            Some(QuickUpdate { info, added_keys, added_bytes, .. }) => call
                .arg(state::pack(&[(5, info.version + 1)]))
                .arg(nonce_field(info.version))
                .arg((*added_keys, *added_bytes)),
            None => call.arg("").arg("n0").arg((0_i64, 0_i64)),
        };
        call.arg(slow_arguments(at, update))
            .arg(update.holds.map(|(key, _)| field(key)))
            .arg(update.holds.map(|(_, value)| value))
            .changes(update.changes, quick.map(|quick| &*quick.totals))
            .and_wait()
    }

    /// Makes the call of the script that also moves the record to `new_key`.
    fn move_call(&self, at: &Followed<'_>, update: &Update<'_>, new_key: &RecordKey<'_>) -> ScriptCall<'a> {
        let mut keys = self.all_record_keys(&at.key);
        // record_move.lua reads five keys for each record. Without a group, the record's own key stands five times.
        keys.resize(1 + 5, own_key(&at.key));
        keys.extend(self.all_record_keys(new_key).drain(1..));
        keys.resize(1 + 5 + 5, own_key(new_key));
        keys.extend(self.ended_key(new_key));
        self.scripts()
            .record_move
            .on(keys)
            .arg(&update.lifetime)
            .arg(at.replaced_in)
            .arg(update.expected)
            .arg(last_change(update))
            .arg(update.holds.map(|(key, _)| field(key)))
            .arg(update.holds.map(|(_, value)| value))
            .arg(update.size_limit)
            .arg(update.new_idle_timeout(&at.key).map(|(timeout, _)| timeout))
            .arg(state::changed_flags(update, &at.key))
            .arg(update.grace)
            .arg(TRAIL)
            .arg(update.join.is_some())
            .arg(update.join.map(|join| join.name))
            .arg(update.join.and_then(|join| join.limit))
            .arg(self.step_lifetime())
            .arg(self.trace_lifetime())
            .changes(update.changes, None)
            .and_wait()
    }

    pub(crate) fn delete(&self, key: &RecordKey<'_>, reason: EndReason) -> Result<Option<PublicId>, StoreError> {
        let (reply, at) = self.run_following(Followed::from(key), |at| {
            let call = self.scripts().record_delete.on(self.record_keys(&at.key)).arg(self.trace_lifetime());
            call.arg(reason.letter()).and_wait()
        })?;
        let was_alive = at.was_alive || reply.is_some_and(|mut reply| reply.flag());
        Ok(was_alive.then_some(at.key.id))
    }
}

/// Packs the last change of the record that the caller has read. Empty if the caller has not read the record, or
/// expects another version.
fn last_change(update: &Update<'_>) -> Vec<u8> {
    let info = update.known.map(|(info, _)| info);
    let info = info.filter(|info| update.expected.is_none_or(|expected| expected == info.version));
    info.map_or(Vec::new(), state::last_change)
}

/// Packs what a quick update does not need: see SLOW_ARGUMENTS in record_update.lua.
fn slow_arguments(at: &Followed<'_>, update: &Update<'_>) -> Vec<u8> {
    let Lifetime { refresh, idle_timeout, absolute_timeout } = update.lifetime;
    let (kept_flags, new_flags) = state::changed_flags(update, &at.key);
    let interval = match refresh {
        Refresh::After(interval) => milliseconds(interval),
        Refresh::EveryLoad => 0,
        Refresh::Never => (1 << 48) - 1,
    };
    state::pack(&[
        (6, interval),
        (6, milliseconds(idle_timeout)),
        (6, absolute_timeout.map_or(0, milliseconds)),
        (5, at.replaced_in.unwrap_or(0)),
        (1, at.is_repeated.into()),
        (5, update.expected.unwrap_or(0)),
        (4, update.size_limit.keys as u64),
        (5, update.size_limit.bytes as u64),
        (6, update.new_idle_timeout(&at.key).map_or(0, |(timeout, _)| milliseconds(timeout))),
        (1, kept_flags),
        (1, new_flags),
    ])
}

/// Returns the field for the nonce of the change that made this version, with a `+` if the field begins anew: see
/// `nonce_field` in change.lua.
fn nonce_field(version: u64) -> String {
    format!("n{}{}", version / 8 % 4, if version.is_multiple_of(8) { "+" } else { "" })
}

/// The refusal of a login that finds as many sessions as the group may have.
pub(crate) fn too_many_sessions(limit: Option<GroupLimit>) -> Refusal {
    Refusal::TooManySessions { limit: limit.map_or(0, |limit| limit.sessions) }
}

/// Returns the reason for which the script did not make the update.
fn refusal(mut reply: Reply, update: &Update<'_>) -> Result<Refusal, StoreError> {
    let (largest_key, limit) = (|| update.changes.largest_key().to_owned(), update.size_limit);
    Ok(match reply.status() {
        "gone" => Refusal::Gone,
        "conflict" => Refusal::Conflict,
        "exists" => Refusal::IdTaken,
        "too many sessions" => too_many_sessions(update.join.and_then(|join| join.limit)),
        "not an integer" => Refusal::NotAnInteger { key: reply.key()? },
        "too large" => Refusal::TooLarge { key: largest_key(), bytes: reply.number()?, limit: limit.bytes },
        "too many keys" => Refusal::TooManyKeys { key: largest_key(), keys: reply.number()?, limit: limit.keys },
        "broken off" => {
            let message = "Redis stopped the script half way; check that the user has all rights that \
                           docs/redis.md names, and load the session again";
            Refusal::Fault(StoreError::new(StoreErrorKind::Backend, message))
        }
        _ => Refusal::Fault(reply.unexpected()),
    })
}
