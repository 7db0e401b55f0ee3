//! The values of groups: promise 18.

use crate::store::contract::Subject;
use crate::store::contract::setup::{
    HOUR, JOIN, call, change, clear_group, create, created, delete, fresh_group, fresh_in, fresh_key, load, log_in,
    member, move_to, new_idle_timeout, peek, record, set_in_group, texts, try_to_set_in_group,
};
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::{NewRecord, Values};
use crate::store::refusal::Refusal;
use crate::store::store_trait::Store;

/// The values of its group that a session sees. A load, a peek and the group itself have to give the same.
#[track_caller]
fn seen(store: &dyn Store, key: &RecordKey<'_>) -> Vec<(String, String)> {
    let peeked = peek(store, key).expect("the session is alive").group_values;
    let loaded = load(store, key).expect("the session is alive").group_values;
    assert_eq!(peeked, loaded, "promise 18: a peek and a load give the same values");
    if let Some(tag) = key.tag {
        assert_eq!(of(store, &key.group(tag)), loaded, "promise 18: the group gives the same values");
    }
    texts(loaded)
}

#[track_caller]
fn of(store: &dyn Store, group: &GroupKey<'_>) -> Values {
    store.group_values(group, &call()).expect("group_values works")
}

fn one(key: &str, json: &str) -> Vec<(String, String)> {
    vec![(key.to_owned(), json.to_owned())]
}

/// Promise 18: every session of a group sees the values of the group, and no other session does.
pub fn every_session_of_a_group_sees_its_values(subject: &dyn Subject) {
    let store = subject.store();
    let [group, other] = [fresh_group(), fresh_group()];
    let (members, stranger, alone) =
        ([(); 2].map(|()| member(store, &group)), member(store, &other), created(store, &[("a", "1")]));
    assert_eq!(seen(store, &members[0]), [], "promise 18: nothing was set");
    set_in_group(store, &group, "roles", Some("[1]"));
    for key in &members {
        assert_eq!(seen(store, key), one("roles", "[1]"), "promise 18: the next load sees the value");
    }
    for key in [&stranger, &alone] {
        assert_eq!(seen(store, key), [], "promise 18: the values belong to one group");
    }
    set_in_group(store, &group, "roles", Some("[2]"));
    set_in_group(store, &group, "locale", Some("\"de\""));
    set_in_group(store, &group, "roles", None);
    set_in_group(store, &group, "unknown", None);
    let new = fresh_in(&group);
    move_to(store, &members[0], new, None);
    for key in [&new, &members[1]] {
        assert_eq!(seen(store, key), one("locale", "\"de\""), "promise 18: the next load sees the change");
    }
    let elsewhere = fresh_in(&other);
    log_in(store, &new, elsewhere, JOIN);
    assert_eq!(seen(store, &elsewhere), [], "promise 18: a session sees the values of its present group");
    assert_eq!(load(store, &members[1]).expect("it is alive").values, record(&[("a", "1")]).values, "promise 18");
}

/// Promise 18: the end of sessions does not remove the values of their group.
pub fn the_values_of_a_group_outlast_its_sessions(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    set_in_group(store, &group, "a", Some("1"));
    let first = member(store, &group);
    assert_eq!(seen(store, &first), one("a", "1"), "promise 18: values can be set before the first login");
    delete(store, &first);
    let second = member(store, &group);
    assert_eq!(seen(store, &second), one("a", "1"), "promise 18: a logout does not remove them");
    clear_group(store, &group, None);
    let third = member(store, &group);
    let fourth = member(store, &group);
    clear_group(store, &group, Some(fourth.id));
    assert_eq!(seen(store, &fourth), one("a", "1"), "promise 18: the end of the group does not remove them");
    assert!(load(store, &third).is_none(), "promise 8: the session has ended");
}

/// Promise 18: the values of a group are kept as long as a session lives, and at least for an idle timeout.
pub fn the_values_of_a_group_expire(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    set_in_group(store, &group, "a", Some("1"));
    // Time passes for the values too.
    let nobody = fresh_in(&group);
    subject.let_time_pass(&nobody, HOUR / 2);
    assert_eq!(of(store, &group).len(), 1, "promise 18: the idle timeout has not passed");
    set_in_group(store, &group, "b", Some("1"));
    subject.let_time_pass(&nobody, HOUR / 2 + HOUR / 4);
    assert_eq!(of(store, &group).len(), 2, "promise 18: a change keeps them for another idle timeout");
    subject.let_time_pass(&nobody, HOUR / 2);
    assert_eq!(of(store, &group).len(), 0, "promise 18: they have expired");

    // Values that have expired do not come back, even if the store has not removed them yet.
    let groups = [(); 6].map(|()| fresh_group());
    for group in &groups {
        set_in_group(store, group, "a", Some("1"));
        subject.let_time_pass(&fresh_in(group), 2 * HOUR);
    }
    for group in groups.iter().rev() {
        let new = fresh_in(group);
        create(store, &new, &NewRecord { join: Some(JOIN), ..record(&[]) });
        assert_eq!(seen(store, &new), [], "promise 18: a new session does not bring expired values back");
    }

    let lives = |key: &RecordKey<'_>| {
        subject.let_time_pass(key, 2 * HOUR);
        assert_eq!(seen(store, key), one("a", "2"), "promise 18: a session lives, so the values are kept");
    };
    let [before, after] = [fresh_group(), fresh_group()];
    let own = NewRecord { join: Some(JOIN), idle_timeout: Some(10 * HOUR), ..record(&[]) };
    let long = fresh_in(&before);
    create(store, &long, &own);
    set_in_group(store, &before, "a", Some("2"));
    lives(&long);
    set_in_group(store, &after, "a", Some("2"));
    let long = fresh_in(&after);
    create(store, &long, &own);
    lives(&long);
    // The load has refreshed the session. A session that lives longer keeps them longer.
    lives(&long);
    change(store, &long, &new_idle_timeout(100 * HOUR));
    subject.let_time_pass(&long, 9 * HOUR);
    lives(&long);
    let login = fresh_group();
    set_in_group(store, &login, "a", Some("2"));
    let (alone, joined) = (created(store, &[]), fresh_in(&login));
    change(store, &alone, &new_idle_timeout(10 * HOUR));
    log_in(store, &alone, joined, JOIN);
    lives(&joined);
}

/// Promise 18: the end of a namespace ends the values of its groups.
pub fn the_values_of_a_group_end_with_their_namespace(subject: &dyn Subject) {
    let store = subject.store();
    let namespace = format!("contract-{}", fresh_key().id);
    let group = GroupKey { namespace: &namespace, ..fresh_group() };
    member(store, &group);
    set_in_group(store, &group, "a", Some("1"));
    store.clear_namespace(&namespace, &call()).expect("clear_namespace works");
    assert_eq!(of(store, &group).len(), 0, "promise 18: the namespace has ended");
    let new = member(store, &group);
    assert_eq!(seen(store, &new), [], "promise 18: a new session does not see them");
    set_in_group(store, &group, "b", Some("2"));
    assert_eq!(seen(store, &new), one("b", "2"), "promise 18: new values can be set");
}

/// Promise 18: a change that is sent twice is applied once, and the size limit holds.
pub fn a_change_of_group_values_is_applied_once(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let sent = call();
    try_to_set_in_group(store, &group, "a", Some("1"), &sent).expect("update_group works");
    for _ in 0..23 {
        set_in_group(store, &group, "a", Some("2"));
    }
    try_to_set_in_group(store, &group, "a", Some("1"), &sent).expect("promise 18: it may be sent again");
    assert_eq!(of(store, &group)["a"].json(), Some("2"), "promise 18: the repeated call does not undo a later one");
    let large = format!("\"{}\"", "x".repeat(600));
    set_in_group(store, &group, "large", Some(&large));
    let answer = try_to_set_in_group(store, &group, "more", Some(&large), &call());
    assert!(matches!(answer, Err(Refusal::TooLarge { .. })), "promise 18: the size limit holds: {answer:?}");
    set_in_group(store, &group, "large", None);
    for number in 0..19 {
        set_in_group(store, &group, &format!("key {number}"), Some("1"));
    }
    let answer = try_to_set_in_group(store, &group, "more", Some("1"), &call());
    assert!(matches!(answer, Err(Refusal::TooManyKeys { .. })), "promise 18: the limit of keys holds: {answer:?}");
    assert_eq!(of(store, &group).len(), 20, "promise 18: a refused change changes nothing");
}
