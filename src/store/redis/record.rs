//! Creates, loads, updates and deletes records. Each change is one script. A load runs a script only if plain commands
//! are not enough.

use crate::error::{StoreError, StoreErrorKind};
use crate::lifetime::{Lifetime, Refresh};
use crate::store::forward::TRAIL;
use crate::store::key::RecordKey;
use crate::store::record::{NewRecord, Record, RecordInfo, Size};
use crate::store::redis::arguments::milliseconds;
use crate::store::redis::fields::Fields;
use crate::store::redis::keys::{field, own_key, record_keys};
use crate::store::redis::operation::{Followed, Operation};
use crate::store::redis::plain_load::Found;
use crate::store::redis::quick_update::QuickUpdate;
use crate::store::redis::reply::Reply;
use crate::store::redis::script::ScriptCall;
use crate::store::redis::state;
use crate::store::refusal::Refusal;
use crate::store::update::{Update, Updated};

impl<'a> Operation<'a> {
    /// Creates a record; `size` is the size of its values.
    pub(crate) fn create(
        &self,
        key: &RecordKey<'_>,
        record: &NewRecord<'_>,
        size: Size,
    ) -> Result<RecordInfo, Refusal> {
        let mut keys = self.record_keys(key);
        keys.extend(self.ended_key(key));
        let max_sessions = record.join.and_then(|join| join.max_sessions);
        let call = self
            .scripts()
            .record_create
            .on(keys)
            .arg(&record.lifetime)
            .arg(record.idle_timeout)
            .arg(record.unconfirmed_timeout)
            .arg(size)
            .arg(record.join.map(|join| join.name))
            .arg(max_sessions)
            .arg(self.trace_lifetime())
            .list(record.values.iter().map(|(key, json)| (field(key), json.as_str())));
        let mut reply = self.run(&call.and_wait())?;
        match reply.status() {
            "ok" => {}
            "gone" => return Err(Refusal::Gone),
            "exists" => return Err(Refusal::IdTaken),
            _ => return Err(reply.unexpected().into()),
        }
        let info = reply.info()?;
        self.finish_join(key, max_sessions, reply.over_limit()?);
        Ok(info)
    }

    /// Loads a record, and refreshes it if that is due.
    pub(crate) fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime) -> Result<Option<Record>, StoreError> {
        match self.load_plainly(key, lifetime)? {
            Found::Session(record) => return Ok(Some(record)),
            Found::Nothing => return Ok(None),
            Found::Unclear => {}
        }
        let (reply, at) = self.run_following(Followed::from(key), |at| {
            self.scripts().record_load.on(self.record_keys(&at.key)).arg(lifetime).arg(at.replaced_in)
        })?;
        let Some(mut reply) = reply else { return Ok(None) };
        let refreshed = match reply.status() {
            "ok" | "not refreshed" => false,
            "refreshed" => true,
            "gone" => return Ok(None),
            _ => return Err(reply.unexpected()),
        };
        let info = reply.info()?;
        let Fields { values, group_name, .. } = reply.fields()?;
        Ok(Some(Record { info, values, group_name, refreshed, forwarded_to: at.forwarded_to }))
    }

    /// Updates a record. If the update has a new key, both keys are in one slot. `Handover` is for keys in two slots.
    pub(crate) fn update(&self, key: &RecordKey<'_>, update: &Update<'_>) -> Result<Updated, Refusal> {
        let quick = if update.new_key.is_none() { QuickUpdate::of(update) } else { None };
        let (reply, at) = self.run_following(Followed::from(key), |at| match &update.new_key {
            None => self.update_call(at, update, quick.as_ref()),
            Some(new_key) => self.move_call(at, update, new_key),
        })?;
        let Some(mut reply) = reply else { return Err(Refusal::Gone) };
        match (reply.status(), quick) {
            ("quick", Some(quick)) => {
                let info = RecordInfo { version: quick.info.version + 1, ..quick.info.clone() };
                return Ok(Updated { info, totals: quick.totals, forwarded_to: at.forwarded_to });
            }
            ("ok", _) => {}
            _ => return Err(refusal(reply, update)?),
        }
        let info = reply.info()?;
        let totals = reply.totals(update.changes)?;
        if let Some(new_key) = &update.new_key {
            self.finish_join(new_key, update.join.and_then(|join| join.max_sessions), reply.over_limit()?);
        }
        Ok(Updated { info, totals, forwarded_to: at.forwarded_to })
    }

    /// Makes the call of the script for the record that was found by following forwards (`at`).
    fn update_call(&self, at: &Followed<'_>, update: &Update<'_>, quick: Option<&QuickUpdate<'_>>) -> ScriptCall<'a> {
        let call = self.scripts().record_update.on(self.record_keys(&at.key));
        let call = match quick {
            Some(QuickUpdate { info, added_keys, added_bytes, .. }) => call
                .arg(state::pack(&[(5, info.version)]))
                .arg(state::pack(&[(5, info.version + 1)]))
                .arg(nonce_field(info.version))
                .arg((*added_keys, *added_bytes)),
            None => call.arg("").arg("").arg("n0").arg((0_i64, 0_i64)),
        };
        call.arg(slow_arguments(at, update))
            .arg(update.holds.map(|(key, _)| field(key)))
            .arg(update.holds.map(|(_, json)| json))
            .changes(update.changes, quick.map(|quick| &*quick.totals))
            .and_wait()
    }

    /// Makes the call of the script that also moves the record to `new_key`.
    fn move_call(&self, at: &Followed<'_>, update: &Update<'_>, new_key: &RecordKey<'_>) -> ScriptCall<'a> {
        let mut keys = self.record_keys(&at.key);
        // record_move.lua reads three keys for each record. Without a group, the record's own key stands three times.
        keys.resize(1 + 3, own_key(&at.key));
        keys.extend(record_keys(new_key));
        keys.resize(1 + 3 + 3, own_key(new_key));
        keys.extend(self.ended_key(new_key));
        self.scripts()
            .record_move
            .on(keys)
            .arg(&update.lifetime)
            .arg(at.replaced_in)
            .arg(update.expected)
            .arg(update.holds.map(|(key, _)| field(key)))
            .arg(update.holds.map(|(_, json)| json))
            .arg(update.size_limit)
            .arg(update.changes.idle_timeout)
            .arg(update.grace)
            .arg(TRAIL)
            .arg(update.join.is_some())
            .arg(update.join.map(|join| join.name))
            .arg(update.join.and_then(|join| join.max_sessions))
            .arg(self.trace_lifetime())
            .changes(update.changes, None)
            .and_wait()
    }

    pub(crate) fn delete(&self, key: &RecordKey<'_>) -> Result<bool, StoreError> {
        let (reply, at) = self.run_following(Followed::from(key), |at| {
            self.scripts().record_delete.on(self.record_keys(&at.key)).arg(self.trace_lifetime()).and_wait()
        })?;
        Ok(at.was_alive || reply.is_some_and(|mut reply| reply.flag()))
    }
}

/// Packs what a quick update does not need: see SETTINGS in record_update.lua.
fn slow_arguments(at: &Followed<'_>, update: &Update<'_>) -> Vec<u8> {
    let Lifetime { refresh, idle_timeout, absolute_timeout } = update.lifetime;
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
        (6, update.changes.idle_timeout.map_or(0, milliseconds)),
    ])
}

/// Gives the field for the nonce of the change that made this version, with a `+` if the field begins anew: see
/// `nonce_field` in change.lua.
fn nonce_field(version: u64) -> String {
    format!("n{}{}", version / 8 % 4, if version.is_multiple_of(8) { "+" } else { "" })
}

/// Gives the reason for which the script did not make the update.
fn refusal(mut reply: Reply, update: &Update<'_>) -> Result<Refusal, StoreError> {
    let (largest_key, limit) = (|| update.changes.largest_key().to_owned(), update.size_limit);
    Ok(match reply.status() {
        "gone" => Refusal::Gone,
        "conflict" => Refusal::Conflict,
        "exists" => Refusal::IdTaken,
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
