//! The counters of a process.

use crate::support::fork::{child, in_own_process, is_waiting};
use crate::support::place::Place;
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::wait::next_millisecond;
use crate::support::{builder, cookie, login, manager, session_with, until};
use multi_process_session::{Error, Refresh, SessionManager, Stats, StoreErrorKind};
use nix::unistd::gettid;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

fn nothing_yet(pool_size: u32) -> Stats {
    let mut stats = Stats::default();
    stats.pool_size = pool_size;
    stats
}

/// The counters without the time at which they began.
#[track_caller]
fn numbers(manager: &SessionManager) -> Stats {
    let mut stats = manager.stats();
    assert!(stats.since.take().is_some());
    stats
}

#[test]
fn what_happened_at_the_store_is_counted() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = builder(&proxy.url()).pool_size(3).operation_timeout(Duration::from_secs(3)).build().unwrap();
    assert_eq!(numbers(&manager), nothing_yet(3));
    let header = session_with(&manager, &[("user", "ada")]);
    manager.load(&header).unwrap();
    manager.load("sid=forged").unwrap();
    let stats = manager.stats();
    assert_eq!((stats.calls, stats.round_trips, stats.connections), (2, 2, 1));
    assert_eq!((stats.retries, stats.waits, stats.errors.len()), (0, 0, 0));

    proxy.next(&[Fault::LoseReply]);
    manager.load(&header).unwrap();
    let stats = manager.stats();
    assert_eq!((stats.calls, stats.round_trips, stats.connections, stats.retries), (3, 4, 2, 1));

    proxy.next(&[Fault::Answer(b"-OOM no\r\n"), Fault::Answer(b"-LOADING\r\n"), Fault::Answer(b"-LOADING\r\n")]);
    for _ in 0..3 {
        manager.load(&header).unwrap_err();
    }
    proxy.next(&[Fault::Silence, Fault::Silence]);
    manager.load(&header).unwrap_err();
    let stats = manager.stats();
    let expected = [(StoreErrorKind::Unavailable, 2), (StoreErrorKind::Timeout, 1), (StoreErrorKind::Rejected, 1)];
    assert_eq!((stats.errors, stats.calls), (expected.into(), 7));

    // Four calls at once, and three connections.
    let manager = builder(&proxy.url()).pool_size(3).operation_timeout(Duration::from_secs(60)).build().unwrap();
    let barrier = Arc::new(Barrier::new(4));
    proxy.next(&vec![Fault::Hold(barrier.clone()); 3]);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| manager.load(&header).unwrap());
        }
        until(|| manager.stats().round_trips == 3);
        let stats = manager.stats();
        assert_eq!((stats.connections_open, stats.connections_in_use), (3, 3));
        let fourth = gettid();
        scope.spawn(move || {
            until(|| is_waiting(fourth));
            barrier.wait();
        });
        manager.load(&header).unwrap();
    });
    let stats = manager.stats();
    assert_eq!((stats.waits, stats.round_trips, stats.connections), (1, 4, 3));
    assert_eq!((stats.connections_open, stats.connections_in_use), (3, 0));
    drop(manager.before_fork());
    assert_eq!(manager.stats().connections_open, 0);
    assert!(stats.waited > Duration::ZERO, "{stats:?}");
}

/// Returns by how much `work` raises the counters of sessions: created, refreshed, ended; not found, gone, conflicts;
/// refused, tossed.
fn counted(manager: &SessionManager, work: impl FnOnce()) -> [u64; 8] {
    let numbers = || {
        let stats = manager.stats();
        let life = [stats.created, stats.refreshed, stats.ended];
        let odd = [stats.not_found, stats.gone, stats.conflicts];
        [&life[..], &odd, &[stats.refused, stats.tossed]].concat()
    };
    let before = numbers();
    work();
    std::array::from_fn(|at| numbers()[at] - before[at])
}

#[test]
fn what_becomes_of_sessions_is_counted() {
    for url in [Place::redis(), Place::sqlite()].iter().map(Place::url).chain(["memory:".to_owned()]) {
        let manager = manager(&url);
        let login = || login(&manager, "ada");
        let new = || session_with(&manager, &[("user", "ada")]);
        let token = |header: &str| header["sid=".len()..].to_owned();
        assert_eq!(counted(&manager, || drop(manager.load(None).unwrap())), [0; 8]);
        assert_eq!(counted(&manager, || drop(new())), [1, 0, 0, 0, 0, 0, 0, 0]);

        let header = new();
        assert_eq!(counted(&manager, || drop(manager.load(&header).unwrap())), [0; 8]);
        let mut late = manager.load(&header).unwrap();
        assert_eq!(counted(&manager, || drop(manager.destroy(&header).unwrap())), [0, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(counted(&manager, || drop(manager.destroy(&header).unwrap())), [0; 8]);
        assert_eq!(counted(&manager, || drop(manager.load(&header).unwrap())), [0, 0, 0, 1, 0, 0, 0, 0]);
        late.set("a", &1).unwrap();
        assert_eq!(counted(&manager, || drop(late.save().unwrap_err())), [0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(counted(&manager, || drop(late.destroy().unwrap())), [0; 8]);

        let (one, _two, three) = (login(), login(), login());
        let group = manager.group("ada");
        let id = manager.load(&one).unwrap().public_id();
        assert_eq!(counted(&manager, || assert!(group.remove(id).unwrap())), [0, 0, 1, 0, 0, 0, 0, 0]);
        let session = manager.load(&three).unwrap();
        assert_eq!(counted(&manager, || assert_eq!(group.clear_except(&session).unwrap(), 1))[2], 1);
        assert_eq!(counted(&manager, || drop(session.destroy().unwrap())), [0, 0, 1, 0, 0, 0, 0, 0]);
        let (_four, _five) = (login(), login());
        assert_eq!(counted(&manager, || assert_eq!(group.clear().unwrap(), 2)), [0, 0, 2, 0, 0, 0, 0, 0]);

        // A transaction meets two other changes. Another one meets the end of its session.
        let header = new();
        let mut others = 2;
        let mut transaction = || {
            manager.transact(&header, |session| -> Result<(), Error> {
                session.set("mine", &1)?;
                if others > 0 {
                    others -= 1;
                    let mut other = manager.load(&header)?;
                    other.increment("others", 1)?;
                    other.save()?;
                }
                Ok(())
            })
        };
        assert_eq!(counted(&manager, || drop(transaction().unwrap())), [0, 0, 0, 0, 0, 2, 0, 0]);
        let transaction = || {
            manager.transact(&header, |session| -> Result<(), Error> {
                session.set("mine", &2)?;
                let _ = manager.destroy(&header)?;
                Ok(())
            })
        };
        assert_eq!(counted(&manager, || drop(transaction().unwrap_err())), [0, 0, 1, 0, 1, 0, 0, 0]);
        let mut session = manager.load(None).unwrap();
        session.flash("notice", "x").unwrap();
        let header = cookie(&session.save().unwrap().unwrap());
        let mut late = manager.load(&header).unwrap();
        let _ = manager.destroy(&header).unwrap();
        assert_eq!(
            counted(&manager, || drop(late.take_flash::<String>("notice").unwrap_err())),
            [0, 0, 0, 0, 1, 0, 0, 0]
        );

        // Tokens that are not ours, and requests with too many that are.
        let junk = || drop(manager.load("sid=forged; other=1; sid=").unwrap());
        assert_eq!(counted(&manager, junk), [0, 0, 0, 0, 0, 0, 2, 0]);
        assert_eq!(counted(&manager, || drop(manager.load_token(Some("forged")).unwrap())), [0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(counted(&manager, || manager.destroy_token(Some("forged")).unwrap()), [0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(counted(&manager, || drop(manager.destroy("sid=forged").unwrap())), [0, 0, 0, 0, 0, 0, 1, 0]);
        let (one, two) = (new(), new());
        assert_eq!(
            counted(&manager, || drop(manager.load_token(Some(&token(&one))).unwrap())),
            [0, 0, 0, 0, 0, 0, 1, 0]
        );
        assert_eq!(counted(&manager, || drop(manager.load(&format!("{one}; {two}")).unwrap()))[7], 1);
        let many = vec![one; 9].join("; ");
        assert_eq!(counted(&manager, || drop(manager.load(&many).unwrap())), [0, 0, 0, 0, 0, 0, 0, 1]);

        let eager = builder(&url).refresh(Refresh::EveryLoad).build().unwrap();
        let header = session_with(&eager, &[("user", "ada")]);
        next_millisecond();
        assert_eq!(counted(&eager, || drop(eager.load(&header).unwrap())), [0, 1, 0, 0, 0, 0, 0, 0]);
    }
}

#[test]
fn a_forked_child_counts_for_itself() {
    in_own_process(|| {
        for place in Place::all() {
            let manager = manager(&place.url());
            let header = session_with(&manager, &[("user", "ada")]);
            let guard = manager.before_fork();
            let child = child(|| {
                assert_eq!(numbers(&manager), nothing_yet(8));
                manager.load(&header).unwrap();
                manager.stats().calls.to_string() + " " + &manager.stats().connections.to_string()
            });
            drop(guard);
            assert_eq!(child.join(), "1 1");
            assert_eq!((manager.stats().calls, manager.stats().connections), (1, 1));
        }
    });
}

#[test]
fn threads_of_a_forked_child_lose_no_counts() {
    in_own_process(|| {
        let redis = Redis::start();
        let manager = manager(&redis.url());
        for _ in 0..200 {
            let counts = child(|| {
                let barrier = Barrier::new(8);
                thread::scope(|scope| {
                    for _ in 0..8 {
                        scope.spawn(|| {
                            barrier.wait();
                            manager.ping().unwrap();
                        });
                    }
                });
                manager.stats().calls.to_string()
            });
            assert_eq!(counts.join(), "8");
        }
    });
}
