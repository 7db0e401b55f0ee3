//! Redis over TLS: only servers that we trust, by the deadline, and each process on connections of its own.

use crate::support::fork::{each_process_has_sockets_of_its_own, in_own_process};
use crate::support::ports::free_port;
use crate::support::redis::Redis;
use crate::support::tls::{Authority, path, silent, trickle};
use crate::support::wait::in_time;
use crate::support::{builder, failure, manager, session_with, until, with_timeout};
use multi_process_session::{ConfigError, StoreErrorKind};
use nix::sys::signal::{Signal, kill};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// For calls that are to time out.
const DEADLINE: Duration = Duration::from_secs(1);

#[test]
fn sessions_are_kept_over_tls() {
    let authority = Authority::new();
    let certified = authority.certify(&["localhost", "127.0.0.1"]);
    let (redis, port) = authority.redis(&certified, &["--tls-auth-clients", "no"]);
    let _: String = redis.run(&["ACL", "SETUSER", "ada", "on", ">hunter2", "~*", "+@all"]);
    let ca = authority.ca();
    for (host, more) in [("localhost", ""), ("127.0.0.1", ""), ("127.0.0.1", "&protocol=resp3")] {
        let url = format!("rediss://ada:hunter2@{host}:{port}/3?ca={}{more}", path(&ca));
        let manager = with_timeout(&url, Duration::from_secs(10));
        // More than fits into a record of TLS, and than a socket takes at once.
        let large = "x".repeat(900_000);
        let header = session_with(&manager, &[("user", "ada"), ("large", &large)]);
        for _ in 0..20 {
            let mut session = manager.load(&header).unwrap();
            assert_eq!(session.get::<String>("large").unwrap().unwrap(), large, "{url}");
            session.increment("visits", 1).unwrap();
            session.save().unwrap();
        }
        assert_eq!(manager.load(&header).unwrap().get("visits").unwrap(), Some(20));
        let clients: String = redis.run(&["CLIENT", "LIST"]);
        let clients: Vec<&str> =
            clients.lines().filter(|line| line.contains(&format!("laddr=127.0.0.1:{port}"))).collect();
        assert_eq!(clients.len(), 1, "one connection for all of it: {clients:?}");
        assert!(
            clients[0].contains("db=3")
                && clients[0].contains("user=ada")
                && clients[0].contains(if more.is_empty() { "resp=2" } else { "resp=3" })
        );
        drop(manager);
        let shown = format!("{:?}", with_timeout(&url, DEADLINE));
        assert!(shown.contains(&format!("rediss://{host}:{port}")) && !shown.contains("hunter2"), "{shown}");
    }
}

/// Starts a Redis without TLS on this port.
fn plain_redis(port: u16) -> Redis {
    Redis::start_with(&["--port", &port.to_string(), "--bind", "127.0.0.1"])
}

#[test]
fn who_cannot_be_trusted_is_told_nothing() {
    let authority = Authority::new();
    let stranger = Authority::new();
    for (what, certified, words) in [
        ("an authority that is not ours", stranger.certify(&["localhost"]), "UnknownIssuer"),
        ("another host", authority.certify(&["elsewhere.test"]), "not valid for name"),
        ("an address", authority.certify(&["127.0.0.1"]), "not valid for name"),
        ("expired", authority.certify_until(&["localhost"], 2020), "expired"),
    ] {
        let (redis, port) = authority.redis(&certified, &["--tls-auth-clients", "no"]);
        let manager =
            with_timeout(&format!("rediss://user:hunter2@localhost:{port}?ca={}", path(&authority.ca())), DEADLINE);
        let (commands, (kind, message)) = redis.commands(|| failure(in_time(DEADLINE, || manager.ping())));
        assert_eq!(kind, StoreErrorKind::Unavailable, "{what}: {message}");
        assert!(message.contains(words) && !message.contains("hunter2"), "{what}: {message}");
        assert_eq!(commands, [""; 0], "{what}");
    }
    // Redis may take the first bytes of TLS for a line that goes on, and wait for the rest.
    let port = free_port();
    let redis = plain_redis(port);
    let manager =
        with_timeout(&format!("rediss://user:hunter2@localhost:{port}?ca={}", path(&authority.ca())), DEADLINE);
    let (commands, (kind, message)) = redis.commands(|| failure(in_time(DEADLINE, || manager.ping())));
    assert!(matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Timeout), "{message}");
    assert!(!commands.iter().any(|command| command == "auth"), "{commands:?}");
    // The other way round: without the `s` in the URL, the server does not understand the library.
    let (_redis, port) = authority.redis(&authority.certify(&["localhost"]), &["--tls-auth-clients", "no"]);
    let (kind, message) =
        failure(in_time(DEADLINE, || with_timeout(&format!("redis://localhost:{port}"), DEADLINE).ping()));
    assert!(matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Timeout), "{message}");
}

#[test]
fn a_server_that_is_silent_or_slow_costs_the_deadline_and_no_more() {
    let authority = Authority::new();
    let (redis, port) = authority.redis(&authority.certify(&["localhost"]), &["--tls-auth-clients", "no"]);
    let url = |port: u16| format!("rediss://localhost:{port}?ca={}", path(&authority.ca()));
    let (_listener, nobody) = silent();
    let (kind, message) = failure(in_time(DEADLINE, || with_timeout(&url(nobody), DEADLINE).ping()));
    assert_eq!(kind, StoreErrorKind::Timeout, "{message}");
    for during_the_handshake in [true, false] {
        let slow = Arc::new(AtomicBool::new(during_the_handshake));
        let manager = with_timeout(&url(trickle(port, &slow, DEADLINE / 10)), DEADLINE);
        if !during_the_handshake {
            until(|| manager.ping().is_ok());
            slow.store(true, Ordering::Relaxed);
        }
        let (kind, message) = failure(in_time(DEADLINE, || manager.ping()));
        assert_eq!(kind, StoreErrorKind::Timeout, "{message}");
        slow.store(false, Ordering::Relaxed);
        until(|| manager.ping().is_ok());
    }
    let manager = with_timeout(&url(port), DEADLINE);
    let header = session_with(&manager, &[("user", "ada")]);
    let mut session = manager.load(&header).unwrap();
    session.increment("count", 1).unwrap();
    kill(redis.pid(), Signal::SIGSTOP).unwrap();
    assert_eq!(failure(in_time(DEADLINE, || manager.load(&header))).0, StoreErrorKind::Timeout);
    assert_eq!(failure(in_time(DEADLINE, || session.save())).0, StoreErrorKind::Timeout);
    kill(redis.pid(), Signal::SIGCONT).unwrap();
    session.save().unwrap();
    assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(1), "sent twice or more, applied once");
}

#[test]
fn a_redis_that_restarts_is_found_again_by_the_next_call() {
    let authority = Authority::new();
    let certified = authority.certify(&["localhost"]);
    let (redis, port) = authority.redis(&certified, &["--tls-auth-clients", "no"]);
    let manager = manager(&format!("rediss://localhost:{port}?ca={}", path(&authority.ca())));
    let header = session_with(&manager, &[("user", "ada")]);
    for _ in 0..20 {
        let _: i64 = redis.run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        assert_eq!(manager.load(&header).unwrap().keys(), ["user"]);
    }
    drop(redis);
    assert_eq!(failure(manager.ping()).0, StoreErrorKind::Unavailable);
    let options = authority.options(&certified, port);
    let options: Vec<&str> = options.iter().map(String::as_str).chain(["--tls-auth-clients", "no"]).collect();
    let _redis = Redis::start_with(&options);
    assert!(manager.load(&header).unwrap().is_new(), "it came back empty");
}

#[test]
fn a_server_that_asks_who_we_are_is_shown_our_certificate() {
    let authority = Authority::new();
    let (redis, port) = authority.redis(&authority.certify(&["localhost"]), &["--tls-auth-clients", "yes"]);
    let (ours, strange) = (authority.certify(&["worker.test"]), Authority::new());
    let strange = strange.certify(&["worker.test"]);
    let url = |more: &str| format!("rediss://localhost:{port}?ca={}{more}", path(&authority.ca()));
    let with = |certified: &crate::support::tls::Certified| {
        url(&format!("&cert={}&key={}", path(&certified.cert), path(&certified.key)))
    };
    let manager = manager(&with(&ours));
    let header = session_with(&manager, &[("user", "ada")]);
    assert_eq!(manager.load(&header).unwrap().keys(), ["user"]);
    for url in [url(""), with(&strange)] {
        let (commands, (kind, message)) =
            redis.commands(|| failure(in_time(DEADLINE, || with_timeout(&url, DEADLINE).ping())));
        assert_eq!(kind, StoreErrorKind::Unavailable, "{message}");
        assert_eq!(commands, [""; 0]);
    }
}

#[test]
fn forked_children_leave_the_connections_of_their_parent_alone() {
    in_own_process(|| {
        let authority = Authority::new();
        let (_redis, port) = authority.redis(&authority.certify(&["localhost"]), &["--tls-auth-clients", "no"]);
        let manager = manager(&format!("rediss://localhost:{port}?ca={}", path(&authority.ca())));
        let headers: Vec<String> = (0..3).map(|who| session_with(&manager, &[("who", &who.to_string())])).collect();
        each_process_has_sockets_of_its_own(&manager, 2, |who| {
            for _ in 0..300 {
                let mut session = manager.load(&headers[who]).expect("no error");
                assert_eq!(session.get::<String>("who").unwrap().expect("it is there"), who.to_string());
                session.increment("uses", 1).unwrap();
                session.save().expect("no error");
            }
        });
        for (who, header) in headers.iter().enumerate() {
            let uses: u32 = manager.load(&**header).unwrap().get("uses").unwrap().unwrap();
            assert_eq!(uses, if who == 2 { 600 } else { 300 });
        }
    });
}

#[test]
fn without_a_file_the_authorities_of_the_system_are_trusted() {
    in_own_process(|| {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let (_redis, port) = authority.redis(&authority.certify(&["localhost"]), &["--tls-auth-clients", "no"]);
        let url = format!("rediss://localhost:{port}");
        // SAFETY: this test runs alone in its process.
        let trust = |file: &std::path::Path| unsafe {
            std::env::remove_var("SSL_CERT_DIR");
            std::env::set_var("SSL_CERT_FILE", file);
        };
        trust(&authority.ca());
        manager(&url).ping().unwrap();
        trust(&stranger.ca());
        assert!(failure(manager(&url).ping()).1.contains("UnknownIssuer"));
        trust("/nowhere".as_ref());
        let error = builder(&url).build().expect_err("nobody to trust");
        assert!(
            matches!(error, ConfigError::NoRootCertificates { .. }) && error.to_string().contains("?ca="),
            "{error}"
        );
    });
}
