//! What operators do with a store: the promises of `Maintenance`.

use super::MaintainedSubject;
use super::setup::*;
use crate::id::PublicId;
use crate::lifetime::{Lifetime, Refresh};
use crate::store::call::Call;
use crate::store::group_update::GroupUpdate;
use crate::store::key::{GroupKey, RecordKey};
use crate::store::maintenance::{Located, Maintenance, Scan};
use crate::store::record::{NewRecord, RecordInfo};
use crate::store::refusal::Refusal;
use crate::store::restore::Restored;
use crate::store::store_trait::Store;
use crate::store::stored_record::StoredRecord;
use crate::store::update::{Change, ChangeSet, Update};
use std::collections::{BTreeMap, BTreeSet};
use std::time::UNIX_EPOCH;

type Found = Vec<(Located, StoredRecord)>;

/// A scan gives all live sessions, in groups and without, with their values if it is asked to, and no ended one.
pub fn a_scan_gives_all_live_sessions(subject: &dyn MaintainedSubject) {
    let (store, namespace) = (subject.maintenance(), "contract-scan");
    let group = fresh_group();
    let alone = [(); 20].map(|()| RecordKey { namespace, ..fresh_key() });
    let members = [(); 20].map(|()| RecordKey { namespace, ..fresh_in(&group) });
    let keys: Vec<RecordKey<'_>> = alone.into_iter().chain(members).collect();
    for key in &keys {
        create(store, key, &record_for(key));
    }
    let (ended, live) = keys.split_at(2);
    ended.iter().for_each(|key| assert!(delete(store, key), "promise 7: the session was alive"));
    let expired = RecordKey { namespace, ..fresh_key() };
    create_short_lived(store, &expired);
    subject.let_time_pass(&expired, HOUR / 30);
    let expected: BTreeSet<PublicId> = live.iter().map(|key| key.id).collect();
    for with_values in [true, false] {
        let found = scan(store, namespace, with_values);
        assert_eq!(found.iter().map(|(at, _)| at.id).collect::<BTreeSet<_>>(), expected, "it gives the live sessions");
        for (at, record) in found {
            assert!(live.contains(&at.key(namespace)), "it gives the group of a session");
            assert_eq!(record.group_name.as_deref(), at.tag.map(|_| JOIN.name), "it gives the name of the group");
            assert_eq!(record.values.len(), usize::from(with_values), "it gives the values if it is asked to");
        }
    }
}

/// A session that lives from the first call of a scan to the last one is given, whatever is created and ended
/// meanwhile.
pub fn a_scan_misses_no_session_that_lives_all_the_time(subject: &dyn MaintainedSubject) {
    let (store, namespace) = (subject.maintenance(), "contract-scan-busy");
    let made = || {
        let key = RecordKey { namespace, ..fresh_key() };
        create(store, &key, &record(&[]));
        key
    };
    let (mut short, long): (Vec<_>, Vec<_>) = (0..350).map(|_| (made(), made())).unzip();
    let (mut found, mut from) = (BTreeSet::new(), None);
    loop {
        let scan = Scan { namespace, with_values: false, from: from.as_ref() };
        let page = store.scan(&scan, &call()).expect("scan works");
        // Fewer than the page has, so that the scan comes to an end.
        let changes = 1 + page.sessions.len() / 4;
        found.extend(page.sessions.into_iter().map(|(at, _)| at.id));
        from = page.next;
        if from.is_none() {
            break;
        }
        for _ in 0..changes {
            if let Some(key) = short.pop() {
                delete(store, &key);
            }
            made();
        }
    }
    assert!(long.iter().all(|key| found.contains(&key.id)), "a scan gives every session that lives all the time");
}

/// A namespace whose name is the beginning of another one's is scanned, searched and purged alone.
pub fn a_scan_looks_at_one_namespace(subject: &dyn MaintainedSubject) {
    let store = subject.maintenance();
    let [short, long] = ["contract-one", "contract-one2"].map(|namespace| RecordKey { namespace, ..fresh_key() });
    for key in [short, long] {
        create(store, &key, &record(&[]));
    }
    for (key, other) in [(short, long), (long, short)] {
        let ids: Vec<PublicId> = scan(store, key.namespace, false).iter().map(|(at, _)| at.id).collect();
        assert_eq!(ids, [key.id], "a scan gives the sessions of its namespace alone");
        assert_eq!(find(store, &RecordKey { namespace: other.namespace, ..key }), None, "find looks at one namespace");
    }
    purge(store, short.namespace);
    assert!(is_alive(store, &short) && is_alive(store, &long), "purge ends no session");
}

/// A session is found by its public id while it is alive, with its group.
pub fn a_session_is_found_by_its_public_id(subject: &dyn MaintainedSubject) {
    let store = subject.maintenance();
    let group = fresh_group();
    let (alone, member) = (created(store, &[("a", "1")]), member(store, &group));
    for key in [alone, member] {
        assert_eq!(find(store, &key), Some(Located { id: key.id, tag: key.tag }), "a live session is found");
        assert!(delete(store, &key), "promise 7: the session was alive");
        assert_eq!(find(store, &key), None, "an ended session is not found");
    }
    assert_eq!(find(store, &fresh_key()), None, "an unknown session is not found");
}

/// Live sessions are read at their places, as a scan gives them. Ended sessions and other places give nothing.
pub fn sessions_are_read_at_their_places(subject: &dyn MaintainedSubject) {
    let store = subject.maintenance();
    let namespace = "contract-read";
    let group = fresh_group();
    let alone = RecordKey { namespace, ..fresh_key() };
    let member = RecordKey { namespace, ..fresh_in(&group) };
    let ended = RecordKey { namespace, ..fresh_in(&group) };
    for key in [&alone, &member, &ended] {
        create(store, key, &record_for(key));
    }
    assert!(delete(store, &ended), "promise 7: the session was alive");
    let place = |key: &RecordKey<'_>| Located { id: key.id, tag: key.tag };
    let elsewhere = [Located { tag: None, ..place(&member) }, Located { tag: member.tag, ..place(&alone) }];
    let places = [&[alone, member, ended].map(|key| place(&key)), &elsewhere[..]].concat();
    for with_values in [true, false] {
        let by_id = |found: Found| found.into_iter().map(|(at, record)| (at.id, (at, record))).collect();
        let found: BTreeMap<_, _> = by_id(store.read(namespace, &places, with_values, &call()).expect("read works"));
        let scanned: BTreeMap<_, _> = by_id(scan(store, namespace, with_values));
        assert_eq!(found, scanned, "read gives what a scan gives");
        assert_eq!(found.len(), 2, "read gives the live sessions at these places alone");
    }
    assert_eq!(store.read(namespace, &[], true, &call()).expect("read works"), [], "no place has no session");
    let unknown = "contract-unknown";
    assert_eq!(store.read(unknown, &places, true, &call()).expect("read works"), [], "an unknown namespace is empty");
    assert_eq!(scan(store, unknown, true), [], "an unknown namespace is empty");
}

/// A restored session has all that it had in the other store, and a call that is sent again is answered as before.
pub fn a_restored_session_is_the_same(subject: &dyn MaintainedSubject) {
    let (store, from, to) = (subject.maintenance(), "contract-from", "contract-to");
    let lifetime = Lifetime { absolute_timeout: Some(10 * HOUR), ..LIFETIME };
    let tag = Some(fresh_group().tag);
    for (tag, idle_timeout) in [(tag, Some(HOUR * 2)), (tag, None), (None, Some(HOUR * 2)), (None, None)] {
        let key = RecordKey { namespace: from, tag, ..fresh_key() };
        let join = tag.map(|_| JOIN);
        let new = NewRecord { join, idle_timeout, lifetime, ..record(&[("a", "1"), ("", "\"\\u0000\"")]) };
        let first = call();
        store.create(&key, &new, &first).expect("create works");
        let add = changes([("n", Change::Increment(1))]);
        let adding: Vec<Call> = (0..40).map(|_| call()).collect();
        for call in &adding {
            store.update(&key, &update_of(&add), call).expect("update works");
        }
        let info = load_info(store, &key);
        let record = scanned(store, &key);
        assert!(record.state.nonces.len() >= 24 * 8, "promise 9: a record remembers the last 24 calls");
        let new_key = copy_of(&key, to);
        assert_eq!(restore(store, &new_key, &record), Restored::Created, "it was not there");
        assert_eq!(restore(store, &new_key, &record), Restored::Kept, "it is there");
        assert_eq!(values(store, &new_key), values(store, &key), "a restored session has its values");
        let restored = load(store, &new_key).expect("the session is alive");
        assert_eq!(restored.group_name.as_deref(), join.map(|join| join.name), "it has the name of its group");
        let expires_in = restored.info.expires_in;
        assert_eq!(RecordInfo { expires_in, ..info }, restored.info, "it has its life");
        let copy = scanned(store, &new_key);
        assert_eq!((copy.join_order, &copy.values), (record.join_order, &record.values), "it has its place");
        assert_eq!(copy.state.began_at, record.state.began_at, "its absolute timeout began as before");
        assert_eq!(copy.state.has_own_idle_timeout, idle_timeout.is_some(), "it has its own idle timeout");
        for call in adding.iter().rev().take(24) {
            let again = store.update(&new_key, &update_of(&add), call).expect("a call that is sent again works");
            assert_eq!(again.totals, [("n".to_owned(), 40)], "a call that is sent again is not applied again");
        }
        let more = store.update(&new_key, &update_of(&add), &call()).expect("update works");
        assert_eq!((more.info.version, more.totals), (info.version + 1, vec![("n".to_owned(), 41)]), "it goes on");
        assert_eq!(restore(store, &new_key, &record), Restored::Kept, "a later state is kept");
    }
}

/// A call that created a session is known after the session was restored.
pub fn a_restored_session_knows_its_creation(subject: &dyn MaintainedSubject) {
    let store = subject.maintenance();
    let (key, first) = (RecordKey { namespace: "contract-from", ..fresh_key() }, call());
    store.create(&key, &record(&[]), &first).expect("create works");
    let copy = copy_of(&key, "contract-to");
    assert_eq!(restore(store, &copy, &scanned(store, &key)), Restored::Created, "it was not there");
    store.create(&copy, &record(&[]), &first).expect("promise 9: a create that is sent again is answered");
    let taken = store.create(&copy, &record(&[]), &call());
    assert!(matches!(taken, Err(Refusal::IdTaken)), "promise 1: create never overwrites");
}

/// An earlier state is replaced, and a session with changes of its own stays.
pub fn a_restore_replaces_an_earlier_state_only(subject: &dyn MaintainedSubject) {
    let (store, from, to) = (subject.maintenance(), "contract-from", "contract-to");
    for key in [fresh_key(), fresh_in(&fresh_group())] {
        let key = RecordKey { namespace: from, ..key };
        let copy = copy_of(&key, to);
        create(store, &key, &record_for(&key));
        assert_eq!(restore(store, &copy, &scanned(store, &key)), Restored::Created, "it was not there");
        change(store, &key, &changes([("a", Change::Remove), ("b", set("2"))]));
        assert_eq!(restore(store, &copy, &scanned(store, &key)), Restored::Updated, "an earlier state is replaced");
        assert_eq!(values(store, &copy), pairs(&[("b", "2")]), "the values are those of the later state");
        // A refresh changes the life alone.
        subject.let_time_pass(&key, HOUR / 2);
        load_with(store, &key, &lifetime(Refresh::EveryLoad)).expect("the session is alive");
        let record = scanned(store, &key);
        assert_eq!(restore(store, &copy, &record), Restored::Updated, "an earlier life is replaced");
        assert_eq!(scanned(store, &copy).state.expires_at, record.state.expires_at, "the life is the later one");
        // The copy is used later than the session, and changed earlier.
        subject.let_time_pass(&key, HOUR / 2);
        load_with(store, &copy, &lifetime(Refresh::EveryLoad)).expect("the session is alive");
        let used = scanned(store, &copy).state.expires_at;
        change(store, &key, &changes([("b", set("3"))]));
        assert_eq!(restore(store, &copy, &scanned(store, &key)), Restored::Updated, "an earlier state is replaced");
        assert_eq!(scanned(store, &copy).state.expires_at, used, "a restore does not shorten a life");
        // A copy that was left alone follows the session, however often it changes.
        for _ in 0..40 {
            change(store, &key, &changes([("b", set("3"))]));
        }
        assert_eq!(restore(store, &copy, &scanned(store, &key)), Restored::Updated, "it has all changes of its copy");
        // And back again.
        for _ in 0..40 {
            change(store, &copy, &changes([("b", set("3"))]));
        }
        assert_eq!(restore(store, &key, &scanned(store, &copy)), Restored::Updated, "a copy has all changes of it");
        change(store, &copy, &changes([("c", set("3"))]));
        // The other state has a larger version, and still lacks this change.
        for json in ["4", "5"] {
            change(store, &key, &changes([("d", set(json))]));
        }
        assert_eq!(restore(store, &copy, &scanned(store, &key)), Restored::Kept, "changes of its own are kept");
        assert_eq!(values(store, &copy), pairs(&[("b", "3"), ("c", "3")]), "changes of its own are kept");
    }
}

/// A session that has ended is not brought back.
pub fn a_restore_does_not_bring_back_an_ended_session(subject: &dyn MaintainedSubject) {
    let (store, from) = (subject.maintenance(), "contract-from");
    type End = fn(&dyn Store, &RecordKey<'_>);
    let end: [(&str, End); 4] = [
        ("contract-delete", |store, key| assert!(delete(store, key), "promise 7: the session was alive")),
        ("contract-group", |store, key| {
            let group = key.group(key.tag.expect("the session is in a group"));
            assert_eq!(clear_group(store, &group, None), 1, "promise 8: the session was alive");
        }),
        ("contract-namespace", |store, key| store.clear_namespace(key.namespace, &call()).expect("it works")),
        ("contract-move", |store, key| {
            let new_key = Some(RecordKey { id: fresh_key().id, ..*key });
            update(store, key, &Update { new_key, ..update_of(&ChangeSet::default()) });
        }),
    ];
    for (namespace, end) in end {
        let key = RecordKey { namespace: from, ..fresh_in(&fresh_group()) };
        create(store, &key, &record_for(&key));
        let (record, copy) = (scanned(store, &key), copy_of(&key, namespace));
        assert_eq!(restore(store, &copy, &record), Restored::Created, "it was not there");
        end(store, &copy);
        assert_eq!(restore(store, &copy, &record), Restored::Ended, "{namespace}: it has ended");
        assert!(!is_alive(store, &copy), "{namespace}: it is not brought back");
    }
    let key = RecordKey { namespace: from, ..fresh_key() };
    create(store, &key, &record_for(&key));
    let mut record = scanned(store, &key);
    record.state.expires_at = UNIX_EPOCH;
    let copy = copy_of(&key, "contract-to");
    assert_eq!(restore(store, &copy, &record), Restored::Ended, "its life is over");
    assert!(!is_alive(store, &copy), "its life is over");
}

/// Restored sessions keep their places in the order of joining, whatever the order of restoring.
pub fn restored_sessions_keep_their_order(subject: &dyn MaintainedSubject) {
    let (store, from, namespace) = (subject.maintenance(), "contract-from", "contract-order");
    let group = fresh_group();
    let keys = [(); 3].map(|()| RecordKey { namespace: from, ..fresh_in(&group) });
    for key in &keys {
        create(store, key, &record_for(key));
    }
    let new_group = fresh_group();
    let copies = keys.map(|_| RecordKey { namespace, ..fresh_in(&new_group) });
    for at in [1, 2, 0] {
        let restored = restore(store, &copies[at], &scanned(store, &keys[at]));
        assert_eq!(restored, Restored::Created, "it was not there");
    }
    let new = RecordKey { namespace, ..fresh_in(&new_group) };
    create(store, &new, &NewRecord { join: Some(at_most(3)), ..record(&[]) });
    let alive = copies.map(|key| is_alive(store, &key));
    assert_eq!(alive, [false, true, true], "promise 8: the session that joined first ends");
}

/// The values of a group come with all that the store keeps beside them. Changes of its own stay.
pub fn the_values_of_a_group_are_restored(subject: &dyn MaintainedSubject) {
    let store = subject.maintenance();
    let namespaces = ["contract-values-from", "contract-values-to"];
    let [group, copy] = namespaces.map(|namespace| GroupKey { namespace, ..fresh_group() });
    let copied = |expected: Restored| {
        let values = store.read_group(&group, &call()).expect("read_group works");
        let restored = store.restore_group(&copy, &values, &call()).expect("restore_group works");
        assert_eq!(restored, expected, "restore_group replaces an earlier state only");
        let [there, here] = [&group, &copy].map(|group| store.group_values(group, &call()).expect("it works"));
        assert_eq!(there == here, expected != Restored::Kept || values.nonces.is_empty(), "the values are the same");
    };
    copied(Restored::Kept);
    let first = call();
    let change = BTreeMap::from([("role".to_owned(), Some("\"editor\"".to_owned())), ("locale".to_owned(), None)]);
    let update = GroupUpdate { changes: &change, size_limit: SIZE_LIMIT, idle_timeout: HOUR };
    store.update_group(&group, &update, &first).expect("update_group works");
    copied(Restored::Created);
    set_in_group(store, &group, "locale", Some("\"de\""));
    set_in_group(store, &group, "role", None);
    copied(Restored::Updated);
    store.update_group(&copy, &update, &first).expect("update_group works");
    let values = store.group_values(&copy, &call()).expect("it works");
    assert_eq!(values.get("role"), None, "promise 18: a call that the other store has seen is known");
    set_in_group(store, &copy, "role", Some("\"reader\""));
    set_in_group(store, &group, "role", Some("\"editor\""));
    copied(Restored::Kept);
    let values = store.read_group(&copy, &call()).expect("read_group works");
    assert!(values.values.len() == 2 && values.nonces.len() == 4 * first.nonce.len(), "all of it is read");

    // Values that have ended at the source end at the target too, if they were not changed there.
    store.clear_namespace(group.namespace, &call()).expect("clear_namespace works");
    let restore_ended = |expected: Restored| {
        let ended = store.read_group(&group, &call()).expect("read_group works");
        assert!(ended.nonces.is_empty(), "promise 18: the end of the namespace ends its values");
        let restored = store.restore_group(&copy, &ended, &call()).expect("restore_group works");
        assert_eq!(restored, expected, "only values that were not changed here are removed");
    };
    restore_ended(Restored::Kept);
    assert_eq!(store.group_values(&copy, &call()).expect("it works").len(), 2, "they were changed here");
    store.clear_namespace(copy.namespace, &call()).expect("clear_namespace works");
    set_in_group(store, &group, "role", Some("\"editor\""));
    copied(Restored::Created);
    store.clear_namespace(group.namespace, &call()).expect("clear_namespace works");
    restore_ended(Restored::Updated);
    assert_eq!(store.group_values(&copy, &call()).expect("it works").len(), 0, "they have ended there");
    restore_ended(Restored::Kept);
}

/// A place in the order of joining is a time in all stores, so that sessions of two stores can be put in one order.
pub fn a_place_in_the_order_of_joining_is_a_time(subject: &dyn MaintainedSubject) {
    let (store, namespace) = (subject.maintenance(), "contract-places");
    let group = fresh_group();
    let mut last = 0;
    for _ in 0..3 {
        let key = RecordKey { namespace, ..fresh_in(&group) };
        create(store, &key, &record_for(&key));
        let record = scanned(store, &key);
        let joined_at = record.state.joined_at.expect("the session is in a group");
        let joined_at = joined_at.duration_since(UNIX_EPOCH).expect("a time after 1970").as_millis();
        let place = u128::from(record.join_order / 1000);
        assert!((joined_at..joined_at + 1000).contains(&place), "it is the time of joining, in microseconds");
        assert!(record.join_order > last, "promise 8: the order of joining is exact");
        last = record.join_order;
    }
    let alone = RecordKey { namespace, ..fresh_key() };
    create(store, &alone, &record(&[]));
    assert_eq!(scanned(store, &alone).join_order, 0, "a session without a group has no place");
}

/// A purge ends no session, and an ended session stays ended.
pub fn a_purge_removes_ended_sessions_only(subject: &dyn MaintainedSubject) {
    let (store, namespace) = (subject.maintenance(), "contract-purge");
    let [ended, expired, alive] = [(); 3].map(|()| RecordKey { namespace, ..fresh_in(&fresh_group()) });
    create_short_lived(store, &expired);
    create(store, &alive, &record_for(&alive));
    subject.let_time_pass(&expired, HOUR / 30);
    let first = call();
    store.create(&ended, &record_for(&ended), &first).expect("create works");
    assert!(delete(store, &ended), "promise 7: the session was alive");
    purge(store, namespace);
    let again = store.create(&ended, &record_for(&ended), &first);
    assert!(matches!(again, Err(Refusal::Gone)), "promise 16: it does not come back");
    assert!(is_alive(store, &alive), "a purge ends no session");
    let again = store.purge(namespace, &call()).expect("purge works");
    assert_eq!(again.removed, 0, "a purge removes all that is left");
}

/// A key in another namespace that holds nothing, in a group if `key` is in one. Ids and tags depend on the namespace.
fn copy_of<'a>(key: &RecordKey<'_>, namespace: &'a str) -> RecordKey<'a> {
    RecordKey { namespace, id: fresh_key().id, tag: key.tag.map(|_| fresh_group().tag) }
}

// ---- Calls that have to work ----

/// Creates a session that lives for a minute.
#[track_caller]
fn create_short_lived(store: &dyn Store, key: &RecordKey<'_>) {
    create(store, key, &NewRecord { idle_timeout: Some(HOUR / 60), ..record_for(key) });
}

#[track_caller]
fn scan(store: &dyn Maintenance, namespace: &str, with_values: bool) -> Found {
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let scan = Scan { namespace, with_values, from: from.as_ref() };
        let page = store.scan(&scan, &call()).expect("scan works");
        found.extend(page.sessions);
        from = page.next;
        if from.is_none() {
            return found;
        }
    }
}

/// The record of this key, as a scan gives it.
#[track_caller]
fn scanned(store: &dyn Maintenance, key: &RecordKey<'_>) -> StoredRecord {
    let found = scan(store, key.namespace, true);
    let of_key = found.into_iter().find(|(at, _)| at.key(key.namespace) == *key);
    of_key.expect("a scan gives the session").1
}

#[track_caller]
fn find(store: &dyn Maintenance, key: &RecordKey<'_>) -> Option<Located> {
    store.find(key.namespace, key.id, &call()).expect("find works")
}

#[track_caller]
fn restore(store: &dyn Maintenance, key: &RecordKey<'_>, record: &StoredRecord) -> Restored {
    store.restore(key, record, &call()).expect("restore works")
}

#[track_caller]
fn purge(store: &dyn Maintenance, namespace: &str) {
    let purged = store.purge(namespace, &call()).expect("purge works");
    assert!(!purged.more, "there was time enough");
}
