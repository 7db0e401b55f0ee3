//! Which session a request is for: several cookies of our name, junk, cookies of ended sessions.

use crate::support::place::{Place, on_every_store};
use crate::support::redis::Redis;
use crate::support::wait::next_millisecond;
use crate::support::{builder, cookie, is_alive, login, manager, session_with};
use multi_process_session::Refresh;
use std::time::Duration;

#[test]
fn several_cookies_of_our_name() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let one = session_with(&manager, &[("who", "one")]);
        let two = session_with(&manager, &[("who", "two")]);
        let is_new = |headers: &[&str]| manager.load(headers).unwrap().is_new();
        assert!(!is_new(&[&format!("sid=junk; {one}; sid=; {one}")]));
        assert!(!is_new(&["other=1", &one, "sid=junk"]));
        assert!(is_new(&[&format!("{one}; {two}")]), "tossed");
        assert!(is_new(&[&one, &two]), "tossed");
        assert!(!is_new(&[&format!("{}{one}", "sid=x; ".repeat(7))]), "8");
        assert!(is_new(&[&format!("{}{one}", "sid=x; ".repeat(8))]), "9");
        assert!(is_new(&[&format!("{one}{}", "; sid=x".repeat(8))]), "9");
        // A logout ends all sessions, however much junk comes before their cookies.
        let three = session_with(&manager, &[("who", "three")]);
        let _ = manager.destroy(&format!("{}{three}", "sid=x; ".repeat(8))).unwrap();
        assert!(is_new(&[&three]));
        // A request loads at most 8 sessions, and a logout ends all of them.
        let many: Vec<String> = (0..9).map(|_| session_with(&manager, &[("who", "many")])).collect();
        assert!(is_new(&[&many.join("; ")]));
        let _ = manager.destroy(&many.join("; ")).unwrap();
        assert!(many.iter().all(|header| is_new(&[header.as_str()])));
        let [four, five] = ["four", "five"].map(|who| session_with(&manager, &[("who", who)]));
        let _ = manager.destroy(&[four.as_bytes(), b"sid=\xff", five.as_bytes()]).unwrap();
        assert!(is_new(&[&four]) && is_new(&[&five]));
        let _ = manager.destroy(&format!("{one}; {two}")).unwrap();
        assert!(is_new(&[&one]) && is_new(&[&two]));
    });
}

#[test]
fn cookies_of_ended_sessions_do_not_hide_a_live_one() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = |cookies: &[&String]| cookies.iter().map(|cookie| cookie.as_str()).collect::<Vec<_>>().join("; ");
        let ended: Vec<String> = (0..7).map(|_| session_with(&manager, &[("who", "ended")])).collect();
        let _ = manager.destroy(&header(&ended.iter().collect::<Vec<_>>())).unwrap();
        let live = session_with(&manager, &[("who", "live")]);
        for place in 0..=7 {
            let mut cookies: Vec<&String> = ended.iter().collect();
            cookies.insert(place, &live);
            let mut session = manager.load(&header(&cookies)).unwrap();
            assert_eq!(session.get::<String>("who").unwrap().as_deref(), Some("live"), "{place}");
            assert_eq!(session.save().unwrap(), None, "it is no reason to renew the cookie");
            assert_eq!(manager.load(&cookies).unwrap().public_id(), session.public_id());
        }
        let both = header(&[&ended[0], &live]);
        let (count, set_cookie) = manager
            .transact(&both, |session| {
                session.increment("count", 1)?;
                session.get::<u32>("count")
            })
            .unwrap();
        assert_eq!((count, set_cookie), (Some(1), None));

        // After a login with both cookies, the other one is not taken for a second session.
        let mut session = manager.load(&both).unwrap();
        session.set_group_name("ada");
        let login = cookie(&session.save().unwrap().unwrap());
        assert_eq!(manager.load(&header(&[&live, &login, &ended[0]])).unwrap().group_name(), Some("ada"));
        let _ = manager.destroy(&header(&[&ended[0], &login])).unwrap();
        let mut session = manager.load(&header(&[&live, &login, &ended[0]])).unwrap();
        assert!(session.is_new());
        session.set("who", "new").unwrap();
        assert!(session.save().unwrap().is_some());
    });
}

#[test]
fn one_session_by_its_old_id_and_its_new_one_is_one_session() {
    on_every_store(|builder| {
        let manager = builder.idle_timeout(Duration::from_secs(600)).refresh(Refresh::EveryLoad).build().unwrap();
        let old = session_with(&manager, &[("who", "one")]);
        let other = session_with(&manager, &[("who", "other")]);
        let mut session = manager.load(&old).unwrap();
        session.regenerate_with_grace(Duration::from_secs(60));
        let new = cookie(&session.save().unwrap().unwrap());
        for both in [format!("{old}; {new}"), format!("{new}; {old}")] {
            next_millisecond();
            let mut session = manager.load(&both).unwrap();
            assert_eq!(session.get::<String>("who").unwrap().as_deref(), Some("one"));
            // The cookie with the new id is renewed, whichever of the two ids the refresh used.
            assert_eq!(session.save().unwrap().map(|set_cookie| cookie(&set_cookie)).as_ref(), Some(&new));
        }
        assert!(manager.load(&format!("{old}; {other}; {new}")).unwrap().is_new(), "two sessions");
    });
}

#[test]
fn only_a_request_with_several_tokens_of_ours_takes_several_round_trips() {
    let redis = Redis::start();
    let manager = builder(&redis.url()).build().unwrap();
    let [one, two, three] = ["1", "2", "3"].map(|who| session_with(&manager, &[("who", who)]));
    let _ = manager.destroy(&one).unwrap();
    manager.load(&one).unwrap(); // Now the server knows the script.
    let trips = |header: String| redis.commands(|| manager.load(&header).unwrap()).0.len();
    assert_eq!(trips(format!("sid=junk; {two}; sid={}; {two}", "A".repeat(100))), 1);
    assert_eq!(trips(format!("{one}; {two}")), 2);
    assert_eq!(trips(format!("{two}; {three}; {one}")), 2, "two live ones are enough");
    assert_eq!(trips(vec![two; 9].join("; ")), 0);
}

#[test]
fn junk_in_the_header_is_no_session_and_no_panic() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let header = session_with(&manager, &[("a", "1")]);
        let token = header.strip_prefix("sid=").unwrap();
        let mut junk: Vec<Vec<u8>> = vec![
            vec![],
            b"sid".to_vec(),
            vec![0; 1000],
            vec![b';'; 1 << 20],
            vec![b'a'; 1 << 20],
            format!("sid={}", "A".repeat(1 << 20)).into_bytes(),
            format!("sid=\"{token}\"").into_bytes(),
            format!("sid={token}=").into_bytes(),
            format!("sid={token}\0").into_bytes(),
            format!("sid={token},").into_bytes(),
            format!("sid=%{token}").into_bytes(),
            format!("SID={token}").into_bytes(),
            format!("sid ={token}").into_bytes(),
            format!("sid= {token}").into_bytes(),
            [b"sid=\xff\xfe".as_slice(), token.as_bytes()].concat(),
            [b"sid=".as_slice(), token.as_bytes(), b"\xa0"].concat(),
        ];
        junk.push("sid=x;".repeat(200_000).into_bytes());
        for header in &junk {
            assert!(manager.load(&[header]).unwrap().is_new(), "{:?}", &header[..header.len().min(80)]);
        }
        assert!(!manager.load(&[format!("\t{header} ;x=\u{fe}").as_bytes()]).unwrap().is_new());
    });
}

#[test]
fn the_namespace_keeps_applications_apart() {
    let redis = Redis::start();
    let one = builder(&redis.url()).namespace("one").build().unwrap();
    let two = builder(&redis.url()).namespace("two").build().unwrap();
    let header = session_with(&one, &[("a", "1")]);
    assert!(two.load(&header).unwrap().is_new());
    assert!(redis.keys().iter().all(|key| key.starts_with("one:")));
}

#[test]
fn a_logout_is_not_hindered_by_cookies_that_somebody_planted() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let planted: Vec<String> = (0..20).map(|_| login(&manager, "mallory")).collect();
        let own = login(&manager, "ada");
        let _ = manager.destroy(&format!("{}; {own}", planted.join("; "))).unwrap();
        assert!(!is_alive(&manager, &own));
    }
}
