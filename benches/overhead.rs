//! Measures how much time the library adds to a bare call of the same script through `r2d2` and `redis`.
//!
//! `cargo bench --all-features --bench overhead` prints criterion's figures and then, from calls made by turns in one
//! run, the library's own share of a round trip. It starts a Redis of its own on a unix socket.

#![allow(missing_docs)]

mod support;

use criterion::Criterion;
use multi_process_session::SessionManager;
use redis::{Cmd, ConnectionLike, Value};
use std::hint::black_box;
use std::time::{Duration, Instant};
use support::is_measured;
use support::redis::Redis;
use support::{manager, session_with};

const LOAD: &[&str] = &[
    include_str!("../src/store/redis/scripts/prelude.lua"),
    include_str!("../src/store/redis/scripts/shared/record.lua"),
    include_str!("../src/store/redis/scripts/record_load.lua"),
];
const UPDATE: &[&str] = &[
    include_str!("../src/store/redis/scripts/prelude.lua"),
    include_str!("../src/store/redis/scripts/shared/record.lua"),
    include_str!("../src/store/redis/scripts/shared/change.lua"),
    include_str!("../src/store/redis/scripts/shared/group.lua"),
    include_str!("../src/store/redis/scripts/shared/integer.lua"),
    include_str!("../src/store/redis/scripts/record_update.lua"),
];
const VALUES: [(&str, &str); 5] =
    [("user", "ada"), ("name", "Ada Lovelace"), ("cart", "three apples"), ("theme", "dark"), ("language", "en")];

/// Refresh interval, idle timeout, no absolute timeout: the default settings.
const SETTINGS: [&str; 3] = ["60000", "604800000", ""];

/// The pool as most applications set it up, but without the PING at each checkout.
struct Bare {
    pool: r2d2::Pool<Connections>,
    key: String,
    calls: u64,
}

struct Connections(redis::Client);

impl r2d2::ManageConnection for Connections {
    type Connection = redis::Connection;
    type Error = redis::RedisError;

    fn connect(&self) -> Result<redis::Connection, redis::RedisError> {
        let connection = self.0.get_connection()?;
        connection.set_read_timeout(Some(Duration::from_secs(2)))?;
        connection.set_write_timeout(Some(Duration::from_secs(2)))?;
        Ok(connection)
    }

    fn is_valid(&self, connection: &mut redis::Connection) -> Result<(), redis::RedisError> {
        redis::cmd("PING").exec(connection)
    }

    fn has_broken(&self, connection: &mut redis::Connection) -> bool {
        !connection.is_open()
    }
}

impl Bare {
    fn new(redis: &Redis) -> Bare {
        let client = redis::Client::open(redis.url()).expect("a URL");
        let pool = r2d2::Pool::builder().max_size(8).test_on_check_out(false).build(Connections(client));
        Bare { pool: pool.expect("the server answers"), key: redis.keys().remove(0), calls: 0 }
    }

    fn call(&mut self, hash: &str, arguments: &[&str]) -> Value {
        self.calls += 1;
        let mut connection = self.pool.get().expect("a connection");
        let mut command = Cmd::new();
        command.arg("EVALSHA").arg(hash).arg(2).arg("mps:generation").arg(&self.key);
        command.arg(&self.calls.to_be_bytes()).arg(&SETTINGS).arg(arguments);
        command.query(&mut *connection).expect("an answer")
    }

    fn load(&mut self, hash: &str) -> Value {
        self.call(hash, &[""])
    }

    fn save(&mut self, hash: &str) -> Value {
        let json = self.calls.to_string();
        let conditions = ["", "0", "", "", "", "1000", "1048576"];
        let no_new_id = ["", "3600000", "0", "", "", "60000"];
        let changes = ["", "0", "1", ":changed", &json, "0", "0"];
        self.call(hash, &[&conditions[..], &no_new_id, &changes].concat())
    }
}

/// Gives the hash of a script that the library has called already. Redis knows only such scripts.
fn hash(texts: &[&str]) -> String {
    redis::Script::new(&texts.join("\n")).get_hash().to_owned()
}

fn main() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let header = session_with(&manager, &VALUES);
    let mut session = manager.load(&header).unwrap();
    session.set("changed", &0).unwrap();
    session.save().unwrap();
    let (load, update) = (hash(LOAD), hash(UPDATE));
    let mut bare = Bare::new(&redis);
    for reply in [bare.load(&load), bare.save(&update)] {
        assert!(matches!(reply, Value::Array(parts) if parts[1] == Value::BulkString(b"ok".to_vec())));
    }

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("load of 5 values");
    group.bench_function("bare", |bencher| bencher.iter(|| bare.load(&load)));
    group.bench_function("library", |bencher| bencher.iter(|| manager.load(&header).unwrap()));
    group.finish();
    let mut group = criterion.benchmark_group("save of one change");
    group.bench_function("bare", |bencher| bencher.iter(|| bare.save(&update)));
    let mut session = manager.load(&header).unwrap();
    let mut count = 0;
    group.bench_function("library", |bencher| {
        bencher.iter(|| {
            count += 1;
            session.set("changed", &count).unwrap();
            session.save().unwrap()
        })
    });
    group.finish();
    let mut group = criterion.benchmark_group("without a round trip");
    group.bench_function("no cookie", |bencher| bencher.iter(|| manager.load(None).unwrap()));
    let forged = format!("{}_", &header[..header.len() - 1]);
    group.bench_function("a forged cookie", |bencher| bencher.iter(|| manager.load(&forged).unwrap()));
    group.finish();
    criterion.final_summary();

    if is_measured() {
        shares(&manager, &header, &mut bare, &load, &update);
    }
}

/// Compares calls that are made by turns, so that other load on the machine affects both in the same way.
fn shares(manager: &SessionManager, header: &str, bare: &mut Bare, load: &str, update: &str) {
    share("load of 5 values", || drop(black_box(bare.load(load))), || drop(black_box(manager.load(header).unwrap())));
    let mut session = manager.load(header).unwrap();
    let mut count = 0;
    share(
        "save of one change",
        || drop(black_box(bare.save(update))),
        || {
            count += 1;
            session.set("changed", &count).unwrap();
            assert!(session.save().unwrap().is_none());
        },
    );
}

fn share(what: &str, mut bare: impl FnMut(), mut library: impl FnMut()) {
    fn time(call: &mut impl FnMut()) -> Duration {
        let start = Instant::now();
        call();
        start.elapsed()
    }
    let (mut bares, mut libraries): (Vec<_>, Vec<_>) =
        (0..20_000).map(|_| (time(&mut bare), time(&mut library))).unzip();
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (bare, library) = (median(&mut bares), median(&mut libraries));
    let ratio = library.as_secs_f64() / bare.as_secs_f64();
    println!("{what}: bare {bare:?}, library {library:?}: {:+.1} %", (ratio - 1.0) * 100.0);
}
