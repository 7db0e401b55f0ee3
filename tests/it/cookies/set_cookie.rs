//! When a `Set-Cookie` header is written.

use crate::support::place::{Place, on_every_store};
use crate::support::{builder_with_own_timeouts, cookie, login};
use multi_process_session::{Error, Refresh};
use std::time::Duration;

#[test]
fn cookies_are_written_when_they_are_due_and_not_otherwise() {
    on_every_store(|builder| {
        let manager = builder.idle_timeout(Duration::from_secs(100)).build().unwrap();
        let is_cookie = |text: &str| {
            let token = text.strip_prefix("sid=")?.strip_suffix("; HttpOnly; SameSite=Lax; Path=/; Max-Age=101")?;
            (token.len() == 104).then_some(())
        };
        // No cookie came, or one that is not ours, and nothing was set.
        for header in [None, Some("other=1"), Some("sid=forged"), Some("sid="), Some("sid")] {
            assert_eq!(manager.load(header).unwrap().save().unwrap(), None);
        }
        let mut untouched = manager.load(None).unwrap();
        untouched.set("a", &1).unwrap();
        untouched.remove("a");
        untouched.set_idle_timeout(Duration::from_secs(5));
        untouched.regenerate();
        assert_eq!(untouched.save().unwrap(), None, "nothing is left to keep");
        // Something was set in a new session.
        let mut session = manager.load(None).unwrap();
        session.set("a", &1).unwrap();
        let set_cookie = session.save().unwrap().unwrap();
        is_cookie(set_cookie.as_str()).unwrap_or_else(|| panic!("{set_cookie}"));
        assert_eq!(session.save().unwrap(), None, "once");
        // It was read only, or changed, and no refresh was due.
        let header = cookie(&set_cookie);
        let mut session = manager.load(&header).unwrap();
        assert_eq!(session.save().unwrap(), None);
        session.set("a", &2).unwrap();
        assert_eq!(session.save().unwrap(), None);
        // A new id.
        session.regenerate();
        let renewed = session.save().unwrap().unwrap();
        is_cookie(renewed.as_str()).unwrap();
        assert_ne!(cookie(&renewed), header);
        // The cookie is validly signed, but the session has ended: no cookie, or a fresh id.
        let mut dead = manager.load(&header).unwrap();
        assert_eq!(dead.save().unwrap(), None);
        dead.set("b", &1).unwrap();
        let fresh = dead.save().unwrap().unwrap();
        is_cookie(fresh.as_str()).unwrap();
        assert_ne!(cookie(&fresh), header);
        // The session ends in the middle of the request.
        let header = cookie(&renewed);
        let mut late = manager.load(&header).unwrap();
        let _ = manager.destroy(&header).unwrap();
        late.regenerate();
        assert!(matches!(late.save(), Err(Error::Gone)));
        // It gets an idle timeout of its own.
        let mut session = manager.load(&cookie(&fresh)).unwrap();
        session.set_idle_timeout(Duration::from_secs(1000));
        assert!(session.save().unwrap().unwrap().as_str().ends_with("; Max-Age=1010"));
    });
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn a_cookie_is_renewed_before_browsers_drop_it() {
    for place in Place::all_and_a_cluster() {
        let long = 800 * DAY;
        for builder in [
            builder_with_own_timeouts(&place.url()).absolute_timeout(long),
            builder_with_own_timeouts(&place.url()).refresh(Refresh::Never),
        ] {
            let manager = builder.idle_timeout(long).build().unwrap();
            let header = login(&manager, "ada");
            place.let_time_pass_for_all(29 * DAY);
            assert!(manager.load(&header).unwrap().save().unwrap().is_none(), "not yet");
            place.let_time_pass_for_all(2 * DAY);
            let mut session = manager.load(&header).unwrap();
            assert!(session.save().unwrap().is_some());
            assert!(manager.load(&header).unwrap().save().unwrap().is_none(), "once");
            manager.group("ada").clear().unwrap();
        }
    }
}
