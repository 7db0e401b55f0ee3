//! The program `mps` tells what is wrong with its arguments, hides passwords, and ends cleanly.

use super::mps::{command, json, output, ran, run};
use crate::support::place::Place;
use crate::support::ports::free_port;
use crate::support::redis::Redis;
use crate::support::tls::silent;
use crate::support::{login, manager, session_with, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

const PASSWORD: &str = "p@s:s/ #%?+&w\u{e9}rd";

#[test]
fn wrong_arguments_are_told() {
    let (place, folder) = (Place::sqlite(), tempfile::tempdir().unwrap());
    drop(login(&manager(&place.url()), "ada"));
    let file = folder.path().join("password");
    fs::write(&file, "a password, and SQLite has none").unwrap();
    for arguments in [
        &[][..],
        &["counts"],
        &["count", "--namespace", "a b"],
        &["count", "--timeout", "0"],
        &["count", "--timeout", "NaN"],
        &["show"],
        &["show", "not an id"],
        &["count", "--store", "redis:"],
        &["count", "--store", "memory:"],
        &["count", "--store", "http://a"],
        &["copy"],
        &["copy", "--to", &place.url()],
        &["copy", "--to", "sqlite:///a", "--threads", "0"],
        &["count", "--password-file", "/missing"],
        &["count", "--password-file", file.to_str().unwrap()],
    ] {
        let ran = run(&place.url(), arguments);
        assert!(ran.code == Some(2) && !ran.err.is_empty() && ran.out.is_empty(), "{arguments:?}: {ran:?}");
    }
    let ran = ran(&command("", &["count"]).output().unwrap());
    assert!(ran.code == Some(2) && ran.err.contains("--store") && ran.err.contains("MPS_STORE"), "{ran:?}");
}

#[test]
fn a_store_that_fails_is_told() {
    let port = free_port();
    for (url, says) in [
        (format!("redis://127.0.0.1:{port}"), "the store failed"),
        ("sqlite:///missing/folder/sessions.db".to_owned(), "there is no file /missing/folder/sessions.db"),
    ] {
        for arguments in [&["count"][..], &["list"], &["check"], &["end-user", "ada"], &["purge"]] {
            let ran = run(&url, &[arguments, &["--timeout", "5"]].concat());
            assert!(ran.code == Some(3) && ran.err.contains(says) && ran.out.is_empty(), "{arguments:?}: {ran:?}");
        }
    }
}

#[test]
fn a_missing_file_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.db");
    assert_eq!(run(&format!("sqlite://{}", file.display()), &["count"]).code, Some(3));
    assert!(!file.exists());
}

#[test]
fn a_password_comes_from_a_file_or_the_environment() {
    let port = free_port();
    let redis = Redis::start_with(&["--port", &port.to_string()]);
    drop(login(&manager(&redis.url()), "ada"));
    redis.add_user_of_the_guide();
    redis.run::<()>(&["ACL", "SETUSER", "sessions", "resetpass", &format!(">{PASSWORD}")]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let of_file = ["count", "--json", "--password-file", file.to_str().unwrap()];
    for url in [format!("redis://sessions@127.0.0.1:{port}"), format!("{}?user=sessions", redis.url())] {
        assert!(output(&url, &of_file).contains("\"sessions\":1"), "{url}");
        let by_variable = ran(&command(&url, &["count", "--json"]).env("MPS_PASSWORD", PASSWORD).output().unwrap());
        assert_eq!(by_variable.code, Some(0), "{by_variable:?}");
        let wrong = ran(&command(&url, &["count"]).env("MPS_PASSWORD", "hunter2").output().unwrap());
        assert!(wrong.code == Some(3) && !wrong.err.contains("hunter2"), "{wrong:?}");
    }
}

#[test]
fn no_error_shows_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let two_lines = folder.path().join("password");
    fs::write(&two_lines, "hunter2\nmore").unwrap();
    let (with_password, port) = ("redis://:hunter2@127.0.0.1:1", free_port());
    let without = format!("redis://127.0.0.1:{port}");
    for (url, arguments, code) in [
        (with_password, &["count", "--timeout", "5"][..], 3),
        (&without, &["count", "--store", with_password], 2),
        (&without, &["copy", "--to", with_password], 2),
        (&without, &["count", "--store", "redis+unix:///a?user=b&pass=hunter2"], 2),
        (&without, &["count", "--store", "redis+unix:///a?p%61ss=hunter2"], 2),
        (&without, &["count", "--store", "redis://127.0.0.1:1?password=hunter2"], 2),
        (&without, &["count", "--store", "redis-sentinel://127.0.0.1:1?sentinel_pass=hunter2#a"], 2),
        (&without, &["copy", "--to", "redis-sentinel://127.0.0.1:1?sentinel%5Fpass=hunter2#a"], 2),
        (&without, &["counts", "redis-sentinel://127.0.0.1:1?sentinel_p%61ss=hunter2#a"], 2),
        (&without, &["count", with_password], 2),
        (&without, &[with_password], 2),
        (&without, &["--stor", with_password, "count"], 2),
        (&without, &["count", "--store", "redis://:hunter2/x@host"], 2),
        (&without, &["count", "--password-file", two_lines.to_str().unwrap()], 2),
        ("redis://a:hunter2@:x", &["count"], 2),
        ("hunter2:redis://a", &["count"], 2),
    ] {
        let ran = run(url, arguments);
        assert!(ran.code == Some(code) && !ran.err.is_empty(), "{arguments:?}: {ran:?}");
        assert!(!ran.err.contains("hunter2") && !ran.out.contains("hunter2"), "{arguments:?}: {ran:?}");
    }
    let twice = ran(&command(with_password, &["count"]).env("MPS_PASSWORD", "hunter3").output().unwrap());
    assert!(twice.code == Some(2) && !twice.err.contains("hunter"), "{twice:?}");
    let help = run(with_password, &["--help"]);
    assert!(help.code == Some(0) && !help.out.contains("hunter2"), "{help:?}");
}

#[test]
fn each_command_explains_itself() {
    for command in ["count", "list", "show", "end", "end-user", "purge", "watch", "check", "copy"] {
        let help = output("", &[command, "--help"]);
        assert!(["EXAMPLES", "EXIT CODES", &format!("mps {command}")].iter().all(|part| help.contains(part)), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
    let help = output("", &["--help"]);
    assert!(["ENVIRONMENT", "MPS_TO_PASSWORD", "EXIT CODES"].iter().all(|part| help.contains(part)), "{help}");
}

#[test]
fn names_and_values_do_not_steer_a_terminal() {
    for place in Place::all() {
        let (url, manager) = (place.url(), manager(&place.url()));
        let name = "ada\u{1b}[2J\u{9b}\u{202e}\n";
        let mut session = manager.load(None).unwrap();
        session.set("key\u{1b}]0;title\u{7}", "value\u{9b}31m").unwrap();
        session.set_group_name(name);
        session.save().unwrap();
        let id = session.public_id().to_string();
        let is_harmless = |text: &str| text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}');
        for arguments in [&["list"][..], &["list", "--user", name], &["show", &id, "--values"]] {
            let text = output(&url, arguments);
            assert!(is_harmless(&text) && text.contains("ada\\u{1b}[2J\\u{9b}\\u{202e}\\u{a}"), "{text}");
            let as_json = output(&url, &[arguments, &["--json"]].concat());
            assert!(is_harmless(&as_json), "{as_json}");
            assert_eq!(json(&url, arguments)[0]["user"], name);
        }
        for arguments in [&["end-user", "\u{1b}[2J"][..], &["end-user", name, "--except", &"A".repeat(24)]] {
            let ran = run(&url, arguments);
            assert!(ran.code == Some(1) && is_harmless(&ran.err), "{ran:?}");
            assert!(ran.err.contains("\\u{1b}[2J") && !ran.err.contains("\\\\"), "{ran:?}");
        }
        for arguments in [&["\u{1b}[2J"][..], &["list", "--\u{1b}[2J"], &["list", "--limit", "\u{1b}[2J"]] {
            let ran = run(&url, arguments);
            assert!(ran.code == Some(2) && is_harmless(&ran.err), "{ran:?}");
            assert!(ran.err.starts_with("mps: ") && ran.err.contains("\\u{1b}[2J"), "{ran:?}");
        }
    }
}

#[test]
fn a_full_disk_is_told() {
    let place = Place::sqlite();
    drop(login(&manager(&place.url()), "ada"));
    for arguments in [&["--help"][..], &["copy", "--help"], &["--version"], &["list"]] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = ran(&command(&place.url(), arguments).stdout(full).output().unwrap());
        assert!(ran.code == Some(3) && ran.err.contains("cannot be written"), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn a_user_without_a_password_is_told_where_to_put_it() {
    for url in ["redis://ada@127.0.0.1:1", "redis+unix:///a?user=ada", "redis-cluster://ada@127.0.0.1:1"] {
        let ran = run("", &["count", "--store", url]);
        let is_told = ran.err.contains("--password-file or MPS_PASSWORD") && !ran.err.contains("user:password");
        assert!(ran.code == Some(2) && is_told, "{ran:?}");
    }
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let place = Place::sqlite();
    let manager = manager(&place.url());
    (0..2000).for_each(|_| drop(session_with(&manager, &[("a", "1")])));
    let mut child =
        command(&place.url(), &["list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.split_whitespace().next().unwrap().len(), 24, "{line}");
    let ran = ran(&child.wait_with_output().unwrap());
    assert!(ran.code == Some(0) && ran.err.is_empty(), "{ran:?}");
}

#[test]
fn what_went_wrong_is_told_although_nobody_reads_the_output() {
    let (place, nobody) = (Place::sqlite(), format!("redis://127.0.0.1:{}", free_port()));
    drop(login(&manager(&place.url()), "ada"));
    let Place::Sqlite(sqlite) = &place else { unreachable!() };
    fs::set_permissions(sqlite.path(), Permissions::from_mode(0o666)).unwrap();
    for (arguments, code, message) in [(&["copy", "--to", &nobody][..], 3, "failed"), (&["check"], 1, "wrong")] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = command(&place.url(), arguments).stdout(writer).stderr(Stdio::piped()).output().expect("it runs");
        let ran = ran(&output);
        assert!(ran.code == Some(code) && ran.err.contains(message), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (_listener, port) = silent();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let url = format!("redis://127.0.0.1:{port}");
        let mut child = command(&url, &["count", "--timeout", "3600"]).spawn().expect("it runs");
        // Before it catches signals, the first one would end it.
        until(|| catches(child.id(), signal));
        until(|| {
            kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
            child.try_wait().unwrap().is_some()
        });
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
    }
}

/// Returns whether a process has a handler for a signal.
fn catches(pid: u32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() >> (signal as u64 - 1) & 1 == 1
}

#[test]
fn ctrl_c_ends_a_watch() {
    let place = Place::sqlite();
    drop(login(&manager(&place.url()), "ada"));
    let mut child = command(&place.url(), &["watch", "--every", "3600"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    until(|| child.try_wait().unwrap().is_some());
    let ran = ran(&child.wait_with_output().unwrap());
    assert!(ran.code == Some(0) && ran.err.is_empty(), "{ran:?}");
}
