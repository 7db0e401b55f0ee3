//! Flash values: a later request takes them once.

use crate::support::fork::{Signals, child, in_own_process};
use crate::support::place::Place;
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::{builder, cookie, manager, session_with};
use multi_process_session::{Error, Session};

fn take(session: &mut Session) -> Option<String> {
    session.take_flash("notice").unwrap()
}

#[test]
fn a_later_request_takes_it_once() {
    for place in Place::all() {
        let manager = manager(&place.url());
        let mut session = manager.load(None).unwrap();
        session.flash("notice", "saved").unwrap();
        assert_eq!(take(&mut session), None, "not the request that set it");
        assert!(session.is_empty() && session.keys().is_empty() && !session.contains_key("notice"));
        let header = cookie(&session.save().unwrap().expect("a new session is kept because of it"));

        let mut other = manager.load(&header).unwrap();
        other.set("notice", "no flash").unwrap();
        other.save().unwrap();
        assert_eq!(manager.load(&header).unwrap().keys(), ["notice"], "keys of their own");

        let mut session = manager.load(&header).unwrap();
        assert!(matches!(session.take_flash::<u32>("notice"), Err(Error::Decode { key, .. }) if key == "notice"));
        assert_eq!((take(&mut session), take(&mut session)), (Some("saved".to_owned()), None));
        drop(session);
        let mut session = manager.load(&header).unwrap();
        assert_eq!((take(&mut session), session.get("notice").unwrap()), (None, Some("no flash".to_owned())));
    }
}

#[test]
fn of_two_requests_at_once_one_takes_it_and_a_newer_one_stays() {
    for place in Place::all() {
        let manager = manager(&place.url());
        let header = session_with(&manager, &[("a", "1")]);
        let set = |text: &str| {
            let mut session = manager.load(&header).unwrap();
            session.flash("notice", text).unwrap();
            session.save().unwrap();
        };
        set("one");
        let [mut first, mut second, mut late] = [(), (), ()].map(|()| manager.load(&header).unwrap());
        assert_eq!((take(&mut first), take(&mut second)), (Some("one".to_owned()), None));
        // The same text again is another message.
        set("one");
        assert_eq!(take(&mut late), None, "what it has seen is taken already");
        assert_eq!(take(&mut manager.load(&header).unwrap()), Some("one".to_owned()));

        // A request that has cleared the session does not take the value.
        set("forgotten");
        let mut session = manager.load(&header).unwrap();
        session.clear();
        assert_eq!(take(&mut session), None);
        session.save().unwrap();
        assert_eq!(take(&mut manager.load(&header).unwrap()), None);

        // One request sets a new value and takes the old one.
        set("two");
        let mut session = manager.load(&header).unwrap();
        session.flash("notice", "three").unwrap();
        assert_eq!(take(&mut session), Some("two".to_owned()));
        session.save().unwrap();
        assert_eq!(take(&mut manager.load(&header).unwrap()), Some("three".to_owned()));
    }
}

#[test]
fn whoever_does_not_take_it_does_not_eat_it() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let mut session = manager.load(None).unwrap();
    session.flash("notice", &["a", "b"]).unwrap();
    let header = cookie(&session.save().unwrap().unwrap());
    for count in 0..3 {
        let mut session = manager.load(&header).unwrap();
        session.set("count", &count).unwrap();
        session.save().unwrap();
    }
    let mut session = manager.load(&header).unwrap();
    session.regenerate();
    let header = cookie(&session.save().unwrap().unwrap());
    let mut session = manager.load(&header).unwrap();
    let (commands, taken) = redis.commands(|| session.take_flash::<Vec<String>>("notice").unwrap());
    assert_eq!((commands.len(), taken), (1, Some(vec!["a".to_owned(), "b".to_owned()])));
    let (commands, ()) = redis.commands(|| assert_eq!(take(&mut manager.load(&header).unwrap()), None));
    assert_eq!(commands.len(), 1, "where there is none, only the load");

    // The value ends with its session.
    let mut session = manager.load(&header).unwrap();
    session.flash("notice", "late").unwrap();
    session.save().unwrap();
    let mut session = manager.load(&header).unwrap();
    let _ = manager.destroy(&header).unwrap();
    assert!(matches!(session.take_flash::<String>("notice"), Err(Error::Gone)));
}

#[test]
fn processes_that_take_at_once_share_nothing() {
    in_own_process(|| {
        for place in Place::all() {
            let manager = manager(&place.url());
            let headers: Vec<String> = (0..50)
                .map(|number| {
                    let mut session = manager.load(None).unwrap();
                    session.flash("notice", &number.to_string()).unwrap();
                    cookie(&session.save().unwrap().unwrap())
                })
                .collect();
            let (ready, go) = (Signals::new(), [Signals::new(), Signals::new()]);
            let guard = manager.before_fork();
            let rivals: Vec<_> = go
                .iter()
                .map(|go| {
                    child(|| {
                        let take_one = |header: &String| {
                            let mut session = manager.load(&**header).unwrap();
                            ready.send();
                            go.wait();
                            take(&mut session).map_or(String::new(), |text| text + "\n")
                        };
                        headers.iter().map(take_one).collect()
                    })
                })
                .collect();
            drop(guard);
            for _ in &headers {
                ready.wait();
                ready.wait();
                go.iter().for_each(Signals::send);
            }
            let said: String = rivals.into_iter().map(crate::support::fork::Child::join).collect();
            let mut taken: Vec<usize> = said.lines().map(|text| text.parse().unwrap()).collect();
            taken.sort();
            assert_eq!(taken, (0..50).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_lost_reply_does_not_lose_it() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = manager(&proxy.url());
    let mut session = manager.load(None).unwrap();
    session.flash("notice", "saved").unwrap();
    let header = cookie(&session.save().unwrap().unwrap());
    let mut session = manager.load(&header).unwrap();
    proxy.next(&[Fault::LoseReply]);
    assert_eq!(take(&mut session), Some("saved".to_owned()));
}

#[test]
fn within_a_transaction_it_is_taken_when_that_is_saved() {
    for place in Place::all() {
        let manager = manager(&place.url());
        let mut session = manager.load(None).unwrap();
        session.flash("notice", "saved").unwrap();
        let header = cookie(&session.save().unwrap().unwrap());
        let mut attempts = 0;
        let (taken, _) = manager
            .transact(&header, |session| -> Result<_, Error> {
                attempts += 1;
                if attempts == 1 {
                    let mut other = manager.load(&header)?;
                    other.set("other", &1)?;
                    other.save()?;
                }
                session.set("mine", &1)?;
                session.take_flash::<String>("notice")
            })
            .unwrap();
        assert_eq!((attempts, taken.as_deref()), (2, Some("saved")));
        let mut session = manager.load(&header).unwrap();
        assert_eq!((take(&mut session), session.keys()), (None, vec!["mine", "other"]));
    }
}

#[test]
fn keys_that_are_the_librarys_own_are_refused_and_sizes_are_limited() {
    let manager = builder("memory:").max_session_bytes(100).build().unwrap();
    let mut session = manager.load(None).unwrap();
    for refused in [session.set("\0flash:notice", "x"), session.increment("\0", 1), session.flash("\0x", "x")] {
        assert!(matches!(&refused, Err(Error::ReservedKey { .. })), "{refused:?}");
    }
    let too_large = session.flash("notice", &"x".repeat(100));
    assert!(matches!(&too_large, Err(Error::TooLarge { key, .. }) if key == "notice"), "{too_large:?}");
    assert!(matches!(session.flash(&"k".repeat(2000), "x"), Err(Error::TooLarge { .. })));
    assert_eq!(session.save().unwrap(), None);

    session.flash("notice", "x").unwrap();
    let header = cookie(&session.save().unwrap().unwrap());
    let mut session = manager.load(&header).unwrap();
    let own = "\0flash:notice";
    assert!(!session.contains_key(own) && !session.remove(own));
    assert_eq!((session.get::<String>(own).unwrap(), session.take::<String>(own).unwrap()), (None, None));
    assert_eq!(session.save().unwrap(), None);
    assert_eq!(take(&mut session).as_deref(), Some("x"));
}
