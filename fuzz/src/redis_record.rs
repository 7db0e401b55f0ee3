//! Damaged records and groups in Redis. A call may fail only with an error, a session never gets values of another
//! session, and a logout ends the session.

use crate::calls::{CALLS, clear_group, log_out};
use crate::input::Input;
use crate::redis_server::{Server, Template};
use crate::{PATIENT, SHORT};
use multi_process_session::SessionManager;
use redis::Cmd;
use std::sync::{Mutex, OnceLock};

struct World {
    connection: Mutex<redis::Connection>,
    template: Template,
    manager: SessionManager,
    patient: SessionManager,
    /// All fields that a record can have.
    fields: Vec<Vec<u8>>,
    _server: Server,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let server = Server::start();
        let template = Template::new(&server);
        let mut connection = server.connect();
        let mut fields = Vec::new();
        for name in template.names() {
            // A group is not a hash.
            let found: Vec<Vec<u8>> = redis::cmd("HKEYS").arg(name).query(&mut connection).unwrap_or_default();
            fields.extend(found.into_iter().filter(|field| !fields.contains(field)).collect::<Vec<_>>());
        }
        World {
            connection: Mutex::new(connection),
            template,
            manager: server.manager(SHORT),
            patient: server.manager(PATIENT),
            fields,
            _server: server,
        }
    })
}

pub fn run(data: &[u8]) {
    let World { connection, template, manager, patient, fields, _server } = world();
    let mut connection = connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    template.restore(&mut connection);

    let mut input = Input(data);
    let (call, logs_out) = (input.pick(&CALLS), input.bit());
    let cookie = *input.pick(&[&template.ada[0], &template.ada[1], &template.edith[0], &template.edith[1]]);
    while !input.is_used_up() {
        // What Redis refuses changes nothing.
        let _ = damage(&mut input, &template.names(), fields).exec(&mut connection);
    }

    let user_of = |cookie: &str| {
        let session = manager.load(cookie).ok()?;
        session.get::<String>("user").ok().flatten()
    };
    assert_ne!(user_of(cookie).as_deref(), Some("grace"));
    let _ = call(manager, cookie);
    assert_ne!(user_of(cookie).as_deref(), Some("grace"));
    // Her own record is whole, but her group may be gone.
    assert!(matches!(user_of(&template.grace).as_deref(), Some("grace") | None));
    if logs_out {
        log_out(patient, cookie).expect("a logout works on damaged records");
    } else {
        let _ = clear_group(manager);
    }
}

/// Makes one command that damages the data.
fn damage(input: &mut Input<'_>, keys: &[&[u8]], fields: &[Vec<u8>]) -> Cmd {
    let id_of = |key: &&[u8]| key.rsplit(|byte| *byte == b':').next().unwrap_or_default().to_vec();
    let (kind, key, field) = (input.below(18), *input.pick(keys), input.pick(fields));
    let mut command = Cmd::new();
    match kind {
        0..=2 => {
            let length = input.below(64);
            command.arg("HSET").arg(key).arg(field).arg(input.bytes(length))
        }
        3 | 4 => command.arg("HSET").arg(key).arg(field).arg(input.integer()),
        // Among them the id of the record itself.
        5 | 6 => command.arg("HSET").arg(key).arg(field).arg(id_of(input.pick(keys))),
        7 => command.arg("HDEL").arg(key).arg(field),
        8 => command.arg("HSET").arg(key).arg(input.bytes(3)).arg(input.bytes(3)),
        9 => command.arg(if input.bit() { "PERSIST" } else { "DEL" }).arg(key),
        10 => command.arg("PEXPIRE").arg(key).arg(input.integer()),
        11 => command.arg("ZADD").arg(key).arg(input.integer()).arg(id_of(input.pick(keys))),
        12 => command.arg("ZADD").arg(key).arg(*input.pick(&["inf", "-inf", "1.5", "1e300"])).arg(input.bytes(24)),
        13 => command.arg("SET").arg(key).arg(input.bytes(8)),
        14 | 15 => {
            // Another byte in a field that keeps its length, such as the packed state.
            let script = "local old, at = redis.call('HGET', KEYS[1], ARGV[1]) or '', tonumber(ARGV[2])
                return redis.call('HSET', KEYS[1], ARGV[1], old:sub(1, at) .. ARGV[3] .. old:sub(at + 2))";
            command.arg("EVAL").arg(script).arg(1).arg(key).arg(field).arg(input.below(64)).arg(input.bytes(1))
        }
        16 => command.arg("COPY").arg(key).arg(*input.pick(keys)).arg("REPLACE"),
        _ => {
            // Something of another type in its place.
            let name = *input.pick(&["sadd", "rpush", "pfadd"]);
            let script = "redis.call('DEL', KEYS[1]) return redis.call(ARGV[1], KEYS[1], ARGV[2])";
            command.arg("EVAL").arg(script).arg(1).arg(key).arg(name).arg(input.bytes(8))
        }
    };
    command
}

pub fn seeds() -> Vec<Vec<u8>> {
    let calls = 0..CALLS.len() as u8;
    // A call for ada and one for edith, with the present id and with the old one.
    calls.flat_map(|call| [vec![call, 0, 0, 5, 0, 0, 0], vec![call, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1]]).collect()
}
