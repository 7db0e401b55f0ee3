//! A copy stops if a store loses its sessions in the middle, and ends no session because of it.

use super::mps::{Ran, command, one, ran};
use crate::support::place::Place;
use crate::support::redis::Redis;
use crate::support::sqlite::Sqlite;
use crate::support::{is_alive, login, manager, session_with, until};
use std::fs;
use std::process::Stdio;

const SESSIONS: usize = 3000;

fn fill(url: &str) -> Vec<String> {
    let manager = manager(url);
    (0..SESSIONS).map(|_| session_with(&manager, &[("a", "1")])).collect()
}

/// Runs `copy --delete`, and lets something happen when the target has some of the sessions.
fn copy_while(from: &str, to: &Place, happens: impl FnOnce()) -> Ran {
    drop(manager(&to.url()).ping());
    let before = to.records();
    let child = command(from, &["copy", "--to", &to.url(), "--delete", "--threads", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    until(|| to.records() > before + 300);
    happens();
    ran(&child.wait_with_output().unwrap())
}

fn alive(url: &str, cookies: &[String]) -> usize {
    let manager = manager(url);
    cookies.iter().filter(|cookie| is_alive(&manager, cookie)).count()
}

fn remove(sqlite: &Sqlite) {
    ["", "-wal", "-shm"].iter().for_each(|ending| drop(fs::remove_file(sqlite.companion(ending))));
}

#[test]
fn a_source_file_that_is_removed_stops_it() {
    let (from, to) = (Sqlite::new(), Place::redis());
    fill(&from.url());
    let only_there = login(&manager(&to.url()), "eve");
    let ran = copy_while(&from.url(), &to, || remove(&from));
    assert!(
        ran.code == Some(3) && ran.err.contains("the source failed: the file ") && ran.err.contains("removed"),
        "{ran:?}"
    );
    assert!(ran.out.contains("not complete") && ran.out.contains("; 0 deleted"), "{ran:?}");
    assert!(is_alive(&manager(&to.url()), &only_there));
    assert!(!from.path().exists(), "it is not made anew");
}

#[test]
fn a_target_file_that_is_replaced_stops_it() {
    let (from, to) = (Sqlite::new(), Place::sqlite());
    fill(&from.url());
    let Place::Sqlite(file) = &to else { unreachable!() };
    let other = Sqlite::new();
    drop(manager(&other.url()).ping());
    let ran = copy_while(&from.url(), &to, || {
        remove(file);
        fs::rename(other.path(), file.path()).unwrap();
    });
    assert!(ran.code == Some(3) && ran.err.contains("the target failed: the file "), "{ran:?}");
}

#[test]
fn a_source_that_becomes_empty_ends_nothing() {
    let (from, to) = (Redis::start(), Place::redis());
    let cookies = fill(&from.url());
    one(&from.url(), &["copy", "--to", &to.url()]);
    // These are new at the source, so the target shows how far the second copy is.
    fill(&from.url());
    let ran = copy_while(&from.url(), &to, || from.run::<()>(&["FLUSHALL"]));
    assert!(ran.code == Some(3) && ran.err.contains("the source has lost sessions"), "{ran:?}");
    assert_eq!(alive(&to.url(), &cookies), SESSIONS);
}

#[test]
fn a_source_with_few_sessions_ends_those_of_the_target() {
    let [from, to] = [Redis::start(), Redis::start()];
    let cookies = [(); 40].map(|()| login(&manager(&to.url()), "ada"));
    let kept = login(&manager(&from.url()), "eve");
    assert_eq!(one(&from.url(), &["copy", "--to", &to.url(), "--delete"])["deleted"], 40);
    assert_eq!((alive(&to.url(), &cookies), alive(&to.url(), &[kept])), (0, 1));
}
