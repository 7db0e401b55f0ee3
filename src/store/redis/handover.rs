//! A new id whose key is in another slot of a cluster, where no script can move the record in one step.
//!
//! 1. The new record is prepared: complete, but not alive, and gone soon.
//! 2. The old one is ended, if it has not been changed since it was read; else all begins again.
//! 3. The new one is brought to life, and only then is its id handed out.
//!
//! So there is one winner, no write of another process is lost, and never are two ids good. A worker that dies between
//! 2 and 3 has logged the session out.

use super::keys::{field, record_keys};
use super::operation::Operation;
use super::{interval, milliseconds, optional};
use crate::Error;
use crate::lifetime::Refresh;
use crate::store::{RecordInfo, RecordKey, Update, Updated, Values, total_size};
use redis::Value;
use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

impl Operation<'_> {
    pub(super) fn hand_over(
        &self,
        key: &RecordKey<'_>,
        new_key: &RecordKey<'_>,
        update: &Update<'_>,
    ) -> Result<Updated, Error> {
        let mut known = update.known.map(|(info, values)| (info.clone(), Cow::Borrowed(values)));
        // By this call, or by an earlier try of it that nobody has an answer to.
        let mut prepared = known.is_none();
        loop {
            let (info, values) = match known.take() {
                Some(known) => known,
                None => match self.load(key, Refresh::Never)? {
                    Some(record) if record.forwarded_to.is_none() => (record.info, Cow::Owned(record.values)),
                    // It has ended or got another id: by this very call, if that was made before.
                    _ => return self.bring(key, new_key, update, None)?.ok_or(Error::Gone),
                },
            };
            match self.prepare(new_key, &info, &values, update) {
                Ok(()) => prepared = true,
                Err(fault @ Error::Store(_)) => return Err(fault),
                // Another request may have changed what stood in the way.
                Err(_) if matches!(values, Cow::Borrowed(_)) => continue,
                Err(refusal) => {
                    if prepared {
                        self.discard(new_key);
                    }
                    return Err(refusal);
                }
            }
            if let Some(updated) = self.bring(key, new_key, update, Some(info.version))? {
                return Ok(updated);
            }
        }
    }

    /// Ends the old record, if it still has this version, and brings the new one to life. `None` if it has another version.
    fn bring(
        &self,
        key: &RecordKey<'_>,
        new_key: &RecordKey<'_>,
        update: &Update<'_>,
        version: Option<u64>,
    ) -> Result<Option<Updated>, Error> {
        let mut command = self.command(&self.scripts().take, &record_keys(key));
        command
            .arg(optional(version))
            .arg(optional(update.grace.map(milliseconds)))
            .arg(new_key.id.to_string())
            .arg(self.memory());
        let mut reply = self.run(&self.scripts().take, &command)?;
        match reply.status() {
            "ok" => {
                // What cannot be waited for must not keep the new one from coming to life.
                let updated = self.activate(new_key, update, &reply.list()?);
                if self.store.wait.is_some() {
                    self.run(&self.scripts().take_again, &command)?;
                }
                updated.map(Some)
            }
            "moved" => Ok(None),
            "gone" => {
                self.discard(new_key);
                Err(Error::Gone)
            }
            _ => Err(reply.unexpected().into()),
        }
    }

    /// Removes a prepared record that nobody knows of.
    fn discard(&self, new_key: &RecordKey<'_>) {
        let script = &self.scripts().discard;
        if let Err(error) = self.run(script, &self.command(script, &record_keys(new_key))) {
            log::debug!("a record that nobody knows of is left to expire: {error}");
        }
    }

    /// Prepares the new record, unless this call was made before, and it is alive already.
    fn prepare(
        &self,
        new_key: &RecordKey<'_>,
        info: &RecordInfo,
        values: &Values,
        update: &Update<'_>,
    ) -> Result<(), Error> {
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
        let script = &self.scripts().pending;
        let mut command = self.command(script, &record_keys(new_key));
        command
            .arg(info.version + 1)
            .arg(since_1970(info.created_at))
            .arg(info.ends_at.map_or(0, since_1970))
            .arg(milliseconds(update.changes.idle_timeout.unwrap_or(info.idle_timeout)))
            .arg(bytes)
            .arg(self.memory())
            .arg(u8::from(update.join.is_some()))
            .arg(update.join.map_or("", |join| join.name));
        for (key, json) in &values {
            command.arg(field(key)).arg(json);
        }
        let reply = self.run(script, &command)?;
        match reply.status() {
            "ok" | "done" => Ok(()),
            "exists" => Err(Error::id_taken()),
            "gone" => Err(Error::Gone),
            _ => Err(reply.unexpected().into()),
        }
    }

    fn activate(&self, new_key: &RecordKey<'_>, update: &Update<'_>, nonces: &[Value]) -> Result<Updated, Error> {
        let script = &self.scripts().activate;
        let mut command = self.command(script, &record_keys(new_key));
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
        let mut reply = self.run(script, &command)?;
        match reply.status() {
            "ok" => {}
            "gone" => return Err(Error::Gone),
            _ => return Err(reply.unexpected().into()),
        }
        let (info, ended) = (reply.info()?, reply.ids()?);
        let totals = reply.totals(update.changes.increments().map(|(key, _)| key.to_owned()))?;
        self.sweep_ended(new_key, &ended);
        Ok(Updated { info, totals, forwarded_to: None })
    }
}
