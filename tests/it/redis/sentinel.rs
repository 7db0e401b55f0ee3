//! The primary that Sentinels name: it is found, and found again after a failover, and no other server is used.

use crate::support::fork::{in_own_process, open_sockets};
use crate::support::log::{collect, take_lines};
use crate::support::ports::free_port;
use crate::support::redis::rights;
use crate::support::sentinel::{NAME, Sentinel, Server, url};
use crate::support::sick::{Act, Sick, array, bulk};
use crate::support::tls::{Authority, path, silent};
use crate::support::wait::{StopOnDrop, in_time};
use crate::support::{builder, failure, manager, save_new, session_with, until, with_timeout};
use log::LevelFilter;
use multi_process_session::StoreErrorKind;
use nix::sys::signal::{Signal, kill};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// For calls that are to time out.
const DEADLINE: Duration = Duration::from_secs(1);
/// A share of this is enough for a call, also on a busy machine.
const LONG: Duration = Duration::from_secs(6);
/// How long after the Sentinels know the new primary calls work again.
const BACK: Duration = Duration::from_secs(2);

#[test]
fn the_primary_is_found_whichever_sentinel_knows_it() {
    let primary = Server::primary(&[]);
    let replica = primary.replica();
    // Nobody has told one of them of the last failover.
    let (knows, late) = (Sentinel::watching(&primary, 2), Sentinel::watching(&replica, 2));
    let nobody = free_port();
    for (position, sentinels) in
        [vec![knows.port], vec![nobody, knows.port], vec![late.port, knows.port], vec![nobody, late.port, knows.port]]
            .into_iter()
            .enumerate()
    {
        let manager = with_timeout(&url(&sentinels), LONG);
        let header = session_with(&manager, &[("user", "ada")]);
        let mut session = manager.load(&header).unwrap();
        session.increment("visits", 1).unwrap();
        session.save().unwrap();
        assert_eq!(primary.redis.keys().len(), position + 1);
        assert_eq!(primary.clients(), position + 1, "one connection for all of it");
        until(|| replica.clients() == 0); // it is asked for its role, and left
        // Its connections stay open until the next round.
        std::mem::forget(manager);
    }
}

/// Starts a Sentinel that names the server at this port; if the port is 0, it closes the connection. Also gives how
/// often it was asked.
fn naming(port: &Arc<AtomicU32>) -> (Sick, Arc<AtomicU32>) {
    let (sick, asked) = (Sick::tcp(), Arc::new(AtomicU32::new(0)));
    let (port, count) = (port.clone(), asked.clone());
    sick.answer(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        match port.load(Ordering::SeqCst) {
            0 => vec![Act::Close],
            port => vec![Act::Say(array(&[bulk(b"127.0.0.1"), bulk(port.to_string().as_bytes())]))],
        }
    });
    (sick, asked)
}

#[test]
fn whichever_sentinel_tells_of_a_failover_is_believed() {
    let (old, new) = (Server::primary(&[]), Server::primary(&[]));
    let [late, knows] = [(); 2].map(|()| Arc::new(AtomicU32::new(old.port.into())));
    let ((one, _), (other, asked)) = (naming(&late), naming(&knows));
    let hosts = [&one, &other].map(|sick| sick.url().strip_prefix("redis://").unwrap().to_owned());
    let manager = with_timeout(&format!("redis-sentinel://{}#{NAME}", hosts.join(",")), LONG);
    session_with(&manager, &[("a", "1")]);
    // The first one is away for a moment. Then it is cut off, and does not know of the failover.
    late.store(0, Ordering::SeqCst);
    until(|| {
        session_with(&manager, &[("a", "1")]);
        asked.load(Ordering::SeqCst) > 0
    });
    late.store(old.port.into(), Ordering::SeqCst);
    knows.store(new.port.into(), Ordering::SeqCst);
    until(|| {
        session_with(&manager, &[("a", "1")]);
        !new.redis.keys().is_empty()
    });
    let (before, asked_before) = (old.redis.keys().len(), asked.load(Ordering::SeqCst));
    until(|| {
        session_with(&manager, &[("a", "1")]);
        asked.load(Ordering::SeqCst) > asked_before + 1
    });
    assert_eq!(old.redis.keys().len(), before, "it was left for good");
}

#[test]
fn what_a_sentinel_names_does_not_reach_errors_unless_it_is_a_host() {
    let named = |host: &'static [u8]| {
        let sick = Sick::tcp();
        sick.answer(move |_| vec![Act::Say(array(&[bulk(host), bulk(b"1")]))]);
        let hosts = sick.url().strip_prefix("redis://").unwrap().to_owned();
        failure(with_timeout(&format!("redis-sentinel://{hosts}#{NAME}"), DEADLINE).ping()).1
    };
    for host in [&b"a\r\nINFO all is well"[..], b"\x1b[2J", b"a b", &[b'a'; 1000], "\u{202e}a".as_bytes()] {
        let message = named(host);
        assert!(message.contains("named no address") && message.is_ascii(), "{message}");
        assert!(!message.contains(char::is_control) && message.len() < 300, "{message}");
    }
    assert!(named(b"127.0.0.1").contains("127.0.0.1:1"));
}

#[test]
fn silent_sentinels_are_asked_ever_less_often_and_the_log_is_told_once() {
    in_own_process(|| {
        let primary = Server::primary(&[]);
        let port = Arc::new(AtomicU32::new(primary.port.into()));
        let (sentinel, asked) = naming(&port);
        let hosts = sentinel.url().strip_prefix("redis://").unwrap();
        let manager = builder(&format!("redis-sentinel://{hosts}#{NAME}")).build().unwrap();
        let header = session_with(&manager, &[("a", "1")]);
        collect(LevelFilter::Info);
        port.store(0, Ordering::SeqCst);
        let load_until = |words: &str| {
            let mut told = Vec::new();
            until(|| {
                manager.load(&header).unwrap();
                told.extend(take_lines());
                told.iter().any(|line| line.contains(words))
            });
            told
        };
        load_until("no Sentinel says");
        let (start, before) = (Instant::now(), asked.load(Ordering::SeqCst));
        until(|| {
            manager.load(&header).unwrap();
            start.elapsed() > Duration::from_secs(5)
        });
        // It was asked after two seconds and after four more, not after each second.
        assert!(asked.load(Ordering::SeqCst) <= before + 2);
        port.store(primary.port.into(), Ordering::SeqCst);
        let told = load_until("a Sentinel answers again");
        assert_eq!(told.len(), 1, "{told:?}");
    });
}

#[test]
fn where_no_primary_is_found_it_is_said_why_and_in_time() {
    let primary = Server::primary(&[]);
    let _: String = primary.redis.run(&["ACL", "SETUSER", "ada", "on", ">hunter2", "~*", "+@all", "-role"]);
    let replica = primary.replica();
    let (knows, late) = (Sentinel::watching(&primary, 2), Sentinel::watching(&replica, 2));
    let (_listener, silent) = silent();
    let nobody = free_port();
    let of = |sentinels: &[u16]| url(sentinels);
    let unknown = of(&[knows.port, nobody]).replace(NAME, "orders");
    for (url, expected, words) in [
        (unknown, StoreErrorKind::Unavailable, "does not know this name"),
        (of(&[nobody]), StoreErrorKind::Unavailable, "refused"),
        (of(&[silent]), StoreErrorKind::Timeout, "in time"),
        (of(&[nobody, silent]), StoreErrorKind::Unavailable, "refused"),
        (of(&[late.port]), StoreErrorKind::Unavailable, "is a replica"),
        (of(&[knows.port]).replace("://", "://ada:hunter2@"), StoreErrorKind::Rejected, "'role' command"),
        (of(&[knows.port]).replace("://", "://ada:hunter3@"), StoreErrorKind::Rejected, "WRONGPASS"),
    ] {
        let manager = with_timeout(&url, DEADLINE);
        let (kind, message) = failure(in_time(DEADLINE, || manager.ping()));
        assert_eq!(kind, expected, "{message}");
        assert!(message.contains(words) && !message.contains("hunter"), "{message}");
        let shown = format!("{manager:?}");
        assert!(shown.contains("127.0.0.1") && !shown.contains("hunter"), "{shown}");
    }
}

#[test]
fn a_silent_sentinel_hides_no_other_and_costs_its_share_once() {
    let primary = Server::primary(&[]);
    let sentinel = Sentinel::watching(&primary, 1);
    let (listener, silent) = silent();
    listener.set_nonblocking(true).unwrap();
    let manager = with_timeout(&url(&[silent, sentinel.port]), LONG);
    for _ in 0..3 {
        manager.ping().unwrap();
        drop(manager.before_fork()); // closes the connection, so that the next one needs a new answer
    }
    let asked = std::iter::from_fn(|| listener.accept().ok()).count();
    assert_eq!(asked, 1);
    // The same for a primary that is silent.
    let nowhere = Sentinel::start(free_port(), silent, 2, "");
    let manager = with_timeout(&url(&[nowhere.port, sentinel.port]), LONG);
    manager.ping().unwrap();
}

#[test]
fn the_primary_is_used_on_while_no_sentinel_answers() {
    in_own_process(|| {
        let primary = Server::primary(&[]);
        let sentinel = Sentinel::watching(&primary, 1);
        let manager = manager(&url(&[free_port(), sentinel.port]));
        let header = session_with(&manager, &[("user", "ada")]);
        // This takes longer than until the Sentinel is asked again.
        let use_it_on = || {
            let start = Instant::now();
            while start.elapsed() < BACK {
                assert_eq!(in_time(DEADLINE, || manager.load(&header)).unwrap().keys(), ["user"]);
                thread::sleep(Duration::from_millis(2));
            }
        };
        // One connection goes to the primary, and one is kept to ask the Sentinel.
        until(|| {
            use_it_on();
            open_sockets().len() == 2
        });
        kill(sentinel.pid(), Signal::SIGSTOP).unwrap();
        use_it_on();
        assert_eq!(primary.clients(), 1, "it is the same connection all the time");
        kill(sentinel.pid(), Signal::SIGCONT).unwrap();
        until(|| {
            use_it_on();
            open_sockets().len() == 2
        });
        drop(manager.before_fork());
        assert_eq!(open_sockets(), [""; 0]);
        manager.ping().unwrap();
        drop(sentinel);
        use_it_on();
    });
}

#[test]
fn a_demoted_primary_is_left_at_once_by_the_call_that_finds_out_and_by_all_others() {
    let primary = Server::primary(&[]);
    let replica = primary.replica();
    let sentinel = Sentinel::watching(&primary, 2);
    let manager = with_timeout(&url(&[sentinel.port]), LONG);
    let header = session_with(&manager, &[("user", "ada")]);
    // Opens three connections, which are idle afterwards. Each call is held until all three have one.
    let _: String = primary.redis.run(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    thread::scope(|scope| {
        let calls: Vec<_> = (0..3).map(|_| scope.spawn(|| save_new(&manager, "x").map(drop))).collect();
        until(|| primary.clients() == 3);
        let _: String = primary.redis.run(&["CLIENT", "UNPAUSE"]);
        calls.into_iter().for_each(|call| call.join().unwrap().unwrap());
    });
    assert_eq!(primary.clients(), 3);
    for (from, to) in [(&primary, &replica), (&replica, &primary)] {
        let mut session = manager.load(&header).unwrap();
        from.wait_for(to);
        to.become_primary();
        from.become_replica_of(to);
        sentinel.watch(to);
        session.increment("count", 1).unwrap();
        let (commands, ()) = from.redis.commands(|| {
            session.save().unwrap();
        });
        let ours = commands.iter().filter(|command| *command == "evalsha").count();
        assert!(ours <= 1, "refused once, and not asked again: {commands:?}");
        until(|| from.clients() == 0);
        assert_eq!(to.clients(), 1);
        let (commands, _) = from.redis.commands(|| {
            thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(|| manager.load(&header).unwrap()))));
        });
        assert!(!commands.iter().any(|command| ["evalsha", "hgetall"].contains(&&**command)), "{commands:?}");
        until(|| from.redis.run::<String>(&["INFO", "replication"]).contains("master_link_status:up"));
    }
    assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(2));
}

#[test]
fn a_primary_that_is_demoted_before_the_sentinels_know_is_waited_for() {
    let primary = Server::primary(&[]);
    let replica = primary.replica();
    let sentinel = Sentinel::watching(&primary, 2);
    let manager = with_timeout(&url(&[sentinel.port]), LONG);
    let header = session_with(&manager, &[("user", "ada")]);
    let mut session = manager.load(&header).unwrap();
    session.increment("count", 1).unwrap();
    primary.wait_for(&replica);
    replica.become_primary();
    primary.become_replica_of(&replica);
    thread::scope(|scope| {
        let save = scope.spawn(|| session.save().map(drop));
        // The role was asked for by the call that found out, and once more.
        until(|| primary.redis.run::<String>(&["INFO", "commandstats"]).contains("cmdstat_role:calls=3"));
        sentinel.watch(&replica);
        save.join().unwrap().unwrap();
    });
    assert_eq!(manager.load(&header).unwrap().get("count").unwrap(), Some(1));
}

/// Saves without a pause while `fail_over` makes another server the primary. It says whether the old one still answers.
/// Two seconds after the Sentinels know, no call may fail any more, and the old primary is not used any more.
fn saves_go_on(fail_over: impl FnOnce(&mut Server, &Sentinel) -> bool) {
    let mut primary = Server::primary(&[]);
    let replica = primary.replica();
    let sentinel = Sentinel::watching(&primary, 1);
    sentinel.wait_for_replica();
    let manager = builder(&url(&[free_port(), sentinel.port])).build().unwrap();
    let headers: Vec<String> = (0..3).map(|who| session_with(&manager, &[("who", &who.to_string())])).collect();
    until(|| replica.redis.keys().len() == 3);
    let (stop, known) = (AtomicBool::new(false), OnceLock::new());
    // How often each of them has saved since the library has to be back.
    let saves: [AtomicUsize; 3] = Default::default();
    thread::scope(|scope| {
        let savers: Vec<_> = headers
            .iter()
            .zip(&saves)
            .map(|(header, saves)| {
                let (manager, stop, known) = (&manager, &stop, &known);
                scope.spawn(move || {
                    let (mut failed, mut last_save) = (Vec::new(), None);
                    while !stop.load(Ordering::Relaxed) {
                        let start = Instant::now();
                        match manager.transact(&**header, |session| session.increment("count", 1)) {
                            Ok(_) => {
                                last_save = Some(start);
                                let is_late = known.get().is_some_and(|known| start > *known + BACK);
                                saves.fetch_add(is_late.into(), Ordering::Relaxed);
                            }
                            Err(error) => failed.push((start, error.to_string())),
                        }
                        thread::sleep(Duration::from_millis(2));
                    }
                    (failed, last_save.expect("some work"))
                })
            })
            .collect();
        let stop_also_on_failure = StopOnDrop(&stop);
        let old_goes_on = fail_over(&mut primary, &sentinel);
        until(|| sentinel.names() == replica.port);
        let known = *known.get_or_init(Instant::now);
        let have_saved = |times| saves.iter().all(|saves| saves.load(Ordering::Relaxed) >= times);
        until(|| have_saved(1));
        let asked = old_goes_on.then(|| primary.scripts());
        until(|| have_saved(200));
        assert_eq!(asked, old_goes_on.then(|| primary.scripts()), "the old one is asked no more");
        // Connections of the Sentinel have no name at first.
        until(|| !old_goes_on || primary.clients() == 0);
        drop(stop_also_on_failure);
        for saver in savers {
            let (failed, last_save) = saver.join().unwrap();
            assert!(last_save > known + BACK, "it never came back: {failed:?}");
            let late: Vec<_> = failed.iter().filter(|(start, _)| *start > known + BACK).collect();
            assert!(late.is_empty(), "{late:?}");
        }
    });
    assert!(replica.clients() > 0);
    for (who, header) in headers.iter().enumerate() {
        assert_eq!(manager.load(&**header).unwrap().get::<String>("who").unwrap().unwrap(), who.to_string());
    }
}

#[test]
fn a_failover_that_is_asked_for_is_followed() {
    // The old primary stays a primary for eight seconds more. Then it becomes a replica.
    saves_go_on(|_, sentinel| {
        until(|| sentinel.run::<String>(&["FAILOVER", NAME]).is_ok());
        true
    });
}

#[test]
fn the_failover_after_a_crash_is_followed() {
    saves_go_on(|primary, _| {
        primary.redis.kill();
        false
    });
}

#[test]
fn a_sentinel_and_its_servers_may_speak_tls_and_ask_for_passwords() {
    let authority = Authority::new();
    let certified = authority.certify(&["127.0.0.1"]);
    let (redis, port) = authority.redis(&certified, &["--tls-auth-clients", "no"]);
    redis.run::<()>(&[&["ACL", "SETUSER", "ada", "on", ">hunter2"], &rights()[..], &["+role"]].concat());
    let sentinel_port = free_port();
    let options = authority.options(&certified, sentinel_port);
    let lines: Vec<String> = options.chunks(2).map(|option| format!("{} {}\n", &option[0][2..], option[1])).collect();
    let more = "port 0\ntls-auth-clients no\nuser grace on >hunter+3 ~* &* +@all\n";
    let _sentinel = Sentinel::start(sentinel_port, port, 1, &(lines.concat() + more));
    let hosts = format!("127.0.0.1:{},127.0.0.1:{sentinel_port}", free_port());
    let url = |user: &str, pass: &str| {
        let login = format!("sentinel_user={user}&sentinel_pass={pass}");
        format!("rediss-sentinel://ada:hunter2@{hosts}/2?protocol=resp3&ca={}&{login}#{NAME}", path(&authority.ca()))
    };
    let manager = with_timeout(&url("grace", "hunter%2B3"), LONG);
    session_with(&manager, &[("user", "ada")]);
    let clients: String = redis.run(&["CLIENT", "LIST"]);
    let ours = |line: &&str| line.contains("user=ada") && line.contains("db=2") && line.contains("resp=3");
    assert_eq!(clients.lines().filter(ours).count(), 1, "{clients}");
    assert!(!format!("{manager:?}").contains("hunter"), "{manager:?}");
    let (_, message) = failure(with_timeout(&url("grace", "hunter2"), LONG).ping());
    assert!(message.contains("WRONGPASS") && !message.contains("hunter"), "{message}");
    // Without TLS, neither side understands the other.
    let plain = url("grace", "hunter%2B3").replace("rediss-", "redis-").replace("&ca=", "&sentinel_user=");
    failure(in_time(DEADLINE, || with_timeout(&plain, DEADLINE).ping()));
}
