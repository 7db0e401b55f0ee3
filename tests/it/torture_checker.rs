//! The checker of the torture test: it complains of each kind of violation, and of nothing else.
//!
//! Its histories are written by hand. Times are small numbers. Operation 1 makes session 1, whose cookies are 10, 20
//! and 30. The public id of a cookie is the number times ten.

#[allow(dead_code)] // the torture program uses the rest
#[path = "../torture/check/mod.rs"]
mod check;
#[allow(dead_code)]
#[path = "../torture/history.rs"]
mod history;
mod limits;
mod loads;
mod reasons;

use check::{Rules, check};
use history::{
    Call, Changes, Entry, History, Id, NEVER, NewId, Operation, Outcome, Public, Reason, Recorder, Token, Value,
    group_name,
};
use std::io::Write;

const MILLISECOND: u64 = 1_000_000;

fn op(id: Id, time: (u64, u64), token: Token, call: Call, outcome: Outcome) -> Operation {
    let session = match call {
        Call::Clear(_) | Call::List(_) | Call::Count(_) => 0,
        _ => 1,
    };
    let (invoked, completed) = time;
    Operation { id, invoked, completed, session, token, call, outcome: Some(outcome), resent: false }
}

/// An operation whose worker was killed before the answer.
fn killed(id: Id, invoked: u64, token: Token, call: Call) -> Operation {
    Operation { outcome: None, ..op(id, (invoked, NEVER), token, call, Outcome::Gone) }
}

fn resent(operation: Operation) -> Operation {
    Operation { resent: true, ..operation }
}

fn done(token: Option<Token>) -> Outcome {
    Outcome::Done { public: token.unwrap_or(10) * 10, token, counts: Vec::new(), ended: Vec::new() }
}

/// The first operation: makes session 1, from 0 to 10.
fn create(new_id: NewId) -> Operation {
    op(1, (0, 10), 0, Call::Create(Changes { new_id, ..Changes::default() }), done(Some(10)))
}

fn save(public: Public, changes: Changes) -> Call {
    Call::Save(public, changes)
}

fn set(key: &str) -> Changes {
    Changes { set: vec![key.to_owned()], ..Changes::default() }
}

fn remove(key: &str) -> Changes {
    Changes { remove: vec![key.to_owned()], ..Changes::default() }
}

fn add(by: u64) -> Changes {
    Changes { add: vec![("count".to_owned(), by)], ..Changes::default() }
}

fn renew(new_id: NewId) -> Changes {
    Changes { new_id, ..Changes::default() }
}

fn in_group(token: Token, group: Option<u32>) -> Outcome {
    let group = group.map(group_name);
    let (me, values, counts) = (Some(1), Vec::new(), Vec::new());
    Outcome::Alive { public: token * 10, group, me, values, counts, of_group: None, expires: 0 }
}

fn alive(token: Token) -> Outcome {
    in_group(token, None)
}

fn holds(me: Option<Id>, values: Vec<(String, Value)>) -> Outcome {
    Outcome::Alive { public: 100, group: None, me, values, counts: Vec::new(), of_group: None, expires: 0 }
}

/// A load that finds these values. A value is named after the operation that wrote it.
fn reads(id: Id, time: (u64, u64), found: &[(&str, Id)]) -> Operation {
    let values = found.iter().map(|(key, write)| ((*key).to_owned(), (1, *write))).collect();
    op(id, time, 10, Call::Load, holds(Some(1), values))
}

fn counts(id: Id, time: (u64, u64), count: u64) -> Operation {
    let counts = vec![("count".to_owned(), count)];
    let (group, values, of_group) = (None, Vec::new(), None);
    let found = Outcome::Alive { public: 100, group, me: Some(1), values, counts, of_group, expires: 0 };
    op(id, time, 10, Call::Load, found)
}

fn listed(tokens: &[Token]) -> Outcome {
    Outcome::Listed(tokens.iter().map(|token| (token * 10, Some(1))).collect())
}

fn complaints_of(history: &History) -> Vec<&'static str> {
    let rules = Rules { kinds: vec!["Unavailable"], longest: 1000 * MILLISECOND, outage: 5000 * MILLISECOND };
    check(history, &rules).into_iter().map(|violation| violation.what).collect()
}

fn complaints(operations: Vec<Operation>) -> Vec<&'static str> {
    complaints_of(&History { operations, ..History::default() })
}

#[track_caller]
fn is_fine(operations: Vec<Operation>) {
    assert_eq!(complaints(operations), Vec::<&str>::new());
}

#[track_caller]
fn is_wrong(operations: Vec<Operation>, expected: &str) {
    let complaints = complaints(operations);
    assert!(complaints.contains(&expected), "expected {expected:?}, got {complaints:?}");
}

// ---- values ----

const OLDER: &str = "an acknowledged save was lost: an older value was read after it";
const MISSING: &str = "an acknowledged save was lost: its value is missing";

#[test]
fn an_older_value_after_an_acknowledged_save_is_a_lost_save() {
    let history = |second: Operation, read: Id| {
        let first = op(2, (20, 30), 10, save(100, set("a")), done(None));
        vec![create(NewId::No), first, second, reads(4, (60, 70), &[("a", read)])]
    };
    let after = || op(3, (40, 50), 10, save(100, set("a")), done(None));
    is_wrong(history(after(), 2), OLDER);
    is_fine(history(after(), 3));
    // The two saves overlap, so either of them may have come last.
    is_fine(history(op(3, (25, 50), 10, save(100, set("a")), done(None)), 2));
    // The second save was not acknowledged, so both values are possible.
    is_fine(history(killed(3, 40, 10, save(100, set("a"))), 2));
    is_fine(history(killed(3, 40, 10, save(100, set("a"))), 3));
}

#[test]
fn what_one_has_read_no_later_reader_misses() {
    let history = |later: Id| {
        let first = op(2, (20, 30), 10, save(100, set("a")), done(None));
        let second = killed(3, 40, 10, save(100, set("a")));
        let reads = [reads(4, (50, 55), &[("a", 3)]), reads(5, (60, 65), &[("a", later)])];
        [vec![create(NewId::No), first, second], reads.into()].concat()
    };
    is_wrong(history(2), OLDER);
    is_fine(history(3));
}

#[test]
fn two_readers_agree_on_the_order_of_two_saves() {
    let saves = |key| [2, 3].map(|id| op(id, (20, 30), 10, save(100, set(key)), done(None)));
    let history = |found: [Id; 4]| {
        let reads = (0..4).map(|at| reads(4 + at, (40 + 10 * at, 45 + 10 * at), &[("a", found[at as usize])]));
        saves("a").into_iter().chain(reads).chain([create(NewId::No)]).collect()
    };
    is_wrong(history([2, 3, 3, 2]), "two values were there at the same time");
    is_fine(history([2, 2, 2, 2]));
    // The second value cannot have come and gone while the first one is read.
    let around = vec![
        create(NewId::No),
        op(2, (20, 22), 10, save(100, set("a")), done(None)),
        reads(4, (50, 55), &[("a", 2)]),
        op(3, (30, 40), 10, save(100, set("a")), done(None)),
    ];
    is_wrong(around, "a value was there while another was");
}

#[test]
fn a_missing_value_needs_a_removal() {
    let history = |removal: Option<Operation>| {
        let first = op(2, (20, 30), 10, save(100, set("a")), done(None));
        [create(NewId::No), first, reads(4, (60, 70), &[])].into_iter().chain(removal).collect()
    };
    is_wrong(history(None), MISSING);
    is_fine(history(Some(op(3, (40, 50), 10, save(100, remove("a")), done(None)))));
    is_fine(history(Some(killed(3, 40, 10, save(100, Changes { clear: true, ..Changes::default() })))));
    is_wrong(history(Some(op(3, (12, 15), 10, save(100, remove("a")), done(None)))), MISSING);
    is_wrong(history(Some(op(3, (40, 50), 10, save(100, remove("a")), Outcome::Gone))), MISSING);
    is_wrong(history(Some(op(3, (80, 90), 10, save(100, remove("a")), done(None)))), MISSING);
}

#[test]
fn a_value_that_nobody_had_written_or_that_was_refused_is_wrong() {
    is_wrong(vec![create(NewId::No), reads(4, (60, 70), &[("a", 9)])], "a value that nobody had written");
    let late = op(2, (80, 90), 10, save(100, set("a")), done(None));
    is_wrong(vec![create(NewId::No), late, reads(4, (60, 70), &[("a", 2)])], "a value that nobody had written");
    let refused = op(2, (20, 30), 10, save(100, set("a")), Outcome::Gone);
    let what = "a save that was refused was applied";
    is_wrong(vec![create(NewId::No), refused.clone(), reads(4, (60, 70), &[("a", 2)])], what);
    // It was sent twice, and may have been applied the first time.
    let gone = op(5, (80, 90), 10, Call::Destroy(None), Outcome::Ended);
    is_fine(vec![create(NewId::No), resent(refused), gone, reads(4, (15, 25), &[("a", 2)])]);
}

#[test]
fn half_a_save_or_anothers_values_are_wrong() {
    let both = Changes { set: vec!["left".to_owned(), "right".to_owned()], ..Changes::default() };
    let history = |left, right| {
        let saves = [2, 3].map(|id| op(id, (20, 30), 10, save(100, both.clone()), done(None)));
        [create(NewId::No), reads(4, (60, 70), &[("left", left), ("right", right)])].into_iter().chain(saves).collect()
    };
    is_wrong(history(2, 3), "half of a save was applied");
    is_fine(history(3, 3));
    let lost = holds(None, Vec::new());
    let what = "a session has lost what it was made with";
    is_wrong(vec![create(NewId::No), op(4, (60, 70), 10, Call::Load, lost)], what);
    let foreign = |me, value| holds(Some(me), vec![("a".to_owned(), (value, 2))]);
    for found in [foreign(2, 1), foreign(1, 2)] {
        let load = op(4, (60, 70), 10, Call::Load, found);
        is_wrong(vec![create(NewId::No), load], "a session has the values of another");
    }
}

#[test]
fn counts_lie_between_what_is_acknowledged_and_what_is_possible() {
    let history = |total: u64| {
        vec![
            create(NewId::No),
            op(2, (20, 30), 10, save(100, add(3)), done(None)),
            killed(3, 40, 10, save(100, add(5))),
            op(4, (45, 50), 10, Call::Transact("count".to_owned()), done(None)),
            op(5, (45, 50), 10, Call::Transact("count".to_owned()), Outcome::Conflict),
            counts(9, (60, 70), total),
        ]
    };
    is_wrong(history(3), "an acknowledged increment was lost");
    is_fine(history(4));
    is_fine(history(9));
    is_wrong(history(10), "an increment was applied twice");
    let back = vec![create(NewId::No), killed(3, 12, 10, save(100, add(5))), counts(4, (20, 30), 5)];
    is_wrong([back, vec![counts(5, (40, 50), 0)]].concat(), "a count went back");
}

#[test]
fn a_flash_value_is_taken_once() {
    let history = |more: Option<Operation>| {
        let flash = Changes { flash: true, ..Changes::default() };
        let write = op(2, (20, 30), 10, save(100, flash), done(None));
        let take = op(3, (40, 50), 10, Call::TakeFlash(100), Outcome::Taken(Some((1, 2))));
        [create(NewId::No), write, take].into_iter().chain(more).collect()
    };
    is_fine(history(None));
    let take = |value| op(4, (45, 55), 10, Call::TakeFlash(100), Outcome::Taken(Some(value)));
    is_wrong(history(Some(take((1, 2)))), "a flash value was taken twice");
    is_wrong(history(Some(take((1, 7)))), "a value that nobody had written");
    is_wrong(history(Some(take((2, 2)))), "a session has the values of another");
}

// ---- lives ----

const ALIVE: &str = "it was alive after its end had been acknowledged or seen";
const DEAD: Outcome = Outcome::Dead(Reason::LoggedOut);
const GONE: &str = "it is missing, and nothing can have ended it";

#[test]
fn after_its_end_a_session_is_alive_under_no_cookie_that_it_ever_had() {
    let moved = || vec![create(NewId::No), op(2, (20, 30), 10, save(100, renew(NewId::Grace(60_000))), done(Some(20)))];
    for (presented, found) in [(10, alive(20)), (20, alive(20))] {
        for ended_by in [10, 20] {
            let end = op(3, (40, 50), ended_by, Call::Destroy(None), Outcome::Ended);
            let load = |time| op(4, time, presented, Call::Load, found.clone());
            is_wrong([moved(), vec![end.clone(), load((60, 70))]].concat(), ALIVE);
            is_fine([moved(), vec![end.clone(), load((45, 70))]].concat());
        }
    }
    let end = op(3, (40, 50), 20, Call::Destroy(Some(200)), Outcome::Ended);
    let save_after_it = op(4, (60, 70), 20, save(200, set("a")), done(None));
    is_wrong([moved(), vec![end, save_after_it]].concat(), ALIVE);
    // A logout with an old cookie does not reach a session that has got a new id for good.
    let strict = op(2, (20, 30), 10, save(100, renew(NewId::Strict)), done(Some(20)));
    let end = op(3, (40, 50), 10, Call::Destroy(None), Outcome::Ended);
    is_fine(vec![create(NewId::No), strict, end, op(4, (60, 70), 20, Call::Load, alive(20))]);
}

#[test]
fn what_was_seen_dead_stays_dead() {
    let end = killed(3, 20, 10, Call::Destroy(None));
    let dead = op(4, (30, 40), 10, Call::Load, DEAD);
    is_fine(vec![create(NewId::No), end.clone(), dead.clone()]);
    is_wrong(vec![create(NewId::No), end, dead, op(5, (50, 60), 10, Call::Load, alive(10))], ALIVE);
}

#[test]
fn an_end_needs_a_cause() {
    let dead_by = |reason| op(4, (60, 70), 10, Call::Load, Outcome::Dead(reason));
    let dead = || dead_by(Reason::LoggedOutElsewhere);
    is_wrong(vec![create(NewId::No), dead()], GONE);
    is_wrong(vec![create(NewId::No), op(4, (60, 70), 10, save(100, set("a")), Outcome::Gone)], GONE);
    is_wrong(vec![create(NewId::Join(7)), dead(), op(3, (20, 30), 0, Call::Clear(8), Outcome::Ended)], GONE);
    is_fine(vec![create(NewId::Join(7)), dead(), op(3, (20, 30), 0, Call::Clear(7), Outcome::Ended)]);
    // It may have joined before its creation was acknowledged.
    is_fine(vec![create(NewId::Join(7)), dead(), op(3, (2, 5), 0, Call::Clear(7), Outcome::Ended)]);
    is_fine(vec![create(NewId::No), dead_by(Reason::NewId), killed(3, 20, 10, save(100, renew(NewId::Strict)))]);
    let in_grace = op(3, (20, 30), 10, save(100, renew(NewId::Grace(60_000))), done(Some(20)));
    is_wrong(vec![create(NewId::No), dead(), in_grace], GONE);
}

#[test]
fn an_old_id_is_dead_after_a_new_one_or_its_grace() {
    let strict = op(2, (20, 30), 10, save(100, renew(NewId::Strict)), done(Some(20)));
    is_wrong(vec![create(NewId::No), strict, op(4, (60, 70), 10, Call::Load, alive(20))], ALIVE);
    let graceful = op(2, (20, 30), 10, save(100, renew(NewId::Grace(1))), done(Some(20)));
    let load = |at| op(4, (at, at + 10), 10, Call::Load, alive(20));
    is_fine(vec![create(NewId::No), graceful.clone(), load(60)]);
    is_wrong(vec![create(NewId::No), graceful, load(500 * MILLISECOND)], ALIVE);
    let no_cookie = op(2, (20, 30), 10, save(100, renew(NewId::Strict)), done(None));
    is_wrong(vec![create(NewId::No), no_cookie], "a new id was acknowledged, and no cookie given out");
    is_wrong(vec![create(NewId::No), op(4, (60, 70), 10, Call::Load, alive(99))], "it has an id that nobody gave it");
}

#[test]
fn of_two_new_ids_at_once_one_wins() {
    let both = [2, 3].map(|id| op(id, (20, 30), 10, save(100, renew(NewId::Strict)), done(Some(id * 10))));
    let what = "two requests both got a new id for the same old one";
    is_wrong([vec![create(NewId::No)], both.into()].concat(), what);
}

// ---- groups ----

#[test]
fn after_a_clear_of_its_group_a_member_is_dead() {
    let clear = |time| op(3, time, 0, Call::Clear(7), Outcome::Ended);
    let load = || op(4, (60, 70), 10, Call::Load, in_group(10, Some(7)));
    is_wrong(vec![create(NewId::Join(7)), clear((20, 30)), load()], ALIVE);
    // The clear may have come first, before the session joined.
    is_fine(vec![create(NewId::Join(7)), clear((5, 30)), load()]);
    // A new id in the group does not keep it alive. A new id outside the group does not keep its old ids alive.
    let moves = |new_id| op(2, (35, 45), 10, save(100, renew(new_id)), done(Some(20)));
    is_wrong(vec![create(NewId::Join(7)), clear((20, 30)), moves(NewId::Strict)], ALIVE);
    is_wrong(vec![create(NewId::Join(7)), clear((20, 30)), moves(NewId::Leave)], ALIVE);
    let except = |id| Operation { session: id, ..op(3, (20, 30), 10, Call::ClearExcept(7, 100), Outcome::Ended) };
    is_fine(vec![create(NewId::Join(7)), except(1), load()]);
    is_wrong(vec![create(NewId::Join(7)), except(2), load()], ALIVE);
    let removed = op(3, (20, 30), 0, Call::Remove(7, 100), Outcome::Ended);
    is_wrong(vec![create(NewId::Join(7)), removed, load()], ALIVE);
}

#[test]
fn a_list_shows_who_is_a_member_and_no_one_else() {
    let list = |time, tokens: &[Token]| op(4, time, 0, Call::List(7), listed(tokens));
    is_fine(vec![create(NewId::Join(7)), list((20, 30), &[10])]);
    is_wrong(vec![create(NewId::Join(7)), list((20, 30), &[])], "a live member is not listed");
    is_fine(vec![create(NewId::Join(7)), list((5, 30), &[])]);
    is_wrong(vec![create(NewId::Join(8)), list((20, 30), &[10])], "it is listed in a group that it is not in");
    is_wrong(vec![create(NewId::Join(7)), list((20, 30), &[10, 99])], "it is listed under an id that nobody gave it");
    let end = op(3, (12, 15), 10, Call::Destroy(None), Outcome::Ended);
    let what = "it was listed after its end had been acknowledged or seen";
    is_wrong(vec![create(NewId::Join(7)), end, list((20, 30), &[10])], what);
    let nobody = Outcome::Listed(vec![(990, Some(99))]);
    is_wrong(vec![op(4, (20, 30), 0, Call::List(7), nobody)], "a session is listed that nobody made");
    let load = op(4, (60, 70), 10, Call::Load, in_group(10, Some(8)));
    is_wrong(vec![create(NewId::Join(7)), load], "it is in another group than it joined");
}

#[test]
fn when_all_is_quiet_lists_lengths_and_loads_agree() {
    let history = |list: &[Token], count, found| {
        let operations = vec![
            create(NewId::Join(7)),
            killed(2, 20, 10, save(100, set("a"))),
            killed(3, 20, 10, Call::Destroy(None)),
            op(4, (60, 70), 10, Call::Load, found),
            op(5, (80, 90), 0, Call::List(7), listed(list)),
            op(6, (80, 90), 0, Call::Count(7), Outcome::Counted(count)),
        ];
        complaints_of(&History { operations, quiet_from: 50, ..History::default() })
    };
    let member = || in_group(10, Some(7));
    assert!(history(&[10], 1, member()).is_empty());
    assert!(history(&[], 0, DEAD).is_empty());
    assert!(history(&[], 0, member()).contains(&"it is alive, and not listed"));
    assert!(history(&[10], 1, DEAD).contains(&"it is listed, and not alive"));
    assert!(history(&[10], 2, member()).contains(&"the length of a group is not that of its list"));
}

// ---- time and errors ----

#[test]
fn slow_operations_and_unexpected_errors_are_wrong() {
    let slow = op(2, (20, 2000 * MILLISECOND), 10, save(100, set("a")), done(None));
    is_wrong(vec![create(NewId::No), slow.clone()], "an operation took longer than its timeout allows");
    let fault = |kind: &str| op(2, (20, 30), 10, save(100, set("a")), Outcome::Fault(kind.to_owned()));
    is_wrong(vec![create(NewId::No), fault("Timeout")], "an error that nothing explains");
    is_fine(vec![create(NewId::No), fault("Unavailable")]);
    // They are right if the machine stood still.
    let operations = vec![create(NewId::No), slow];
    let stalls = vec![(500 * MILLISECOND, 1900 * MILLISECOND)];
    assert!(complaints_of(&History { operations, stalls, ..History::default() }).is_empty());
    let notes = vec!["a worker panicked".to_owned()];
    assert_eq!(complaints_of(&History { notes, ..History::default() }), ["something that must not happen"]);
}

#[test]
fn whoever_meets_errors_gets_on_with_the_work_again() {
    let load = |id: Id, second: u64, outcome: Outcome| {
        let at = second * 1000 * MILLISECOND;
        op(id, (at + 20, at + 30), 10, Call::Load, outcome)
    };
    let fault = || Outcome::Fault("Unavailable".to_owned());
    let history = |recovers_at: u64| {
        let faults = (1..recovers_at).map(|second| load(1 + second, second, fault()));
        [create(NewId::No)].into_iter().chain(faults).chain([load(99, recovers_at, alive(10))]).collect()
    };
    is_fine(history(4));
    is_wrong(history(7), "a thread did not come back to work");
    let never = (2..200).map(|id| op(id, (id * 20, id * 20 + 10), 10, Call::Load, fault()));
    is_wrong([create(NewId::No)].into_iter().chain(never).collect(), "no operation of this kind ever succeeded");
}

#[test]
fn a_history_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::new(folder.path(), 3, std::time::Instant::now());
    let (one, two) = (recorder.next(), recorder.next());
    let load = |op, at| Entry::Invoke { at, op, session: 1, token: 10, call: Call::Load };
    recorder.write(&load(one, 5));
    recorder.write(&Entry::Complete { at: 7, op: one, outcome: alive(10), resent: true });
    recorder.write(&load(two, 8));
    recorder.write(&Entry::Stall { from: 6, to: 9 });
    recorder.keep(1, "sid=abc");
    // A worker was killed while it wrote.
    let path = folder.path().join("000003.log");
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"{\"Complete\":{\"at\":9,").unwrap();
    let history = History::read(folder.path());
    let [first, second] = &history.operations[..] else { panic!("two operations") };
    assert_eq!((first.invoked, first.completed, first.resent), (5, 7, true));
    assert_eq!(first.outcome, Some(alive(10)));
    assert_eq!((second.id, second.completed, &second.outcome), (two, NEVER, &None));
    assert_eq!((history.stalled(first), history.stalled(second)), (1, 1));
    assert_eq!(history::cookies(folder.path()), [(1, "sid=abc".to_owned())]);
}
