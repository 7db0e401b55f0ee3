//! Stores that keep entries under names: four methods of the store, and the calls that the library makes of them.

use crate::end_reason::EndReason;
use crate::error::{StoreError, StoreErrorKind};
use crate::id::PublicId;
use crate::lifetime::Lifetime;
use crate::store::call::Call;
use crate::store::entry::{Entry, Kind};
use crate::store::forward::{Forward, NO_GRACE, Purpose, follow};
use crate::store::group_update::GroupUpdate;
use crate::store::group_values::GroupValues;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::{Cleared, Created, Join, Loaded, NewRecord, Record, SessionInfo, Values};
use crate::store::refusal::Refusal;
use crate::store::stored_record::StoredRecord;
use crate::store::trace::Trace;
use crate::store::update::{Update, Updated};
use std::time::{SystemTime, UNIX_EPOCH};

/// Keeps entries under names. This is the shortest way to a [`Store`](crate::store::Store) of your own.
///
/// Implement the first four methods, for a map under a lock or for a transaction of a database. Let each method of
/// [`Store`](crate::store::Store) call the method of this trait with the same name. Do not implement the other methods
/// of this trait: their default bodies keep the promises of the contract. `examples/custom_store.rs` is such a store.
///
/// One call uses these four methods several times. No other call may come in between. So hold the lock, or the
/// transaction, for the whole call. Read the clock only when you hold it.
///
/// A name is ASCII text, with the namespace first: `mps:AR7H9A_cQ_iNivqJNnu2ovXw` for a session without a group,
/// `mps:{srZDbXU8Menqh8dnOkHJK19c}:AR7H9A_cQ_iNivqJNnu2ovXw` for one in a group. A name has at most 116 bytes. It never
/// has a `/`, so it can be the name of a file.
///
/// # Examples
/// With this map in a [`Mutex`](std::sync::Mutex), a store works nearly like [`MemoryStore`](crate::MemoryStore).
/// ```
/// use multi_process_session::StoreError;
/// use multi_process_session::store::{Entries, Entry};
/// use std::collections::BTreeMap;
///
/// struct Map(BTreeMap<String, Entry>);
///
/// impl Entries for Map {
///     fn get(&self, name: &str) -> Result<Option<Entry>, StoreError> {
///         Ok(self.0.get(name).cloned())
///     }
///
///     fn put(&mut self, name: &str, entry: Entry) -> Result<(), StoreError> {
///         self.0.insert(name.to_owned(), entry);
///         Ok(())
///     }
///
///     fn remove(&mut self, name: &str) -> Result<(), StoreError> {
///         self.0.remove(name);
///         Ok(())
///     }
///
///     fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
///         Ok(self.0.keys().filter(|name| name.starts_with(prefix)).cloned().collect())
///     }
/// }
/// ```
pub trait Entries {
    /// Returns the entry with this name.
    ///
    /// # Errors
    /// A [`StoreError`]. Its kind is [`Corrupt`](StoreErrorKind::Corrupt) if the entry is damaged.
    fn get(&self, name: &str) -> Result<Option<Entry>, StoreError>;

    /// Keeps an entry under this name, in the place of any other.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn put(&mut self, name: &str, entry: Entry) -> Result<(), StoreError>;

    /// Removes the entry with this name, even if the entry is damaged. It is not an error if there is no such entry.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn remove(&mut self, name: &str) -> Result<(), StoreError>;

    /// Returns all names that begin with `prefix`, in any order.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// Answers [`Store::create`](crate::store::Store::create).
    ///
    /// # Errors
    /// Those of that method.
    fn create(
        &mut self,
        key: &RecordKey<'_>,
        record: &NewRecord<'_>,
        call: &Call,
        now: SystemTime,
    ) -> Result<Created, Refusal> {
        let mut new = StoredRecord::new(record, call, now)?;
        match self.get(&key.name())? {
            Some(Entry(Kind::Record(found))) if found.is_alive(now) => {
                let info = found.state.info(now);
                let made_before = found.state.knows(call.nonce);
                return if made_before { Ok(Created { info, ended: Vec::new() }) } else { Err(Refusal::IdTaken) };
            }
            Some(Entry(Kind::Trace(trace))) if trace.knows(call.nonce, now) => return Err(Refusal::Gone),
            _ => {}
        }
        let info = new.state.info(now);
        let surplus = join(self, &mut new, record.join, key, key, now)?;
        self.put(&key.name(), Entry(Kind::Record(new)))?;
        let ended = end_all(self, &surplus, EndReason::OverLimit, now)?;
        keep_group_values(self, key, info.expires_at, now);
        Ok(Created { info, ended })
    }

    /// Answers [`Store::load`](crate::store::Store::load).
    ///
    /// # Errors
    /// Those of that method.
    fn load(&mut self, key: &RecordKey<'_>, lifetime: &Lifetime, now: SystemTime) -> Result<Loaded, StoreError> {
        let loaded = self.peek(key, lifetime, now)?;
        let Loaded::Record(peeked) = loaded else { return Ok(loaded) };
        let at = RecordKey { id: peeked.forwarded_to.unwrap_or(key.id), ..*key };
        let Some(mut record) = live_record(self, &at, now)? else { return Ok(Loaded::Record(peeked)) };
        let Some(Record { info, refreshed: true, .. }) = record.load(lifetime, now) else {
            return Ok(Loaded::Record(peeked));
        };
        // A refresh that cannot be written does not fail the load.
        if self.put(&at.name(), Entry(Kind::Record(record))).is_err() {
            return Ok(Loaded::Record(peeked));
        }
        keep_group_values(self, &at, info.expires_at, now);
        Ok(Loaded::Record(Record { info, refreshed: true, ..peeked }))
    }

    /// Answers [`Store::peek`](crate::store::Store::peek).
    ///
    /// # Errors
    /// Those of that method.
    fn peek(&self, key: &RecordKey<'_>, lifetime: &Lifetime, now: SystemTime) -> Result<Loaded, StoreError> {
        let at = present_key(self, key, Purpose::Use, now)?;
        let record = match self.get(&at.name())? {
            Some(Entry(Kind::Record(record))) if record.is_alive(now) => record.peek(lifetime, now),
            Some(Entry(Kind::Forward(_))) => return Ok(Loaded::Ended(EndReason::NewId)),
            Some(Entry(Kind::Trace(trace))) if now < trace.ends_at => return Ok(Loaded::Ended(trace.reason)),
            _ => None,
        };
        let Some(record) = record else { return Ok(Loaded::Ended(EndReason::Expired)) };
        let group_values = match at.tag {
            Some(tag) => self.group_values(&at.group(tag), now)?,
            None => Values::new(),
        };
        Ok(Loaded::Record(Record { group_values, forwarded_to: at.forwarded_from(key), ..record }))
    }

    /// Answers [`Store::present_ids`](crate::store::Store::present_ids).
    ///
    /// # Errors
    /// Those of that method.
    fn present_ids(
        &self,
        keys: &[RecordKey<'_>],
        lifetime: &Lifetime,
        now: SystemTime,
    ) -> Result<Vec<Option<PublicId>>, StoreError> {
        let present_id = |key: &RecordKey<'_>| match self.peek(key, lifetime, now) {
            Ok(loaded) => Ok(loaded.record().map(|record| record.forwarded_to.unwrap_or(key.id))),
            Err(error) if error.kind() == StoreErrorKind::Corrupt => Ok(None),
            Err(error) => Err(error),
        };
        keys.iter().map(present_id).collect()
    }

    /// Answers [`Store::update`](crate::store::Store::update).
    ///
    /// # Errors
    /// Those of that method.
    fn update(
        &mut self,
        key: &RecordKey<'_>,
        update: &Update<'_>,
        call: &Call,
        now: SystemTime,
    ) -> Result<Updated, Refusal> {
        let Some(new_key) = &update.new_key else {
            let at = present_key(self, key, Purpose::Use, now)?;
            let mut record = live_record(self, &at, now)?.ok_or(Refusal::Gone)?;
            let updated = record.apply(key, update, call, now)?;
            self.put(&at.name(), Entry(Kind::Record(record)))?;
            keep_group_values(self, &at, updated.info.expires_at, now);
            return Ok(Updated { forwarded_to: at.forwarded_from(key), ..updated });
        };
        if let Some(mut found) = live_record(self, new_key, now)? {
            let made_before = found.state.knows(call.nonce);
            return if made_before { found.apply(key, update, call, now) } else { Err(Refusal::IdTaken) };
        }
        // An id that was replaced cannot be replaced again.
        let mut record = live_record(self, key, now)?.ok_or(Refusal::Gone)?;
        let updated = record.apply(key, update, call, now)?;
        let trace = Trace::of(&record.state, EndReason::NewId, now);
        let surplus = join(self, &mut record, update.join, key, new_key, now)?;
        self.put(&new_key.name(), Entry(Kind::Record(record)))?;
        let left_behind = if new_key.tag == key.tag {
            Kind::Forward(Forward::new(new_key.id, update.grace, now))
        } else {
            Kind::Trace(trace)
        };
        self.put(&key.name(), Entry(left_behind))?;
        let ended = end_all(self, &surplus, EndReason::OverLimit, now)?;
        keep_group_values(self, new_key, updated.info.expires_at, now);
        Ok(Updated { ended, ..updated })
    }

    /// Answers [`Store::delete`](crate::store::Store::delete).
    ///
    /// # Errors
    /// Those of that method.
    fn delete(
        &mut self,
        key: &RecordKey<'_>,
        reason: EndReason,
        now: SystemTime,
    ) -> Result<Option<PublicId>, StoreError> {
        let at = present_key(self, key, Purpose::End, now)?;
        Ok(end(self, &at.name(), reason, now)?.then_some(at.id))
    }

    /// Answers [`Store::group_sessions`](crate::store::Store::group_sessions).
    ///
    /// # Errors
    /// Those of that method.
    fn group_sessions(
        &self,
        group: &GroupKey<'_>,
        keys: &[&str],
        now: SystemTime,
    ) -> Result<Vec<SessionInfo>, StoreError> {
        let members = members(self, group, now)?;
        Ok(members.iter().map(|(id, record)| record.session_info(*id, keys, now)).collect())
    }

    /// Answers [`Store::group_len`](crate::store::Store::group_len).
    ///
    /// # Errors
    /// Those of that method.
    fn group_len(&self, group: &GroupKey<'_>, now: SystemTime) -> Result<usize, StoreError> {
        Ok(members(self, group, now)?.len())
    }

    /// Answers [`Store::clear_group`](crate::store::Store::clear_group).
    ///
    /// # Errors
    /// Those of that method.
    fn clear_group(
        &mut self,
        group: &GroupKey<'_>,
        except: Option<PublicId>,
        now: SystemTime,
    ) -> Result<Cleared, StoreError> {
        let except = except.map(|id| present_key(self, &group.session(id), Purpose::Use, now)).transpose()?;
        let mut names = self.names(&group.prefix())?;
        if let Some(spared) = except {
            names.retain(|name| *name != spared.name());
            for name in &names {
                end_grace(self, name, spared.id)?;
            }
        }
        let ids = end_all(self, &names, EndReason::LoggedOutElsewhere, now)?;
        Ok(Cleared { number: ids.len() as u64, ids })
    }

    /// Answers [`Store::group_values`](crate::store::Store::group_values).
    ///
    /// # Errors
    /// Those of that method.
    fn group_values(&self, group: &GroupKey<'_>, now: SystemTime) -> Result<Values, StoreError> {
        Ok(values_of(self, group, now)?.values)
    }

    /// Answers [`Store::update_group`](crate::store::Store::update_group).
    ///
    /// # Errors
    /// Those of that method.
    fn update_group(
        &mut self,
        group: &GroupKey<'_>,
        update: &GroupUpdate<'_>,
        call: &Call,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        let mut values = values_of(self, group, now)?;
        values.update(update, call, now)?;
        let last = members(self, group, now)?.into_iter().map(|(_, record)| record.state.expires_at).max();
        values.expires_at = values.expires_at.max(last.unwrap_or(now));
        Ok(self.put(&group.values_name(), Entry(Kind::GroupValues(values)))?)
    }

    /// Answers [`Store::clear_namespace`](crate::store::Store::clear_namespace).
    ///
    /// # Errors
    /// Those of that method.
    fn clear_namespace(&mut self, namespace: &str, now: SystemTime) -> Result<(), StoreError> {
        let names = self.names(&format!("{namespace}:"))?;
        end_all(self, &names, EndReason::LoggedOutElsewhere, now).map(drop)
    }
}

/// Returns the key that a session has now. A damaged entry leads nowhere: whoever asks for it gets it, and can end it.
fn present_key<'a>(
    entries: &(impl Entries + ?Sized),
    key: &RecordKey<'a>,
    purpose: Purpose,
    now: SystemTime,
) -> Result<RecordKey<'a>, StoreError> {
    follow(key, purpose, now, |key| match entries.get(&key.name()) {
        Ok(Some(Entry(Kind::Forward(forward)))) => Ok(Some(forward)),
        Err(error) if error.kind() != StoreErrorKind::Corrupt => Err(error),
        _ => Ok(None),
    })
}

fn live_record(
    entries: &(impl Entries + ?Sized),
    key: &RecordKey<'_>,
    now: SystemTime,
) -> Result<Option<StoredRecord>, StoreError> {
    Ok(match entries.get(&key.name())? {
        Some(Entry(Kind::Record(record))) if record.is_alive(now) => Some(record),
        _ => None,
    })
}

/// Returns the live sessions of a group, in the order in which they joined. Damaged ones are left out.
fn members(
    entries: &(impl Entries + ?Sized),
    group: &GroupKey<'_>,
    now: SystemTime,
) -> Result<Vec<(PublicId, StoredRecord)>, StoreError> {
    let prefix = group.prefix();
    let mut members = Vec::new();
    for name in entries.names(&prefix)? {
        let id = name.strip_prefix(&prefix).and_then(|id| id.parse().ok());
        match (entries.get(&name), id) {
            (Ok(Some(Entry(Kind::Record(record)))), Some(id)) if record.is_alive(now) => members.push((id, record)),
            (Err(error), _) if error.kind() != StoreErrorKind::Corrupt => return Err(error),
            _ => {}
        }
    }
    members.sort_by_key(|(_, record)| record.join_order);
    Ok(members)
}

/// Gives a session that joins the group of `new_key` the last place in the order of joining. Returns the names of the
/// sessions that have to end, because the group has a limit. `key` is the key that the session had before.
fn join(
    entries: &(impl Entries + ?Sized),
    record: &mut StoredRecord,
    join: Option<Join<'_>>,
    key: &RecordKey<'_>,
    new_key: &RecordKey<'_>,
    now: SystemTime,
) -> Result<Vec<String>, Refusal> {
    let (Some(tag), Some(join)) = (new_key.tag, join) else { return Ok(Vec::new()) };
    let group = new_key.group(tag);
    let mut others = members(entries, &group, now)?;
    others.retain(|(id, _)| *id != key.id);
    if let Some(limit) = join.limit.and_then(|limit| limit.refuses_at())
        && others.len() >= limit
    {
        return Err(Refusal::TooManySessions { limit });
    }
    let microseconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let later_than_the_last = others.last().map_or(0, |(_, last)| last.join_order + 1);
    record.join_order = u64::try_from(microseconds).unwrap_or(u64::MAX).max(later_than_the_last);
    let most = join.limit.and_then(|limit| limit.ends_beyond());
    let surplus = most.map_or(0, |most| (others.len() + 1).saturating_sub(most));
    Ok(others.iter().take(surplus).map(|(id, _)| group.session(*id).name()).collect())
}

/// Returns the values of a group.
pub(crate) fn values_of(
    entries: &(impl Entries + ?Sized),
    group: &GroupKey<'_>,
    now: SystemTime,
) -> Result<GroupValues, StoreError> {
    Ok(match entries.get(&group.values_name())? {
        Some(Entry(Kind::GroupValues(values))) if values.expires_at > now => values,
        _ => GroupValues::none(now),
    })
}

/// Keeps the values of the group of this key until the session of the key expires. A fault does no harm: the next
/// refresh tries again.
pub(crate) fn keep_group_values(
    entries: &mut (impl Entries + ?Sized),
    key: &RecordKey<'_>,
    until: SystemTime,
    now: SystemTime,
) {
    let Some(group) = key.tag.map(|tag| key.group(tag)) else { return };
    if let Ok(values) = values_of(entries, &group, now)
        && values.expires_at < until
        && !values.values.is_empty()
    {
        let values = GroupValues { expires_at: until, ..values };
        let _ = entries.put(&group.values_name(), Entry(Kind::GroupValues(values)));
    }
}

/// Ends the sessions with these names, and gives the ids of those that were alive.
fn end_all(
    entries: &mut (impl Entries + ?Sized),
    names: &[String],
    reason: EndReason,
    now: SystemTime,
) -> Result<Vec<PublicId>, StoreError> {
    let mut ended = Vec::new();
    for name in names {
        if end(entries, name, reason, now)? {
            ended.extend(name.rsplit(':').next().and_then(|id| id.parse::<PublicId>().ok()));
        }
    }
    Ok(ended)
}

/// Ends a session, even if its record is damaged. Returns whether the session was alive. Removes the values of a group.
fn end(
    entries: &mut (impl Entries + ?Sized),
    name: &str,
    reason: EndReason,
    now: SystemTime,
) -> Result<bool, StoreError> {
    match entries.get(name) {
        Ok(Some(Entry(Kind::Record(record)))) => {
            let was_alive = record.is_alive(now);
            let reason = if was_alive { reason } else { EndReason::Expired };
            entries.put(name, Entry(Kind::Trace(Trace::of(&record.state, reason, now))))?;
            Ok(was_alive)
        }
        Ok(Some(Entry(Kind::GroupValues(_)))) => entries.remove(name).map(|()| false),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == StoreErrorKind::Corrupt => entries.remove(name).map(|()| false),
        Err(error) => Err(error),
    }
}

/// Ends the grace in which the id with this name leads to the session with the id `to`.
fn end_grace(entries: &mut (impl Entries + ?Sized), name: &str, to: PublicId) -> Result<(), StoreError> {
    match entries.get(name) {
        Ok(Some(Entry(Kind::Forward(forward)))) if forward.new_id == to => {
            entries.put(name, Entry(Kind::Forward(Forward { grace_ends: NO_GRACE, ..forward })))
        }
        Err(error) if error.kind() != StoreErrorKind::Corrupt => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::Deadline;
    use crate::id::GroupTag;
    use crate::lifetime::Refresh;
    use crate::store::record::Size;
    use crate::store::update::ChangeSet;
    use std::collections::BTreeMap;
    use std::time::Duration;

    /// The text of an entry that cannot be read at the moment.
    const UNREACHABLE: &str = "unreachable";
    const SIZE_LIMIT: Size = Size { keys: 0, bytes: 0 };
    const LIFETIME: Lifetime =
        Lifetime { idle_timeout: Duration::from_secs(60), absolute_timeout: None, refresh: Refresh::Never };

    fn call() -> Call {
        Call::until(Deadline::after(Duration::ZERO)).unwrap()
    }

    /// Creates some sessions in a group.
    fn create<const N: usize>(
        texts: &mut Texts,
        group: &GroupKey<'static>,
        now: SystemTime,
    ) -> [RecordKey<'static>; N] {
        [(); N].map(|()| {
            let key = group.session(PublicId::random().unwrap());
            let record = NewRecord {
                values: Values::new(),
                size_limit: SIZE_LIMIT,
                lifetime: LIFETIME,
                idle_timeout: None,
                persistent: None,
                unconfirmed_timeout: None,
                join: Some(Join { name: "ada", limit: None }),
            };
            texts.create(&key, &record, &call(), now).unwrap();
            key
        })
    }

    /// Entries that are kept as JSON text.
    #[derive(Default)]
    struct Texts(BTreeMap<String, String>);

    impl Entries for Texts {
        fn get(&self, name: &str) -> Result<Option<Entry>, StoreError> {
            match self.0.get(name).map(String::as_str) {
                Some(UNREACHABLE) => Err(StoreError::new(StoreErrorKind::Unavailable, "it cannot be reached")),
                json => json.map(Entry::from_json).transpose(),
            }
        }

        fn put(&mut self, name: &str, entry: Entry) -> Result<(), StoreError> {
            self.0.insert(name.to_owned(), entry.to_json());
            Ok(())
        }

        fn remove(&mut self, name: &str) -> Result<(), StoreError> {
            self.0.remove(name);
            Ok(())
        }

        fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
            Ok(self.0.keys().filter(|name| name.starts_with(prefix)).cloned().collect())
        }
    }

    #[test]
    fn a_damaged_session_can_be_ended_and_hides_no_other() {
        let (mut texts, now) = (Texts::default(), SystemTime::now());
        let group = GroupKey { namespace: "mps", tag: GroupTag::random().unwrap() };
        let keys: [_; 4] = create(&mut texts, &group, now);
        for damaged in &keys[..2] {
            texts.0.insert(damaged.name(), "{".to_owned());
            assert_eq!(texts.get(&damaged.name()).unwrap_err().kind(), StoreErrorKind::Corrupt);
        }
        assert_eq!(texts.group_len(&group, now).unwrap(), 2);
        assert!(
            texts.delete(&keys[0], EndReason::LoggedOut, now).unwrap().is_none(),
            "it is not known whether it was alive"
        );
        assert!(texts.get(&keys[0].name()).unwrap().is_none());
        assert_eq!(texts.clear_group(&group, Some(keys[2].id), now).unwrap().number, 1);
        assert!(texts.get(&keys[1].name()).unwrap().is_none());
        assert_eq!(texts.group_len(&group, now).unwrap(), 1);
        // A damaged session can be spared too.
        texts.0.insert(keys[2].name(), "{".to_owned());
        let [other] = create(&mut texts, &group, now);
        assert_eq!(texts.clear_group(&group, Some(keys[2].id), now).unwrap().number, 1);
        assert!(texts.get(&other.name()).unwrap().is_none_or(|entry| !matches!(entry.0, Kind::Record(_))));
    }

    #[test]
    fn a_session_that_an_old_id_leads_to_ends_or_the_fault_is_told() {
        for (text, is_ended) in [("{", true), (UNREACHABLE, false)] {
            let (mut texts, now) = (Texts::default(), SystemTime::now());
            let group = GroupKey { namespace: "mps", tag: GroupTag::random().unwrap() };
            let [old] = create(&mut texts, &group, now);
            let new = group.session(PublicId::random().unwrap());
            let update = Update {
                changes: &ChangeSet::default(),
                expected: None,
                holds: None,
                size_limit: SIZE_LIMIT,
                lifetime: LIFETIME,
                new_key: Some(new),
                grace: Some(Duration::from_secs(60)),
                join: None,
                known: None,
            };
            texts.update(&old, &update, &call(), now).unwrap();
            texts.0.insert(new.name(), text.to_owned());
            assert_eq!(texts.delete(&old, EndReason::LoggedOut, now).is_ok(), is_ended, "{text}");
            assert_eq!(texts.0.contains_key(&new.name()), !is_ended, "{text}");
        }
    }
}
