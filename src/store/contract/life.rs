//! How long sessions live, and what extends their lives: promises 2 and 3.

use crate::lifetime::{Lifetime, Refresh};
use crate::store::contract::Subject;
use crate::store::contract::setup::{
    GRACE, HOUR, JOIN, LIFETIME, assert_full_life, assert_gone, call, change, changes, clear_group, create, created,
    delete, fresh_group, fresh_in, fresh_key, is_alive, lifetime, load, load_with, log_in, member, move_to,
    new_idle_timeout, pairs, peek, persistence, record, set, try_update, update, update_of, values,
};
use crate::store::key::RecordKey;
use crate::store::record::NewRecord;
use crate::store::update::{ChangeSet, Update};
use std::time::Duration;

/// Promises 2 and 3: a session ends when it expires, not earlier, and its key is free then.
pub fn a_session_ends_when_it_expires(subject: &dyn Subject) {
    let store = subject.store();
    let key = fresh_key();
    assert_full_life(&create(store, &key, &record(&[("a", "1")])), HOUR);
    subject.let_time_pass(&key, HOUR);
    let loaded = load_with(store, &key, &lifetime(Refresh::Never));
    assert!(loaded.is_some(), "promise 3: a session does not end early");
    subject.let_time_pass(&key, HOUR);
    assert!(!is_alive(store, &key), "promise 2: there is nothing under the key of an expired session");
    create(store, &key, &record(&[("b", "1")]));
    assert_eq!(values(store, &key), pairs(&[("b", "1")]), "promise 2: nothing of the expired session is left");
}

/// Promise 3: a load refreshes if a refresh is due, and not otherwise.
pub fn a_load_refreshes_if_a_refresh_is_due(subject: &dyn Subject) {
    let store = subject.store();
    let key = fresh_key();
    let created = create(store, &key, &record(&[("a", "1")]));
    let load = |refresh| load_with(store, &key, &lifetime(refresh)).expect("the session is alive");
    assert!(!load(LIFETIME.refresh).refreshed, "promise 3: a refresh is not due yet");
    subject.let_time_pass(&key, HOUR / 2);
    let record = load(Refresh::Never);
    assert!(!record.refreshed, "promise 3: with Never, no load refreshes");
    assert!(record.info.expires_in <= HOUR, "promise 3: the life has become shorter");
    let record = load(LIFETIME.refresh);
    assert!(record.refreshed, "promise 3: a refresh was due");
    assert_full_life(&record.info, HOUR);
    assert_eq!(record.info.version, created.version, "promise 6: a refresh does not change the version");
    let record = load(LIFETIME.refresh);
    assert!(!record.refreshed, "promise 3: the next refresh is not due yet");
    assert_eq!(record.info.version, created.version, "promise 6: a refresh does not change the version");
}

/// Promise 3: with `Refresh::EveryLoad` each load refreshes, unless that makes the life shorter.
pub fn every_load_refreshes_if_the_settings_say_so(subject: &dyn Subject) {
    let store = subject.store();
    let key = created(store, &[("a", "1")]);
    let load = || load_with(store, &key, &lifetime(Refresh::EveryLoad)).expect("the session is alive");
    assert!(!load().refreshed, "promise 3: a refresh never makes a life shorter");
    for _ in 0..2 {
        subject.let_time_pass(&key, HOUR / 2);
        let record = load();
        assert!(record.refreshed, "promise 3: with EveryLoad, each load refreshes");
        let expires_in = record.info.expires_in;
        assert!(expires_in > HOUR - Duration::from_secs(10), "promise 3: {expires_in:?} is not a full life");
    }
}

/// Promise 3: an update extends a life only if it gives the session a new idle timeout.
pub fn an_update_does_not_extend_a_life(subject: &dyn Subject) {
    let store = subject.store();
    let key = created(store, &[("a", "1")]);
    subject.let_time_pass(&key, HOUR / 4);
    let before = load_with(store, &key, &lifetime(Refresh::Never)).expect("the session is alive").info;
    let after = change(store, &key, &changes([("a", set("2"))])).info;
    assert!(after.expires_in <= before.expires_in, "promise 3: loads extend a life, updates do not");
    assert_full_life(&change(store, &key, &new_idle_timeout(10 * HOUR)).info, 10 * HOUR);
}

/// Promise 2: the absolute timeout ends a session, whatever extends its life.
pub fn the_absolute_timeout_ends_a_session(subject: &dyn Subject) {
    let store = subject.store();
    let key = fresh_key();
    let limited = Lifetime { absolute_timeout: Some(HOUR + HOUR / 2), ..LIFETIME };
    create(store, &key, &NewRecord { lifetime: limited, ..record(&[("a", "1")]) });
    subject.let_time_pass(&key, HOUR);
    let updated = change(store, &key, &new_idle_timeout(10 * HOUR));
    assert_eq!(updated.info.idle_timeout, 10 * HOUR, "promise 4: the session has the new idle timeout");
    assert!(updated.info.expires_in <= HOUR / 2, "promise 2: an idle timeout does not extend it: {:?}", updated.info);
    let record = load(store, &key).expect("the session is alive");
    assert!(record.info.expires_in <= HOUR / 2, "promise 2: a load does not extend it: {:?}", record.info);
    assert!(!record.refreshed, "promise 3: there is nothing to extend");
    let new = fresh_key();
    let moved = move_to(store, &key, new, None);
    assert!(moved.expires_in <= HOUR / 2, "promise 2: a move does not extend it: {moved:?}");
    assert_eq!(moved.ends_at, record.info.ends_at, "promise 2: a move keeps the absolute timeout");
    subject.let_time_pass(&new, HOUR / 2);
    assert!(!is_alive(store, &new), "promise 2: the absolute timeout ends the session");
}

/// Promise 3: if the settings of a call are stricter than those of the record, the stricter ones hold.
pub fn stricter_settings_hold_for_existing_sessions(subject: &dyn Subject) {
    let store = subject.store();
    let strict = Lifetime { idle_timeout: HOUR / 4, absolute_timeout: Some(HOUR), ..LIFETIME };
    let load = |key: &RecordKey<'_>| load_with(store, key, &strict);
    let [unused, used] = [(); 2].map(|()| created(store, &[("a", "1")]));
    let loaded = load(&used).expect("promise 3: the session was used just now");
    assert!(loaded.refreshed, "promise 3: a life that is too long now is set anew");
    assert_full_life(&loaded.info, HOUR / 4);
    for key in [&unused, &used] {
        subject.let_time_pass(key, HOUR / 2);
        assert!(load(key).is_none(), "promise 3: the session was idle for longer than a session may be now");
    }
    assert_gone(try_update(store, &unused, &Update { lifetime: strict, ..update_of(&changes([])) }));
    let key = created(store, &[("a", "1")]);
    for _ in 0..5 {
        subject.let_time_pass(&key, HOUR / 5);
        load(&key);
    }
    assert!(load(&key).is_none(), "promise 3: the stricter absolute timeout holds too");
}

/// Promise 3: stricter settings do not touch an idle timeout that was chosen for one session.
pub fn an_own_idle_timeout_outlasts_stricter_settings(subject: &dyn Subject) {
    let store = subject.store();
    let strict = Lifetime { idle_timeout: HOUR / 4, absolute_timeout: Some(HOUR), ..LIFETIME };
    let key = fresh_key();
    let info = create(store, &key, &NewRecord { idle_timeout: Some(3 * HOUR), ..record(&[("a", "1")]) });
    let changes = changes([("a", set("2"))]);
    let values = record(&[("a", "1")]).values;
    for known in [Some((&info, &values)), None] {
        update(store, &key, &Update { known, ..update_of(&changes) });
    }
    subject.let_time_pass(&key, HOUR / 2);
    let loaded = load_with(store, &key, &strict).expect("promise 3: the session has an idle timeout of its own");
    assert_eq!(loaded.info.idle_timeout, 3 * HOUR, "promise 3: the session keeps its idle timeout");
}

/// Promise 3: a session with an unconfirmed timeout is short-lived until its first load.
pub fn a_session_is_short_lived_until_its_first_load(subject: &dyn Subject) {
    let store = subject.store();
    for refresh in [LIFETIME.refresh, Refresh::EveryLoad, Refresh::Never] {
        let lifetime = lifetime(refresh);
        let load = |key: &RecordKey<'_>| load_with(store, key, &lifetime);
        let record = NewRecord { lifetime, unconfirmed_timeout: Some(HOUR / 10), ..record(&[("a", "1")]) };
        let [forgotten, used] = [fresh_key(), fresh_key()];
        for key in [&forgotten, &used] {
            let info = create(store, key, &record);
            assert!(info.expires_in <= HOUR / 10, "promise 3: a new session is short-lived: {info:?}");
        }
        change(store, &used, &changes([("b", set("1"))]));
        for _ in 0..2 {
            let info = change(store, &used, &new_idle_timeout(HOUR)).info;
            assert!(info.expires_in <= HOUR / 10, "promise 3: an update does not confirm a session: {info:?}");
        }
        let record = load(&used).expect("promise 3: the session is alive");
        assert!(record.refreshed, "promise 3: the first load gives the session its full life");
        let expires_in = record.info.expires_in;
        assert!(expires_in > HOUR - Duration::from_secs(10), "promise 3: {expires_in:?} is not a full life");
        for key in [&forgotten, &used] {
            subject.let_time_pass(key, HOUR / 9);
        }
        assert!(load(&forgotten).is_none(), "promise 3: a session without a load has ended");
        let refreshed = load(&used).expect("promise 3: the session has its full life").refreshed;
        assert_eq!(refreshed, refresh != Refresh::Never, "promise 3: only the first load confirms a session");
    }
}

/// Promise 3: an idle timeout that was chosen for a login ends with that login.
pub fn an_own_idle_timeout_ends_with_its_login(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    for (to, join) in [(fresh_key(), None), (fresh_in(&fresh_group()), Some(JOIN))] {
        let first = member(store, &group);
        change(store, &first, &new_idle_timeout(10 * HOUR));
        let again = fresh_in(&group);
        let info = log_in(store, &first, again, JOIN);
        assert_eq!(info.idle_timeout, 10 * HOUR, "promise 3: a login in the same group keeps the idle timeout");
        let info = match join {
            Some(join) => log_in(store, &again, to, join),
            None => move_to(store, &again, to, None),
        };
        assert_full_life(&info, HOUR);
        assert_eq!(info.idle_timeout, HOUR, "promise 3: a session that leaves its group loses the idle timeout");
    }
}

/// Promise 17: a peek gives what a load gives, and leaves the life of the session as it is.
pub fn a_peek_writes_nothing(subject: &dyn Subject) {
    let store = subject.store();
    let (mut first, group) = (true, fresh_group());
    let unconfirmed = NewRecord { unconfirmed_timeout: Some(HOUR), ..record(&[("a", "1")]) };
    for (key, new) in [
        (fresh_key(), record(&[("a", "1")])),
        (fresh_in(&group), NewRecord { join: Some(JOIN), ..record(&[("a", "1")]) }),
        (fresh_key(), NewRecord { lifetime: Lifetime { idle_timeout: 2 * HOUR, ..LIFETIME }, ..unconfirmed }),
    ] {
        create(store, &key, &new);
        subject.let_time_pass(&key, HOUR / 2);
        for _ in 0..2 {
            let peeked = peek(store, &key).expect("promise 17: the session is alive");
            assert!(!peeked.refreshed, "promise 17: a peek does not refresh");
            assert!(peeked.info.expires_in <= HOUR / 2 + HOUR / 100, "promise 17: the life is as it was: {peeked:?}");
            assert_eq!(peeked.values, new.values, "promise 17: a peek gives the values");
        }
        let every_load = lifetime(Refresh::EveryLoad);
        let peeked = store.peek(&key, &every_load, &call()).expect("peek works").record();
        assert!(peeked.is_some_and(|peeked| !peeked.refreshed), "promise 17: no setting makes a peek refresh");
        if first {
            subject.let_time_pass(&key, HOUR);
            assert!(peek(store, &key).is_none(), "promise 17: a session that is only looked at ends");
            first = false;
            continue;
        }
        let peeked = peek(store, &key).expect("promise 17: the session is alive");
        let loaded = load(store, &key).expect("promise 17: the session is alive");
        assert!(loaded.refreshed, "promise 17: a peek does not count as a use, so a refresh is still due");
        assert_eq!(peeked.values, loaded.values, "promise 17: both give the same values");
        assert_eq!(peeked.group_name, loaded.group_name, "promise 17: both give the name of the group");
    }
}

/// Promise 17: a peek follows an old key during its grace, and no longer.
pub fn a_peek_follows_an_old_key(subject: &dyn Subject) {
    let store = subject.store();
    for old in [created(store, &[("a", "1")]), member(store, &fresh_group())] {
        let new = RecordKey { id: fresh_key().id, ..old };
        move_to(store, &old, new, Some(GRACE));
        let peeked = peek(store, &old).expect("promise 12: the grace has not ended");
        assert_eq!(peeked.forwarded_to, Some(new.id), "promise 12: the answer says which id the session has now");
        subject.let_time_pass(&old, GRACE);
        assert!(peek(store, &old).is_none(), "promise 12: the grace has ended");
    }
}

/// Promise 17: whether sessions are alive can be asked for many of them at once.
pub fn many_sessions_can_be_asked_at_once(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let expired = created(store, &[("a", "1")]);
    subject.let_time_pass(&expired, 2 * HOUR);
    let [old, replaced, ended] = [(); 3].map(|()| created(store, &[("a", "1")]));
    let [new, other] = [fresh_key(), fresh_key()];
    move_to(store, &old, new, Some(GRACE));
    move_to(store, &replaced, other, None);
    delete(store, &ended);
    let cleared = member(store, &fresh_group());
    clear_group(store, &cleared.group(cleared.tag.expect("it is in a group")), None);
    let mut keys = vec![old, replaced, ended, expired, cleared, fresh_key(), fresh_in(&group)];
    let mut expected = vec![Some(new.id), None, None, None, None, None, None];
    for number in 0..30 {
        let key = if number % 2 == 0 { member(store, &group) } else { created(store, &[("a", "1")]) };
        keys.push(key);
        expected.push(Some(key.id));
    }
    let alive = store.present_ids(&keys, &LIFETIME, &call()).expect("present_ids works");
    assert_eq!(alive, expected, "promise 17: the answers come in the order of the keys");
    assert_eq!(store.present_ids(&[], &LIFETIME, &call()).expect("present_ids works"), [], "promise 17");
    let strict = Lifetime { absolute_timeout: Some(Duration::from_millis(1)), ..LIFETIME };
    subject.let_time_pass(&keys[7], Duration::from_secs(1));
    let alive = store.present_ids(&keys[7..8], &strict, &call()).expect("present_ids works");
    assert_eq!(alive, [None], "promise 3: stricter settings hold");
    subject.let_time_pass(&new, HOUR / 2);
    store.present_ids(&[new], &LIFETIME, &call()).expect("present_ids works");
    assert!(load(store, &new).is_some_and(|record| record.refreshed), "promise 17: asking does not refresh");
}

/// Promise 3: a record keeps whether its cookie outlives the browser, until the session leaves its group.
pub fn the_persistence_of_the_cookie_is_kept(subject: &dyn Subject) {
    let store = subject.store();
    let group = fresh_group();
    let persistence_of = |key: &RecordKey<'_>| load(store, key).expect("the session is alive").info.persistent;
    assert_eq!(persistence_of(&created(store, &[("a", "1")])), None, "promise 3: by default, the settings decide");
    for persistent in [true, false] {
        let key = fresh_key();
        create(store, &key, &NewRecord { persistent: Some(persistent), ..record(&[("a", "1")]) });
        assert_eq!(persistence_of(&key), Some(persistent), "promise 3: it is kept from the start");
        let info = change(store, &key, &persistence(!persistent)).info;
        assert_eq!(info.persistent, Some(!persistent), "promise 3: it can be changed");
        change(store, &key, &changes([("b", set("1"))]));
        change(store, &key, &new_idle_timeout(3 * HOUR));
        subject.let_time_pass(&key, HOUR);
        let loaded = load(store, &key).expect("the session is alive");
        assert!(loaded.refreshed, "promise 3: a refresh was due");
        assert_eq!(loaded.info.persistent, Some(!persistent), "promise 3: changes and refreshes keep it");
        assert_eq!(loaded.info.idle_timeout, 3 * HOUR, "promise 3: the idle timeout is kept beside it");
        let again = fresh_key();
        assert_eq!(move_to(store, &key, again, None).persistent, Some(!persistent), "promise 3: a new id keeps it");
        let joined = fresh_in(&group);
        let info = log_in(store, &again, joined, JOIN);
        assert_eq!(info.persistent, Some(!persistent), "promise 3: the first login keeps it");
        let chosen = persistence(persistent);
        let moved = fresh_in(&group);
        let update_of_login = Update { new_key: Some(moved), join: Some(JOIN), ..update_of(&chosen) };
        assert_eq!(update(store, &joined, &update_of_login).info.persistent, Some(persistent), "promise 3: or sets it");
        assert_eq!(load(store, &moved).map(|record| record.info.persistent), Some(Some(persistent)), "promise 3");
        let elsewhere = fresh_in(&fresh_group());
        assert_eq!(log_in(store, &moved, elsewhere, JOIN).persistent, None, "promise 3: it ends with the membership");
        assert_eq!(persistence_of(&elsewhere), None, "promise 3: it ends with the membership");
    }
}

/// Promise 3: a session can get the idle timeout of the settings back.
pub fn an_own_idle_timeout_can_be_given_up(subject: &dyn Subject) {
    let store = subject.store();
    let given_up = ChangeSet { idle_timeout: Some(None), ..ChangeSet::default() };
    for key in [created(store, &[("a", "1")]), member(store, &fresh_group())] {
        change(store, &key, &new_idle_timeout(10 * HOUR));
        let info = change(store, &key, &given_up).info;
        assert_full_life(&info, HOUR);
        assert_eq!(info.idle_timeout, HOUR, "promise 3: the session has the idle timeout of the settings");
        let strict = Lifetime { idle_timeout: HOUR / 4, ..LIFETIME };
        let loaded = load_with(store, &key, &strict).expect("the session is alive");
        assert_eq!(loaded.info.idle_timeout, HOUR / 4, "promise 3: it is not the session's own any more");
    }
}
