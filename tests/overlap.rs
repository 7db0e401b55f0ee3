//! Requests that overlap, in real processes: no acknowledged write is lost, and no session comes back from the dead.

#![allow(missing_docs)]

mod support;

use multi_process_session::{Error, Session, SessionManager};
use std::thread;
use std::time::{Duration, Instant};
use support::fork::{Child, Signals, child, children, in_own_process};
use support::redis::Redis;
use support::{cookie, manager, session_with};

#[test]
fn two_processes_that_set_different_keys_both_keep_theirs() {
    in_own_process("two_processes_that_set_different_keys_both_keep_theirs", || {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        let headers: Vec<String> = (0..50).map(|_| session_with(&manager, &[("old", "x")])).collect();
        let (loaded, saved) = (Signals::new(), Signals::new());
        let other = child(|| {
            for header in &headers {
                let mut session = manager.load(&**header).unwrap();
                session.set("child", &1).unwrap();
                session.remove("old");
                loaded.send();
                saved.wait();
                session.save().unwrap();
                loaded.send();
            }
            String::new()
        });
        for header in &headers {
            loaded.wait();
            let mut session = manager.load(&**header).unwrap();
            session.set("parent", &2).unwrap();
            session.save().unwrap();
            saved.send();
            loaded.wait();
            assert_eq!(manager.load(&**header).unwrap().keys(), ["child", "parent"]);
        }
        other.join();
    });
}

#[test]
fn increments_of_four_processes_add_up() {
    in_own_process("increments_of_four_processes_add_up", || {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        let header = session_with(&manager, &[("a", "1")]);
        children(4, |_| {
            for _ in 0..250 {
                let mut session = manager.load(&*header).unwrap();
                session.increment("count", 1).unwrap();
                session.save().unwrap();
            }
            String::new()
        });
        assert_eq!(manager.load(&*header).unwrap().get("count").unwrap(), Some(1000));
    });
}

#[test]
fn transactions_of_four_processes_do_not_overwrite_each_other() {
    in_own_process("transactions_of_four_processes_do_not_overwrite_each_other", || {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        let header = session_with(&manager, &[("a", "1")]);
        children(4, |_| {
            for _ in 0..50 {
                let add_one = |session: &mut Session| -> Result<(), Error> {
                    let count: u32 = session.get("count")?.unwrap_or_default();
                    session.set("count", &(count + 1))
                };
                // Bounded tries are no promise of success, so whoever gives up says so.
                while let Err(error) = manager.transact(&*header, add_one) {
                    assert!(matches!(error, Error::Conflict), "{error}");
                }
            }
            String::new()
        });
        assert_eq!(manager.load(&*header).unwrap().get("count").unwrap(), Some(200));
    });
}

/// What a save in one process answers after `end` was done to its session in another.
fn save_after(end: impl Fn(&SessionManager, &Redis, &str)) -> (String, Vec<String>) {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("user", "ada")]);
    let (loaded, ended) = (Signals::new(), Signals::new());
    let late = child(|| {
        let mut session = manager.load(&*header).unwrap();
        session.set("cart", "full").unwrap();
        session.increment("count", 1).unwrap();
        loaded.send();
        ended.wait();
        let answers = [session.save(), session.save()];
        answers.map(|answer| format!("{answer:?}")).join(" ")
    });
    loaded.wait();
    end(&manager, &redis, &header);
    ended.send();
    let said = late.join();
    assert!(manager.load(&*header).unwrap().is_new());
    (said, redis.keys())
}

#[test]
fn what_was_ended_in_one_process_is_not_brought_back_by_another() {
    in_own_process("what_was_ended_in_one_process_is_not_brought_back_by_another", || {
        let gone = "Err(Gone) Err(Gone)";
        let destroyed = save_after(|manager, _, header| {
            let session = manager.load(header).unwrap();
            assert!(session.destroy().unwrap().is_some());
        });
        assert_eq!(destroyed, (gone.to_owned(), vec![]));
        let destroyed_unseen = save_after(|manager, _, header| {
            assert!(manager.destroy(header).unwrap().is_some());
        });
        assert_eq!(destroyed_unseen, (gone.to_owned(), vec![]));
        let expired = save_after(|_, redis, _| {
            let key = redis.keys().remove(0);
            let _: i64 = redis.run(&["PEXPIRE", &key, "1"]);
            let deadline = Instant::now() + Duration::from_secs(10);
            while !redis.keys().is_empty() {
                assert!(Instant::now() < deadline, "the key does not expire");
                thread::yield_now();
            }
        });
        assert_eq!(expired, (gone.to_owned(), vec![]));
        let (said, keys) = save_after(|manager, _, header| {
            let mut session = manager.load(header).unwrap();
            session.regenerate();
            assert!(session.save().unwrap().is_some());
        });
        assert_eq!((said.as_str(), keys.len()), (gone, 1), "{keys:?}");
    });
}

#[test]
fn a_new_id_loses_no_write_of_another_process() {
    in_own_process("a_new_id_loses_no_write_of_another_process", || {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        for round in 0..50 {
            let header = session_with(&manager, &[("a", "1")]);
            let writing = Signals::new();
            let writers: Vec<_> = (0..2)
                .map(|who| {
                    let (writing, header, manager) = (&writing, &header, &manager);
                    child(move || {
                        let mut acknowledged = 0;
                        loop {
                            let mut session = manager.load(&**header).unwrap();
                            if session.is_new() {
                                return acknowledged.to_string();
                            }
                            session.increment("count", 1).unwrap();
                            session.set(&format!("{who}-{acknowledged}"), &true).unwrap();
                            match session.save() {
                                Ok(_) => acknowledged += 1,
                                Err(Error::Gone) => return acknowledged.to_string(),
                                Err(error) => panic!("{error}"),
                            }
                            if acknowledged == 3 {
                                writing.send();
                            }
                        }
                    })
                })
                .collect();
            writing.wait();
            writing.wait();
            let mut session = manager.load(&*header).unwrap();
            session.regenerate();
            session.set("user", "ada").unwrap();
            let new_header = cookie(&session.save().unwrap().expect("a new id needs a cookie"));
            let acknowledged: Vec<usize> = writers.into_iter().map(|child| child.join().parse().unwrap()).collect();
            let session = manager.load(&*new_header).unwrap();
            assert_eq!(session.get("count").unwrap(), Some(acknowledged.iter().sum::<usize>()), "round {round}");
            for (who, count) in acknowledged.iter().enumerate() {
                assert!((0..*count).all(|number| session.contains_key(&format!("{who}-{number}"))), "round {round}");
            }
            assert!(session.contains_key("user") && session.contains_key("a"));
            manager.destroy(&*new_header).unwrap();
        }
    });
}

#[test]
fn of_two_new_ids_at_once_one_wins() {
    in_own_process("of_two_new_ids_at_once_one_wins", || {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        let headers: Vec<String> = (0..100).map(|_| session_with(&manager, &[("a", "1")])).collect();
        let (ready, go) = (Signals::new(), Signals::new());
        let rivals: Vec<_> = (0..2)
            .map(|_| {
                child(|| {
                    let mut cookies = Vec::new();
                    for header in &headers {
                        let mut session = manager.load(&**header).unwrap();
                        session.regenerate();
                        ready.send();
                        go.wait();
                        cookies.push(match session.save() {
                            Ok(set_cookie) => cookie(&set_cookie.expect("a new id needs a cookie")),
                            Err(Error::Gone) => "gone".to_owned(),
                            Err(error) => panic!("{error}"),
                        });
                    }
                    cookies.join("\n")
                })
            })
            .collect();
        for _ in &headers {
            ready.wait();
            ready.wait();
            go.send();
            go.send();
        }
        let answers: Vec<String> = rivals.into_iter().map(Child::join).collect();
        for (one, two) in answers[0].lines().zip(answers[1].lines()) {
            let (winner, loser) = if one == "gone" { (two, one) } else { (one, two) };
            assert_eq!(loser, "gone");
            assert_eq!(manager.load(winner).unwrap().keys(), ["a"]);
        }
        assert!(headers.iter().all(|header| manager.load(&**header).unwrap().is_new()));
        assert_eq!(redis.keys().len(), headers.len());
    });
}
