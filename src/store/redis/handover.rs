//! A new id whose key is in another slot of a cluster, where no script can move the record in one step.
//!
//! 1. The new record is prepared: complete, but not alive, and gone soon.
//! 2. The old one is ended, if it has not been changed since it was read; else all begins again.
//! 3. The new one is brought to life, and only then is its id handed out.
//!
//! So there is one winner, no write of another process is lost, and never are two ids good. A worker that dies between
//! 2 and 3 has logged the session out.

use crate::lifetime::{Lifetime, Refresh};
use crate::store::forward::TRAIL;
use crate::store::key::RecordKey;
use crate::store::record::{RecordInfo, Size, Values};
use crate::store::redis::keys::field;
use crate::store::redis::operation::Operation;
use crate::store::redis::reply::Reply;
use crate::store::redis::{lifetime, milliseconds, optional};
use crate::store::refusal::Refusal;
use crate::store::update::{Update, Updated};
use redis::Value;
use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

impl Operation<'_> {
    pub(crate) fn hand_over(
        &self,
        key: &RecordKey<'_>,
        new_key: &RecordKey<'_>,
        update: &Update<'_>,
    ) -> Result<Updated, Refusal> {
        let mut known = update.known.map(|(info, values)| (info.clone(), Cow::Borrowed(values)));
        // By this call, or by an earlier try of it that nobody has an answer to.
        let mut prepared = known.is_none();
        loop {
            let (info, values) = match known.take() {
                Some(known) => known,
                None => match self.load(key, &Lifetime { refresh: Refresh::Never, ..update.lifetime })? {
                    Some(record) if record.forwarded_to.is_none() => (record.info, Cow::Owned(record.values)),
                    // It has ended or got another id: by this very call, if that was made before.
                    _ => return self.bring(key, new_key, update, None)?.ok_or(Refusal::Gone),
                },
            };
            match self.prepare(key, new_key, &info, &values, update) {
                Ok(()) => prepared = true,
                Err(fault @ Refusal::Fault(_)) => return Err(fault),
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

    /// Ends the old record, if it still has this version, and brings the new one to life. `None` if it has another
    /// version.
    fn bring(
        &self,
        key: &RecordKey<'_>,
        new_key: &RecordKey<'_>,
        update: &Update<'_>,
        version: Option<u64>,
    ) -> Result<Option<Updated>, Refusal> {
        let mut command = self.command(&self.scripts().take, &self.keys(key));
        command
            .arg(&lifetime(&update.lifetime))
            .arg(optional(version))
            .arg(optional(update.grace.map(milliseconds)))
            .arg(optional((key.tag == new_key.tag).then_some(milliseconds(TRAIL))))
            .arg(new_key.id.to_string())
            .arg(self.memory());
        let reply = self.run(&self.scripts().take, &command)?;
        match reply.status() {
            "ok" => {
                // What cannot be waited for must not keep the new one from coming to life.
                let updated = self.activate(key, new_key, update, reply);
                if self.store.wait.is_some() {
                    self.run(&self.scripts().take_again, &command)?;
                }
                updated.map(Some)
            }
            "moved" => Ok(None),
            "gone" => {
                self.discard(new_key);
                Err(Refusal::Gone)
            }
            _ => Err(reply.unexpected().into()),
        }
    }

    /// Removes a prepared record that nobody knows of.
    fn discard(&self, new_key: &RecordKey<'_>) {
        let script = &self.scripts().discard;
        if let Err(error) = self.run(script, &self.command(script, &self.keys(new_key))) {
            log::debug!("a record that nobody knows of is left to expire: {error}");
        }
    }

    /// Prepares the new record, unless this call was made before, and it is alive already.
    fn prepare(
        &self,
        key: &RecordKey<'_>,
        new_key: &RecordKey<'_>,
        info: &RecordInfo,
        values: &Values,
        update: &Update<'_>,
    ) -> Result<(), Refusal> {
        let differs = update.expected.is_some_and(|expected| expected != info.version);
        let lacks = update.holds.is_some_and(|(key, json)| values.get(key).is_none_or(|held| held != json));
        if differs || lacks {
            return Err(Refusal::Conflict);
        }
        let before = Size::of(values);
        let values = update.changes.apply(values)?;
        let size = Size::of(&values);
        update.check_size(before, size)?;
        let own_idle_timeout = update.changes.idle_timeout;
        let idle_timeout = own_idle_timeout.unwrap_or(match update.leaves_group(key) {
            true => update.lifetime.idle_timeout,
            false => info.idle_timeout,
        });
        let script = &self.scripts().pending;
        let mut command = self.command(script, &self.keys(new_key));
        command
            .arg(info.version + 1)
            .arg(since_1970(info.created_at))
            .arg(info.ends_at.map_or(0, since_1970))
            .arg(milliseconds(idle_timeout))
            .arg(u8::from(own_idle_timeout.is_some()))
            .arg(size.keys)
            .arg(size.bytes)
            .arg(self.memory())
            .arg(u8::from(update.join.is_some()))
            .arg(update.join.map_or("", |join| join.name));
        for (key, json) in &values {
            command.arg(field(key)).arg(json);
        }
        let reply = self.run(script, &command)?;
        match reply.status() {
            "ok" | "done" => Ok(()),
            "exists" => Err(Refusal::IdTaken),
            "gone" => Err(Refusal::Gone),
            _ => Err(reply.unexpected().into()),
        }
    }

    /// Brings the new record to life, with what was `taken` from the old one.
    fn activate(
        &self,
        key: &RecordKey<'_>,
        new_key: &RecordKey<'_>,
        update: &Update<'_>,
        mut taken: Reply,
    ) -> Result<Updated, Refusal> {
        let script = &self.scripts().activate;
        let (nonces, own_idle_timeout) = (taken.list()?, taken.text()?);
        let (began, unconfirmed_until) = (taken.text()?, taken.text()?);
        let max_sessions = update.join.and_then(|join| join.max_sessions);
        let mut keys = self.keys(new_key);
        keys.extend(self.ended_key(new_key));
        let mut command = self.command(script, &keys);
        command
            .arg(&lifetime(&update.lifetime))
            .arg(u8::from(update.join.is_some()))
            .arg(optional(max_sessions))
            .arg(self.memory())
            .arg(if update.leaves_group(key) { "" } else { &own_idle_timeout })
            .arg(began)
            .arg(unconfirmed_until);
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
            "gone" => return Err(Refusal::Gone),
            _ => return Err(reply.unexpected().into()),
        }
        let (info, surplus) = (reply.info()?, reply.surplus()?);
        let totals = reply.totals(update.changes.increments().map(|(key, _)| key.to_owned()))?;
        self.finish_login(new_key, max_sessions, surplus);
        Ok(Updated { info, totals, forwarded_to: None })
    }
}

/// In milliseconds.
fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX)
}
