//! A new id whose key is in another slot of a cluster, where no script can move the record in one step.
//!
//! 1. The new record is prepared: complete, but not alive, and gone within a minute.
//! 2. The old one is ended, if it has not been changed since it was read; else all begins again.
//! 3. The new one is brought to life, and only then is its id handed out.
//!
//! So there is one winner, no write of another process is lost, and never are two ids good. A worker that dies between
//! 2 and 3 has logged the session out.

use super::keys::{field, record_keys};
use super::{RedisStore, interval, milliseconds, optional};
use crate::Error;
use crate::lifetime::Refresh;
use crate::store::{Call, RecordInfo, RecordKey, Store, Update, Updated, Values, total_size};
use redis::Value;
use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

impl RedisStore {
    pub(super) fn hand_over(
        &self,
        key: &RecordKey<'_>,
        new_key: &RecordKey<'_>,
        update: &Update<'_>,
        call: &Call,
    ) -> Result<Updated, Error> {
        let mut known = update.known.map(|(info, values)| (info.clone(), Cow::Borrowed(values)));
        // If this call was made before, it may have come to the third step.
        let again = || self.activate(new_key, update, &[const { Value::Nil }; 4], call);
        loop {
            let (info, values) = match known.take() {
                Some(known) => known,
                None => match self.load(key, Refresh::Never, call)? {
                    None => return again(),
                    Some(record) if record.forwarded_to == Some(new_key.id) => return again(),
                    Some(record) if record.forwarded_to.is_some() => return Err(Error::Gone),
                    Some(record) => (record.info, Cow::Owned(record.values)),
                },
            };
            match self.prepare(new_key, &info, &values, update, call) {
                Ok(true) => {}
                Ok(false) => return again(),
                // Another request may have changed what stood in the way.
                Err(refusal) if matches!(values, Cow::Borrowed(_)) && !matches!(refusal, Error::Store(_)) => continue,
                Err(error) => return Err(error),
            }
            let script = &self.scripts.take;
            let mut command = script.call(&record_keys(key), call);
            command.arg(info.version).arg(optional(update.grace.map(milliseconds))).arg(new_key.id.to_string());
            let mut reply = self.run(script, &command, call)?;
            match reply.status() {
                "ok" => return self.activate(new_key, update, &reply.list()?, call),
                "moved" => {}
                _ => {
                    // Nobody knows of the new one.
                    if let Err(error) = self.delete(new_key, call) {
                        log::debug!("a record that nobody knows of is left to expire: {error}");
                    }
                    return Err(Error::Gone);
                }
            }
        }
    }

    /// Prepares the new record. Says `false` if it is alive already: this call was made before.
    fn prepare(
        &self,
        new_key: &RecordKey<'_>,
        info: &RecordInfo,
        values: &Values,
        update: &Update<'_>,
        call: &Call,
    ) -> Result<bool, Error> {
        let differs = update.expected.is_some_and(|expected| expected != info.version);
        let lacks = update.holds.is_some_and(|(key, json)| values.get(key).is_none_or(|held| held != json));
        if differs || lacks {
            return Err(Error::Conflict);
        }
        let before = total_size(values);
        let values = update.changes.apply(values)?;
        let bytes = total_size(&values);
        update.check_size(before, bytes)?;
        let since_1970 = |time: SystemTime| milliseconds(time.duration_since(UNIX_EPOCH).unwrap_or_default());
        let script = &self.scripts.pending;
        let mut command = script.call(&record_keys(new_key), call);
        command
            .arg(info.version + 1)
            .arg(since_1970(info.created_at))
            .arg(info.ends_at.map_or(0, since_1970))
            .arg(milliseconds(update.changes.idle_timeout.unwrap_or(info.idle_timeout)))
            .arg(bytes)
            .arg(u8::from(update.join.is_some()))
            .arg(update.join.map_or("", |join| join.name));
        for (key, json) in &values {
            command.arg(field(key)).arg(json);
        }
        match self.run(script, &command, call)?.status() {
            "exists" => Err(Error::id_taken()),
            status => Ok(status == "ok"),
        }
    }

    fn activate(
        &self,
        new_key: &RecordKey<'_>,
        update: &Update<'_>,
        nonces: &[Value],
        call: &Call,
    ) -> Result<Updated, Error> {
        let script = &self.scripts.activate;
        let mut command = script.call(&record_keys(new_key), call);
        command
            .arg(interval(update.refresh))
            .arg(u8::from(update.join.is_some()))
            .arg(optional(update.join.and_then(|join| join.max_sessions)))
            .arg(optional(update.absolute_timeout.map(milliseconds)));
        for nonces in nonces {
            match nonces {
                Value::BulkString(nonces) => command.arg(nonces),
                _ => command.arg(""),
            };
        }
        for (key, _) in update.changes.increments() {
            command.arg(field(key));
        }
        let mut reply = self.run(script, &command, call)?;
        if reply.status() != "ok" {
            return Err(Error::Gone);
        }
        let (info, ended) = (reply.info()?, reply.ids()?);
        let totals = reply.totals(update.changes.increments().map(|(key, _)| key.to_owned()))?;
        self.sweep_ended(new_key, &ended, call);
        Ok(Updated { info, totals, forwarded_to: None })
    }
}
