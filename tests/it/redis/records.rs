//! What Redis keeps of a session.

use crate::support::place::Place;
use crate::support::redis::Redis;
use crate::support::{builder, builder_with_own_timeouts, cookie, login, manager, session_with};
use multi_process_session::{Error, Refresh, Session};
use proptest::prelude::*;
use std::time::Duration;

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
        // The first of two increments fits.
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
fn every_key_has_an_expiry() {
    let place = Place::redis();
    let Place::Redis(redis) = &place else { unreachable!("it is Redis") };
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("user", "ada")]);
    let life = 7 * 24 * 60 * 60 * 1000 + 60_000;
    let lives = || -> Vec<i64> { redis.keys().iter().map(|key| redis.run(&["PTTL", key])).collect() };
    let is_whole = |left: i64| (life - 120_000..=life).contains(&left);
    assert!(is_whole(lives()[0]), "{:?}", lives());
    // If somebody takes the expiry away, the next refresh sets it again.
    let key = redis.keys().remove(0);
    place.let_time_pass_for_all(Duration::from_secs(120));
    let _: i64 = redis.run(&["PERSIST", &key]);
    assert!(manager.load(&header).unwrap().save().unwrap().is_some());
    assert!(is_whole(lives()[0]), "{:?}", lives());
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
fn a_session_ends_in_time_even_if_somebody_lets_its_key_live_longer() {
    let place = Place::redis();
    let Place::Redis(redis) = &place else { unreachable!("it is Redis") };
    let manager = manager(&place.url());
    let managers = [manager.clone(), builder(&place.url()).refresh(Refresh::Never).build().unwrap()];
    for in_group in [false, true] {
        let header = if in_group { login(&manager, "ada") } else { session_with(&manager, &[("user", "ada")]) };
        let key = redis.records().remove(0);
        let mut under_way = manager.load(&header).unwrap();
        under_way.set("a", &1).unwrap();
        redis.run::<i64>(&["PEXPIRE", &key, "1000000000000"]);
        place.let_time_pass_for_all(Duration::from_secs(8 * 24 * 60 * 60));
        // The last two lives are those of a session that is not due to be refreshed.
        for life in ["1000000000000", "604800001", "604000000"] {
            redis.run::<i64>(&["PEXPIRE", &key, life]);
            for manager in &managers {
                assert!(manager.load(&header).unwrap().is_new(), "{life}");
            }
        }
        assert!(matches!(under_way.save(), Err(Error::Gone)));
        redis.run::<()>(&["FLUSHALL"]);
    }
    // The same holds for a session whose cookie has not come back in time.
    let manager = builder_with_own_timeouts(&place.url()).build().unwrap();
    let header = session_with(&manager, &[("user", "ada")]);
    redis.run::<i64>(&["PEXPIRE", &redis.records()[0], "1000000000000"]);
    place.let_time_pass_for_all(Duration::from_secs(31 * 60));
    assert!(manager.load(&header).unwrap().is_new());
}

/// After a failover that lost a change, another change may have its version.
#[test]
fn a_request_that_read_a_lost_change_undoes_no_other_one() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("user", "ada")]);
    let add = |mut session: Session, by| {
        session.increment("count", by).unwrap();
        session.save().unwrap();
    };
    let load = || manager.load(&header).unwrap();
    let count = || load().get::<i64>("count").unwrap().unwrap_or(0);
    let key = redis.records().remove(0);
    let dump = || -> Vec<u8> { redis.run(&["DUMP", &key]) };
    let restore = |dump: Vec<u8>| {
        let mut restore = ::redis::cmd("RESTORE");
        restore.arg(&key).arg(1_000_000).arg(dump).arg("REPLACE").exec(&mut redis.connect()).unwrap();
    };
    load().save().unwrap();

    let before = dump();
    add(load(), 1);
    let request = load();
    restore(before);
    add(load(), 10);
    add(request, 100);
    assert_eq!(count(), 110);

    // What a transaction has read is not there any more, so it begins anew.
    let mut before = Some(dump());
    add(load(), 1);
    let set = |session: &mut Session| -> Result<(), Error> {
        if let Some(before) = before.take() {
            restore(before);
            add(load(), 1000);
        }
        session.set("count", &(session.get::<i64>("count")?.unwrap_or(0) + 10_000))
    };
    manager.transact(&header, set).unwrap();
    assert_eq!(count(), 11_110);
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

/// Integers whose sum could go wrong in Lua, which has 53 bits, or where it is made of two halves.
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
        let _: i64 = redis.run(&["HSET", &redis.keys()[0], ":n", text]);
        let mut late = manager.load(&header).unwrap();
        late.increment("n", -1).unwrap();
        assert!(matches!(late.save(), Err(Error::NotAnInteger { .. })), "{text}");
    }
}
