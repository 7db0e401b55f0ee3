//! An operator moves the sessions of an application to another store with the program `mps`.

use super::mps::{command, one, run};
use crate::support::place::Place;
use crate::support::redis::Redis;
use crate::support::sqlite::Sqlite;
use crate::support::wait::StopOnDrop;
use crate::support::{is_alive, login, manager, session_with, until};
use multi_process_session::SessionManager;
use serde_json::{Value, json};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Fills a store with this number of sessions, half of them logged in, and gives their cookies.
fn fill(url: &str, number: usize) -> Vec<String> {
    let manager = manager(url);
    let cookie = |at: usize| match at % 2 {
        0 => session_with(&manager, &[("number", &at.to_string())]),
        _ => login(&manager, &format!("user {}", at % 50)),
    };
    (0..number).map(cookie).collect()
}

/// Runs a test for every pair of a source and a target. The source is empty.
fn from_each_to_each(test: impl Fn(&Place, &Place)) {
    for from in Place::all() {
        for to in Place::all_and_a_cluster() {
            manager(&from.url()).destroy_every_session().unwrap();
            test(&from, &to);
        }
    }
}

fn counts(created: u64, updated: u64, kept: u64, ended: u64) -> Value {
    json!({
        "complete": true, "dry_run": false, "sessions": created + updated + kept + ended,
        "created": created, "updated": updated, "kept": kept, "ended": ended,
    })
}

#[test]
fn all_sessions_are_copied_and_their_cookies_stay_valid() {
    from_each_to_each(|from, to| {
        let cookies = fill(&from.url(), 300);
        assert_eq!(one(&from.url(), &["copy", "--to", &to.url()]), counts(300, 0, 0, 0));
        let [before, after] = [from.url(), to.url()].map(|url| manager(&url));
        for cookie in &cookies {
            let [old, new] = [&before, &after].map(|manager| manager.load(cookie).unwrap());
            assert!(!new.is_new() && old.public_id() == new.public_id());
            assert_eq!(old.group_name(), new.group_name());
            assert_eq!(old.get::<String>("number").unwrap(), new.get::<String>("number").unwrap());
        }
        assert_eq!(one(&from.url(), &["copy", "--to", &to.url()]), counts(0, 0, 300, 0));
        to.assert_groups_sound();
    });
}

#[test]
fn a_second_copy_brings_what_has_changed() {
    for to in Place::all_and_a_cluster() {
        let from = Sqlite::new();
        let cookies = fill(&from.url(), 6);
        assert_eq!(one(&from.url(), &["copy", "--to", &to.url()]), counts(6, 0, 0, 0));
        let [before, after] = [from.url(), to.url()].map(|url| manager(&url));
        let mut changed = before.load(&cookies[0]).unwrap();
        changed.set("more", &1).unwrap();
        changed.save().unwrap();
        drop(before.destroy(&cookies[1]).unwrap());
        let more = login(&before, "ada");
        let dry = one(&from.url(), &["copy", "--to", &to.url(), "--dry-run", "--delete"]);
        let expected = json!({
            "complete": true, "dry_run": true, "sessions": 6, "created": 1, "updated": 1, "kept": 4, "ended": 0,
            "deleted": 1,
        });
        assert_eq!(dry, expected);
        assert!(is_alive(&after, &cookies[1]) && !is_alive(&after, &more), "nothing was done");
        assert_eq!(one(&from.url(), &["copy", "--to", &to.url()]), counts(1, 1, 4, 0));
        assert_eq!(after.load(&cookies[0]).unwrap().get::<i32>("more").unwrap(), Some(1));
        assert!(is_alive(&after, &more) && is_alive(&after, &cookies[1]), "a logout is not copied");
        let with_delete = one(&from.url(), &["copy", "--to", &to.url(), "--delete"]);
        assert_eq!(with_delete["deleted"], 1);
        assert!(!is_alive(&after, &cookies[1]));
        assert!(cookies.iter().skip(2).chain([&cookies[0], &more]).all(|cookie| is_alive(&after, cookie)));
    }
}

#[test]
fn a_copy_follows_any_number_of_changes_and_goes_back() {
    from_each_to_each(|from, to| {
        let [before, after] = [from.url(), to.url()].map(|url| manager(&url));
        let cookie = login(&before, "ada");
        let change_often = |manager: &SessionManager, text: &str| {
            for number in 0..40 {
                let mut session = manager.load(&cookie).unwrap();
                session.set("number", &format!("{text} {number}")).unwrap();
                session.save().unwrap();
                manager.group("ada").set_value("number", &format!("{text} {number}")).unwrap();
            }
        };
        let holds = |manager: &SessionManager| {
            let session = manager.load(&cookie).unwrap();
            (session.get::<String>("number").unwrap(), session.group_value::<String>("number").unwrap())
        };
        let both = |text: &str| (Some(text.to_owned()), Some(text.to_owned()));
        assert_eq!(one(&from.url(), &["copy", "--to", &to.url()]), counts(1, 0, 0, 0));
        change_often(&before, "there");
        assert_eq!(one(&from.url(), &["copy", "--to", &to.url()]), counts(0, 1, 0, 0));
        assert_eq!(holds(&after), both("there 39"));
        change_often(&after, "here");
        assert_eq!(one(&to.url(), &["copy", "--to", &from.url()]), counts(0, 1, 0, 0));
        assert_eq!(holds(&before), both("here 39"));
    });
}

#[test]
fn the_values_of_users_are_copied() {
    from_each_to_each(|from, to| {
        let [before, after] = [from.url(), to.url()].map(|url| manager(&url));
        let copy = || drop(one(&from.url(), &["copy", "--to", &to.url()]));
        let cookie = login(&before, "ada");
        let role = || after.load(&cookie).unwrap().group_value::<String>("role").unwrap();
        before.group("ada").set_value("role", "editor").unwrap();
        copy();
        assert_eq!(role().as_deref(), Some("editor"));
        before.group("ada").set_value("role", "reader").unwrap();
        copy();
        assert_eq!(role().as_deref(), Some("reader"), "the second copy brings what has changed");
        after.group("ada").remove_value("role").unwrap();
        before.group("ada").set_value("role", "editor").unwrap();
        copy();
        assert_eq!(role(), None, "what was changed at the target stays");
        // A user whose last session ends at the source.
        let grace = login(&before, "grace");
        before.group("grace").set_value("role", "admin").unwrap();
        copy();
        before.group("grace").set_value("role", "reader").unwrap();
        let _ = before.destroy(&grace).unwrap();
        one(&from.url(), &["copy", "--to", &to.url(), "--delete"]);
        let role = after.group("grace").value::<String>("role").unwrap();
        assert_eq!(role.as_deref(), Some("reader"), "a role that was taken away is not left behind");
        // All values end at the source.
        before.destroy_every_session().unwrap();
        let [ada, grace] = ["ada", "grace"].map(|user| login(&before, user));
        one(&from.url(), &["copy", "--to", &to.url(), "--delete"]);
        let role = |cookie: &str| after.load(cookie).unwrap().group_value::<String>("role").unwrap();
        assert_eq!(role(&grace), None, "a role that has ended is not left behind");
        after.group("ada").set_value("role", "guest").unwrap();
        one(&from.url(), &["copy", "--to", &to.url(), "--delete"]);
        assert_eq!(role(&ada).as_deref(), Some("guest"), "what was changed at the target stays");
    });
}

#[test]
fn an_empty_source_ends_nothing() {
    let [from, to] = [Redis::start(), Redis::start()];
    let cookies = fill(&to.url(), 4);
    let ran = run(&from.url(), &["copy", "--to", &to.url(), "--delete"]);
    assert!(ran.code == Some(1) && ran.err.contains("nothing was deleted"), "{ran:?}");
    let to = manager(&to.url());
    assert!(cookies.iter().all(|cookie| is_alive(&to, cookie)));
}

#[test]
fn a_dry_run_makes_no_file() {
    let (from, to) = (Sqlite::new(), Sqlite::new());
    fill(&from.url(), 4);
    assert_eq!(one(&from.url(), &["copy", "--to", &to.url(), "--dry-run"])["created"], 4);
    assert!(!to.path().exists());
}

#[test]
fn a_target_that_is_full_is_told_and_the_next_run_goes_on() {
    let (from, to) = (Sqlite::new(), Redis::start_with(&["--maxmemory", "2mb"]));
    let cookies = fill(&from.url(), 3000);
    let ran = run(&from.url(), &["copy", "--to", &to.url(), "--json"]);
    assert!(ran.code == Some(3) && ran.err.contains("the target failed"), "{ran:?}");
    let counted: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(counted["complete"], false);
    to.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    let done = one(&from.url(), &["copy", "--to", &to.url()]);
    assert_eq!((&done["sessions"], &done["updated"], &done["ended"]), (&json!(3000), &json!(0), &json!(0)));
    assert!(done["kept"].as_u64() >= counted["created"].as_u64(), "{done} after {counted}");
    let after = manager(&to.url());
    assert!(cookies.iter().all(|cookie| is_alive(&after, cookie)));
}

#[test]
fn a_copy_that_is_killed_goes_on_with_the_next_run() {
    for to in Place::all() {
        let from = Sqlite::new();
        let cookies = fill(&from.url(), 3000);
        drop(manager(&to.url()).ping());
        let mut child = command(&from.url(), &["copy", "--to", &to.url(), "--threads", "2"])
            .stdout(Stdio::null())
            .spawn()
            .expect("it runs");
        until(|| to.records() > 300);
        child.kill().unwrap();
        child.wait().unwrap();
        let there = to.records() as u64;
        assert!((300..3000).contains(&there), "it was killed half way: {there}");
        assert_eq!(one(&from.url(), &["copy", "--to", &to.url()]), counts(3000 - there, 0, there, 0));
        let after = manager(&to.url());
        assert!(cookies.iter().all(|cookie| is_alive(&after, cookie)));
        to.assert_groups_sound();
    }
}

#[test]
fn readers_of_both_stores_notice_nothing() {
    for to in Place::all_and_a_cluster() {
        let from = Sqlite::new();
        let cookies = fill(&from.url(), 1500);
        let [before, after] = [from.url(), to.url()].map(|url| manager(&url));
        let (stop, cookies) = (&AtomicBool::new(false), &cookies);
        let [before, after] = [&before, &after];
        thread::scope(|scope| {
            let _stop = StopOnDrop(stop);
            let source_reader = scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert!(cookies.iter().step_by(7).all(|cookie| is_alive(before, cookie)));
                }
            });
            let target_reader = scope.spawn(move || {
                let mut seen = vec![false; cookies.len()];
                while !stop.load(Ordering::Relaxed) {
                    for (at, cookie) in cookies.iter().enumerate().step_by(7) {
                        let is_there = is_alive(after, cookie);
                        assert!(is_there || !seen[at], "a session that was there is there");
                        seen[at] = is_there;
                    }
                }
            });
            assert_eq!(one(&from.url(), &["copy", "--to", &to.url()]), counts(1500, 0, 0, 0));
            stop.store(true, Ordering::Relaxed);
            source_reader.join().unwrap();
            target_reader.join().unwrap();
        });
        assert!(cookies.iter().all(|cookie| is_alive(after, cookie)));
    }
}
