//! What stands in Redis: changes that are made wholly or not at all, and records that somebody damaged.

#![allow(missing_docs)]

mod support;

use multi_process_session::{Error, Refresh, Session, SessionManager, StoreErrorKind};
use proptest::prelude::*;
use std::time::Duration;
use support::redis::Redis;
use support::{builder, cookie, kind, manager, session_with};

#[test]
fn a_change_set_that_is_refused_leaves_the_record_as_it_was_to_the_last_field() {
    let redis = Redis::start();
    let manager = builder(&redis.url()).max_session_bytes(1000).build().unwrap();
    let header = session_with(&manager, &[("text", "x"), ("gone", "y")]);
    let mut session = manager.load(&header).unwrap();
    session.set("most", &i64::MAX).unwrap();
    session.set("count", &5).unwrap();
    session.save().unwrap();
    let key = redis.keys().remove(0);
    let before = redis.record(&key);

    type Case = (&'static str, fn(&mut Session));
    let cases: [Case; 5] = [
        ("most", |session| session.increment("most", 1).unwrap()),
        ("text", |session| session.increment("text", 1).unwrap()),
        ("count", |session| session.increment("count", i64::MAX - 1).unwrap()),
        // The first of two fits.
        ("text", |session| {
            session.increment("most", i64::MIN).unwrap();
            session.increment("text", 1).unwrap();
        }),
        ("big", |session| session.set("big", &"x".repeat(990)).unwrap()),
    ];
    for (number, (culprit, change)) in cases.iter().chain(&cases).enumerate() {
        let mut session = manager.load(&header).unwrap();
        session.increment("a", 1).unwrap();
        session.increment("count", 1).unwrap();
        session.set("b", "new").unwrap();
        session.remove("gone");
        session.set_idle_timeout(Duration::from_secs(5));
        change(&mut session);
        if number >= cases.len() {
            session.regenerate();
        }
        let error = session.save().unwrap_err();
        match &error {
            Error::NotAnInteger { key, .. } | Error::TooLarge { key, limit: 1000, .. } => assert_eq!(key, culprit),
            other => panic!("{other}"),
        }
        assert_eq!(redis.record(&key), before, "{error}");
        assert_eq!(redis.keys(), [key.as_str()]);
        assert!(redis.run::<i64>(&["PTTL", &key]) > 1_000_000);
    }
}

#[test]
fn a_full_memory_refuses_changes_and_loses_nothing() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("user", "ada"), ("cart", "full")]);
    let key = redis.keys().remove(0);
    let _: () = redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let _: i64 = redis.run(&["PEXPIRE", &key, "60000"]);
    let mut session = manager.load(&header).unwrap();
    let before = redis.record(&key);
    assert_eq!(session.keys(), ["cart", "user"]);
    session.clear();
    session.set("a", &1).unwrap();
    for _ in 0..2 {
        assert_eq!(kind(session.save()), StoreErrorKind::Rejected);
        assert_eq!(redis.record(&key), before);
        session.regenerate();
    }
    assert!(matches!(manager.load(None).and_then(|mut new| new.set("a", &1).and_then(|()| new.save())),
        Err(Error::Store(error)) if error.kind() == StoreErrorKind::Rejected));
    assert_eq!(redis.keys(), [key]);
    // A logout needs no memory.
    let _ = manager.destroy(&header).unwrap();
    assert_eq!(redis.keys(), Vec::<String>::new());
}

#[test]
fn a_damaged_record_is_its_owners_problem_alone_and_a_logout_ends_it() {
    let damages: [&[&[&str]]; 7] = [
        &[&["SET", "KEY", "something else"]],
        &[&["DEL", "KEY"], &["RPUSH", "KEY", "a", "list"]],
        &[&["HDEL", "KEY", "i"]],
        &[&["HDEL", "KEY", "v"]],
        &[&["HSET", "KEY", "a", "soon"]],
        &[&["HSET", "KEY", "v", "18446744073709551615"]],
        &[&["HSET", "KEY", "c", "\u{fffd}", "a", ""]],
    ];
    for damage in damages {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        let header = session_with(&manager, &[("user", "ada")]);
        let key = redis.keys().remove(0);
        let other = session_with(&manager, &[("user", "grace")]);
        let mut session = manager.load(&header).unwrap();
        session.increment("count", 1).unwrap();
        for command in damage {
            let command: Vec<&str> = command.iter().map(|part| if *part == "KEY" { &key } else { *part }).collect();
            let _: redis::Value = redis.run(&command);
        }
        let before: Vec<u8> = redis.run(&["DUMP", &key]);
        assert_eq!(kind(manager.load(&header)), StoreErrorKind::Corrupt, "{damage:?}");
        assert_eq!(kind(session.save()), StoreErrorKind::Corrupt, "{damage:?}");
        session.regenerate();
        assert_eq!(kind(session.save()), StoreErrorKind::Corrupt, "{damage:?}");
        assert_eq!(redis.run::<Vec<u8>>(&["DUMP", &key]), before, "{damage:?}: nothing is made worse");
        assert_eq!(manager.load(&other).unwrap().keys(), ["user"]);

        let _ = manager.destroy(&header).unwrap();
        assert!(manager.load(&header).unwrap().is_new());
        assert_eq!(redis.keys().len(), 1);
    }
}

/// What may stand in a field that somebody damaged.
const GARBAGE: [&str; 22] = [
    "",
    "0",
    "-1",
    "1",
    " 1",
    "1.5",
    "1e3",
    "1e308",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "0x10",
    "9007199254740991",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "99999999999999999999999999",
    "\u{fffd}\r\n",
    "ok",
    "AAAAAAAAAAAAAAAAAAAAAAAA",
    "999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999",
];

/// The library's own fields, and the keys that its own records never have together.
const FIELDS: [&str; 20] =
    ["v", "c", "i", "o", "a", "r", "b", "g", "j", "e", "k", "s", "n0", "n3", "x", "p", "f", "u", "m", "t"];

fn member(manager: &SessionManager) -> String {
    let mut session = manager.load(None).unwrap();
    session.set("user", "ada").unwrap();
    session.set_group_name("ada");
    cookie(&session.save().unwrap().unwrap())
}

/// Uses a session in every way, and ends it. Whatever its record holds, each call ends by itself and soon, and
/// afterwards it is not alive.
fn use_and_end(redis: &Redis, manager: &SessionManager, header: &str, what: &str) {
    let allowed = |answer: Result<(), Error>| match answer {
        Ok(()) | Err(Error::Gone | Error::Conflict | Error::TooLarge { .. } | Error::NotAnInteger { .. }) => {}
        Err(Error::Store(error)) if error.kind() == StoreErrorKind::Corrupt => {}
        Err(error) => panic!("{what}: {error}"),
    };
    let change = |change: &dyn Fn(&mut Session)| {
        allowed(manager.load(header).and_then(|mut session| {
            change(&mut session);
            session.save().map(drop)
        }));
    };
    let (commands, ()) = redis.commands(|| {
        change(&|session| session.increment("count", 1).unwrap());
        change(&|session| session.set_idle_timeout(Duration::from_secs(60)));
        allowed(manager.group("ada").sessions_with(&["user"]).map(drop));
        allowed(manager.load(header).and_then(|session| manager.group("ada").clear_except(&session)).map(drop));
        let _ = manager.destroy(header).unwrap_or_else(|error| panic!("{what}: a logout has to work: {error}"));
    });
    assert!(commands.len() < 20, "{what}: {} round trips", commands.len());
    assert!(manager.load(header).unwrap().is_new(), "{what}: it is alive after a logout");
    manager.group("ada").clear().unwrap_or_else(|error| panic!("{what}: {error}"));
    for key in redis.all_keys() {
        let is_generation = key.ends_with(":generation");
        assert!(is_generation || redis.run::<i64>(&["PTTL", &key]) > 0, "{what}: {key} never expires");
    }
}

#[test]
fn whatever_stands_in_a_field_every_call_ends_and_a_logout_works() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    for grouped in [false, true] {
        for field in FIELDS {
            for garbage in GARBAGE {
                let header = if grouped { member(&manager) } else { session_with(&manager, &[("user", "ada")]) };
                let key = redis.records().remove(0);
                let _: i64 = redis.run(&["HSET", &key, field, garbage]);
                use_and_end(&redis, &manager, &header, &format!("{field} = {garbage:?}, in a group: {grouped}"));
                let _: () = redis.run(&["FLUSHALL"]);
            }
            let header = if grouped { member(&manager) } else { session_with(&manager, &[("user", "ada")]) };
            let _: i64 = redis.run(&["HDEL", &redis.records()[0], field]);
            use_and_end(&redis, &manager, &header, &format!("no {field}, in a group: {grouped}"));
            let _: () = redis.run(&["FLUSHALL"]);
        }
    }
}

#[test]
fn a_damaged_index_or_generation_keeps_no_logout_from_working() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let scores = ["inf", "-inf", "0", "-1", "1e300", "1.5", "9007199254740993"];
    let other_types: [&[&str]; 3] = [&["SET", "KEY", "x"], &["RPUSH", "KEY", "x"], &["HSET", "KEY", "a", "b"]];
    for set in ["members", "joined", "generation"] {
        let check = |damage: &dyn Fn(&str, &str)| {
            let header = member(&manager);
            let record = redis.records().remove(0);
            let (index, id) = record.rsplit_once(':').unwrap();
            let key = match set {
                "members" => index.to_owned(),
                "joined" => format!("{index}:joined"),
                _ => "mps:generation".to_owned(),
            };
            damage(&key, id);
            // What has no expiry is the damage.
            let _: i64 = redis.run(&["PEXPIRE", &key, "100000"]);
            use_and_end(&redis, &manager, &header, &format!("{set} of {:?}", redis.run::<String>(&["TYPE", &key])));
            let _: () = redis.run(&["FLUSHALL"]);
        };
        for command in other_types {
            check(&|key, _| {
                redis.run::<i64>(&["DEL", key]);
                let command: Vec<&str> = command.iter().map(|part| if *part == "KEY" { key } else { *part }).collect();
                let _: redis::Value = redis.run(&command);
            });
        }
        for score in scores.iter().filter(|_| set != "generation") {
            check(&|key, id| _ = redis.run::<i64>(&["ZADD", key, score, id]));
            check(&|key, _| _ = redis.run::<i64>(&["ZADD", key, score, "generation"]));
            check(&|key, _| _ = redis.run::<i64>(&["ZADD", key, score, "\u{fffd}"]));
        }
        for garbage in GARBAGE.iter().filter(|_| set == "generation") {
            check(&|key, _| _ = redis.run::<i64>(&["HSET", key, "began", garbage]));
        }
    }
}

#[test]
fn what_stands_in_the_place_of_a_generation_ends_all_sessions_until_the_next_login() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    for command in [["SET", "mps:generation", "x"], ["RPUSH", "mps:generation", "x"], ["ZADD", "mps:generation", "1"]] {
        let headers = [member(&manager), session_with(&manager, &[("a", "1")])];
        let mut under_way = manager.load(&headers[0]).unwrap();
        under_way.set("a", &2).unwrap();
        let _: i64 = redis.run(&["DEL", "mps:generation"]);
        let last: &[&str] = if command[0] == "ZADD" { &["x"] } else { &[] };
        let _: redis::Value = redis.run(&[&command[..], last].concat());
        assert!(headers.iter().all(|header| manager.load(&**header).unwrap().is_new()));
        assert!(matches!(under_way.save(), Err(Error::Gone)));
        assert_eq!(manager.group("ada").len().unwrap(), 0);
        assert_eq!(manager.group("ada").sessions().unwrap().len(), 0);
        let new = member(&manager);
        assert!(!manager.load(&new).unwrap().is_new());
        assert_eq!(manager.group("ada").len().unwrap(), 1);
        assert!(headers.iter().all(|header| manager.load(&**header).unwrap().is_new()));
        assert_eq!(redis.run::<i64>(&["PTTL", "mps:generation"]), -1);
    }
    // What is remembered of the end of all sessions expires, and the generation of new ones does not.
    manager.destroy_every_session().unwrap();
    assert!(redis.run::<i64>(&["PTTL", "mps:generation"]) > 0);
    member(&manager);
    assert_eq!(redis.run::<i64>(&["PTTL", "mps:generation"]), -1);
}

#[test]
fn a_logout_ends_both_what_is_there_and_where_it_leads() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    for make in [member as fn(&SessionManager) -> String, |manager| session_with(manager, &[("user", "ada")])] {
        // A record that leads to another one, and one that looks as if it had ended.
        let [header, other] = [make(&manager), make(&manager)];
        let id = |header: &str| manager.load(header).unwrap().public_id().to_string();
        let key = |header: &str| redis.records().into_iter().find(|key| key.ends_with(&id(header))).unwrap();
        let _: i64 = redis.run(&["HSET", &key(&header), "f", &id(&other), "t", "whatever"]);
        assert!(!manager.load(&header).unwrap().is_new(), "it is a record all the same");
        let _ = manager.destroy(&header).unwrap();
        assert!(manager.load(&header).unwrap().is_new() && manager.load(&other).unwrap().is_new());
        // Two that lead to each other, and one to itself.
        let [one, two] = [make(&manager), make(&manager)];
        let [one_key, two_key] = [key(&one), key(&two)];
        let [one_id, two_id] = [id(&one), id(&two)];
        for targets in [[&two_id, &one_id], [&one_id, &one_id]] {
            for (from, to) in [&one_key, &two_key].into_iter().zip(targets) {
                redis.run::<i64>(&["DEL", from]);
                redis.run::<i64>(&["HSET", from, "f", to, "u", "9007199254740991"]);
                redis.run::<i64>(&["PEXPIRE", from, "100000"]);
            }
            let (commands, ()) = redis.commands(|| {
                assert!(manager.load(&one).unwrap().is_new());
                let _ = manager.destroy(&one).unwrap();
            });
            assert!(commands.len() < 250, "{} round trips", commands.len());
        }
        redis.run::<()>(&["FLUSHALL"]);
    }
}

#[test]
fn every_key_has_an_expiry() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("user", "ada")]);
    let life = 7 * 24 * 60 * 60 * 1000 + 60_000;
    let lives = || -> Vec<i64> { redis.keys().iter().map(|key| redis.run(&["PTTL", key])).collect() };
    let is_whole = |left: i64| (life - 120_000..=life).contains(&left);
    assert!(is_whole(lives()[0]), "{:?}", lives());
    // Somebody took it away: the next load gives it back, even one that never refreshes.
    let key = redis.keys().remove(0);
    for refresh in [Refresh::default(), Refresh::Never] {
        let _: i64 = redis.run(&["PERSIST", &key]);
        let manager = builder(&redis.url()).refresh(refresh).build().unwrap();
        assert!(manager.load(&header).unwrap().save().unwrap().is_some());
        assert!(is_whole(lives()[0]), "{:?}", lives());
    }
    let mut session = manager.load(&header).unwrap();
    session.set_idle_timeout(Duration::from_secs(100));
    let _ = session.save().unwrap();
    assert!((90_000..=101_000).contains(&lives()[0]), "{:?}", lives());
    let _: i64 = redis.run(&["PEXPIRE", &redis.keys()[0], "50000"]);
    session.regenerate();
    let header = cookie(&session.save().unwrap().unwrap());
    assert!((90_000..=101_000).contains(&lives()[0]), "a new id has a full life: {:?}", lives());
    assert_eq!((lives().len(), manager.load(&header).unwrap().is_new()), (1, false));
}

#[test]
fn what_a_record_remembers_of_its_calls_stays_small() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("user", "ada")]);
    let key = redis.keys().remove(0);
    for _ in 0..100 {
        let mut session = manager.load(&header).unwrap();
        session.increment("count", 1).unwrap();
        session.save().unwrap();
        let record = redis.record(&key);
        assert!(record.iter().filter(|(field, _)| field.starts_with('n')).all(|(_, nonces)| nonces.len() <= 64));
    }
    let encoding = redis.run::<String>(&["OBJECT", "ENCODING", &key]);
    assert!(["ziplist", "listpack"].contains(&&*encoding), "a compact hash, as Redis 6.2 or 7 calls it: {encoding}");
}

/// Integers at which a sum in Lua's 53 bits, or in two halves, could go wrong.
fn integer() -> impl Strategy<Value = i64> {
    let near = prop_oneof![
        Just(0),
        Just(i64::MAX),
        Just(i64::MIN),
        Just(1_000_000_000),
        Just(-1_000_000_000),
        Just(1 << 53),
        Just(9_223_372_036_000_000_000),
        Just(-9_223_372_036_000_000_000)
    ];
    prop_oneof![any::<i64>(), (near, -3..=3i64).prop_map(|(near, by): (i64, i64)| near.saturating_add(by))]
}

#[test]
fn sums_are_exact_to_the_limits_of_64_bits() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("a", "1")]);
    let cases = proptest::collection::vec((integer(), integer()), 100);
    proptest!(ProptestConfig::with_cases(10), |(cases in cases)| {
        for (value, by) in cases {
            let mut session = manager.load(&header).unwrap();
            session.set("n", &value).unwrap();
            session.save().unwrap();
            session = manager.load(&header).unwrap();
            session.increment("n", by).unwrap();
            match (session.save(), value.checked_add(by)) {
                (Ok(_), Some(sum)) => prop_assert_eq!(session.get("n").unwrap(), Some(sum)),
                (Err(Error::NotAnInteger { .. }), None) => {}
                (answer, sum) => prop_assert!(false, "{} + {}: {:?}, {:?}", value, by, answer, sum),
            }
            let stored: Option<i64> = manager.load(&header).unwrap().get("n").unwrap();
            prop_assert_eq!(stored, Some(value.checked_add(by).unwrap_or(value)));
        }
    });
    for text in
        ["9223372036854775808", "-9223372036854775809", "99999999999999999999", "1.0", "1e3", "\"1\"", "01", "-0"]
    {
        let mut late = manager.load(&header).unwrap();
        let _: i64 = redis.run(&["HSET", &redis.keys()[0], ":n", text]);
        late.increment("n", -1).unwrap();
        assert!(matches!(late.save(), Err(Error::NotAnInteger { .. })), "{text}");
    }
}
