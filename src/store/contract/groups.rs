//! Groups of sessions, which are listed, limited and ended as one: promise 8.

use crate::id::PublicId;
use crate::lifetime::Lifetime;
use crate::store::contract::Subject;
use crate::store::contract::setup::{
    HOUR, JOIN, LIFETIME, assert_gone, assert_near, at_most, call, change, changes, clear_group, create, created,
    delete, fresh_group, fresh_in, fresh_key, ids, is_alive, load, load_info, log_in, member, member_with, move_to,
    new_idle_timeout, pairs, record, refused_at, sessions, set, sorted, texts, try_change, try_update, update,
    update_of, values,
};
use crate::store::key::{GroupKey, RecordKey};
use crate::store::record::{Join, NewRecord, RecordInfo};
use crate::store::refusal::Refusal;
use crate::store::store_trait::Store;
use crate::store::update::Update;
use std::collections::BTreeSet;
use std::time::Duration;

/// Promise 8: the tag of a session's group is part of the session's key.
pub fn the_tag_is_part_of_the_key(subject: &dyn Subject) {
    let store = subject.store();
    let alone = created(store, &[("a", "1")]);
    let [one, two] = [fresh_group(), fresh_group()].map(|group| group.session(alone.id));
    assert!(!is_alive(store, &one), "promise 8: there is nothing under another tag");
    delete(store, &one);
    for (key, json) in [(one, "2"), (two, "3")] {
        let record = NewRecord { join: Some(JOIN), ..record(&[("a", json)]) };
        let created = store.create(&key, &record, &call());
        created.expect("promise 8: a key with another tag is free");
    }
    delete(store, &two);
    assert_eq!(values(store, &alone), pairs(&[("a", "1")]), "promise 8: another tag does not touch the session");
    assert_eq!(values(store, &one), pairs(&[("a", "2")]), "promise 8: another tag does not touch the session");
}

/// Promise 8: a session can join a group, join another one, and join that one again.
pub fn a_session_can_join_groups(subject: &dyn Subject) {
    let store = subject.store();
    let alone = fresh_key();
    let before = create(store, &alone, &record(&[("a", "1"), ("b", "2")]));
    assert_eq!(before.joined_at, None, "promise 8: the session is not in a group");
    let group_name = load(store, &alone).expect("the session is alive").group_name;
    assert_eq!(group_name, None, "promise 8: the session is not in a group");
    subject.let_time_pass(&alone, HOUR / 2);
    let [first, second] = [fresh_group(), fresh_group()];
    let (long_name, changes) = ("\u{1F980} ".repeat(10_000), changes([("z", set("3"))]));
    let lifetime = Lifetime { absolute_timeout: Some(HOUR + HOUR / 2), ..LIFETIME };
    let (mut key, mut left) = (alone, None);
    for (group, name) in [(first, &*long_name), (second, ""), (second, "b")] {
        let to = fresh_in(&group);
        let join = Some(Join { name, ..JOIN });
        let joining = Update { new_key: Some(to), join, lifetime, ..update_of(&changes) };
        let sent = call();
        let info = store.update(&key, &joining, &sent).expect("promise 8: a session can join a group").info;
        let again = store.update(&key, &joining, &sent).expect("promise 9: the second answer is as the first").info;
        assert_eq!((again.version, again.joined_at), (info.version, info.joined_at), "promise 9: applied once");
        assert!(!is_alive(store, &key), "promise 8: there is nothing under the old key");

        let record = load(store, &to).expect("promise 8: the session is alive");
        assert_eq!(record.group_name.as_deref(), Some(name), "promise 8: any group name is kept as it is");
        assert_eq!(record.info.joined_at, info.joined_at, "promise 8: the time of joining is kept");
        assert!(info.joined_at > Some(info.created_at), "promise 8: the session joined after its creation");
        let (joined_at, ends_at) = info.joined_at.zip(info.ends_at).expect("promise 8: it has an absolute timeout");
        assert_near(ends_at, joined_at + HOUR + HOUR / 2);
        assert_eq!(values(store, &to), pairs(&[("a", "1"), ("b", "2"), ("z", "3")]), "promise 4: all values move");
        if let Some(left) = left.filter(|_| key.tag != to.tag) {
            assert_eq!(ids(store, &left), [], "promise 8: the session has left the other group");
        }
        assert_eq!(ids(store, &group), [to.id], "promise 8: the session is a member");
        (key, left) = (to, Some(group));
        subject.let_time_pass(&key, HOUR / 2);
    }
}

/// Promise 8: a new id in the same group is not a login.
pub fn a_new_id_in_the_same_group_is_not_a_login(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let (old, new) = (joined_later(subject, &group), fresh_in(&group));
    let before = load_info(store, &old);
    let changes = changes([("z", set("4"))]);
    let lifetime = Lifetime { absolute_timeout: Some(10 * HOUR), ..LIFETIME };
    let info = update(store, &old, &Update { new_key: Some(new), lifetime, ..update_of(&changes) }).info;
    assert_eq!(info.joined_at, before.joined_at, "promise 8: the time of joining stays");
    assert_eq!(info.ends_at, before.ends_at, "promise 8: the absolute timeout does not begin anew");
    let loaded = load(store, &new).expect("the session is alive");
    assert_eq!(loaded.group_name.as_deref(), Some(JOIN.name), "promise 8: the session keeps the name of its group");
    assert_eq!(ids(store, &group), [new.id], "promise 8: the session is listed under its new id alone");
}

/// Promise 8: the sessions of a group are listed with their times and the values asked for.
pub fn a_group_lists_its_sessions(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let (old, new) = (joined_later(subject, &group), fresh_in(&group));
    move_to(store, &old, new, None);
    let loaded = load_info(store, &new);
    let listed = sessions(store, &group).remove(0);
    assert_eq!(listed.public_id(), new.id, "promise 8: a session is listed under its present id");
    let times = (listed.created_at(), Some(listed.joined_at()), listed.refreshed_at());
    assert_eq!(times, (loaded.created_at, loaded.joined_at, loaded.refreshed_at), "promise 8: a list has all times");
    assert_near(listed.expires_at(), loaded.expires_at);
    assert_eq!(
        texts(listed.values),
        pairs(&[("a", "1"), ("z", "3")]),
        "promise 8: a list has the values asked for, and no others"
    );
}

/// Promise 8: a session can leave its group, and lives on without it.
pub fn a_session_can_leave_its_group(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let (key, alone) = (joined_later(subject, &group), fresh_key());
    let before = load_info(store, &key);
    let changes = changes([("c", set("4"))]);
    let leaving = Update { new_key: Some(alone), ..update_of(&changes) };
    let info = try_update(store, &key, &leaving).expect("promise 8: a session can leave its group").info;
    assert_eq!(info.joined_at, None, "promise 8: the session has left");
    assert_eq!(info.ends_at, before.ends_at, "promise 8: the absolute timeout stays");
    assert_eq!(ids(store, &group), [], "promise 8: the session is not a member any more");
    clear_group(store, &group, None);
    let record = load(store, &alone).expect("promise 8: the session lives on");
    assert_eq!(record.info.ends_at, before.ends_at, "promise 8: the absolute timeout stays");
    assert_eq!(record.group_name, None, "promise 8: the session is not in a group");
    assert_eq!(record.values.len(), 4, "promise 8: the session keeps its values");
}

/// Promise 8: `clear_group` ends all sessions of a group, and no others.
pub fn a_group_ends_as_one(subject: &dyn Subject) {
    let store = subject.store();
    let [group, other] = [fresh_group(), fresh_group()];
    let (outsider, alone) = (member(store, &other), created(store, &[("a", "1")]));
    let members = [(); 3].map(|()| member(store, &group));
    assert_eq!(ids(store, &group), sorted(members), "promise 8: all members are listed");
    let sent = call();
    for _ in 0..2 {
        let ended = store.clear_group(&group, None, &sent).expect("clear_group works").number;
        assert!(ended == 3 || ended == 0, "promise 8: clear_group says how many sessions it ended, not {ended}");
    }
    assert_eq!(ids(store, &group), [], "promise 8: no session is listed");
    for key in members {
        assert!(!is_alive(store, &key), "promise 8: no member is alive");
        assert_gone(try_change(store, &key, &changes([("a", set("2"))])));
        let changes = changes([]);
        assert_gone(try_update(store, &key, &Update { new_key: Some(fresh_key()), ..update_of(&changes) }));
        assert!(!delete(store, &key), "promise 7: the session was not alive");
    }
    for key in [outsider, alone] {
        assert_eq!(values(store, &key), pairs(&[("a", "1")]), "promise 8: no other session is touched");
    }
    assert_eq!(clear_group(store, &group, None), 0, "promise 8: the group is empty");
    let new = member(store, &group);
    assert_eq!(ids(store, &group), [new.id], "promise 8: a group that has ended can be joined again");
}

/// Promise 8: `clear_group` can spare one session, and leaves it as it is.
pub fn all_but_one_session_of_a_group_can_end(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let [spared, first, second] = [(); 3].map(|()| member(store, &group));
    let before = load_info(store, &spared);
    assert_eq!(clear_group(store, &group, Some(spared.id)), 2, "promise 8: all other sessions end");
    assert_eq!(ids(store, &group), [spared.id], "promise 8: the spared session stays");
    let after = load_info(store, &spared);
    let state = |info: &RecordInfo| (info.version, info.joined_at, info.refreshed_at, info.ends_at);
    assert_eq!(state(&after), state(&before), "promise 8: the spared session is as it was");
    assert_near(after.expires_at, before.expires_at);
    for key in [first, second] {
        assert!(!is_alive(store, &key), "promise 8: the other sessions have ended");
    }
    try_change(store, &spared, &changes([("a", set("2"))])).expect("promise 8: the spared session is alive");
    assert_eq!(clear_group(store, &group, Some(fresh_key().id)), 1, "promise 8: an id of no member spares nothing");
    assert_eq!(ids(store, &group), [], "promise 8: an id of no member spares nothing");
}

/// Promise 8: if a group is full, the session that joined first ends, and never the one that joins.
pub fn a_group_has_no_more_sessions_than_its_limit(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let join = |idle_timeout: Duration| {
        let key = fresh_in(&group);
        let record = NewRecord { join: Some(at_most(2)), idle_timeout: Some(idle_timeout), ..record(&[("a", "1")]) };
        create(store, &key, &record);
        subject.let_time_pass(&key, Duration::from_secs(1));
        key
    };
    // The idle timeouts differ, and must not decide which session ends.
    let _oldest = join(100 * HOUR);
    let older = join(50 * HOUR);
    let newer = join(HOUR);
    assert_eq!(ids(store, &group), sorted([older, newer]), "promise 8: the limit holds for new sessions");
    // A new id does not make the older session a newer one.
    let moved = fresh_in(&group);
    move_to(store, &older, moved, None);
    let (alone, joined) = (created(store, &[("a", "1")]), fresh_in(&group));
    log_in(store, &alone, joined, at_most(2));
    assert_eq!(ids(store, &group), sorted([newer, joined]), "promise 8: the limit holds for logins");
    assert_gone(try_change(store, &moved, &changes([("a", set("2"))])));
}

/// Promise 8: a limit that is new for a group ends all surplus sessions at once.
pub fn a_new_limit_ends_all_surplus_sessions(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let many = [(); 6].map(|()| member(store, &group));
    assert_eq!(sessions(store, &group).len(), 6, "promise 8: without a limit all sessions stay");
    let last = member_with(store, &group, at_most(1));
    assert_eq!(ids(store, &group), [last.id], "promise 8: the limit holds");
    assert!(!many.iter().any(|key| is_alive(store, key)), "promise 8: the surplus sessions have ended");
}

/// Promise 8: if two sessions join at the same moment, the one that joins last stays.
pub fn the_session_that_joins_never_ends(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let early = created(store, &[("a", "1")]);
    let rival = member(store, &group);
    let joined = fresh_in(&group);
    log_in(store, &early, joined, at_most(1));
    assert_eq!(ids(store, &group), [joined.id], "promise 8: the session that joins stays");
    assert!(!is_alive(store, &rival), "promise 8: the other session has ended");
}

/// Promise 8: the order of joining is exact, even if the clock stands still and whatever the order of creation.
pub fn the_order_of_joining_is_exact(subject: &dyn Subject) {
    let store = subject.store();
    for _ in 0..10 {
        let group = fresh_group();
        let alone = [(); 4].map(|()| created(store, &[("a", "1")]));
        let mut joined = alone.iter().rev().map(|old| {
            let to = fresh_in(&group);
            log_in(store, old, to, at_most(2));
            to
        });
        let [_, _, third, fourth] = [(); 4].map(|()| joined.next().expect("4 sessions have joined"));
        assert_eq!(ids(store, &group), sorted([third, fourth]), "promise 8: those that joined last stay");
        // A session that joins once more has joined last. A new id alone changes nothing.
        let [again, moved] = [(); 2].map(|()| fresh_in(&group));
        log_in(store, &third, again, JOIN);
        move_to(store, &fourth, moved, None);
        let new = member_with(store, &group, at_most(2));
        assert_eq!(ids(store, &group), sorted([again, new]), "promise 8: those that joined last stay");
    }
}

/// Promise 8: a group does not list a session that has ended or expired.
pub fn a_group_does_not_list_ended_sessions(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let [deleted, expired] = [(); 2].map(|()| member_for(store, &group, HOUR));
    let alive = member_for(store, &group, 10 * HOUR);
    assert!(delete(store, &deleted), "promise 7: the session was alive");
    subject.let_time_pass(&expired, 2 * HOUR);
    assert_eq!(ids(store, &group), [alive.id], "promise 8: an ended session is not listed");
}

/// Promise 8: an expired session does not count for the limit, however late it joined.
pub fn expired_sessions_do_not_count_for_the_limit(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let alive = member_for(store, &group, HOUR);
    let expired = member_for(store, &group, HOUR / 60);
    subject.let_time_pass(&expired, HOUR / 30);
    let new = member_with(store, &group, at_most(2));
    assert_eq!(ids(store, &group), sorted([alive, new]), "promise 8: an expired session does not count");
}

/// Promise 8: a group lives as long as the session in it that lives longest.
pub fn a_group_lives_as_long_as_its_longest_session(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let [long, short] = [(); 2].map(|()| member(store, &group));
    change(store, &long, &new_idle_timeout(10 * HOUR));
    change(store, &short, &new_idle_timeout(HOUR));
    subject.let_time_pass(&short, 2 * HOUR);
    assert_eq!(ids(store, &group), [long.id], "promise 8: the longest session is alive and listed");
    assert_eq!(clear_group(store, &group, None), 1, "promise 8: clear_group counts live sessions only");
    assert!(!is_alive(store, &long), "promise 8: no session is alive");
}

/// Creates a session that joins this group half an hour after its creation, for at most one and a half hours, and gives
/// its key half an hour after that.
fn joined_later(subject: &dyn Subject, group: &GroupKey<'static>) -> RecordKey<'static> {
    let store = subject.store();
    let alone = created(store, &[("a", "1"), ("b", "2")]);
    subject.let_time_pass(&alone, HOUR / 2);
    let (key, changes) = (fresh_in(group), changes([("z", set("3"))]));
    let lifetime = Lifetime { absolute_timeout: Some(HOUR + HOUR / 2), ..LIFETIME };
    update(store, &alone, &Update { new_key: Some(key), join: Some(JOIN), lifetime, ..update_of(&changes) });
    subject.let_time_pass(&key, HOUR / 2);
    key
}

/// Creates a session in this group with an idle timeout of its own.
fn member_for(store: &dyn Store, group: &GroupKey<'static>, idle_timeout: Duration) -> RecordKey<'static> {
    let key = fresh_in(group);
    let record = NewRecord { join: Some(JOIN), idle_timeout: Some(idle_timeout), ..record(&[("a", "1")]) };
    create(store, &key, &record);
    key
}

/// Promise 8: a join beyond the limit can be refused. Then nothing changes.
pub fn a_join_beyond_the_limit_can_be_refused(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let refused = |answer: Result<(), Refusal>| {
        let expected = matches!(answer, Err(Refusal::TooManySessions { limit: 2, .. }));
        assert!(expected, "promise 8: the group has 2 sessions, but: {answer:?}");
    };
    let try_to_create = |key: &RecordKey<'_>| {
        let record = NewRecord { join: Some(refused_at(2)), ..record(&[("a", "1")]) };
        store.create(key, &record, &call()).map(drop)
    };
    let first = member_with(store, &group, refused_at(2));
    let visitor = created(store, &[("a", "1")]);
    let second = fresh_in(&group);
    log_in(store, &visitor, second, refused_at(2));
    let (third, fourth) = (fresh_in(&group), created(store, &[("cart", "1")]));
    refused(try_to_create(&third));
    let changes = changes([("user", set("1"))]);
    let login = Update { new_key: Some(third), join: Some(refused_at(2)), ..update_of(&changes) };
    refused(try_update(store, &fourth, &login).map(drop));
    assert_eq!(ids(store, &group), sorted([first, second]), "promise 8: the sessions of the group stay");
    assert!(!is_alive(store, &third), "promise 8: there is no new session");
    assert_eq!(values(store, &fourth), pairs(&[("cart", "1")]), "promise 8: a refused login changes nothing");
    // A session that is in the group already can log in again.
    let again = fresh_in(&group);
    log_in(store, &second, again, refused_at(2));
    assert_eq!(ids(store, &group), sorted([first, again]), "promise 8: it does not count twice");
    // Another limit for one login.
    let third = member_with(store, &group, refused_at(3));
    delete(store, &third);
    delete(store, &first);
    let updated = store.update(&fourth, &login, &call()).expect("promise 8: there is room again");
    assert_eq!(updated.ended, [], "promise 8: no session has ended for it");
    subject.let_time_pass(&again, 2 * HOUR);
    try_to_create(&fresh_in(&group)).expect("promise 8: an expired session does not count");
}

/// Promise 8: a join says which sessions it has ended.
pub fn a_join_says_which_sessions_it_has_ended(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let [first, second, third] = [(); 3].map(|()| member(store, &group));
    let key = fresh_in(&group);
    let sent = call();
    let record = NewRecord { join: Some(at_most(2)), ..record(&[("a", "1")]) };
    let created = store.create(&key, &record, &sent).expect("create works");
    let ended: BTreeSet<PublicId> = created.ended.iter().copied().collect();
    assert_eq!(ended, [first.id, second.id].into(), "promise 8: the two that joined first have ended");
    let (visitor, joined) = (self::created(store, &[("a", "1")]), fresh_in(&group));
    let changes = changes([]);
    let login = Update { new_key: Some(joined), join: Some(at_most(1)), ..update_of(&changes) };
    let ended: BTreeSet<PublicId> = update(store, &visitor, &login).ended.into_iter().collect();
    assert_eq!(ended, [third.id, key.id].into(), "promise 8: the other two have ended");
    assert_eq!(ids(store, &group), [joined.id], "promise 8: the limit holds");
}
