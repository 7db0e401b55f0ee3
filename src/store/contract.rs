//! The suite that every [`Store`] has to pass, for those who write one (feature `contract`).
//!
//! [`check`] tries each promise of the trait's contract in one process; [`check_shared`] tries, with several processes at
//! once, those that a store for several processes makes. Both panic where a promise is broken, and say which.
//! `examples/custom_store.rs` shows a store and how it is checked.

use crate::deadline::Deadline;
use crate::error::StoreErrorKind;
use crate::lifetime::{Lifetime, Refresh};
use crate::store::Store;
use crate::store::call::Call;
use crate::store::forward::TRAIL;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::{Join, NewRecord, Record, RecordInfo, SessionInfo, Size, Values};
use crate::store::refusal::Refusal;
use crate::store::update::{Change, ChangeSet, Update, Updated};
use crate::token::{GroupTag, PublicId};
use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime};

/// A store to be checked.
pub trait Subject {
    /// The store.
    fn store(&self) -> &dyn Store;

    /// Lets time pass for this record, at least. A store that takes the time from a clock of the test's can move that;
    /// for any other, let all the times that are kept with the record lie earlier by as much.
    fn let_time_pass(&self, key: &RecordKey<'_>, time: Duration);
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const GRACE: Duration = Duration::from_secs(4 * 60);
const LIMIT: usize = 1000;
const SIZE_LIMIT: Size = Size { keys: 20, bytes: LIMIT };
const LIFETIME: Lifetime =
    Lifetime { idle_timeout: HOUR, absolute_timeout: None, refresh: Refresh::After(Duration::from_secs(60)) };
const PROCESSES: usize = 4;

/// Checks the contract of [`Store`] in one process.
///
/// # Panics
/// Where a promise is broken.
pub fn check(subject: &dyn Subject) {
    let suite = Suite(subject);
    suite.create_never_overwrites();
    suite.what_is_not_alive_is_nothing();
    suite.a_load_refreshes_when_that_is_due();
    suite.nothing_outlives_its_absolute_timeout();
    suite.an_update_changes_what_it_names();
    suite.an_update_is_made_wholly_or_not_at_all();
    suite.the_size_limit_holds_for_the_result();
    suite.the_limit_of_keys_holds_for_the_result();
    suite.stricter_settings_hold_for_what_exists();
    suite.a_session_is_short_lived_until_its_first_load();
    suite.an_idle_timeout_ends_with_the_login_that_it_was_for();
    suite.an_old_key_ends_the_session_for_a_while();
    suite.sparing_a_session_ends_its_graces();
    suite.a_namespace_ends_as_one();
    suite.an_update_of_what_has_ended_is_gone();
    suite.every_update_moves_the_version();
    suite.a_record_moves_to_its_new_key();
    suite.a_delete_ends_it_and_may_be_repeated();
    suite.what_is_sent_twice_is_applied_once();
    suite.a_create_that_is_sent_again_brings_nothing_back();
    suite.any_text_is_kept_as_it_is();
    suite.a_tag_is_part_of_the_key();
    suite.a_session_joins_and_leaves_a_group();
    suite.a_group_ends_as_one();
    suite.a_group_has_no_more_sessions_than_it_may();
    suite.the_order_of_joining_is_exact();
    suite.what_has_ended_is_in_no_group();
    suite.an_old_key_leads_to_the_record_for_a_grace();
    suite.a_call_whose_time_is_up_ends();
}

struct Suite<'a>(&'a dyn Subject);

/// A key that nothing is kept under.
fn fresh_key() -> RecordKey<'static> {
    let id = PublicId::random().expect("the operating system gives random bytes");
    RecordKey { namespace: "contract", tag: None, id }
}

fn call() -> Call {
    Call::until(Deadline::after(Duration::from_secs(60))).expect("the operating system gives random bytes")
}

fn fresh_group() -> GroupKey<'static> {
    GroupKey { namespace: "contract", tag: GroupTag::random().expect("the operating system gives random bytes") }
}

const MEMBER: Join<'static> = Join { name: "a group", max_sessions: None };

/// Creates a session in a group.
fn member(store: &dyn Store, group: &GroupKey<'static>, values: &[(&str, &str)]) -> RecordKey<'static> {
    member_of(store, group, values, MEMBER)
}

fn member_of(
    store: &dyn Store,
    group: &GroupKey<'static>,
    values: &[(&str, &str)],
    join: Join<'_>,
) -> RecordKey<'static> {
    let key = group.session(fresh_key().id);
    let record = NewRecord { join: Some(join), ..record(values) };
    let info = store.create(&key, &record, &call()).expect("create works: the key is fresh");
    assert_eq!(info.joined_at, Some(info.created_at), "promise 8: it is created in its group");
    key
}

fn sessions(store: &dyn Store, group: &GroupKey<'_>) -> Vec<SessionInfo> {
    let sessions = store.group_sessions(group, &["a", "z"], &call()).expect("group_sessions works");
    let len = store.group_len(group, &call()).expect("group_len works");
    assert_eq!(len, sessions.len(), "promise 8: as many as it lists");
    sessions
}

/// The ids of the live sessions of a group.
fn ids(store: &dyn Store, group: &GroupKey<'_>) -> Vec<PublicId> {
    let mut ids: Vec<PublicId> = sessions(store, group).iter().map(SessionInfo::public_id).collect();
    ids.sort();
    ids
}

fn sorted<const N: usize>(keys: [RecordKey<'_>; N]) -> Vec<PublicId> {
    let mut ids: Vec<PublicId> = keys.iter().map(|key| key.id).collect();
    ids.sort();
    ids
}

fn record(values: &[(&str, &str)]) -> NewRecord<'static> {
    NewRecord {
        values: values.iter().map(|(key, json)| (key.to_string(), json.to_string())).collect(),
        size_limit: SIZE_LIMIT,
        lifetime: LIFETIME,
        idle_timeout: None,
        unconfirmed_timeout: None,
        join: None,
    }
}

fn changes<const N: usize>(keys: [(&str, Change); N]) -> ChangeSet {
    ChangeSet { keys: keys.into_iter().map(|(key, change)| (key.to_owned(), change)).collect(), ..ChangeSet::default() }
}

fn set(json: &str) -> Change {
    Change::Set(json.to_owned())
}

fn update(changes: &ChangeSet) -> Update<'_> {
    Update {
        changes,
        expected: None,
        holds: None,
        size_limit: SIZE_LIMIT,
        lifetime: LIFETIME,
        new_key: None,
        grace: None,
        join: None,
        known: None,
    }
}

/// Creates a record with these values.
fn created(store: &dyn Store, values: &[(&str, &str)]) -> (RecordKey<'static>, RecordInfo) {
    let key = fresh_key();
    let info = store.create(&key, &record(values), &call()).expect("create works: the key is fresh");
    (key, info)
}

fn with(refresh: Refresh) -> Lifetime {
    Lifetime { refresh, ..LIFETIME }
}

fn load(store: &dyn Store, key: &RecordKey<'_>) -> Option<Record> {
    store.load(key, &LIFETIME, &call()).expect("load works")
}

fn values(store: &dyn Store, key: &RecordKey<'_>) -> Vec<(String, String)> {
    load(store, key).expect("the record is alive").values.into_iter().collect()
}

fn pairs(values: &[(&str, &str)]) -> Vec<(String, String)> {
    record(values).values.into_iter().collect()
}

/// A full life, less what the call took.
fn assert_life(info: &RecordInfo, idle_timeout: Duration) {
    let life = Refresh::default().stored_life(idle_timeout);
    let left = life - Duration::from_secs(10)..=life;
    assert!(left.contains(&info.expires_in), "promise 3: {:?} is no full life of {life:?}", info.expires_in);
}

/// The same, apart from rounding.
fn assert_near(one: SystemTime, other: SystemTime) {
    let apart = one.duration_since(other).unwrap_or_else(|error| error.duration());
    assert!(apart < Duration::from_millis(50), "promise 3: {one:?} is not {other:?}");
}

fn is_gone<T: Debug>(answer: Result<T, Refusal>) {
    assert!(matches!(answer, Err(Refusal::Gone)), "promise 5: an update of what has ended is Gone, not {answer:?}");
}

impl Suite<'_> {
    fn store(&self) -> &dyn Store {
        self.0.store()
    }

    fn update(&self, key: &RecordKey<'_>, changes: &ChangeSet) -> Result<Updated, Refusal> {
        self.store().update(key, &update(changes), &call())
    }

    fn create_never_overwrites(&self) {
        let (key, _) = created(self.store(), &[("a", "1")]);
        let again = self.store().create(&key, &record(&[("a", "2")]), &call());
        assert!(matches!(again, Err(Refusal::IdTaken)), "promise 1: a taken key is IdTaken, not {again:?}");
        assert_eq!(values(self.store(), &key), pairs(&[("a", "1")]), "promise 1: create never overwrites");
        let refused = fresh_key();
        let too_large = self.store().create(&refused, &record(&[("a", &"9".repeat(LIMIT))]), &call());
        assert!(matches!(too_large, Err(Refusal::TooLarge { .. })), "promise 4: the size limit, not {too_large:?}");
        assert!(load(self.store(), &refused).is_none(), "promise 4: what is refused is not kept");
        let (empty, _) = created(self.store(), &[]);
        assert_eq!(values(self.store(), &empty), [], "promise 1: a record may be empty");
    }

    fn what_is_not_alive_is_nothing(&self) {
        assert!(load(self.store(), &fresh_key()).is_none(), "promise 2: what is unknown is nothing");
        let (ended, _) = created(self.store(), &[("a", "1")]);
        self.store().delete(&ended, &call()).expect("delete works");
        assert!(load(self.store(), &ended).is_none(), "promise 2: what has ended is nothing");
        let (expired, info) = created(self.store(), &[("a", "1")]);
        assert_life(&info, HOUR);
        self.0.let_time_pass(&expired, HOUR);
        let loaded = self.store().load(&expired, &with(Refresh::Never), &call()).expect("load works");
        assert!(loaded.is_some(), "promise 3: nothing expires early");
        self.0.let_time_pass(&expired, HOUR);
        assert!(load(self.store(), &expired).is_none(), "promise 2: what has expired is nothing");
        let new = self.store().create(&expired, &record(&[("b", "1")]), &call());
        new.expect("promise 2: the key of what has expired is free");
        assert_eq!(values(self.store(), &expired), pairs(&[("b", "1")]), "promise 2: nothing is left of what expired");
    }

    fn a_load_refreshes_when_that_is_due(&self) {
        let (key, created) = created(self.store(), &[("a", "1")]);
        let record = load(self.store(), &key).expect("it is alive");
        assert!(!record.refreshed, "promise 3: not due yet");
        self.0.let_time_pass(&key, HOUR / 2);
        let record = self.store().load(&key, &with(Refresh::Never), &call()).expect("load works").expect("it is alive");
        assert!(!record.refreshed, "promise 3: Never means never");
        assert!(record.info.expires_in <= HOUR, "promise 3: time has passed");
        let record = load(self.store(), &key).expect("it is alive");
        assert!(record.refreshed, "promise 3: it was due");
        assert_life(&record.info, HOUR);
        assert_eq!(record.info.version, created.version, "promise 6: a refresh does not move the version");
        let record = load(self.store(), &key).expect("it is alive");
        assert!(!record.refreshed, "promise 3: not due again so soon");
        assert_eq!(record.info.version, created.version, "promise 6: a refresh does not move the version");
        let record =
            self.store().load(&key, &with(Refresh::EveryLoad), &call()).expect("load works").expect("it is alive");
        assert!(!record.refreshed, "promise 3: a refresh never shortens a life");
        for _ in 0..2 {
            self.0.let_time_pass(&key, HOUR / 2);
            let record =
                self.store().load(&key, &with(Refresh::EveryLoad), &call()).expect("load works").expect("it is alive");
            assert!(record.refreshed, "promise 3: EveryLoad means every one");
            assert!(record.info.expires_in > HOUR - Duration::from_secs(10), "promise 3: {:?}", record.info);
        }
    }

    fn nothing_outlives_its_absolute_timeout(&self) {
        let key = fresh_key();
        let record = NewRecord {
            lifetime: Lifetime { absolute_timeout: Some(HOUR + HOUR / 2), ..LIFETIME },
            ..record(&[("a", "1")])
        };
        self.store().create(&key, &record, &call()).expect("create works");
        self.0.let_time_pass(&key, HOUR);
        let longer = ChangeSet { idle_timeout: Some(10 * HOUR), ..ChangeSet::default() };
        let updated = self.update(&key, &longer).expect("update works");
        assert_eq!(updated.info.idle_timeout, 10 * HOUR, "promise 4: the new idle timeout");
        assert!(updated.info.expires_in <= HOUR / 2, "promise 2: {:?}", updated.info);
        let record = load(self.store(), &key).expect("it is alive");
        assert!(record.info.expires_in <= HOUR / 2, "promise 2: {:?}", record.info);
        assert!(!record.refreshed, "promise 3: there is nothing to extend");
        let new = fresh_key();
        let moved = self.store().update(&key, &Update { new_key: Some(new), ..update(&changes([])) }, &call());
        let moved = moved.expect("update works").info;
        assert!(moved.expires_in <= HOUR / 2, "promise 2: a move does not touch the absolute timeout: {moved:?}");
        assert_eq!(moved.ends_at, record.info.ends_at, "promise 2: nor forget it");
        self.0.let_time_pass(&new, HOUR / 2);
        assert!(load(self.store(), &new).is_none(), "promise 2: the absolute timeout ends it");
    }

    fn an_update_changes_what_it_names(&self) {
        let (key, _) = created(self.store(), &[("a", "1"), ("b", "2"), ("c", "3")]);
        let change = changes([
            ("a", set("10")),
            ("b", Change::Remove),
            ("d", set("4")),
            ("none", Change::Remove),
            ("c", Change::Increment(-5)),
            ("new", Change::Increment(7)),
        ]);
        let updated = self.update(&key, &change).expect("update works");
        let totals = [("c".to_owned(), -2), ("new".to_owned(), 7)];
        assert_eq!(updated.totals, totals, "promise 4: what the increments led to");
        let expected = pairs(&[("a", "10"), ("c", "-2"), ("d", "4"), ("new", "7")]);
        assert_eq!(values(self.store(), &key), expected, "promise 4: all changes, and no other");
        self.0.let_time_pass(&key, HOUR / 4);
        let left =
            self.store().load(&key, &with(Refresh::Never), &call()).expect("load works").expect("it is alive").info;
        let updated = self.update(&key, &changes([("a", set("11"))])).expect("update works");
        assert!(updated.info.expires_in <= left.expires_in, "promise 3: loads extend a life, updates do not");
        let change = ChangeSet { clear: true, ..changes([("c", Change::Increment(3)), ("e", set("5"))]) };
        let updated = self.update(&key, &change).expect("update works");
        assert_eq!(updated.totals, [("c".to_owned(), 3)], "promise 4: clear comes first");
        assert_eq!(values(self.store(), &key), pairs(&[("c", "3"), ("e", "5")]), "promise 4: clear forgets the rest");
        self.update(&key, &ChangeSet { clear: true, ..ChangeSet::default() }).expect("update works");
        assert_eq!(values(self.store(), &key), [], "promise 4: cleared, and still alive");
        let updated = self.update(&key, &ChangeSet { idle_timeout: Some(10 * HOUR), ..ChangeSet::default() });
        assert_life(&updated.expect("update works").info, 10 * HOUR);
    }

    fn an_update_is_made_wholly_or_not_at_all(&self) {
        let most = i64::MAX.to_string();
        let (key, before) = created(self.store(), &[("a", "1"), ("most", &most), ("text", "\"x\"")]);
        for culprit in ["most", "text"] {
            let change = ChangeSet {
                idle_timeout: Some(2 * HOUR),
                ..changes([
                    ("a", Change::Remove),
                    ("b", set("2")),
                    ("count", Change::Increment(1)),
                    (culprit, Change::Increment(1)),
                    ("z", set("3")),
                ])
            };
            let answer = self.update(&key, &change);
            assert!(
                matches!(&answer, Err(Refusal::NotAnInteger { key, .. }) if key == culprit),
                "promise 4: {culprit} cannot be added to, but the answer is {answer:?}"
            );
            let after = load(self.store(), &key).expect("it is alive");
            assert_eq!(after.info.version, before.version, "promise 6: a refused update moves no version");
            assert_eq!(after.info.idle_timeout, before.idle_timeout, "promise 4: nothing of it is applied");
            let expected = pairs(&[("a", "1"), ("most", &most), ("text", "\"x\"")]);
            assert_eq!(values(self.store(), &key), expected, "promise 4: nothing of it is applied");
        }
        for (before, by) in [(i64::MAX - 1, 1), (i64::MIN, i64::MAX), (0, i64::MIN), (1 << 53, 1), (-1, 1)] {
            let change = changes([("n", set(&before.to_string()))]);
            self.update(&key, &change).expect("update works");
            let updated = self.update(&key, &changes([("n", Change::Increment(by))])).expect("update works");
            assert_eq!(updated.totals, [("n".to_owned(), before + by)], "promise 4: sums are exact");
        }
    }

    fn the_size_limit_holds_for_the_result(&self) {
        let (key, _) = created(self.store(), &[("a", "1")]);
        let fits = "9".repeat(LIMIT - 3);
        for (json, fits) in [(format!("{fits}9"), false), (fits, true)] {
            let answer = self.update(&key, &changes([("b", set(&json))]));
            match answer {
                Ok(_) if fits => {}
                Err(Refusal::TooLarge { bytes: size, limit: LIMIT, .. }) if !fits => {
                    assert_eq!(size, LIMIT + 1, "promise 4: the size is exact");
                }
                other => panic!("promise 4: the size limit holds to the byte: {other:?}"),
            }
        }
        let answer = self.update(&key, &changes([("a", Change::Increment(9))]));
        assert!(matches!(answer, Err(Refusal::TooLarge { .. })), "promise 4: an increment counts too: {answer:?}");
        let wide = changes([("ü", set("\"ü\"")), ("b", set(&"9".repeat(LIMIT - 8)))]);
        let answer = self.update(&key, &wide);
        assert!(
            matches!(answer, Err(Refusal::TooLarge { bytes: size, .. }) if size == LIMIT + 1),
            "promise 4: bytes: {answer:?}"
        );
        let smaller = changes([("b", set("1")), ("a", Change::Increment(9))]);
        self.update(&key, &smaller).expect("promise 4: what is replaced does not count");
        let size = Size::of(&load(self.store(), &key).expect("it is alive").values).bytes;
        let rest = "9".repeat(LIMIT - size - 1);
        self.update(&key, &changes([("c", set(&rest))])).expect("promise 4: the size does not drift");
        let strict = Update { size_limit: Size { bytes: 10, ..SIZE_LIMIT }, ..update(&smaller) };
        let answer = self.store().update(
            &key,
            &Update { size_limit: Size { bytes: 10, ..SIZE_LIMIT }, ..update(&changes([("d", set("1"))])) },
            &call(),
        );
        assert!(matches!(answer, Err(Refusal::TooLarge { .. })), "promise 4: {answer:?}");
        let shrink = changes([("c", Change::Remove)]);
        self.store()
            .update(&key, &Update { changes: &shrink, ..strict }, &call())
            .expect("promise 4: what is too large may become smaller");
    }

    fn the_limit_of_keys_holds_for_the_result(&self) {
        let names: Vec<String> = (0..=SIZE_LIMIT.keys).map(|number| format!("k{number}")).collect();
        let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let too_many = self.store().create(&fresh_key(), &record(&all), &call());
        assert!(matches!(too_many, Err(Refusal::TooManyKeys { keys: 21, limit: 20, .. })), "promise 4: {too_many:?}");
        let (key, _) = created(self.store(), &all[1..]);
        for one_more in [set("1"), Change::Increment(1)] {
            let answer = self.update(&key, &changes([("k0", one_more)]));
            assert!(matches!(answer, Err(Refusal::TooManyKeys { keys: 21, limit: 20, .. })), "promise 4: {answer:?}");
        }
        let swap = changes([("k1", Change::Remove), ("none", Change::Remove), ("k2", set("2")), ("k0", set("1"))]);
        self.update(&key, &swap).expect("promise 4: the result counts");
        let answer = self.update(&key, &changes([("k1", set("1"))]));
        assert!(matches!(answer, Err(Refusal::TooLarge { .. })), "promise 4: the number does not drift: {answer:?}");
        let fewer = changes([("k0", Change::Remove)]);
        let strict = Update { size_limit: Size { keys: 5, ..SIZE_LIMIT }, ..update(&fewer) };
        self.store().update(&key, &strict, &call()).expect("promise 4: what is too large may become smaller");
        let cleared = ChangeSet { clear: true, ..changes([("a", set("1"))]) };
        self.update(&key, &cleared).expect("update works");
        self.update(&key, &changes([("b", set("1"))])).expect("promise 4: what was cleared does not count");
    }

    fn stricter_settings_hold_for_what_exists(&self) {
        let strict = Lifetime { idle_timeout: HOUR / 4, absolute_timeout: Some(HOUR), ..LIFETIME };
        let load = |key: &RecordKey<'_>| self.store().load(key, &strict, &call()).expect("load works");
        let (unused, _) = created(self.store(), &[("a", "1")]);
        let (used, _) = created(self.store(), &[("a", "1")]);
        let loaded = load(&used).expect("promise 3: it was used just now");
        assert!(loaded.refreshed, "promise 3: its life is too long");
        assert_life(&loaded.info, HOUR / 4);
        for key in [&unused, &used] {
            self.0.let_time_pass(key, HOUR / 2);
            assert!(load(key).is_none(), "promise 3: it was idle for longer than a session may be now");
        }
        is_gone(self.store().update(&unused, &Update { lifetime: strict, ..update(&changes([])) }, &call()));
        let (key, _) = created(self.store(), &[("a", "1")]);
        for _ in 0..5 {
            self.0.let_time_pass(&key, HOUR / 5);
            load(&key);
        }
        assert!(load(&key).is_none(), "promise 3: the absolute timeout holds too");

        let own = fresh_key();
        let record = NewRecord { idle_timeout: Some(3 * HOUR), ..record(&[("a", "1")]) };
        self.store().create(&own, &record, &call()).expect("create works");
        self.0.let_time_pass(&own, HOUR / 2);
        let loaded = load(&own).expect("promise 3: it has an idle timeout of its own");
        assert_eq!(loaded.info.idle_timeout, 3 * HOUR, "promise 3: which stays");
    }

    fn a_session_is_short_lived_until_its_first_load(&self) {
        for refresh in [LIFETIME.refresh, Refresh::EveryLoad, Refresh::Never] {
            let lifetime = with(refresh);
            let load = |key: &RecordKey<'_>| self.store().load(key, &lifetime, &call()).expect("load works");
            let record = NewRecord { lifetime, unconfirmed_timeout: Some(HOUR / 10), ..record(&[("a", "1")]) };
            let [forgotten, used] = [fresh_key(), fresh_key()];
            for key in [&forgotten, &used] {
                let info = self.store().create(key, &record, &call()).expect("create works: the key is fresh");
                assert!(info.expires_in <= HOUR / 10, "promise 3: {info:?}");
            }
            self.update(&used, &changes([("b", set("1"))])).expect("update works");
            for _ in 0..2 {
                let longer = ChangeSet { idle_timeout: Some(HOUR), ..ChangeSet::default() };
                let updated = self.update(&used, &longer).expect("update works");
                assert!(updated.info.expires_in <= HOUR / 10, "promise 3: no save confirms it: {:?}", updated.info);
            }
            let record = load(&used).expect("promise 3: it is alive");
            assert!(record.refreshed, "promise 3: the first load gives it its full life");
            assert!(record.info.expires_in > HOUR - Duration::from_secs(10), "promise 3: {:?}", record.info);
            for key in [&forgotten, &used] {
                self.0.let_time_pass(key, HOUR / 9);
            }
            assert!(load(&forgotten).is_none(), "promise 3: nobody came back");
            let refreshed = load(&used).expect("promise 3: it has its full life").refreshed;
            assert_eq!(refreshed, refresh != Refresh::Never, "promise 3: once");
        }
    }

    fn an_idle_timeout_ends_with_the_login_that_it_was_for(&self) {
        let group = fresh_group();
        let long = ChangeSet { idle_timeout: Some(10 * HOUR), ..ChangeSet::default() };
        let none = changes([]);
        for (to, join) in [(fresh_key(), None), (fresh_group().session(fresh_key().id), Some(MEMBER))] {
            let from = member(self.store(), &group, &[("a", "1")]);
            self.update(&from, &long).expect("update works");
            let again = group.session(fresh_key().id);
            let relogin = Update { new_key: Some(again), join: Some(MEMBER), ..update(&none) };
            let info = self.store().update(&from, &relogin, &call()).expect("update works").info;
            assert_eq!(info.idle_timeout, 10 * HOUR, "promise 3: the same user keeps it");
            let leave = Update { new_key: Some(to), join, ..update(&none) };
            let info = self.store().update(&again, &leave, &call()).expect("update works").info;
            assert_life(&info, HOUR);
            assert_eq!(info.idle_timeout, HOUR, "promise 3: another one does not");
        }
    }

    fn an_old_key_ends_the_session_for_a_while(&self) {
        for old in [fresh_key(), fresh_group().session(fresh_key().id)] {
            self.store().create(&old, &record_like(old), &call()).expect("create works");
            let [new, newer] = [(); 2].map(|()| RecordKey { id: fresh_key().id, ..old });
            let none = changes([]);
            for (from, to) in [(old, new), (new, newer)] {
                let moved = Update { new_key: Some(to), ..update(&none) };
                self.store().update(&from, &moved, &call()).expect("update works");
            }
            self.0.let_time_pass(&old, TRAIL / 2);
            assert!(load(self.store(), &old).is_none(), "promise 13: it leads nowhere otherwise");
            assert!(self.store().delete(&old, &call()).expect("delete works"), "promise 13: it was alive");
            assert!(load(self.store(), &newer).is_none(), "promise 13: it has ended");
        }
        let old = fresh_key();
        self.store().create(&old, &record_like(old), &call()).expect("create works");
        let joined = fresh_group().session(fresh_key().id);
        let none = changes([]);
        let login = Update { new_key: Some(joined), join: Some(MEMBER), ..update(&none) };
        self.store().update(&old, &login, &call()).expect("update works");
        assert!(!self.store().delete(&old, &call()).expect("delete works"), "promise 13: not after a login");
        assert!(load(self.store(), &joined).is_some(), "promise 13: whoever planted the old id ends nothing");
    }

    fn sparing_a_session_ends_its_graces(&self) {
        let group = fresh_group();
        let old = member(self.store(), &group, &[("a", "1")]);
        let [new, newer] = [(); 2].map(|()| group.session(fresh_key().id));
        let none = changes([]);
        for (from, to) in [(old, new), (new, newer)] {
            let moved = Update { new_key: Some(to), grace: Some(GRACE), ..update(&none) };
            self.store().update(&from, &moved, &call()).expect("update works");
        }
        let other = member(self.store(), &group, &[("a", "2")]);
        // The one that stays may be named by an id that it had before.
        let ended = self.store().clear_group(&group, Some(old.id), &call()).expect("clear_group works");
        assert_eq!(ended, 1, "promise 12: all but the one that is spared");
        assert_eq!(ids(self.store(), &group), [newer.id], "promise 12: all but the one that is spared");
        for key in [old, new, other] {
            assert!(load(self.store(), &key).is_none(), "promise 12: no grace is left");
            is_gone(self.update(&key, &changes([("a", set("9"))])));
        }
        assert!(load(self.store(), &newer).is_some(), "promise 12: it is spared");
        let last = group.session(fresh_key().id);
        let moved = Update { new_key: Some(last), grace: Some(GRACE), ..update(&none) };
        self.store().update(&newer, &moved, &call()).expect("update works");
        assert!(load(self.store(), &newer).is_some(), "promise 12: a later grace is one");
        for key in [old, new] {
            assert!(load(self.store(), &key).is_none(), "promise 12: it does not bring the earlier ones back");
        }
        // A session of another group is not spared, and not touched.
        self.store().clear_group(&fresh_group(), Some(last.id), &call()).expect("clear_group works");
        assert!(load(self.store(), &newer).is_some(), "promise 12: its grace goes on");
    }

    fn a_namespace_ends_as_one(&self) {
        let id = fresh_key().id.to_string();
        let (namespace, spared) = (format!("ended-{id}"), format!("spared-{id}"));
        let [group, spared_group] = [&namespace, &spared].map(|namespace| GroupKey { namespace, ..fresh_group() });
        fn keys<'a>(group: &GroupKey<'a>) -> [RecordKey<'a>; 2] {
            let alone = RecordKey { tag: None, ..group.session(fresh_key().id) };
            [alone, group.session(fresh_key().id)]
        }
        let (before, others) = (keys(&group), keys(&spared_group));
        for key in before.iter().chain(&others) {
            self.store().create(key, &record_like(*key), &call()).expect("create works: the key is fresh");
        }
        let sent = call();
        for _ in 0..2 {
            self.store().clear_namespace(&namespace, &sent).expect("clear_namespace works");
        }
        for key in &before {
            assert!(load(self.store(), key).is_none(), "promise 14: it has ended");
            is_gone(self.update(key, &changes([("a", set("9"))])));
            assert!(!self.store().delete(key, &call()).expect("delete works"), "promise 14: it was not alive");
        }
        assert_eq!(self.store().group_len(&group, &call()).expect("group_len works"), 0, "promise 14: it is empty");
        for key in &others {
            assert!(load(self.store(), key).is_some(), "promise 14: no other namespace is touched");
        }
        let after = keys(&group);
        for key in &after {
            self.store().create(key, &record_like(*key), &call()).expect("create works: the key is fresh");
            assert!(load(self.store(), key).is_some(), "promise 14: what comes afterwards lives");
        }
        let sessions = self.store().group_sessions(&group, &[], &call()).expect("group_sessions works");
        assert_eq!(sessions.len(), 1, "promise 14: only what comes afterwards is listed");
        assert_eq!(self.store().group_len(&group, &call()).expect("group_len works"), 1, "promise 14: or counted");
        let stays = Some(after[1].id);
        let ended = self.store().clear_group(&group, stays, &call()).expect("clear_group works");
        assert_eq!(ended, 0, "promise 14: what had ended does not count");
        self.store().check_writes(&namespace, &call()).expect("sessions can be written");
        assert!(load(self.store(), &after[1]).is_some(), "a check of writes touches nothing else");
    }

    fn an_update_of_what_has_ended_is_gone(&self) {
        let change = changes([("a", set("1"))]);
        is_gone(self.update(&fresh_key(), &change));
        let (ended, _) = created(self.store(), &[("a", "1")]);
        self.store().delete(&ended, &call()).expect("delete works");
        is_gone(self.update(&ended, &change));
        let (expired, _) = created(self.store(), &[("a", "1")]);
        self.0.let_time_pass(&expired, 2 * HOUR);
        is_gone(self.update(&expired, &change));
        is_gone(self.store().update(&ended, &Update { new_key: Some(fresh_key()), ..update(&change) }, &call()));
        for key in [ended, expired] {
            assert!(load(self.store(), &key).is_none(), "promise 5: an update brings nothing back");
        }
        // Nor does it touch the record that its new key belongs to.
        let (other, _) = created(self.store(), &[("a", "9")]);
        let onto = Update { new_key: Some(other), ..update(&change) };
        let answer = self.store().update(&ended, &onto, &call());
        assert!(matches!(answer, Err(Refusal::Gone | Refusal::IdTaken)), "promise 5: {answer:?}");
        assert_eq!(values(self.store(), &other), pairs(&[("a", "9")]), "promise 1: another record stays as it is");
    }

    fn every_update_moves_the_version(&self) {
        let (key, created) = created(self.store(), &[("a", "1")]);
        let change = changes([("a", set("2"))]);
        let expecting = |expected| Update { expected: Some(expected), ..update(&change) };
        let first = self.store().update(&key, &expecting(created.version), &call()).expect("the version is right");
        assert_ne!(first.info.version, created.version, "promise 6: an update moves the version");
        for wrong in [created.version, first.info.version + 1] {
            let answer = self.store().update(&key, &expecting(wrong), &call());
            assert!(
                matches!(answer, Err(Refusal::Conflict)),
                "promise 6: another version is a Conflict, not {answer:?}"
            );
            let moving = Update { new_key: Some(fresh_key()), ..expecting(wrong) };
            let answer = self.store().update(&key, &moving, &call());
            assert!(matches!(answer, Err(Refusal::Conflict)), "promise 6: also for a move, not {answer:?}");
        }
        let loaded = load(self.store(), &key).expect("it is alive");
        // When it expires may be off by what rounding makes of it.
        let standing = |info: &RecordInfo| (info.version, info.created_at, info.ends_at, info.idle_timeout);
        assert_eq!(standing(&loaded.info), standing(&first.info), "promise 6: a load tells how it stands");
        self.store().update(&key, &expecting(loaded.info.version), &call()).expect("promise 6: the version is right");
        self.update(&key, &change).expect("promise 6: any version is right where none is expected");

        let holding = |json| Update { holds: Some(("a", json)), ..update(&change) };
        let first = self.store().update(&key, &holding("2"), &call()).expect("promise 6: the value is right");
        for absent in [Update { holds: Some(("b", "2")), ..update(&change) }, holding("3"), holding("")] {
            let answer = self.store().update(&key, &absent, &call());
            assert!(matches!(answer, Err(Refusal::Conflict)), "promise 6: another value is a Conflict, not {answer:?}");
        }
        assert_eq!(load_info(self.store(), &key).version, first.info.version, "promise 6: nothing was applied");
    }

    fn a_record_moves_to_its_new_key(&self) {
        let (old, before) = created(self.store(), &[("a", "1"), ("b", "2")]);
        self.0.let_time_pass(&old, HOUR / 2);
        let before = RecordInfo { created_at: before.created_at, ..load_info(self.store(), &old) };
        let created_at = load_info(self.store(), &old).created_at;
        let new = fresh_key();
        let change = changes([("b", set("3")), ("c", Change::Increment(4))]);
        let moving = Update { new_key: Some(new), ..update(&change) };
        let updated = self.store().update(&old, &moving, &call()).expect("update works");
        assert_eq!(updated.totals, [("c".to_owned(), 4)], "promise 4: what the increments led to");
        assert_life(&updated.info, HOUR);
        assert!(load(self.store(), &old).is_none(), "promise 4: nothing is left under the old key");
        is_gone(self.store().update(&old, &Update { new_key: Some(fresh_key()), ..moving }, &call()));
        assert_eq!(
            values(self.store(), &new),
            pairs(&[("a", "1"), ("b", "3"), ("c", "4")]),
            "promise 4: all of it moves"
        );
        let after = load_info(self.store(), &new);
        assert_eq!(after.created_at, created_at, "promise 4: a move keeps the time of creation");
        assert_ne!(after.version, before.version, "promise 6: a move moves the version");
        let (other, _) = created(self.store(), &[("a", "9")]);
        let answer = self.store().update(&other, &Update { new_key: Some(new), ..update(&change) }, &call());
        assert!(matches!(answer, Err(Refusal::IdTaken)), "promise 1: a taken key is refused, not {answer:?}");
        let refused = changes([("a", set("1")), ("b", set(&"9".repeat(LIMIT)))]);
        let answer = self.store().update(&other, &Update { new_key: Some(fresh_key()), ..update(&refused) }, &call());
        assert!(matches!(answer, Err(Refusal::TooLarge { .. })), "promise 4: {answer:?}");
        assert_eq!(values(self.store(), &other), pairs(&[("a", "9")]), "promise 4: nothing of it is applied");

        let expired = fresh_key();
        self.store().create(&expired, &record(&[("a", "1")]), &call()).expect("create works");
        self.0.let_time_pass(&expired, 2 * HOUR);
        let (mover, _) = created(self.store(), &[("m", "1")]);
        let onto = Update { new_key: Some(expired), ..update(&change) };
        self.store().update(&mover, &onto, &call()).expect("promise 2: the key of what has expired is free");
        assert_eq!(values(self.store(), &expired), pairs(&[("b", "3"), ("c", "4"), ("m", "1")]), "promise 2");
    }

    fn a_delete_ends_it_and_may_be_repeated(&self) {
        let (key, _) = created(self.store(), &[("a", "1")]);
        let (other, _) = created(self.store(), &[("a", "2")]);
        for was_alive in [true, false] {
            let answer = self.store().delete(&key, &call()).expect("promise 7: delete may be repeated");
            assert_eq!(answer, was_alive, "promise 7: it says whether it was alive");
            assert!(load(self.store(), &key).is_none(), "promise 7: it has ended");
        }
        assert_eq!(values(self.store(), &other), pairs(&[("a", "2")]), "promise 7: no other has");
    }

    fn what_is_sent_twice_is_applied_once(&self) {
        let (key, sent) = (fresh_key(), call());
        for _ in 0..2 {
            let created = self.store().create(&key, &record(&[("n", "1")]), &sent);
            created.expect("promise 9: the second answer is as the first");
        }
        let change = changes([("n", Change::Increment(10))]);
        // Two dozen are remembered, the one that created it not counted.
        let calls: Vec<Call> = (0..24).map(|_| call()).collect();
        for sent in calls.iter().chain(&calls) {
            let updated = self.store().update(&key, &update(&change), sent).expect("update works");
            assert!(updated.totals[0].1 <= 241, "promise 9: applied once");
        }
        assert_eq!(values(self.store(), &key), pairs(&[("n", "241")]), "promise 9: applied once");
        self.update(&key, &changes([("n", set("41"))])).expect("update works");
        // What was refused was not applied.
        let (refused, strict) = (call(), Update { expected: Some(u64::from(u32::MAX)), ..update(&change) });
        assert!(self.store().update(&key, &strict, &refused).is_err(), "promise 6: another version is a Conflict");
        let updated = self.store().update(&key, &update(&changes([("n", Change::Increment(0))])), &refused);
        assert_eq!(updated.expect("update works").totals, [("n".to_owned(), 41)], "promise 9: it counts as new");
        let answer = self.store().update(&key, &strict, &call());
        assert!(matches!(answer, Err(Refusal::Conflict)), "promise 6: another version is a Conflict, not {answer:?}");
        // Nor does it meet the conditions again.
        let version = load_info(self.store(), &key).version;
        let (new, sent) = (fresh_key(), call());
        let moving = Update { new_key: Some(new), expected: Some(version), ..update(&change) };
        for _ in 0..2 {
            let updated = self.store().update(&key, &moving, &sent).expect("promise 9: answered as the first time");
            assert_eq!(updated.totals, [("n".to_owned(), 51)], "promise 9: applied once");
        }
        assert_eq!(values(self.store(), &new), pairs(&[("n", "51")]), "promise 9: applied once");
        self.store().delete(&new, &call()).expect("delete works");
        is_gone(self.store().update(&key, &moving, &sent));
        // Nor does a move forget, into a group and out of it: two dozen changes with those three.
        let (mut key, _) = created(self.store(), &[]);
        let calls: Vec<Call> = (0..21).map(|_| call()).collect();
        let (group, change, none) = (fresh_group(), changes([("n", Change::Increment(1))]), changes([]));
        for (number, sent) in calls.iter().enumerate() {
            self.store().update(&key, &update(&change), sent).expect("update works");
            let (to, join) = match number {
                5 | 15 => (fresh_key(), None),
                10 => (group.session(fresh_key().id), Some(MEMBER)),
                _ => continue,
            };
            let moving = Update { new_key: Some(to), join, ..update(&none) };
            self.store().update(&key, &moving, &call()).expect("update works");
            key = to;
        }
        for sent in &calls {
            let updated = self.store().update(&key, &update(&change), sent).expect("update works");
            assert_eq!(updated.totals, [("n".to_owned(), 21)], "promise 9: applied once");
        }
    }

    fn a_create_that_is_sent_again_brings_nothing_back(&self) {
        for how in ["delete", "clear_group", "a limit", "clear_namespace"] {
            let group = GroupKey { namespace: "ends", ..fresh_group() };
            let (key, sent) = (group.session(fresh_key().id), call());
            let create = |call: &Call| {
                let record = NewRecord { join: Some(MEMBER), ..record(&[("a", "1")]) };
                self.store().create(&key, &record, call)
            };
            for _ in 0..2 {
                assert!(create(&sent).is_ok(), "promise 9: as the first time");
            }
            match how {
                "delete" => drop(self.store().delete(&key, &call()).expect("delete works")),
                "clear_group" => drop(self.store().clear_group(&group, None, &call()).expect("clear_group works")),
                "a limit" => {
                    member_of(self.store(), &group, &[], Join { max_sessions: Some(1), ..MEMBER });
                }
                _ => self.store().clear_namespace("ends", &call()).expect("clear_namespace works"),
            }
            let answer = create(&sent);
            assert!(matches!(answer, Err(Refusal::Gone)), "promise 16: what {how} has ended is gone: {answer:?}");
            assert!(load(self.store(), &key).is_none(), "promise 16: {how} has ended it");
        }
    }

    fn a_tag_is_part_of_the_key(&self) {
        let (alone, _) = created(self.store(), &[("a", "1")]);
        let [one, two] = [fresh_group(), fresh_group()].map(|group| group.session(alone.id));
        assert!(load(self.store(), &one).is_none(), "promise 8: under another tag there is nothing");
        self.store().delete(&one, &call()).expect("delete works");
        for (key, json) in [(one, "2"), (two, "3")] {
            let record = NewRecord { join: Some(MEMBER), ..record(&[("a", json)]) };
            let created = self.store().create(&key, &record, &call());
            created.expect("promise 8: another tag is another key");
        }
        self.store().delete(&two, &call()).expect("delete works");
        assert_eq!(values(self.store(), &alone), pairs(&[("a", "1")]), "promise 8: others are not touched");
        assert_eq!(values(self.store(), &one), pairs(&[("a", "2")]), "promise 8: others are not touched");
    }

    fn a_session_joins_and_leaves_a_group(&self) {
        let [first, second] = [fresh_group(), fresh_group()];
        let (alone, before) = created(self.store(), &[("a", "1"), ("b", "2")]);
        assert_eq!(before.joined_at, None, "promise 8: it is in no group");
        assert_eq!(load(self.store(), &alone).and_then(|record| record.group_name), None, "promise 8: nor named so");
        self.0.let_time_pass(&alone, HOUR / 2);
        let change = changes([("z", set("3"))]);
        let long_name = "\u{1F980} ".repeat(10_000);
        // Into one, from that to another, and into that once more.
        let (mut key, mut from) = (alone, None);
        for (group, name) in [(first, &*long_name), (second, ""), (second, "b")] {
            let to = group.session(fresh_key().id);
            let join = Join { name, ..MEMBER };
            let joined = Update {
                new_key: Some(to),
                join: Some(join),
                lifetime: Lifetime { absolute_timeout: Some(HOUR + HOUR / 2), ..LIFETIME },
                ..update(&change)
            };
            let sent = call();
            let info = self.store().update(&key, &joined, &sent).expect("promise 8: a session can join").info;
            let again = self.store().update(&key, &joined, &sent).expect("promise 9: answered as the first time").info;
            assert_eq!((again.version, again.joined_at), (info.version, info.joined_at), "promise 9: applied once");
            assert!(load(self.store(), &key).is_none(), "promise 8: the old key is dead");
            let record = load(self.store(), &to).expect("promise 8: it is alive");
            assert_eq!(record.group_name.as_deref(), Some(name), "promise 8: any name is kept as it is");
            assert_eq!(record.info.joined_at, info.joined_at, "promise 8: the time of joining is kept");
            assert!(info.joined_at > Some(info.created_at), "promise 8: it joined later than it was created");
            let (joined_at, ends_at) = info.joined_at.zip(info.ends_at).expect("promise 8: it has an absolute timeout");
            assert_near(ends_at, joined_at + HOUR + HOUR / 2);
            assert_eq!(values(self.store(), &to), pairs(&[("a", "1"), ("b", "2"), ("z", "3")]), "promise 4: all of it");
            if let Some(from) = from.filter(|_| key.tag != to.tag) {
                assert_eq!(ids(self.store(), &from), [], "promise 8: it has left the other group");
            }
            assert_eq!(ids(self.store(), &group), [to.id], "promise 8: it is a member");
            (key, from) = (to, Some(group));
            self.0.let_time_pass(&key, HOUR / 2);
        }
        let at_second = load_info(self.store(), &key);

        // A new id in the same group is no new login.
        let to = second.session(fresh_key().id);
        let moved = Update {
            new_key: Some(to),
            lifetime: Lifetime { absolute_timeout: Some(10 * HOUR), ..LIFETIME },
            ..update(&change)
        };
        let info = self.store().update(&key, &moved, &call()).expect("update works").info;
        assert_eq!(info.joined_at, at_second.joined_at, "promise 8: it stays a member since then");
        assert_eq!(info.ends_at, at_second.ends_at, "promise 8: nor does the absolute timeout begin anew");
        let loaded = load(self.store(), &to).expect("it is alive");
        let listed = sessions(self.store(), &second).remove(0);
        assert_eq!(listed.public_id(), to.id, "promise 8: it is listed under its new id");
        let times = (listed.created_at(), Some(listed.joined_at()), listed.refreshed_at());
        assert_eq!(
            times,
            (loaded.info.created_at, loaded.info.joined_at, loaded.info.refreshed_at),
            "promise 8: times"
        );
        assert_near(listed.expires_at(), loaded.info.expires_at);
        assert_eq!(loaded.group_name.as_deref(), Some("b"), "promise 8: it keeps the name");
        let values_of = |session: &SessionInfo| session.values.clone().into_iter().collect::<Vec<_>>();
        assert_eq!(values_of(&listed), pairs(&[("a", "1"), ("z", "3")]), "promise 8: the values asked for, no others");

        let alone = fresh_key();
        let left = Update { new_key: Some(alone), ..update(&change) };
        let info = self.store().update(&to, &left, &call()).expect("promise 8: a session can leave").info;
        assert_eq!(info.joined_at, None, "promise 8: it has left");
        assert_eq!(info.ends_at, at_second.ends_at, "promise 8: its absolute timeout holds on");
        assert_eq!(ids(self.store(), &second), [], "promise 8: it is no member any more");
        self.store().clear_group(&second, None, &call()).expect("clear_group works");
        let record = load(self.store(), &alone).expect("promise 8: it lives on");
        assert_eq!((record.group_name, record.values.len()), (None, 3), "promise 8: with its values");
    }

    fn a_group_ends_as_one(&self) {
        let [group, other] = [fresh_group(), fresh_group()];
        let outsider = member(self.store(), &other, &[("a", "1")]);
        let (alone, _) = created(self.store(), &[("a", "1")]);
        let members = [(); 3].map(|()| member(self.store(), &group, &[("a", "1")]));
        assert_eq!(ids(self.store(), &group), sorted(members), "promise 8: all are listed");
        let sent = call();
        for _ in 0..2 {
            let ended = self.store().clear_group(&group, None, &sent).expect("clear_group works");
            assert!(ended == 3 || ended == 0, "promise 8: it says how many there were, not {ended}");
        }
        assert_eq!(ids(self.store(), &group), [], "promise 8: none is listed");
        for key in members {
            assert!(load(self.store(), &key).is_none(), "promise 8: none is alive");
            is_gone(self.update(&key, &changes([("a", set("2"))])));
            is_gone(self.store().update(&key, &Update { new_key: Some(fresh_key()), ..update(&changes([])) }, &call()));
            assert!(!self.store().delete(&key, &call()).expect("delete works"), "promise 7: it was not alive");
        }
        for key in [outsider, alone] {
            assert_eq!(values(self.store(), &key), pairs(&[("a", "1")]), "promise 8: no other is touched");
        }
        assert_eq!(
            self.store().clear_group(&group, None, &call()).expect("clear_group works"),
            0,
            "promise 8: an empty one"
        );

        // It can be joined again, and all but one of it can end.
        let [stays, first, second] = [(); 3].map(|()| member(self.store(), &group, &[("a", "1")]));
        let before = load_info(self.store(), &stays);
        let ended = self.store().clear_group(&group, Some(stays.id), &call()).expect("clear_group works");
        assert_eq!((ended, ids(self.store(), &group)), (2, vec![stays.id]), "promise 8: one stays");
        let after = load_info(self.store(), &stays);
        let unchanged = |info: &RecordInfo| (info.version, info.joined_at, info.refreshed_at, info.ends_at);
        assert_eq!(unchanged(&after), unchanged(&before), "promise 8: as it was");
        assert_near(after.expires_at, before.expires_at);
        assert!([first, second].iter().all(|key| load(self.store(), key).is_none()), "promise 8: the others do not");
        self.store().update(&stays, &update(&changes([("a", set("2"))])), &call()).expect("promise 8: it is alive");
        let ended = self.store().clear_group(&group, Some(fresh_key().id), &call()).expect("clear_group works");
        assert_eq!((ended, ids(self.store(), &group)), (1, vec![]), "promise 8: what is not in it does not stay");
    }

    fn a_group_has_no_more_sessions_than_it_may(&self) {
        let group = fresh_group();
        let limited = Join { max_sessions: Some(2), ..MEMBER };
        let join = |idle_timeout: Duration| {
            let key = group.session(fresh_key().id);
            let record = NewRecord { join: Some(limited), idle_timeout: Some(idle_timeout), ..record(&[("a", "1")]) };
            self.store().create(&key, &record, &call()).expect("create works: the key is fresh");
            self.0.let_time_pass(&key, Duration::from_secs(1));
            key
        };
        // Who joined first goes first, however long it would live; never the one that joins.
        let _oldest = join(100 * HOUR);
        let older = join(50 * HOUR);
        let newer = join(HOUR);
        assert_eq!(ids(self.store(), &group), sorted([older, newer]), "promise 8: the limit holds");
        // A new id of the older one changes nothing about that.
        let moved = group.session(fresh_key().id);
        self.store()
            .update(&older, &Update { new_key: Some(moved), ..update(&changes([])) }, &call())
            .expect("update works");
        let (alone, _) = created(self.store(), &[("a", "1")]);
        let to = group.session(fresh_key().id);
        let change = changes([]);
        let joined = Update { new_key: Some(to), join: Some(limited), ..update(&change) };
        self.store().update(&alone, &joined, &call()).expect("update works");
        assert_eq!(ids(self.store(), &group), sorted([newer, to]), "promise 8: the limit holds");
        is_gone(self.update(&moved, &changes([("a", set("2"))])));
        // Without a limit there may be more; with one again, all that are too many go.
        let many = [(); 4].map(|()| member(self.store(), &group, &[("a", "1")]));
        assert_eq!(sessions(self.store(), &group).len(), 6, "promise 8: without a limit");
        let only = Join { max_sessions: Some(1), ..MEMBER };
        let last = member_of(self.store(), &group, &[("a", "1")], only);
        assert_eq!(ids(self.store(), &group), [last.id], "promise 8: with a limit of one");
        assert!(many.iter().all(|key| load(self.store(), key).is_none()), "promise 8: who had to go is dead");
        // Of two that join at the same moment, the one that is joining stays.
        let (early, _) = created(self.store(), &[("a", "1")]);
        let rival = member(self.store(), &group, &[("a", "1")]);
        let to = group.session(fresh_key().id);
        let joined = Update { new_key: Some(to), join: Some(only), ..update(&change) };
        self.store().update(&early, &joined, &call()).expect("update works");
        assert_eq!(ids(self.store(), &group), [to.id], "promise 8: who joins stays");
        assert!(load(self.store(), &rival).is_none(), "promise 8: and the other goes");
    }

    fn the_order_of_joining_is_exact(&self) {
        // A clock may stand still all the while, and the order in which they were created is another one.
        for _ in 0..10 {
            let group = fresh_group();
            let alone = [(); 4].map(|()| created(self.store(), &[("a", "1")]).0);
            let joined: Vec<_> = alone
                .iter()
                .rev()
                .map(|old| {
                    let (to, change) = (group.session(fresh_key().id), changes([]));
                    let join = Some(Join { max_sessions: Some(2), ..MEMBER });
                    let update = Update { new_key: Some(to), join, ..update(&change) };
                    self.store().update(old, &update, &call()).expect("update works");
                    to
                })
                .collect();
            assert_eq!(ids(self.store(), &group), sorted([joined[2], joined[3]]), "promise 8: who joined last stays");
            // Who joins once more joins last, and a new id alone changes nothing.
            let (again, moved, change) = (fresh_key().id, fresh_key().id, changes([]));
            let (again, moved) = (group.session(again), group.session(moved));
            let join = Update { new_key: Some(again), join: Some(MEMBER), ..update(&change) };
            self.store().update(&joined[2], &join, &call()).expect("update works");
            let only = Update { new_key: Some(moved), ..update(&change) };
            self.store().update(&joined[3], &only, &call()).expect("update works");
            let new = member_of(self.store(), &group, &[("a", "1")], Join { max_sessions: Some(2), ..MEMBER });
            assert_eq!(ids(self.store(), &group), sorted([again, new]), "promise 8: who joined last stays");
        }
    }

    fn what_has_ended_is_in_no_group(&self) {
        let group = fresh_group();
        let [expired, deleted, alive] = [(); 3].map(|()| member(self.store(), &group, &[("a", "1")]));
        assert!(self.store().delete(&deleted, &call()).expect("delete works"), "promise 7: it was alive");
        self.0.let_time_pass(&expired, 2 * HOUR);
        self.0.let_time_pass(&alive, HOUR / 2);
        // With a clock for all, the one that is to live has to be used.
        if load(self.store(), &alive).is_none() {
            return assert_eq!(ids(self.store(), &group), [], "promise 8: what has expired does not show");
        }
        assert_eq!(ids(self.store(), &group), [alive.id], "promise 8: what has ended does not show");
        // Nor does it count, however late it had joined.
        let short = group.session(fresh_key().id);
        let minute = HOUR / 60;
        let record = NewRecord { join: Some(MEMBER), idle_timeout: Some(minute), ..record(&[("a", "1")]) };
        self.store().create(&short, &record, &call()).expect("create works");
        self.0.let_time_pass(&short, 2 * minute);
        let two = Join { max_sessions: Some(2), ..MEMBER };
        let new = member_of(self.store(), &group, &[("a", "1")], two);
        assert_eq!(ids(self.store(), &group), sorted([alive, new]), "promise 8: what has expired does not count");
        // The group outlives its longest member.
        let idle_timeout = |timeout| ChangeSet { idle_timeout: Some(timeout), ..ChangeSet::default() };
        self.update(&alive, &idle_timeout(10 * HOUR)).expect("update works");
        self.update(&new, &idle_timeout(HOUR)).expect("update works");
        self.0.let_time_pass(&new, 2 * HOUR);
        assert_eq!(ids(self.store(), &group), [alive.id], "promise 8: the one that is remembered is alive");
        let ended = self.store().clear_group(&group, None, &call()).expect("clear_group works");
        assert_eq!(ended, 1, "promise 8: only what was alive counts");
        assert!(load(self.store(), &alive).is_none(), "promise 8: none is alive");
    }

    fn an_old_key_leads_to_the_record_for_a_grace(&self) {
        let group = fresh_group();
        let (alone, _) = created(self.store(), &[("a", "1")]);
        for old in [alone, member(self.store(), &group, &[("a", "1")])] {
            let fresh = || RecordKey { id: fresh_key().id, ..old };
            let change = changes([("b", set("2"))]);
            let with_grace = |to| Update { new_key: Some(to), grace: Some(GRACE), ..update(&change) };
            let (new, newer, sent) = (fresh(), fresh(), call());
            for _ in 0..2 {
                let moved = self.store().update(&old, &with_grace(new), &sent).expect("promise 9: as the first time");
                assert_eq!(moved.forwarded_to, None, "promise 12: it has the new key");
            }
            let record = load(self.store(), &old).expect("promise 12: the old key leads there");
            assert_eq!(record.forwarded_to, Some(new.id), "promise 12: it says so");
            assert_eq!(record.values.len(), 2, "promise 12: to the same record");
            is_gone(self.store().update(&old, &with_grace(fresh()), &call()));
            is_gone(self.store().update(&old, &Update { new_key: Some(fresh()), ..update(&change) }, &call()));
            let updated = self.update(&old, &changes([("n", Change::Increment(1))])).expect("promise 12: it can save");
            assert_eq!((updated.forwarded_to, &updated.totals[0].1), (Some(new.id), &1), "promise 12: it says so");
            // Both of two old keys lead on.
            self.store().update(&new, &with_grace(newer), &call()).expect("update works");
            for key in [old, new] {
                let record = load(self.store(), &key).expect("promise 12: both lead there");
                assert_eq!(
                    (record.forwarded_to, record.values.len()),
                    (Some(newer.id), 3),
                    "promise 12: both lead there"
                );
            }
            if old.tag.is_some() {
                assert_eq!(ids(self.store(), &group), [newer.id], "promise 8: it is listed once");
            }
            // Who ends it by an old key ends it.
            assert!(self.store().delete(&old, &call()).expect("delete works"), "promise 12: it was alive");
            for key in [old, new, newer] {
                assert!(load(self.store(), &key).is_none(), "promise 12: it has ended");
            }
            // Without a grace there is none.
            let [first, second, last] = [(); 3].map(|()| fresh());
            self.store().create(&first, &record_like(old), &call()).expect("create works");
            self.store().update(&first, &with_grace(second), &call()).expect("update works");
            let strict = Update { new_key: Some(last), ..update(&change) };
            self.store().update(&second, &strict, &call()).expect("update works");
            for key in [first, second] {
                assert!(load(self.store(), &key).is_none(), "promise 12: without a grace the old key is dead");
            }
            is_gone(self.update(&first, &change));
            assert!(load(self.store(), &last).is_some(), "promise 12: the new one is not");
        }
        let old = member(self.store(), &group, &[("a", "1")]);
        let new = group.session(fresh_key().id);
        let change = changes([]);
        let moved = Update { new_key: Some(new), grace: Some(GRACE), ..update(&change) };
        self.store().update(&old, &moved, &call()).expect("update works");
        self.0.let_time_pass(&old, GRACE);
        assert!(load(self.store(), &old).is_none(), "promise 12: a grace ends");
        assert!(load(self.store(), &new).is_some(), "promise 12: the session does not");
        self.store().clear_group(&group, None, &call()).expect("clear_group works");
        assert!(load(self.store(), &new).is_none(), "promise 12: it ends with its group");
    }

    fn a_call_whose_time_is_up_ends(&self) {
        let (key, _) = created(self.store(), &[("a", "1")]);
        let late = Call::until(Deadline::after(Duration::ZERO)).expect("the operating system gives random bytes");
        let start = Instant::now();
        match self.store().load(&key, &LIFETIME, &late) {
            Ok(record) => assert!(record.is_some(), "promise 2: it is alive"),
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Timeout, "a call that came too late: {error}"),
        }
        assert!(start.elapsed() < Duration::from_secs(30), "every call is to end by its deadline");
    }

    fn any_text_is_kept_as_it_is(&self) {
        let json = "\"\\u0000 \u{1F980} ' \\\" %s $1 \u{7f}\"";
        let texts = ["", "v", ":", "a b", "'; DROP TABLE sessions", "\0", "\u{1F980}", "{x}", "\r\n"];
        let values: Vec<(&str, &str)> = texts.iter().map(|key| (*key, json)).collect();
        let (key, _) = created(self.store(), &values);
        assert_eq!(self::values(self.store(), &key), pairs(&values), "promise 2: any key and value");
        let empty =
            ChangeSet { keys: texts.iter().map(|key| (key.to_string(), Change::Remove)).collect(), ..changes([]) };
        self.update(&key, &empty).expect("update works");
        assert_eq!(self::values(self.store(), &key), [], "promise 4: any key");
    }
}

fn record_like(key: RecordKey<'_>) -> NewRecord<'static> {
    NewRecord { join: key.tag.map(|_| MEMBER), ..record(&[("a", "1")]) }
}

fn load_info(store: &dyn Store, key: &RecordKey<'_>) -> RecordInfo {
    load(store, key).expect("the record is alive").info
}

/// Checks, with several processes at once, what a store promises that processes share.
///
/// `open` opens the store; it is called in each process. `in_processes` is to call what it is given with every number
/// below the one it is given, each in a process of its own and all at once, and to panic if one of them fails. The
/// calling process has nothing open while it does.
///
/// # Panics
/// Where a promise is broken.
pub fn check_shared<S: Store>(open: impl Fn() -> S, in_processes: impl Fn(usize, &dyn Fn(usize))) {
    let in_all = |work: &dyn Fn(&S, usize)| in_processes(PROCESSES, &|number| work(&open(), number));
    let [counter, ending, moving] = [fresh_key(), fresh_key(), fresh_key()];
    // What the processes saw is kept in the store too.
    let seen: Vec<RecordKey<'static>> = (0..PROCESSES).map(|_| fresh_key()).collect();
    let new_keys: Vec<RecordKey<'static>> = (0..PROCESSES).map(|_| fresh_key()).collect();
    in_processes(1, &|_| {
        let store = open();
        for key in [counter, ending, moving].iter().chain(&seen) {
            store.create(key, &record(&[("start", "1")]), &call()).expect("create works: the key is fresh");
        }
    });

    in_all(&|store, number| {
        for round in 0..250 {
            let own = format!("own{number}");
            let change = changes([("count", Change::Increment(1)), (&own, set(&round.to_string()))]);
            store.update(&counter, &update(&change), &call()).expect("promise 4: processes do not disturb each other");
            let values = load(store, &counter).expect("it is alive").values;
            assert_eq!(values[&own], round.to_string(), "promise 11: what is saved is seen");
        }
    });
    in_all(&|store, _| {
        let values = load(store, &counter).expect("promise 11: it is alive").values;
        assert_eq!(values["count"], (PROCESSES * 250).to_string(), "promise 4: increments add up");
        assert_eq!(values.len(), PROCESSES + 2, "promise 4: every process's own key is there");
    });

    in_all(&|store, number| {
        if number == 0 {
            store.delete(&ending, &call()).expect("delete works");
            assert!(load(store, &ending).is_none(), "promise 5: nobody brings it back");
            return;
        }
        // Saves until it has ended.
        let deadline = Deadline::after(Duration::from_secs(60));
        while store.update(&ending, &update(&changes([("a", set("1"))])), &call()).is_ok() {
            assert!(!deadline.has_passed(), "promise 5: what has ended stays ended");
        }
        is_gone(store.update(&ending, &update(&changes([("a", set("1"))])), &call()));
        assert!(load(store, &ending).is_none(), "promise 5: what has ended stays ended");
    });

    in_all(&|store, number| {
        let change = changes([("winner", set(&number.to_string()))]);
        let to_own_key = Update { new_key: Some(new_keys[number]), ..update(&change) };
        let outcome = match store.update(&moving, &to_own_key, &call()) {
            Ok(_) => "true",
            Err(Refusal::Gone) => "false",
            Err(error) => panic!("promise 5: {error:?}"),
        };
        store.update(&seen[number], &update(&changes([("won", set(outcome))])), &call()).expect("update works");
    });
    in_processes(1, &|_| {
        let store = open();
        let won = |key: &&RecordKey<'_>| load(&store, key).expect("it is alive").values["won"] == "true";
        assert_eq!(seen.iter().filter(won).count(), 1, "promise 4: of all that move a record, one wins");
        let alive: Vec<Values> =
            new_keys.iter().filter_map(|key| load(&store, key)).map(|record| record.values).collect();
        assert_eq!(alive.len(), 1, "promise 4: there is one record afterwards");
    });
}
