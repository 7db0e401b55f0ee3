//! What is logged of requests: planted cookies, and sessions that are dropped with something left to do.

#![allow(missing_docs)]

mod support;

use log::LevelFilter;
use multi_process_session::{Error, MemoryStore, Refresh, Session};
use std::sync::Arc;
use support::log::collect;
use support::{builder, next_millisecond, session_with};

fn lines<R>(work: impl FnOnce() -> R) -> Vec<String> {
    drop(work());
    support::log::lines()
}

/// The only test of this file: there is one logger in a process.
#[test]
fn what_a_client_can_cause_is_logged_by_public_ids_alone_and_once_a_minute() {
    collect(LevelFilter::Trace);
    let store = Arc::new(MemoryStore::new());
    // Each has its own minute.
    let manager = || builder("memory:").store(store.clone()).refresh(Refresh::EveryLoad).build().unwrap();
    let header = session_with(&manager(), &[("user", "ada")]);
    let load = || manager().load(&header).unwrap();
    let calm = |change: fn(&mut Session)| {
        let mut session = load();
        change(&mut session);
        let _ = session.save();
        session
    };

    assert_eq!(lines(|| calm(|_| {})), Vec::<String>::new());
    assert_eq!(lines(|| calm(|session| session.set("a", &1).unwrap())), Vec::<String>::new());
    assert_eq!(lines(|| manager().load(None).unwrap()), Vec::<String>::new());
    assert_eq!(lines(|| load().destroy().is_ok()), Vec::<String>::new());
    let header = session_with(&manager(), &[("user", "ada")]);
    let load = || manager().load(&header).unwrap();

    let unsaved = |change: fn(&mut Session)| {
        let mut session = load();
        let id = session.public_id();
        let _ = session.save();
        change(&mut session);
        let warned = lines(move || session);
        assert_eq!(warned, [format!("session {id}: dropped with unsaved changes; call save()")]);
    };
    unsaved(|session| session.set("a", &1).unwrap());
    unsaved(|session| assert!(session.remove("user")));
    unsaved(|session| session.increment("n", 1).unwrap());
    unsaved(Session::clear);
    unsaved(Session::regenerate);
    unsaved(|session| session.set_idle_timeout(std::time::Duration::from_secs(9)));
    unsaved(|session| {
        session.increment("user", 1).unwrap();
        assert!(matches!(session.save(), Err(Error::NotAnInteger { .. })));
        // A failed save was answered; what is changed after it was not.
        session.set("b", &1).unwrap();
    });
    let mut failed = load();
    failed.increment("user", 1).unwrap();
    assert!(failed.save().is_err());
    assert_eq!(lines(move || failed), Vec::<String>::new(), "the application knows");
    let owing = lines(|| drop(load()));
    assert!(owing[0].ends_with("dropped with a cookie to renew; call save() and send it"), "{owing:?}");

    let transacted = lines(|| {
        let set = |session: &mut Session| session.set("a", &1);
        manager().transact(&header, set).unwrap().1.unwrap()
    });
    assert_eq!(transacted, Vec::<String>::new(), "it was saved, and its cookie given");

    // Two sessions of ours in one request are worth a look, junk is not.
    let other = session_with(&manager(), &[("user", "grace")]);
    let id = |header: &str| manager().load(header).map(|mut session| session.save().map(|_| session.public_id()));
    let ids = [id(&header), id(&other)].map(|id| id.unwrap().unwrap());
    let both = format!("{header}; {other}");
    let many = ["sid=x"; 9].join("; ");
    assert_eq!(lines(|| manager().load("sid=x; sid=y").unwrap()), Vec::<String>::new());
    let one_manager = manager();
    let tossed = lines(|| [&both, &both, &many, &both, &many].map(|header| one_manager.load(&**header).unwrap()));
    let start = "a request with several sessions is taken for one with none";
    let expected = [format!("{start}: {} and {}", ids[0], ids[1]), format!("{start}: more than 8 cookies of our name")];
    assert_eq!(tossed, expected, "each once");
    assert_eq!(one_manager.stats().tossed, 5);
    let dropped = lines(|| {
        for _ in 0..3 {
            one_manager.load(&header).unwrap().set("a", &1).unwrap();
            next_millisecond();
            drop(one_manager.load(&header).unwrap());
        }
    });
    assert_eq!(dropped.len(), 2, "{dropped:?}");
    for line in tossed.iter().chain(&owing).chain(&dropped) {
        for cookie in [&header, &other] {
            assert!(!line.contains(&cookie["sid=".len()..]), "{line}");
        }
    }
}
