//! Peeks, handles, and the values of groups that loads show.

use super::history::{Call, Id, NewId, Operation, Outcome};
use super::{ALIVE, DEAD, GONE, MISSING, OLDER, alive, create, done, is_fine, is_wrong, op, reads, renew, save, set};

#[test]
fn a_peek_obeys_the_rules_of_a_load() {
    let peek = |load: Operation| Operation { call: Call::Peek, ..load };
    let end = || op(3, (40, 50), 10, Call::Destroy(None), Outcome::Ended);
    let peeks = |outcome| op(4, (60, 70), 10, Call::Peek, outcome);
    is_wrong(vec![create(NewId::No), end(), peeks(alive(10))], ALIVE);
    is_wrong(vec![create(NewId::No), peeks(DEAD)], GONE);
    is_fine(vec![create(NewId::No), end(), peeks(DEAD)]);
    let saves = [(2, (20, 25)), (3, (30, 35))].map(|(id, time)| op(id, time, 10, save(100, set("a")), done(None)));
    let history = |found| [vec![create(NewId::No), peek(reads(4, (60, 70), &[("a", found)]))], saves.to_vec()].concat();
    is_wrong(history(2), OLDER);
    is_fine(history(3));
}

#[test]
fn a_peek_never_extends_a_life() {
    let sees = |id, at, call, expires| {
        let Outcome::Alive { public, group, me, values, counts, of_group, .. } = alive(10) else { unreachable!() };
        op(id, (at, at + 5), 10, call, Outcome::Alive { public, group, me, values, counts, of_group, expires })
    };
    let history = |between: Vec<Operation>, last| {
        [vec![create(NewId::No), sees(2, 20, Call::Peek, 1000)], between, vec![sees(5, 60, last, 1001)]].concat()
    };
    let what = "a peek has extended a life";
    is_wrong(history(Vec::new(), Call::Peek), what);
    is_fine(history(Vec::new(), Call::Load));
    // The first one may have come last.
    let slow = Operation { completed: 65, ..sees(2, 20, Call::Peek, 1000) };
    is_fine(vec![create(NewId::No), slow, sees(5, 60, Call::Peek, 1001)]);
    is_fine(history(vec![sees(3, 40, Call::Load, 1001)], Call::Peek));
    is_wrong(history(vec![op(3, (40, 45), 10, save(100, set("a")), done(None))], Call::Peek), what);
    is_wrong(history(vec![op(3, (40, 45), 0, Call::IsAlive(100), Outcome::Lives(true))], Call::Peek), what);
    let moves = op(3, (40, 45), 10, save(100, renew(NewId::Grace(60_000))), done(Some(20)));
    is_fine(history(vec![moves], Call::Peek));
}

#[test]
fn a_handle_knows_what_a_load_knows() {
    let asks = |id, at, lives| op(id, (at, at + 5), 0, Call::IsAlive(100), Outcome::Lives(lives));
    let end = || op(3, (40, 50), 10, Call::Destroy(None), Outcome::Ended);
    is_fine(vec![create(NewId::No), asks(2, 30, true), end(), asks(4, 60, false)]);
    is_wrong(vec![create(NewId::No), end(), asks(4, 60, true)], ALIVE);
    is_wrong(vec![create(NewId::No), asks(4, 60, false)], GONE);
    let load = op(5, (70, 80), 10, Call::Load, alive(10));
    is_wrong(vec![create(NewId::No), Operation { outcome: None, ..end() }, asks(4, 60, false), load], ALIVE);
    let moves = |new_id| op(2, (20, 30), 10, save(100, renew(new_id)), done(Some(20)));
    is_fine(vec![create(NewId::No), moves(NewId::Grace(60_000)), asks(4, 60, true)]);
    is_wrong(vec![create(NewId::No), moves(NewId::Grace(60_000)), asks(4, 60, false)], GONE);
    is_wrong(vec![create(NewId::No), moves(NewId::Strict), asks(4, 60, true)], ALIVE);
}

#[test]
fn a_load_shows_the_last_value_of_its_group_and_of_no_other() {
    let sets = |id, time| op(id, time, 0, Call::SetValue(7), Outcome::Ended);
    let sees = |id, time, of_group: Option<(u64, Id)>| {
        let Outcome::Alive { public, me, values, counts, expires, .. } = alive(10) else { unreachable!() };
        let group = Some("group 7".to_owned());
        op(id, time, 10, Call::Load, Outcome::Alive { public, group, me, values, counts, of_group, expires })
    };
    let history =
        |second: Operation, seen| vec![create(NewId::Join(7)), sets(2, (20, 30)), second, sees(4, (60, 70), seen)];
    is_fine(history(sets(3, (40, 50)), Some((7, 3))));
    is_wrong(history(sets(3, (40, 50)), Some((7, 2))), OLDER);
    is_wrong(history(sets(3, (40, 50)), None), MISSING);
    is_wrong(history(sets(3, (40, 50)), Some((8, 3))), "a session has the value of another group");
    // A set without an acknowledgement may have been applied, and stays so.
    let lost = || Operation { outcome: None, completed: super::NEVER, ..sets(3, (40, 50)) };
    is_fine(history(lost(), Some((7, 2))));
    is_fine(history(lost(), Some((7, 3))));
    is_wrong([history(lost(), Some((7, 3))), vec![sees(5, (80, 90), Some((7, 2)))]].concat(), OLDER);
    // It is sent again, and undoes a later one.
    let resent = super::resent(sets(2, (20, 55)));
    let first = sees(6, (25, 28), Some((7, 2)));
    let undone = vec![create(NewId::Join(7)), resent, first, sets(3, (35, 40)), sees(4, (60, 70), Some((7, 2)))];
    is_wrong(undone, OLDER);
}
