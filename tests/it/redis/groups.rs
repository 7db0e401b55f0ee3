//! What Redis keeps of a group: an index by expiry, and a set in the order of joining. They may be large, evicted or
//! damaged.

use crate::support::redis::Redis;
use crate::support::wait::next_millisecond;
use crate::support::{builder, cookie, devices, is_alive, kind, login_on, manager, public_id, session_with};
use multi_process_session::{Error, StoreErrorKind};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn every_key_expires_and_the_index_last() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let [phone, laptop] = ["phone", "laptop"].map(|device| login_on(&manager, "ada", device));
    let lives = || {
        redis.assert_every_key_expires();
        let index = redis.group_index();
        let of_records = redis.records().iter().map(|key| redis.expires(key)).max().unwrap();
        for key in [&*index, &format!("{index}:joined")] {
            assert_eq!(redis.expires(key), of_records, "{key}");
        }
        Duration::from_millis(redis.run::<i64>(&["PTTL", &index]).unsigned_abs())
    };
    assert!(lives() < 8 * DAY);
    let mut session = manager.load(&phone).unwrap();
    session.set_idle_timeout(30 * DAY);
    session.save().unwrap();
    assert!(lives() > 29 * DAY);
    let mut session = manager.load(&phone).unwrap();
    session.regenerate_with_grace(Duration::from_secs(10));
    let phone = cookie(&session.save().unwrap().unwrap());
    assert!(lives() > 29 * DAY);
    let mut session = manager.load(&laptop).unwrap();
    session.set_idle_timeout(DAY);
    session.save().unwrap();
    assert!(lives() > 29 * DAY, "it outlives the longest");
    let _ = manager.destroy(&phone).unwrap();
    redis.assert_every_key_expires();
    assert!(is_alive(&manager, &laptop));
    manager.group("ada").clear_except(&manager.load(&laptop).unwrap()).unwrap();
    redis.assert_every_key_expires();
    manager.group("ada").clear().unwrap();
    for key in redis.keys() {
        assert!(redis.run::<u64>(&["PTTL", &key]) <= 10_000, "only the old id with a grace is left");
    }
}

#[test]
fn a_lost_index_ends_sessions_and_keeps_none() {
    let redis = Redis::start();
    let manager = builder(&redis.url()).max_sessions_per_group(2).build().unwrap();
    let [phone, laptop] = ["phone", "laptop"].map(|device| login_on(&manager, "ada", device));
    let mut under_way = manager.load(&laptop).unwrap();
    under_way.set("a", &1).unwrap();
    let index = redis.group_index();
    // Without the order of joining alone, nobody is logged out.
    assert_eq!(redis.run::<i64>(&["DEL", &format!("{index}:joined")]), 1);
    assert!(is_alive(&manager, &phone) && is_alive(&manager, &laptop));
    let tablet = login_on(&manager, "ada", "tablet");
    assert!(is_alive(&manager, &tablet));
    assert_eq!(manager.group("ada").len().unwrap(), 2, "the limit holds");
    assert_eq!(redis.run::<i64>(&["DEL", &index]), 1);
    assert!([&phone, &laptop, &tablet].iter().all(|header| !is_alive(&manager, header)));
    assert!(matches!(under_way.save(), Err(Error::Gone)));
    assert_eq!(manager.group("ada").sessions().unwrap().len(), 0);
    // A record that Redis evicts is not listed.
    let [phone, laptop] = ["phone", "laptop"].map(|device| login_on(&manager, "ada", device));
    let key = redis.records().into_iter().find(|key| key.ends_with(&public_id(&manager, &phone).to_string())).unwrap();
    assert_eq!(redis.run::<i64>(&["DEL", &key]), 1);
    assert_eq!(devices(&manager.group("ada")).len(), 1);
    assert!(is_alive(&manager, &laptop));
}

#[test]
fn the_order_of_joining_is_mended_after_an_eviction() {
    let redis = Redis::start();
    let open = builder(&redis.url()).build().unwrap();
    let limited = builder(&redis.url()).max_sessions_per_group(3).build().unwrap();
    let old = ["one", "two"].map(|device| login_on(&open, "ada", device));
    let joined = format!("{}:joined", redis.group_index());
    assert_eq!(redis.run::<i64>(&["DEL", &joined]), 1);
    let newer = ["three", "four", "five"].map(|device| {
        next_millisecond();
        login_on(&limited, "ada", device)
    });
    assert!(!old.iter().any(|header| is_alive(&open, header)), "who is missing there has joined first");
    assert!(newer.iter().all(|header| is_alive(&open, header)));
    // Sessions that were members when the index was lost do not stay in the other set.
    for _ in 0..3 {
        assert_eq!(redis.run::<i64>(&["DEL", &redis.group_index()]), 1);
        login_on(&open, "ada", "phone");
        assert_eq!(redis.run::<i64>(&["ZCARD", &joined]), 1);
    }
}

/// Adds members without records to a group, past the library. `life` is what the first of them has left, in
/// milliseconds. It has joined first.
fn add_members(redis: &Redis, count: usize, life: i64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
    let index = redis.group_index();
    let (mut by_expiry, mut by_joining) = (redis::cmd("ZADD"), redis::cmd("ZADD"));
    by_expiry.arg(&index);
    by_joining.arg(format!("{index}:joined"));
    for number in 0..count as i64 {
        by_expiry.arg(now + life + number).arg(format!("{number:024}"));
        by_joining.arg(now * 1000 - DAY.as_micros() as i64 + number).arg(format!("{number:024}"));
    }
    let mut connection = redis.connect();
    by_expiry.exec(&mut connection).unwrap();
    by_joining.exec(&mut connection).unwrap();
}

#[test]
fn a_login_clears_a_part_of_those_away_that_have_expired_and_none_counts() {
    let redis = Redis::start();
    let manager = builder(&redis.url()).max_sessions_per_group(2).build().unwrap();
    let group = manager.group("ada");
    login_on(&manager, "ada", "phone");
    let members = || redis.run::<usize>(&["ZCARD", &redis.group_index()]);
    add_members(&redis, 2_000, -60_000);
    assert_eq!(devices(&group), ["phone"]);
    login_on(&manager, "ada", "laptop");
    assert_eq!(members(), 1_503, "500 in one step");
    // They have joined before those that are alive. The limit is kept all the same.
    let tablet = login_on(&manager, "ada", "tablet");
    assert_eq!(devices(&group), ["laptop", "tablet"]);
    assert!(members() < 1_100);
    login_on(&manager, "ada", "watch");
    assert_eq!((devices(&group), members()), (vec!["tablet".to_owned(), "watch".to_owned()], 3));
    assert!(is_alive(&manager, &tablet));
}

#[test]
fn a_new_limit_ends_very_many_in_one_step() {
    let redis = Redis::start();
    let open = manager(&redis.url());
    for (limit, is_disordered) in [(2, false), (2, true), (1_000, false), (1_000, true), (1_200, false), (1_200, true)]
    {
        let limited = builder(&redis.url()).max_sessions_per_group(limit).build().unwrap();
        login_on(&open, "ada", "phone");
        add_members(&redis, 3_000, 3_600_000);
        let laptop = login_on(&open, "ada", "laptop");
        assert_eq!(open.group("ada").len().unwrap(), 3_002);
        if is_disordered {
            assert_eq!(redis.run::<i64>(&["DEL", &format!("{}:joined", redis.group_index())]), 1);
        }
        let tablet = login_on(&limited, "ada", "tablet");
        assert_eq!(open.group("ada").len().unwrap(), limit, "limit {limit}, disordered {is_disordered}");
        assert!(is_alive(&open, &tablet) && (is_disordered || is_alive(&open, &laptop)));
        let joined = redis.run::<usize>(&["ZCARD", &format!("{}:joined", redis.group_index())]);
        assert!(joined == limit || (is_disordered && joined <= limit), "{joined}");
        redis.assert_every_key_expires();
        assert!(!redis.all_keys().iter().any(|key| key.contains(":ended:")), "all is swept");
        redis.run::<()>(&["FLUSHALL"]);
    }
}

#[test]
fn a_list_comes_in_pages_and_in_answers_of_bounded_size() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    for _ in 0..20 {
        let mut session = manager.load(None).unwrap();
        session.set("device", "phone").unwrap();
        session.set("picture", &"x".repeat(100_000)).unwrap();
        session.set_group_name("ada");
        session.save().unwrap();
    }
    let index = redis.group_index();
    let members: Vec<String> = redis.run(&["ZRANGE", &index, "0", "-1"]);
    // All of them expire at the same time, and so do more evicted ones than fit on a page.
    add_members(&redis, 6_000, 3_600_000);
    let mut connection = redis.connect();
    let all: Vec<String> = redis.run(&["ZRANGE", &index, "1", "-1"]);
    let expires = redis.expires(&index).to_string();
    let mut same = redis::cmd("ZADD");
    same.arg(&index);
    all.iter().for_each(|id| _ = same.arg(&expires).arg(id));
    same.exec(&mut connection).unwrap();
    assert_eq!(all.len(), 6_020);
    let (commands, listed) = redis.commands(|| manager.group("ada").sessions_with(&["picture"]).unwrap());
    let mut ids: Vec<String> = listed.iter().map(|session| session.public_id().to_string()).collect();
    ids.push("generation".to_owned());
    ids.sort();
    let mut expected = members;
    expected.sort();
    assert_eq!(ids, expected);
    // Two pages of ids, 13 batches of records, and a few more batches, because three pictures fill an answer.
    assert!((15 + 5..15 + 9).contains(&commands.len()), "{}", commands.len());
    assert_eq!(manager.group("ada").len().unwrap(), 20, "what Redis has evicted is found out");
}

#[test]
fn a_damaged_index_is_a_typed_error_and_a_logout_works() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    for damaged in ["", ":joined"] {
        let header = login_on(&manager, "ada", "phone");
        let alone = session_with(&manager, &[("a", "1")]);
        let key = format!("{}{damaged}", redis.group_index());
        redis.run::<i64>(&["DEL", &key]);
        redis.run::<()>(&["SET", &key, "something else", "EX", "100"]);
        let before = redis.record(&redis.records()[0]);
        if damaged.is_empty() {
            assert_eq!(kind(manager.load(&header)), StoreErrorKind::Corrupt);
            assert_eq!(kind(manager.group("ada").sessions()), StoreErrorKind::Corrupt);
        }
        let mut session = manager.load(&alone).unwrap();
        session.set_group_name("ada");
        session.set("a", &2).unwrap();
        assert_eq!(kind(session.save()), StoreErrorKind::Corrupt);
        assert_eq!(redis.record(&redis.records()[0]), before, "nothing was half done");
        assert!(manager.load(&alone).unwrap().get::<String>("a").unwrap().as_deref() == Some("1"));
        let _ = manager.destroy(&header).unwrap();
        let _ = manager.destroy(&alone).unwrap();
        manager.group("ada").clear().unwrap();
        assert_eq!(redis.records(), Vec::<String>::new());
        redis.run::<()>(&["FLUSHALL"]);
    }
}
