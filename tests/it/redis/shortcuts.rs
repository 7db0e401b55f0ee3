//! Shortcuts: a load by plain commands and a quick update answer and store what the long way does.

use crate::redis::damaged_records::{FIELDS, GARBAGE};
use crate::support::place::Place;
use crate::support::redis::Redis;
use crate::support::{builder, cookie, login, rotate, session_with};
use ::redis::{Cmd, cmd};
use multi_process_session::store::{
    Call, Cleared, Created, GroupKey, GroupUpdate, Lifetime, Loaded, NewRecord, Record, RecordInfo, RecordKey, Refusal,
    Store, Update, Updated, Values,
};
use multi_process_session::{
    EndReason, Error, PublicId, RedisStore, Refresh, Session, SessionInfo, SessionManager, SessionManagerBuilder,
    StoreError,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::{Duration, SystemTime};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const GRACE: Duration = Duration::from_secs(5 * 60);

/// Makes each call in both ways, and fails if the answers differ.
#[derive(Debug)]
struct BothWays {
    short: RedisStore,
    /// Takes the long way on the server of `short`. It only loads.
    long: RedisStore,
    /// Makes all calls once more on a server of its own, and takes the long way.
    elsewhere: Option<RedisStore>,
}

impl BothWays {
    fn new(redis: &Redis, elsewhere: Option<&Redis>) -> BothWays {
        let long_way = |redis: &Redis| {
            // Whoever may not use ECHO cannot load by plain commands.
            redis.run::<()>(&["ACL", "SETUSER", "long", "on", ">password", "~*", "+@all", "-echo"]);
            RedisStore::new(&format!("{}?user=long&pass=password", redis.url())).unwrap()
        };
        let short = RedisStore::new(&redis.url()).unwrap();
        BothWays { short, long: long_way(redis), elsewhere: elsewhere.map(long_way) }
    }

    /// Makes the call elsewhere too. Fails if that answer differs from this one in more than its times.
    fn compare<A, E: Debug>(
        &self,
        answer: Result<A, E>,
        text: impl Fn(&A) -> String,
        call: impl FnOnce(&RedisStore) -> Result<A, E>,
    ) -> Result<A, E> {
        if let Some(elsewhere) = &self.elsewhere {
            let without_times = |answer: Result<&A, &E>| answer.map(&text).map_err(|error| format!("{error:?}"));
            assert_eq!(without_times(answer.as_ref()), without_times(call(elsewhere).as_ref()));
        }
        answer
    }
}

fn info(info: &RecordInfo) -> String {
    let of_login = (info.joined_at.is_some(), info.ends_at.is_some());
    let own = (info.has_own_idle_timeout, info.persistent);
    format!("{} {:?} {of_login:?} {own:?}", info.version, info.idle_timeout)
}

fn record(loaded: &Loaded) -> String {
    let Loaded::Record(record) = loaded else { return format!("{loaded:?}") };
    let Record { info: of_record, values, group_name, group_values, refreshed, forwarded_to } = record;
    format!("{} {values:?} {group_name:?} {group_values:?} {refreshed} {forwarded_to:?}", info(of_record))
}

/// The answer to a load, for one that is made a moment later: all of it, except how long the session still lives.
fn loaded(answer: &Result<Loaded, StoreError>) -> String {
    match answer {
        Ok(Loaded::Record(found)) => {
            let times = RecordInfo { expires_in: Duration::ZERO, ..found.info.clone() };
            format!("{times:?} {}", record(&Loaded::Record(found.clone())))
        }
        answer => format!("{answer:?}"),
    }
}

impl Store for BothWays {
    fn create(&self, key: &RecordKey<'_>, record: &NewRecord<'_>, call: &Call) -> Result<Created, Refusal> {
        let text = |created: &Created| format!("{} {:?}", info(&created.info), created.ended);
        self.compare(self.short.create(key, record, call), text, |store| store.create(key, record, call))
    }

    fn peek(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError> {
        let short = self.short.peek(key, lifetime, call);
        let [one, other] = [&short, &self.long.peek(key, lifetime, call)].map(|answer| match answer {
            // A life that is too long is cut to a full one from the moment of the call.
            Ok(Loaded::Record(found)) => {
                let expires_at = found.info.expires_at;
                let info = RecordInfo { expires_at: SystemTime::UNIX_EPOCH, ..found.info.clone() };
                (loaded(&Ok(Loaded::Record(Record { info, ..found.clone() }))), expires_at)
            }
            answer => (format!("{answer:?}"), SystemTime::UNIX_EPOCH),
        });
        assert_eq!(one.0, other.0, "{key:?}");
        let apart = one.1.duration_since(other.1).unwrap_or_else(|error| error.duration());
        assert!(apart < Duration::from_secs(10), "{key:?}: {apart:?}");
        let ids = self.present_ids(&[*key], lifetime, call).unwrap();
        if let Ok(loaded) = &short {
            let id = loaded.clone().record().map(|record| record.forwarded_to.unwrap_or(key.id));
            assert_eq!(ids, [id], "{key:?}");
        }
        self.compare(short, record, |store| store.peek(key, lifetime, call))
    }

    fn present_ids(
        &self,
        keys: &[RecordKey<'_>],
        lifetime: &Lifetime,
        call: &Call,
    ) -> Result<Vec<Option<PublicId>>, StoreError> {
        self.short.present_ids(keys, lifetime, call)
    }

    fn load(&self, key: &RecordKey<'_>, lifetime: &Lifetime, call: &Call) -> Result<Loaded, StoreError> {
        let _ = self.peek(key, lifetime, call);
        let short = self.short.load(key, lifetime, call);
        // The script has refreshed the session. After that, there is nothing to compare.
        if !matches!(&short, Ok(Loaded::Record(record)) if record.refreshed) {
            assert_eq!(loaded(&short), loaded(&self.long.load(key, lifetime, call)), "{key:?}");
        }
        self.compare(short, record, |store| store.load(key, lifetime, call))
    }

    fn update(&self, key: &RecordKey<'_>, update: &Update<'_>, call: &Call) -> Result<Updated, Refusal> {
        let mut without_copy = *update;
        without_copy.known = None;
        let text = |updated: &Updated| {
            let Updated { totals, forwarded_to, ended, .. } = updated;
            format!("{} {totals:?} {forwarded_to:?} {ended:?}", info(&updated.info))
        };
        self.compare(self.short.update(key, update, call), text, |store| store.update(key, &without_copy, call))
    }

    fn delete(&self, key: &RecordKey<'_>, reason: EndReason, call: &Call) -> Result<Option<PublicId>, StoreError> {
        let text = |ended: &Option<PublicId>| format!("{ended:?}");
        self.compare(self.short.delete(key, reason, call), text, |store| store.delete(key, reason, call))
    }

    fn group_sessions(&self, group: &GroupKey<'_>, keys: &[&str], call: &Call) -> Result<Vec<SessionInfo>, StoreError> {
        self.short.group_sessions(group, keys, call)
    }

    fn group_len(&self, group: &GroupKey<'_>, call: &Call) -> Result<usize, StoreError> {
        self.short.group_len(group, call)
    }

    fn clear_group(&self, group: &GroupKey<'_>, except: Option<PublicId>, call: &Call) -> Result<Cleared, StoreError> {
        let answer = self.short.clear_group(group, except, call);
        let text = |cleared: &Cleared| format!("{} {:?}", cleared.number, cleared.ids.iter().collect::<BTreeSet<_>>());
        self.compare(answer, text, |store| store.clear_group(group, except, call))
    }

    fn group_values(&self, group: &GroupKey<'_>, call: &Call) -> Result<Values, StoreError> {
        self.short.group_values(group, call)
    }

    fn update_group(&self, group: &GroupKey<'_>, update: &GroupUpdate<'_>, call: &Call) -> Result<(), Refusal> {
        self.compare(
            self.short.update_group(group, update, call),
            |()| String::new(),
            |store| store.update_group(group, update, call),
        )
    }

    fn clear_namespace(&self, namespace: &str, call: &Call) -> Result<(), StoreError> {
        self.short.clear_namespace(namespace, call)
    }

    fn ping(&self, call: &Call) -> Result<(), StoreError> {
        self.short.ping(call)
    }
}

/// What is stored, without the times, which differ between two servers: fields of records, and members of groups.
fn stored(redis: &Redis) -> BTreeMap<String, Vec<(String, Vec<u8>)>> {
    let of_key = |key: String| {
        let fields = match &*redis.run::<String>(&["TYPE", &key]) {
            "hash" => redis.record(&key).into_iter().collect(),
            _ => redis.members(&key).into_iter().map(|id| (id, Vec::new())).collect::<Vec<_>>(),
        };
        let without_times = |(field, value): (String, Vec<u8>)| {
            let kept = match &*field {
                // Version, flags and size; idle timeout; nonce.
                "s" => [&value[..13], &value[37..43], &value[50..]].concat(),
                "g" => value[6..].to_vec(),
                "b" | "u" | "began" | "cleared" | "l" | "o" => Vec::new(),
                _ => value,
            };
            (field, kept)
        };
        (key, fields.into_iter().map(without_times).collect())
    };
    redis.all_keys().into_iter().map(of_key).collect()
}

#[derive(Clone, Debug)]
enum Op {
    Load { cookie: usize },
    Peek { cookie: usize },
    Set { key: usize, json: &'static str },
    Increment { key: usize, by: i64 },
    Remove { key: usize },
    Clear,
    SetIdleTimeout,
    RememberMe { ticked: bool },
    Regenerate { with_grace: bool },
    Join,
    Leave,
    Save,
    ClearOthers,
    SetInGroup { key: usize },
    LetTimePass { minutes: u32 },
}

const KEYS: [&str; 4] = ["a", "b", "c", "\u{e9}"];
const HANDLES: usize = 2;

fn op() -> impl Strategy<Value = (usize, Op)> {
    let json = prop::sample::select(vec!["1", "-7", "\"long enough\"", "9223372036854775807", "[1,2]", "null"]);
    let by = prop::sample::select(vec![1, -1, 1000, i64::MAX, i64::MIN]);
    let key = 0..KEYS.len();
    let op = prop_oneof![
        6 => (0..6_usize).prop_map(|cookie| Op::Load { cookie }),
        2 => (0..6_usize).prop_map(|cookie| Op::Peek { cookie }),
        1 => any::<bool>().prop_map(|ticked| Op::RememberMe { ticked }),
        1 => key.clone().prop_map(|key| Op::SetInGroup { key }),
        6 => (key.clone(), json).prop_map(|(key, json)| Op::Set { key, json }),
        4 => (key.clone(), by).prop_map(|(key, by)| Op::Increment { key, by }),
        3 => key.prop_map(|key| Op::Remove { key }),
        1 => Just(Op::Clear),
        1 => Just(Op::SetIdleTimeout),
        2 => any::<bool>().prop_map(|with_grace| Op::Regenerate { with_grace }),
        1 => Just(Op::Join),
        1 => Just(Op::Leave),
        12 => Just(Op::Save),
        1 => Just(Op::ClearOthers),
        2 => prop::sample::select(vec![1, 2, 31, 50]).prop_map(|minutes| Op::LetTimePass { minutes }),
    ];
    (0..HANDLES, op)
}

#[test]
fn whatever_happens_both_ways_answer_and_store_the_same() {
    let places = [Place::redis(), Place::redis()];
    let redis = [&places[0], &places[1]].map(|place| match place {
        Place::Redis(redis) => redis,
        _ => unreachable!("it is Redis"),
    });
    for refresh in [Refresh::default(), Refresh::Never] {
        let both_ways = BothWays::new(redis[0], Some(redis[1]));
        let manager =
            builder("memory:").store(both_ways).refresh(refresh).idle_timeout(HOUR).absolute_timeout(3 * HOUR);
        let manager = manager.max_session_bytes(60).max_session_keys(3).build().unwrap();
        let config = ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(ops in prop::collection::vec(op(), 1..60))| {
            redis.iter().for_each(|redis| redis.run::<()>(&["FLUSHALL"]));
            let mut handles: Vec<Session> = (0..HANDLES).map(|_| manager.load(None).unwrap()).collect();
            let mut cookies = Vec::new();
            for (handle, op) in ops {
                step(&manager, &mut handles[handle], &mut cookies, &op, &places);
                prop_assert_eq!(stored(redis[0]), stored(redis[1]), "after {:?}", op);
            }
        });
    }
}

fn step(manager: &SessionManager, session: &mut Session, cookies: &mut Vec<String>, op: &Op, places: &[Place; 2]) {
    match *op {
        Op::Load { cookie } => *session = manager.load(cookies.get(cookie).map(String::as_str)).unwrap(),
        Op::Peek { cookie } => *session = manager.peek(cookies.get(cookie).map(String::as_str)).unwrap(),
        Op::Set { key, json } => {
            session.set(KEYS[key], &serde_json::from_str::<serde_json::Value>(json).unwrap()).unwrap();
        }
        Op::Increment { key, by } => drop(session.increment(KEYS[key], by)),
        Op::Remove { key } => drop(session.remove(KEYS[key])),
        Op::Clear => session.clear(),
        Op::SetIdleTimeout => session.set_idle_timeout(2 * HOUR),
        Op::RememberMe { ticked } => session.remember_me(ticked.then_some(2 * HOUR)),
        Op::Regenerate { with_grace: true } => session.regenerate_with_grace(GRACE),
        Op::Regenerate { with_grace: false } => session.regenerate(),
        Op::Join => session.set_group_name("ada"),
        Op::Leave => session.leave_group(),
        Op::Save => match session.save() {
            Ok(set_cookie) => cookies.extend(set_cookie.iter().map(cookie)),
            Err(Error::Store(error)) => panic!("{error}"),
            Err(_) => *session = manager.load(cookies.last().map(String::as_str)).unwrap(),
        },
        Op::SetInGroup { key } => manager.group("ada").set_value(KEYS[key], &1).unwrap(),
        Op::ClearOthers => drop(manager.group("ada").clear_except(session).unwrap()),
        Op::LetTimePass { minutes } => {
            places.iter().for_each(|place| place.let_time_pass_for_all(minutes * MINUTE + Duration::from_secs(5)));
        }
    }
}

/// Makes sessions of all kinds, and gives their `Cookie` headers.
fn sessions(manager: &SessionManager, place: &Place) -> Vec<String> {
    let left = login(manager, "ada");
    let mut session = manager.load(&left).unwrap();
    session.leave_group();
    let left = cookie(&session.save().unwrap().unwrap());
    let own = session_with(manager, &[("a", "1")]);
    let mut session = manager.load(&own).unwrap();
    session.set_idle_timeout(500 * HOUR);
    session.save().unwrap();
    place.let_time_pass_for_all(MINUTE / 4);
    let (old, ended) = (login(manager, "ada"), session_with(manager, &[("a", "1")]));
    let new = rotate(manager, &old, GRACE);
    let _ = manager.destroy(&ended).unwrap();
    vec![left, own, old, new, ended, session_with(manager, &[("a", "1"), ("b", "2")])]
}

#[test]
fn whatever_is_damaged_both_ways_load_the_same() {
    let place = Place::redis();
    let Place::Redis(redis) = &place else { unreachable!("it is Redis") };
    // No refresh comes due while the test runs.
    let with = |builder: SessionManagerBuilder, refresh| {
        builder.idle_timeout(1000 * HOUR).absolute_timeout(2000 * HOUR).refresh(refresh).build().unwrap()
    };
    let headers = sessions(&with(builder(&redis.url()), Refresh::After(HOUR)), &place);
    let managers = [Refresh::After(HOUR), Refresh::Never]
        .map(|refresh| with(builder("memory:").store(BothWays::new(redis, None)), refresh));
    let connection = &mut redis.connect();
    for key in redis.records_and_left_overs() {
        let dump: Vec<u8> = redis.run(&["DUMP", &key]);
        let left: i64 = redis.run(&["PTTL", &key]);
        let mut check = |damage: &mut Cmd| {
            damage.exec(connection).unwrap();
            for (manager, header) in managers.iter().flat_map(|manager| headers.iter().map(move |id| (manager, id))) {
                // Only whether both ways give the same answer matters.
                let _ = manager.load(header);
            }
            cmd("RESTORE").arg(&key).arg(left).arg(&dump).arg("REPLACE").exec(connection).unwrap();
        };
        check(cmd("PERSIST").arg(&key));
        for (field, value) in redis.record(&key) {
            check(cmd("HDEL").arg(&key).arg(&field));
            for at in 0..value.len() {
                for byte in [value[at].wrapping_add(1), 0xff] {
                    let damaged = [&value[..at], &[byte], &value[at + 1..]].concat();
                    check(cmd("HSET").arg(&key).arg(&field).arg(damaged));
                }
            }
            for damaged in [&value[..value.len() - 1], &[&value, &b"x"[..]].concat()] {
                check(cmd("HSET").arg(&key).arg(&field).arg(damaged));
            }
        }
        for field in FIELDS.into_iter().chain([":", ":\u{e9}", "\u{e9}"]) {
            for garbage in GARBAGE.into_iter().map(str::as_bytes).chain([&b"+5"[..], b"123456\xff"]) {
                check(cmd("HSET").arg(&key).arg(field).arg(garbage));
            }
        }
    }
}
