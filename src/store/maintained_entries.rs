//! What operators do with a store that keeps entries under names.

use crate::error::{StoreError, StoreErrorKind};
use crate::id::PublicId;
use crate::store::entries::{Entries, keep_group_values, values_of};
use crate::store::entry::{Entry, Kind};
use crate::store::group_values::GroupValues;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::maintenance::{Located, Page, Position, Purged, Scan};
use crate::store::record::Values;
use crate::store::restore::Restored;
use crate::store::restore::{is_earlier, is_over, with_later_life};
use crate::store::stored_record::StoredRecord;
use std::time::SystemTime;

/// The most entries that one call of a scan looks at.
const PAGE: usize = 500;

/// The calls of [`Maintenance`](crate::store::Maintenance), made of the four methods of [`Entries`].
///
/// Every type that implements `Entries` has them. Let each method of `Maintenance` call the method of this trait with
/// the same name, as the methods of [`Store`](crate::store::Store) call those of `Entries`.
pub trait MaintainedEntries: Entries {
    /// Answers [`Maintenance::scan`](crate::store::Maintenance::scan).
    ///
    /// # Errors
    /// Those of that method.
    fn scan(&self, scan: &Scan<'_>, now: SystemTime) -> Result<Page, StoreError> {
        let mut names = self.names(&prefix(scan.namespace))?;
        if let Some(Position(last)) = scan.from {
            names.retain(|name| name > last);
        }
        names.sort_unstable();
        let is_last = names.len() <= PAGE;
        names.truncate(PAGE);
        let mut sessions = Vec::new();
        for name in &names {
            let Some(at) = Located::of_name(scan.namespace, name) else { continue };
            if let Some(mut record) = intact(self, name)?.filter(|record| record.is_alive(now)) {
                if !scan.with_values {
                    record.values = Values::new();
                }
                sessions.push((at, record));
            }
        }
        Ok(Page { sessions, next: names.pop().map(Position).filter(|_| !is_last) })
    }

    /// Answers [`Maintenance::find`](crate::store::Maintenance::find).
    ///
    /// # Errors
    /// Those of that method.
    fn find(&self, namespace: &str, id: PublicId, now: SystemTime) -> Result<Option<Located>, StoreError> {
        for name in self.names(&prefix(namespace))? {
            if let Some(at) = Located::of_name(namespace, &name).filter(|at| at.id == id)
                && intact(self, &name)?.is_some_and(|record| record.is_alive(now))
            {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Answers [`Maintenance::read`](crate::store::Maintenance::read).
    ///
    /// # Errors
    /// Those of that method.
    fn read(
        &self,
        namespace: &str,
        places: &[Located],
        with_values: bool,
        now: SystemTime,
    ) -> Result<Vec<(Located, StoredRecord)>, StoreError> {
        let mut sessions = Vec::new();
        for at in places {
            if let Some(mut record) = intact(self, &at.key(namespace).name())?.filter(|record| record.is_alive(now)) {
                if !with_values {
                    record.values = Values::new();
                }
                sessions.push((*at, record));
            }
        }
        Ok(sessions)
    }

    /// Answers [`Maintenance::restore`](crate::store::Maintenance::restore).
    ///
    /// # Errors
    /// Those of that method.
    fn restore(&mut self, key: &RecordKey<'_>, record: &StoredRecord, now: SystemTime) -> Result<Restored, StoreError> {
        if is_over(&record.state, now) {
            return Ok(Restored::Ended);
        }
        let mut record = record.clone();
        let restored = match self.get(&key.name()) {
            Ok(Some(entry)) if entry.outdated_at() > now => match entry {
                Entry(Kind::Record(found)) if is_earlier(&found.state, found.copied_nonce, &record) => {
                    record.state = with_later_life(&found.state, record.state);
                    Restored::Updated
                }
                Entry(Kind::Record(_)) => return Ok(Restored::Kept),
                Entry(Kind::Forward(_) | Kind::Trace(_)) => return Ok(Restored::Ended),
                Entry(Kind::GroupValues(_)) => return Ok(Restored::Kept),
            },
            Ok(_) => Restored::Created,
            Err(error) if error.kind() == StoreErrorKind::Corrupt => return Ok(Restored::Kept),
            Err(error) => return Err(error),
        };
        record.copied_nonce = record.state.nonces.first_chunk().copied();
        let expires_at = record.state.expires_at;
        self.put(&key.name(), Entry(Kind::Record(record)))?;
        keep_group_values(self, key, expires_at, now);
        Ok(restored)
    }

    /// Answers [`Maintenance::read_group`](crate::store::Maintenance::read_group).
    ///
    /// # Errors
    /// Those of that method.
    fn read_group(&self, group: &GroupKey<'_>, now: SystemTime) -> Result<GroupValues, StoreError> {
        values_of(self, group, now)
    }

    /// Answers [`Maintenance::restore_group`](crate::store::Maintenance::restore_group).
    ///
    /// # Errors
    /// Those of that method.
    fn restore_group(
        &mut self,
        group: &GroupKey<'_>,
        values: &GroupValues,
        now: SystemTime,
    ) -> Result<Restored, StoreError> {
        let found = values_of(self, group, now)?;
        let restored = found.restored(values);
        if restored != Restored::Kept && values.nonces.is_empty() {
            self.remove(&group.values_name())?;
        } else if restored != Restored::Kept {
            let expires_at = found.expires_at.max(values.expires_at);
            let values = GroupValues { expires_at, copied_nonce: values.last_nonce(), ..values.clone() };
            self.put(&group.values_name(), Entry(Kind::GroupValues(values)))?;
        }
        Ok(restored)
    }

    /// Answers [`Maintenance::purge`](crate::store::Maintenance::purge). Looks at all entries, however long that takes.
    ///
    /// # Errors
    /// Those of that method.
    fn purge(&mut self, namespace: &str, now: SystemTime) -> Result<Purged, StoreError> {
        let mut removed = 0;
        for name in self.names(&prefix(namespace))? {
            match self.get(&name) {
                Ok(Some(entry)) if entry.outdated_at() <= now => {
                    self.remove(&name)?;
                    removed += 1;
                }
                Err(error) if error.kind() != StoreErrorKind::Corrupt => return Err(error),
                _ => {}
            }
        }
        Ok(Purged { removed, more: false })
    }
}

impl<E: Entries + ?Sized> MaintainedEntries for E {}

/// Returns the record with this name. A damaged one counts as missing.
fn intact(entries: &(impl Entries + ?Sized), name: &str) -> Result<Option<StoredRecord>, StoreError> {
    match entries.get(name) {
        Ok(Some(Entry(Kind::Record(record)))) => Ok(Some(record)),
        Err(error) if error.kind() != StoreErrorKind::Corrupt => Err(error),
        _ => Ok(None),
    }
}

/// Returns the beginning of the names of all entries of a namespace.
fn prefix(namespace: &str) -> String {
    format!("{namespace}:")
}
