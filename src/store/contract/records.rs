//! Records are created, found and ended: promises 1, 2, 5 and 7.

use crate::end_reason::EndReason;
use crate::store::contract::Subject;
use crate::store::contract::setup::{
    HOUR, LIMIT, assert_gone, assert_too_large, call, change, changes, created, delete, fresh_key, is_alive, pairs,
    record, set, try_change, try_update, update_of, values,
};
use crate::store::refusal::Refusal;
use crate::store::update::{Change, ChangeSet, Update};

/// Promise 1: `create` never overwrites a record.
pub fn create_never_overwrites(subject: &dyn Subject) {
    let store = subject.store();
    let key = created(store, &[("a", "1")]);
    let answer = store.create(&key, &record(&[("a", "2")]), &call());
    assert!(
        matches!(answer, Err(Refusal::IdTaken)),
        "promise 1: create answers IdTaken if the key is taken, not {answer:?}"
    );
    assert_eq!(values(store, &key), pairs(&[("a", "1")]), "promise 1: create never overwrites");
}

/// Promise 1: a record can be created without values.
pub fn a_record_may_be_empty(subject: &dyn Subject) {
    let store = subject.store();
    let key = created(store, &[]);
    assert_eq!(values(store, &key), [], "promise 1: a record may be empty");
}

/// Promise 4: `create` refuses values that are too large, and keeps nothing of them.
pub fn create_refuses_values_that_are_too_large(subject: &dyn Subject) {
    let store = subject.store();
    let key = fresh_key();
    assert_too_large(store.create(&key, &record(&[("a", &"9".repeat(LIMIT))]), &call()));
    assert!(!is_alive(store, &key), "promise 4: a refused record is not kept");
}

/// Promise 2: a load of an unknown or ended session finds nothing.
pub fn a_load_of_an_unknown_or_ended_session_finds_nothing(subject: &dyn Subject) {
    let store = subject.store();
    assert!(!is_alive(store, &fresh_key()), "promise 2: there is nothing under an unknown key");
    let ended = created(store, &[("a", "1")]);
    delete(store, &ended);
    assert!(!is_alive(store, &ended), "promise 2: there is nothing under the key of an ended session");
}

/// Promises 2 and 4: any text comes back as it was set.
pub fn any_text_is_kept_as_it_is(subject: &dyn Subject) {
    let store = subject.store();
    let json = "\"\\u0000 \u{1F980} ' \\\" %s $1 \u{7f}\"";
    let texts = ["", "v", ":", "a b", "'; DROP TABLE sessions", "\0", "\u{1F980}", "{x}", "\r\n"];
    let all: Vec<(&str, &str)> = texts.iter().map(|key| (*key, json)).collect();
    let key = created(store, &all);
    assert_eq!(values(store, &key), pairs(&all), "promise 2: any key and value is kept");
    let removals = texts.iter().map(|key| (key.to_string(), Change::Remove)).collect();
    change(store, &key, &ChangeSet { keys: removals, ..ChangeSet::default() });
    assert_eq!(values(store, &key), [], "promise 4: any key can be removed");
}

/// Promise 5: an update of an ended session is `Gone`, and brings nothing back.
pub fn an_update_of_an_ended_session_is_gone(subject: &dyn Subject) {
    let store = subject.store();
    let change = changes([("a", set("1"))]);
    assert_gone(try_change(store, &fresh_key(), &change));
    let ended = created(store, &[("a", "1")]);
    delete(store, &ended);
    assert_gone(try_change(store, &ended, &change));
    let expired = created(store, &[("a", "1")]);
    subject.let_time_pass(&expired, 2 * HOUR);
    assert_gone(try_change(store, &expired, &change));
    assert_gone(try_update(store, &ended, &Update { new_key: Some(fresh_key()), ..update_of(&change) }));
    for key in [ended, expired] {
        assert!(!is_alive(store, &key), "promise 5: an update brings nothing back");
    }
}

/// Promise 5: an update of an ended session does not touch the record under the new key.
pub fn an_update_of_an_ended_session_leaves_its_new_key_alone(subject: &dyn Subject) {
    let store = subject.store();
    let ended = created(store, &[("a", "1")]);
    delete(store, &ended);
    let other = created(store, &[("a", "9")]);
    let change = changes([("a", set("1"))]);
    let answer = try_update(store, &ended, &Update { new_key: Some(other), ..update_of(&change) });
    assert!(matches!(answer, Err(Refusal::Gone | Refusal::IdTaken)), "promise 5: the session ended, but: {answer:?}");
    assert_eq!(values(store, &other), pairs(&[("a", "9")]), "promise 1: another record stays as it is");
}

/// Promise 7: a `delete` ends a session, says whether it was alive, and may be repeated.
pub fn a_delete_ends_the_session_and_may_be_repeated(subject: &dyn Subject) {
    let store = subject.store();
    let key = created(store, &[("a", "1")]);
    let other = created(store, &[("a", "2")]);
    for was_alive in [true, false] {
        let answer = store.delete(&key, EndReason::LoggedOut, &call()).expect("promise 7: delete may be repeated");
        assert_eq!(answer.is_some(), was_alive, "promise 7: delete says whether the session was alive");
        assert!(!is_alive(store, &key), "promise 7: the session has ended");
    }
    assert_eq!(values(store, &other), pairs(&[("a", "2")]), "promise 7: no other session has ended");
}
