//! The limits for the size of a session and for the number of its keys: promise 4.

use crate::store::contract::Subject;
use crate::store::contract::setup::{
    LIMIT, SIZE_LIMIT, assert_too_large, call, change, changes, created, fresh_key, load, record, set, try_change,
    try_update, update_of,
};
use crate::store::record::Size;
use crate::store::refusal::Refusal;
use crate::store::update::{Change, ChangeSet, Update};
use std::fmt::Debug;

/// Promise 4: the size limit holds for the result of an update, to the byte.
pub fn the_size_limit_holds_for_the_result(subject: &dyn Subject) {
    let store = subject.store();
    let key = created(store, &[("a", "1")]);
    let largest = "9".repeat(LIMIT - 3);
    let answer = try_change(store, &key, &changes([("b", set(&format!("{largest}9")))]));
    assert_size_is_one_too_large(answer);
    try_change(store, &key, &changes([("b", set(&largest))])).expect("promise 4: the limit itself is allowed");
    // An increment makes the number longer.
    assert_too_large(try_change(store, &key, &changes([("a", Change::Increment(9))])));
    // Sizes are in bytes, not in characters.
    let wide = changes([("ü", set("\"ü\"")), ("b", set(&"9".repeat(LIMIT - 8)))]);
    assert_size_is_one_too_large(try_change(store, &key, &wide));
    let smaller = changes([("b", set("1")), ("a", Change::Increment(9))]);
    try_change(store, &key, &smaller).expect("promise 4: a replaced value does not count");
    let size = Size::of(&load(store, &key).expect("the session is alive").values).bytes;
    let rest = "9".repeat(LIMIT - size - 1);
    try_change(store, &key, &changes([("c", set(&rest))])).expect("promise 4: the size does not drift");
}

fn assert_size_is_one_too_large<T: Debug>(answer: Result<T, Refusal>) {
    match answer {
        Err(Refusal::TooLarge { bytes: size, limit: LIMIT, .. }) => {
            assert_eq!(size, LIMIT + 1, "promise 4: the size is exact")
        }
        other => panic!("promise 4: the size limit holds to the byte, but: {other:?}"),
    }
}

/// Promise 4: a session that is larger than the limit can become smaller, but not larger.
pub fn a_session_beyond_the_size_limit_can_only_shrink(subject: &dyn Subject) {
    let store = subject.store();
    let key = created(store, &[("a", "10"), ("b", "1"), ("c", &"9".repeat(100))]);
    // The values that remain are larger than this limit, too.
    let strict = Size { bytes: 4, ..SIZE_LIMIT };
    let (larger, smaller) = (changes([("d", set("1"))]), changes([("c", Change::Remove)]));
    assert_too_large(try_update(store, &key, &Update { size_limit: strict, ..update_of(&larger) }));
    try_update(store, &key, &Update { size_limit: strict, ..update_of(&smaller) })
        .expect("promise 4: a session that is too large can become smaller");
}

/// Promise 4: the limit of keys holds for the result of a `create` or an update.
pub fn the_limit_of_keys_holds_for_the_result(subject: &dyn Subject) {
    let store = subject.store();
    let names: Vec<String> = (0..=SIZE_LIMIT.keys).map(|number| format!("k{number}")).collect();
    let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_one_key_too_many(store.create(&fresh_key(), &record(&all), &call()));
    let key = created(store, &all[1..]);
    for one_more in [set("1"), Change::Increment(1)] {
        assert_one_key_too_many(try_change(store, &key, &changes([("k0", one_more)])));
    }
    let swap = changes([("k1", Change::Remove), ("none", Change::Remove), ("k2", set("2")), ("k0", set("1"))]);
    try_change(store, &key, &swap).expect("promise 4: only the number of keys in the result counts");
    // The counted number of keys stays exact.
    assert_one_key_too_many(try_change(store, &key, &changes([("k1", set("1"))])));
    let fewer = changes([("k0", Change::Remove)]);
    try_update(store, &key, &Update { size_limit: Size { keys: 5, ..SIZE_LIMIT }, ..update_of(&fewer) })
        .expect("promise 4: a session that has too many keys can lose some");
    change(store, &key, &ChangeSet { clear: true, ..changes([("a", set("1"))]) });
    try_change(store, &key, &changes([("b", set("1"))])).expect("promise 4: cleared keys do not count");
}

fn assert_one_key_too_many<T: Debug>(answer: Result<T, Refusal>) {
    assert!(
        matches!(answer, Err(Refusal::TooManyKeys { keys: 21, limit: 20, .. })),
        "promise 4: the limit of keys holds, but: {answer:?}"
    );
}
