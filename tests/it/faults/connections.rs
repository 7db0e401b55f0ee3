//! Connections that fail: a call goes on with a fresh one, or ends by its deadline with a typed error. It believes no
//! reply to another call.

use crate::support::fork::{in_own_process, open_sockets};
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::sick::{Act, Sick};
use crate::support::wait::{in_time, let_connections_rest};
use crate::support::{builder, kind, manager, session_with, until, with_timeout};
use multi_process_session::store::{Call, Deadline, Store};
use multi_process_session::{Error, RedisStore, StoreErrorKind};
use nix::sys::signal::{Signal, kill};
use std::slice::from_ref;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// For calls that are to time out.
const DEADLINE: Duration = Duration::from_millis(400);
/// Half of this is enough for a call, also on a busy machine. A silent connection is given up after half of it.
const LONG: Duration = Duration::from_secs(3);

#[test]
fn a_fault_on_a_connection_in_use_is_made_up_for_by_a_fresh_one() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = with_timeout(&proxy.url(), LONG);
    let header = session_with(&manager, &[("user", "ada")]);
    let other = session_with(&manager, &[("user", "grace")]);
    for fault in [
        Fault::LoseReply,
        Fault::HalfReply,
        Fault::HalfReplyThenSilence,
        Fault::Silence,
        Fault::ReplyOfAnother,
        Fault::Answer(b"$3\r\nyes\r\n"),
        Fault::Answer(b"*2\r\n$8\r\n12345678\r\n$2\r\nok\r\n"),
        Fault::Answer(b"*-1\r\n"),
        Fault::Answer(b"*0\r\n"),
        Fault::Answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        Fault::Answer(b"\0\xff\r\n\r\n"),
    ] {
        manager.load(&other).unwrap();
        let before = proxy.accepted();
        if fault.is_silent() {
            let_connections_rest();
        }
        proxy.next(from_ref(&fault));
        let session = manager.load(&header).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(session.get::<String>("user").unwrap().unwrap(), "ada", "{fault:?}");
        assert_eq!(proxy.left(), 0);
        assert_eq!(proxy.accepted(), before + 1, "{fault:?}: the connection is not used again");
    }
}

#[test]
fn when_one_connection_fails_the_idle_ones_of_its_time_are_not_used_again() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = manager(&proxy.url());
    let header = session_with(&manager, &[("user", "ada")]);
    let two_at_once = || {
        let both = Arc::new(Barrier::new(2));
        proxy.next(&[Fault::Hold(both.clone()), Fault::Hold(both)]);
        thread::scope(|scope| {
            let calls = [(), ()].map(|()| scope.spawn(|| manager.load(&header).map(|session| session.len())));
            calls.into_iter().for_each(|call| assert_eq!(call.join().unwrap().unwrap(), 1));
        });
    };
    two_at_once();
    assert_eq!(proxy.accepted(), 2);
    two_at_once();
    assert_eq!(proxy.accepted(), 2, "both are used again");
    proxy.next(&[Fault::LoseReply]);
    manager.load(&header).unwrap();
    assert_eq!(proxy.accepted(), 3);
    two_at_once();
    assert_eq!(proxy.accepted(), 4, "the one that did not fail is not trusted either");
}

#[test]
fn a_fault_that_stays_is_an_error_in_time_and_believes_nothing() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = with_timeout(&proxy.url(), DEADLINE);
    let header = session_with(&manager, &[("user", "ada")]);
    for (fault, expected) in [
        (Fault::LoseReply, StoreErrorKind::Unavailable),
        (Fault::HalfReply, StoreErrorKind::Unavailable),
        (Fault::HalfReplyThenSilence, StoreErrorKind::Timeout),
        (Fault::Silence, StoreErrorKind::Timeout),
        (Fault::Trickle(DEADLINE / 10), StoreErrorKind::Timeout),
        (Fault::Answer(b"*2\r\n$8\r\n12345678\r\n$2\r\nok\r\n"), StoreErrorKind::Unavailable),
        (Fault::Answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"), StoreErrorKind::Unavailable),
    ] {
        proxy.next(&[fault.clone(), fault.clone(), fault.clone()]);
        assert_eq!(kind(in_time(DEADLINE, || manager.load(&header))), expected, "{fault:?}");
        assert!(proxy.left() >= 1, "{fault:?}: a call is made twice at most");
        proxy.next(&[fault.clone(), fault.clone()]);
        assert_eq!(kind(in_time(DEADLINE, || manager.ping())), expected, "{fault:?}");
        proxy.next(&[]);
        assert_eq!(manager.load(&header).unwrap().keys(), ["user"], "{fault:?}: and then all is well");
    }
}

#[test]
fn a_redis_that_is_not_there_is_reported_at_once() {
    let nobody = with_timeout("redis://user:hunter2@127.0.0.1:1", Duration::from_secs(60));
    let start = Instant::now();
    let error = nobody.ping().unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(30), "not waited out");
    assert!(matches!(&error, Error::Store(error) if error.kind() == StoreErrorKind::Unavailable));
    assert!(error.to_string().contains("127.0.0.1:1") && !error.to_string().contains("hunter2"), "{error}");
    let no_socket = with_timeout("redis+unix:///nowhere/redis.sock", DEADLINE);
    assert_eq!(kind(no_socket.ping()), StoreErrorKind::Unavailable);
}

#[test]
fn a_redis_that_restarts_is_found_again_by_the_next_call() {
    let mut redis = Redis::start();
    let manager = with_timeout(&redis.url(), LONG);
    let header = session_with(&manager, &[("user", "ada")]);
    let loaded = manager.load(&header).unwrap();
    redis.kill();
    assert_eq!(kind(manager.load(&header)), StoreErrorKind::Unavailable);
    assert_eq!(kind(manager.destroy(&header)), StoreErrorKind::Unavailable);
    assert!(manager.load("sid=forged").unwrap().is_new(), "no round trip, no error");
    redis.restart();
    assert!(manager.load(&header).unwrap().is_new(), "it came back empty");
    let mut late = loaded;
    late.set("a", &1).unwrap();
    assert!(matches!(late.save(), Err(Error::Gone)));
    let header = session_with(&manager, &[("user", "ada")]);
    // Killed connections do not cause errors.
    for _ in 0..20 {
        let _: i64 = redis.run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        assert_eq!(manager.load(&header).unwrap().keys(), ["user"]);
    }
}

#[test]
fn a_redis_that_stops_and_goes_on() {
    let redis = Redis::start();
    let manager = with_timeout(&redis.url(), DEADLINE);
    let headers: Vec<String> = (0..4).map(|who| session_with(&manager, &[("who", &who.to_string())])).collect();
    let mut saving = manager.load(&headers[0]).unwrap();
    saving.increment("count", 1).unwrap();
    kill(redis.pid(), Signal::SIGSTOP).unwrap();
    thread::scope(|scope| {
        for header in &headers {
            scope.spawn(|| assert_eq!(kind(in_time(DEADLINE, || manager.load(&**header))), StoreErrorKind::Timeout));
        }
    });
    assert_eq!(kind(in_time(DEADLINE, || saving.save())), StoreErrorKind::Timeout);
    kill(redis.pid(), Signal::SIGCONT).unwrap();
    for _ in 0..50 {
        for (who, header) in headers.iter().enumerate() {
            assert_eq!(manager.load(&**header).unwrap().get::<String>("who").unwrap().unwrap(), who.to_string());
        }
    }
    saving.save().unwrap();
    assert_eq!(manager.load(&headers[0]).unwrap().get("count").unwrap(), Some(1), "sent twice or more, applied once");
}

#[test]
fn waiting_for_a_free_connection_counts_towards_the_deadline() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = builder(&proxy.url()).operation_timeout(DEADLINE).pool_size(1).build().unwrap();
    let header = session_with(&manager, &[("user", "ada")]);
    proxy.next(&vec![Fault::Silence; 100]);
    thread::scope(|scope| {
        // One after another they would take twenty deadlines.
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(kind(in_time(DEADLINE, || manager.load(&header))), StoreErrorKind::Timeout));
        }
    });
    proxy.next(&[]);
    assert_eq!(manager.load(&header).unwrap().keys(), ["user"]);
}

#[test]
fn a_connection_to_a_server_that_is_not_ready_is_not_used_again() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = with_timeout(&proxy.url(), LONG);
    let header = session_with(&manager, &[("user", "ada")]);
    let before = proxy.accepted();
    proxy.next(&[Fault::Answer(b"-LOADING wait\r\n")]);
    assert_eq!(kind(manager.load(&header)), StoreErrorKind::Unavailable);
    manager.load(&header).unwrap();
    assert_eq!(proxy.accepted(), before + 1);
}

#[test]
fn what_a_replica_refuses_is_asked_of_a_fresh_connection() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = with_timeout(&proxy.url(), LONG);
    let header = session_with(&manager, &[("user", "ada")]);
    let before = proxy.accepted();
    proxy.next(&[Fault::Answer(b"-READONLY You can't write against a read only replica.\r\n")]);
    manager.transact(&header, |session| session.increment("count", 1)).unwrap();
    assert_eq!(proxy.accepted(), before + 1);
    assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(1));
}

#[test]
fn a_connection_that_was_used_a_moment_ago_has_all_of_the_time() {
    let sick = Sick::unix();
    let manager = with_timeout(sick.url(), Duration::from_secs(4));
    manager.ping().unwrap();
    // This takes longer than half of the time.
    sick.answer(|request| vec![Act::Wait(Duration::from_millis(2400)), Act::Say(request.right_reply())]);
    manager.ping().unwrap();
    assert_eq!((sick.accepted(), manager.stats().retries), (1, 0));
}

#[test]
fn a_call_that_comes_too_late_costs_no_connection() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let store = RedisStore::new(&proxy.url()).unwrap();
    store.ping(&Call::until(Deadline::after(Duration::from_secs(60))).unwrap()).unwrap();
    let opened = proxy.accepted();
    for _ in 0..10 {
        let late = store.ping(&Call::until(Deadline::after(Duration::ZERO)).unwrap()).unwrap_err();
        assert_eq!(late.kind(), StoreErrorKind::Timeout);
    }
    store.ping(&Call::until(Deadline::after(Duration::from_secs(60))).unwrap()).unwrap();
    assert_eq!(proxy.accepted(), opened);
}

#[test]
fn a_full_queue_of_the_server_is_waited_for() {
    in_own_process(|| {
        const CALLS: usize = 32;
        let redis = Redis::start_with(&["--tcp-backlog", "2"]);
        let patience = Duration::from_secs(30);
        let manager = builder(&redis.url()).pool_size(CALLS as u32).operation_timeout(patience).build().unwrap();
        kill(redis.pid(), Signal::SIGSTOP).unwrap();
        thread::scope(|scope| {
            let calls: Vec<_> = (0..CALLS).map(|_| scope.spawn(|| manager.ping())).collect();
            // Waits until each call has a socket to connect with, or has failed.
            until(|| open_sockets().len() + calls.iter().filter(|call| call.is_finished()).count() >= CALLS);
            kill(redis.pid(), Signal::SIGCONT).unwrap();
            calls.into_iter().for_each(|call| call.join().unwrap().unwrap());
        });
    });
}

#[test]
fn passwords_and_values_stay_out_of_errors() {
    let redis = Redis::start_with(&["--rename-command", "AUTH", "", "--rename-command", "HELLO", ""]);
    for url in [format!("{}?pass=hunter2", redis.url()), format!("{}?pass=hunter2&protocol=resp3", redis.url())] {
        let error = manager(&url).ping().unwrap_err();
        let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
        assert!(shown.contains("unknown command") && !shown.contains("hunter2"), "{shown}");
    }
    let redis = Redis::start_with(&["--rename-command", "EVALSHA", ""]);
    let mut session = manager(&redis.url()).load(None).unwrap();
    session.set("secret", "hunter2").unwrap();
    let error = session.save().unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(matches!(error, Error::Store(error) if error.kind() == StoreErrorKind::Backend), "{shown}");
    assert!(shown.contains("unknown command") && !shown.contains("hunter2"), "{shown}");
    assert!(matches!(session.get::<u32>("secret"), Err(error) if !format!("{error} {error:?}").contains("hunter2")));
}

#[test]
fn what_redis_refuses_has_a_kind_and_costs_nobody_a_session() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = with_timeout(&proxy.url(), LONG);
    let header = session_with(&manager, &[("user", "ada")]);
    for (reply, expected) in [
        (&b"-LOADING Redis is loading the dataset in memory\r\n"[..], StoreErrorKind::Unavailable),
        (b"-ERR max number of clients reached\r\n", StoreErrorKind::Unavailable),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", StoreErrorKind::Rejected),
        (b"-NOAUTH Authentication required.\r\n", StoreErrorKind::Rejected),
        (b"-BUSY Redis is busy running a script.\r\n", StoreErrorKind::Rejected),
        (b"-MISCONF Errors writing to the AOF file: No space left on device\r\n", StoreErrorKind::Rejected),
        (b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", StoreErrorKind::Corrupt),
        (b"-ERR unknown command\r\n", StoreErrorKind::Backend),
    ] {
        // If the plain commands of a load are refused, the script is tried.
        proxy.next(&[Fault::Answer(reply), Fault::Answer(reply)]);
        assert_eq!(kind(manager.load(&header)), expected, "{}", reply.escape_ascii());
        proxy.next(&[Fault::Pass, Fault::Answer(reply)]);
        let saved = manager.transact(&header, |session| session.set("a", &1));
        assert_eq!(kind(saved), expected, "{}", reply.escape_ascii());
        assert_eq!(manager.load(&header).unwrap().keys(), ["user"]);
    }
}
