//! New ids, the same on every store: the values stay, and the old id ends at once. `grace` has those with a grace.

use crate::support::place::{Place, on_every_store};
use crate::support::{cookie, login, manager, session_with};
use multi_process_session::Error;

#[test]
fn a_new_id_keeps_the_values_and_ends_the_old_one() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = session_with(&manager, &[("cart", "full")]);
        let mut session = manager.load(&header).unwrap();
        let (old_id, created) = (session.public_id(), session.created_at());
        session.regenerate();
        session.set("user", "ada").unwrap();
        session.increment("logins", 1).unwrap();
        let new_header = cookie(&session.save().unwrap().expect("a new id needs a cookie"));
        assert_ne!(session.public_id(), old_id);
        assert!(manager.load(&header).unwrap().is_new());
        let session = manager.load(&new_header).unwrap();
        assert_eq!(session.keys(), ["cart", "logins", "user"]);
        assert_eq!((session.created_at(), session.get("logins").unwrap()), (created, Some(1)));
    });
}

#[test]
fn a_new_id_takes_along_what_others_wrote_meanwhile() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = session_with(&manager, &[("cart", "empty"), ("old", "x")]);
        let mut login = manager.load(&header).unwrap();
        login.increment("count", 10).unwrap();
        let mut other = manager.load(&header).unwrap();
        other.set("cart", "full").unwrap();
        other.remove("old");
        other.increment("count", 1).unwrap();
        other.save().unwrap();
        login.regenerate();
        login.set("user", "ada").unwrap();
        let new_header = cookie(&login.save().unwrap().unwrap());
        assert!(matches!(other.set("late", "x").and_then(|()| other.save()), Err(Error::Gone)));
        assert_eq!(login.get("count").unwrap(), Some(11), "the store's total");
        let session = manager.load(&new_header).unwrap();
        assert_eq!(session.keys(), ["cart", "count", "user"]);
        assert_eq!(session.get::<String>("cart").unwrap().unwrap(), "full");
    });
}

#[test]
fn a_new_id_that_is_refused_leaves_the_old_one_as_it_was() {
    on_every_store(|builder| {
        let manager = builder.max_session_bytes(100).build().unwrap();
        let header = session_with(&manager, &[("a", "1")]);
        let mut session = manager.load(&header).unwrap();
        let mut other = manager.load(&header).unwrap();
        other.set("n", "word").unwrap();
        other.set("b", &"x".repeat(50)).unwrap();
        other.save().unwrap();
        // Right by what this request has seen, but not by what is there now.
        session.regenerate();
        session.increment("n", 1).unwrap();
        assert!(matches!(session.save(), Err(Error::NotAnInteger { key, .. }) if key == "n"));
        session.remove("n");
        session.set("c", &"x".repeat(50)).unwrap();
        assert!(matches!(session.save(), Err(Error::TooLarge { key, .. }) if key == "c"));
        let session = manager.load(&header).unwrap();
        assert_eq!(session.keys(), ["a", "b", "n"]);
    });
}

#[test]
fn no_request_with_the_old_id_reaches_the_session_under_its_new_one() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        for _ in 0..100 {
            let header = login(&manager, "ada");
            let mut session = manager.load(&header).unwrap();
            let old_id = session.public_id();
            std::thread::scope(|scope| {
                let requests = || {
                    for _ in 0..10 {
                        let session = manager.load(&header).unwrap();
                        assert!(session.is_new() || session.public_id() == old_id, "it has been passed on");
                    }
                };
                scope.spawn(requests);
                scope.spawn(requests);
                session.regenerate();
                let _ = session.save().unwrap();
            });
            manager.group("ada").clear().unwrap();
        }
    }
}
