//! Workers that are killed in the middle of their work: no acknowledged save is lost, and nothing is left half done.

use crate::support::fork::{Child, Signals, child, in_own_process};
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::sqlite::Sqlite;
use crate::support::{builder, cookie, login, manager, session_with, try_login, with_timeout};
use multi_process_session::{Error, PublicId, SessionManager};
use std::io::{PipeReader, Read, Write, pipe};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

const GRACE: Duration = Duration::from_secs(60);

/// What a worker does when it is killed, with a session of its own and with those of its group.
const DEEDS: [&str; 8] = ["login", "join", "change", "leave", "regenerate", "rotate", "clear", "clear except"];

/// Does a deed with the session of this header, which is in the group "ada" or joins it. Returns the header that the
/// session has afterwards.
fn perform(manager: &SessionManager, deed: &str, header: &str) -> Result<String, Error> {
    let mut session = manager.load(header)?;
    match deed {
        "login" => return try_login(manager, None, "ada"),
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
    in_own_process(|| {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        for deed in DEEDS {
            let mut killed_at = 0;
            for request in 0.. {
                let mut killed = true;
                for fault in [Fault::KillBefore, Fault::KillAfter] {
                    redis.run::<()>(&["FLUSHDB"]);
                    let other = login(&manager, "ada");
                    let own =
                        if deed == "join" { session_with(&manager, &[("a", "1")]) } else { login(&manager, "ada") };
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

/// Does a deed in a child that is killed at its request of this number. Returns whether it made that many requests.
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

/// Sees that each live session is in its index, that each session of an index is there, and that every key expires.
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
    // The session is there exactly once, under its old id or under a new one.
    if ["join", "change", "leave", "regenerate", "rotate"].contains(&deed) {
        let own_records = records.iter().filter(|key| redis.record(key).contains_key("s")).count();
        assert_eq!(own_records, 2, "{deed}: its own record and the other's: {records:?}");
    }
}

#[test]
fn workers_killed_at_any_moment_leave_sqlite_sound() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let manager = builder(&sqlite.url()).max_sessions_per_group(20).build().unwrap();
        manager.ping().unwrap();
        for round in 0..150 {
            let guard = manager.before_fork();
            let workers: Vec<Child> = (0..2)
                .map(|number| {
                    child(|| {
                        let mut own = login(&manager, "ada");
                        for count in number.. {
                            let deed = DEEDS[(count * 5 + round) % DEEDS.len()];
                            own = perform(&manager, deed, &own).unwrap_or_else(|_| login(&manager, "ada"));
                        }
                        String::new()
                    })
                })
                .collect();
            drop(guard);
            std::thread::sleep(Duration::from_micros(2_000 + 137 * round as u64));
            workers.into_iter().for_each(Child::kill);
            sqlite.assert_sound();
            let alive = sqlite.count("sessions WHERE in_group IN (SELECT serial FROM groups)");
            let listed = ["ada", "grace"].iter().map(|name| manager.group(name).len().unwrap()).sum::<usize>();
            assert_eq!(alive, listed, "round {round}");
        }
    });
}

#[test]
fn workers_killed_in_the_middle_of_saves_lose_no_acknowledged_one() {
    in_own_process(|| {
        let sqlite = Sqlite::new();
        let manager = with_timeout(&sqlite.url(), Duration::from_secs(60));
        let headers: Vec<String> = (0..4).map(|_| session_with(&manager, &[("start", "x")])).collect();
        let mut acknowledged = [0_u64; 4];
        let mut random = 1_u64;
        for round in 0..50 {
            let workers: Vec<(Child, PipeReader)> = {
                let _guard = manager.before_fork();
                headers.iter().map(|header| saving_worker(&manager, header)).collect()
            };
            // Each worker is killed after some acknowledged saves, wherever it is in the next one.
            for (number, (worker, mut said)) in workers.into_iter().enumerate() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let mut last = [0; 8];
                for _ in 0..=(random >> 33) % 20 {
                    said.read_exact(&mut last).unwrap();
                }
                // The next save takes about this long.
                let moment = Instant::now() + Duration::from_micros((random >> 40) % 2000);
                while Instant::now() < moment {}
                worker.kill();
                // It may have acknowledged another save before it died.
                while said.read_exact(&mut last).is_ok() {}
                acknowledged[number] = u64::from_le_bytes(last);
            }
            for (header, acknowledged) in headers.iter().zip(&mut acknowledged) {
                let session = manager.load(&**header).unwrap();
                let (one, two) = (session.get::<u64>("one").unwrap(), session.get::<String>("two").unwrap());
                assert!(one.map(many_pages) == two, "round {round}: half a save");
                assert!(one >= Some(*acknowledged), "round {round}: {one:?} of {acknowledged}");
                assert!(one <= Some(*acknowledged + 1), "round {round}: more than was sent");
            }
        }
        sqlite.assert_sound();
    });
}

/// Forks a child that counts on in a session, and says each count that was acknowledged.
fn saving_worker(manager: &SessionManager, header: &str) -> (Child, PipeReader) {
    let (said, mut say) = pipe().unwrap();
    let worker = child(|| {
        let mut session = manager.load(header).unwrap();
        let mut next = session.get::<u64>("one").unwrap().unwrap_or_default();
        loop {
            next += 1;
            session.set("one", &next).unwrap();
            session.set("two", &many_pages(next)).unwrap();
            session.save().unwrap();
            say.write_all(&next.to_le_bytes()).unwrap();
        }
    });
    (worker, said)
}

/// A value that fills many pages of the file, so that it takes a while to write it.
fn many_pages(count: u64) -> String {
    format!("{count:08}").repeat(5_000)
}
