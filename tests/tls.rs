//! Redis over TLS: only whom we trust, by the deadline, and every process on connections of its own.

#![allow(missing_docs)]

mod support;

use multi_process_session::{ConfigError, SessionManager, StoreErrorKind};
use nix::sys::signal::{Signal, kill};
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::fork::{child, in_own_process, open_sockets};
use support::redis::{Redis, free_port};
use support::tls::{Authority, path, silent, trickle};
use support::{builder, failure, manager, session_with, until};

/// Where a timeout is what is to come.
const DEADLINE: Duration = Duration::from_secs(1);

fn impatient(url: &str) -> SessionManager {
    builder(url).operation_timeout(DEADLINE).build().unwrap()
}

fn in_time<T>(call: impl FnOnce() -> T) -> T {
    support::in_time(DEADLINE * 6, call)
}

#[test]
fn sessions_are_kept_over_tls() {
    let authority = Authority::new();
    let certified = authority.certify(&["localhost", "127.0.0.1"]);
    let (redis, port) = authority.redis(&certified, &["--tls-auth-clients", "no"]);
    let _: String = redis.run(&["ACL", "SETUSER", "ada", "on", ">hunter2", "~*", "+@all"]);
    let ca = authority.ca();
    for (host, more) in [("localhost", ""), ("127.0.0.1", ""), ("127.0.0.1", "&protocol=resp3")] {
        let url = format!("rediss://ada:hunter2@{host}:{port}/3?ca={}{more}", path(&ca));
        let manager = builder(&url).operation_timeout(Duration::from_secs(10)).build().unwrap();
        // More than TLS puts into one record, and than a socket takes at once.
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
        let shown = format!("{:?}", impatient(&url));
        assert!(shown.contains(&format!("rediss://{host}:{port}")) && !shown.contains("hunter2"), "{shown}");
    }
}

/// As long as it answers pings, `Redis` is up; it asks on its unix socket.
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
        let manager = impatient(&format!("rediss://user:hunter2@localhost:{port}?ca={}", path(&authority.ca())));
        let (commands, (kind, message)) = redis.commands(|| failure(in_time(|| manager.ping())));
        assert_eq!(kind, StoreErrorKind::Unavailable, "{what}: {message}");
        assert!(message.contains(words) && !message.contains("hunter2"), "{what}: {message}");
        assert_eq!(commands, [""; 0], "{what}");
    }
    // Redis may take the beginning of TLS for a line that goes on, and wait.
    let port = free_port();
    let redis = plain_redis(port);
    let manager = impatient(&format!("rediss://user:hunter2@localhost:{port}?ca={}", path(&authority.ca())));
    let (commands, (kind, message)) = redis.commands(|| failure(in_time(|| manager.ping())));
    assert!(matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Timeout), "{message}");
    assert!(!commands.iter().any(|command| command == "auth"), "{commands:?}");
    // And the other way round: without the s, nothing is understood, and the password is on its way already.
    let (_redis, port) = authority.redis(&authority.certify(&["localhost"]), &["--tls-auth-clients", "no"]);
    let (kind, message) = failure(in_time(|| impatient(&format!("redis://localhost:{port}")).ping()));
    assert!(matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Timeout), "{message}");
}

#[test]
fn a_server_that_is_silent_or_slow_costs_the_deadline_and_no_more() {
    let authority = Authority::new();
    let (redis, port) = authority.redis(&authority.certify(&["localhost"]), &["--tls-auth-clients", "no"]);
    let url = |port: u16| format!("rediss://localhost:{port}?ca={}", path(&authority.ca()));
    let (_listener, nobody) = silent();
    let (kind, message) = failure(in_time(|| impatient(&url(nobody)).ping()));
    assert_eq!(kind, StoreErrorKind::Timeout, "{message}");
    for during_the_handshake in [true, false] {
        let slow = Arc::new(AtomicBool::new(during_the_handshake));
        let manager = impatient(&url(trickle(port, &slow, DEADLINE / 10)));
        if !during_the_handshake {
            until(|| manager.ping().is_ok());
            slow.store(true, Ordering::Relaxed);
        }
        let (kind, message) = failure(in_time(|| manager.ping()));
        assert_eq!(kind, StoreErrorKind::Timeout, "{message}");
        slow.store(false, Ordering::Relaxed);
        until(|| manager.ping().is_ok());
    }
    let manager = impatient(&url(port));
    let header = session_with(&manager, &[("user", "ada")]);
    let mut session = manager.load(&header).unwrap();
    session.increment("count", 1).unwrap();
    kill(redis.pid(), Signal::SIGSTOP).unwrap();
    assert_eq!(failure(in_time(|| manager.load(&header))).0, StoreErrorKind::Timeout);
    assert_eq!(failure(in_time(|| session.save())).0, StoreErrorKind::Timeout);
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
    let with = |certified: &support::tls::Certified| {
        url(&format!("&cert={}&key={}", path(&certified.cert), path(&certified.key)))
    };
    let manager = manager(&with(&ours));
    let header = session_with(&manager, &[("user", "ada")]);
    assert_eq!(manager.load(&header).unwrap().keys(), ["user"]);
    for url in [url(""), with(&strange)] {
        let (commands, (kind, message)) = redis.commands(|| failure(in_time(|| impatient(&url).ping())));
        assert_eq!(kind, StoreErrorKind::Unavailable, "{message}");
        assert_eq!(commands, [""; 0]);
    }
}

#[test]
fn forked_children_leave_the_connections_of_their_parent_alone() {
    in_own_process("forked_children_leave_the_connections_of_their_parent_alone", || {
        let authority = Authority::new();
        let (_redis, port) = authority.redis(&authority.certify(&["localhost"]), &["--tls-auth-clients", "no"]);
        let manager = manager(&format!("rediss://localhost:{port}?ca={}", path(&authority.ca())));
        let headers: Vec<String> = (0..3).map(|who| session_with(&manager, &[("who", &who.to_string())])).collect();
        let inherited: BTreeSet<String> = open_sockets().into_iter().collect();
        assert!(!inherited.is_empty(), "the parent has used it");
        let use_it = |who: usize| {
            for _ in 0..300 {
                let mut session = manager.load(&headers[who]).expect("no error");
                assert_eq!(session.get::<String>("who").unwrap().expect("it is there"), who.to_string());
                session.increment("uses", 1).unwrap();
                session.save().expect("no error");
            }
        };
        let children: Vec<_> = (0..2)
            .map(|who| {
                child(|| {
                    use_it(who);
                    let own: Vec<_> = open_sockets().into_iter().filter(|socket| !inherited.contains(socket)).collect();
                    // The only manager of this process: what is dropped here is dropped for good.
                    drop(manager.before_fork());
                    own.join("\n")
                })
            })
            .collect();
        use_it(2);
        let mut sockets = inherited.clone();
        for child in children {
            let said = child.join();
            assert!(!said.is_empty(), "a child opens its own connection");
            for socket in said.lines() {
                assert!(sockets.insert(socket.to_owned()), "{socket} is in two processes");
            }
        }
        use_it(2);
        assert_eq!(open_sockets().into_iter().collect::<BTreeSet<_>>(), inherited, "the parent still has its own");
        for (who, header) in headers.iter().enumerate() {
            let uses: u32 = manager.load(&**header).unwrap().get("uses").unwrap().unwrap();
            assert_eq!(uses, if who == 2 { 600 } else { 300 });
        }
    });
}

#[test]
fn files_and_urls_that_cannot_be_used_are_refused_with_words_that_say_what_to_do() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (certified, stranger) = (authority.certify(&["worker.test"]), other.certify(&["worker.test"]));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        fs::write(folder.path().join(name), content).unwrap();
        path(&folder.path().join(name)).to_owned()
    };
    let no_pem = file("no.pem", "hunter2");
    let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\nhunter2!\n-----END CERTIFICATE-----\n");
    let no_certificate = file("empty.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n");
    let (cert, key, ca) = (path(&certified.cert), path(&certified.key), authority.ca());
    let ca = path(&ca);
    for (query, words) in [
        ("ca=/nowhere/hunter2.pem".to_owned(), "\"ca\" of the store_url names cannot be used (I/O error: No such file"),
        (format!("ca={no_pem}"), "there is no certificate in it); it is to be a PEM file"),
        (format!("ca={broken}"), "\"ca\""),
        (format!("ca={no_certificate}"), "with the certificates of the authorities to trust"),
        (format!("ca={}", path(folder.path())), "\"ca\""),
        (format!("ca={ca}&cert=/nowhere&key={key}"), "\"cert\""),
        (format!("ca={ca}&cert={cert}&key=/nowhere"), "\"key\""),
        (format!("ca={ca}&cert={cert}&key={cert}"), "with the private key of our certificate"),
        (format!("ca={ca}&cert={cert}&key={}", path(&stranger.key)), "\"key\""),
    ] {
        let error = builder(&format!("rediss://user:hunter2@localhost?{query}")).build().expect_err(&query);
        assert!(matches!(error, ConfigError::PemFile { .. }), "{query}: {error}");
        assert!(error.to_string().contains(words), "{query}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{query}: {error}");
        assert!(std::error::Error::source(&error).is_some());
    }
    for url in [
        &format!("rediss://:hunter2@localhost?ca={ca}&cert={cert}"),
        &format!("rediss://:hunter2@localhost?ca={ca}&key={key}"),
        &format!("rediss://:hunter2@localhost?ca={ca}&verify=hunter2"),
        &format!("rediss://:hunter2@localhost?ca={ca}#insecure"),
        "rediss://:hunter2@localhost#insecure",
        "rediss://:hunter2@localhost:0",
        "rediss://:hunter2@",
        "rediss://:hunter2@a..b",
        "rediss:hunter2",
        // It looks safe, and would not be.
        &format!("redis://:hunter2@localhost?ca={ca}"),
    ] {
        let error = builder(url).build().expect_err(url);
        assert!(matches!(error, ConfigError::StoreUrl { .. }), "{url}: {error}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("redis") && !shown.contains("hunter2"), "{url}: {shown}");
    }
}

#[test]
fn without_a_file_the_authorities_of_the_system_are_trusted() {
    in_own_process("without_a_file_the_authorities_of_the_system_are_trusted", || {
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
