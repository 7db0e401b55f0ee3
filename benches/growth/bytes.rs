//! Compares the bytes of sessions in Redis with those of JSON strings.

use crate::sessions::{create, small_values, values_of};
use crate::support::aim::Aims;
use crate::support::builder_with_own_timeouts;
use crate::support::redis::{Redis, run};
use multi_process_session::{Session, SessionManager};

/// Compares what a session takes in Redis with the same values as one JSON string.
pub(crate) fn bytes(aims: &mut Aims) {
    let redis = Redis::start();
    let manager = builder_with_own_timeouts(&redis.url()).build().unwrap();
    println!("\nRedis: bytes of a session, beside the same values as one JSON string");
    for (values_name, values, at_most) in [
        ("5 small values", small_values(), 1.3),
        ("5 values of 100 bytes", values_of(5, 100), 1.5),
        ("5 values of 1,000 bytes", values_of(5, 1_000), 1.5),
    ] {
        for (group_name, group_size) in [("no group", None), ("a group of 1", Some(1)), ("a group of 10", Some(10))] {
            for (age, changes) in [("new", 0), ("changed 40 times", 40)] {
                let (session, json) = bytes_of_a_session(&redis, &manager, &values, group_size, changes);
                let what = format!("{values_name}, {group_name}, {age}");
                println!("  {what:<56} {session:>7.0}, {json:>6.0}: {:.2} x", session / json);
                aims.add(&format!("bytes of a session: {what}"), session / json, at_most);
            }
        }
    }
}

/// Returns the bytes of a session with its share of what its group takes, and those of its values as one JSON string.
fn bytes_of_a_session(
    redis: &Redis,
    manager: &SessionManager,
    values: &[(String, String)],
    group_size: Option<usize>,
    changes: usize,
) -> (f64, f64) {
    redis.run::<()>(&["FLUSHALL", "SYNC"]);
    let sessions = group_size.unwrap_or(1);
    let group = group_size.map(|_| "ada");
    let mut id = String::new();
    for _ in 0..sessions {
        let mut session = manager.load(&create(manager, values, group)).unwrap();
        (0..changes).for_each(|number| change(&mut session, values, number));
        id = session.public_id().to_string();
    }
    let connection = &mut redis.connect();
    let keys: Vec<String> = redis.all_keys().into_iter().filter(|key| !key.contains(":generation")).collect();
    let bytes: usize = keys.iter().map(|key| memory(connection, key)).sum();
    let record = keys.iter().find(|key| key.ends_with(&id)).expect("the session is there");
    (bytes as f64 / sessions as f64, bytes_of_json(connection, record.len(), values) as f64)
}

/// Changes one value to another one of the same length.
fn change(session: &mut Session, values: &[(String, String)], number: usize) {
    let (key, value) = &values[number % values.len()];
    let other = if (number / values.len()).is_multiple_of(2) { value.to_uppercase() } else { value.clone() };
    session.set(key, &other).unwrap();
    let _ = session.save().unwrap();
}

/// The bytes of these values as one JSON string that expires, under a key of this length.
fn bytes_of_json(connection: &mut redis::Connection, key_length: usize, values: &[(String, String)]) -> usize {
    let json: serde_json::Map<_, _> = values.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let (key, json) = ("k".repeat(key_length), serde_json::Value::Object(json).to_string());
    run::<()>(connection, &["SET", &key, &json, "EX", "3600"]);
    memory(connection, &key)
}

fn memory(connection: &mut redis::Connection, key: &str) -> usize {
    run(connection, &["MEMORY", "USAGE", key, "SAMPLES", "0"])
}
