//! All sessions of a namespace end at once: promise 14.

use crate::store::call::Call;
use crate::store::contract::Subject;
use crate::store::contract::setup::{
    assert_gone, call, changes, clear_group, create, delete, fresh_group, fresh_in, fresh_key, is_alive, record_for,
    set, try_change,
};
use crate::store::key::{GroupKey, RecordKey};
use crate::store::store_trait::Store;

/// Promise 14: `clear_namespace` ends all sessions of a namespace, and may be sent again.
pub fn a_namespace_ends_as_one(subject: &dyn Subject) {
    let store = subject.store();
    let namespace = fresh_name();
    let group = fresh_group_in(&namespace);
    let keys = alone_and_in(store, &group);
    let sent = call();
    for _ in 0..2 {
        clear(store, &namespace, &sent);
    }
    for key in &keys {
        assert!(!is_alive(store, key), "promise 14: the session has ended");
        assert_gone(try_change(store, key, &changes([("a", set("9"))])));
        assert!(!delete(store, key), "promise 14: the session was not alive");
    }
    assert_eq!(group_len(store, &group), 0, "promise 14: the group is empty");
}

/// Promise 14: `clear_namespace` touches no other namespace.
pub fn the_end_of_a_namespace_touches_no_other_one(subject: &dyn Subject) {
    let store = subject.store();
    let [namespace, other] = [(); 2].map(|()| fresh_name());
    alone_and_in(store, &fresh_group_in(&namespace));
    let others = alone_and_in(store, &fresh_group_in(&other));
    clear(store, &namespace, &call());
    for key in &others {
        assert!(is_alive(store, key), "promise 14: another namespace is not touched");
    }
}

/// Promise 14: after `clear_namespace`, new sessions in the namespace are alive.
pub fn a_namespace_can_be_used_after_its_end(subject: &dyn Subject) {
    let store = subject.store();
    let namespace = fresh_name();
    let group = fresh_group_in(&namespace);
    alone_and_in(store, &group);
    clear(store, &namespace, &call());
    let keys = alone_and_in(store, &group);
    for key in &keys {
        assert!(is_alive(store, key), "promise 14: a session that was created afterwards is alive");
    }
    let listed = store.group_sessions(&group, &[], &call()).expect("group_sessions works");
    assert_eq!(listed.len(), 1, "promise 14: the group lists only the session that was created afterwards");
    assert_eq!(
        group_len(store, &group),
        1,
        "promise 14: the group counts only the session that was created afterwards"
    );
    let ended = clear_group(store, &group, Some(keys[1].id));
    assert_eq!(ended, 0, "promise 14: a session that had ended before does not count");
    store.check_writes(&namespace, &call()).expect("sessions can be written");
    assert!(is_alive(store, &keys[1]), "check_writes touches no other session");
}

/// A name for a namespace that nothing else uses.
fn fresh_name() -> String {
    format!("contract-{}", fresh_key().id)
}

fn fresh_group_in(namespace: &str) -> GroupKey<'_> {
    GroupKey { namespace, ..fresh_group() }
}

/// Creates a session without a group, and one in this group.
fn alone_and_in<'a>(store: &dyn Store, group: &GroupKey<'a>) -> [RecordKey<'a>; 2] {
    let keys = [RecordKey { tag: None, ..fresh_in(group) }, fresh_in(group)];
    for key in &keys {
        create(store, key, &record_for(key));
    }
    keys
}

fn clear(store: &dyn Store, namespace: &str, call: &Call) {
    store.clear_namespace(namespace, call).expect("clear_namespace works");
}

fn group_len(store: &dyn Store, group: &GroupKey<'_>) -> usize {
    store.group_len(group, &call()).expect("group_len works")
}
