//! What a save changes, the same on every store: the changed keys of a live session, all of them or none.

use crate::support::place::{Place, on_every_store};
use crate::support::{builder, is_alive, login, session_with};
use multi_process_session::Error;

#[test]
fn increments_add_up_and_fold_into_what_was_set() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = session_with(&manager, &[("text", "x")]);
        let mut first = manager.load(&header).unwrap();
        let mut second = manager.load(&header).unwrap();
        for session in [&mut first, &mut second] {
            session.increment("visits", 2).unwrap();
            session.increment("visits", 3).unwrap();
            assert_eq!(session.get("visits").unwrap(), Some(5));
            session.save().unwrap();
        }
        assert_eq!(second.get("visits").unwrap(), Some(10), "the store's total");

        second.set("visits", &100).unwrap();
        second.increment("visits", 1).unwrap();
        second.remove("gone");
        second.increment("gone", 7).unwrap();
        let refused = second.set("w", "word").and_then(|()| second.increment("w", 1));
        assert!(matches!(refused, Err(Error::NotAnInteger { key, .. }) if key == "w"));
        second.save().unwrap();
        second.clear();
        second.increment("after", 4).unwrap();
        assert_eq!(second.keys(), ["after"]);
        second.save().unwrap();
        assert_eq!(manager.load(&header).unwrap().keys(), ["after"]);
        assert_eq!(manager.load(&header).unwrap().get("after").unwrap(), Some(4));
    });
}

#[test]
fn a_failed_increment_takes_nothing_with_it() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = session_with(&manager, &[("text", "x")]);
        let mut session = manager.load(&header).unwrap();
        session.set("most", &i64::MAX).unwrap();
        session.increment("count", 1).unwrap();
        session.save().unwrap();
        for key in ["text", "most"] {
            let mut session = manager.load(&header).unwrap();
            session.increment("count", 1).unwrap();
            session.increment(key, 1).unwrap();
            session.set("other", "y").unwrap();
            session.remove("text");
            if key == "text" {
                // It is removed in this request, so it would count from 0. With a text again, it is refused.
                session.set("text", "x").unwrap();
                assert!(matches!(session.increment(key, 1), Err(Error::NotAnInteger { .. })));
                continue;
            }
            assert!(matches!(session.save(), Err(Error::NotAnInteger { key: named, .. }) if named == key));
            let now = manager.load(&header).unwrap();
            assert_eq!(now.keys(), ["count", "most", "text"]);
            assert_eq!(now.get("count").unwrap(), Some(1));
        }
    });
}

#[test]
fn requests_that_overlap_keep_each_others_keys() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        for _ in 0..50 {
            let header = session_with(&manager, &[("old", "x")]);
            let mut one = manager.load(&header).unwrap();
            let mut two = manager.load(&header).unwrap();
            one.set("one", &1).unwrap();
            two.set("two", &2).unwrap();
            two.remove("old");
            one.save().unwrap();
            two.save().unwrap();
            assert_eq!(manager.load(&header).unwrap().keys(), ["one", "two"]);
        }
    });
}

#[test]
fn a_key_that_is_removed_goes_though_another_request_has_just_set_it() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = session_with(&manager, &[("user", "ada")]);
        let mut late = manager.load(&header).unwrap();
        let mut other = manager.load(&header).unwrap();
        other.set("admin", &true).unwrap();
        other.save().unwrap();
        assert!(!late.remove("admin"), "this request knew nothing of it");
        late.save().unwrap();
        assert_eq!(manager.load(&header).unwrap().keys(), ["user"]);
        assert_eq!(late.take::<bool>("missing").unwrap(), None);
    });
}

#[test]
fn a_session_that_ended_is_not_brought_back() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = session_with(&manager, &[("user", "ada")]);
        let mut late = manager.load(&header).unwrap();
        late.set("cart", "full").unwrap();
        let removal = manager.load(&header).unwrap().destroy().unwrap().unwrap();
        assert_eq!(removal.as_str(), "sid=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
        for _ in 0..2 {
            assert!(matches!(late.save(), Err(Error::Gone)));
            assert!(manager.load(&header).unwrap().is_new());
        }
        late.regenerate();
        assert!(matches!(late.save(), Err(Error::Gone)));
        // To end an ended session is a success, in both ways.
        assert!(late.destroy().unwrap().is_some());
        assert_eq!(manager.destroy(&header).unwrap(), removal);
        assert_eq!(manager.destroy(None).unwrap(), removal);
    });
}

#[test]
fn every_session_ends_at_once() {
    for place in Place::all_and_a_cluster() {
        let [manager, other] =
            ["mps", "other"].map(|namespace| builder(&place.url()).namespace(namespace).build().unwrap());
        let mut before: Vec<String> = (0..20).map(|user| login(&manager, &user.to_string())).collect();
        before.extend((0..20).map(|_| session_with(&manager, &[("a", "1")])));
        let spared = login(&other, "ada");
        let mut under_way = manager.load(&before[0]).unwrap();
        under_way.set("a", &2).unwrap();

        manager.destroy_every_session().unwrap();
        assert!(before.iter().all(|header| !is_alive(&manager, header)));
        assert!(under_way.save().is_err());
        assert!((0..20).all(|user| manager.group(&user.to_string()).len().unwrap() == 0));
        assert!(is_alive(&other, &spared));
        let after = login(&manager, "0");
        assert!(is_alive(&manager, &after) && manager.group("0").sessions().unwrap().len() == 1);
        manager.check_writes().unwrap();
        assert!(is_alive(&manager, &after));
    }
}
