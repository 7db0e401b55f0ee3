//! The nodes of a cluster: they are lost and replaced, know less than others, speak TLS.

use crate::support::cluster::{Cluster, Node};
use crate::support::fork::{child, in_own_process};
use crate::support::log::{collect, take_lines};
use crate::support::redis::{record_key, rights};
use crate::support::sick::{Act, Sick};
use crate::support::tls::{Authority, path, silent};
use crate::support::{builder, failure, kind, manager, session_with, try_login, until, with_timeout};
use log::LevelFilter;
use multi_process_session::{Error, Session, StoreErrorKind};
use nix::sys::signal::{Signal, kill};
use std::time::{Duration, Instant};

#[test]
fn a_killed_node_is_replaced_by_its_replica() {
    a_lost_node_is_replaced_by_its_replica(Signal::SIGKILL);
}

#[test]
fn a_silent_node_of_the_url_leaves_time_to_ask_the_next() {
    let cluster = Cluster::start(2);
    let (_listener, silent) = silent();
    let url = cluster.url().replace("://", &format!("://127.0.0.1:{silent},"));
    let manager = with_timeout(&url, Duration::from_secs(3));
    manager.ping().unwrap();
    session_with(&manager, &[("a", "1")]);
}

#[test]
fn a_silent_node_is_replaced_by_its_replica() {
    a_lost_node_is_replaced_by_its_replica(Signal::SIGSTOP);
}

fn a_lost_node_is_replaced_by_its_replica(signal: Signal) {
    let mut cluster = Cluster::start(3);
    cluster.add_replicas();
    serve_what_is_left(&cluster);
    let limit = Duration::from_millis(800);
    let manager = with_timeout(&cluster.url(), limit);
    let patient = crate::support::manager(&cluster.url());
    let headers: Vec<String> = (0..30).map(|_| session_with(&patient, &[("a", "1")])).collect();
    let keys: Vec<String> = headers.iter().map(|header| record_key(&patient, header)).collect();
    until(|| manager.ping().is_ok());
    let lost = &cluster.nodes[0];
    let on_lost: Vec<bool> = keys.iter().map(|key| cluster.node_of(key).port == lost.port).collect();
    assert!(on_lost.contains(&true) && on_lost.contains(&false));
    until(|| lost.redis.run::<i64>(&["WAIT", "1", "100"]) == 1);
    kill(lost.redis.pid(), signal).unwrap();
    // The other nodes go on. A call that needs the lost one ends in time.
    let mut failures = 0;
    for (header, on_lost) in headers.iter().zip(&on_lost) {
        let start = Instant::now();
        let answer = manager.load(&**header);
        assert!(start.elapsed() < limit * 3, "{signal}: {:?}", start.elapsed());
        match answer {
            Ok(session) => assert!(!session.is_new()),
            Err(Error::Store(error)) => {
                assert!(on_lost, "{signal}: a node that is well: {error}");
                assert!(matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Timeout), "{error}");
                failures += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(failures > 0, "{signal}");
    let is_back = |header: &String| manager.load(&**header).is_ok_and(|session| !session.is_new());
    until(|| headers.iter().all(is_back));
    let mut session = manager.load(&headers[0]).unwrap();
    session.set("a", &2).unwrap();
    session.save().unwrap();
    manager.ping().unwrap();
    let _ = kill(lost.redis.pid(), Signal::SIGCONT);
}

#[test]
fn the_log_is_told_of_the_end_also_where_a_node_is_replaced() {
    in_own_process(|| {
        let mut cluster = Cluster::start(3);
        cluster.add_replicas();
        serve_what_is_left(&cluster);
        // The lost node is in the URL of one manager, and not in that of the other.
        let few = format!("redis-cluster://127.0.0.1:{}", cluster.nodes[1].port);
        let managers = [cluster.url(), few].map(|url| with_timeout(&url, Duration::from_millis(800)));
        let patient = manager(&cluster.url());
        let headers: Vec<String> = (0..30).map(|_| session_with(&patient, &[("a", "1")])).collect();
        drop(patient);
        managers[1].ping().unwrap();
        let lost = &cluster.nodes[0];
        until(|| lost.redis.run::<i64>(&["WAIT", "1", "100"]) == 1);
        collect(LevelFilter::Warn);
        kill(lost.redis.pid(), Signal::SIGKILL).unwrap();
        let name = format!("redis://127.0.0.1:{} ", lost.port);
        let mut told = Vec::new();
        let count = |told: &[String], words: &str| told.iter().filter(|line| line.contains(words)).count();
        until(|| {
            for header in &headers {
                managers.iter().for_each(|manager| drop(manager.load(&**header)));
            }
            told.extend(take_lines());
            count(&told, &format!("{name}cannot be used")) == 2
                && count(&told, "cannot be used")
                    == count(&told, "can be used again") + count(&told, "is not asked any more")
        });
        assert_eq!(count(&told, &format!("{name}is not asked any more: it is not a primary")), 2, "{told:?}");
    });
}

#[test]
fn a_missing_replica_keeps_no_new_id_from_coming_to_life() {
    let cluster = Cluster::start(2);
    let url = format!("{}?wait_replicas=1", cluster.url());
    let waiting = with_timeout(&url, Duration::from_secs(4));
    let manager = manager(&cluster.url());
    let mut session = waiting.load(&session_with(&manager, &[("a", "1")])).unwrap();
    session.set_group_name("ada");
    assert_eq!(kind(session.save()), StoreErrorKind::Timeout);
    assert_eq!(manager.group("ada").len().unwrap(), 1, "the change was made");
    // The nodes are well, so nobody asks where the slots are.
    let before = maps_asked_for(&cluster);
    let mut new = waiting.load(None).unwrap();
    new.set("a", &1).unwrap();
    assert_eq!(kind(new.save()), StoreErrorKind::Timeout);
    assert_eq!(maps_asked_for(&cluster), before);
}

/// How often the nodes were asked so far where the slots are.
fn maps_asked_for(cluster: &Cluster) -> usize {
    let of_node = |node: &Node| {
        let info: String = node.redis.run(&["INFO", "commandstats"]);
        let calls = info.lines().filter(|line| line.starts_with("cmdstat_cluster"));
        calls.filter_map(|line| line.split(['=', ',']).nth(1)?.parse::<usize>().ok()).sum::<usize>()
    };
    cluster.nodes.iter().map(of_node).sum()
}

/// Starts a node that is cut off from the others: it says that it has all slots up to `last`, and serves none.
fn cut_off(last: u16) -> Sick {
    let sick = Sick::tcp();
    let port: u16 = sick.url().rsplit(':').next().unwrap().parse().unwrap();
    sick.answer(move |request| match &*request.name() {
        "CLUSTER" => {
            vec![Act::Say(format!("*1\r\n*3\r\n:0\r\n:{last}\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n").into_bytes())]
        }
        _ => vec![Act::Say(b"-CLUSTERDOWN The cluster is down\r\n".repeat(request.replies()))],
    });
    sick
}

/// Changes who has the second half of all slots: `DELSLOTS` or `ADDSLOTS`.
fn change_second_half(node: &Node, command: &str) -> bool {
    let slots: Vec<String> = (8192..16384).map(|slot: u16| slot.to_string()).collect();
    let words = ["CLUSTER", command].into_iter().chain(slots.iter().map(String::as_str));
    node.redis.try_run::<()>(&words.collect::<Vec<_>>()).is_ok()
}

/// Lets the nodes go on when nobody has some of the slots.
fn serve_what_is_left(cluster: &Cluster) {
    for node in &cluster.nodes {
        node.redis.run::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
}

/// Takes the second half of all slots from its node. The first half is still served.
fn lose_second_half(cluster: &Cluster) {
    serve_what_is_left(cluster);
    // A node may tell the other one again that it has them, before it hears that it has not.
    until(|| {
        for node in &cluster.nodes {
            change_second_half(node, "DELSLOTS");
        }
        cluster.nodes.iter().all(|node| node.info("cluster_slots_assigned:8192"))
    });
}

#[test]
fn a_node_that_knows_less_than_others_is_not_believed() {
    let cluster = Cluster::start(2);
    let host = |cut_off: &Sick| cut_off.url().strip_prefix("redis://").unwrap().to_owned();
    let patient = |url: String| with_timeout(&url, Duration::from_secs(5));
    let before = |cut_off: &Sick| patient(cluster.url().replace("://", &format!("://{},", host(cut_off))));
    let after = |cut_off: &Sick| patient(format!("{},{}", cluster.url(), host(cut_off)));
    let mut headers = Vec::new();
    for last in [0, 16383] {
        let cut_off = cut_off(last);
        let manager = before(&cut_off);
        headers.extend((0..20).map(|_| session_with(&manager, &[("a", "1")])));
    }
    // The same for a node that claims to know as much as the others.
    let unhindered = manager(&cluster.url());
    headers.retain(|header| cluster.slot_of(&record_key(&unhindered, header)) < 8192);
    lose_second_half(&cluster);
    let cut_off = cut_off(8191);
    for manager in [before(&cut_off), after(&cut_off)] {
        for header in &headers {
            assert!(!manager.load(&**header).unwrap().is_new());
        }
    }
}

#[test]
fn where_no_node_gives_the_map_it_is_said_why() {
    let cluster = Cluster::start(2);
    for node in &cluster.nodes {
        node.redis.run::<()>(&["ACL", "SETUSER", "ada", "on", ">hunter2", "~*", "+@all", "-cluster"]);
    }
    let told = |login: &str, limit| {
        let url = cluster.url().replace("://", &format!("://{login}@"));
        let manager = with_timeout(&url, Duration::from_millis(limit));
        let (what, message) = failure(manager.ping());
        assert!(!message.contains("hunter"), "{message}");
        (what, message)
    };
    let (what, message) = told("ada:hunter3", 5000);
    assert!(what == StoreErrorKind::Rejected && message.contains("WRONGPASS"), "{message}");
    let (what, message) = told("ada:hunter2", 5000);
    assert!(what == StoreErrorKind::Rejected && message.contains("NOPERM"), "{message}");
    cluster.nodes.iter().for_each(|node| kill(node.redis.pid(), Signal::SIGSTOP).unwrap());
    let (what, message) = told("ada:hunter2", 500);
    cluster.nodes.iter().for_each(|node| kill(node.redis.pid(), Signal::SIGCONT).unwrap());
    assert!(what == StoreErrorKind::Timeout, "{message}");
}

#[test]
fn what_is_no_sound_cluster_is_a_typed_error() {
    let cluster = Cluster::start(2);
    let [one, two] = &cluster.nodes[..] else { unreachable!() };
    // A plain URL leads to a node of a cluster.
    let plain = manager(&format!("redis://127.0.0.1:{}", one.port));
    let answers: Vec<_> =
        (0..20).map(|_| plain.load(None).and_then(|mut new| new.set("a", &1).and_then(|()| new.save()))).collect();
    let refused = answers.iter().find_map(|answer| answer.as_ref().err()).expect("half of the slots are elsewhere");
    assert!(refused.to_string().contains("redis-cluster://"), "{refused}");
    // A cluster URL leads to a plain server.
    let single = crate::support::redis::Redis::start_with(&["--port", &crate::support::ports::free_port().to_string()]);
    let port: Vec<String> = single.run(&["CONFIG", "GET", "port"]);
    let no_cluster = manager(&format!("redis-cluster://127.0.0.1:{}", port[1]));
    let (what, message) = failure(no_cluster.ping());
    assert_eq!(what, StoreErrorKind::Backend);
    assert!(message.contains("cluster support disabled"), "{message}");
    // Nobody has some of the slots.
    let manager = manager(&cluster.url());
    manager.ping().unwrap();
    // A node may tell the other one again that it has them, before it hears that it has not.
    until(|| {
        for node in [one, two] {
            let _ = node.redis.try_run::<()>(&["CLUSTER", "DELSLOTS", "0"]);
            let _ = node.redis.try_run::<()>(&["CLUSTER", "DELSLOTS", "16383"]);
        }
        one.info("cluster_state:fail") && two.info("cluster_state:fail")
    });
    assert_eq!(kind(manager.ping()), StoreErrorKind::Unavailable);
    let limited = with_timeout(&cluster.url(), Duration::from_millis(300));
    let start = Instant::now();
    let answer = limited.load(None).and_then(|mut new: Session| new.set("a", &1).and_then(|()| new.save()));
    assert_eq!(kind(answer), StoreErrorKind::Unavailable);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn the_log_is_told_once_of_slots_that_nobody_serves() {
    in_own_process(|| {
        collect(LevelFilter::Warn);
        let cluster = Cluster::start(2);
        let manager = with_timeout(&cluster.url(), Duration::from_millis(200));
        lose_second_half(&cluster);
        let try_often = || {
            let answers: Vec<bool> = (0..20)
                .map(|_| manager.load(None).and_then(|mut new| new.set("a", &1).and_then(|()| new.save())).is_ok())
                .collect();
            (answers.contains(&true), answers.contains(&false))
        };
        // Busy nodes may have lines of their own.
        let of_cluster = || take_lines().into_iter().filter(|line| line.starts_with("redis-cluster://"));
        assert_eq!(try_often(), (true, true));
        let told: Vec<String> = of_cluster().collect();
        assert!(told.first().is_some_and(|line| line.contains("cannot be used")), "{told:?}");
        assert!(told.len() < 4, "{told:?}");
        until(|| change_second_half(&cluster.nodes[1], "ADDSLOTS"));
        until(|| {
            try_often();
            of_cluster().any(|line| line.contains("can be used again"))
        });
        // There is a line of a node that says so itself, too.
        let cut_off = cut_off(16383);
        let manager = builder(&cut_off.url().replace("redis://", "redis-cluster://"));
        let manager = manager.operation_timeout(Duration::from_millis(1000)).build().unwrap();
        assert_eq!(
            kind(manager.load(&session_with(&crate::support::manager("memory:"), &[("a", "1")]))),
            StoreErrorKind::Unavailable
        );
        let told: Vec<String> = of_cluster().collect();
        assert!(told.len() == 1 && told[0].contains("CLUSTERDOWN"), "{told:?}");
        // The same if the URL names that node alone, and not a cluster.
        let url = cut_off.url();
        let plain = crate::support::manager(url);
        for _ in 0..3 {
            assert_eq!(kind(plain.group("ada").len()), StoreErrorKind::Unavailable);
        }
        let told: Vec<String> = take_lines().into_iter().filter(|line| line.starts_with(url)).collect();
        assert!(told.len() == 1 && told[0].contains("cannot be used: Redis answered"), "{told:?}");
    });
}

#[test]
fn forked_children_use_connections_of_their_own() {
    in_own_process(|| {
        let cluster = Cluster::start(2);
        let manager = manager(&cluster.url());
        let headers: Vec<String> =
            (0..20).map(|number| session_with(&manager, &[("name", &number.to_string())])).collect();
        let check = || {
            for _ in 0..20 {
                for (number, header) in headers.iter().enumerate() {
                    let name: Option<String> = manager.load(&**header).unwrap().get("name").unwrap();
                    assert_eq!(name, Some(number.to_string()));
                }
            }
            String::new()
        };
        let children: Vec<_> = (0..3).map(|_| child(check)).collect();
        check();
        children.into_iter().for_each(|child| drop(child.join()));
        check();
    });
}

#[test]
fn a_cluster_may_speak_tls_and_resp3_and_ask_for_a_password() {
    let authority = Authority::new();
    let certified = authority.certify(&["127.0.0.1"]);
    let cluster = Cluster::start_with_tls(&authority, &certified, &["--tls-auth-clients", "no"]);
    for node in &cluster.nodes {
        let user = ["ACL", "SETUSER", "ada", "on", ">hunter2"];
        node.redis.run::<()>(&[&user, &rights()[..], &["+cluster|slots"]].concat());
        node.redis.run::<()>(&["ACL", "SETUSER", "default", "resetpass", "on", ">other"]);
    }
    let hosts: Vec<String> = cluster.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let url = format!("rediss-cluster://ada:hunter2@{}?ca={}&protocol=resp3", hosts.join(","), path(&authority.ca()));
    let manager = manager(&url);
    manager.ping().unwrap();
    for _ in 0..10 {
        let header = try_login(&manager, Some(&session_with(&manager, &[("a", "1")])), "ada").unwrap();
        assert_eq!(manager.load(&header).unwrap().keys(), ["a", "user"]);
    }
    assert_eq!(manager.group("ada").clear().unwrap(), 10);
    assert!(!format!("{manager:?}").contains("hunter2"));
    assert!(format!("{manager:?}").contains(&format!("rediss-cluster://{}", hosts.join(","))));
    assert!(format!("{:?}", builder("redis-cluster://[::1]").build().unwrap()).contains("redis-cluster://[::1]:6379"));
    // The wrong authority, and no TLS.
    let somebody = Authority::new();
    let other = url.replace(path(&authority.ca()), path(&somebody.ca()));
    for refused in [other, url.replace("rediss-", "redis-").replace(&format!("ca={}&", path(&authority.ca())), "")] {
        let manager = with_timeout(&refused, Duration::from_millis(500));
        assert!(matches!(kind(manager.ping()), StoreErrorKind::Unavailable | StoreErrorKind::Timeout));
    }
    for refused in [
        "redis-cluster://a:1/1",
        "redis-cluster://",
        "redis-cluster://a,,b",
        "redis-cluster://a:x",
        "redis-cluster://a?x=y",
    ] {
        let error = builder(refused).build().unwrap_err().to_string();
        assert!(error.contains("redis-cluster://[user:password@]host[:port],host[:port]"), "{refused}: {error}");
    }
}
