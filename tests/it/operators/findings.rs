//! An operator is told what is wrong with a store.

use crate::support::cluster::Cluster;
use crate::support::operator::{call, finding, findings, store};
use crate::support::ports::free_port;
use crate::support::redis::Redis;
use crate::support::sentinel::{self, Sentinel, Server};
use crate::support::sqlite::Sqlite;
use crate::support::{login, manager, until};
use multi_process_session::StoreErrorKind;
use multi_process_session::store::Verdict::{Good, Risky, Unknown, Wrong};
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_redis_that_loses_sessions_is_told() {
    let redis = Redis::start();
    let url = redis.url();
    assert_eq!(finding(&url, "rights").verdict, Good);
    assert_eq!(finding(&url, "role").verdict, Good);
    assert_eq!(finding(&url, "persistence").verdict, Wrong);
    redis.run::<()>(&["CONFIG", "SET", "save", "3600 1"]);
    assert_eq!(finding(&url, "persistence").verdict, Risky);
    redis.run::<()>(&["CONFIG", "SET", "appendonly", "yes"]);
    assert_eq!(finding(&url, "persistence").verdict, Good);
    assert_eq!(finding(&url, "maxmemory-policy").verdict, Good);
    redis.run::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let found = finding(&url, "maxmemory-policy");
    assert_eq!((found.verdict, &*found.found), (Wrong, "allkeys-lru"));
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1000mb"]);
    assert_eq!(finding(&url, "maxmemory").verdict, Good);
    assert_eq!(finding(&url, "timeout").verdict, Good);
    redis.run::<()>(&["CONFIG", "SET", "timeout", "30"]);
    assert_eq!(finding(&url, "timeout").verdict, Risky);
    assert_eq!(finding(&url, "databases").verdict, Good);
}

#[test]
fn missing_rights_are_told() {
    let redis = Redis::start();
    redis.add_user_of_the_guide();
    let url = Redis::as_user(&redis.url());
    assert_eq!(finding(&url, "rights").verdict, Good);
    for (what, right) in [("maxmemory-policy", "+info"), ("timeout", "+config|get"), ("access", "+acl|getuser")] {
        let found = finding(&url, what);
        assert!(found.verdict == Unknown && found.advice.contains(right), "{found:?}");
        redis.run::<()>(&["ACL", "SETUSER", "sessions", right]);
        assert_ne!(finding(&url, what).verdict, Unknown);
    }
    redis.run::<()>(&["ACL", "SETUSER", "sessions", "-zrem"]);
    let found = finding(&url, "rights");
    assert!(found.verdict == Wrong && found.found.to_lowercase().contains("zrem"), "{found:?}");
    redis.run::<()>(&["ACL", "SETUSER", "sessions", "+zrem", "-info"]);
    let error = store(&url).figures(&call()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Rejected);
}

#[test]
fn the_advice_fits_the_reason_for_which_writes_are_refused() {
    let redis = Redis::start();
    let url = redis.url();
    let advice_with = |setting: &str, value: &str| {
        redis.run::<()>(&["CONFIG", "SET", setting, value]);
        let found = finding(&url, "rights");
        redis.run::<()>(&["CONFIG", "SET", setting, "0"]);
        assert_eq!(found.verdict, Wrong, "{found:?}");
        found.advice
    };
    assert!(advice_with("maxmemory", "1").contains("more memory"));
    assert!(advice_with("min-replicas-to-write", "1").contains("Start more replicas"));
    assert_eq!(finding(&url, "rights").verdict, Good);
    redis.run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(finding(&url, "replicas").verdict, Wrong, "no replica is connected");
}

#[test]
fn every_user_without_a_password_is_told() {
    let redis = Redis::start_with(&["--port", &free_port().to_string(), "--protected-mode", "no"]);
    redis.add_user_of_the_guide();
    let url = Redis::as_user(&redis.url());
    redis.run::<()>(&["ACL", "SETUSER", "sessions", "+config|get", "+acl|getuser"]);
    redis.run::<()>(&["ACL", "SETUSER", "eve", "on", "nopass", "~*", "+@all"]);
    let access = || {
        let found = finding(&url, "access");
        (found.verdict, found.found)
    };
    assert_eq!(access(), (Wrong, "no password for the user default".to_owned()));
    redis.run::<()>(&["ACL", "SETUSER", "sessions", "+acl|list"]);
    assert_eq!(access(), (Wrong, "no password for the user default, eve".to_owned()));
    redis.run::<()>(&["CONFIG", "SET", "requirepass", "secret"]);
    assert_eq!(access(), (Wrong, "no password for the user eve".to_owned()));
}

#[test]
fn replicas_are_looked_at() {
    let primary = Server::primary(&[]);
    let sentinel = Sentinel::watching(&primary, 2);
    let url = sentinel::url(&[sentinel.port]);
    assert_eq!(finding(&url, "replicas").verdict, Risky, "nobody takes over");
    let replica = primary.replica();
    assert_eq!(finding(&url, "replicas").verdict, Risky, "a primary that is cut off goes on");
    primary.redis.run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    until(|| finding(&url, "rights").verdict == Good); // A fresh replica has to tell that it is there.
    assert_eq!(finding(&url, "replicas").verdict, Good);
    primary.redis.run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "5"]);
    assert_eq!(finding(&url, "replicas").verdict, Wrong, "no save is accepted");
    primary.redis.run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let figures = store(&url).figures(&call()).unwrap();
    assert!(figures.iter().any(|figure| figure.name == "replication_lag_seconds"), "{figures:?}");
    let of_replica = format!("redis://127.0.0.1:{}", replica.port);
    for what in ["role", "rights"] {
        let found = finding(&of_replica, what);
        assert!(found.verdict == Wrong && found.advice.contains("replica"), "{found:?}");
    }
}

#[test]
fn every_node_of_a_cluster_is_looked_at() {
    let cluster = Cluster::start(3);
    let url = cluster.url();
    cluster.nodes[1].redis.run::<()>(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    let all = findings(&url);
    let policies: Vec<_> = all.iter().filter(|finding| finding.what.ends_with(" maxmemory-policy")).collect();
    assert_eq!(policies.len(), 3);
    let wrong: Vec<_> = policies.iter().filter(|finding| finding.verdict == Wrong).collect();
    assert_eq!(wrong.len(), 1);
    assert_eq!(wrong[0].what, format!("127.0.0.1:{} maxmemory-policy", cluster.nodes[1].port));
    login(&manager(&url), "ada");
    let figures = store(&url).figures(&call()).unwrap();
    let keys = figures.iter().filter(|figure| figure.name.ends_with(" keys")).map(|figure| figure.value);
    assert!(keys.sum::<f64>() >= 4.0, "a session, its group and a generation: {figures:?}");
}

#[test]
fn the_figures_of_redis_are_those_that_it_counts() {
    let redis = Redis::start();
    let empty = store(&redis.url()).figures(&call()).unwrap();
    let keys = empty.iter().find(|figure| figure.name == "keys").unwrap().value;
    assert!(keys == 0.0 && keys.is_sign_positive(), "{keys}");
    login(&manager(&redis.url()), "ada");
    let figures = store(&redis.url()).figures(&call()).unwrap();
    let value = |name: &str| figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
    assert_eq!(value("keys"), Some(4.0));
    for name in ["used_memory_bytes", "calls", "connected_clients"] {
        assert!(value(name).is_some_and(|value| value > 0.0), "{name}: {figures:?}");
    }
    assert_eq!(value("evicted_keys"), Some(0.0));
    assert_eq!(value("replication_lag_seconds"), None);
}

#[test]
fn a_sqlite_file_that_others_can_write_is_told() {
    let sqlite = Sqlite::new();
    let url = sqlite.url();
    login(&manager(&url), "ada");
    for finding in findings(&url) {
        assert!(matches!(finding.verdict, Good | Unknown | Risky), "{finding:?}");
    }
    assert_eq!(finding(&url, "file mode").verdict, Good);
    assert_eq!(finding(&url, "reserve").verdict, Good);
    for (mode, expected) in [(0o644, Risky), (0o666, Wrong), (0o600, Good)] {
        set_permissions(sqlite.path(), Permissions::from_mode(mode)).unwrap();
        assert_eq!(finding(&url, "file mode").verdict, expected, "{mode:o}");
    }
    for (mode, expected) in [(0o777, Wrong), (0o1777, Risky), (0o755, Good)] {
        set_permissions(sqlite.folder(), Permissions::from_mode(mode)).unwrap();
        assert_eq!(finding(&url, "folder mode").verdict, expected, "{mode:o}");
    }
    let folder = sqlite.folder().join("inner");
    std::fs::create_dir(&folder).unwrap();
    let inner = format!("sqlite://{}", folder.join("sessions.db").display());
    login(&manager(&inner), "ada");
    for (mode, expected) in [(0o777, Wrong), (0o775, Wrong), (0o1777, Good), (0o755, Good)] {
        set_permissions(sqlite.folder(), Permissions::from_mode(mode)).unwrap();
        let found = finding(&inner, "folder mode");
        assert_eq!(found.verdict, expected, "{mode:o}: {found:?}");
        let names_parent = found.found.contains(sqlite.folder().to_str().unwrap());
        assert_eq!(names_parent, expected == Wrong, "{found:?}");
    }
    let other = sqlite.connect();
    other.query_row("SELECT count(*) FROM sessions", [], |_| Ok(())).unwrap();
    let figures = store(&url).figures(&call()).unwrap();
    let value = |name: &str| figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
    assert_eq!((value("sessions"), value("expired_sessions"), value("groups")), (Some(1.0), Some(0.0), Some(1.0)));
    assert!(value("file_bytes") > Some(0.0) && value("log_bytes").is_some());
}
