//! The reasons of ends.

use super::history::{Call, NewId, Operation, Outcome, Reason};
use super::{GONE, MILLISECOND, complaints, create, done, is_fine, is_wrong, killed, op, renew, save};

const OTHER: &str = "the reason of an end does not fit";
const ALL: [Reason; 5] =
    [Reason::LoggedOut, Reason::LoggedOutElsewhere, Reason::OverLimit, Reason::NewId, Reason::Expired];

fn load(at: u64, reason: Reason) -> Operation {
    op(9, (at, at + 10), 10, Call::Load, Outcome::Dead(reason))
}

#[test]
fn the_reason_is_that_of_the_only_operation_that_can_have_ended_the_session() {
    let ended_by = |call| op(3, (20, 30), 10, call, Outcome::Ended);
    for (end, reason) in [
        (ended_by(Call::Destroy(None)), Reason::LoggedOut),
        (ended_by(Call::Destroy(Some(100))), Reason::LoggedOut),
        (ended_by(Call::Remove(7, 100)), Reason::LoggedOutElsewhere),
        (ended_by(Call::Clear(7)), Reason::LoggedOutElsewhere),
        (op(3, (20, 30), 10, save(100, renew(NewId::Strict)), done(Some(20))), Reason::NewId),
    ] {
        for given in ALL {
            let history = vec![create(NewId::Join(7)), end.clone(), load(60, given)];
            assert_eq!(complaints(history).contains(&OTHER), given != reason, "{end:?}, {given:?}");
        }
        // A store may forget it after 5 minutes.
        let late = vec![create(NewId::Join(7)), end, load(5 * 60_000 * MILLISECOND, Reason::Expired)];
        assert!(!complaints(late).contains(&OTHER));
    }
}

#[test]
fn of_several_possible_reasons_each_may_be_the_one() {
    let (logout, clear) = (killed(3, 20, 10, Call::Destroy(None)), killed(4, 20, 0, Call::Clear(7)));
    for given in ALL {
        let history = vec![create(NewId::Join(7)), logout.clone(), clear.clone(), load(60, given)];
        let fits = matches!(given, Reason::LoggedOut | Reason::LoggedOutElsewhere);
        assert_eq!(complaints(history).contains(&OTHER), !fits, "{given:?}");
    }
    // A handover that was cut off.
    let moving = killed(3, 20, 10, save(100, renew(NewId::Strict)));
    is_fine(vec![create(NewId::No), moving.clone(), load(60, Reason::Expired)]);
    is_wrong(vec![create(NewId::No), moving, load(60, Reason::LoggedOut)], OTHER);
}

#[test]
fn an_id_may_be_replaced_although_the_session_ends_meanwhile() {
    let logout = || op(3, (20, 30), 10, Call::Destroy(None), Outcome::Ended);
    let moving = |time| op(4, time, 10, save(100, renew(NewId::Strict)), Outcome::Gone);
    is_fine(vec![create(NewId::No), logout(), moving((25, 35)), load(60, Reason::NewId)]);
    is_wrong(vec![create(NewId::No), logout(), moving((35, 40)), load(60, Reason::NewId)], OTHER);
    // The old id may be replaced before the logout begins.
    let load = op(9, (16, 19), 10, Call::Load, Outcome::Dead(Reason::NewId));
    is_fine(vec![create(NewId::No), logout(), moving((15, 25)), load.clone()]);
    is_wrong(vec![create(NewId::No), logout(), moving((15, 19)), load], GONE);
}

#[test]
fn a_limit_is_the_reason_once_its_login_is_acknowledged() {
    let login = |number: u64, completed, ended| {
        let call = Call::Create(renew(NewId::Join(6)));
        let outcome = Outcome::Done { public: number * 100, token: Some(number * 10), counts: Vec::new(), ended };
        Operation { session: number, ..op(number, (number * 10, completed), 0, call, outcome) }
    };
    let history = |completed, reason| {
        let first = (1..=3).map(|number| login(number, number * 10 + 9, Vec::new()));
        first.chain([login(4, completed, vec![100]), load(60, reason)]).collect()
    };
    is_fine(history(49, Reason::OverLimit));
    is_wrong(history(49, Reason::LoggedOutElsewhere), OTHER);
    is_fine(history(65, Reason::LoggedOutElsewhere));
    is_wrong(history(65, Reason::LoggedOut), OTHER);
}
