//! Sessions that an earlier version has stored can be read, changed and ended.
//!
//! `tests/fixtures/<version>/` holds a SQLite file, and a list of commands that make the keys of Redis. Each has a list
//! of its facts: the cookies of its sessions, form tokens, and times. If a change makes these tests fail, an update to
//! that version logs everybody out.
//!
//! A new version that stores sessions in another way needs fixtures of its own. The old ones stay, for as long as the
//! new version is to read them. To store fixtures in the present format, set `PRESENT`, add the tests for it, and run
//! `cargo test --all-features --test it -- fixtures`. A folder that exists is not overwritten.

use crate::support::cookie;
use crate::support::place::Place;
use crate::support::redis::Redis;
use crate::support::wait::next_millisecond;
use multi_process_session::store::Store;
use multi_process_session::{
    Error, RedisStore, Secret, Session, SessionInfo, SessionManager, SessionManagerBuilder, SqliteStore,
};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The version that has the present format.
const PRESENT: &str = "0.1";
const SECRET: &str = "the secret of all fixtures, which never changes";

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The timeouts of all sessions. Redis takes the time from the machine, and there they live until 2074.
const LONG: Duration = Duration::from_secs(50 * 365 * 24 * 60 * 60);
/// Stands for the end of a grace in the commands for Redis. The tests put a time there that is a few minutes ahead.
const IN_GRACE: &str = "IN-GRACE";
/// When the first session of the SQLite file was created, by the clock of the test: 2026-01-01.
const START: Duration = Duration::from_secs(1_767_225_600);

const ADA: &str = "ada \u{1F980}";

macro_rules! tests_of {
    ($module:ident, $stored:expr) => {
        tests_of! { $module, $stored,
            the_values_of_a_session_are_read
            a_session_is_changed
            the_size_of_a_session_is_known
            a_session_knows_its_group_and_its_times
            a_group_is_listed
            a_group_can_end
            all_but_one_session_of_a_group_can_end
            the_session_that_joined_first_makes_room
            a_session_gets_a_new_id
            a_session_is_ended
            an_ended_session_stays_ended
            an_old_id_leads_to_its_session_in_its_grace
            a_grace_that_has_ended_stays_ended
            an_old_id_ends_its_session
            form_tokens_of_the_present_id_and_of_an_old_one_are_valid
            a_flash_message_is_taken_once
            the_first_load_confirms_a_session
            an_idle_timeout_of_its_own_outlasts_stricter_settings
            the_absolute_timeout_began_with_the_login
            all_sessions_can_be_ended
        }
    };
    ($module:ident, $stored:expr, $($test:ident)+) => {
        mod $module {
            use super::{Stored, folder};
            $(
                #[test]
                fn $test() {
                    super::$test(&$stored);
                }
            )+
        }
    };
}

tests_of!(sqlite_0_1, Stored::sqlite(&folder("0.1")));
tests_of!(redis_0_1, Stored::redis(&folder("0.1")));

// ---- The tests ----

fn the_values_of_a_session_are_read(stored: &Stored) {
    let session = stored.load("plain");
    assert_eq!(session.keys(), ["", "cart", "nothing", "text", "visits"]);
    assert_eq!(session.get::<String>("").unwrap().unwrap(), "the key is empty");
    assert_eq!(session.get::<Vec<(String, f64)>>("cart").unwrap().unwrap(), [("apple".to_owned(), 1.5)]);
    assert_eq!(session.get::<Option<bool>>("nothing").unwrap(), Some(None));
    assert_eq!(session.get::<String>("text").unwrap().unwrap(), "Gr\u{fc}\u{df}e \u{1F980}");
    assert_eq!(session.get::<i64>("visits").unwrap(), Some(17));
}

fn a_session_is_changed(stored: &Stored) {
    for name in ["plain", "ada"] {
        let mut session = stored.load(name);
        session.increment("visits", 2).unwrap();
        session.set("text", "new").unwrap();
        session.remove("cart");
        session.save().unwrap();
        let session = stored.load(name);
        assert_eq!(session.get::<i64>("visits").unwrap(), Some(19));
        assert_eq!(session.get::<String>("text").unwrap().unwrap(), "new");
        assert!(!session.contains_key("cart"));
    }
}

fn the_size_of_a_session_is_known(stored: &Stored) {
    let sizes = stored.load("plain");
    let json = ["\"the key is empty\"", "[[\"apple\",1.5]]", "null", "\"Gr\u{fc}\u{df}e \u{1F980}\"", "17"];
    let bytes = sizes.keys().concat().len() + json.concat().len();
    let refusal = |manager: SessionManager| {
        let mut session = manager.load(stored.fact("plain")).unwrap();
        session.set("b", &1).unwrap();
        match session.save() {
            Err(Error::TooLarge { size, .. }) => size,
            other => panic!("expected a refusal, got {other:?}"),
        }
    };
    let one_more = "b1".len();
    assert_eq!(refusal(stored.settings().max_session_bytes(bytes + one_more - 1).build().unwrap()), bytes + one_more);
    assert_eq!(refusal(stored.settings().max_session_keys(5).build().unwrap()), 6);
}

fn a_session_knows_its_group_and_its_times(stored: &Stored) {
    let session = stored.load("ada");
    assert_eq!(session.group_name(), Some(ADA));
    assert_eq!(session.created_at(), Some(stored.time("created")));
    assert_eq!(session.authenticated_at(), Some(stored.time("joined")));
    let session = stored.load("plain");
    assert_eq!((session.group_name(), session.authenticated_at()), (None, None));
    let session = stored.load("left");
    assert_eq!((session.group_name(), session.authenticated_at()), (None, None));
}

fn a_group_is_listed(stored: &Stored) {
    let group = stored.manager.group(ADA);
    assert_eq!(group.len().unwrap(), 2);
    let mut sessions = group.sessions_with(&["device", "missing"]).unwrap();
    let device = |session: &SessionInfo| session.get::<String>("device").unwrap().unwrap();
    sessions.sort_by_key(device);
    assert_eq!(sessions.iter().map(device).collect::<Vec<_>>(), ["laptop", "tablet"]);
    assert_eq!(sessions[0].public_id(), stored.load("ada").public_id());
    assert_eq!(sessions[0].created_at(), stored.time("created"));
    assert_eq!(sessions[0].joined_at(), stored.time("joined"));
    assert_eq!(sessions[1].public_id(), stored.load("tablet").public_id());
}

fn a_group_can_end(stored: &Stored) {
    assert_eq!(stored.manager.group(ADA).clear().unwrap(), 2);
    for name in ["ada", "ada_before", "tablet"] {
        assert!(!stored.is_alive(name), "{name}");
    }
    for name in ["plain", "left", "spared"] {
        assert!(stored.is_alive(name), "{name}");
    }
}

fn all_but_one_session_of_a_group_can_end(stored: &Stored) {
    let group = stored.manager.group(ADA);
    assert_eq!(group.clear_except(&stored.load("ada")).unwrap(), 1);
    assert!(stored.is_alive("ada"));
    assert!(!stored.is_alive("tablet") && !stored.is_alive("ada_before"));
}

fn the_session_that_joined_first_makes_room(stored: &Stored) {
    let limited = stored.settings().max_sessions_per_group(2).build().unwrap();
    let mut session = limited.load(None).unwrap();
    session.set_group_name(ADA);
    session.save().unwrap();
    assert!(!stored.is_alive("ada"));
    assert!(stored.is_alive("tablet"));
}

fn a_session_gets_a_new_id(stored: &Stored) {
    for name in ["plain", "ada", "left", "renewed"] {
        let mut session = stored.load(name);
        session.set_group_name("grace");
        let header = cookie(&session.save().unwrap().expect("a new id needs a cookie"));
        assert!(!stored.is_alive(name), "{name}");
        assert_eq!(stored.manager.load(&header).unwrap().group_name(), Some("grace"), "{name}");
    }
    assert_eq!(stored.manager.group("grace").len().unwrap(), 4);
    assert_eq!(stored.manager.group(ADA).len().unwrap(), 1);
}

fn a_session_is_ended(stored: &Stored) {
    for name in ["plain", "ada", "left", "unconfirmed"] {
        let removal = stored.load(name).destroy().unwrap();
        assert!(removal.is_some(), "{name}");
        assert!(!stored.is_alive(name), "{name}");
    }
    assert_eq!(stored.manager.group(ADA).len().unwrap(), 1);
    let _ = stored.manager.destroy(stored.fact("tablet")).unwrap();
    assert!(!stored.is_alive("tablet"));
    assert_eq!(stored.manager.group(ADA).len().unwrap(), 0);
}

fn an_ended_session_stays_ended(stored: &Stored) {
    assert!(!stored.is_alive("ended"));
}

fn an_old_id_leads_to_its_session_in_its_grace(stored: &Stored) {
    let mut session = stored.load("ada_before");
    assert_eq!(session.public_id(), stored.load("ada").public_id());
    session.increment("visits", 1).unwrap();
    session.save().unwrap();
    assert_eq!(stored.load("ada").get::<i64>("visits").unwrap(), Some(18));
}

fn a_grace_that_has_ended_stays_ended(stored: &Stored) {
    assert!(stored.is_alive("spared"));
    assert!(!stored.is_alive("spared_first"));
    assert!(stored.is_alive("spared_before"), "a later grace goes on");
}

fn an_old_id_ends_its_session(stored: &Stored) {
    for (before, now) in [("renewed_before", "renewed"), ("ada_before", "ada")] {
        let _ = stored.manager.destroy(stored.fact(before)).unwrap();
        assert!(!stored.is_alive(now), "{now}");
    }
}

fn form_tokens_of_the_present_id_and_of_an_old_one_are_valid(stored: &Stored) {
    let session = stored.load("ada");
    assert!(session.verify_csrf(stored.fact("form_token")));
    assert!(session.verify_csrf(stored.fact("form_token_before")));
    assert!(!stored.load("tablet").verify_csrf(stored.fact("form_token")));
}

fn a_flash_message_is_taken_once(stored: &Stored) {
    let mut session = stored.load("ada");
    assert_eq!(session.take_flash::<String>("notice").unwrap().as_deref(), Some("saved"));
    assert_eq!(stored.load("ada").take_flash::<String>("notice").unwrap(), None);
}

fn the_first_load_confirms_a_session(stored: &Stored) {
    let expires_at = stored.load("unconfirmed").expires_at().unwrap();
    assert!(expires_at > stored.time("created") + LONG - DAY, "{expires_at:?}");
}

fn an_idle_timeout_of_its_own_outlasts_stricter_settings(stored: &Stored) {
    let strict = stored.settings_after(365 * DAY).idle_timeout(MINUTE).build().unwrap();
    assert!(strict.load(stored.fact("left")).unwrap().is_new());
    assert!(!strict.load(stored.fact("ada")).unwrap().is_new());
}

fn the_absolute_timeout_began_with_the_login(stored: &Stored) {
    // The login came an hour after the creation.
    let since_login = stored.now().duration_since(stored.time("joined")).unwrap();
    for (timeout, is_alive) in [(since_login + HOUR / 2, true), (since_login - MINUTE, false)] {
        let strict = stored.settings().idle_timeout(timeout).absolute_timeout(timeout).build().unwrap();
        for name in ["ada", "left"] {
            assert_eq!(!strict.load(stored.fact(name)).unwrap().is_new(), is_alive, "{name}");
        }
    }
}

fn all_sessions_can_be_ended(stored: &Stored) {
    stored.manager.destroy_every_session().unwrap();
    for name in ["plain", "unconfirmed", "ada", "ada_before", "tablet", "left", "renewed", "spared"] {
        assert!(!stored.is_alive(name), "{name}");
    }
    assert_eq!(stored.manager.group(ADA).len().unwrap(), 0);
}

// ---- A fixture, and a manager for a copy of it ----

struct Stored {
    manager: SessionManager,
    facts: HashMap<String, String>,
    place: Place,
}

impl Stored {
    fn sqlite(folder: &Path) -> Stored {
        let place = Place::sqlite();
        fs::copy(folder.join("sqlite.db"), file_in(&place)).expect("the fixture is there");
        Stored { manager: settings(&place).build().unwrap(), facts: facts(&folder.join("sqlite.facts")), place }
    }

    fn redis(folder: &Path) -> Stored {
        let redis = Redis::start();
        let commands = fs::read_to_string(folder.join("redis.commands")).expect("the fixture is there");
        for line in commands.lines().filter(|line| !line.starts_with('#')) {
            let command: Vec<Vec<u8>> = line.splitn(4, ' ').map(unescaped).collect();
            ::redis::Cmd::new().arg(command).exec(&mut redis.connect()).unwrap();
        }
        let place = Place::Redis(redis);
        Stored { manager: settings(&place).build().unwrap(), facts: facts(&folder.join("redis.facts")), place }
    }

    fn settings(&self) -> SessionManagerBuilder {
        settings(&self.place)
    }

    /// The settings at a time when all sessions have been stored for at least this long.
    fn settings_after(&self, time: Duration) -> SessionManagerBuilder {
        match self.place {
            Place::Sqlite(_) => sqlite_at(&self.place, end_of_storing() + time),
            _ => settings(&self.place),
        }
    }

    fn fact(&self, name: &str) -> &str {
        &self.facts[name]
    }

    fn time(&self, name: &str) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.fact(name).parse().expect("a time"))
    }

    fn load(&self, name: &str) -> Session {
        let session = self.manager.load(self.fact(name)).unwrap();
        assert!(!session.is_new(), "{name}");
        session
    }

    fn is_alive(&self, name: &str) -> bool {
        !self.manager.load(self.fact(name)).unwrap().is_new()
    }

    fn now(&self) -> SystemTime {
        match self.place {
            Place::Sqlite(_) => end_of_storing(),
            _ => SystemTime::now(),
        }
    }
}

/// The settings that the sessions were stored with. The settings of the cookie are the default ones.
fn settings(place: &Place) -> SessionManagerBuilder {
    match place {
        Place::Sqlite(_) => sqlite_at(place, end_of_storing()),
        _ => with_store(RedisStore::new(&place.url()).unwrap()),
    }
}

fn sqlite_at(place: &Place, now: SystemTime) -> SessionManagerBuilder {
    with_store(SqliteStore::with_clock(file_in(place), move || now))
}

fn with_store(store: impl Store) -> SessionManagerBuilder {
    SessionManager::builder(Secret::new(SECRET).unwrap())
        .store(store)
        .idle_timeout(LONG)
        .absolute_timeout(LONG)
        .unconfirmed_timeout(LONG * 4 / 5)
        .operation_timeout(Duration::from_secs(20))
}

fn folder(version: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", version].iter().collect()
}

fn file_in(place: &Place) -> PathBuf {
    PathBuf::from(place.url().strip_prefix("sqlite://").expect("a SQLite file"))
}

fn facts(list: &Path) -> HashMap<String, String> {
    let text = fs::read_to_string(list).expect("the fixture is there");
    let facts = text.lines().filter_map(|line| line.split_once(' '));
    facts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Reads an argument of a command, where `\xNN` stands for a byte that is not plain ASCII, or for a backslash.
fn unescaped(argument: &str) -> Vec<u8> {
    if argument == IN_GRACE {
        return milliseconds(SystemTime::now() + 4 * MINUTE).to_string().into_bytes();
    }
    let mut parts = argument.split("\\x");
    let mut bytes = parts.next().expect("a split has a first part").as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).expect("two digits"));
        bytes.extend(rest.bytes());
    }
    bytes
}

fn milliseconds(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis()
}

// ---- Storing a fixture ----

const BEFORE_LOGIN: Duration = HOUR;
const BEFORE_LEAVING: Duration = Duration::from_secs(30 * 60);
const BEFORE_GRACES: Duration = Duration::from_secs(10 * 60);

/// What the clock of the SQLite file shows once all sessions are stored.
fn end_of_storing() -> SystemTime {
    UNIX_EPOCH + START + BEFORE_LOGIN + BEFORE_LEAVING + BEFORE_GRACES
}

#[test]
fn fixtures_of_the_present_version_can_be_stored() {
    let place = Place::sqlite();
    let new = file_in(&place).with_file_name(PRESENT);
    fs::create_dir(&new).unwrap();
    store_sqlite(&new);
    store_redis(&new);
    let present = folder(PRESENT);
    if !present.exists() {
        fs::create_dir(&present).unwrap();
        for file in fs::read_dir(&new).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), present.join(file.file_name())).unwrap();
        }
    }
    for stored in [Stored::sqlite(&new), Stored::redis(&new)] {
        the_values_of_a_session_are_read(&stored);
    }
    for list in ["sqlite.facts", "redis.facts"] {
        let names = |folder: &Path| facts(&folder.join(list)).into_keys().collect::<BTreeSet<_>>();
        assert_eq!(names(&new), names(&present), "{list}");
    }
}

fn store_sqlite(folder: &Path) {
    let place = Place::sqlite();
    let now = Arc::new(Mutex::new(UNIX_EPOCH + START));
    let clock = now.clone();
    let store = SqliteStore::with_clock(file_in(&place), move || *clock.lock().unwrap());
    let manager = with_store(store).build().unwrap();
    let facts = store_sessions(&manager, |time| *now.lock().unwrap() += time, Duration::ZERO);
    // The last connection that is closed writes the log into the file.
    drop(manager);
    fs::copy(file_in(&place), folder.join("sqlite.db")).unwrap();
    fs::write(folder.join("sqlite.facts"), facts).unwrap();
}

fn store_redis(folder: &Path) {
    let place = Place::redis();
    let manager = settings(&place).build().unwrap();
    // All times become two years earlier, so that they are in the past wherever the tests run.
    let ago = 2 * 365 * DAY;
    let facts = store_sessions(&manager, |time| place.let_time_pass_for_all(time), ago);
    let Place::Redis(redis) = &place else { unreachable!("it is Redis") };
    for key in redis.all_keys().iter().filter(|key| redis.is_left_over(key)) {
        redis.run::<i64>(&["PEXPIRE", key, &LONG.as_millis().to_string()]);
    }
    place.let_time_pass_for_all(ago);
    let header = "# The end of a grace is written as IN-GRACE. Ids that were replaced are kept as long as sessions.\n";
    fs::write(folder.join("redis.commands"), header.to_owned() + &commands(redis, SystemTime::now() - ago)).unwrap();
    fs::write(folder.join("redis.facts"), facts).unwrap();
}

/// The commands that make all keys of a server. Graces that end after `end_of_storing` go on.
fn commands(redis: &Redis, end_of_storing: SystemTime) -> String {
    let mut commands = String::new();
    let mut add = |command: &[&[u8]]| {
        let escaped: Vec<String> = command.iter().map(|argument| escaped(argument)).collect();
        commands += &(escaped.join(" ") + "\n");
    };
    for key in redis.all_keys() {
        let name = key.as_bytes();
        if redis.run::<String>(&["TYPE", &key]) == "hash" {
            for (field, value) in redis.record(&key) {
                let is_grace =
                    field.starts_with(":\0\0before:") || field == "u" && number(&value) > milliseconds(end_of_storing);
                add(&[b"HSET", name, field.as_bytes(), if is_grace { IN_GRACE.as_bytes() } else { &value }]);
            }
        } else {
            for (member, score) in redis.run::<Vec<(String, String)>>(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]) {
                add(&[b"ZADD", name, score.as_bytes(), member.as_bytes()]);
            }
        }
        if redis.run::<i64>(&["PTTL", &key]) >= 0 {
            add(&[b"PEXPIREAT", name, redis.expires(&key).to_string().as_bytes()]);
        }
    }
    commands
}

fn number(text: &[u8]) -> u128 {
    String::from_utf8_lossy(text).parse().expect("a number")
}

fn escaped(argument: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'!'..=b'~' if *byte != b'\\' => char::from(*byte).to_string(),
        other => format!("\\x{other:02x}"),
    };
    argument.iter().map(escape).collect()
}

/// Stores all sessions, and gives their facts. The times among the facts are earlier by `ago`.
fn store_sessions(manager: &SessionManager, pass: impl Fn(Duration), ago: Duration) -> String {
    let mut facts = Vec::new();
    let save = |session: &mut Session| cookie(&session.save().unwrap().expect("a new id needs a cookie"));
    let load = |header: &str| manager.load(header).unwrap();

    let mut plain = manager.load(None).unwrap();
    plain.set("", "the key is empty").unwrap();
    plain.set("cart", &[("apple", 1.5)]).unwrap();
    plain.set("nothing", &None::<bool>).unwrap();
    plain.set("text", "Gr\u{fc}\u{df}e \u{1F980}").unwrap();
    plain.set("visits", &7).unwrap();
    let plain = save(&mut plain);
    for _ in 0..10 {
        let mut session = load(&plain);
        session.increment("visits", 1).unwrap();
        session.save().unwrap();
    }
    facts.push(("plain", plain));

    let device = |name: &str| {
        let mut session = manager.load(None).unwrap();
        session.set("device", name).unwrap();
        session.set("visits", &17).unwrap();
        session.set("cart", &["pear"]).unwrap();
        save(&mut session)
    };
    let log_in = |header: &str, group: &str, idle_timeout: Option<Duration>| {
        let mut session = load(header);
        session.set_group_name(group);
        idle_timeout.into_iter().for_each(|timeout| session.set_idle_timeout(timeout));
        save(&mut session)
    };
    let (ada, left) = (device("laptop"), device("phone"));
    pass(BEFORE_LOGIN);
    let ada = log_in(&ada, ADA, Some(LONG + DAY));
    // It joins later than the laptop, and expires earlier.
    next_millisecond();
    let tablet = log_in(&device("tablet"), ADA, Some(LONG - DAY));
    let (left, spared) = (log_in(&left, "bob", None), log_in(&device("watch"), "eve", None));
    facts.push(("tablet", tablet));

    pass(BEFORE_LEAVING);
    let mut session = load(&left);
    session.leave_group();
    facts.push(("left", save(&mut session)));

    pass(BEFORE_GRACES);
    let mut session = load(&ada);
    session.flash("notice", "saved").unwrap();
    facts.push(("form_token_before", session.csrf_token()));
    session.regenerate_with_grace(5 * MINUTE);
    let (ada_before, ada) = (ada, save(&mut session));
    let mut session = load(&ada);
    facts.push(("form_token", session.csrf_token()));
    let facts_of_ada = [("created", session.created_at()), ("joined", session.authenticated_at())];
    facts.extend(facts_of_ada.map(|(name, time)| (name, milliseconds(time.unwrap() - ago).to_string())));
    facts.extend([("ada_before", ada_before), ("ada", ada)]);

    let renew_with_grace = |header: &str| {
        let mut session = load(header);
        session.regenerate_with_grace(5 * MINUTE);
        save(&mut session)
    };
    let spared_before = renew_with_grace(&spared);
    manager.group("eve").clear_except(&load(&spared_before)).unwrap();
    facts.push(("spared", renew_with_grace(&spared_before)));
    facts.extend([("spared_before", spared_before), ("spared_first", spared)]);

    let renewed_before = device("new");
    let mut session = load(&renewed_before);
    session.regenerate();
    facts.extend([("renewed", save(&mut session)), ("renewed_before", renewed_before)]);

    facts.push(("unconfirmed", device("robot")));
    let ended = device("old");
    let _ = manager.destroy(&ended).unwrap();
    facts.push(("ended", ended));
    facts.iter().map(|(name, value)| format!("{name} {value}\n")).collect()
}
