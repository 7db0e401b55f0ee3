//! New ids: a record moves to a new key, and its old key leads to it for a while. Promises 4, 12 and 13.

use crate::store::contract::Subject;
use crate::store::contract::setup::{
    GRACE, HOUR, JOIN, LIMIT, assert_full_life, assert_gone, assert_too_large, call, changes, clear_group, create,
    created, delete, fresh_group, fresh_in, fresh_key, ids, is_alive, load, load_info, log_in, member, move_to, pairs,
    record_for, set, try_change, try_update, update, update_of, values,
};
use crate::store::forward::TRAIL;
use crate::store::key::RecordKey;
use crate::store::record::Record;
use crate::store::refusal::Refusal;
use crate::store::store_trait::Store;
use crate::store::update::{Change, ChangeSet, Update};
use std::time::Duration;

/// Promise 4: a record moves to its new key as a whole, in the same step as the changes.
pub fn a_record_moves_to_its_new_key(subject: &dyn Subject) {
    let store = subject.store();
    let old = created(store, &[("a", "1"), ("b", "2")]);
    subject.let_time_pass(&old, HOUR / 2);
    let before = load_info(store, &old);
    let new = fresh_key();
    let changes = changes([("b", set("3")), ("c", Change::Increment(4))]);
    let moving = Update { new_key: Some(new), ..update_of(&changes) };
    let updated = update(store, &old, &moving);
    assert_eq!(updated.totals, [("c".to_owned(), 4)], "promise 4: the answer has the totals of the increments");
    assert_full_life(&updated.info, HOUR);
    assert!(!is_alive(store, &old), "promise 4: there is nothing under the old key");
    assert_gone(try_update(store, &old, &Update { new_key: Some(fresh_key()), ..moving }));
    let expected = pairs(&[("a", "1"), ("b", "3"), ("c", "4")]);
    assert_eq!(values(store, &new), expected, "promise 4: all values move");
    let after = load_info(store, &new);
    assert_eq!(after.created_at, before.created_at, "promise 4: a move keeps the time of creation");
    assert_ne!(after.version, before.version, "promise 6: a move changes the version");
}

/// Promise 1: a record does not move onto another one.
pub fn a_move_to_a_taken_key_is_refused(subject: &dyn Subject) {
    let store = subject.store();
    let [moving, taken] = [(); 2].map(|()| created(store, &[("a", "9")]));
    let changes = changes([("a", set("1"))]);
    let answer = try_update(store, &moving, &Update { new_key: Some(taken), ..update_of(&changes) });
    assert!(matches!(answer, Err(Refusal::IdTaken)), "promise 1: a taken key is refused, but: {answer:?}");
    for key in [moving, taken] {
        assert_eq!(values(store, &key), pairs(&[("a", "9")]), "promise 1: both records stay as they are");
    }
}

/// Promise 4: if the changes of a move are refused, the record stays where it is.
pub fn a_refused_move_changes_nothing(subject: &dyn Subject) {
    let store = subject.store();
    let (key, new) = (created(store, &[("a", "9")]), fresh_key());
    let too_large = changes([("a", set("1")), ("b", set(&"9".repeat(LIMIT)))]);
    assert_too_large(try_update(store, &key, &Update { new_key: Some(new), ..update_of(&too_large) }));
    assert_eq!(values(store, &key), pairs(&[("a", "9")]), "promise 4: nothing of a refused move is applied");
    assert!(!is_alive(store, &new), "promise 4: nothing of a refused move is applied");
}

/// Promise 2: a record can move to the key of an expired session.
pub fn a_record_moves_to_the_key_of_an_expired_session(subject: &dyn Subject) {
    let store = subject.store();
    let expired = created(store, &[("a", "1")]);
    subject.let_time_pass(&expired, 2 * HOUR);
    let moving = created(store, &[("m", "1")]);
    let changes = changes([("b", set("3")), ("c", Change::Increment(4))]);
    try_update(store, &moving, &Update { new_key: Some(expired), ..update_of(&changes) })
        .expect("promise 2: the key of an expired session is free");
    let expected = pairs(&[("b", "3"), ("c", "4"), ("m", "1")]);
    assert_eq!(values(store, &expired), expected, "promise 2: nothing of the expired session is left");
}

/// Promise 12: for its grace, an old key leads to the record, and says so.
pub fn an_old_key_leads_to_the_record_for_its_grace(subject: &dyn Subject) {
    let store = subject.store();
    for old in alone_and_in_a_group(store) {
        let (new, changes) = (fresh_beside(&old), changes([("b", set("2"))]));
        let moving = Update { new_key: Some(new), grace: Some(GRACE), ..update_of(&changes) };
        let sent = call();
        for _ in 0..2 {
            let moved = store.update(&old, &moving, &sent).expect("promise 9: the second answer is as the first");
            assert_eq!(moved.forwarded_to, None, "promise 12: a move answers for the new key");
        }
        let record = load(store, &old).expect("promise 12: the old key leads to the record");
        assert_eq!(record.forwarded_to, Some(new.id), "promise 12: a load says which id the session has now");
        assert_eq!(record.values.len(), 2, "promise 12: the old key leads to the same record");
        let updated = try_change(store, &old, &self::changes([("n", Change::Increment(1))]))
            .expect("promise 12: an update works with the old key");
        assert_eq!(updated.forwarded_to, Some(new.id), "promise 12: an update says which id the session has now");
        assert_eq!(updated.totals[0].1, 1, "promise 12: the update reached the record");
    }
}

/// Promise 12: a move with an old key is `Gone`, even in its grace.
pub fn an_old_key_cannot_move_the_record_again(subject: &dyn Subject) {
    let store = subject.store();
    for old in alone_and_in_a_group(store) {
        let new = fresh_beside(&old);
        move_to(store, &old, new, Some(GRACE));
        for grace in [None, Some(GRACE)] {
            let changes = ChangeSet::default();
            let again = Update { new_key: Some(fresh_beside(&old)), grace, ..update_of(&changes) };
            let answer = try_update(store, &old, &again);
            assert!(matches!(answer, Err(Refusal::Gone)), "promise 12: a move with an old key is Gone, not {answer:?}");
        }
        assert!(is_alive(store, &new), "promise 12: the session stays under its new key");
    }
}

/// Promise 12: after two moves, both old keys lead to the record.
pub fn all_old_keys_lead_to_the_record(subject: &dyn Subject) {
    let store = subject.store();
    for old in alone_and_in_a_group(store) {
        let [new, newer] = moved_twice(store, &old, Some(GRACE));
        for key in [old, new] {
            let record = load(store, &key).expect("promise 12: both old keys lead to the record");
            assert_eq!(record.forwarded_to, Some(newer.id), "promise 12: both old keys lead to the newest id");
            assert_eq!(record.values.len(), 1, "promise 12: both old keys lead to the same record");
        }
        if let Some(tag) = old.tag {
            assert_eq!(ids(store, &old.group(tag)), [newer.id], "promise 8: the session is listed once");
        }
    }
}

/// Promise 12: a `delete` with a key that is in its grace ends the session under all of its keys.
pub fn a_delete_in_a_grace_ends_the_session(subject: &dyn Subject) {
    let store = subject.store();
    for old in alone_and_in_a_group(store) {
        let [new, newer] = moved_twice(store, &old, Some(GRACE));
        assert!(delete(store, &old), "promise 12: the session was alive");
        for key in [old, new, newer] {
            assert!(!is_alive(store, &key), "promise 12: the session has ended under all of its keys");
        }
    }
}

/// Promise 12: after a move without a grace, no old key leads to the record.
pub fn without_a_grace_no_old_key_leads_to_the_record(subject: &dyn Subject) {
    let store = subject.store();
    for first in alone_and_in_a_group(store) {
        let [second, last] = [(); 2].map(|()| fresh_beside(&first));
        move_to(store, &first, second, Some(GRACE));
        move_to(store, &second, last, None);
        for key in [first, second] {
            assert!(!is_alive(store, &key), "promise 12: without a grace there is nothing under an old key");
        }
        assert_gone(try_change(store, &first, &changes([("b", set("2"))])));
        assert!(is_alive(store, &last), "promise 12: the session is alive under its new key");
    }
}

/// Promise 12: a grace ends, but the session does not.
pub fn a_grace_ends(subject: &dyn Subject) {
    let store = subject.store();
    for old in alone_and_in_a_group(store) {
        let new = fresh_beside(&old);
        move_to(store, &old, new, Some(GRACE));
        subject.let_time_pass(&old, GRACE);
        assert!(!is_alive(store, &old), "promise 12: the grace has ended");
        assert!(is_alive(store, &new), "promise 12: the session has not ended");
    }
}

/// Promise 12: a session that has moved ends with its group.
pub fn a_session_that_has_moved_ends_with_its_group(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let (old, new) = (member(store, &group), fresh_in(&group));
    move_to(store, &old, new, Some(GRACE));
    clear_group(store, &group, None);
    for key in [old, new] {
        assert!(!is_alive(store, &key), "promise 12: the session has ended with its group");
    }
}

/// Promise 12: a `clear_group` that spares a session ends its graces.
pub fn sparing_a_session_ends_its_graces(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let old = member(store, &group);
    let [new, newer] = moved_twice(store, &old, Some(GRACE));
    let other = member(store, &group);
    // A request that came with an old id knows the whole record.
    let Record { info, values, .. } = load(store, &old).expect("promise 12: the old key leads to the record");
    // The session that stays may be named by an old id.
    let ended = clear_group(store, &group, Some(old.id));
    assert_eq!(ended, 1, "promise 12: all sessions end except the spared one");
    assert_eq!(ids(store, &group), [newer.id], "promise 12: all sessions end except the spared one");
    for key in [old, new, other] {
        assert!(!is_alive(store, &key), "promise 12: the graces of the spared session have ended");
        for known in [None, Some((&info, &values))] {
            let changes = changes([("a", set("9"))]);
            assert_gone(try_update(store, &key, &Update { known, ..update_of(&changes) }));
        }
    }
    assert!(is_alive(store, &newer), "promise 12: the spared session is alive");

    let last = fresh_in(&group);
    move_to(store, &newer, last, Some(GRACE));
    assert!(is_alive(store, &newer), "promise 12: a later grace holds");
    for key in [old, new] {
        assert!(!is_alive(store, &key), "promise 12: a later grace does not bring earlier ones back");
    }
}

/// Promise 12: a `clear_group` of another group neither spares a session nor ends its graces.
pub fn clearing_another_group_does_not_end_graces(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let (old, new) = (member(store, &group), fresh_in(&group));
    move_to(store, &old, new, Some(GRACE));
    clear_group(store, &fresh_group(), Some(new.id));
    assert!(is_alive(store, &old), "promise 12: the grace goes on");
}

/// Promise 13: for an hour after a move, a `delete` with an old key ends the session.
pub fn an_old_key_ends_the_session_for_an_hour(subject: &dyn Subject) {
    let store = subject.store();
    for old in [fresh_key(), fresh_in(&fresh_group())] {
        create(store, &old, &record_for(&old));
        let [_, newer] = moved_twice(store, &old, None);
        subject.let_time_pass(&old, TRAIL / 2);
        assert!(!is_alive(store, &old), "promise 13: the old key leads to the record only to end it");
        assert!(delete(store, &old), "promise 13: the session was alive");
        assert!(!is_alive(store, &newer), "promise 13: the session has ended");
    }
}

/// Promise 13: after a login, the key from before it does not end the session.
pub fn the_key_before_a_login_does_not_end_the_session(subject: &dyn Subject) {
    let store = subject.store();
    let (old, joined) = (created(store, &[("a", "1")]), fresh_in(&fresh_group()));
    log_in(store, &old, joined, JOIN);
    assert!(!delete(store, &old), "promise 13: there is nothing to end");
    assert!(is_alive(store, &joined), "promise 13: an attacker who planted the old id cannot end the session");
}

/// Sessions to be moved: one without a group, and one in a group.
fn alone_and_in_a_group(store: &dyn Store) -> [RecordKey<'static>; 2] {
    [created(store, &[("a", "1")]), member(store, &fresh_group())]
}

/// A fresh key in the same group, or without one.
fn fresh_beside<'a>(key: &RecordKey<'a>) -> RecordKey<'a> {
    RecordKey { id: fresh_key().id, ..*key }
}

/// Moves a session to a second key and to a third, and gives both.
fn moved_twice<'a>(store: &dyn Store, key: &RecordKey<'a>, grace: Option<Duration>) -> [RecordKey<'a>; 2] {
    let [new, newer] = [(); 2].map(|()| fresh_beside(key));
    move_to(store, key, new, grace);
    move_to(store, &new, newer, grace);
    [new, newer]
}
