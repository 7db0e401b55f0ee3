//! The stores of the library keep their contract: one test for each promise and store.

use crate::support::clock;
use crate::support::cluster::Cluster;
use crate::support::fork::{children, in_own_process_of};
use crate::support::place::Place;
use crate::support::redis::Redis;
use crate::support::shared::until_the_program_ends;
use multi_process_session::store::contract::{MaintainedSubject, SharedSubject, Subject};
use multi_process_session::store::{Maintenance, RecordKey, Store};
use multi_process_session::{
    MemoryStore, RedisStore, SqliteStore, contract_tests, maintenance_contract_tests, shared_contract_tests,
};
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

// ---- One process ----

contract_tests!(memory, memory());
contract_tests!(sqlite, InPlace::sqlite(Place::sqlite()));
contract_tests!(sqlite_by_clock, sqlite_by_clock(&tempfile::tempdir().unwrap()));
contract_tests!(redis, *REDIS);
contract_tests!(redis_6_0, *REDIS_6_0);
contract_tests!(redis_with_the_rights_of_the_guide, *REDIS_WITH_RIGHTS);
contract_tests!(cluster, *CLUSTER);

maintenance_contract_tests!(memory_for_operators, memory());
maintenance_contract_tests!(sqlite_for_operators, InPlace::sqlite(Place::sqlite()));
maintenance_contract_tests!(sqlite_by_clock_for_operators, sqlite_by_clock(&tempfile::tempdir().unwrap()));
maintenance_contract_tests!(redis_for_operators, *REDIS);
maintenance_contract_tests!(redis_6_0_for_operators, *REDIS_6_0);
maintenance_contract_tests!(redis_with_the_rights_of_the_guide_for_operators, *REDIS_WITH_RIGHTS);
maintenance_contract_tests!(cluster_for_operators, *CLUSTER);

// All tests of a store share its server.
static REDIS: LazyLock<InPlace<RedisStore>> = LazyLock::new(|| InPlace::redis(Place::redis()));
static CLUSTER: LazyLock<InPlace<RedisStore>> = LazyLock::new(|| InPlace::redis(Place::Cluster(Cluster::start(3))));

/// A server without the commands that Redis 6.0 does not have.
static REDIS_6_0: LazyLock<InPlace<RedisStore>> = LazyLock::new(|| {
    let redis = Redis::start();
    let newer = commands_after_6_0(&redis);
    for name in &newer {
        redis.run::<()>(&["ACL", "SETUSER", "default", &format!("-{name}")]);
    }
    assert!(newer.is_empty() || newer.iter().any(|name| name == "zmscore"), "{newer:?}");
    InPlace::redis(Place::Redis(redis))
});

/// A user with the rights that the guide names, and with those for the namespaces of the checks.
static REDIS_WITH_RIGHTS: LazyLock<InPlace<RedisStore>> = LazyLock::new(|| {
    let redis = Redis::start();
    redis.add_user_of_the_guide();
    redis.run::<()>(&["ACL", "SETUSER", "sessions", "~contract*"]);
    let store = RedisStore::new(&Redis::as_user(&redis.url())).unwrap();
    InPlace(store, until_the_program_ends(Place::Redis(redis)))
});

/// The commands that came after Redis 6.0, as this server tells.
fn commands_after_6_0(redis: &Redis) -> Vec<String> {
    let Ok(docs) = redis.try_run::<HashMap<String, HashMap<String, ::redis::Value>>>(&["COMMAND", "DOCS"]) else {
        return Vec::new(); // Servers before Redis 7 do not tell.
    };
    let is_newer = |about: &HashMap<String, ::redis::Value>| {
        let since: String = ::redis::from_redis_value(about["since"].clone()).unwrap();
        let mut numbers = since.split('.').map(|number| number.parse::<u32>().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap()) > (6, 0)
    };
    docs.into_iter().filter(|(_, about)| is_newer(about)).map(|(name, _)| name).collect()
}

struct InPlace<S>(S, Place);

impl InPlace<RedisStore> {
    fn redis(place: Place) -> InPlace<RedisStore> {
        InPlace(open_redis(&place), until_the_program_ends(place))
    }
}

impl InPlace<SqliteStore> {
    fn sqlite(place: Place) -> InPlace<SqliteStore> {
        InPlace(open_sqlite(&place), place)
    }
}

impl<S: Store> Subject for InPlace<S> {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn let_time_pass(&self, key: &RecordKey<'_>, time: Duration) {
        self.1.let_time_pass_for(key, time);
    }
}

impl<S: Maintenance> MaintainedSubject for InPlace<S> {
    fn maintenance(&self) -> &dyn Maintenance {
        &self.0
    }
}

fn open_redis(place: &Place) -> RedisStore {
    RedisStore::new(&place.url()).unwrap()
}

fn open_sqlite(place: &Place) -> SqliteStore {
    SqliteStore::with_clock(place.url().strip_prefix("sqlite://").unwrap(), SystemTime::now)
}

struct ByClock<S, F>(S, F);

impl<S: Store, F: Fn(Duration)> Subject for ByClock<S, F> {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn let_time_pass(&self, _: &RecordKey<'_>, time: Duration) {
        (self.1)(time);
    }
}

impl<S: Maintenance, F: Fn(Duration)> MaintainedSubject for ByClock<S, F> {
    fn maintenance(&self) -> &dyn Maintenance {
        &self.0
    }
}

fn memory() -> impl MaintainedSubject {
    let (now, pass) = clock();
    ByClock(MemoryStore::with_clock(now), pass)
}

fn sqlite_by_clock(folder: &TempDir) -> impl MaintainedSubject {
    let (now, pass) = clock();
    ByClock(SqliteStore::with_clock(folder.path().join("sessions.db"), now), pass)
}

// ---- Several processes ----

shared_contract_tests!(sqlite_among_processes, Forks(Place::sqlite(), open_sqlite), in_own_process_of);
shared_contract_tests!(redis_among_processes, Forks(Place::redis(), open_redis), in_own_process_of);
shared_contract_tests!(
    cluster_among_processes,
    Forks(Place::Cluster(Cluster::start(3)), open_redis),
    in_own_process_of
);

/// A place, and what opens the store in it.
struct Forks<S>(Place, fn(&Place) -> S);

impl<S: Store> SharedSubject for Forks<S> {
    fn open(&self) -> Box<dyn Store> {
        Box::new((self.1)(&self.0))
    }

    fn in_processes(&self, count: usize, work: &dyn Fn(usize)) {
        children(count, |number| {
            work(number);
            String::new()
        });
    }
}
