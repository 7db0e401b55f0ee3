//! A session as a struct of the application.

use crate::support::place::on_every_store;
use crate::support::{cookie, manager, session_with};
use multi_process_session::{Error, Session, SessionManager};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
struct Profile {
    name: String,
    theme: Option<String>,
    cart: Vec<Item>,
    visits: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nickname: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
struct Item {
    id: u128,
    price: f64,
    options: BTreeMap<String, Vec<bool>>,
}

fn profile() -> Profile {
    let item = Item { id: u128::MAX, price: 0.1, options: [("gift".to_owned(), vec![true, false])].into() };
    Profile { name: "Ada".to_owned(), theme: None, cart: vec![item], visits: 7, nickname: Some("ada".to_owned()) }
}

/// Saves a struct in a new session, and gives the `Cookie` header for it.
fn save(manager: &SessionManager, profile: &Profile) -> String {
    let mut session = manager.load(None).unwrap();
    session.write_as(profile).unwrap();
    cookie(&session.save().unwrap().unwrap())
}

fn new_session() -> Session {
    manager("memory:").load(None).unwrap()
}

#[test]
fn two_requests_that_change_two_fields_both_keep_their_change() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = save(&manager, &profile());
        let (mut one, mut other) = (manager.load(&header).unwrap(), manager.load(&header).unwrap());
        let mut changed: Profile = one.read_as().unwrap();
        changed.theme = Some("dark".to_owned());
        one.write_as(&changed).unwrap();
        let mut changed: Profile = other.read_as().unwrap();
        changed.cart.clear();
        other.write_as(&changed).unwrap();
        other.increment("visits", 1).unwrap();
        one.increment("visits", 1).unwrap();
        one.save().unwrap();
        other.save().unwrap();
        let read: Profile = manager.load(&header).unwrap().read_as().unwrap();
        let expected = Profile { theme: Some("dark".to_owned()), cart: Vec::new(), visits: 9, ..profile() };
        assert_eq!(read, expected);
    });
}

#[test]
fn a_struct_comes_back_and_unknown_keys_stay() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = session_with(&manager, &[("csrf", "kept"), ("name", "Grace")]);
        let mut session = manager.load(&header).unwrap();
        session.flash("notice", "kept too").unwrap();
        let read: Profile = session.read_as().unwrap();
        assert_eq!(read, Profile { name: "Grace".to_owned(), ..Profile::default() });
        session.write_as(&profile()).unwrap();
        assert_eq!(session.read_as::<Profile>().unwrap(), profile(), "before the save");
        session.save().unwrap();
        let mut session = manager.load(&header).unwrap();
        assert_eq!(session.read_as::<Profile>().unwrap(), profile());
        assert_eq!(session.get("csrf").unwrap(), Some("kept".to_owned()));
        assert_eq!(session.take_flash::<String>("notice").unwrap().as_deref(), Some("kept too"));
    });
}

#[test]
fn only_what_differs_is_set() {
    let manager = manager("memory:");
    let header = save(&manager, &profile());
    let calls = || manager.stats().calls;
    let mut session = manager.load(&header).unwrap();
    let before = calls();
    let read: Profile = session.read_as().unwrap();
    session.write_as(&read).unwrap();
    session.save().unwrap();
    assert_eq!(calls(), before, "there is nothing to save");
    session.increment("visits", 2).unwrap();
    let read: Profile = session.read_as().unwrap();
    assert_eq!(read.visits, 9);
    session.write_as(&read).unwrap();
    let mut other = manager.load(&header).unwrap();
    other.increment("visits", 100).unwrap();
    other.save().unwrap();
    session.save().unwrap();
    assert_eq!(session.get("visits").unwrap(), Some(109), "the increment is still one");
}

#[test]
fn numbers_keep_their_text_and_none_is_rounded() {
    let mut session = new_session();
    for text in ["1.0", "1", "340282366920938463463374607431768211455", "0.1", "-0.0", "1e300"] {
        let number: Box<serde_json::value::RawValue> = serde_json::from_str(text).unwrap();
        session.write_as(&BTreeMap::from([("number", json!([1])), ("other", json!(0))])).unwrap();
        session.write_as(&BTreeMap::from([("number", &number)])).unwrap();
        let read: BTreeMap<String, Box<serde_json::value::RawValue>> = session.read_as().unwrap();
        assert_eq!(read["number"].get(), text);
        assert_eq!(read["other"].get(), "0");
    }
    // As a float, these two are one.
    session.write_as(&BTreeMap::from([("big", u128::MAX)])).unwrap();
    session.write_as(&BTreeMap::from([("big", u128::MAX - 1)])).unwrap();
    assert_eq!(session.get("big").unwrap(), Some(u128::MAX - 1));
    session.write_as(&BTreeMap::from([("small", 0.1_f32)])).unwrap();
    assert_eq!(session.get("small").unwrap(), Some(json!(0.1)));
}

#[test]
fn the_order_of_a_map_is_not_a_change() {
    let manager = manager("memory:");
    let map = || -> HashMap<String, Vec<HashMap<u32, u32>>> {
        (0..50).map(|n| (n.to_string(), vec![(0..9).map(|m| (m, n)).collect()])).collect()
    };
    let mut session = manager.load(None).unwrap();
    session.write_as(&BTreeMap::from([("map", map())])).unwrap();
    let header = cookie(&session.save().unwrap().unwrap());
    let before = manager.stats().calls;
    for _ in 0..10 {
        session.write_as(&BTreeMap::from([("map", map())])).unwrap();
    }
    session.save().unwrap();
    assert_eq!(manager.stats().calls, before);
    for other in [json!({"a": 1}), json!({"b": 1}), json!({"a": 2, "b": 1}), json!({"a": 2}), json!([2]), json!([])] {
        session.write_as(&BTreeMap::from([("other", &other)])).unwrap();
        assert_eq!(session.get("other").unwrap(), Some(other));
    }
    for change in [("9", 1, 1), ("9", 0, 1), ("x", 0, 9)] {
        let mut map = map();
        map.insert(change.0.to_owned(), vec![HashMap::from([(0, change.2)]); change.1 + 1]);
        session.write_as(&BTreeMap::from([("map", &map)])).unwrap();
        session.save().unwrap();
        assert_eq!(manager.load(&header).unwrap().get("map").unwrap(), Some(map));
    }
}

#[test]
fn a_field_that_is_none_is_null_and_one_that_is_skipped_stays() {
    let mut session = new_session();
    session.write_as(&Profile { theme: Some("dark".to_owned()), ..profile() }).unwrap();
    session.write_as(&Profile { theme: None, nickname: None, ..profile() }).unwrap();
    assert_eq!(session.get::<Value>("theme").unwrap(), Some(Value::Null));
    assert_eq!(session.get("nickname").unwrap(), Some("ada".to_owned()));
    session.remove("nickname");
    assert_eq!(session.read_as::<Profile>().unwrap(), Profile { nickname: None, ..profile() });
}

#[test]
fn a_refused_struct_changes_nothing() {
    let small = crate::support::builder("memory:").max_session_bytes(100).build().unwrap();
    let mut session = small.load(None).unwrap();
    session.set("a", &1).unwrap();
    let long = "k".repeat(Session::MAX_KEY_BYTES + 1);
    let refused = |session: &mut Session, value: Value| session.write_as(&value).unwrap_err();
    assert!(matches!(refused(&mut session, json!({"a": 2, "\0b": 1})), Error::ReservedKey { .. }));
    assert!(matches!(refused(&mut session, json!({"a": 2, long: 1})), Error::TooLarge { .. }));
    assert!(matches!(refused(&mut session, json!({"a": 2, "b": "x".repeat(200)})), Error::TooLarge { .. }));
    for other in [json!([1]), json!(null), json!("text"), json!(1)] {
        let error = refused(&mut session, other);
        assert!(matches!(&error, Error::Encode { key, .. } if key.is_empty()), "{error:?}");
        assert!(error.to_string().starts_with("the value for the session cannot be written as JSON: it is neither"));
    }
    assert!(matches!(session.write_as(&BTreeMap::from([("a", f64::NAN)])), Err(Error::Encode { .. })));
    assert_eq!(session.read_as::<BTreeMap<String, i32>>().unwrap(), [("a".to_owned(), 1)].into());
}

#[test]
fn an_error_names_the_key_and_never_the_value() {
    #[derive(Debug, Deserialize)]
    struct Strict {
        #[serde(rename = "name")]
        _name: String,
        #[serde(rename = "visits")]
        _visits: u8,
    }
    let mut session = new_session();
    session.set("name", "hunter2").unwrap();
    session.set("zip", "hunter2").unwrap();
    let key_of = |session: &Session| match session.read_as::<Strict>().unwrap_err() {
        error @ Error::Decode { .. } => {
            let text = format!("{error} {error:?}");
            assert!(!text.contains("hunter2") && text.contains("Strict"), "{text}");
            let Error::Decode { key, .. } = error else { unreachable!() };
            key
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(key_of(&session), "", "a field is missing");
    session.set("visits", "hunter2").unwrap();
    assert_eq!(key_of(&session), "visits");
    session.set("visits", &1).unwrap();
    session.read_as::<Strict>().unwrap();
    session.set("name", &json!({"nested": "hunter2"})).unwrap();
    assert_eq!(key_of(&session), "name");
    session.set("name", "x").unwrap();
    session.increment("name", 1).unwrap_err();
    session.read_as::<Strict>().unwrap();
}
