//! The rights that a user of Redis needs.

use crate::support::redis::{Redis, rights};
use crate::support::{failure, kind, manager, session_with};
use multi_process_session::StoreErrorKind;

#[test]
fn the_rights_that_the_guide_names_are_enough() {
    let redis = Redis::start();
    assert!(rights().contains(&"~mps:*"));
    redis.add_user_of_the_guide();
    let url = Redis::as_user(&redis.url());
    let manager = manager(&url);
    manager.ping().unwrap();
    let mut session = manager.load(None).unwrap();
    session.set_group_name("ada");
    session.save().unwrap();
    let header = session_with(&manager, &[("a", "1")]);
    assert_eq!(manager.group("ada").clear().unwrap(), 1);
    let as_user = redis::Client::open(&*url).unwrap();
    for dangerous in [["CLIENT", "LIST"], ["CONFIG", "RESETSTAT"], ["KEYS", "*"], ["FLUSHALL", "SYNC"]] {
        let answer = redis::cmd(dangerous[0]).arg(dangerous[1]).exec(&mut as_user.get_connection().unwrap());
        assert_eq!(answer.unwrap_err().code(), Some("NOPERM"), "{dangerous:?}");
    }
    let mut new = manager.load(None).unwrap();
    new.set("a", &1).unwrap();
    redis.run::<()>(&["ACL", "SETUSER", "sessions", "-time"]);
    assert_eq!(kind(new.save()), StoreErrorKind::Rejected);
    // A load whose plain commands are refused is made by a script.
    redis.run::<()>(&["ACL", "SETUSER", "sessions", "+time", "-echo"]);
    assert!(!manager.load(&header).unwrap().is_new());
    redis.run::<()>(&["ACL", "SETUSER", "sessions", "-hgetall"]);
    assert_eq!(kind(manager.load(&header)), StoreErrorKind::Rejected);
}

#[test]
fn a_new_id_that_a_missing_right_breaks_off_is_never_said_to_be_saved() {
    let redis = Redis::start();
    let manager = manager(&redis.url());
    let mut session = manager.load(None).unwrap();
    session.set_group_name("ada");
    session.save().unwrap();
    session.regenerate();
    redis.run::<()>(&["ACL", "SETUSER", "default", "-zrem"]);
    assert_eq!(kind(session.save()), StoreErrorKind::Rejected);
    for right in ["-zrem", "+zrem"] {
        redis.run::<()>(&["ACL", "SETUSER", "default", right]);
        let (what, message) = failure(session.save());
        assert!(what == StoreErrorKind::Backend && message.contains("rights"), "{message}");
    }
}
