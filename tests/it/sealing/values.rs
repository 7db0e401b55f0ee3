//! Sealed values are used like plain ones, and stay readable whatever happens to their session.

use crate::support::place::{Place, on_every_store};
use crate::support::{builder, cookie, login, public_id, rotate, secret, session_with, until};
use multi_process_session::{Error, Secret, Session, SessionManager, SessionManagerBuilder};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(60);

fn sealing(url: &str) -> SessionManager {
    builder(url).seal_values().readable(["visits", "device"]).build().unwrap()
}

fn on_every_store_sealing(test: impl Fn(&SessionManager)) {
    on_every_store(|builder: SessionManagerBuilder| {
        test(&builder.seal_values().readable(["visits", "device"]).build().unwrap());
    });
}

#[derive(Serialize, Deserialize, Default, PartialEq, Debug)]
#[serde(default)]
struct Profile {
    theme: String,
    cart: Vec<u32>,
}

#[track_caller]
fn assert_holds(manager: &SessionManager, header: &str, values: &[(&str, Option<&str>)]) {
    for session in [manager.load(header).unwrap(), manager.peek(header).unwrap()] {
        assert!(!session.is_new(), "the session is alive");
        for (key, value) in values {
            assert_eq!(session.get::<String>(key).unwrap().as_deref(), *value, "{key}");
        }
    }
}

#[test]
fn sealed_values_are_used_like_plain_ones() {
    on_every_store_sealing(|manager| {
        let mut session = manager.load(None).unwrap();
        session.set("a", "one").unwrap();
        assert_eq!(session.get::<String>("a").unwrap().as_deref(), Some("one"));
        session.flash("notice", "saved").unwrap();
        session.increment("visits", 2).unwrap();
        let header = cookie(&session.save().unwrap().unwrap());
        assert_eq!(session.get::<String>("a").unwrap().as_deref(), Some("one"), "after the save");
        let mut session = manager.load(&header).unwrap();
        assert_eq!(session.keys(), ["a", "visits"]);
        assert_eq!(session.take_flash::<String>("notice").unwrap().as_deref(), Some("saved"));
        assert_eq!(session.take_flash::<String>("notice").unwrap(), None);
        session.increment("visits", 1).unwrap();
        session.write_as(&Profile { theme: "dark".to_owned(), cart: vec![1] }).unwrap();
        assert_eq!(session.take::<String>("a").unwrap().as_deref(), Some("one"));
        session.save().unwrap();
        let session = manager.load(&header).unwrap();
        assert_eq!(session.read_as::<Profile>().unwrap(), Profile { theme: "dark".to_owned(), cart: vec![1] });
        assert_eq!((session.get("visits").unwrap(), session.contains_key("a")), (Some(3), false));
        manager
            .transact(&header, |session| {
                let cart: Vec<u32> = session.get("cart")?.unwrap_or_default();
                session.set("cart", &[cart, vec![2]].concat())
            })
            .unwrap();
        assert_eq!(manager.load(&header).unwrap().get("cart").unwrap(), Some(vec![1, 2]));
        let mut token = manager.load_token(None).unwrap();
        token.set("a", "of a token").unwrap();
        token.save().unwrap();
        let token = manager.load_token(token.token().as_deref()).unwrap();
        assert_eq!(token.get::<String>("a").unwrap().as_deref(), Some("of a token"));
    });
}

#[test]
fn only_the_fields_of_a_struct_that_differ_are_set() {
    on_every_store_sealing(|manager| {
        let header = session_with(manager, &[("theme", "dark")]);
        let mut sessions = [(); 2].map(|()| manager.load(&header).unwrap());
        sessions[0].write_as(&Profile { theme: "light".to_owned(), cart: Vec::new() }).unwrap();
        sessions[1].write_as(&Profile { theme: "dark".to_owned(), cart: vec![7] }).unwrap();
        sessions.iter_mut().for_each(|session| drop(session.save().unwrap()));
        let read = manager.load(&header).unwrap().read_as::<Profile>().unwrap();
        assert_eq!(read, Profile { theme: "light".to_owned(), cart: vec![7] });
    });
}

#[test]
fn they_stay_readable_through_new_ids_and_graces() {
    on_every_store_sealing(|manager| {
        let visitor = session_with(manager, &[("cart", "full")]);
        let mut session = manager.load(&visitor).unwrap();
        session.set_group_name("ada");
        session.set("name", "Ada").unwrap();
        let mut header = cookie(&session.save().unwrap().unwrap());
        assert_holds(manager, &header, &[("cart", Some("full")), ("name", Some("Ada"))]);
        let mut old = Vec::new();
        for number in ["one", "two", "three"] {
            let new = rotate(manager, &header, GRACE);
            old.push(std::mem::replace(&mut header, new));
            // Each id reads and writes what the others write.
            for (at, old) in old.iter().enumerate() {
                let mut session = manager.load(old).unwrap();
                session.set(&format!("{number} {at}"), "by an old id").unwrap();
                session.save().unwrap();
                assert_holds(
                    manager,
                    &header,
                    &[("cart", Some("full")), (&format!("{number} {at}"), Some("by an old id"))],
                );
            }
            let mut session = manager.load(&header).unwrap();
            session.set("name", number).unwrap();
            session.save().unwrap();
            for header in old.iter().chain([&header]) {
                assert_holds(manager, header, &[("cart", Some("full")), ("name", Some(number))]);
            }
        }
        for change in [Session::regenerate, Session::leave_group] {
            let mut session = manager.load(&header).unwrap();
            change(&mut session);
            session.set("more", "more").unwrap();
            header = cookie(&session.save().unwrap().unwrap());
            assert_holds(manager, &header, &[("cart", Some("full")), ("name", Some("three")), ("more", Some("more"))]);
        }
        let mut session = manager.load(&header).unwrap();
        session.clear();
        session.save().unwrap();
        session.set("after", "it").unwrap();
        session.save().unwrap();
        assert_holds(manager, &header, &[("cart", None), ("after", Some("it"))]);
    });
}

#[test]
fn a_clear_through_a_grace_keeps_the_key_for_both_ids() {
    on_every_store_sealing(|manager| {
        let old = session_with(manager, &[("a", "one")]);
        let new = rotate(manager, &old, GRACE);
        for by in [&old, &new] {
            let mut session = manager.load(by).unwrap();
            session.clear();
            session.set("b", "two").unwrap();
            session.save().unwrap();
            for header in [&old, &new] {
                assert_holds(manager, header, &[("a", None), ("b", Some("two"))]);
            }
        }
    });
}

#[test]
fn a_request_from_before_a_new_id_leaves_the_data_key_as_it_is() {
    on_every_store_sealing(|manager| {
        type Act = fn(&mut Session);
        let acts: [Act; 3] = [|session| session.clear(), |session| session.regenerate_with_grace(GRACE), |_| {}];
        for act in acts {
            let old = session_with(manager, &[("a", "one")]);
            let mut earlier = manager.load(&old).unwrap();
            let new = rotate(manager, &old, GRACE);
            act(&mut earlier);
            earlier.set("b", "two").unwrap();
            earlier.save().unwrap();
            for header in [&old, &new] {
                assert_holds(manager, header, &[("b", Some("two"))]);
            }
        }
    });
}

#[test]
fn another_user_of_the_session_gets_none_of_the_values() {
    on_every_store_sealing(|manager| {
        let ada = login(manager, "ada");
        let mut session = manager.load(&ada).unwrap();
        session.set_group_name("grace");
        session.set("mine", "of grace").unwrap();
        let grace = cookie(&session.save().unwrap().unwrap());
        assert_holds(manager, &grace, &[("user", None), ("mine", Some("of grace"))]);
    });
}

#[test]
fn a_new_secret_and_other_settings_log_nobody_out() {
    for place in Place::all_and_a_cluster() {
        let header = session_with(&sealing(&place.url()), &[("a", "one")]);
        let new = Secret::generate().unwrap();
        let changed = SessionManager::builder(new).accept_secret(secret()).store_url(&place.url()).secure(false);
        assert_holds(&changed.seal_values().build().unwrap(), &header, &[("a", Some("one"))]);
    }
}

#[test]
fn it_can_be_switched_on_and_off() {
    for place in Place::all_and_a_cluster() {
        let (off, on) = (builder(&place.url()).build().unwrap(), sealing(&place.url()));
        let header = login(&off, "ada");
        assert_holds(&on, &header, &[("user", Some("ada"))]);
        let mut session = on.load(&header).unwrap();
        session.set("sealed", "one").unwrap();
        session.save().unwrap();
        for manager in [&on, &off] {
            assert_holds(manager, &header, &[("user", Some("ada")), ("sealed", Some("one"))]);
        }
        let mut session = off.load(&header).unwrap();
        session.set("plain", "two").unwrap();
        session.regenerate();
        let header = cookie(&session.save().unwrap().unwrap());
        for manager in [&on, &off] {
            assert_holds(manager, &header, &[("user", Some("ada")), ("sealed", Some("one")), ("plain", Some("two"))]);
        }
        let mut session = off.load(&header).unwrap();
        session.set("sealed", "no more").unwrap();
        session.save().unwrap();
        assert_holds(&on, &header, &[("sealed", Some("no more"))]);
    }
}

#[test]
fn requests_that_begin_to_seal_at_the_same_time_use_one_key() {
    for place in Place::all_and_a_cluster() {
        let (off, on) = (builder(&place.url()).build().unwrap(), sealing(&place.url()));
        for round in 0..4 {
            let header = login(&off, "ada");
            let mut sessions = [(); 3].map(|()| on.load(&header).unwrap());
            let mut of_another = off.load(&header).unwrap();
            sessions.iter_mut().enumerate().for_each(|(at, session)| session.set(&at.to_string(), "by it").unwrap());
            // The last request changes something else than a value, after it has read a session without a key.
            let mut last = header.clone();
            match round {
                0 => {}
                1 => sessions[2].regenerate_with_grace(GRACE),
                2 => sessions[2].clear(),
                _ => {
                    of_another.increment("visits", 1).unwrap();
                    of_another.save().unwrap();
                }
            }
            for session in &mut sessions {
                last = session.save().unwrap().map_or(last, |new| cookie(&new));
            }
            let stays = |value| Some(value).filter(|_| round != 2);
            assert_holds(&on, &last, &[("user", stays("ada")), ("0", stays("by it")), ("1", stays("by it"))]);
            sessions[0].set("later", "by it").unwrap();
            sessions[0].save().unwrap();
            assert_holds(&on, &last, &[("later", Some("by it"))]);
        }
    }
}

#[test]
fn a_request_that_has_saved_before_takes_over_the_key_of_another_one() {
    for place in Place::all_and_a_cluster() {
        let (off, on) = (builder(&place.url()).build().unwrap(), sealing(&place.url()));
        let header = login(&off, "ada");
        let [mut one, mut other] = [(); 2].map(|()| on.load(&header).unwrap());
        other.set("other", "acknowledged").unwrap();
        other.save().unwrap();
        one.increment("visits", 1).unwrap();
        one.save().unwrap();
        one.set("one", "acknowledged").unwrap();
        one.save().unwrap();
        assert_holds(&on, &header, &[("one", Some("acknowledged")), ("other", Some("acknowledged"))]);
    }
}

#[test]
fn a_request_that_begins_to_seal_with_a_new_id_does_not_take_the_id_of_another_one() {
    for place in Place::all_and_a_cluster() {
        let (off, on) = (builder(&place.url()).build().unwrap(), sealing(&place.url()));
        for renew in [Session::regenerate as fn(&mut Session), |session| session.set_group_name("ada")] {
            let old = session_with(&off, &[("cart", "full")]);
            let mut session = on.load(&old).unwrap();
            let new = rotate(&off, &old, GRACE);
            session.set("a", "one").unwrap();
            renew(&mut session);
            assert!(matches!(session.save(), Err(Error::Gone)));
            for header in [&old, &new] {
                assert_holds(&on, header, &[("cart", Some("full")), ("a", None)]);
            }
        }
    }
}

#[test]
fn a_session_is_not_sealed_while_a_plain_old_id_is_in_its_grace() {
    for place in Place::all_and_a_cluster() {
        let (off, on) = (builder(&place.url()).build().unwrap(), sealing(&place.url()));
        let old = session_with(&off, &[("a", "one")]);
        let new = rotate(&off, &old, GRACE);
        for (by, key) in [(&new, "by the new id"), (&old, "by the old id")] {
            let mut session = on.load(by).unwrap();
            session.set(key, "set").unwrap();
            session.save().unwrap();
            for header in [&old, &new] {
                assert_holds(&on, header, &[("a", Some("one")), (key, Some("set"))]);
            }
        }
        // A login ends the grace.
        let mut session = on.load(&new).unwrap();
        session.set("a", "two").unwrap();
        session.set_group_name("ada");
        session.save().unwrap();
        let listed = on.group("ada").sessions_with(&["a"]).unwrap();
        assert!(matches!(listed[0].get::<String>("a"), Err(Error::Sealed { .. })));
    }
}

#[test]
fn counters_and_lists_need_readable_keys() {
    on_every_store_sealing(|manager| {
        let mut session = manager.load(None).unwrap();
        assert!(matches!(session.increment("count", 1), Err(Error::Sealed { key, .. }) if key == "count"));
        session.increment("visits", 1).unwrap();
        session.set("device", "phone").unwrap();
        session.set("address", "secret").unwrap();
        session.set_group_name("ada");
        session.save().unwrap();
        let listed = &manager.group("ada").sessions_with(&["device", "address", "missing"]).unwrap()[0];
        assert_eq!(listed.get::<String>("device").unwrap().as_deref(), Some("phone"));
        let refused = listed.get::<String>("address");
        assert!(matches!(refused, Err(Error::Sealed { .. })), "{refused:?}");
        assert!(refused.unwrap_err().to_string().contains("readable"));
        assert_eq!(listed.get::<String>("missing").unwrap(), None);
        // A value that was sealed before its key became readable.
        let mut session = manager.load(None).unwrap();
        session.set("visits", &1).unwrap();
        session.increment("visits", 1).unwrap();
        assert_eq!(session.get("visits").unwrap(), Some(2), "the request itself adds to what it has set");
        // The values of a user are not sealed: every session of the user reads them.
        manager.group("ada").set_value("role", "editor").unwrap();
        assert_eq!(manager.group("ada").value::<String>("role").unwrap().as_deref(), Some("editor"));
    });
}

#[test]
fn the_limits_count_what_is_stored_of_the_application() {
    on_every_store(|builder| {
        let manager = builder.seal_values().max_session_bytes(200).max_session_keys(2).build().unwrap();
        let mut session = manager.load(None).unwrap();
        // A key of 1 byte, and a text in quotation marks, sealed with 29 bytes.
        session.set("a", &"x".repeat(200 - 1 - 2 - 29)).unwrap();
        let too_large = session.set("a", &"x".repeat(200 - 1 - 2 - 28));
        assert!(matches!(too_large, Err(Error::TooLarge { size: 201, limit: 200, .. })), "{too_large:?}");
        let header = cookie(&session.save().unwrap().unwrap());
        let header = rotate(&manager, &header, GRACE);
        let mut session = manager.load(&header).unwrap();
        session.set("b", &1).unwrap();
        assert!(matches!(session.save(), Err(Error::TooLarge { .. })));
        session.set("a", &1).unwrap();
        session.save().unwrap();
        session.set("c", &1).unwrap();
        assert!(matches!(session.save(), Err(Error::TooLarge { limit: 2, .. })));
    });
}

#[test]
fn old_ids_lose_the_data_key_at_the_next_new_id() {
    for place in Place::all() {
        let manager = sealing(&place.url());
        let data_keys = |header: &str| match &place {
            Place::Redis(redis) => {
                let record = redis.record(&format!("mps:{}", public_id(&manager, header)));
                record.keys().filter(|key| key.starts_with(":\0\0seal")).count() as u32
            }
            Place::Sqlite(sqlite) => {
                let sql = "SELECT count(*) FROM session_values WHERE instr(key, char(0, 0) || 'seal') = 1";
                sqlite.connect().query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap()
            }
            Place::Cluster(_) => unreachable!("it is not asked"),
        };
        let mut header = session_with(&manager, &[("a", "one")]);
        assert_eq!(data_keys(&header), 1);
        for count in 2..105 {
            header = rotate(&manager, &header, GRACE);
            assert_eq!(data_keys(&header), count.min(101), "one for each id, and for 100 old ones at most");
        }
        assert_holds(&manager, &header, &[("a", Some("one"))]);
        let mut session = manager.load(&header).unwrap();
        session.regenerate();
        header = cookie(&session.save().unwrap().unwrap());
        assert_eq!(data_keys(&header), 1, "without a grace the old ids are worth nothing");
        // The store may carry a change out as late as its call ends, and only then does the grace begin.
        let timeout = Duration::from_secs(2);
        let with_timeout = builder(&place.url()).seal_values().operation_timeout(timeout).build().unwrap();
        header = rotate(&with_timeout, &header, Duration::from_millis(1));
        assert_eq!(data_keys(&header), 2);
        // A save after the grace removes it.
        until(|| {
            let mut session = manager.load(&header).unwrap();
            session.set("b", "two").unwrap();
            session.save().unwrap();
            data_keys(&header) == 1
        });
        assert_holds(&manager, &header, &[("a", Some("one")), ("b", Some("two"))]);
    }
}
