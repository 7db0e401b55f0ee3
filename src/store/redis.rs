//! Sessions in Redis: a session is one hash, a change is one script, and a call is one round trip.

mod arguments;
mod deployment;
mod fields;
mod figures;
mod findings;
mod generation;
mod group;
mod group_values;
mod handover;
mod keys;
mod namespace;
mod namespace_sweep;
mod node_facts;
mod nonces;
mod operation;
mod plain_load;
mod present;
mod probe;
mod quick_update;
mod record;
mod reply;
mod restore;
mod scan;
mod scan_step;
mod script;
mod scripts;
mod shared;
mod state;
mod wait;
mod whole_records;
mod wire;

use crate::defaults;
use crate::end_reason::EndReason;
use crate::error::{ConfigError, StoreError};
use crate::id::PublicId;
use crate::lifetime::Lifetime;
use crate::store::call::Call;
use crate::store::fork_guard::ForkGuard;
use crate::store::group_update::GroupUpdate;
use crate::store::group_values::GroupValues;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::maintenance::{Figure, Finding, Located, Maintenance, Page, Purged, Scan};
use crate::store::record::{Cleared, Created, Loaded, NewRecord, SessionInfo, Values};
use crate::store::redis::deployment::{Client, Deployment};
use crate::store::redis::handover::Handover;
use crate::store::redis::operation::Operation;
use crate::store::redis::plain_load::Purpose;
use crate::store::redis::shared::Shared;
use crate::store::redis::wait::Wait;
use crate::store::refusal::Refusal;
use crate::store::restore::Restored;
use crate::store::stats::Stats;
use crate::store::store_trait::Store;
use crate::store::stored_record::StoredRecord;
use crate::store::update::{Update, Updated};
use std::fmt;
use std::time::Duration;

/// Keeps sessions in Redis, for any number of processes and machines.
///
/// `store_url("redis://…")` makes one. Each process opens its own pool when it first
/// uses the store. A forked process does not touch the connections that it inherits.
pub struct RedisStore {
    shared: Shared,
    /// The operation timeout of the callers.
    operation_timeout: Duration,
}

impl RedisStore {
    /// Makes a store at this URL, like [`store_url`](crate::SessionManagerBuilder::store_url) with the default
    /// settings. This does not connect yet.
    ///
    /// # Errors
    /// A [`ConfigError`] for each URL that [`store_url`](crate::SessionManagerBuilder::store_url) refuses.
    pub fn new(url: &str) -> Result<RedisStore, ConfigError> {
        RedisStore::from_url(url, defaults::POOL_SIZE, defaults::OPERATION_TIMEOUT)
    }

    /// Makes the store of a URL. `operation_timeout` is the operation timeout of its callers.
    pub(crate) fn from_url(url: &str, pool_size: u32, operation_timeout: Duration) -> Result<RedisStore, ConfigError> {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        if cfg!(not(feature = "tls")) && scheme.starts_with("rediss") {
            return Err(ConfigError::FeatureMissing { scheme: scheme.to_owned(), feature: "tls" });
        }
        let (url, wait) = Wait::take(url)?;
        let shared = Shared::new(Deployment::parse(&url)?, pool_size, wait);
        Ok(RedisStore { shared, operation_timeout })
    }

    fn begin<'a>(&'a self, call: &'a Call) -> Result<Operation<'a>, StoreError> {
        Operation::begin(&self.shared, call)
    }
}

impl Store for RedisStore {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<Created, Refusal> {
        let size = record.check_size()?;
        self.begin(call)?.create(key, record, size)
    }

    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError> {
        self.begin(call)?.load(key, lifetime, Purpose::Use)
    }

    fn peek(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError> {
        self.begin(call)?.load(key, lifetime, Purpose::Peek)
    }

    fn present_ids(
        &self,
        keys: &[RecordKey<'_>],
        lifetime: &Lifetime,
        call: &Call,
    ) -> Result<Vec<Option<PublicId>>, StoreError> {
        self.begin(call)?.present_ids(keys, lifetime)
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Refusal> {
        let operation = self.begin(call)?;
        match Handover::needed(&operation, key, update) {
            Some(handover) => handover.run(),
            None => operation.update(key, update),
        }
    }

    fn delete(&self, key: &RecordKey<'_>, reason: EndReason, call: &Call) -> Result<Option<PublicId>, StoreError> {
        self.begin(call)?.delete(key, reason)
    }

    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], call: &Call) -> Result<Vec<SessionInfo>, StoreError> {
        self.begin(call)?.group_sessions(group, keys)
    }

    fn group_len(&self, group: &GroupKey<'_>, call: &Call) -> Result<usize, StoreError> {
        self.begin(call)?.group_len(group)
    }

    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, call: &Call) -> Result<Cleared, StoreError> {
        self.begin(call)?.clear_group(group, except)
    }

    fn group_values(&self, group: &GroupKey<'_>, call: &Call) -> Result<Values, StoreError> {
        self.begin(call)?.group_values(group)
    }

    fn update_group(&self, group: &GroupKey<'_>, update: &GroupUpdate<'_>, call: &Call) -> Result<(), Refusal> {
        self.begin(call)?.update_group(group, update)
    }

    fn clear_namespace(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        self.begin(call)?.clear_namespace(namespace)
    }

    fn check_writes(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        self.begin(call)?.check_writes(namespace)
    }

    fn ping(&self, call: &Call) -> Result<(), StoreError> {
        self.begin(call)?.ping()
    }

    fn before_fork(&self) -> ForkGuard {
        self.shared.clients.before_fork(self.operation_timeout * 2, Client::close_idle)
    }

    fn stats(&self) -> Stats {
        self.shared.counters.stats(self.shared.pool_size)
    }
}

impl Maintenance for RedisStore {
    fn scan(&self, scan: &Scan<'_>, call: &Call) -> Result<Page, StoreError> {
        self.begin(call)?.scan(scan)
    }

    fn find(&self, namespace: &str, id: PublicId, call: &Call) -> Result<Option<Located>, StoreError> {
        self.begin(call)?.find(namespace, id)
    }

    fn read(
        &self,
        namespace: &str,
        places: &[Located],
        with_values: bool,
        call: &Call,
    ) -> Result<Vec<(Located, StoredRecord)>, StoreError> {
        self.begin(call)?.read(namespace, places, with_values)
    }

    fn restore(&self, key: &RecordKey<'_>, record: &StoredRecord, call: &Call) -> Result<Restored, StoreError> {
        self.begin(call)?.restore(key, record)
    }

    fn read_group(&self, group: &GroupKey<'_>, call: &Call) -> Result<GroupValues, StoreError> {
        self.begin(call)?.read_group(group)
    }

    fn restore_group(&self, group: &GroupKey<'_>, values: &GroupValues, call: &Call) -> Result<Restored, StoreError> {
        self.begin(call)?.restore_group(group, values)
    }

    fn purge(&self, namespace: &str, call: &Call) -> Result<Purged, StoreError> {
        self.begin(call)?.purge(namespace)
    }

    fn findings(&self, namespace: &str, call: &Call) -> Result<Vec<Finding>, StoreError> {
        self.begin(call)?.findings(namespace)
    }

    fn figures(&self, call: &Call) -> Result<Vec<Figure>, StoreError> {
        self.begin(call)?.figures()
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shared.deployment)
    }
}
