//! Why a session has ended: for the client's next request, and for the hook of the process that ended it.

use crate::support::place::{Place, on_every_store};
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::{builder, cookie, login, public_id, rotate, session_with, try_login};
use multi_process_session::{EndReason, Error, PublicId, SessionEnd, SessionManager};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn reason(manager: &SessionManager, header: &str) -> Option<EndReason> {
    let (loaded, peeked) = (manager.load(header).unwrap(), manager.peek(header).unwrap());
    assert_eq!(loaded.ended_because(), peeked.ended_because());
    loaded.ended_because()
}

#[test]
fn the_next_request_of_an_ended_session_learns_why() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).max_sessions_per_group(2).idle_timeout(HOUR).build().unwrap();
        let group = manager.group("ada");
        let alive = login(&manager, "ada");
        assert_eq!(reason(&manager, &alive), None);
        for without in ["", "sid=forged", "other=1"] {
            assert_eq!(reason(&manager, without), None, "no session of ours was asked for");
        }
        let logged_out = login(&manager, "bob");
        manager.load(&logged_out).unwrap().destroy().unwrap();
        assert_eq!(reason(&manager, &logged_out), Some(EndReason::LoggedOut));
        let logged_out = session_with(&manager, &[("a", "1")]);
        let _ = manager.destroy(&logged_out).unwrap();
        assert_eq!(reason(&manager, &logged_out), Some(EndReason::LoggedOut));
        assert!(group.remove(public_id(&manager, &alive)).unwrap());
        assert_eq!(reason(&manager, &alive), Some(EndReason::LoggedOutElsewhere));
        let [first, second, third] = [(); 3].map(|()| login(&manager, "ada"));
        assert_eq!(reason(&manager, &first), Some(EndReason::OverLimit));
        group.clear_except(&manager.load(&third).unwrap()).unwrap();
        assert_eq!(reason(&manager, &second), Some(EndReason::LoggedOutElsewhere));
        group.clear().unwrap();
        assert_eq!(reason(&manager, &third), Some(EndReason::LoggedOutElsewhere));
        let visitor = session_with(&manager, &[("a", "1")]);
        try_login(&manager, Some(&visitor), "ada").unwrap();
        assert_eq!(reason(&manager, &visitor), Some(EndReason::NewId));
        let old = login(&manager, "grace");
        rotate(&manager, &old, Duration::from_millis(1));
        place.let_time_pass_for_all(Duration::from_secs(1));
        assert_eq!(reason(&manager, &old), Some(EndReason::NewId));
        let unused = session_with(&manager, &[("a", "1")]);
        place.let_time_pass_for_all(2 * HOUR);
        assert_eq!(reason(&manager, &unused), Some(EndReason::Expired));
        assert_eq!(reason(&manager, &logged_out), Some(EndReason::Expired), "after 5 minutes it is forgotten");
    }
}

#[test]
fn of_several_cookies_the_one_whose_end_is_known_says_why() {
    on_every_store(|builder| {
        let manager = builder.build().unwrap();
        let unknown = SessionManager::builder(crate::support::secret()).store_url("memory:").secure(false);
        let forgotten = session_with(&unknown.build().unwrap(), &[("a", "1")]);
        let ended = session_with(&manager, &[("a", "1")]);
        let _ = manager.destroy(&ended).unwrap();
        for header in [format!("{forgotten}; {ended}"), format!("{ended}; {forgotten}")] {
            assert_eq!(reason(&manager, &header), Some(EndReason::LoggedOut));
        }
        let alive = session_with(&manager, &[("a", "1")]);
        assert_eq!(reason(&manager, &format!("{ended}; {alive}")), None, "the live one is loaded");
    });
}

/// A manager whose hook writes down each end.
fn with_hook(url: &str) -> (SessionManager, impl Fn() -> Vec<(PublicId, EndReason)> + use<>) {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let written = ends.clone();
    let hook = move |end: &SessionEnd| ends.lock().unwrap().push((end.public_id, end.reason));
    let manager = builder(url).max_sessions_per_group(3).on_end(hook).build().unwrap();
    (manager, move || {
        let mut ends = std::mem::take(&mut *written.lock().unwrap());
        ends.sort_by_key(|(id, _)| *id);
        ends
    })
}

#[test]
fn the_hook_is_called_once_for_each_session_that_the_process_ends() {
    for place in Place::all_and_a_cluster() {
        let (manager, ends) = with_hook(&place.url());
        let (other, other_ends) = with_hook(&place.url());
        let group = manager.group("ada");
        let headers = [(); 3].map(|()| login(&other, "ada"));
        let ids = headers.each_ref().map(|header| public_id(&other, header));
        let fourth = login(&manager, "ada");
        assert_eq!(ends(), [(ids[0], EndReason::OverLimit)]);
        assert!(group.remove(ids[1]).unwrap() && !group.remove(ids[1]).unwrap());
        assert_eq!(ends(), [(ids[1], EndReason::LoggedOutElsewhere)], "once, although it was asked for twice");
        let spared = manager.load(&fourth).unwrap();
        assert_eq!(group.clear_except(&spared).unwrap(), 1);
        assert_eq!(ends(), [(ids[2], EndReason::LoggedOutElsewhere)]);
        let id = spared.public_id();
        spared.destroy().unwrap();
        let _ = manager.destroy(&fourth).unwrap();
        assert_eq!(ends(), [(id, EndReason::LoggedOut)]);
        let mut expected =
            [(); 3].map(|()| (public_id(&manager, &login(&manager, "ada")), EndReason::LoggedOutElsewhere));
        expected.sort_by_key(|(id, _)| *id);
        assert_eq!(group.clear().unwrap(), 3);
        assert_eq!(ends(), expected);
        // A logout by an old id ends the session under its present one.
        let old = login(&manager, "ada");
        let id = public_id(&manager, &rotate(&manager, &old, Duration::from_secs(60)));
        let _ = manager.destroy(&old).unwrap();
        assert_eq!(ends(), [(id, EndReason::LoggedOut)]);
        let mut session = manager.load_token(None).unwrap();
        session.set("a", &1).unwrap();
        session.save().unwrap();
        manager.destroy_token(session.token().as_deref()).unwrap();
        assert_eq!(ends(), [(session.public_id(), EndReason::LoggedOut)]);
        assert_eq!(other_ends(), [], "it is not called for what others end");
    }
}

#[test]
fn many_sessions_that_end_at_once_are_all_told() {
    for place in Place::all() {
        let ends = Arc::new(Mutex::new(0));
        let count = ends.clone();
        let manager = builder(&place.url()).on_end(move |_| *count.lock().unwrap() += 1).build().unwrap();
        for _ in 0..1100 {
            login(&manager, "guest");
        }
        assert_eq!(manager.group("guest").clear().unwrap(), 1100);
        assert_eq!(*ends.lock().unwrap(), 1100);
        for _ in 0..600 {
            login(&manager, "guest");
        }
        let mut session = manager.load(None).unwrap();
        session.set_group_name("guest");
        session.limit_group(2, multi_process_session::AtLimit::EndOldest);
        session.save().unwrap();
        assert_eq!((session.ended_by_login().len(), *ends.lock().unwrap()), (599, 1699));
    }
}

#[test]
fn an_end_is_told_once_if_a_reply_is_lost() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let (manager, ends) = with_hook(&proxy.url());
    for lost in [[Fault::LoseReply, Fault::Pass], [Fault::Pass, Fault::LoseReply]] {
        let [first, ..] = [(); 3].map(|()| login(&manager, "ada"));
        let first = public_id(&manager, &first);
        proxy.next(&lost);
        login(&manager, "ada");
        assert_eq!(ends(), [(first, EndReason::OverLimit)], "{lost:?}");
        proxy.next(&lost);
        assert_eq!(manager.group("ada").clear().unwrap(), 3);
        assert_eq!(ends().len(), 3, "{lost:?}");
    }
    for lost in [Fault::LoseReply, Fault::Pass] {
        let logged_out = login(&manager, "bob");
        proxy.next(std::slice::from_ref(&lost));
        let _ = manager.destroy(&logged_out).unwrap();
        assert_eq!(ends().len(), 1, "{lost:?}");
    }
}

#[test]
fn a_session_that_ended_meanwhile_owes_no_cookie() {
    for place in Place::all() {
        let manager = builder(&place.url()).idle_timeout(HOUR).build().unwrap();
        let header = session_with(&manager, &[("a", "1")]);
        place.let_time_pass_for_all(HOUR / 2);
        let mut session = manager.load(&header).unwrap();
        session.set("a", &2).unwrap();
        let _ = manager.destroy(&header).unwrap();
        assert!(matches!(session.save(), Err(Error::Gone)));
        session.remove("a");
        let again = session.save();
        assert!(!matches!(again, Ok(Some(_))), "a renewal was due, and the session has ended: {again:?}");
        let header = {
            let mut session = manager.load(None).unwrap();
            session.flash("notice", "saved").unwrap();
            cookie(&session.save().unwrap().unwrap())
        };
        place.let_time_pass_for_all(HOUR / 2);
        let mut session = manager.load(&header).unwrap();
        let _ = manager.destroy(&header).unwrap();
        assert!(matches!(session.take_flash::<String>("notice"), Err(Error::Gone)));
        assert_eq!(session.save().unwrap(), None, "a renewal was due, and the session has ended");
    }
}
