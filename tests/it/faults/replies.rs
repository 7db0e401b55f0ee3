//! Replies that are wrong, endless, late or missing, byte by byte: a call ends by its deadline with a typed error,
//! believes no reply to another call, and leaves nothing behind.

use crate::support::fork::{in_own_process, in_own_process_of, open_sockets, test_of};
use crate::support::log::{collect, take_lines};
use crate::support::sick::{Act, Request, Sick, array, bulk, packed, record};
use crate::support::{builder, manager, save_new, session_with, until};
use Act::{Close, Endless, Freeze, Hold, Read, ReadSlowly, Reset, Say, Trickle, Wait};
use After::{Reused, ThrownAway};
use StoreErrorKind::{Backend, Corrupt, Rejected, Timeout, Unavailable};
use When::{AtOnce, AtTheDeadline, TooLate, WithinTwice};
use log::LevelFilter;
use multi_process_session::{Error, RedisStore, Refresh, SessionManager, StoreErrorKind};
use socket2::Domain;
use std::error::Error as StdError;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(60);
/// A password and a value that must not be in any text.
const SECRET: &str = "hunter2";

// ---- calls and their outcomes ----

type Call = fn(&SessionManager, &str) -> Result<(), Error>;

const CALLS: [(&str, Call); 4] = [
    ("load", |manager, header| manager.load(header).map(drop)),
    ("save", |manager, _| save_new(manager, SECRET).map(drop)),
    ("destroy", |manager, header| manager.destroy(header).map(drop)),
    ("ping", |manager, _| manager.ping()),
];

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum When {
    AtOnce,
    AtTheDeadline,
    WithinTwice,
    TooLate,
}

impl When {
    fn of(elapsed: Duration) -> When {
        match elapsed {
            _ if elapsed < DEADLINE * 19 / 20 => AtOnce,
            // The aim is a fifth later at most. The rest is for a busy machine.
            _ if elapsed < DEADLINE * 3 / 2 => AtTheDeadline,
            _ if elapsed < DEADLINE * 2 => WithinTwice,
            _ => TooLate,
        }
    }
}

/// Whether the next call uses the last connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum After {
    Reused,
    ThrownAway,
}

type Outcome = (StoreErrorKind, When, After);
const TIMES_OUT: Outcome = (Timeout, AtTheDeadline, ThrownAway);
const NO_REPLY: Outcome = (Unavailable, AtOnce, ThrownAway);

type Answer = fn(&Request) -> Vec<Act>;
type Start = fn() -> Sick;

/// Lets the server answer every request in this way, but log clients in.
fn answer_with(sick: &Sick, answer: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static) {
    sick.answer(move |request| match &*request.name() {
        "AUTH" => vec![Say(request.right_reply())],
        _ => answer(request),
    });
}

/// Makes two managers of one pool. Calls of the first one have little time, and calls of the second one all that they
/// need.
fn managers(url: &str) -> [SessionManager; 2] {
    let store = Arc::new(RedisStore::new(url).unwrap());
    [DEADLINE, PATIENCE].map(|timeout| {
        let builder = builder("memory:").store(store.clone()).max_session_bytes(64 << 20);
        builder.operation_timeout(timeout).build().unwrap()
    })
}

fn with_password(sick: &Sick) -> [SessionManager; 2] {
    managers(&format!("{}?pass={SECRET}", sick.url()))
}

/// Makes a valid cookie, without Redis.
fn header() -> String {
    session_with(&manager("memory:"), &[("user", "ada")])
}

/// Returns the kind of a fault and when it came, and sees that its texts are discreet.
fn fault(call: impl FnOnce() -> Result<(), Error>, header: &str) -> (StoreErrorKind, When) {
    let start = Instant::now();
    let answer = call();
    let when = When::of(start.elapsed());
    let Err(Error::Store(error)) = answer else { panic!("expected a fault of the store, got {answer:?}") };
    let source = error.source().map(|source| format!("{source} {source:?}"));
    is_discreet(&format!("{error} {error:?} {source:?}"), header);
    is_discreet(&error.to_string(), header);
    assert!(!error.to_string().contains(char::is_control), "one line: {error}");
    (error.kind(), when)
}

/// Sees that a text is short, and shows no secret and no part of the token.
fn is_discreet(text: &str, header: &str) {
    assert!(text.len() < 2000, "{} bytes: {}", text.len(), &text[..200]);
    assert!(!text.contains(SECRET), "{text}");
    let token = header.strip_prefix("sid=").expect("a cookie");
    assert!(!token.as_bytes().windows(12).any(|part| text.contains(std::str::from_utf8(part).unwrap())), "{text}");
}

/// Returns the outcome of an attempt. On a busy machine any call may be late, so there are several attempts.
fn after_some_attempts<T: PartialEq>(expected: T, attempt: impl Fn() -> T) -> T {
    let mut outcome = attempt();
    for _ in 1..10 {
        if outcome != expected {
            outcome = attempt();
        }
    }
    outcome
}

/// Returns the outcome of a call on an idle connection whose server answers in this way.
fn outcome(call: Call, answer: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static) -> Outcome {
    let header = header();
    let sick = Sick::unix();
    let [impatient, patient] = with_password(&sick);
    patient.ping().unwrap();
    assert_eq!(sick.accepted(), 1);
    answer_with(&sick, answer);
    let (kind, when) = fault(|| call(&impatient, &header), &header);
    let opened = sick.accepted();
    assert!(opened <= 2, "a call is made twice at most");
    sick.be_healthy();
    patient.ping().unwrap();
    (kind, when, if sick.accepted() == opened { Reused } else { ThrownAway })
}

/// Replies to each command of a request with the same bytes.
fn say_to_all(request: &Request, reply: &[u8]) -> Vec<Act> {
    vec![Say(reply.repeat(request.replies()))]
}

fn half(reply: &[u8]) -> Vec<u8> {
    reply[..reply.len() / 2].to_vec()
}

// ---- what is left behind ----

/// Runs a test in a process of its own. Sees that afterwards the process has no more threads and open files than
/// before, and that what it has logged is discreet.
fn without_a_trace(body: impl FnOnce()) {
    in_own_process_of(test_of(&body), || {
        collect(LevelFilter::Trace);
        let before = open_files_and_threads();
        body();
        // A thread that was joined may still be listed for a moment.
        until(|| open_files_and_threads() == before);
        let logged = take_lines();
        assert!(!logged.is_empty(), "the log is seen");
        logged.iter().for_each(|line| assert!(!line.contains(SECRET) && !line.contains(char::is_control), "{line}"));
    });
}

fn open_files_and_threads() -> (usize, usize) {
    let count = |folder: &str| fs::read_dir(folder).expect("Linux").count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

// ---- the tests ----

#[test]
fn silence_and_broken_replies() {
    // Nearly the deadline, so that the whole reply is late also on a busy machine.
    const PAUSE: Duration = DEADLINE.checked_mul(9).unwrap().checked_div(10).unwrap();
    let cases: &[(&str, Answer, Outcome)] = &[
        ("silence", |_| vec![], TIMES_OUT),
        ("no more reading", |_| vec![Freeze], TIMES_OUT),
        ("closed", |_| vec![Close], NO_REPLY),
        ("half a reply, then silence", |request| vec![Say(half(&request.right_reply()))], TIMES_OUT),
        ("half a reply, then closed", |request| vec![Say(half(&request.right_reply())), Close], NO_REPLY),
        ("too late", |request| vec![Wait(PATIENCE), Say(request.right_reply())], TIMES_OUT),
        ("a trickle", |request| vec![Trickle(request.right_reply(), PAUSE)], TIMES_OUT),
        ("another call's reply", |request| say_to_all(request, &record(b"12345678", &[])), NO_REPLY),
        ("another PING's reply", |request| say_to_all(request, &bulk(b"12345678")), NO_REPLY),
        (
            "another kind of call's reply",
            |request| say_to_all(request, &array(&[array(&[bulk(request.nonce())])])),
            NO_REPLY,
        ),
        ("endless depth", |_| vec![Endless(b"*1\r\n".to_vec())], NO_REPLY),
    ];
    without_a_trace(|| {
        for_each_call(|name, call| {
            for (what, answer, expected) in cases {
                assert_eq!(after_some_attempts(*expected, || outcome(call, *answer)), *expected, "{name}: {what}");
            }
        });
    });
}

#[test]
fn replies_without_end() {
    let cases: &[(&str, Answer)] = &[
        ("endless text", |_| vec![Say(b"+".to_vec()), Endless(b"x".to_vec())]),
        ("an endless error", |_| vec![Say(b"-ERR ".to_vec()), Endless(b"x".to_vec())]),
        ("an endless string", |_| vec![Say(b"$9999999999\r\n".to_vec()), Endless(b"x".to_vec())]),
        ("an endless array", |_| vec![Say(b"*2147483647\r\n".to_vec()), Endless(b"_\r\n".to_vec())]),
        ("endless pushes", |_| vec![Endless(b">2\r\n+invalidate\r\n_\r\n".to_vec())]),
    ];
    without_a_trace(|| {
        // One after another, because each of them keeps a processor busy.
        for (name, call) in CALLS {
            for (what, answer) in cases {
                let expected = (Timeout, true, ThrownAway);
                let outcome = after_some_attempts(expected, || {
                    let (kind, when, after) = outcome(call, *answer);
                    (kind, when <= WithinTwice, after)
                });
                assert_eq!(outcome, expected, "{name}: {what}");
            }
        }
    });
}

fn for_each_call(body: impl Fn(&str, Call) + Sync) {
    thread::scope(|scope| {
        for (name, call) in CALLS {
            let body = &body;
            scope.spawn(move || body(name, call));
        }
    });
}

#[test]
fn garbage() {
    // These say that more bytes follow, so the call waits for them.
    let incomplete: &[&[u8]] = &[
        b"$9999999999\r\n",
        b"$9223372036854775807\r\nx",
        b"*2147483647\r\n",
        b"*9223372036854775807\r\n:1\r\n",
        b"%4611686018427387903\r\n",
        b"|9223372036854775807\r\n",
        b"=-1\r\n",
        b"%-1\r\n",
        b"|-1\r\n",
        b"*1\r\n*4096\r\n*4096\r\n*2147483647\r\n",
        b"$5",
        b"+no end\r",
    ];
    let wrong: &[&[u8]] = &[
        b"$-1\r\n",
        b"$-9223372036854775808\r\n",
        b"$99999999999999999999\r\n",
        b"$\r\n\r\n",
        b"$3\r\nlonger\r\n",
        b"*-1\r\n",
        b"*-2147483648\r\n",
        b"*0\r\n",
        b"*x\r\n",
        b"*2\r\n-ERR inside\r\n+ok\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"~1\r\n+a\r\n",
        b"+PONG\r\n",
        b":1\r\n",
        b":1e9\r\n",
        b",inf\r\n",
        b"_\r\n",
        b"#t\r\n",
        b"#maybe\r\n",
        b"(12345678901234567890\r\n",
        b"=5\r\nhello\r\n",
        b"=9\r\ntxt:hello\r\n",
        b">1\r\n:1\r\n",
        b"+\xff\xfe\r\n",
        b"-\xff\xfe\r\n",
        b"$2\r\n\xff\xfe\r\n",
        b"*2\r\n$2\r\n\xff\xfe\r\n$2\r\nok\r\n",
        b"\0\0\0\0\r\n",
        b"\r\n",
        b"HTTP/1.1 400 Bad Request\r\nX: hunter2\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"hunter2\r\n",
        b"*1\r\nhunter2\r\n",
        b"$2\r\nhunter2\r\n",
        b"+hunter2\r\n",
        b",hunter2\r\n",
        b":hunter2\r\n",
    ];
    without_a_trace(|| {
        for_each_call(|name, call| {
            for text in incomplete {
                let outcome = after_some_attempts(TIMES_OUT, || outcome(call, |_| vec![Say(text.to_vec())]));
                assert_eq!(outcome, TIMES_OUT, "{name}: {}", text.escape_ascii());
            }
            for text in wrong {
                let outcome = after_some_attempts(NO_REPLY, || outcome(call, |request| say_to_all(request, text)));
                assert_eq!(outcome, NO_REPLY, "{name}: {}", text.escape_ascii());
            }
        });
    });
}

#[test]
fn what_redis_refuses() {
    let cases: &[(&[u8], StoreErrorKind, After)] = &[
        (b"-LOADING Redis is loading the dataset in memory\r\n", Unavailable, ThrownAway),
        (b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n", Unavailable, Reused),
        (b"-CLUSTERDOWN The cluster is down\r\n", Unavailable, Reused),
        (b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", Unavailable, Reused),
        (b"-ERR max number of clients reached\r\n", Unavailable, ThrownAway),
        (b"-READONLY You can't write against a read only replica.\r\n", Rejected, Reused),
        (b"-NOAUTH Authentication required.\r\n", Rejected, ThrownAway),
        (b"-WRONGPASS invalid username-password pair or user is disabled.\r\n", Rejected, Reused),
        (b"-NOPERM this user has no permissions to run the 'evalsha' command\r\n", Rejected, Reused),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", Rejected, Reused),
        (b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL.\r\n", Rejected, Reused),
        (b"-MISCONF Errors writing to the AOF file: No space left on device\r\n", Rejected, Reused),
        (b"-NOREPLICAS Not enough good replicas to write.\r\n", Rejected, Reused),
        (b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", Corrupt, Reused),
        (b"!56\r\nWRONGTYPE Operation against a key holding the wrong kind\r\n", Corrupt, Reused),
        (b"-NOSCRIPT No matching script. Please use EVAL.\r\n", Backend, ThrownAway),
        (b"-UNKILLABLE Sorry the script already executed write commands.\r\n", Backend, Reused),
        (b"-MOVED 3999 127.0.0.1:6381\r\n", Backend, Reused),
        (b"-ERR unknown command 'EVALSHA', with args beginning with: '1' 'hunter2' \r\n", Backend, Reused),
        (b"-ERR of two\nlines \x1b[2J\r\n", Backend, Reused),
        (b"-\r\n", Backend, Reused),
    ];
    without_a_trace(|| {
        for_each_call(|name, call| {
            for (text, kind, after) in cases {
                let expected = (*kind, AtOnce, *after);
                let outcome = after_some_attempts(expected, || outcome(call, |request| say_to_all(request, text)));
                assert_eq!(outcome, expected, "{name}: {}", text.escape_ascii());
            }
            let expected = (Backend, AtOnce, Reused);
            let long = || [b"-ERR ", &*vec![b'x'; 20_000], b"\r\n"].concat();
            assert_eq!(
                after_some_attempts(expected, || outcome(call, move |request| say_to_all(request, &long()))),
                expected,
                "{name}: a long text"
            );
        });
    });
}

#[test]
fn a_server_that_fails_before_the_first_call() {
    let full = b"-ERR max number of clients reached\r\n".to_vec();
    let at_connect: &[(&str, &[Act], StoreErrorKind, When)] = &[
        ("too many clients", &[Say(full), Close], Unavailable, AtOnce),
        ("closed", &[Close], Unavailable, AtOnce),
        ("no reading", &[Freeze], Timeout, AtTheDeadline),
    ];
    let at_login: &[(&str, Answer, StoreErrorKind, When)] = &[
        ("silence", |_| vec![], Timeout, AtTheDeadline),
        ("half a reply", |_| vec![Say(b"+O".to_vec())], Timeout, AtTheDeadline),
        ("a trickle", |_| vec![Trickle(b"+OK\r\n".to_vec(), DEADLINE * 9 / 10)], Timeout, AtTheDeadline),
        ("closed", |_| vec![Close], Unavailable, AtOnce),
        ("garbage", |_| vec![Say(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())], Unavailable, AtOnce),
        ("endless", |_| vec![Say(b"+".to_vec()), Endless(b"x".to_vec())], Timeout, AtTheDeadline),
        ("wrong", |_| vec![Say(b"-WRONGPASS invalid username-password pair\r\n".to_vec())], Rejected, AtOnce),
        ("loading", |_| vec![Say(b"-LOADING Redis is loading\r\n".to_vec())], Unavailable, AtOnce),
        (
            "unknown",
            |_| vec![Say(b"-ERR unknown command 'AUTH', with args beginning with: 'hunter2' \r\n".to_vec())],
            Backend,
            AtOnce,
        ),
    ];
    in_own_process(|| {
        let before = open_files_and_threads();
        let header = header();
        for_each_call(|name, call| {
            let try_it = |expected, start: &dyn Fn() -> Sick| {
                after_some_attempts(expected, || {
                    let sick = start();
                    let [impatient, patient] = with_password(&sick);
                    let fault = fault(|| call(&impatient, &header), &header);
                    sick.be_healthy();
                    patient.ping().unwrap();
                    fault
                })
            };
            for (what, acts, kind, when) in at_connect {
                let outcome = try_it((*kind, *when), &|| {
                    let sick = Sick::unix();
                    sick.at_connect(acts);
                    sick
                });
                assert_eq!(outcome, (*kind, *when), "{name}: {what}");
            }
            for (what, answer, kind, when) in at_login {
                let outcome = try_it((*kind, *when), &|| {
                    let sick = Sick::unix();
                    sick.answer(*answer);
                    sick
                });
                assert_eq!(outcome, (*kind, *when), "{name}: {what}");
            }
        });
        for domain in [Domain::UNIX, Domain::IPV4] {
            let (sick, waiting) = Sick::full(domain);
            assert!(!waiting.is_empty());
            let [impatient, _] = managers(sick.url());
            let expected = (Timeout, AtTheDeadline);
            assert_eq!(
                after_some_attempts(expected, || fault(|| impatient.ping(), &header)),
                expected,
                "a full queue: {domain:?}"
            );
        }
        until(|| open_files_and_threads() == before);
    });
}

#[test]
fn a_save_that_the_server_does_not_read_to_its_end() {
    const PART: usize = 100_000;
    const PAUSE: Duration = DEADLINE.checked_div(4).unwrap();
    let cases: &[(&str, Start, &[Act], StoreErrorKind, When)] = &[
        ("unix: no reading", Sick::unix, &[Freeze], Timeout, AtTheDeadline),
        ("unix: no more reading", Sick::unix, &[Read(PART), Freeze], Timeout, AtTheDeadline),
        ("unix: slow reading", Sick::unix, &[ReadSlowly(PART, PAUSE)], Timeout, AtTheDeadline),
        ("TCP: slow reading", Sick::tcp, &[ReadSlowly(PART, PAUSE)], Timeout, AtTheDeadline),
        ("unix: closed", Sick::unix, &[Read(PART), Close], Unavailable, AtOnce),
        ("TCP: no reading", Sick::tcp, &[Freeze], Timeout, AtTheDeadline),
        ("TCP: closed", Sick::tcp, &[Read(PART), Close], Unavailable, AtOnce),
        ("TCP: reset", Sick::tcp, &[Read(PART), Reset], Unavailable, AtOnce),
        (
            "TCP: an error, then closed",
            Sick::tcp,
            &[Read(PART), Say(b"-ERR no\r\n".to_vec()), Close],
            Unavailable,
            AtOnce,
        ),
    ];
    // More than the buffers of a socket hold.
    let value = SECRET.repeat(8_000_000 / SECRET.len());
    let header = header();
    for (what, start, acts, kind, when) in cases {
        let outcome = after_some_attempts((*kind, *when), || {
            let sick = start();
            sick.at_connect(acts);
            let [impatient, patient] = managers(sick.url());
            // It takes its time to make so much JSON, so it is done before the call.
            let mut session = impatient.load(None).unwrap();
            session.set("value", &value).unwrap();
            let fault = fault(|| session.save().map(drop), &header);
            sick.be_healthy();
            patient.ping().unwrap();
            fault
        });
        assert_eq!(outcome, (*kind, *when), "{what}");
    }
}

#[test]
fn a_record_that_makes_no_sense() {
    const FIELDS: &[&[&[u8]]] =
        &[&[b":a", b"\xff\xfe"], &[b":\xff", b"1"], &[b":a"], &[b":a", b"1", b":b"], &[b"a", b"1"], &[b":", b""]];
    let header = header();
    // What follows the nonce, and the outcome.
    let cases: &[(&[&[u8]], Outcome)] = &[
        (&[], NO_REPLY),
        (&[b":1\r\n"], NO_REPLY),
        (&[b"$2\r\n\xff\xfe\r\n"], NO_REPLY),
        (&[b"$7\r\ncorrupt\r\n"], (Corrupt, AtOnce, Reused)),
        (&[b"$2\r\nok\r\n"], (Corrupt, AtOnce, Reused)),
        (&[b"$3\r\nhmm\r\n"], (Corrupt, AtOnce, Reused)),
        (&[b"$2\r\nok\r\n", b"_\r\n", b"_\r\n", b":1\r\n"], (Corrupt, AtOnce, Reused)),
        (&[b"$2\r\nok\r\n", b"$7\r\nhunter2\r\n"], (Corrupt, AtOnce, Reused)),
    ];
    for (parts, expected) in cases {
        let answer = |request: &Request| {
            if request.name() == "HGETALL" {
                // The plain commands find a damaged record, so the script has to look at it.
                return vec![Say(request.load_reply(&array(&[bulk(b"s"), bulk(b"damaged")])))];
            }
            let mut reply = vec![bulk(request.nonce())];
            reply.extend(parts.iter().map(|part| part.to_vec()));
            vec![Say(array(&reply))]
        };
        let (_, load) = CALLS[0];
        assert_eq!(
            after_some_attempts(*expected, || outcome(load, answer)),
            *expected,
            "{}",
            parts.concat().escape_ascii()
        );
    }
    // Values that are not JSON, and the largest and smallest numbers. Whatever they lead to, nothing panics.
    let sick = Sick::unix();
    let managers =
        [Refresh::default(), Refresh::EveryLoad].map(|refresh| builder(sick.url()).refresh(refresh).build().unwrap());
    let far = u64::MAX;
    for fields in FIELDS {
        for info in [[far; 8], [0; 8], [1, far, far, far, far, 1, 1, far], [1, 1, 1, 1, 1, far, far, 1]] {
            sick.answer(move |request| {
                let mut fields: Vec<_> = fields.iter().map(|field| bulk(field)).collect();
                if request.name() != "HGETALL" {
                    let info = packed(&std::array::from_fn::<_, 8, _>(|at| (if at == 0 { 5 } else { 6 }, info[at])));
                    return vec![Say(array(&[bulk(request.nonce()), bulk(b"ok"), bulk(&info), array(&fields)]))];
                }
                let life: [(usize, u64); 5] = std::array::from_fn(|at| (6, info[at + 1]));
                let state = [packed(&[(5, info[0]), (8, far)]), packed(&life), packed(&[(7, 1), (8, far)])].concat();
                fields.extend([bulk(b"s"), bulk(&state)]);
                vec![Say(request.load_reply(&array(&fields)))]
            });
            for manager in &managers {
                let Ok(mut session) = manager.load(&header) else { continue };
                let _ = (session.created_at(), session.expires_at(), session.get::<u32>("a"), session.get::<u32>(""));
                session.increment("n", 1).unwrap();
                let _ = session.save();
                let _ = session.destroy();
            }
        }
    }
}

#[test]
fn what_is_announced_takes_no_memory_before_it_comes() {
    const MB: usize = 1 << 10; // of kilobytes
    let announced: &[&[u8]] = &[
        b"$9999999999\r\nx",
        b"=9999999999\r\nx",
        b"!9999999999\r\nx",
        b"*2147483647\r\n:1\r\n",
        b"~2147483647\r\n:1\r\n",
        b"%2147483647\r\n:1\r\n",
        b"|2147483647\r\n:1\r\n",
        b">2147483647\r\n:1\r\n",
        b"*1000000000\r\n*1000000000\r\n*1000000000\r\n*1000000000\r\n",
    ];
    let endless: &[(&[u8], &[u8], usize)] = &[
        (b"", b">2\r\n+invalidate\r\n:1\r\n", 16 * MB),
        (b"", b"*2147483647\r\n", 16 * MB),
        // These bytes are kept, but only until the deadline.
        (b"+", b"x", 1024 * MB),
        (b"$9999999999\r\n", b"x", 1024 * MB),
        (b"*2147483647\r\n", b"_\r\n", 1024 * MB),
    ];
    in_own_process(|| {
        let header = header();
        let grows_by = |acts: Vec<Act>| {
            let sick = Sick::unix();
            let [impatient, patient] = managers(sick.url());
            patient.ping().unwrap();
            sick.answer(move |_| acts.clone());
            let before = most_memory();
            fault(|| impatient.ping(), &header);
            most_memory() - before
        };
        grows_by(vec![Endless(b"?\r\n".to_vec())]);
        for text in announced {
            let growth = grows_by(vec![Say(text.to_vec())]);
            assert!(growth < 16 * MB, "{growth} kB: {}", text.escape_ascii());
        }
        for (start, more, most) in endless {
            let growth = grows_by(vec![Say(start.to_vec()), Endless(more.to_vec())]);
            assert!(growth < *most, "{growth} kB: {} {}", start.escape_ascii(), more.escape_ascii());
        }
    });
}

/// The most memory that this process has used so far, in kilobytes.
fn most_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is listed");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_reply_that_comes_late_is_no_later_calls() {
    without_a_trace(|| {
        let sick = Sick::unix();
        let [impatient, patient] = managers(sick.url());
        let headers = [(), ()].map(|()| header());
        // The value of a record is its key: see `right_reply`.
        let is_its_own = |header: &str| {
            let session = patient.load(header).unwrap();
            let key = session.get::<String>("key").unwrap().expect("it is there");
            assert_eq!(key, format!("mps:{}", session.public_id()));
            key
        };
        let [one, two] = [is_its_own(&headers[0]), is_its_own(&headers[1])];
        assert_ne!(one, two);
        assert_eq!(sick.accepted(), 1, "every call takes the connection of the one before it");
        let sockets = open_sockets().len();
        for _ in 0..4 {
            let (late, now) = (one.clone(), Arc::new(AtomicBool::new(false)));
            let until = now.clone();
            answer_with(&sick, move |request| match request.key() == late {
                true => vec![Hold(until.clone()), Say(request.right_reply())],
                false => vec![Say(request.right_reply())],
            });
            assert_eq!(fault(|| impatient.load(&headers[0]).map(drop), &headers[0]).0, Timeout);
            // Now the reply comes, while another call waits for its own.
            now.store(true, Ordering::SeqCst);
            is_its_own(&headers[1]);
            is_its_own(&headers[0]);
            // There are two replies to one request. The second one does not belong to any call.
            answer_with(&sick, |request| vec![Say(request.right_reply().repeat(2))]);
            is_its_own(&headers[0]);
            sick.be_healthy();
            is_its_own(&headers[1]);
            is_its_own(&headers[0]);
        }
        until(|| open_sockets().len() == sockets);
    });
}
