//! Change sets and their conditions: promises 4 and 6.

use crate::store::contract::Subject;
use crate::store::contract::setup::{
    HOUR, LIMIT, assert_conflict, call, change, changes, create, created, fresh_group, fresh_in, fresh_key, load,
    load_info, move_to, pairs, record, record_for, set, try_change, try_update, update, update_of, values,
};
use crate::store::key::RecordKey;
use crate::store::record::{Record, RecordInfo, Size};
use crate::store::refusal::Refusal;
use crate::store::stored_value::StoredValue;
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

/// Promise 4: `clear` leaves the library's own values, whose keys begin with two NUL characters.
pub fn clear_leaves_the_librarys_own_values(subject: &dyn Subject) {
    let store = subject.store();
    let own = [("\0\0", "1"), ("\0\0own", "2"), ("\0\0\u{10ffff}", "3")];
    let others = [("", "1"), ("\0", "2"), ("\0own", "3"), ("\0\u{1}", "4"), ("a\0\0", "5")];
    let key = created(store, &[&own[..], &others].concat());
    let more = changes([("\0\0own", Change::Remove), ("\0\0more", set("4")), ("new", set("5"))]);
    change(store, &key, &ChangeSet { clear: true, ..more });
    let left = [("\0\0", "1"), ("\0\0more", "4"), ("\0\0\u{10ffff}", "3"), ("new", "5")];
    assert_eq!(values(store, &key), pairs(&left), "promise 4: the library's own values stay");
    // The store still knows the size: the next change may fill the record up to the limit, and no further.
    let size = Size::of(&load(store, &key).expect("the session is alive").values).bytes;
    let fills = |bytes: usize| changes([("f", set(&"1".repeat(LIMIT - size - 1 + bytes)))]);
    assert!(matches!(try_change(store, &key, &fills(1)), Err(Refusal::TooLarge { .. })), "promise 5: it is too large");
    change(store, &key, &fills(0));
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

/// Promise 4: a value that is sealed comes back byte by byte, whatever is done with its session.
pub fn a_sealed_value_is_kept_as_it_is(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    // All bytes, and one that ends early in text.
    let sealed = [&[1][..], &Vec::from_iter(0..=255)].concat();
    let [first, second] = [sealed, vec![1, 0, 255]].map(StoredValue::Sealed);
    let key = fresh_in(&group);
    let mut new = record_for(&key);
    new.values.insert("a".to_owned(), first.clone());
    create(store, &key, &new);
    let info = load_info(store, &key);
    let of = |key: &RecordKey<'_>| load(store, key).expect("the session is alive").values;
    assert_eq!(of(&key).get("a"), Some(&first), "promise 4: a value comes back as it is");
    let to_second = changes([("b", Change::Set(second.clone()))]);
    let known = of(&key);
    let update_of = |changes| Update { known: Some((&info, &known)), ..update_of(changes) };
    update(store, &key, &Update { holds: Some(("a", &first)), ..update_of(&to_second) });
    assert_eq!((of(&key).get("a"), of(&key).get("b")), (Some(&first), Some(&second)), "promise 4: it comes back");
    let refused = try_change(store, &key, &changes([("a", Change::Increment(1))]));
    assert!(matches!(refused, Err(Refusal::NotAnInteger { .. })), "promise 4: it is no number");
    let new_key = fresh_in(&group);
    move_to(store, &key, new_key, None);
    assert_eq!(of(&new_key).get("b"), Some(&second), "promise 4: it comes along");
    let listed = store.group_sessions(&group, &["a"], &call()).expect("group_sessions works");
    assert_eq!(listed[0].values.get("a"), Some(&first), "promise 8: a list has it");
}

/// Promise 6: an update can require that a key holds a value.
pub fn an_update_can_require_a_value(subject: &dyn Subject) {
    let store = subject.store();
    let key = created(store, &[("a", "2")]);
    let changes = changes([("a", set("2"))]);
    let [two, three, empty] = ["2", "3", ""].map(StoredValue::from);
    let requiring = |key, json| Update { holds: Some((key, json)), ..update_of(&changes) };
    let first = update(store, &key, &requiring("a", &two));
    for unmet in [requiring("b", &two), requiring("a", &three), requiring("a", &empty)] {
        let Record { info, values, .. } = load(store, &key).expect("the session is alive");
        for known in [None, Some((&info, &values))] {
            assert_conflict(try_update(store, &key, &Update { known, ..unmet }));
        }
    }
    assert_eq!(load_info(store, &key).version, first.info.version, "promise 6: nothing was applied");
}
