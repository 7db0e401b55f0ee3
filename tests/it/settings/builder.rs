//! The settings: the largest ones work, and others are refused with words that say what to do.

use crate::support::place::Place;
use crate::support::{cookie, secret};
use multi_process_session::{Refresh, SameSite, Secret, SessionManager, SessionManagerBuilder};
use std::time::{Duration, SystemTime};

fn builder() -> SessionManagerBuilder {
    SessionManager::builder(secret()).store_url("memory:")
}

fn refused(builder: SessionManagerBuilder) -> String {
    builder.build().expect_err("these settings are to be refused").to_string()
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn the_defaults_and_the_limits_themselves_are_fine() {
    for fine in [
        builder(),
        builder().idle_timeout(Duration::from_millis(1)).refresh(Refresh::After(DAY)),
        builder().idle_timeout(DAY).absolute_timeout(DAY),
        builder().idle_timeout(36_500 * DAY).refresh(Refresh::Never),
        builder().max_session_bytes(1).pool_size(1).max_sessions_per_group(1).namespace("a-B_9."),
        builder().max_session_bytes(512 << 20).pool_size(1000).max_sessions_per_group(100_000),
        builder().operation_timeout(Duration::from_secs(3600)),
        (0..16).fold(builder(), |builder, _| builder.accept_secret(secret())),
        builder().same_site(SameSite::None).partitioned(true),
        builder().secure(false).same_site(SameSite::Strict).domain("example.com").path("/a/b"),
    ] {
        fine.build().unwrap();
    }
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    for (wrong, words) in [
        (builder().idle_timeout(Duration::ZERO), "idle_timeout is shorter than a millisecond"),
        (builder().absolute_timeout(Duration::ZERO), "absolute_timeout is shorter"),
        (builder().operation_timeout(Duration::from_micros(999)), "operation_timeout is shorter"),
        (builder().refresh(Refresh::After(Duration::ZERO)), "refresh is shorter"),
        (builder().idle_timeout(Duration::MAX), "idle_timeout is over 100 years"),
        (builder().absolute_timeout(6 * DAY), "(604800s) is longer than the absolute_timeout (518400s)"),
        (builder().operation_timeout(Duration::from_secs(3601)), "operation_timeout is over an hour"),
        (builder().pool_size(0), "between 1 and 1,000"),
        (builder().pool_size(1001), "between 1 and 1,000"),
        (builder().pool_size(u32::MAX), "between 1 and 1,000"),
        (builder().max_sessions_per_group(0), "between 1 and 100,000"),
        (builder().max_sessions_per_group(100_001), "between 1 and 100,000"),
        (builder().max_sessions_per_group(usize::MAX), "leave it out for no limit"),
        ((0..17).fold(builder(), |builder, _| builder.accept_secret(secret())), "more than 16 secrets"),
        (builder().max_session_bytes(0), "between 1 and 512 MiB"),
        (builder().max_session_bytes(usize::MAX), "between 1 and 512 MiB"),
        (builder().namespace(""), "1 to 64 ASCII letters"),
        (builder().namespace("a:b"), "1 to 64 ASCII letters"),
        (builder().same_site(SameSite::None).secure(false), "call secure(true)"),
        (builder().partitioned(true).secure(false), "call secure(true)"),
        (builder().cookie_name("a;b"), "RFC 6265bis"),
        (builder().cookie_name("__Secure-a").secure(false), "\"__secure-\" without Secure"),
        (builder().path("/a\r\nSet-Cookie: b"), "begin with '/'"),
        (builder().domain("a;b"), "host name"),
        (builder().path("/caf é"), "percent-encode blanks"),
        (builder().domain("localhost"), "leave domain() out"),
        (builder().domain("127.0.0.1"), "an IP address; leave"),
        (SessionManager::builder(secret()), "call store_url("),
    ] {
        let message = refused(wrong);
        assert!(message.contains(words), "{message}");
    }
    assert!(Secret::new([0; 31]).unwrap_err().to_string().contains("31 bytes; give at least 32"));
}

/// With the largest settings, the first call takes neither long nor much memory.
#[test]
fn the_largest_settings_work() {
    for place in Place::all() {
        let builder = builder().store_url(&place.url()).pool_size(1000).max_sessions_per_group(100_000);
        let builder = builder.idle_timeout(36_500 * DAY).absolute_timeout(36_500 * DAY).max_session_bytes(512 << 20);
        let manager = builder.operation_timeout(Duration::from_secs(3600)).secure(false).build().unwrap();
        let mut session = manager.load(None).unwrap();
        session.set_idle_timeout(Duration::MAX);
        session.set_group_name("ada");
        let header = cookie(&session.save().unwrap().unwrap());
        let session = manager.load(&header).unwrap();
        assert!(session.expires_at().unwrap() > SystemTime::now() + 36_000 * DAY);
        assert_eq!(manager.group("ada").len().unwrap(), 1);
    }
}
