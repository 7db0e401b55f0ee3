//! Keys of Redis that somebody damaged: each call ends soon with a typed error, and a logout works.

use crate::support::redis::Redis;
use crate::support::{kind, login, manager, session_with};
use multi_process_session::{Error, Session, SessionManager, StoreErrorKind};
use std::time::Duration;

#[test]
fn a_damaged_record_is_its_owners_problem_alone_and_a_logout_ends_it() {
    let damages: [&[&[&str]]; 7] = [
        &[&["SET", "KEY", "something else"]],
        &[&["DEL", "KEY"], &["RPUSH", "KEY", "a", "list"]],
        &[&["HDEL", "KEY", "s"]],
        &[&["HSET", "KEY", "s", ""]],
        &[&["HSET", "KEY", "s", "one byte more than the state of a record that this library has"]],
        &[&["HSET", "KEY", "b", "\u{fffd}"]],
        &[&["HSET", "KEY", "g", "short"]],
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
        if !damage[0].iter().any(|word| ["b", "g"].contains(word)) {
            // A save does not need these two.
            assert_eq!(kind(session.save()), StoreErrorKind::Corrupt, "{damage:?}");
        }
        session.regenerate();
        assert_eq!(kind(session.save()), StoreErrorKind::Corrupt, "{damage:?}");
        assert_eq!(redis.run::<Vec<u8>>(&["DUMP", &key]), before, "{damage:?}: nothing is made worse");
        assert_eq!(manager.load(&other).unwrap().keys(), ["user"]);

        let _ = manager.destroy(&header).unwrap();
        assert!(manager.load(&header).unwrap().is_new());
        assert_eq!(redis.keys().len(), 1);
    }
}

/// Values of a damaged field.
pub const GARBAGE: [&str; 22] = [
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

/// The library's own fields. No record of its own has all of them.
pub const FIELDS: [&str; 13] = ["s", "g", "b", "e", "p", "n0", "n3", "f", "u", "m", "t", "o", "l"];

/// Uses a session in every way, and ends it. Whatever its record holds, each call ends soon, and the session is not
/// alive afterwards.
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
                let header = if grouped { login(&manager, "ada") } else { session_with(&manager, &[("user", "ada")]) };
                let key = redis.records().remove(0);
                let _: i64 = redis.run(&["HSET", &key, field, garbage]);
                use_and_end(&redis, &manager, &header, &format!("{field} = {garbage:?}, in a group: {grouped}"));
                let _: () = redis.run(&["FLUSHALL"]);
            }
            let header = if grouped { login(&manager, "ada") } else { session_with(&manager, &[("user", "ada")]) };
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
            let header = login(&manager, "ada");
            let record = redis.records().remove(0);
            let (index, id) = record.rsplit_once(':').unwrap();
            let key = match set {
                "members" => index.to_owned(),
                "joined" => format!("{index}:joined"),
                _ => "mps:generation".to_owned(),
            };
            damage(&key, id);
            // The damage itself may have taken the expiry away.
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
        let headers = [login(&manager, "ada"), session_with(&manager, &[("a", "1")])];
        let mut under_way = manager.load(&headers[0]).unwrap();
        under_way.set("a", &2).unwrap();
        let _: i64 = redis.run(&["DEL", "mps:generation"]);
        let last: &[&str] = if command[0] == "ZADD" { &["x"] } else { &[] };
        let _: redis::Value = redis.run(&[&command[..], last].concat());
        assert!(headers.iter().all(|header| manager.load(&**header).unwrap().is_new()));
        assert!(matches!(under_way.save(), Err(Error::Gone)));
        assert_eq!(manager.group("ada").len().unwrap(), 0);
        assert_eq!(manager.group("ada").sessions().unwrap().len(), 0);
        let new = login(&manager, "ada");
        assert!(!manager.load(&new).unwrap().is_new());
        assert_eq!(manager.group("ada").len().unwrap(), 1);
        assert!(headers.iter().all(|header| manager.load(&**header).unwrap().is_new()));
        assert_eq!(redis.run::<i64>(&["PTTL", "mps:generation"]), -1);
    }
    // The trace of the end of all sessions expires, and the generation of new sessions does not.
    manager.destroy_every_session().unwrap();
    assert!(redis.run::<i64>(&["PTTL", "mps:generation"]) > 0);
    login(&manager, "ada");
    assert_eq!(redis.run::<i64>(&["PTTL", "mps:generation"]), -1);
}

#[test]
fn a_logout_ends_both_what_is_there_and_where_it_leads() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    type Make = fn(&SessionManager) -> String;
    let makes: [Make; 2] = [|manager| login(manager, "ada"), |manager| session_with(manager, &[("user", "ada")])];
    for make in makes {
        // This record leads to another one, and looks as if its session had ended.
        let [header, other] = [make(&manager), make(&manager)];
        let id = |header: &str| manager.load(header).unwrap().public_id().to_string();
        let key = |header: &str| redis.records().into_iter().find(|key| key.ends_with(&id(header))).unwrap();
        let _: i64 = redis.run(&["HSET", &key(&header), "f", &id(&other), "t", "whatever"]);
        assert!(!manager.load(&header).unwrap().is_new(), "it is a record all the same");
        let _ = manager.destroy(&header).unwrap();
        assert!(manager.load(&header).unwrap().is_new() && manager.load(&other).unwrap().is_new());
        // Two records lead to each other, and one to itself.
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
