//! Servers that all tests of a program share.

use super::place::Place;
use super::redis::Redis;
use std::mem;
use std::process::{Command, Stdio};

/// Waits until the test program has ended, which closes its end of the pipe. Then ends the server and removes its
/// folder. A signal for the whole group of processes must not end this script before that.
const SCRIPT: &str = r#"trap '' HUP INT TERM; read -r _; kill -9 "$1"; rm -rf "$2""#;

/// Ends the servers of a place when this program has ended in any way. A place in a `static` needs this, because a
/// `static` is never dropped, and its servers would go on.
pub fn until_the_program_ends(place: Place) -> Place {
    match &place {
        Place::Redis(redis) => end_with_the_program(redis),
        Place::Cluster(cluster) => cluster.nodes.iter().for_each(|node| end_with_the_program(&node.redis)),
        Place::Sqlite(_) => panic!("a file can be made for each test"),
    }
    place
}

fn end_with_the_program(redis: &Redis) {
    let guard = Command::new("sh")
        .args(["-c", SCRIPT, "sh", &redis.pid().to_string()])
        .arg(redis.socket().parent().expect("the socket is in a folder"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    // Only the end of this process closes the pipe.
    mem::forget(guard);
}
