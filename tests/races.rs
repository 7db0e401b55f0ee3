//! Real processes that do at once what must not disturb each other, thousands of times, and that are killed in the
//! middle of it.

#![allow(missing_docs)]

mod support;

use multi_process_session::{Error, PublicId, SessionManager};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};
use support::fork::{Child, Lines, Signals, child, children, in_own_process};
use support::place::Place;
use support::proxy::{Fault, Proxy};
use support::redis::Redis;
use support::{builder, cookie, manager, session_with};

const GRACE: Duration = Duration::from_secs(60);

/// Runs a test, in a process of its own, on every kind of store that processes share.
fn on_every_shared_store(test: &str, body: impl Fn(&Place)) {
    in_own_process(test, || Place::all_and_a_cluster().iter().for_each(&body));
}

/// Within a group a cluster does what a single server does, only slower.
fn rounds(place: &Place, rounds: u32) -> u32 {
    if matches!(place, Place::Cluster(_)) { rounds / 10 } else { rounds }
}

/// Forks a child of a process that has used the manager.
fn child_of(manager: &SessionManager, body: impl FnOnce() -> String) -> Child {
    let _guard = manager.before_fork();
    child(body)
}

fn login(manager: &SessionManager) -> Result<String, Error> {
    join(manager, None)
}

fn join(manager: &SessionManager, header: Option<&str>) -> Result<String, Error> {
    let mut session = manager.load(header)?;
    session.set("user", "ada")?;
    session.set_group_name("ada");
    Ok(cookie(&session.save()?.expect("a new id needs a cookie")))
}

fn id_if_alive(manager: &SessionManager, header: &str) -> Option<PublicId> {
    let session = manager.load(header).unwrap();
    (!session.is_new()).then(|| session.public_id())
}

fn listed(manager: &SessionManager) -> BTreeSet<PublicId> {
    let group = manager.group("ada");
    let ids: BTreeSet<PublicId> = group.sessions().unwrap().iter().map(|session| session.public_id()).collect();
    assert_eq!(group.len().unwrap(), ids.len());
    ids
}

/// Keeps a processor busy for up to so many microseconds, so that rounds differ.
fn dawdle(round: u32, most: u32) {
    let until = Instant::now() + Duration::from_micros((round.wrapping_mul(2_654_435_761) % most).into());
    while Instant::now() < until {}
}

#[test]
fn after_a_clear_no_older_session_is_alive_and_the_list_is_true() {
    on_every_shared_store("after_a_clear_no_older_session_is_alive_and_the_list_is_true", |place| {
        let rounds = rounds(place, 20_000);
        let manager = manager(&place.url());
        let go = Signals::new();
        let mut said = Lines::new();
        let mut old = login(&manager).unwrap();
        let first = old.clone();
        let worker = child_of(&manager, || {
            let mut old = first;
            for round in 0..rounds {
                let anonymous = (round % 4 == 1).then(|| session_with(&manager, &[("a", "1")]));
                let mut session = manager.load(&old).unwrap();
                said.send("ready");
                go.wait();
                let outcome = match round % 4 {
                    0 => login(&manager),
                    1 => join(&manager, anonymous.as_deref()),
                    2 => session.set("a", &round).and_then(|()| session.save()).map(|_| old.clone()),
                    _ => {
                        session.regenerate_with_grace(GRACE);
                        session.save().map(|set_cookie| cookie(&set_cookie.expect("a new id needs a cookie")))
                    }
                };
                match outcome {
                    Ok(header) => said.send(&header),
                    Err(Error::Gone) => said.send("gone"),
                    Err(error) => panic!("{error}"),
                }
                go.wait();
                old = login(&manager).unwrap();
                said.send(&old);
            }
            String::new()
        });
        let (mut survived, mut ended) = (0, 0);
        for round in 0..rounds {
            assert_eq!(said.next(), "ready");
            go.send();
            dawdle(round, 200);
            manager.group("ada").clear().unwrap();
            let header = said.next();
            assert_eq!(id_if_alive(&manager, &old), None, "round {round}: it was there before the clear");
            let alive = if header == "gone" { None } else { id_if_alive(&manager, &header) };
            assert!(alive.is_none() || round % 4 < 2, "round {round}: a save or a new id revives nothing");
            assert_eq!(listed(&manager), alive.into_iter().collect(), "round {round}: the list is true");
            match alive {
                Some(_) => survived += 1,
                None => ended += 1,
            }
            if alive.is_some() {
                let _ = manager.destroy(&header).unwrap();
            }
            go.send();
            old = said.next();
        }
        worker.join();
        // They did meet.
        assert!(survived > rounds / 100 && ended > rounds / 2, "{survived}, {ended}");
    });
}

#[test]
fn of_two_new_ids_at_once_one_wins_and_with_a_grace_nobody_is_logged_out() {
    on_every_shared_store("of_two_new_ids_at_once_one_wins_and_with_a_grace_nobody_is_logged_out", |place| {
        let rounds = rounds(place, 10_000);
        let manager = manager(&place.url());
        let mut header = login(&manager).unwrap();
        let first = header.clone();
        let go = Signals::new();
        let (mut to_rival, mut said) = (Lines::new(), Lines::new());
        let renew = |header: &str, round: u32| {
            let mut session = manager.load(header).unwrap();
            session.increment("count", 1).unwrap();
            if round.is_multiple_of(2) {
                session.regenerate()
            } else {
                session.regenerate_with_grace(GRACE)
            }
            session
        };
        let rival = child_of(&manager, || {
            let mut header = first;
            for round in 0..rounds {
                let mut session = renew(&header, round);
                said.send("ready");
                go.wait();
                said.send(&match session.save() {
                    Ok(set_cookie) => set_cookie.map_or("no cookie".to_owned(), |set_cookie| cookie(&set_cookie)),
                    Err(Error::Gone) => "gone".to_owned(),
                    Err(error) => panic!("{error}"),
                });
                header = to_rival.next();
            }
            String::new()
        });
        let (mut won, mut count) = (0, 0);
        for round in 0..rounds {
            let mut session = renew(&header, round);
            assert_eq!(said.next(), "ready");
            go.send();
            dawdle(round, 60);
            let mine = match session.save() {
                Ok(set_cookie) => set_cookie.map_or("no cookie".to_owned(), |set_cookie| cookie(&set_cookie)),
                Err(Error::Gone) => "gone".to_owned(),
                Err(error) => panic!("{error}"),
            };
            let theirs = said.next();
            let is_cookie = |said: &String| said.contains('=');
            assert!(is_cookie(&mine) ^ is_cookie(&theirs), "round {round}: {mine}, {theirs}");
            won += u32::from(is_cookie(&mine));
            let (new, loser) = if is_cookie(&mine) { (mine, theirs) } else { (theirs, mine) };
            let with_grace = round % 2 == 1;
            assert_eq!(loser, if with_grace { "no cookie" } else { "gone" }, "round {round}");
            count += if with_grace { 2 } else { 1 };
            let winner = manager.load(&new).unwrap();
            assert_eq!(winner.get("count").unwrap(), Some(count), "round {round}: no write was lost");
            assert_eq!(id_if_alive(&manager, &header).is_some(), with_grace, "round {round}: the old id");
            assert_eq!(listed(&manager), [winner.public_id()].into(), "round {round}: one session");
            header = new;
            to_rival.send(&header);
        }
        rival.join();
        assert!((rounds / 50..rounds * 49 / 50).contains(&won), "they did meet: {won}");
    });
}

#[test]
fn sixteen_processes_that_log_in_at_once_never_exceed_the_limit() {
    const LIMIT: usize = 3;
    on_every_shared_store("sixteen_processes_that_log_in_at_once_never_exceed_the_limit", |place| {
        let manager = builder(&place.url())
            .max_sessions_per_group(LIMIT)
            .operation_timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        manager.ping().unwrap();
        let guard = manager.before_fork();
        let said = children(16, |number| {
            let mut headers = Vec::new();
            for round in 0..40 {
                let anonymous = (number % 2 == 0).then(|| session_with(&manager, &[("a", "1")]));
                headers.push(join(&manager, anonymous.as_deref()).unwrap());
                let len = manager.group("ada").len().unwrap();
                assert!((1..=LIMIT).contains(&len), "round {round}: {len}");
            }
            headers.join("\n")
        });
        drop(guard);
        let alive: BTreeSet<PublicId> =
            said.iter().flat_map(|said| said.lines()).filter_map(|header| id_if_alive(&manager, header)).collect();
        assert_eq!((alive.len(), alive), (LIMIT, listed(&manager)));
    });
}

/// What a worker does when it is killed: on a session of its own, and on those of its group.
const DEEDS: [&str; 8] = ["login", "join", "change", "leave", "regenerate", "rotate", "clear", "clear except"];

/// Does a deed with the session of this header, in the group "ada" or about to join it, and gives the header that the
/// session has then.
fn perform(manager: &SessionManager, deed: &str, header: &str) -> Result<String, Error> {
    let mut session = manager.load(header)?;
    match deed {
        "login" => return login(manager),
        "join" => session.set_group_name("ada"),
        "change" => session.set_group_name("grace"),
        "leave" => session.leave_group(),
        "regenerate" => session.regenerate(),
        "rotate" => session.regenerate_with_grace(GRACE),
        "clear" => return manager.group("ada").clear().map(|_| header.to_owned()),
        _ => return manager.group("ada").clear_except(&session).map(|_| header.to_owned()),
    }
    Ok(cookie(&session.save()?.expect("a new id needs a cookie")))
}

#[test]
fn a_worker_killed_between_any_two_commands_leaves_redis_sound() {
    in_own_process("a_worker_killed_between_any_two_commands_leaves_redis_sound", || {
        let redis = Redis::start();
        let manager = builder(&redis.url()).build().unwrap();
        for deed in DEEDS {
            let mut killed_at = 0;
            for request in 0.. {
                let mut killed = true;
                for fault in [Fault::KillBefore, Fault::KillAfter] {
                    redis.run::<()>(&["FLUSHDB"]);
                    let other = login(&manager).unwrap();
                    let own =
                        if deed == "join" { session_with(&manager, &[("a", "1")]) } else { login(&manager).unwrap() };
                    killed = kill_at(&redis, deed, &own, request, fault);
                    check_redis(&redis, &manager, deed, &own, &other);
                }
                if !killed {
                    break;
                }
                killed_at = request + 1;
            }
            assert!(killed_at >= 1, "{deed} makes requests");
        }
    });
}

/// Does a deed in a child that is killed at its request of this number. Says whether it made so many.
fn kill_at(redis: &Redis, deed: &str, own: &str, request: usize, fault: fn(Arc<AtomicI32>) -> Fault) -> bool {
    let proxy = Proxy::start(redis.socket());
    let manager = builder(&proxy.url()).max_sessions_per_group(2).build().unwrap();
    let (pid, go) = (Arc::new(AtomicI32::new(0)), Signals::new());
    let worker = child(|| {
        go.wait();
        perform(&manager, deed, own).unwrap()
    });
    pid.store(worker.pid().as_raw(), Ordering::SeqCst);
    let mut faults = vec![Fault::Pass; request];
    faults.push(fault(pid));
    proxy.next(&faults);
    go.send();
    let killed = worker.wait().is_none();
    assert_eq!(killed, proxy.left() == 0);
    killed
}

/// No live session outside its index, none in it that is not there, and no key without an expiry.
fn check_redis(redis: &Redis, manager: &SessionManager, deed: &str, own: &str, other: &str) {
    for key in redis.keys() {
        assert!(redis.run::<i64>(&["PTTL", &key]) > 0, "{deed}: {key} never expires");
    }
    let records = redis.records();
    for name in ["ada", "grace"] {
        let group = manager.group(name);
        let listed = group.sessions().unwrap();
        assert_eq!(group.len().unwrap(), listed.len(), "{deed}: {name}");
        assert!(listed.len() <= 2, "{deed}: {name} has the limit of two");
        for session in &listed {
            let id = session.public_id().to_string();
            assert!(records.iter().any(|key| key.ends_with(&id)), "{deed}: what is listed is there");
        }
    }
    let all: Vec<PublicId> = ["ada", "grace"]
        .iter()
        .flat_map(|name| manager.group(name).sessions().unwrap())
        .map(|session| session.public_id())
        .collect();
    for header in [own, other] {
        let session = manager.load(header).unwrap();
        if session.group_name().is_some() {
            assert!(all.contains(&session.public_id()), "{deed}: what is alive is listed");
        }
    }
    // Either the old id or a new one: the session is there once, whoever holds which.
    if ["join", "change", "leave", "regenerate", "rotate"].contains(&deed) {
        let own_records = records.iter().filter(|key| redis.record(key).contains_key("v")).count();
        assert_eq!(own_records, 2, "{deed}: its own record and the other's: {records:?}");
    }
}

#[test]
fn workers_killed_at_any_moment_leave_sqlite_sound() {
    in_own_process("workers_killed_at_any_moment_leave_sqlite_sound", || {
        let place = Place::sqlite();
        let manager = builder(&place.url()).max_sessions_per_group(20).build().unwrap();
        manager.ping().unwrap();
        for round in 0..150 {
            let guard = manager.before_fork();
            let workers: Vec<Child> = (0..2)
                .map(|number| {
                    child(|| {
                        let mut own = login(&manager).unwrap();
                        for count in number.. {
                            let deed = DEEDS[(count * 5 + round) % DEEDS.len()];
                            own = perform(&manager, deed, &own).or_else(|_| login(&manager)).unwrap();
                        }
                        String::new()
                    })
                })
                .collect();
            drop(guard);
            std::thread::sleep(Duration::from_micros(2_000 + 137 * round as u64));
            workers.into_iter().for_each(Child::kill);
            let sqlite = place.sql();
            let count = |sql: &str| sqlite.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
            let check: String = sqlite.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(check, "ok");
            for (what, sql) in [
                (
                    "groups without sessions",
                    "SELECT count(*) FROM groups WHERE serial NOT IN (SELECT in_group FROM sessions)",
                ),
                ("names without a group", "SELECT count(*) FROM sessions WHERE (in_group = 0) <> (group_name IS NULL)"),
                (
                    "values of no session",
                    "SELECT count(*) FROM session_values WHERE session NOT IN (SELECT serial FROM sessions)",
                ),
            ] {
                assert_eq!(count(sql), 0, "round {round}: {what}");
            }
            let alive = count("SELECT count(*) FROM sessions WHERE in_group IN (SELECT serial FROM groups)");
            let listed = ["ada", "grace"].iter().map(|name| manager.group(name).len().unwrap()).sum::<usize>();
            assert_eq!(alive as usize, listed, "round {round}");
        }
    });
}
