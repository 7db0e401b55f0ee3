//! Helpers of the checks: keys, records, changes, and calls that must succeed.

use crate::deadline::Deadline;
use crate::end_reason::EndReason;
use crate::group_limit::{AtLimit, GroupLimit};
use crate::id::{GroupTag, PublicId};
use crate::lifetime::{Lifetime, Refresh};
use crate::store::call::Call;
use crate::store::group_update::GroupUpdate;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::{Join, Loaded, NewRecord, Record, RecordInfo, SessionInfo, Size, Values};
use crate::store::refusal::Refusal;
use crate::store::store_trait::Store;
use crate::store::stored_value::StoredValue;
use crate::store::update::{Change, ChangeSet, Update, Updated};
use std::fmt::Debug;
use std::time::{Duration, SystemTime};

pub(super) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(super) const GRACE: Duration = Duration::from_secs(4 * 60);
pub(super) const LIMIT: usize = 1000;
pub(super) const SIZE_LIMIT: Size = Size { keys: 20, bytes: LIMIT };
pub(super) const LIFETIME: Lifetime =
    Lifetime { idle_timeout: HOUR, absolute_timeout: None, refresh: Refresh::After(Duration::from_secs(60)) };
pub(super) const JOIN: Join<'static> = Join { name: "a group", limit: None };

/// A key that holds nothing.
pub(super) fn fresh_key() -> RecordKey<'static> {
    let id = PublicId::random().expect("the operating system gives random bytes");
    RecordKey { namespace: "contract", tag: None, id }
}

/// The key of a group without sessions.
pub(super) fn fresh_group() -> GroupKey<'static> {
    GroupKey { namespace: "contract", tag: GroupTag::random().expect("the operating system gives random bytes") }
}

/// A key in this group that holds nothing.
pub(super) fn fresh_in<'a>(group: &GroupKey<'a>) -> RecordKey<'a> {
    group.session(fresh_key().id)
}

/// A call with a nonce of its own.
pub(super) fn call() -> Call {
    Call::until(Deadline::after(Duration::from_secs(60))).expect("the operating system gives random bytes")
}

pub(super) fn lifetime(refresh: Refresh) -> Lifetime {
    Lifetime { refresh, ..LIFETIME }
}

/// A join that ends the oldest sessions beyond this number.
pub(super) fn at_most(sessions: usize) -> Join<'static> {
    Join { limit: Some(GroupLimit { sessions, at_limit: AtLimit::EndOldest }), ..JOIN }
}

/// A join that is refused if the group has this number of sessions.
pub(super) fn refused_at(sessions: usize) -> Join<'static> {
    Join { limit: Some(GroupLimit { sessions, at_limit: AtLimit::RefuseNewest }), ..JOIN }
}

pub(super) fn record(values: &[(&str, &str)]) -> NewRecord<'static> {
    NewRecord {
        values: values.iter().map(|(key, json)| (key.to_string(), StoredValue::from(*json))).collect(),
        size_limit: SIZE_LIMIT,
        lifetime: LIFETIME,
        idle_timeout: None,
        persistent: None,
        unconfirmed_timeout: None,
        join: None,
    }
}

/// A record for this key, in a group if the key is in one.
pub(super) fn record_for(key: &RecordKey<'_>) -> NewRecord<'static> {
    NewRecord { join: key.tag.map(|_| JOIN), ..record(&[("a", "1")]) }
}

pub(super) fn set(json: &str) -> Change {
    Change::Set(json.into())
}

pub(super) fn changes<const N: usize>(keys: [(&str, Change); N]) -> ChangeSet {
    ChangeSet { keys: keys.into_iter().map(|(key, change)| (key.to_owned(), change)).collect(), ..ChangeSet::default() }
}

pub(super) fn new_idle_timeout(idle_timeout: Duration) -> ChangeSet {
    ChangeSet { idle_timeout: Some(Some(idle_timeout)), ..ChangeSet::default() }
}

pub(super) fn persistence(persistent: bool) -> ChangeSet {
    ChangeSet { persistent: Some(Some(persistent)), ..ChangeSet::default() }
}

/// An update that makes these changes without conditions.
pub(super) fn update_of(changes: &ChangeSet) -> Update<'_> {
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

// ---- Calls that have to work ----

#[track_caller]
pub(super) fn create(store: &dyn Store, key: &RecordKey<'_>, record: &NewRecord<'_>) -> RecordInfo {
    let created = store.create(key, record, &call()).expect("create works: the key is fresh");
    created.info
}

/// Creates a session without a group, and gives its key.
#[track_caller]
pub(super) fn created(store: &dyn Store, values: &[(&str, &str)]) -> RecordKey<'static> {
    let key = fresh_key();
    create(store, &key, &record(values));
    key
}

/// Creates a session in this group, and gives its key.
#[track_caller]
pub(super) fn member<'a>(store: &dyn Store, group: &GroupKey<'a>) -> RecordKey<'a> {
    member_with(store, group, JOIN)
}

/// Like `member`, with this name and limit of the group.
#[track_caller]
pub(super) fn member_with<'a>(store: &dyn Store, group: &GroupKey<'a>, join: Join<'_>) -> RecordKey<'a> {
    let key = fresh_in(group);
    let info = create(store, &key, &NewRecord { join: Some(join), ..record(&[("a", "1")]) });
    assert_eq!(info.joined_at, Some(info.created_at), "promise 8: the session is created in its group");
    key
}

#[track_caller]
pub(super) fn load_with(store: &dyn Store, key: &RecordKey<'_>, lifetime: &Lifetime) -> Option<Record> {
    store.load(key, lifetime, &call()).expect("load works").record()
}

#[track_caller]
pub(super) fn peek(store: &dyn Store, key: &RecordKey<'_>) -> Option<Record> {
    store.peek(key, &LIFETIME, &call()).expect("peek works").record()
}

/// Returns the reason why a session has ended. A load and a peek have to give the same.
#[track_caller]
pub(super) fn reason(store: &dyn Store, key: &RecordKey<'_>) -> EndReason {
    let peeked = store.peek(key, &LIFETIME, &call()).expect("peek works");
    let loaded = store.load(key, &LIFETIME, &call()).expect("load works");
    match (peeked, loaded) {
        (Loaded::Ended(one), Loaded::Ended(other)) if one == other => one,
        found => panic!("promise 2: the session has ended, but: {found:?}"),
    }
}

#[track_caller]
pub(super) fn load(store: &dyn Store, key: &RecordKey<'_>) -> Option<Record> {
    load_with(store, key, &LIFETIME)
}

#[track_caller]
pub(super) fn load_info(store: &dyn Store, key: &RecordKey<'_>) -> RecordInfo {
    load(store, key).expect("the session is alive").info
}

pub(super) fn is_alive(store: &dyn Store, key: &RecordKey<'_>) -> bool {
    load(store, key).is_some()
}

#[track_caller]
pub(super) fn values(store: &dyn Store, key: &RecordKey<'_>) -> Vec<(String, String)> {
    texts(load(store, key).expect("the session is alive").values)
}

/// The JSON texts of these values.
#[track_caller]
pub(super) fn texts(values: Values) -> Vec<(String, String)> {
    let text = |value: StoredValue| value.json().expect("the value was stored as JSON text").to_owned();
    values.into_iter().map(|(key, value)| (key, text(value))).collect()
}

/// These pairs as [`values`] gives them.
pub(super) fn pairs(values: &[(&str, &str)]) -> Vec<(String, String)> {
    texts(record(values).values)
}

pub(super) fn try_update(store: &dyn Store, key: &RecordKey<'_>, update: &Update<'_>) -> Result<Updated, Refusal> {
    store.update(key, update, &call())
}

#[track_caller]
pub(super) fn update(store: &dyn Store, key: &RecordKey<'_>, update: &Update<'_>) -> Updated {
    try_update(store, key, update).expect("update works")
}

/// Makes an update without conditions, which must succeed.
pub(super) fn try_change(store: &dyn Store, key: &RecordKey<'_>, changes: &ChangeSet) -> Result<Updated, Refusal> {
    try_update(store, key, &update_of(changes))
}

#[track_caller]
pub(super) fn change(store: &dyn Store, key: &RecordKey<'_>, changes: &ChangeSet) -> Updated {
    try_change(store, key, changes).expect("update works")
}

/// Gives the session a new key without a login.
#[track_caller]
pub(super) fn move_to(
    store: &dyn Store,
    key: &RecordKey<'_>,
    new_key: RecordKey<'_>,
    grace: Option<Duration>,
) -> RecordInfo {
    update(store, key, &Update { new_key: Some(new_key), grace, ..update_of(&ChangeSet::default()) }).info
}

/// Logs the session in: it joins the group of the new key.
#[track_caller]
pub(super) fn log_in(store: &dyn Store, key: &RecordKey<'_>, new_key: RecordKey<'_>, join: Join<'_>) -> RecordInfo {
    update(store, key, &Update { new_key: Some(new_key), join: Some(join), ..update_of(&ChangeSet::default()) }).info
}

#[track_caller]
pub(super) fn delete(store: &dyn Store, key: &RecordKey<'_>) -> bool {
    store.delete(key, EndReason::LoggedOut, &call()).expect("delete works").is_some()
}

/// Ends the sessions of a group, and gives their number.
#[track_caller]
pub(super) fn clear_group(store: &dyn Store, group: &GroupKey<'_>, except: Option<PublicId>) -> u64 {
    let cleared = store.clear_group(group, except, &call()).expect("clear_group works");
    assert_eq!(cleared.ids.len() as u64, cleared.number, "promise 8: clear_group says which sessions it ended");
    cleared.number
}

/// Changes the values of a group: sets a key to this JSON text, or removes it.
#[track_caller]
pub(super) fn set_in_group(store: &dyn Store, group: &GroupKey<'_>, key: &str, json: Option<&str>) {
    try_to_set_in_group(store, group, key, json, &call()).expect("update_group works");
}

pub(super) fn try_to_set_in_group(
    store: &dyn Store,
    group: &GroupKey<'_>,
    key: &str,
    json: Option<&str>,
    call: &Call,
) -> Result<(), Refusal> {
    let changes = [(key.to_owned(), json.map(str::to_owned))].into();
    store.update_group(group, &GroupUpdate { changes: &changes, size_limit: SIZE_LIMIT, idle_timeout: HOUR }, call)
}

/// The live sessions of a group, with their values of the keys "a" and "z".
#[track_caller]
pub(super) fn sessions(store: &dyn Store, group: &GroupKey<'_>) -> Vec<SessionInfo> {
    let sessions = store.group_sessions(group, &["a", "z"], &call()).expect("group_sessions works");
    let len = store.group_len(group, &call()).expect("group_len works");
    assert_eq!(len, sessions.len(), "promise 8: group_len counts as many sessions as group_sessions lists");
    sessions
}

/// The ids of the live sessions of a group, sorted.
#[track_caller]
pub(super) fn ids(store: &dyn Store, group: &GroupKey<'_>) -> Vec<PublicId> {
    let mut ids: Vec<PublicId> = sessions(store, group).iter().map(SessionInfo::public_id).collect();
    ids.sort();
    ids
}

/// The ids of these keys as [`ids`] gives them.
pub(super) fn sorted<const N: usize>(keys: [RecordKey<'_>; N]) -> Vec<PublicId> {
    let mut ids: Vec<PublicId> = keys.iter().map(|key| key.id).collect();
    ids.sort();
    ids
}

// ---- Assertions ----

/// Asserts that a session has a full life before it, less the time that the call took.
#[track_caller]
pub(super) fn assert_full_life(info: &RecordInfo, idle_timeout: Duration) {
    let life = Refresh::default().stored_life(idle_timeout);
    let left = life - Duration::from_secs(10)..=life;
    assert!(left.contains(&info.expires_in), "promise 3: {:?} is not a full life of {life:?}", info.expires_in);
}

/// Asserts that two times are equal, apart from rounding.
#[track_caller]
pub(super) fn assert_near(one: SystemTime, other: SystemTime) {
    let apart = one.duration_since(other).unwrap_or_else(|error| error.duration());
    assert!(apart < Duration::from_millis(50), "promise 3: {one:?} is not {other:?}");
}

#[track_caller]
pub(super) fn assert_gone<T: Debug>(answer: Result<T, Refusal>) {
    assert!(matches!(answer, Err(Refusal::Gone)), "promise 5: an update of an ended session is Gone, not {answer:?}");
}

#[track_caller]
pub(super) fn assert_too_large<T: Debug>(answer: Result<T, Refusal>) {
    assert!(matches!(answer, Err(Refusal::TooLarge { .. })), "promise 4: the size limit holds, but: {answer:?}");
}

#[track_caller]
pub(super) fn assert_conflict<T: Debug>(answer: Result<T, Refusal>) {
    assert!(matches!(answer, Err(Refusal::Conflict)), "promise 6: an unmet condition is a Conflict, not {answer:?}");
}
