//! Why sessions have ended: promises 2 and 16.

use crate::end_reason::EndReason;
use crate::store::contract::Subject;
use crate::store::contract::setup::{
    GRACE, HOUR, JOIN, at_most, call, clear_group, created, delete, fresh_group, fresh_in, fresh_key, log_in, member,
    member_with, move_to, reason,
};
use crate::store::key::{GroupKey, RecordKey};
use crate::store::store_trait::Store;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Promise 2: a load says why the session has ended.
pub fn an_ended_session_says_why(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    assert_eq!(reason(store, &fresh_key()), EndReason::Expired, "promise 2: an unknown session counts as expired");
    for of_call in [EndReason::LoggedOut, EndReason::LoggedOutElsewhere] {
        for key in [created(store, &[("a", "1")]), member(store, &group)] {
            let ended = store.delete(&key, of_call, &call()).expect("delete works");
            assert_eq!(ended, Some(key.id), "promise 7: the session was alive");
            assert_eq!(reason(store, &key), of_call, "promise 2: the reason is that of the call");
            delete(store, &key);
            assert_eq!(reason(store, &key), of_call, "promise 2: the first reason counts");
        }
    }
    let [first, second] = [(); 2].map(|()| member(store, &group));
    clear_group(store, &group, Some(second.id));
    assert_eq!(reason(store, &first), EndReason::LoggedOutElsewhere, "promise 2: its group has ended");
    member_with(store, &group, at_most(1));
    assert_eq!(reason(store, &second), EndReason::OverLimit, "promise 2: a login has ended it");
    for key in [created(store, &[("a", "1")]), member(store, &group)] {
        subject.let_time_pass(&key, 2 * HOUR);
        assert_eq!(reason(store, &key), EndReason::Expired, "promise 2: its time is over");
    }
    for (old, new) in in_and_out_of_groups(store, &group) {
        match new.tag == old.tag {
            true => move_to(store, &old, new, None),
            false => log_in(store, &old, new, JOIN),
        };
        assert_eq!(reason(store, &old), EndReason::NewId, "promise 2: the session lives on under a new id");
    }
}

/// Sessions, and a new key for each: without a group, in the same group, and in another one.
fn in_and_out_of_groups<'a>(store: &dyn Store, group: &GroupKey<'a>) -> [(RecordKey<'a>, RecordKey<'a>); 4] {
    [
        (created(store, &[("a", "1")]), fresh_key()),
        (created(store, &[("a", "1")]), fresh_in(group)),
        (member(store, group), fresh_in(group)),
        (member(store, group), fresh_in(&fresh_group())),
    ]
}

/// Promise 2: an old id in its grace says why the session has ended.
pub fn an_old_id_says_why_the_session_has_ended(subject: &dyn Subject) {
    let store = subject.store();
    for old in [created(store, &[("a", "1")]), member(store, &fresh_group())] {
        let new = RecordKey { id: fresh_key().id, ..old };
        move_to(store, &old, new, Some(GRACE));
        let ended = store.delete(&old, EndReason::LoggedOut, &call()).expect("delete works");
        assert_eq!(ended, Some(new.id), "promise 13: the answer says which id the session had");
        assert_eq!(reason(store, &old), EndReason::LoggedOut, "promise 2: the session has ended under its new id");
    }
}

/// Promise 16: the store remembers for 5 minutes why a session has ended, however old the session was.
pub fn a_reason_is_remembered_for_five_minutes(subject: &dyn Subject) {
    let store = subject.store();
    for is_in_group in [false, true] {
        let key = if is_in_group { member(store, &fresh_group()) } else { created(store, &[("a", "1")]) };
        subject.let_time_pass(&key, HOUR / 2);
        delete(store, &key);
        subject.let_time_pass(&key, 4 * MINUTE);
        assert_eq!(reason(store, &key), EndReason::LoggedOut, "promise 16: the reason is still known");
        subject.let_time_pass(&key, 2 * MINUTE);
        assert_eq!(reason(store, &key), EndReason::Expired, "promise 16: the reason is forgotten");
    }
}
