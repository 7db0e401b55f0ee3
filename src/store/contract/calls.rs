//! Calls: they end by their deadline, and a call that is sent twice is applied once. Promises 9 and 16.

use crate::deadline::Deadline;
use crate::error::StoreErrorKind;
use crate::store::call::Call;
use crate::store::contract::Subject;
use crate::store::contract::setup::{
    JOIN, LIFETIME, assert_conflict, assert_gone, at_most, call, changes, clear_group, created, delete, fresh_group,
    fresh_in, fresh_key, is_alive, load_info, log_in, member_with, move_to, pairs, record, record_for, try_update,
    update_of, values,
};
use crate::store::key::GroupKey;
use crate::store::refusal::Refusal;
use crate::store::update::{Change, Update};
use std::time::{Duration, Instant};

/// Every call ends by its deadline.
pub fn every_call_ends_by_its_deadline(subject: &dyn Subject) {
    let store = subject.store();
    let key = created(store, &[("a", "1")]);
    let late = Call::until(Deadline::after(Duration::ZERO)).expect("the operating system gives random bytes");
    let start = Instant::now();
    match store.load(&key, &LIFETIME, &late) {
        Ok(loaded) => assert!(loaded.record().is_some(), "promise 2: the session is alive"),
        Err(error) => assert_eq!(error.kind(), StoreErrorKind::Timeout, "a call without time left: {error}"),
    }
    assert!(start.elapsed() < Duration::from_secs(30), "every call ends by its deadline");
}

/// Promise 9: a `create` that is sent twice is applied once.
pub fn a_create_that_is_sent_twice_is_applied_once(subject: &dyn Subject) {
    let store = subject.store();
    let (key, sent) = (fresh_key(), call());
    for _ in 0..2 {
        let created = store.create(&key, &record(&[("n", "1")]), &sent);
        created.expect("promise 9: the second answer is as the first");
    }
}

/// Promise 9: an update that is sent twice is applied once, even after two dozen other updates.
pub fn an_update_that_is_sent_twice_is_applied_once(subject: &dyn Subject) {
    let store = subject.store();
    let key = created(store, &[("n", "1")]);
    let changes = changes([("n", Change::Increment(10))]);
    // The call that created the record does not count.
    let calls: Vec<Call> = (0..24).map(|_| call()).collect();
    for sent in calls.iter().chain(&calls) {
        let updated = store.update(&key, &update_of(&changes), sent).expect("update works");
        assert!(updated.totals[0].1 <= 241, "promise 9: each call is applied once");
    }
    assert_eq!(values(store, &key), pairs(&[("n", "241")]), "promise 9: each call is applied once");
}

/// Promise 9: a refused call was not applied, so it can be sent again.
pub fn a_refused_call_can_be_sent_again(subject: &dyn Subject) {
    let store = subject.store();
    let (key, sent) = (created(store, &[("n", "41")]), call());
    let changes = changes([("n", Change::Increment(10))]);
    let strict = Update { expected: Some(u64::from(u32::MAX)), ..update_of(&changes) };
    assert_conflict(store.update(&key, &strict, &sent));
    let updated = store.update(&key, &update_of(&self::changes([("n", Change::Increment(0))])), &sent);
    let totals = updated.expect("update works").totals;
    assert_eq!(totals, [("n".to_owned(), 41)], "promise 9: the refused call was not applied");
    assert_conflict(try_update(store, &key, &strict));
}

/// Promise 9: a move that is sent twice is applied once, and does not have to meet its conditions again.
pub fn a_move_that_is_sent_twice_is_applied_once(subject: &dyn Subject) {
    let store = subject.store();
    let (key, new, sent) = (created(store, &[("n", "41")]), fresh_key(), call());
    let changes = changes([("n", Change::Increment(10))]);
    let expected = Some(load_info(store, &key).version);
    let moving = Update { new_key: Some(new), expected, ..update_of(&changes) };
    for _ in 0..2 {
        let updated = store.update(&key, &moving, &sent).expect("promise 9: the second answer is as the first");
        assert_eq!(updated.totals, [("n".to_owned(), 51)], "promise 9: the move is applied once");
    }
    assert_eq!(values(store, &new), pairs(&[("n", "51")]), "promise 9: the move is applied once");
    delete(store, &new);
    assert_gone(store.update(&key, &moving, &sent));
}

/// Promise 9: a record remembers its calls when it moves, also into a group and out of it.
pub fn a_record_remembers_calls_when_it_moves(subject: &dyn Subject) {
    let store = subject.store();
    let mut key = created(store, &[]);
    // With the three moves these are two dozen calls.
    let calls: Vec<Call> = (0..21).map(|_| call()).collect();
    let (group, changes) = (fresh_group(), changes([("n", Change::Increment(1))]));
    for (number, sent) in calls.iter().enumerate() {
        store.update(&key, &update_of(&changes), sent).expect("update works");
        let old = key;
        match number {
            5 | 15 => {
                key = fresh_key();
                move_to(store, &old, key, None);
            }
            10 => {
                key = fresh_in(&group);
                log_in(store, &old, key, JOIN);
            }
            _ => {}
        }
    }
    for sent in &calls {
        let updated = store.update(&key, &update_of(&changes), sent).expect("update works");
        assert_eq!(updated.totals, [("n".to_owned(), 21)], "promise 9: each call is applied once");
    }
}

/// Promise 16: a `create` that is sent again does not bring a session back that has ended since.
pub fn a_create_that_is_sent_again_brings_nothing_back(subject: &dyn Subject) {
    let store = subject.store();
    for how in ["delete", "clear_group", "the limit of the group", "clear_namespace"] {
        let namespace = format!("contract-{}", fresh_key().id);
        let group = GroupKey { namespace: &namespace, ..fresh_group() };
        let (key, sent) = (fresh_in(&group), call());
        let create_again = || store.create(&key, &record_for(&key), &sent);
        for _ in 0..2 {
            assert!(create_again().is_ok(), "promise 9: the second answer is as the first");
        }
        match how {
            "delete" => {
                delete(store, &key);
            }
            "clear_group" => {
                clear_group(store, &group, None);
            }
            "clear_namespace" => store.clear_namespace(&namespace, &call()).expect("clear_namespace works"),
            _ => {
                member_with(store, &group, at_most(1));
            }
        }
        let answer = create_again();
        assert!(matches!(answer, Err(Refusal::Gone)), "promise 16: {how} has ended the session, but: {answer:?}");
        assert!(!is_alive(store, &key), "promise 16: {how} has ended the session");
    }
}
