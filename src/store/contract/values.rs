//! Change sets and their conditions: promises 4 and 6.

use crate::store::contract::Subject;
use crate::store::contract::setup::{
    HOUR, assert_conflict, change, changes, create, created, fresh_key, load, load_info, pairs, record, set,
    try_change, try_update, update, update_of, values,
};
use crate::store::record::{Record, RecordInfo};
use crate::store::refusal::Refusal;
use crate::store::update::{Change, ChangeSet, Update};

/// Promise 4: an update changes the keys that it names, and no others.
pub fn an_update_changes_the_keys_that_it_names(subject: &dyn Subject) {
    let store = subject.store();
    let key = created(store, &[("a", "1"), ("b", "2"), ("c", "3")]);
    let updated = change(
        store,
        &key,
        &changes([
            ("a", set("10")),
            ("b", Change::Remove),
            ("d", set("4")),
            ("none", Change::Remove),
            ("c", Change::Increment(-5)),
            ("new", Change::Increment(7)),
        ]),
    );
    let totals = [("c".to_owned(), -2), ("new".to_owned(), 7)];
    assert_eq!(updated.totals, totals, "promise 4: the answer has the totals of the increments");
    let expected = pairs(&[("a", "10"), ("c", "-2"), ("d", "4"), ("new", "7")]);
    assert_eq!(values(store, &key), expected, "promise 4: all changes are made, and no others");
}

/// Promise 4: `clear` removes all values before the other changes are made.
pub fn clear_removes_all_values_first(subject: &dyn Subject) {
    let store = subject.store();
    let key = created(store, &[("a", "1"), ("c", "-2"), ("d", "4")]);
    let cleared = ChangeSet { clear: true, ..changes([("c", Change::Increment(3)), ("e", set("5"))]) };
    let updated = change(store, &key, &cleared);
    assert_eq!(updated.totals, [("c".to_owned(), 3)], "promise 4: clear comes before an increment");
    assert_eq!(values(store, &key), pairs(&[("c", "3"), ("e", "5")]), "promise 4: clear removes the other values");
    change(store, &key, &ChangeSet { clear: true, ..ChangeSet::default() });
    assert_eq!(values(store, &key), [], "promise 4: a session without values is still alive");
}

/// Promise 4: an update is applied wholly or not at all.
pub fn an_update_is_applied_wholly_or_not_at_all(subject: &dyn Subject) {
    let store = subject.store();
    let most = i64::MAX.to_string();
    let all = [("a", "1"), ("most", &*most), ("text", "\"x\"")];
    let key = fresh_key();
    let before = create(store, &key, &record(&all));
    for culprit in ["most", "text"] {
        let change = ChangeSet {
            idle_timeout: Some(Some(2 * HOUR)),
            ..changes([
                ("a", Change::Remove),
                ("b", set("2")),
                ("count", Change::Increment(1)),
                (culprit, Change::Increment(1)),
                ("z", set("3")),
            ])
        };
        let answer = try_change(store, &key, &change);
        assert!(
            matches!(&answer, Err(Refusal::NotAnInteger { key, .. }) if key == culprit),
            "promise 4: {culprit} cannot be incremented, but the answer is {answer:?}"
        );
        let after = load(store, &key).expect("the session is alive");
        assert_eq!(after.info.version, before.version, "promise 6: a refused update does not change the version");
        assert_eq!(after.info.idle_timeout, before.idle_timeout, "promise 4: nothing of a refused update is applied");
        assert_eq!(values(store, &key), pairs(&all), "promise 4: nothing of a refused update is applied");
    }
}

/// Promise 4: increments are exact for all integers of 64 bits.
pub fn increments_are_exact(subject: &dyn Subject) {
    let store = subject.store();
    let key = created(store, &[]);
    for (before, by) in [(i64::MAX - 1, 1), (i64::MIN, i64::MAX), (0, i64::MIN), (1 << 53, 1), (-1, 1)] {
        change(store, &key, &changes([("n", set(&before.to_string()))]));
        let updated = change(store, &key, &changes([("n", Change::Increment(by))]));
        assert_eq!(updated.totals, [("n".to_owned(), before + by)], "promise 4: increments are exact");
    }
}

/// Promise 6: every update changes the version, and an update can expect a version.
pub fn an_update_changes_the_version_and_can_expect_one(subject: &dyn Subject) {
    let store = subject.store();
    let key = fresh_key();
    let created = create(store, &key, &record(&[("a", "1")]));
    let changes = changes([("a", set("2"))]);
    let expecting = |version| Update { expected: Some(version), ..update_of(&changes) };
    let first = update(store, &key, &expecting(created.version));
    assert_ne!(first.info.version, created.version, "promise 6: an update changes the version");
    let Record { info: loaded, values, .. } = load(store, &key).expect("the session is alive");
    for wrong in [created.version, first.info.version + 1] {
        for known in [None, Some((&loaded, &values))] {
            let wrong = Update { known, ..expecting(wrong) };
            assert_conflict(try_update(store, &key, &wrong));
            assert_conflict(try_update(store, &key, &Update { new_key: Some(fresh_key()), ..wrong }));
        }
    }
    // Rounding may change when the session expires.
    let state = |info: &RecordInfo| (info.version, info.created_at, info.ends_at, info.idle_timeout);
    assert_eq!(state(&loaded), state(&first.info), "promise 6: a load gives the state that the update left");
    update(store, &key, &expecting(loaded.version));
    change(store, &key, &changes);
}

/// Promise 6: an update can require that a key holds a value.
pub fn an_update_can_require_a_value(subject: &dyn Subject) {
    let store = subject.store();
    let key = created(store, &[("a", "2")]);
    let changes = changes([("a", set("2"))]);
    let requiring = |key, json| Update { holds: Some((key, json)), ..update_of(&changes) };
    let first = update(store, &key, &requiring("a", "2"));
    for unmet in [requiring("b", "2"), requiring("a", "3"), requiring("a", "")] {
        let Record { info, values, .. } = load(store, &key).expect("the session is alive");
        for known in [None, Some((&info, &values))] {
            assert_conflict(try_update(store, &key, &Update { known, ..unmet }));
        }
    }
    assert_eq!(load_info(store, &key).version, first.info.version, "promise 6: nothing was applied");
}
