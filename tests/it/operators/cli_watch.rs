//! An operator watches and checks a store with the program `mps`.

use super::mps::{command, json, output, run};
use crate::support::place::Place;
use crate::support::redis::Redis;
use crate::support::{login, manager};
use nix::pty::{Winsize, openpty};
use serde_json::Value;
use std::fs::{File, Permissions, remove_file, set_permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

#[test]
fn a_store_is_watched() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        (0..3).for_each(|_| drop(login(&manager, "ada")));
        let looks = json(&place.url(), &["watch", "--every", "0.05", "--times", "3"]);
        assert_eq!(looks.len(), 3);
        for look in &looks {
            assert_eq!((&look["state"], &look["errors"]), (&"up".into(), &Value::Array(Vec::new())), "{look}");
            assert!(look["ping_milliseconds"].as_f64().unwrap() > 0.0, "{look}");
            assert!(look["write_milliseconds"].as_f64().unwrap() > 0.0, "{look}");
            assert_eq!(look["figures"]["live_sessions"]["value"], 3.0, "{look}");
        }
        assert!(looks[0]["figures"]["live_sessions"]["per_second"].is_null());
        assert_eq!(looks[2]["figures"]["live_sessions"]["per_second"], 0.0);
        let text = output(&place.url(), &["watch", "--times", "1"]);
        assert!(text.contains("  up  ping ") && text.contains("live_sessions 3"), "{text}");
    }
}

#[test]
fn a_watch_fits_its_terminal() {
    let cluster = Place::cluster();
    for (columns, rows) in [(40, 10), (100, 24)] {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(&size, None).expect("a pseudo-terminal");
        let mut child = command(&cluster.url(), &["watch", "--times", "1"])
            .stdout(Stdio::from(terminal.slave))
            .spawn()
            .expect("it runs");
        // At the end, there is no writer any more, and the read fails.
        let (mut shown, mut master) = (Vec::new(), File::from(terminal.master));
        let _ = master.read_to_end(&mut shown);
        assert!(child.wait().unwrap().success());
        let shown = String::from_utf8(shown).expect("text");
        let lines: Vec<&str> = shown.strip_prefix("\u{1b}[H\u{1b}[J").expect("it clears").lines().collect();
        assert_eq!(lines.len(), usize::from(rows) - 1, "{shown}");
        assert!(lines.iter().all(|line| line.chars().count() <= columns.into()), "{shown}");
        assert!(lines[0].contains("  up  ping "), "{shown}");
        assert!(lines.last().unwrap().contains("more lines"), "{shown}");
    }
}

#[test]
fn a_watch_goes_on_while_the_store_is_down() {
    let mut redis = Redis::start();
    let mut child =
        command(&redis.url(), &["watch", "--every", "0.05", "--json"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut wait_for = |state: &str| -> Value {
        loop {
            let look: Value = serde_json::from_str(&lines.next().expect("it goes on").unwrap()).unwrap();
            if look["state"] == state {
                return look;
            }
        }
    };
    wait_for("up");
    redis.kill();
    let look = wait_for("down");
    assert!(look["errors"][0].as_str().unwrap().starts_with("the store does not answer: "), "{look}");
    redis.restart();
    wait_for("up");
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let look = wait_for("no writes");
    assert!(look["errors"][0].as_str().unwrap().contains("does not take writes"), "{look}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_file_that_was_removed_is_told_and_not_made_again() {
    let place = Place::sqlite();
    drop(login(&manager(&place.url()), "ada"));
    let mut child =
        command(&place.url(), &["watch", "--every", "0.5", "--json"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().expect("it goes on").unwrap()).unwrap();
    assert_eq!(next()["state"], "up");
    let Place::Sqlite(sqlite) = &place else { unreachable!() };
    remove_file(sqlite.path()).unwrap(); // between two looks
    let looks: Vec<Value> = (0..4).map(|_| next()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!sqlite.path().exists());
    let last = &looks[3];
    assert!(last["state"] == "down" && last["errors"][0].as_str().unwrap().contains("was removed"), "{looks:?}");
}

#[test]
fn a_setting_that_is_wrong_is_an_exit_code() {
    let redis = Redis::start();
    redis.run::<()>(&["CONFIG", "SET", "appendonly", "yes"]);
    redis.run::<()>(&["CONFIG", "SET", "timeout", "30"]);
    let findings = json(&redis.url(), &["check"]);
    let verdict = |what: &str| findings.iter().find(|finding| finding["what"] == what).unwrap()["verdict"].clone();
    assert_eq!((verdict("maxmemory-policy"), verdict("timeout")), ("good".into(), "risky".into()), "{findings:?}");
    redis.run::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let ran = run(&redis.url(), &["check"]);
    assert!(ran.code == Some(1) && ran.err.contains("wrong"), "{ran:?}");
    let line = ran.out.lines().find(|line| line.contains("maxmemory-policy")).unwrap();
    assert!(line.starts_with("wrong    maxmemory-policy: allkeys-lru. "), "{line}");
    let as_json = run(&redis.url(), &["check", "--json"]);
    assert_eq!(as_json.code, Some(1));
    assert!(as_json.out.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{as_json:?}");
}

#[test]
fn a_file_that_others_can_write_is_an_exit_code() {
    let place = Place::sqlite();
    drop(login(&manager(&place.url()), "ada"));
    assert_ne!(run(&place.url(), &["check"]).code, Some(3));
    let Place::Sqlite(sqlite) = &place else { unreachable!() };
    set_permissions(sqlite.path(), Permissions::from_mode(0o666)).unwrap();
    assert_eq!(run(&place.url(), &["check"]).code, Some(1));
}
