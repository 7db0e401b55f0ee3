//! New ids with a grace: requests that are under way with the old id are not logged out.

use crate::support::place::Place;
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::{builder, cookie, let_it_know_the_scripts, login, manager, rotate, session_with};
use multi_process_session::{Error, Refresh, Session, SessionManager};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes two sessions: one without a group, and one in a group.
fn sessions(manager: &SessionManager) -> [String; 2] {
    [session_with(manager, &[("user", "ada")]), login(manager, "ada")]
}

fn is_alive(manager: &SessionManager, header: &str) -> bool {
    !manager.load(header).unwrap().is_new()
}

#[test]
fn for_the_grace_the_old_id_reads_and_saves_and_gets_no_cookie() {
    for place in Place::all_and_a_cluster() {
        let manager = builder(&place.url()).refresh(Refresh::EveryLoad).build().unwrap();
        for old in sessions(&manager) {
            let mut under_way = manager.load(&old).unwrap();
            let new = rotate(&manager, &old, GRACE);
            assert_ne!(old, new);
            // One request came before the change, and one comes after it.
            under_way.set("before", &1).unwrap();
            assert_eq!(under_way.save().unwrap(), None, "the old cookie must not take the place of the new one");
            let mut late = manager.load(&old).unwrap();
            assert_eq!(late.keys(), ["before", "user"]);
            late.set("after", &2).unwrap();
            late.increment("count", 1).unwrap();
            late.set_idle_timeout(3 * DAY);
            assert_eq!(late.save().unwrap(), None);
            assert_eq!(late.get("count").unwrap(), Some(1));
            let session = manager.load(&new).unwrap();
            assert_eq!(session.keys(), ["after", "before", "count", "user"]);
            for other in [&under_way, &late] {
                assert_eq!(other.public_id(), session.public_id(), "it is the same session");
                assert_eq!(other.group_name(), session.group_name());
            }
            if let Some(name) = session.group_name() {
                let group = manager.group(name);
                assert_eq!(group.sessions().unwrap().len(), 1);
                assert_eq!(group.clear_except(&late).unwrap(), 0, "it is the one that stays");
                assert!(is_alive(&manager, &new));
            }
        }
    }
}

#[test]
fn the_old_id_cannot_be_replaced_once_more() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        for old in sessions(&manager) {
            let (mut slow, mut strict) = (manager.load(&old).unwrap(), manager.load(&old).unwrap());
            let new = rotate(&manager, &old, GRACE);
            let before = place.records();
            // Two requests ask for a new id with a grace: the first one has changed it for both.
            slow.set("slow", &1).unwrap();
            slow.regenerate_with_grace(GRACE);
            assert_eq!(slow.save().unwrap(), None);
            let mut late = manager.load(&old).unwrap();
            late.set("late", &1).unwrap();
            late.regenerate_with_grace(GRACE);
            assert_eq!(late.save().unwrap(), None);
            assert_eq!(manager.load(&new).unwrap().keys(), ["late", "slow", "user"]);

            let is_grouped = late.group_name().is_some();
            type Change = (fn(&mut Session), bool);
            let changes: [Change; 3] = [
                (Session::regenerate, true),
                (|session| session.set_group_name("grace"), true),
                (|session| session.leave_group(), is_grouped),
            ];
            for (change, asks_for_an_id) in changes {
                let mut late = manager.load(&old).unwrap();
                change(&mut late);
                late.set("late", &2).unwrap();
                let answer = late.save();
                assert_eq!(matches!(answer, Err(Error::Gone)), asks_for_an_id, "{answer:?}");
            }
            strict.set("refused", &1).unwrap();
            strict.regenerate();
            assert!(matches!(strict.save(), Err(Error::Gone)));
            assert_eq!(place.records(), before, "no record was made");
            assert_eq!(manager.group("grace").len().unwrap(), 0);
        }
    }
}

#[test]
fn the_grace_ends_by_itself_and_with_the_session() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        for end in 0..5 {
            let old = login(&manager, "ada");
            let new = rotate(&manager, &old, GRACE);
            let newer = rotate(&manager, &new, GRACE);
            assert!(
                [&old, &new, &newer].iter().all(|header| is_alive(&manager, header)),
                "two graces one after another"
            );
            match end {
                0 => {
                    place.let_time_pass_for_all(GRACE);
                    assert!(!is_alive(&manager, &old) && !is_alive(&manager, &new) && is_alive(&manager, &newer));
                    let _ = manager.destroy(&newer).unwrap();
                }
                // A logout by any of the ids ends the session.
                1 => drop(manager.destroy(&old).unwrap()),
                2 => drop(manager.load(&old).unwrap().destroy().unwrap().expect("the removal cookie")),
                3 => drop(manager.destroy(&newer).unwrap()),
                _ => assert_eq!(manager.group("ada").clear().unwrap(), 1),
            }
            assert!(![&old, &new, &newer].iter().any(|header| is_alive(&manager, header)), "case {end}");
            assert_eq!(manager.group("ada").sessions().unwrap().len(), 0);
        }
        // A request that was under way logs out.
        let old = login(&manager, "ada");
        let under_way = manager.load(&old).unwrap();
        let new = rotate(&manager, &old, GRACE);
        under_way.destroy().unwrap();
        assert!(!is_alive(&manager, &new));
    }
}

#[test]
fn however_many_new_ids_there_were_the_first_still_leads_there() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let first = login(&manager, "ada");
        let mut slow = manager.load(&first).unwrap();
        let last = (0..30).fold(first.clone(), |header, _| rotate(&manager, &header, GRACE));
        slow.set("slow", &1).unwrap();
        assert_eq!(slow.save().unwrap(), None);
        assert_eq!(manager.load(&first).unwrap().keys(), ["slow", "user"]);
        let _ = manager.destroy(&first).unwrap();
        assert!(!is_alive(&manager, &last));
    }
}

#[test]
fn all_requests_of_a_page_find_their_session_while_its_id_changes() {
    for place in Place::all_and_a_cluster() {
        // Each request refreshes the session as well.
        let manager = builder(&place.url()).refresh(Refresh::EveryLoad).build().unwrap();
        for round in 0..150 {
            let header = login(&manager, "ada");
            let start = Barrier::new(5);
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        start.wait();
                        for _ in 0..3 {
                            assert!(is_alive(&manager, &header), "round {round}");
                        }
                    });
                }
                start.wait();
                let newer = rotate(&manager, &header, GRACE);
                rotate(&manager, &newer, GRACE);
            });
        }
    }
}

#[test]
fn log_out_everywhere_else_spares_a_session_whose_id_was_just_replaced_and_ends_the_grace() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let (old, other) = (login(&manager, "ada"), login(&manager, "ada"));
        let session = manager.load(&old).unwrap();
        let newer = rotate(&manager, &rotate(&manager, &old, GRACE), GRACE);
        assert_eq!(manager.group("ada").clear_except(&session).unwrap(), 1);
        assert!(is_alive(&manager, &newer) && !is_alive(&manager, &other));
        assert!(!is_alive(&manager, &old), "whoever holds the id of before is out as well");
    }
}

#[test]
fn a_login_leaves_no_grace() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        for change in 0..4 {
            let old = login(&manager, "ada");
            let mut session = manager.load(&old).unwrap();
            match change {
                0 => {
                    session.regenerate_with_grace(GRACE);
                    session.set_group_name("grace");
                }
                1 => {
                    session.set_group_name("ada");
                    session.regenerate_with_grace(GRACE);
                }
                2 => {
                    session.leave_group();
                    session.regenerate_with_grace(GRACE);
                }
                _ => {
                    session.regenerate();
                    session.regenerate_with_grace(GRACE);
                }
            }
            let new = cookie(&session.save().unwrap().unwrap());
            assert!(!is_alive(&manager, &old) && is_alive(&manager, &new), "case {change}");
        }
        // The same if the session has an old id in its grace already.
        let old = login(&manager, "ada");
        let new = rotate(&manager, &old, GRACE);
        let mut session = manager.load(&new).unwrap();
        session.set_group_name("ada");
        session.save().unwrap();
        assert!(!is_alive(&manager, &old) && !is_alive(&manager, &new));
    }
}

#[test]
fn forms_of_either_id_are_accepted_for_the_grace() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let old = login(&manager, "ada");
        let of_old = manager.load(&old).unwrap().csrf_token();
        let new = rotate(&manager, &old, GRACE);
        let mut late = manager.load(&old).unwrap();
        assert!(late.verify_csrf(&of_old), "a form of before, sent with the old cookie");
        let of_late = late.csrf_token();
        let session = manager.load(&new).unwrap();
        assert!(session.verify_csrf(&of_late), "a page that was loaded with the old cookie, sent with the new one");
        assert!(session.verify_csrf(&of_old), "a page that was loaded before, sent with the new one");
        assert!(!manager.load(&login(&manager, "ada")).unwrap().verify_csrf(&of_late), "another session's");
    }
}

#[test]
fn flash_transactions_and_tokens_work_with_the_old_id() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        let old = login(&manager, "ada");
        let mut session = manager.load(&old).unwrap();
        session.flash("notice", "saved").unwrap();
        session.save().unwrap();
        let mut under_way = manager.load(&old).unwrap();
        rotate(&manager, &old, GRACE);
        assert_eq!(under_way.take_flash::<String>("notice").unwrap().as_deref(), Some("saved"));
        assert_eq!(under_way.save().unwrap(), None);
        let (_, set_cookie) = manager.transact(&old, |session| session.set("a", &1)).unwrap();
        assert_eq!(set_cookie, None);

        let mut session = manager.load_token(None).unwrap();
        session.set("a", &1).unwrap();
        session.save().unwrap();
        let old = session.token().unwrap();
        let mut session = manager.load_token(Some(&old)).unwrap();
        session.regenerate_with_grace(GRACE);
        session.save().unwrap();
        assert_ne!(session.token(), Some(old.clone()));
        let mut late = manager.load_token(Some(&old)).unwrap();
        late.set("b", &1).unwrap();
        late.save().unwrap();
        assert_eq!(late.token(), None, "the client has a newer one");
        manager.destroy_token(Some(&old)).unwrap();
        assert!(manager.load_token(Some(&session.token().unwrap())).unwrap().is_new());
    }
}

#[test]
fn a_grace_costs_few_round_trips_and_survives_a_lost_reply() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = manager(&proxy.url());
    let_it_know_the_scripts(&redis.url());
    for old in sessions(&manager) {
        let mut under_way = manager.load(&old).unwrap();
        let mut session = manager.load(&old).unwrap();
        session.increment("count", 1).unwrap();
        session.regenerate_with_grace(GRACE);
        proxy.next(&[Fault::LoseReply]);
        let new = cookie(&session.save().unwrap().expect("answered as the first time"));
        let count = |what: &str, expected: usize, request: &mut dyn FnMut()| {
            let (commands, ()) = redis.commands(request);
            assert_eq!(commands.len(), expected, "{what}: {commands:?}");
        };
        count("a load", 3, &mut || assert!(is_alive(&manager, &old)));
        let mut late = manager.load(&old).unwrap();
        late.increment("count", 1).unwrap();
        count("a save of it", 1, &mut || drop(late.save().unwrap()));
        under_way.increment("count", 1).unwrap();
        count("a save of a request under way", 2, &mut || drop(under_way.save().unwrap()));
        assert_eq!(manager.load(&new).unwrap().get("count").unwrap(), Some(3));
        // The reply to a save is lost, and then the id changes.
        let mut slow = manager.load(&new).unwrap();
        slow.increment("count", 1).unwrap();
        proxy.next(&[Fault::Pass, Fault::LoseReply]);
        let newest = rotate(&manager, &new, GRACE);
        assert_eq!(slow.save().unwrap(), None);
        assert_eq!(manager.load(&newest).unwrap().get("count").unwrap(), Some(4));
        count("a logout", 2, &mut || drop(manager.destroy(&new).unwrap()));
        assert!(!is_alive(&manager, &newest));
    }
}

#[test]
fn a_grace_is_bounded() {
    for place in Place::all_and_a_cluster() {
        let manager = manager(&place.url());
        for (grace, lives_for) in [(DAY, 5 * 60), (Duration::ZERO, 0)] {
            let old = session_with(&manager, &[("a", "1")]);
            let mut session = manager.load(&old).unwrap();
            session.regenerate_with_grace(grace);
            session.save().unwrap();
            if lives_for > 0 {
                place.let_time_pass_for_all(Duration::from_secs(lives_for - 10));
                assert!(is_alive(&manager, &old));
            }
            place.let_time_pass_for_all(Duration::from_secs(11));
            assert!(!is_alive(&manager, &old));
        }
    }
}
