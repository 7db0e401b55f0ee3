//! What a session does, the same on every store: values, change sets, timeouts, cookies.

#![allow(missing_docs)]

mod support;

use multi_process_session::{
    Error, MemoryStore, Refresh, Secret, Session, SessionManager, SessionManagerBuilder, StoreErrorKind,
};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::time::Duration;
use support::place::Place;
use support::redis::Redis;
use support::{builder, clock, cookie, next_millisecond, session_with};

/// Runs a test on memory and on what processes share.
fn on_every_store(test: impl Fn(SessionManagerBuilder)) {
    test(builder("memory:"));
    for place in Place::all() {
        test(builder(&place.url()));
    }
}

#[test]
fn values_of_every_kind_come_back() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let mut session = manager.load(None).unwrap();
        assert!(session.is_new() && session.is_empty());
        session.set("text", "it's \"quoted\" ünicode \u{1F980} \0").unwrap();
        session.set("number", &-1.5).unwrap();
        session.set("none", &None::<u8>).unwrap();
        session.set("list", &[1, 2, 3][..]).unwrap();
        session.set("map", &HashMap::from([("a", 1)])).unwrap();
        session.set("", "an empty key").unwrap();
        session.set("v", "a key like a field of the library's").unwrap();
        let header = cookie(&session.save().unwrap().unwrap());
        assert!(!session.is_new());

        let mut session = manager.load(&header).unwrap();
        assert_eq!(session.keys(), ["", "list", "map", "none", "number", "text", "v"]);
        assert_eq!(session.get::<String>("text").unwrap().unwrap(), "it's \"quoted\" ünicode \u{1F980} \0");
        assert_eq!(session.get("number").unwrap(), Some(-1.5));
        assert_eq!(session.get("none").unwrap(), Some(None::<u8>));
        assert_eq!(session.get("list").unwrap(), Some(vec![1, 2, 3]));
        assert_eq!(session.get("map").unwrap(), Some(HashMap::from([("a".to_owned(), 1)])));
        assert_eq!(session.get::<String>("missing").unwrap(), None);
        assert_eq!(session.take("number").unwrap(), Some(-1.5));
        assert!(session.remove("") && !session.remove("missing") && !session.contains_key("number"));
        assert_eq!((session.len(), session.is_empty()), (5, false));
        assert!(session.save().unwrap().is_none(), "a change alone needs no cookie");
        assert_eq!(manager.load(&header).unwrap().keys(), ["list", "map", "none", "text", "v"]);
    });
}

/// What comes back of a value, through a store.
fn back<T: Serialize, U: DeserializeOwned>(manager: &SessionManager, value: &T) -> Option<U> {
    let mut session = manager.load(None).unwrap();
    session.set("value", value).unwrap();
    let header = cookie(&session.save().unwrap().unwrap());
    manager.load(&header).unwrap().get("value").unwrap()
}

#[test]
fn what_set_takes_get_gives_back() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    enum Kind {
        Plain,
        Wrapped(Option<u8>),
        Pair(i8, i8),
        Named { text: String },
    }
    #[derive(Debug, PartialEq)]
    struct Bytes(Vec<u8>);
    impl Serialize for Bytes {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }
    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(manager: &SessionManager, value: T) {
        assert_eq!(back::<T, T>(manager, &value), Some(value));
    }
    on_every_store(|builder| {
        let manager = &builder.build().unwrap();
        check(manager, (u64::MAX, i64::MIN, u128::MAX, i128::MIN));
        check(manager, (f64::MIN_POSITIVE, f64::MAX, 5e-324, f32::MAX, f32::MIN_POSITIVE, 1e-45_f32));
        check(manager, [0.921_568_632_125_854_5, 0.1 + 0.2, 1e23, 9_007_199_254_740_993.0]);
        assert!(back::<_, f64>(manager, &-0.0_f64).unwrap().is_sign_negative());
        check(manager, ('\0', "\u{0}\u{7f}\u{2028}\u{ffff}\u{10ffff}\"\\/".to_owned(), "x".repeat(100_000)));
        check(manager, HashMap::from([(u128::MAX, 1), (0, 2)]));
        check(
            manager,
            (HashMap::from([(-5_i8, ())]), HashMap::from([(true, 'a')]), HashMap::from([('é', "x".to_owned())])),
        );
        check(manager, HashMap::from([("".to_owned(), Some(1)), ("\0".to_owned(), None)]));
        check(manager, BTreeMap::from([(Kind::Plain, vec![Unit])]));
        check(manager, [Kind::Plain, Kind::Wrapped(None), Kind::Pair(1, -1), Kind::Named { text: String::new() }]);
        check(manager, ((), Unit, Some(Some(1)), Vec::<u8>::new()));
        assert_eq!(back(manager, &Bytes(vec![0, 255])), Some(vec![0_u8, 255]));
        check(manager, Duration::MAX);
    });
}

proptest! {
    #[test]
    fn floats_come_back_as_they_were(doubles: Vec<u64>, singles: Vec<u32>) {
        let manager = builder("memory:").build().unwrap();
        let mut session = manager.load(None).unwrap();
        for number in doubles.into_iter().map(f64::from_bits).filter(|number| number.is_finite()) {
            session.set("number", &number).unwrap();
            prop_assert_eq!(session.get::<f64>("number").unwrap().map(f64::to_bits), Some(number.to_bits()));
        }
        for number in singles.into_iter().map(f32::from_bits).filter(|number| number.is_finite()) {
            session.set("number", &number).unwrap();
            prop_assert_eq!(session.get::<f32>("number").unwrap().map(f32::to_bits), Some(number.to_bits()));
        }
    }
}

/// An array in an array, and so on.
struct Nested(usize);

impl Serialize for Nested {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.checked_sub(1) {
            None => serializer.serialize_unit(),
            Some(less) => serializer.collect_seq([Nested(less)]),
        }
    }
}

#[test]
fn what_could_not_be_read_again_is_refused_when_it_is_set() {
    #[derive(Serialize)]
    enum Reading {
        Single(f32),
        Named { value: f64 },
    }
    let manager = builder("memory:").build().unwrap();
    let mut session = manager.load(None).unwrap();
    let mut refused = |value: &dyn Fn(&mut Session) -> Result<(), Error>, words: &str| {
        let answer = value(&mut session);
        let text = match &answer {
            Err(error @ Error::Encode { key, .. }) if key == "value" => error.to_string(),
            other => panic!("{words}: {other:?}"),
        };
        assert!(text.contains(words) && !session.contains_key("value") && session.is_empty(), "{text}");
    };
    macro_rules! refused {
        ($value:expr, $words:literal) => {
            refused(&|session| session.set("value", &$value), $words);
            refused(&|session| session.flash("value", &$value), $words);
        };
    }
    refused!(f64::NAN, "NaN");
    refused!(f32::INFINITY, "infinite");
    refused!(vec![Some(1.0), Some(f64::NEG_INFINITY)], "infinite");
    refused!(HashMap::from([("a", (1, f32::NAN))]), "NaN");
    refused!([Reading::Single(f32::NAN)], "NaN");
    refused!(Reading::Named { value: f64::NAN }, "NaN");
    refused!(HashMap::from([(vec![1], 1)]), "neither text nor a number");
    refused!(Nested(128), "127 deep");
    refused!(Nested(10_000_000), "127 deep");
    assert_eq!(session.save().unwrap(), None);

    // As deep as it goes.
    session.set("value", &Nested(127)).unwrap();
    session.flash("value", &Nested(127)).unwrap();
    let header = cookie(&session.save().unwrap().unwrap());
    let mut session = manager.load(&header).unwrap();
    assert!(
        session.get::<Value>("value").unwrap().is_some() && session.take_flash::<Value>("value").unwrap().is_some()
    );
}

#[test]
fn a_null_is_none_where_the_type_has_no_null() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let mut session = manager.load(None).unwrap();
        session.set("name", &None::<String>).unwrap();
        session.flash("notice", &None::<String>).unwrap();
        session.set_group_name("ada");
        let header = cookie(&session.save().unwrap().unwrap());
        let mut session = manager.load(&header).unwrap();
        assert!(session.contains_key("name"));
        assert_eq!(session.get::<String>("name").unwrap(), None);
        assert_eq!(session.get::<u8>("name").unwrap(), None);
        assert_eq!(session.get::<Option<String>>("name").unwrap(), Some(None));
        assert_eq!(session.get::<Value>("name").unwrap(), Some(Value::Null));
        let listed = manager.group("ada").sessions_with(&["name"]).unwrap();
        assert_eq!(listed[0].get::<String>("name").unwrap(), None);
        assert_eq!(listed[0].get::<Option<String>>("name").unwrap(), Some(None));
        assert_eq!(session.take_flash::<String>("notice").unwrap(), None);
        assert_eq!(session.take::<String>("name").unwrap(), None);
        session.save().unwrap();
        assert!(!session.contains_key("name"), "it was taken");
        let mut session = manager.load(&header).unwrap();
        assert_eq!((session.len(), session.take_flash::<Option<String>>("notice").unwrap()), (0, None));
    });
}

#[test]
fn a_session_tells_when_it_was_created_and_when_it_ends() {
    on_every_store(|builder| {
        let manager = builder.idle_timeout(Duration::from_secs(1000)).build().unwrap();
        let mut session = manager.load(None).unwrap();
        assert_eq!((session.created_at(), session.expires_at()), (None, None));
        session.set("a", &1).unwrap();
        let header = cookie(&session.save().unwrap().unwrap());
        for session in [session, manager.load(&header).unwrap()] {
            let (created, expires) = (session.created_at().unwrap(), session.expires_at().unwrap());
            let life = expires.duration_since(created).unwrap();
            // The refresh interval is added, and rounding and the time to load it are allowed for.
            assert!((1009..1020).contains(&life.as_secs()), "{life:?}");
            assert!(created.elapsed().unwrap() < Duration::from_secs(60));
        }
    });
}

#[test]
fn what_cannot_be_kept_is_refused_by_key_and_changes_nothing() {
    on_every_store(|builder| {
        let manager = builder.max_session_bytes(1000).build().unwrap();
        let header = session_with(&manager, &[("name", "Ada")]);
        let mut session = manager.load(&header).unwrap();

        let unwritable = HashMap::from([(vec![1], 1)]);
        assert!(matches!(session.set("bad", &unwritable), Err(Error::Encode { key, .. }) if key == "bad"));
        let long = "k".repeat(64 * 1024);
        let error = session.set(&long, "x").unwrap_err();
        assert!(matches!(&error, Error::TooLarge { size: 65536, .. }));
        assert!(error.to_string().contains("kkkk") && error.to_string().len() < 200, "{error}");
        assert!(matches!(session.increment(&long, 1), Err(Error::TooLarge { .. })));
        let big = "x".repeat(1000);
        assert!(matches!(session.set("big", &big), Err(Error::TooLarge { key, limit: 1000, .. }) if key == "big"));
        assert!(matches!(session.get::<u8>("name"), Err(Error::Decode { key, .. }) if key == "name"));
        assert!(matches!(session.take::<u8>("name"), Err(Error::Decode { .. })));
        assert_eq!(session.keys(), ["name"]);
        assert!(session.save().unwrap().is_none());

        // Each fits; together they do not.
        session.set("one", &"x".repeat(600)).unwrap();
        session.set("two", &"x".repeat(500)).unwrap();
        assert!(matches!(session.save(), Err(Error::TooLarge { key, .. }) if key == "one"));
        assert_eq!(manager.load(&header).unwrap().keys(), ["name"]);
        // The session still has them, and can be mended.
        session.remove("two");
        session.save().unwrap();
        assert_eq!(manager.load(&header).unwrap().keys(), ["name", "one"]);
    });
}

#[test]
fn the_size_limit_counts_to_the_byte_and_lets_a_session_shrink() {
    on_every_store(|builder| {
        let manager = builder.max_session_bytes(100).build().unwrap();
        let header = session_with(&manager, &[("a", &"x".repeat(40))]); // 1 + 42
        let mut session = manager.load(&header).unwrap();
        session.set("b", &"x".repeat(54)).unwrap(); // 1 + 56: 100 in all
        session.save().unwrap();
        for attempt in [|s: &mut Session| s.increment("c", 1), |s: &mut Session| s.set("b", &"x".repeat(55))] {
            let mut session = manager.load(&header).unwrap();
            attempt(&mut session).unwrap();
            assert!(matches!(session.save(), Err(Error::TooLarge { size: 101.., limit: 100, .. })));
        }
        let mut session = manager.load(&header).unwrap();
        session.clear();
        session.set("b", &"x".repeat(95)).unwrap();
        session.save().unwrap();
        assert_eq!(manager.load(&header).unwrap().keys(), ["b"]);
    });
}

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
                // Removed in this request, so it counts from 0: put the refusal back.
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
        // Already dead is success, by either way.
        assert!(late.destroy().unwrap().is_some());
        assert_eq!(manager.destroy(&header).unwrap(), removal);
        assert_eq!(manager.destroy(None).unwrap(), removal);
    });
}

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
        // Fine by what this request has seen; not by what is there now.
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
fn a_transaction_sees_no_change_of_others_between_its_load_and_its_save() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = session_with(&manager, &[("log", "")]);
        let mut attempts = 0;
        let result = manager.transact(&header, |session| -> Result<String, Error> {
            attempts += 1;
            if attempts <= 3 {
                let mut other = manager.load(&header)?;
                other.set("log", &attempts.to_string())?;
                other.save()?;
            }
            let text = session.get::<String>("log")?.unwrap_or_default() + "!";
            session.set("log", &text)?;
            Ok(text)
        });
        let (text, set_cookie) = result.unwrap();
        assert_eq!((text.as_str(), attempts, set_cookie), ("3!", 4, None));

        // With a new id too.
        let mut attempts = 0;
        let (_, set_cookie) = manager
            .transact(&header, |session| -> Result<(), Error> {
                attempts += 1;
                if attempts == 1 {
                    let mut other = manager.load(&header)?;
                    other.set("meanwhile", &true)?;
                    other.save()?;
                }
                session.regenerate();
                Ok(())
            })
            .unwrap();
        assert_eq!(attempts, 2);
        let header = cookie(&set_cookie.unwrap());
        assert_eq!(manager.load(&header).unwrap().keys(), ["log", "meanwhile"]);

        // A failure of the work saves nothing, and is what comes out.
        let failed = manager.transact(&header, |session| -> Result<(), Box<dyn std::error::Error>> {
            session.set("half", &1)?;
            Err("no".into())
        });
        assert_eq!(failed.unwrap_err().to_string(), "no");
        assert_eq!(manager.load(&header).unwrap().keys(), ["log", "meanwhile"]);

        // Bounded.
        let endless = manager.transact(&header, |session| -> Result<(), Error> {
            let mut other = manager.load(&header)?;
            other.increment("others", 1)?;
            other.save()?;
            session.set("mine", &1)
        });
        assert!(matches!(endless, Err(Error::Conflict)));
    });
}

#[test]
fn a_transaction_may_save_by_itself() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let (_, set_cookie) = manager
            .transact(None, |session| -> Result<(), Error> {
                session.set("a", &1)?;
                assert!(session.save()?.is_some());
                session.set("b", &2)
            })
            .unwrap();
        let header = cookie(&set_cookie.expect("a new session has a cookie"));
        assert_eq!(manager.load(&header).unwrap().keys(), ["a", "b"]);
        let mut attempts = 0;
        manager
            .transact(&header, |session| -> Result<(), Error> {
                attempts += 1;
                if attempts == 1 {
                    let mut other = manager.load(&header)?;
                    other.set("other", &1)?;
                    other.save()?;
                }
                session.set("a", &attempts)?;
                session.save()?;
                Ok(())
            })
            .unwrap();
        assert_eq!((attempts, manager.load(&header).unwrap().get("a").unwrap()), (2, Some(2)));
    });
}

#[test]
fn a_transaction_whose_session_ends_meanwhile_starts_no_new_one() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = session_with(&manager, &[("user", "ada")]);
        let mut attempts = 0;
        let ended = manager.transact(&header, |session| -> Result<(), Error> {
            attempts += 1;
            let mut other = manager.load(&header)?;
            other.set("other", &attempts)?;
            other.save()?;
            session.set("mine", &1)?;
            // Meets the other change; the next try meets a session that has ended.
            let conflict = session.save();
            let _ = manager.destroy(&header)?;
            conflict.map(drop)
        });
        assert!(matches!(ended, Err(Error::Gone)), "{ended:?}");
        assert_eq!(attempts, 1);
        assert!(manager.load(&header).unwrap().is_new());
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
fn ten_thousand_keys_in_one_change_set() {
    on_every_store(|builder| {
        let manager = builder.max_session_keys(25_000).build().unwrap();
        let header = session_with(&manager, &[("first", "x")]);
        let mut session = manager.load(&header).unwrap();
        for number in 0..10_000 {
            session.set(&format!("set{number}"), &number).unwrap();
        }
        session.save().unwrap();
        for number in 0..10_000 {
            session.increment(&format!("set{number}"), 1).unwrap();
            session.increment(&format!("count{number}"), 1).unwrap();
        }
        session.save().unwrap();
        let mut session = manager.load(&header).unwrap();
        assert_eq!((session.len(), session.get("set9999").unwrap()), (20_001, Some(10_000)));
        for number in 0..10_000 {
            session.remove(&format!("set{number}"));
        }
        session.save().unwrap();
        session.regenerate();
        let header = cookie(&session.save().unwrap().unwrap());
        let mut session = manager.load(&header).unwrap();
        assert_eq!(session.len(), 10_001);
        session.clear();
        session.save().unwrap();
        assert!(manager.load(&header).unwrap().is_empty());
        assert!(!manager.load(&header).unwrap().is_new(), "cleared, not ended");
    });
}

#[test]
fn cookies_are_written_when_they_are_due_and_not_otherwise() {
    on_every_store(|builder| {
        let manager = builder.idle_timeout(Duration::from_secs(100)).build().unwrap();
        let is_cookie = |text: &str| {
            let token = text.strip_prefix("sid=")?.strip_suffix("; HttpOnly; SameSite=Lax; Path=/; Max-Age=101")?;
            (token.len() == 100).then_some(())
        };
        // Nothing came, or what is not ours, and nothing was set.
        for header in [None, Some("other=1"), Some("sid=forged"), Some("sid="), Some("sid")] {
            assert_eq!(manager.load(header).unwrap().save().unwrap(), None);
        }
        let mut untouched = manager.load(None).unwrap();
        untouched.set("a", &1).unwrap();
        untouched.remove("a");
        untouched.set_idle_timeout(Duration::from_secs(5));
        untouched.regenerate();
        assert_eq!(untouched.save().unwrap(), None, "nothing is left to keep");
        // Something was set in a new session.
        let mut session = manager.load(None).unwrap();
        session.set("a", &1).unwrap();
        let set_cookie = session.save().unwrap().unwrap();
        is_cookie(set_cookie.as_str()).unwrap_or_else(|| panic!("{set_cookie}"));
        assert_eq!(session.save().unwrap(), None, "once");
        // Read only, or changed, with no refresh due.
        let header = cookie(&set_cookie);
        let mut session = manager.load(&header).unwrap();
        assert_eq!(session.save().unwrap(), None);
        session.set("a", &2).unwrap();
        assert_eq!(session.save().unwrap(), None);
        // A new id.
        session.regenerate();
        let renewed = session.save().unwrap().unwrap();
        is_cookie(renewed.as_str()).unwrap();
        assert_ne!(cookie(&renewed), header);
        // Validly signed, but dead: nothing, or a fresh id.
        let mut dead = manager.load(&header).unwrap();
        assert_eq!(dead.save().unwrap(), None);
        dead.set("b", &1).unwrap();
        let fresh = dead.save().unwrap().unwrap();
        is_cookie(fresh.as_str()).unwrap();
        assert_ne!(cookie(&fresh), header);
        // Gone.
        let header = cookie(&renewed);
        let mut late = manager.load(&header).unwrap();
        let _ = manager.destroy(&header).unwrap();
        late.regenerate();
        assert!(matches!(late.save(), Err(Error::Gone)));
        // A time of its own.
        let mut session = manager.load(&cookie(&fresh)).unwrap();
        session.set_idle_timeout(Duration::from_secs(1000));
        assert!(session.save().unwrap().unwrap().as_str().ends_with("; Max-Age=1010"));
    });
}

#[test]
fn an_accepted_secret_verifies_and_is_signed_anew() {
    on_every_store(|new_builder| {
        let old_secret = Secret::new("the secret of yesterday, of 32 bytes").unwrap();
        let manager = new_builder.accept_secret(old_secret.clone()).build().unwrap();
        // The old workers, on the same store where it can be shared.
        if format!("{manager:?}").contains("memory:") {
            return;
        }
        let url = format!("{manager:?}").split("store: ").nth(1).unwrap().split(',').next().unwrap().to_owned();
        let old = SessionManager::builder(old_secret).store_url(&url).secure(false).build().unwrap();
        let header = session_with(&old, &[("a", "1")]);
        let mut session = manager.load(&header).unwrap();
        assert!(!session.is_new());
        let renewed = cookie(&session.save().unwrap().expect("signed anew"));
        assert_ne!(renewed, header);
        assert_eq!(manager.load(&renewed).unwrap().save().unwrap(), None);
        assert!(old.load(&renewed).unwrap().is_new(), "the old workers do not know the new secret");
        // Both at once are one session, and the newer signature counts.
        let both = format!("{header}; {renewed}");
        assert_eq!(manager.load(&both).unwrap().save().unwrap(), None);
        assert!(!manager.load(&both).unwrap().is_new());
    });
}

#[test]
fn a_secret_is_changed_worker_by_worker_without_logging_anyone_out() {
    let redis = Redis::start();
    let [old, new] = [1, 2].map(|byte| Secret::new([byte; 32]).unwrap());
    let worker = |signs: &Secret, accepts: Option<&Secret>| {
        let builder = SessionManager::builder(signs.clone()).store_url(&redis.url()).secure(false);
        accepts.into_iter().fold(builder, |builder, secret| builder.accept_secret(secret.clone())).build().unwrap()
    };
    // Two workers, of which one is a step ahead.
    let steps = [
        [worker(&old, None), worker(&old, Some(&new))],
        [worker(&old, Some(&new)), worker(&old, Some(&new))],
        [worker(&old, Some(&new)), worker(&new, Some(&old))],
        [worker(&new, Some(&old)), worker(&new, Some(&old))],
        [worker(&new, Some(&old)), worker(&new, None)],
    ];
    let mut browser = session_with(&steps[0][0], &[("user", "ada")]);
    for (step, workers) in steps.iter().enumerate() {
        for request in 0..4 {
            let mut session = workers[request % 2].load(&browser).unwrap();
            assert!(!session.is_new(), "step {step}, request {request}");
            if let Some(renewed) = session.save().unwrap() {
                browser = cookie(&renewed);
            }
        }
    }
}

#[test]
fn several_cookies_of_our_name() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let one = session_with(&manager, &[("who", "one")]);
        let two = session_with(&manager, &[("who", "two")]);
        let is_new = |headers: &[&str]| manager.load_headers(headers).unwrap().is_new();
        assert!(!is_new(&[&format!("sid=junk; {one}; sid=; {one}")]));
        assert!(!is_new(&["other=1", &one, "sid=junk"]));
        assert!(is_new(&[&format!("{one}; {two}")]), "tossed");
        assert!(is_new(&[&one, &two]), "tossed");
        assert!(!is_new(&[&format!("{}{one}", "sid=x; ".repeat(7))]), "8");
        assert!(is_new(&[&format!("{}{one}", "sid=x; ".repeat(8))]), "9");
        assert!(is_new(&[&format!("{one}{}", "; sid=x".repeat(8))]), "9");
        // A logout ends all, however much junk stands before them.
        let three = session_with(&manager, &[("who", "three")]);
        let _ = manager.destroy(&format!("{}{three}", "sid=x; ".repeat(8))).unwrap();
        assert!(is_new(&[&three]));
        // In one request at most 8 are loaded, and all of them end.
        let many: Vec<String> = (0..9).map(|_| session_with(&manager, &[("who", "many")])).collect();
        assert!(is_new(&[&many.join("; ")]));
        let _ = manager.destroy(&many.join("; ")).unwrap();
        assert!(many.iter().all(|header| is_new(&[header.as_str()])));
        let [four, five] = ["four", "five"].map(|who| session_with(&manager, &[("who", who)]));
        let _ = manager.destroy_headers([four.as_bytes(), b"sid=\xff", five.as_bytes()]).unwrap();
        assert!(is_new(&[&four]) && is_new(&[&five]));
        let _ = manager.destroy(&format!("{one}; {two}")).unwrap();
        assert!(is_new(&[&one]) && is_new(&[&two]));
    });
}

#[test]
fn cookies_of_ended_sessions_do_not_hide_a_live_one() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = |cookies: &[&String]| cookies.iter().map(|cookie| cookie.as_str()).collect::<Vec<_>>().join("; ");
        let ended: Vec<String> = (0..7).map(|_| session_with(&manager, &[("who", "ended")])).collect();
        let _ = manager.destroy(&header(&ended.iter().collect::<Vec<_>>())).unwrap();
        let live = session_with(&manager, &[("who", "live")]);
        for place in 0..=7 {
            let mut cookies: Vec<&String> = ended.iter().collect();
            cookies.insert(place, &live);
            let mut session = manager.load(&header(&cookies)).unwrap();
            assert_eq!(session.get::<String>("who").unwrap().as_deref(), Some("live"), "{place}");
            assert_eq!(session.save().unwrap(), None, "it is no reason to renew the cookie");
            let headers = cookies.iter().map(|cookie| cookie.as_bytes());
            assert_eq!(manager.load_headers(headers).unwrap().public_id(), session.public_id());
        }
        let both = header(&[&ended[0], &live]);
        let (count, set_cookie) = manager
            .transact(&both, |session| {
                session.increment("count", 1)?;
                session.get::<u32>("count")
            })
            .unwrap();
        assert_eq!((count, set_cookie), (Some(1), None));

        // A login that both cookies come with does not take the other one for a second session.
        let mut session = manager.load(&both).unwrap();
        session.set_group_name("ada");
        let login = cookie(&session.save().unwrap().unwrap());
        assert_eq!(manager.load(&header(&[&live, &login, &ended[0]])).unwrap().group_name(), Some("ada"));
        let _ = manager.destroy(&header(&[&ended[0], &login])).unwrap();
        let mut session = manager.load(&header(&[&live, &login, &ended[0]])).unwrap();
        assert!(session.is_new());
        session.set("who", "new").unwrap();
        assert!(session.save().unwrap().is_some());
    });
}

#[test]
fn one_session_by_its_old_id_and_its_new_one_is_one_session() {
    on_every_store(|builder| {
        let manager = builder.idle_timeout(Duration::from_secs(600)).refresh(Refresh::EveryLoad).build().unwrap();
        let old = session_with(&manager, &[("who", "one")]);
        let other = session_with(&manager, &[("who", "other")]);
        let mut session = manager.load(&old).unwrap();
        session.regenerate_with_grace(Duration::from_secs(60));
        let new = cookie(&session.save().unwrap().unwrap());
        for both in [format!("{old}; {new}"), format!("{new}; {old}")] {
            next_millisecond();
            let mut session = manager.load(&both).unwrap();
            assert_eq!(session.get::<String>("who").unwrap().as_deref(), Some("one"));
            // Whichever of the two the refresh was made with, the cookie that is renewed is the new one.
            assert_eq!(session.save().unwrap().map(|set_cookie| cookie(&set_cookie)).as_ref(), Some(&new));
        }
        assert!(manager.load(&format!("{old}; {other}; {new}")).unwrap().is_new(), "two sessions");
    });
}

#[test]
fn only_a_request_with_several_tokens_of_ours_takes_several_round_trips() {
    let redis = Redis::start();
    let manager = builder(&redis.url()).build().unwrap();
    let [one, two, three] = ["1", "2", "3"].map(|who| session_with(&manager, &[("who", who)]));
    let _ = manager.destroy(&one).unwrap();
    manager.load(&one).unwrap(); // Now the server knows the script.
    let trips = |header: String| redis.commands(|| manager.load(&header).unwrap()).0.len();
    assert_eq!(trips(format!("sid=junk; {two}; sid={}; {two}", "A".repeat(100))), 1);
    assert_eq!(trips(format!("{one}; {two}")), 2);
    assert_eq!(trips(format!("{two}; {three}; {one}")), 2, "two live ones are enough");
    assert_eq!(trips(vec![two; 9].join("; ")), 0);
}

#[test]
fn junk_in_the_header_is_no_session_and_no_panic() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = session_with(&manager, &[("a", "1")]);
        let token = header.strip_prefix("sid=").unwrap();
        let mut junk: Vec<Vec<u8>> = vec![
            vec![],
            b"sid".to_vec(),
            vec![0; 1000],
            vec![b';'; 1 << 20],
            vec![b'a'; 1 << 20],
            format!("sid={}", "A".repeat(1 << 20)).into_bytes(),
            format!("sid=\"{token}\"").into_bytes(),
            format!("sid={token}=").into_bytes(),
            format!("sid={token}\0").into_bytes(),
            format!("sid={token},").into_bytes(),
            format!("sid=%{token}").into_bytes(),
            format!("SID={token}").into_bytes(),
            format!("sid ={token}").into_bytes(),
            format!("sid= {token}").into_bytes(),
            [b"sid=\xff\xfe".as_slice(), token.as_bytes()].concat(),
            [b"sid=".as_slice(), token.as_bytes(), b"\xa0"].concat(),
        ];
        junk.push("sid=x;".repeat(200_000).into_bytes());
        for header in &junk {
            assert!(manager.load_headers([header]).unwrap().is_new(), "{:?}", &header[..header.len().min(80)]);
        }
        assert!(!manager.load_headers([format!("\t{header} ;x=\u{fe}").as_bytes()]).unwrap().is_new());
    });
}

#[test]
fn the_namespace_keeps_applications_apart() {
    let redis = Redis::start();
    let one = builder(&redis.url()).namespace("one").build().unwrap();
    let two = builder(&redis.url()).namespace("two").build().unwrap();
    let header = session_with(&one, &[("a", "1")]);
    assert!(two.load(&header).unwrap().is_new());
    assert!(redis.keys().iter().all(|key| key.starts_with("one:")));
}

#[test]
fn nothing_secret_is_shown() {
    let manager = builder("redis://user:hunter2@127.0.0.1:1/3").build().unwrap();
    let shown = format!("{manager:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("user") && !shown.contains("secret of"), "{shown}");
    let error = manager.ping().unwrap_err().to_string();
    assert!(!error.contains("hunter2") && error.contains("127.0.0.1:1"), "{error}");

    let manager = builder("memory:").build().unwrap();
    let mut session = manager.load(None).unwrap();
    session.set("password", "hunter2").unwrap();
    let set_cookie = session.save().unwrap().unwrap();
    let shown = format!("{session:?} {set_cookie:?}");
    assert!(shown.contains(&session.public_id().to_string()) && !shown.contains("hunter2"), "{shown}");
    assert!(!shown.contains(&cookie(&set_cookie)[4..]), "{shown}");
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_idle_timeout_runs_from_the_last_use() {
    let (now, pass) = clock();
    let store = MemoryStore::with_clock(now);
    let manager = builder("memory:").store(store).idle_timeout(100 * SECOND).build().unwrap();
    let header = session_with(&manager, &[("a", "1")]);
    // The interval is a hundredth of the timeout: one second.
    for _ in 0..5 {
        pass(SECOND);
        assert_eq!(manager.load(&header).unwrap().save().unwrap(), None, "not due yet");
        pass(99 * SECOND);
        let set_cookie = manager.load(&header).unwrap().save().unwrap().expect("due");
        assert!(set_cookie.as_str().ends_with("; Max-Age=101"));
    }
    // Never early: used just before a refresh was due, it lives for a whole timeout.
    pass(SECOND);
    assert_eq!(manager.load(&header).unwrap().save().unwrap(), None);
    pass(100 * SECOND - Duration::from_millis(1));
    assert!(!manager.load(&header).unwrap().is_new());
    pass(101 * SECOND);
    assert!(manager.load(&header).unwrap().is_new());
}

#[test]
fn the_absolute_timeout_holds_however_much_a_session_is_used() {
    let (now, pass) = clock();
    let store = MemoryStore::with_clock(now);
    let manager =
        builder("memory:").store(store).idle_timeout(100 * SECOND).absolute_timeout(250 * SECOND).build().unwrap();
    let mut header = session_with(&manager, &[("a", "1")]);
    for _ in 0..2 {
        pass(80 * SECOND);
        assert!(manager.load(&header).unwrap().save().unwrap().is_some());
    }
    let mut session = manager.load(&header).unwrap();
    session.set_idle_timeout(1000 * SECOND);
    assert!(session.save().unwrap().unwrap().as_str().ends_with("; Max-Age=90"));
    // A new id does not start it again.
    session.regenerate();
    let set_cookie = session.save().unwrap().unwrap();
    assert!(set_cookie.as_str().ends_with("; Max-Age=90"));
    header = cookie(&set_cookie);
    pass(89 * SECOND);
    assert_eq!(manager.load(&header).unwrap().save().unwrap(), None, "no refresh goes past the end");
    pass(SECOND);
    assert!(manager.load(&header).unwrap().is_new());
}

#[test]
fn refresh_on_every_load_or_never() {
    let (now, pass) = clock();
    let store = MemoryStore::with_clock(now);
    let manager =
        builder("memory:").store(store).idle_timeout(100 * SECOND).refresh(Refresh::EveryLoad).build().unwrap();
    let header = session_with(&manager, &[("a", "1")]);
    for _ in 0..3 {
        pass(99 * SECOND);
        assert!(manager.load(&header).unwrap().save().unwrap().unwrap().as_str().ends_with("; Max-Age=100"));
    }
    let (now, pass) = clock();
    let store = MemoryStore::with_clock(now);
    let manager = builder("memory:").store(store).idle_timeout(100 * SECOND).refresh(Refresh::Never).build().unwrap();
    let header = session_with(&manager, &[("a", "1")]);
    pass(99 * SECOND);
    let mut session = manager.load(&header).unwrap();
    session.set("b", "2").unwrap();
    assert_eq!(session.save().unwrap(), None);
    pass(SECOND);
    assert!(manager.load(&header).unwrap().is_new());
    assert!(matches!(session.set("c", "3").and_then(|()| session.save()), Err(Error::Gone)));
}

#[test]
fn memory_is_not_shared_with_a_forked_process() {
    support::fork::in_own_process("memory_is_not_shared_with_a_forked_process", || {
        let manager = builder("memory:").build().unwrap();
        let header = session_with(&manager, &[("a", "1")]);
        let said = support::fork::child(|| match manager.load(&header) {
            Err(Error::Store(error)) => format!("{:?}", error.kind()),
            other => format!("{other:?}"),
        });
        assert_eq!(said.join(), format!("{:?}", StoreErrorKind::Forked));
        assert_eq!(manager.load(&header).unwrap().keys(), ["a"]);
    });
}

#[test]
fn unreadable_json_is_one_keys_problem() {
    let redis = Redis::start();
    let manager = builder(&redis.url()).build().unwrap();
    let header = session_with(&manager, &[("good", "1"), ("bad", "2")]);
    let key = redis.keys().remove(0);
    let _: i64 = redis.run(&["HSET", &key, ":bad", "{oh"]);
    let mut session = manager.load(&header).unwrap();
    assert_eq!(session.get::<String>("good").unwrap().unwrap(), "1");
    assert!(matches!(session.get::<serde_json::Value>("bad"), Err(Error::Decode { key, .. }) if key == "bad"));
    session.set("bad", &json!({"mended": true})).unwrap();
    session.save().unwrap();
    assert_eq!(manager.load(&header).unwrap().get("bad").unwrap(), Some(json!({"mended": true})));
}
