//! Limits of groups. Group 6 ends the oldest of more than 3 sessions, group 8 refuses the newest, and group 7 has no
//! limit.

use super::history::{Call, Changes, History, Id, NewId, Operation, Outcome, Reason};
use super::{ALIVE, GONE, complaints_of, done, is_fine, is_wrong, killed, op, renew, resent, save, set};

const LARGER: &str = "a group is larger than its limit";
const NOT_OVER: &str = "a login ended a session that was not over the limit";
const NOT_TOLD: &str = "a limit ended a session, and no login told it";
const NOT_FULL: &str = "a login was refused, and its group was not full";

/// Makes a session in a group, from 10 times its number on. Its cookie is 10 times the number, too.
fn login(number: Id, group: u32) -> Operation {
    let call = Call::Create(renew(NewId::Join(group)));
    let at = number * 10;
    Operation { session: number, ..op(number, (at, at + 9), 0, call, done(Some(at))) }
}

/// A login that ends these sessions.
fn login_that_ends(number: Id, group: u32, sessions: &[Id]) -> Operation {
    let (public, token) = (number * 100, Some(number * 10));
    let ended = sessions.iter().map(|session| session * 100).collect();
    Operation { outcome: Some(Outcome::Done { public, token, counts: Vec::new(), ended }), ..login(number, group) }
}

/// A login that the limit refuses.
fn refused_login(number: Id, group: u32) -> Operation {
    Operation { outcome: Some(Outcome::Full), ..login(number, group) }
}

fn logins(numbers: std::ops::RangeInclusive<Id>, group: u32) -> Vec<Operation> {
    numbers.map(|number| login(number, group)).collect()
}

fn load(session: Id, outcome: Outcome) -> Operation {
    Operation { session, ..op(99, (80, 90), session * 10, Call::Load, outcome) }
}

#[test]
fn a_group_is_never_larger_than_its_limit() {
    let count = |group, number| vec![op(9, (80, 90), 0, Call::Count(group), Outcome::Counted(number))];
    for group in [6, 8] {
        is_fine(count(group, 3));
        is_wrong(count(group, 4), LARGER);
        let listed = (1..=4).map(|session| (session * 100, Some(session))).collect();
        let list = op(9, (80, 90), 0, Call::List(group), Outcome::Listed(listed));
        is_wrong([logins(1..=4, group), vec![list]].concat(), LARGER);
    }
    is_fine(count(7, 4));
}

#[test]
fn the_sessions_that_joined_first_end() {
    let history = |logins: Vec<Operation>, last, ends: &[Id], load: Operation| {
        [logins, vec![login_that_ends(last, 6, ends), load]].concat()
    };
    let dead = |session| load(session, Outcome::Dead(Reason::OverLimit));
    is_fine(history(logins(1..=3, 6), 4, &[1], dead(1)));
    is_wrong(history(logins(1..=3, 6), 4, &[2], dead(2)), NOT_OVER);
    // A limit of one too few.
    let too_few = history(logins(1..=2, 6), 3, &[1], dead(1));
    is_wrong(too_few.clone(), NOT_OVER);
    is_wrong(too_few, GONE);
    is_wrong(history(logins(1..=3, 7), 4, &[1], dead(1)), NOT_OVER);
    // Of logins that run at the same time, each may be the first.
    let slow = Operation { completed: 39, ..login(2, 6) };
    is_fine(history(vec![login(1, 6), slow, login(3, 6), login(4, 6)], 5, &[3], dead(3)));
    // A second login of the same session takes no second place.
    let again = op(12, (30, 39), 20, save(200, renew(NewId::Join(6))), done(Some(21)));
    let again = Operation { session: 2, ..again };
    is_wrong(history([logins(1..=2, 6), vec![again]].concat(), 4, &[], dead(1)), GONE);
}

#[test]
fn a_session_that_a_limit_has_ended_stays_ended_and_is_told() {
    let history = |last: Operation, load: Operation| [logins(1..=3, 6), vec![last, load]].concat();
    let alive = Outcome::Alive {
        public: 100,
        group: Some("group 6".to_owned()),
        me: Some(1),
        values: Vec::new(),
        counts: Vec::new(),
        of_group: None,
        expires: 0,
    };
    is_wrong(history(login_that_ends(4, 6, &[1]), load(1, alive.clone())), ALIVE);
    is_fine(history(Operation { completed: 85, ..login_that_ends(4, 6, &[1]) }, load(1, alive)));
    let dead = || load(1, Outcome::Dead(Reason::OverLimit));
    is_wrong(history(login(4, 6), dead()), NOT_TOLD);
    is_wrong(history(login(4, 6), dead()).into_iter().chain([login(9, 6)]).collect(), NOT_TOLD);
    // A lost reply may have told it.
    is_fine(history(resent(login(4, 6)), dead()));
    let lost = killed(4, 40, 0, Call::Create(renew(NewId::Join(6))));
    is_fine(history(Operation { session: 4, ..lost }, dead()));
}

#[test]
fn a_member_is_listed_until_others_can_have_ended_it() {
    let list = |sessions: &[Id]| {
        let listed = sessions.iter().map(|session| (session * 100, Some(*session))).collect();
        op(9, (80, 90), 0, Call::List(6), Outcome::Listed(listed))
    };
    is_fine([logins(1..=4, 6), vec![list(&[2, 3, 4])]].concat());
    is_wrong([logins(1..=3, 6), vec![list(&[2, 3])]].concat(), "a live member is not listed");
    is_wrong([logins(1..=4, 6), vec![list(&[1, 3, 4])]].concat(), "a live member is not listed");
}

#[test]
fn a_login_is_refused_only_if_its_group_is_full() {
    let history = |more: Vec<Operation>| [logins(1..=3, 8), more, vec![refused_login(6, 8)]].concat();
    is_fine(history(Vec::new()));
    is_wrong([logins(1..=2, 8), vec![refused_login(6, 8)]].concat(), NOT_FULL);
    let logout = |time| op(9, time, 10, Call::Destroy(None), Outcome::Ended);
    is_wrong(history(vec![logout((45, 50))]), NOT_FULL);
    is_fine(history(vec![logout((45, 65))]));
    is_fine(history(vec![logout((45, 50)), login(5, 8)]));
    is_fine(history(vec![logout((45, 50)), Operation { session: 5, ..killed(5, 50, 0, login(5, 8).call) }]));
    for group in [6, 7] {
        let refused = [logins(1..=3, group), vec![refused_login(6, group)]].concat();
        is_wrong(refused, "a login was refused in a group that refuses none");
    }
}

#[test]
fn a_login_that_may_be_refused_loses_nothing_to_a_clear_of_its_group() {
    let first = op(1, (0, 9), 0, Call::Create(Changes::default()), done(Some(10)));
    let gone = |group| op(2, (20, 30), 10, save(100, renew(NewId::Join(group))), Outcome::Gone);
    let clear = |time| op(3, time, 0, Call::Clear(8), Outcome::Ended);
    for group in [7, 8] {
        is_wrong(vec![first.clone(), gone(group), clear((25, 35)), load(1, Outcome::Dead(Reason::NewId))], GONE);
    }
}

#[test]
fn a_place_without_a_session_does_not_count() {
    let list = |group| op(9, (80, 90), 0, Call::List(group), Outcome::Listed(Vec::new()));
    let count = |group| op(10, (80, 90), 0, Call::Count(group), Outcome::Counted(1));
    let lost = |group| Operation { session: 5, ..killed(5, 50, 0, login(5, group).call) };
    for group in [7, 8] {
        let operations = vec![list(group), count(group), lost(group)];
        let complaints = complaints_of(&History { operations, quiet_from: 70, ..History::default() });
        assert_eq!(complaints, ["the length of a group is not that of its list"]);
    }
}

#[test]
fn a_login_that_is_refused_changes_nothing() {
    let changes = Changes { new_id: NewId::Join(8), ..set("a") };
    let first = Operation { id: 11, ..op(1, (0, 9), 0, Call::Create(Changes::default()), done(Some(10))) };
    let members = || (2..=4).map(|number| login(number, 8));
    let refused = op(6, (60, 69), 10, save(100, changes), Outcome::Full);
    let history = |refused: Operation, load| members().chain([first.clone(), refused, load]).collect();
    let load_with = |values| load(1, super::holds(Some(1), values));
    is_fine(history(refused.clone(), load_with(Vec::new())));
    for refused in [refused.clone(), resent(refused)] {
        let found = load_with(vec![("a".to_owned(), (1, 6))]);
        is_wrong(history(refused, found), "a save that was refused was applied");
    }
    let listed = Outcome::Listed([2, 3, 6].map(|session| (session * 100, Some(session))).into());
    let list = op(9, (80, 90), 0, Call::List(8), listed);
    let created = members().chain([refused_login(6, 8), list]).collect();
    is_wrong(created, "it is listed under an id that nobody gave it");
}
