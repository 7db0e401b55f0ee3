//! What a session keeps, the same on every store: values of every kind, within limits of size.

use crate::support::place::{Place, on_every_store};
use crate::support::redis::Redis;
use crate::support::{builder, cookie, manager, session_with};
use multi_process_session::{Error, Session, SessionManager};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::time::Duration;

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

/// Sets a value, and reads it in another request.
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

    // As deep as it may be.
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

        // Each of them fits; both together do not.
        session.set("one", &"x".repeat(600)).unwrap();
        session.set("two", &"x".repeat(500)).unwrap();
        assert!(matches!(session.save(), Err(Error::TooLarge { key, .. }) if key == "one"));
        assert_eq!(manager.load(&header).unwrap().keys(), ["name"]);
        // The request still has them. Without one of them it can be saved.
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

#[test]
fn a_session_that_is_larger_than_it_may_be_now_is_still_of_use() {
    for place in Place::all_and_a_cluster() {
        let before = manager(&place.url());
        let mut session = before.load(None).unwrap();
        session.set_group_name("ada");
        (0..100).for_each(|key| session.set(&key.to_string(), &key).unwrap());
        let header = cookie(&session.save().unwrap().unwrap());

        let manager = builder(&place.url()).max_session_keys(2).max_session_bytes(10).build().unwrap();
        let mut session = manager.load(&header).unwrap();
        session.regenerate_with_grace(Duration::from_secs(60));
        session.set("7", &8).unwrap();
        let header = cookie(&session.save().unwrap().unwrap());
        let mut session = manager.load(&header).unwrap();
        session.set("new", &1).unwrap();
        assert!(matches!(session.save(), Err(Error::TooLarge { key, .. }) if key == "new"));
        session.remove("new");
        (10..100).for_each(|key| assert!(session.remove(&key.to_string())));
        session.save().unwrap();
        assert_eq!(manager.load(&header).unwrap().len(), 10);
    }
}
