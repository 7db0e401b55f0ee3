//! Requests of several processes that overlap: no acknowledged write is lost, and no ended session comes back.

use crate::support::fork::{Child, Signals, child_of, children_of, on_every_shared_store};
use crate::support::place::Place;
use crate::support::{cookie, session_with};
use multi_process_session::{Error, Session, SessionManager};
use std::time::Duration;

#[test]
fn two_processes_that_set_different_keys_both_keep_theirs() {
    on_every_shared_store(|_, manager| {
        let headers: Vec<String> = (0..50).map(|_| session_with(manager, &[("old", "x")])).collect();
        let (loaded, saved) = (Signals::new(), Signals::new());
        let other = child_of(manager, || {
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
    on_every_shared_store(|_, manager| {
        let header = session_with(manager, &[("a", "1")]);
        children_of(manager, 4, |_| {
            for _ in 0..250 {
                let mut session = manager.load(&header).unwrap();
                session.increment("count", 1).unwrap();
                session.save().unwrap();
            }
            String::new()
        });
        assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(1000));
    });
}

#[test]
fn transactions_of_four_processes_do_not_overwrite_each_other() {
    on_every_shared_store(|_, manager| {
        let header = session_with(manager, &[("a", "1")]);
        children_of(manager, 4, |_| {
            for _ in 0..50 {
                let add_one = |session: &mut Session| -> Result<(), Error> {
                    let count: u32 = session.get("count")?.unwrap_or_default();
                    session.set("count", &(count + 1))
                };
                // The number of attempts is bounded, so a transaction may give up.
                while let Err(error) = manager.transact(&header, add_one) {
                    assert!(matches!(error, Error::Conflict), "{error}");
                }
            }
            String::new()
        });
        assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(200));
    });
}

/// Saves in one process after `end` was done to the session in another. Returns the answers, and how many more records
/// there are afterwards.
fn save_after(place: &Place, manager: &SessionManager, end: impl Fn(&str)) -> (String, isize) {
    let before = place.records() as isize;
    let header = session_with(manager, &[("user", "ada")]);
    let (loaded, ended) = (Signals::new(), Signals::new());
    let late = child_of(manager, || {
        let mut session = manager.load(&header).unwrap();
        session.set("cart", "full").unwrap();
        session.increment("count", 1).unwrap();
        loaded.send();
        ended.wait();
        let answers = [session.save(), session.save()];
        answers.map(|answer| format!("{answer:?}")).join(" ")
    });
    loaded.wait();
    end(&header);
    ended.send();
    let said = late.join();
    assert!(manager.load(&header).unwrap().is_new());
    (said, place.records() as isize - before)
}

#[test]
fn what_was_ended_in_one_process_is_not_brought_back_by_another() {
    on_every_shared_store(|place, manager| {
        let gone = "Err(Gone) Err(Gone)".to_owned();
        let destroyed = save_after(place, manager, |header| {
            assert!(manager.load(header).unwrap().destroy().unwrap().is_some());
        });
        assert_eq!(destroyed, (gone.clone(), 0));
        let destroyed_unseen = save_after(place, manager, |header| {
            let _ = manager.destroy(header).unwrap();
        });
        assert_eq!(destroyed_unseen, (gone.clone(), 0));
        let regenerated = save_after(place, manager, |header| {
            let mut session = manager.load(header).unwrap();
            session.regenerate();
            assert!(session.save().unwrap().is_some());
        });
        assert_eq!(regenerated, (gone.clone(), 1));
        let (said, _) = save_after(place, manager, |_| place.let_time_pass_for_all(Duration::from_secs(8 * 24 * 3600)));
        assert_eq!(said, gone, "expired");
    });
}

#[test]
fn a_new_id_loses_no_write_of_another_process() {
    on_every_shared_store(|_, manager| {
        for round in 0..50 {
            let header = session_with(manager, &[("a", "1")]);
            let writing = Signals::new();
            let writers: Vec<_> = (0..2)
                .map(|who| {
                    let (writing, header) = (&writing, &header);
                    child_of(manager, move || {
                        let mut acknowledged = 0;
                        loop {
                            let mut session = manager.load(&**header).unwrap();
                            if session.is_new() {
                                return acknowledged.to_string();
                            }
                            session.increment("count", 1).unwrap();
                            // A session has at most 1,000 keys, and a quiet machine is fast.
                            if acknowledged < 100 {
                                session.set(&format!("{who}-{acknowledged}"), &true).unwrap();
                            }
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
            let mut session = manager.load(&header).unwrap();
            session.regenerate();
            session.set("user", "ada").unwrap();
            let new_header = cookie(&session.save().unwrap().expect("a new id needs a cookie"));
            let acknowledged: Vec<usize> = writers.into_iter().map(|child| child.join().parse().unwrap()).collect();
            let session = manager.load(&new_header).unwrap();
            assert_eq!(session.get("count").unwrap(), Some(acknowledged.iter().sum::<usize>()), "round {round}");
            for (who, count) in acknowledged.iter().enumerate() {
                assert!(
                    (0..(*count).min(100)).all(|number| session.contains_key(&format!("{who}-{number}"))),
                    "round {round}"
                );
            }
            assert!(session.contains_key("user") && session.contains_key("a"));
            let _ = manager.destroy(&new_header).unwrap();
        }
    });
}

#[test]
fn of_two_new_ids_at_once_one_wins() {
    on_every_shared_store(|place, manager| {
        let headers: Vec<String> = (0..100).map(|_| session_with(manager, &[("a", "1")])).collect();
        let (ready, go) = (Signals::new(), [Signals::new(), Signals::new()]);
        let rivals: Vec<_> = (0..2)
            .map(|rival: usize| {
                let (headers, ready, go) = (&headers, &ready, &go[rival]);
                child_of(manager, move || {
                    let mut cookies = Vec::new();
                    for header in headers {
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
            go.iter().for_each(Signals::send);
        }
        let answers: Vec<String> = rivals.into_iter().map(Child::join).collect();
        for (one, two) in answers[0].lines().zip(answers[1].lines()) {
            let (winner, loser) = if one == "gone" { (two, one) } else { (one, two) };
            assert_eq!(loser, "gone");
            assert_eq!(manager.load(winner).unwrap().keys(), ["a"]);
        }
        assert!(headers.iter().all(|header| manager.load(&**header).unwrap().is_new()));
        assert_eq!(place.records(), headers.len());
    });
}
