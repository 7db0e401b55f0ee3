//! An operator counts, lists, shows and ends sessions with the program `mps`.

use super::mps::{json, one, output, run};
use crate::support::place::Place;
use crate::support::{is_alive, login, manager, public_id, session_with};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

fn ids(sessions: &[Value]) -> BTreeSet<String> {
    sessions.iter().map(|session| session["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn sessions_are_counted_and_listed() {
    for place in Place::all_and_a_cluster() {
        let (url, manager) = (place.url(), manager(&place.url()));
        manager.ping().unwrap();
        assert_eq!(one(&url, &["count"]), json!({ "sessions": 0, "sessions_of_users": 0, "sessions_without_user": 0 }));
        assert_eq!(output(&url, &["list"]), "");
        let id = |cookie: &String| public_id(&manager, cookie).to_string();
        let alone: Vec<String> = (0..250).map(|_| session_with(&manager, &[("a", "1")])).collect();
        let of_ada: Vec<String> = (0..3).map(|_| login(&manager, "ada")).collect();
        let counts = json!({ "sessions": 253, "sessions_of_users": 3, "sessions_without_user": 250 });
        assert_eq!(one(&url, &["count"]), counts);
        assert_eq!(output(&url, &["count"]), "253 live sessions: 3 of users, 250 without a user\n");
        let listed = json(&url, &["list"]);
        assert_eq!(ids(&listed), alone.iter().chain(&of_ada).map(id).collect());
        let first = listed.iter().find(|session| session["id"] == id(&of_ada[0])).unwrap();
        assert_eq!(first["user"], "ada");
        assert!(first["expires_in_seconds"].as_u64().unwrap() > 60, "{first}");
        assert!(first["created_at"].as_str().unwrap().starts_with("20"), "{first}");
        assert_eq!(ids(&json(&url, &["list", "--user", "ada"])), of_ada.iter().map(id).collect());
        assert_eq!(json(&url, &["list", "--user", "nobody"]), [] as [Value; 0]);
        assert_eq!(json(&url, &["list", "--user", "-x"]), [] as [Value; 0]);
        assert_eq!(json(&url, &["list", "--limit", "2"]).len(), 2);
        assert_eq!(json(&url, &["list", "--limit", "201"]).len(), 201);
        assert_eq!(json(&url, &["list", "--user", "ada", "--limit", "1"]).len(), 1);
        let text = output(&url, &["list", "--user", "ada"]);
        let mut shown: Vec<&str> = text.lines().map(|line| &line[..24]).collect();
        shown.sort_unstable();
        assert_eq!(shown, of_ada.iter().map(id).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
        assert!(text.lines().all(|line| line.ends_with("  ada")), "{text}");
    }
}

#[test]
fn another_namespace_is_another_world() {
    for place in Place::all() {
        drop(login(&manager(&place.url()), "ada"));
        assert_eq!(one(&place.url(), &["count", "--namespace", "mps2"])["sessions"], 0);
        assert_eq!(one(&place.url(), &["--namespace", "mps", "count"])["sessions"], 1);
    }
}

#[test]
fn a_session_is_shown_and_its_values_only_when_asked_for() {
    for place in Place::all_and_a_cluster() {
        let (url, manager) = (place.url(), manager(&place.url()));
        let mut session = manager.load(&login(&manager, "ada")).unwrap();
        session.set("cart", &["three apples"]).unwrap();
        session.flash("notice", "saved").unwrap();
        session.save().unwrap();
        let old = session.public_id();
        session.regenerate_with_grace(Duration::from_secs(60));
        let cookie = session.save().unwrap().unwrap();
        let id = public_id(&manager, cookie.pair()).to_string();
        let shown = one(&url, &["show", &id]);
        assert_eq!((&shown["id"], &shown["user"]), (&json!(id), &json!("ada")));
        let of = |shown: &Value, kind: &str, key: &str| {
            let values = shown["values"].as_array().unwrap();
            let value = values.iter().find(|value| value["kind"] == kind && value["key"] == key);
            value.unwrap_or_else(|| panic!("{kind} {key}: {shown}")).clone()
        };
        let cart = of(&shown, "value", "cart");
        assert_eq!(cart["bytes"], "cart[\"three apples\"]".len());
        assert!(!shown.to_string().contains("three apples") && !shown.to_string().contains("saved"), "{shown}");
        of(&shown, "flash value", "notice");
        of(&shown, "old id", &old.to_string());
        let shown = one(&url, &["show", &id, "--values"]);
        assert_eq!(of(&shown, "value", "cart")["value"], json!(["three apples"]));
        let text = output(&url, &["show", &id]);
        assert!(text.contains("flash value  notice") && !text.contains("three apples"), "{text}");
        assert!(output(&url, &["show", &id, "--values"]).contains("three apples"));
        session = manager.load(cookie.pair()).unwrap();
        session.set("number", &RawValue::from_string("123456789012345678901234567890".to_owned()).unwrap()).unwrap();
        session.save().unwrap();
        let text = output(&url, &["show", &id, "--values", "--json"]);
        assert!(text.contains("\"value\":123456789012345678901234567890}"), "{text}");
        let ran = run(&url, &["show", "AAAAAAAAAAAAAAAAAAAAAAAA"]);
        assert!(ran.code == Some(1) && ran.err.contains("no live session"), "{ran:?}");
    }
}

#[test]
fn a_look_leaves_a_life_as_it_is() {
    for place in Place::all() {
        let manager = manager(&place.url());
        let cookie = login(&manager, "ada");
        let id = public_id(&manager, &cookie).to_string();
        place.let_time_pass_for_all(Duration::from_secs(600));
        let before = one(&place.url(), &["show", &id]);
        for arguments in [&["list"][..], &["count"], &["show", &id, "--values"]] {
            output(&place.url(), arguments);
        }
        let after = one(&place.url(), &["show", &id]);
        let times =
            |shown: &Value| [shown["refreshed_at"].clone(), shown["expires_at"].clone(), shown["version"].clone()];
        assert_eq!(times(&before), times(&after));
    }
}

#[test]
fn a_session_and_a_user_are_ended() {
    for place in Place::all_and_a_cluster() {
        let (url, manager) = (place.url(), manager(&place.url()));
        let id = |cookie: &String| public_id(&manager, cookie).to_string();
        let (alone, other) = (session_with(&manager, &[("a", "1")]), login(&manager, "eve"));
        let of_ada: Vec<String> = (0..4).map(|_| login(&manager, "ada")).collect();
        let [first, second] = [id(&of_ada[0]), id(&of_ada[1])];
        let (alone_id, other_id) = (id(&alone), id(&other));
        assert_eq!(one(&url, &["end", &alone_id])["ended"], 1);
        assert_eq!(output(&url, &["end", &first]), "1 session has ended\n");
        assert_eq!(run(&url, &["end", &first]).code, Some(1));
        assert!(!is_alive(&manager, &alone) && !is_alive(&manager, &of_ada[0]));
        let refused = run(&url, &["end-user", "ada", "--except", &other_id]);
        assert!(refused.code == Some(1) && refused.err.contains("nothing was ended"), "{refused:?}");
        assert_eq!(manager.group("ada").len().unwrap(), 3);
        assert_eq!(output(&url, &["end-user", "ada", "--except", &second]), "2 sessions have ended\n");
        assert!(is_alive(&manager, &of_ada[1]) && !is_alive(&manager, &of_ada[2]));
        assert_eq!(one(&url, &["end-user", "ada"])["ended"], 1);
        assert_eq!(run(&url, &["end-user", "ada"]).code, Some(1));
        assert!(is_alive(&manager, &other));
    }
}

#[test]
fn left_overs_are_removed() {
    for place in Place::all() {
        let (url, manager) = (place.url(), manager(&place.url()));
        (0..50).for_each(|_| drop(session_with(&manager, &[("a", "1")])));
        match &place {
            Place::Sqlite(sqlite) => {
                sqlite.connect().execute("UPDATE sessions SET expires = 1", ()).unwrap();
            }
            // The sessions are of an earlier generation then.
            Place::Redis(redis) => redis.run::<()>(&["DEL", "mps:generation"]),
            Place::Cluster(_) => unreachable!(),
        }
        assert_eq!(one(&url, &["purge"])["removed"], 50, "{url}");
        let alive = login(&manager, "eve");
        assert_eq!(output(&url, &["purge"]), "0 records of ended sessions were removed\n");
        assert!(is_alive(&manager, &alive));
    }
}
