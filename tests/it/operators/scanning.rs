//! An operator looks at all sessions.

use crate::support::cluster::Cluster;
use crate::support::operator::{call, scan, store};
use crate::support::redis::Redis;
use crate::support::sentinel::{self, Sentinel, Server};
use crate::support::sqlite::Sqlite;
use crate::support::{login, manager, public_id, session_with};
use multi_process_session::store::{Position, Scan};
use std::collections::BTreeSet;

#[test]
fn a_scan_of_a_cluster_finds_the_sessions_of_all_primaries() {
    let cluster = Cluster::start(3);
    let manager = manager(&cluster.url());
    let mut expected = BTreeSet::new();
    for number in 0..150 {
        let alone = session_with(&manager, &[("a", "1")]);
        let in_group = login(&manager, &format!("user {number}"));
        expected.extend([alone, in_group].map(|cookie| public_id(&manager, &cookie)));
    }
    for node in &cluster.nodes {
        assert!(node.redis.records().len() > 20, "each primary has some");
    }
    let found: BTreeSet<_> = scan(&*store(&cluster.url())).into_iter().map(|(at, _)| at.id).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_scan_begins_anew_when_slots_have_moved() {
    let cluster = Cluster::start(2);
    let manager = manager(&cluster.url());
    let expected: BTreeSet<_> =
        (0..1000).map(|_| public_id(&manager, &session_with(&manager, &[("a", "1")]))).collect();
    let store = store(&cluster.url());
    let (mut found, mut from, mut moved) = (BTreeSet::new(), None, false);
    loop {
        let page = store.scan(&Scan { namespace: "mps", with_values: false, from: from.as_ref() }, &call()).unwrap();
        found.extend(page.sessions.iter().map(|(at, _)| at.id));
        from = page.next;
        if from.is_none() {
            break;
        }
        let is_found = |key: &String| found.iter().any(|id| key.ends_with(&id.to_string()));
        let of_nodes = [0, 1].map(|node: usize| cluster.nodes[node].redis.records());
        let done = of_nodes.iter().position(|keys| keys.iter().all(is_found));
        if let (false, Some(done)) = (moved, done) {
            // One node was looked at. Sessions that were not looked at yet move there.
            let other = 1 - done;
            for key in of_nodes[other].iter().filter(|key| !is_found(key)).take(3) {
                cluster.move_slot(cluster.slot_of(key), &cluster.nodes[other], &cluster.nodes[done]);
            }
            moved = true;
        }
    }
    assert!(moved);
    assert_eq!(found, expected);
}

#[test]
fn a_scan_begins_anew_after_a_failover() {
    let mut primary = Server::primary(&[]);
    let replica = primary.replica();
    let sentinel = Sentinel::watching(&primary, 2);
    let url = sentinel::url(&[sentinel.port]);
    let application = manager(&url);
    let expected: BTreeSet<_> =
        (0..1000).map(|_| public_id(&application, &session_with(&application, &[("a", "1")]))).collect();
    primary.wait_for(&replica);
    let store = store(&url);
    let mut found = BTreeSet::new();
    let mut page = |from: Option<Position>| {
        let page = store.scan(&Scan { namespace: "mps", with_values: false, from: from.as_ref() }, &call()).unwrap();
        found.extend(page.sessions.iter().map(|(at, _)| at.id));
        page.next
    };
    let mut from = page(None);
    from = page(from);
    assert!(from.is_some(), "the scan is under way");
    primary.redis.kill();
    replica.become_primary();
    sentinel.watch(&replica);
    loop {
        from = page(from);
        if from.is_none() {
            break;
        }
    }
    assert_eq!(found, expected);
}

#[test]
fn a_damaged_record_hides_no_other() {
    let (redis, sqlite) = (Redis::start(), Sqlite::new());
    for url in [redis.url(), sqlite.url()] {
        let manager = manager(&url);
        let cookies = [(); 5].map(|()| login(&manager, "ada"));
        let id = public_id(&manager, &cookies[2]);
        if url.starts_with("sqlite") {
            let damage = "UPDATE sessions SET version = -1 WHERE id = ?1";
            assert_eq!(sqlite.connect().execute(damage, [&id.as_bytes()[..]]).unwrap(), 1);
        } else {
            let key = redis.keys().into_iter().find(|key| key.ends_with(&id.to_string())).unwrap();
            redis.run::<()>(&["HSET", &key, "s", "damaged"]);
            redis.run::<()>(&["SET", "mps:AAAAAAAAAAAAAAAAAAAAAAAA", "a text"]);
        }
        let found: BTreeSet<_> = scan(&*store(&url)).into_iter().map(|(at, _)| at.id).collect();
        assert_eq!(found.len(), 4, "{url}");
        assert!(!found.contains(&id), "{url}");
    }
}

#[test]
fn a_page_of_a_file_has_a_few_megabytes_of_values() {
    let sqlite = Sqlite::new();
    let manager = manager(&sqlite.url());
    let expected: BTreeSet<_> = (0..30).map(|_| public_id(&manager, &session_with(&manager, &[("a", "1")]))).collect();
    for (bytes, pages) in [(1_000_000, 8), (5_000_000, 31), (1000, 1)] {
        let value = format!("\"{}\"", "x".repeat(bytes - 2));
        sqlite.connect().execute("UPDATE session_values SET value = ?1", [value]).unwrap();
        let store = store(&sqlite.url());
        let (mut found, mut from, mut number) = (BTreeSet::new(), None, 0);
        loop {
            let page = store.scan(&Scan { namespace: "mps", with_values: true, from: from.as_ref() }, &call()).unwrap();
            assert!(page.sessions.len() * bytes <= 5_000_000, "{} of {bytes}", page.sessions.len());
            found.extend(page.sessions.iter().map(|(at, _)| at.id));
            (from, number) = (page.next, number + 1);
            if from.is_none() {
                break;
            }
        }
        assert_eq!((found, number), (expected.clone(), pages), "{bytes}");
    }
}

#[test]
fn a_position_of_another_store_is_refused() {
    let (redis, sqlite) = (Redis::start(), Sqlite::new());
    let first = |url: &str| {
        let manager = manager(url);
        (0..500).for_each(|_| drop(session_with(&manager, &[("a", "1")])));
        let page = store(url).scan(&Scan { namespace: "mps", with_values: false, from: None }, &call()).unwrap();
        page.next.unwrap()
    };
    let [of_redis, of_sqlite] = [first(&redis.url()), first(&sqlite.url())];
    for (url, from) in [(redis.url(), of_sqlite), (sqlite.url(), of_redis)] {
        let scan = Scan { namespace: "mps", with_values: false, from: Some(&from) };
        assert!(store(&url).scan(&scan, &call()).is_err(), "{url}");
    }
}
