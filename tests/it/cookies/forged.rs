//! Forged tokens: what we did not sign is refused without asking Redis, and a signed id that Redis does not know is not
//! adopted.

use crate::support::redis::Redis;
use crate::support::{builder, cookie, manager, session_with};
use multi_process_session::{SameSite, Secret, SessionManager};
use std::time::Duration;

#[test]
fn every_changed_and_every_shortened_token_is_refused_without_a_round_trip() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("user", "ada")]);
    let token_start = "sid=".len();
    let (commands, ()) = redis.commands(|| {
        for position in token_start..header.len() {
            for byte in (0..=255).filter(|byte| *byte != header.as_bytes()[position]) {
                let mut forged = header.clone().into_bytes();
                forged[position] = byte;
                assert!(manager.load(&[&forged]).unwrap().is_new(), "{position} {byte}");
            }
            assert!(manager.load(&header[..position]).unwrap().is_new(), "{position}");
        }
        for (forged, set_cookie) in [(&header[..50], None), ("sid=", None), ("", None)] {
            assert_eq!(manager.load(forged).unwrap().save().unwrap(), set_cookie);
            let _ = manager.destroy(forged).unwrap();
        }
    });
    assert_eq!(commands, Vec::<String>::new());
    assert!(!manager.load(&header).unwrap().is_new());
}

#[test]
fn a_token_of_another_setting_or_secret_is_refused_without_a_round_trip() {
    let redis = Redis::start();
    let header = session_with(&manager(&redis.url()), &[("user", "ada")]);
    let url = redis.url();
    let other_secret = Secret::new([7; 32]).unwrap();
    let strangers = [
        builder(&url).namespace("other"),
        builder(&url).cookie_name("other"),
        builder(&url).path("/other"),
        builder(&url).domain("example.com"),
        builder(&url).secure(true).path("/other"),
        SessionManager::builder(other_secret).store_url(&url).secure(false),
    ];
    let (commands, ()) = redis.commands(|| {
        for stranger in strangers {
            let stranger = stranger.build().unwrap();
            for name in ["sid", "other", "__Secure-sid"] {
                let header = header.replacen("sid", name, 1);
                assert!(stranger.load(&header).unwrap().is_new());
            }
        }
    });
    assert_eq!(commands, Vec::<String>::new());
}

/// A browser keeps both cookies and sends both. The cookie from before the switch must not get in the way of the other.
#[test]
fn a_switch_leaves_cookies_behind_that_are_worth_nothing_and_do_no_harm() {
    let redis = Redis::start();
    let embedded = |partitioned: bool| {
        let settings = builder(&redis.url()).secure(true).same_site(SameSite::None);
        settings.partitioned(partitioned).build().unwrap()
    };
    let https = |secure: bool| builder(&redis.url()).secure(secure).path("/app").build().unwrap();
    for (before, after) in [
        (embedded(false), embedded(true)),
        (embedded(true), embedded(false)),
        (https(false), https(true)),
        (https(true), https(false)),
    ] {
        let old = session_with(&before, &[("user", "ada")]);
        let new = session_with(&after, &[("user", "ada")]);
        assert!(after.load(&old).unwrap().is_new(), "{old}");
        let (_, token) = old.split_once('=').unwrap();
        let (name, _) = new.split_once('=').unwrap();
        assert!(after.load(&format!("{name}={token}")).unwrap().is_new(), "under the other name");
        for both in [format!("{old}; {new}"), format!("{new}; {old}")] {
            assert_eq!(after.load(&both).unwrap().get::<String>("user").unwrap().as_deref(), Some("ada"), "{both}");
        }
        let _ = after.destroy(&format!("{old}; {new}")).unwrap();
        assert!(after.load(&new).unwrap().is_new());
    }
}

#[test]
fn a_signed_id_that_redis_does_not_know_is_not_adopted() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let header = session_with(&manager, &[("user", "ada")]);
    let _: () = redis.run(&["FLUSHALL"]);

    let mut session = manager.load(&header).unwrap();
    assert!(session.is_new() && session.is_empty());
    let dead = session.public_id();
    assert_eq!(session.save().unwrap(), None, "no removal cookie: another tab may just have logged in");
    session.set("cart", "full").unwrap();
    let set_cookie = session.save().unwrap().expect("a new session has a cookie");
    let fresh = cookie(&set_cookie);
    assert_ne!(fresh, header);
    assert_eq!(session.public_id(), dead, "the id was fresh from the start");
    assert_eq!(redis.keys(), [format!("mps:{}", session.public_id())]);
    assert!(manager.load(&header).unwrap().is_new());
    assert_eq!(manager.load(&fresh).unwrap().keys(), ["cart"]);
}

#[test]
fn only_digests_of_ids_are_stored() {
    use base64::Engine;
    let redis = Redis::start();
    let manager = builder(&redis.url()).idle_timeout(Duration::from_secs(3600)).build().unwrap();
    let header = session_with(&manager, &[("user", "ada")]);
    let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&header["sid=".len()..]).unwrap();
    let id = &token[1..25];
    let key = redis.keys().remove(0);
    let stored: Vec<u8> =
        redis.record(&key).into_iter().flat_map(|(field, value)| [field.into_bytes(), value]).flatten().collect();
    for kept in [key.as_bytes(), &stored] {
        for part in [id, base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id).as_bytes()] {
            assert!(!kept.windows(16).any(|window| part.windows(16).any(|secret| secret == window)));
        }
    }
}
