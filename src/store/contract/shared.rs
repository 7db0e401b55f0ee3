//! Several processes use one store at the same time: promises 4, 5, 8, 11 and 18.

use crate::deadline::Deadline;
use crate::store::contract::SharedSubject;
use crate::store::contract::setup::{
    assert_gone, at_most, call, changes, create, delete, fresh_group, fresh_in, fresh_key, is_alive, load, record,
    record_for, refused_at, set, set_in_group, try_change, update_of, values,
};
use crate::store::key::RecordKey;
use crate::store::refusal::Refusal;
use crate::store::store_trait::Store;
use crate::store::update::{Change, Update};
use std::time::Duration;

const PROCESSES: usize = 4;
const ROUNDS: usize = 250;

/// Runs `work` in one other process.
fn in_one(subject: &dyn SharedSubject, work: impl Fn(&dyn Store)) {
    subject.in_processes(1, &|_| work(&*subject.open()));
}

/// Runs `work` in all processes at the same time.
fn in_all(subject: &dyn SharedSubject, work: impl Fn(&dyn Store, usize)) {
    subject.in_processes(PROCESSES, &|number| work(&*subject.open(), number));
}

/// Promises 4 and 11: the changes of several processes add up, and each process sees them.
pub fn changes_of_all_processes_are_kept(subject: &dyn SharedSubject) {
    let key = fresh_key();
    in_one(subject, |store| {
        create(store, &key, &record(&[("start", "1")]));
    });
    in_all(subject, |store, number| {
        let own = format!("own{number}");
        for round in 0..ROUNDS {
            let changes = changes([("count", Change::Increment(1)), (&own, set(&round.to_string()))]);
            try_change(store, &key, &changes).expect("promise 4: processes do not disturb each other");
            let values = load(store, &key).expect("the session is alive").values;
            assert_eq!(values[&own].json(), Some(&*round.to_string()), "promise 11: a process sees what it has saved");
        }
    });
    in_all(subject, |store, _| {
        let values = load(store, &key).expect("promise 11: the session is alive").values;
        assert_eq!(values["count"].json(), Some(&*(PROCESSES * ROUNDS).to_string()), "promise 4: increments add up");
        assert_eq!(values.len(), PROCESSES + 2, "promise 4: each process's own key is there");
    });
}

/// Promise 5: a session that one process ends does not come back, however many others update it.
pub fn a_session_that_one_process_ends_stays_ended(subject: &dyn SharedSubject) {
    let key = fresh_key();
    in_one(subject, |store| {
        create(store, &key, &record(&[("start", "1")]));
    });
    in_all(subject, |store, number| {
        if number == 0 {
            delete(store, &key);
        } else {
            // Updates the session until it has ended.
            let changes = changes([("a", set("1"))]);
            let deadline = Deadline::after(Duration::from_secs(60));
            while try_change(store, &key, &changes).is_ok() {
                assert!(!deadline.has_passed(), "promise 5: an ended session stays ended");
            }
            assert_gone(try_change(store, &key, &changes));
        }
        assert!(!is_alive(store, &key), "promise 5: an ended session stays ended");
    });
}

/// Promise 4: if several processes move one record at the same time, one of them succeeds.
pub fn one_of_several_moves_succeeds(subject: &dyn SharedSubject) {
    let (key, new_keys) = (fresh_key(), [(); PROCESSES].map(|()| fresh_key()));
    // The processes write their outcomes into the store, because they share nothing else.
    let outcomes = [(); PROCESSES].map(|()| fresh_key());
    in_one(subject, |store| {
        for key in [key].iter().chain(&outcomes) {
            create(store, key, &record(&[]));
        }
    });
    in_all(subject, |store, number| {
        let changes_of_winner = changes([("winner", set(&number.to_string()))]);
        let moving = Update { new_key: Some(new_keys[number]), ..update_of(&changes_of_winner) };
        let has_won = match store.update(&key, &moving, &call()) {
            Ok(_) => "true",
            Err(Refusal::Gone) => "false",
            Err(error) => panic!("promise 5: {error:?}"),
        };
        try_change(store, &outcomes[number], &changes([("has_won", set(has_won))])).expect("update works");
    });
    in_one(subject, |store| {
        let has_won = |key: &&RecordKey<'_>| values(store, key) == [("has_won".to_owned(), "true".to_owned())];
        assert_eq!(outcomes.iter().filter(has_won).count(), 1, "promise 4: one of several moves succeeds");
        let alive = new_keys.iter().filter(|key| is_alive(store, key));
        assert_eq!(alive.count(), 1, "promise 4: there is one record afterwards");
    });
}

/// Promise 8: however many processes log in at the same time, a group never has more sessions than its limit.
pub fn logins_of_all_processes_keep_the_limit(subject: &dyn SharedSubject) {
    const LOGINS: usize = 32;
    const LIMIT: usize = 3;
    for (join, refuses) in [(at_most(LIMIT), false), (refused_at(LIMIT), true)] {
        let group = fresh_group();
        let visitors = [(); LOGINS].map(|()| fresh_key());
        in_one(subject, |store| {
            for key in &visitors {
                create(store, key, &record(&[("a", "1")]));
            }
        });
        subject.in_processes(LOGINS, &|number| {
            let store = &*subject.open();
            let changes = changes([]);
            for _ in 0..2 {
                let login = Update { new_key: Some(fresh_in(&group)), join: Some(join), ..update_of(&changes) };
                match store.update(&visitors[number], &login, &call()) {
                    Ok(_) | Err(Refusal::Gone) => {}
                    Err(Refusal::TooManySessions { .. }) if refuses => {}
                    Err(error) => panic!("promise 8: {error:?}"),
                }
                let len = store.group_len(&group, &call()).expect("group_len works");
                assert!(len <= LIMIT, "promise 8: {len} sessions are in the group");
            }
        });
        in_one(subject, |store| {
            let len = store.group_len(&group, &call()).expect("group_len works");
            assert_eq!(len, LIMIT, "promise 8: as many logins as are allowed have succeeded");
            let alone = visitors.iter().filter(|key| is_alive(store, key)).count();
            let expected = if refuses { LOGINS - LIMIT } else { 0 };
            assert_eq!(alone, expected, "promise 8: a refused login leaves the session as it was");
        });
    }
}

/// Promise 18: once one process has changed a value of a group, the next load in every process sees it.
pub fn every_process_sees_the_values_of_a_group(subject: &dyn SharedSubject) {
    let group = fresh_group();
    let members = [(); PROCESSES].map(|()| fresh_in(&group));
    in_one(subject, |store| {
        for key in &members {
            create(store, key, &record_for(key));
        }
    });
    in_all(subject, |store, number| {
        let own = format!("own{number}");
        for round in 0..ROUNDS / 5 {
            let json = round.to_string();
            set_in_group(store, &group, &own, Some(&json));
            for key in &members {
                let seen = load(store, key).expect("the session is alive").group_values;
                assert_eq!(seen[&own].json(), Some(&*json), "promise 18: every load sees the last change");
            }
        }
    });
    in_one(subject, |store| {
        let seen = load(store, &members[0]).expect("the session is alive").group_values;
        assert_eq!(seen.len(), PROCESSES, "promise 18: no process undoes the change of another");
    });
}
