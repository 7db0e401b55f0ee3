//! What comes after the login, across processes: a look that extends nothing, limits, roles, handles, and the hook.

use crate::support::cluster::Cluster;
use crate::support::fork::{Lines, Signals, child, child_of, children_of, in_own_process};
use crate::support::place::Place;
use crate::support::redis::Redis;
use crate::support::{builder, cookie, is_alive, login, manager, public_id, session_with};
use multi_process_session::{AtLimit, EndReason, Error, PublicId, SessionHandle, SessionManager};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(60 * 60);

// ---- peek ----

#[test]
fn polling_with_peek_past_the_idle_timeout_logs_out_in_every_process() {
    in_own_process(|| {
        for place in Place::all_and_a_cluster() {
            let manager = builder(&place.url()).idle_timeout(10 * HOUR).build().unwrap();
            let (polled, used) = (login(&manager, "ada"), login(&manager, "grace"));
            assert!(is_alive(&manager, &polled) && is_alive(&manager, &used));
            let (go, mut said) = ([Signals::new(), Signals::new()], Lines::new());
            let pollers = [&go[0], &go[1]].map(|go| {
                child_of(&manager, || {
                    for _ in 1..=11 {
                        go.wait();
                        let session = manager.peek(&polled).unwrap();
                        let left = session.expires_in().map_or(0.0, |left| (left.as_secs_f64() / 3600.0).round());
                        said.send(&format!("{:?} {left}", session.ended_because()));
                    }
                    String::new()
                })
            });
            for hour in 1..=11 {
                place.let_time_pass_for_all(HOUR);
                assert!(is_alive(&manager, &used), "a load extends");
                for go in &go {
                    go.send();
                    let expected = if hour < 11 { format!("None {}", 10 - hour) } else { gone() };
                    assert_eq!(said.next(), expected, "hour {hour}");
                }
            }
            pollers.into_iter().for_each(|poller| drop(poller.join()));
            assert_eq!(manager.load(&polled).unwrap().ended_because(), Some(EndReason::Expired));
        }
    });
}

fn gone() -> String {
    format!("{:?} 0", Some(EndReason::Expired))
}

// ---- limits ----

const PROCESSES: usize = 32;
const LIMIT: usize = 3;

#[test]
fn of_32_processes_that_log_in_at_once_all_succeed_and_the_oldest_sessions_beyond_the_limit_end() {
    in_own_process(|| {
        for place in Place::all_and_a_cluster() {
            let mut ends = 0;
            log_in_at_once(&place, AtLimit::EndOldest, |manager, answers| {
                let logins: Vec<&Login> = answers.iter().map(|answer| answer.as_ref().expect("no refusal")).collect();
                let alive: BTreeSet<PublicId> = logins
                    .iter()
                    .filter(|login| is_alive(manager, &login.header))
                    .map(|login| public_id(manager, &login.header))
                    .collect();
                assert_eq!((alive.len(), &alive), (LIMIT, &listed(manager)));
                // Each session that has ended was told to exactly one login.
                let ended: Vec<PublicId> = logins.iter().flat_map(|login| login.ended.clone()).collect();
                assert_eq!(ended.len(), PROCESSES - LIMIT);
                assert_eq!(ended.iter().collect::<BTreeSet<_>>().len(), ended.len());
                assert!(ended.iter().all(|id| !alive.contains(id)));
                ends += ended.len();
            });
            assert!(ends > 0);
        }
    });
}

#[test]
fn of_32_processes_that_log_in_at_once_the_limit_refuses_all_but_the_first() {
    in_own_process(|| {
        for place in Place::all_and_a_cluster() {
            log_in_at_once(&place, AtLimit::RefuseNewest, |manager, answers| {
                let logins: Vec<&Login> = answers.iter().flatten().collect();
                assert_eq!(logins.len(), LIMIT, "all others got Error::TooManySessions");
                let alive: BTreeSet<PublicId> = logins.iter().map(|login| public_id(manager, &login.header)).collect();
                assert_eq!(alive, listed(manager));
                assert!(logins.iter().all(|login| is_alive(manager, &login.header) && login.ended.is_empty()));
            });
        }
    });
}

/// A login that succeeded, and the sessions that it has ended.
struct Login {
    header: String,
    ended: Vec<PublicId>,
}

/// Lets all processes log in as the same user at once, several times. Returns each time what became of their logins to
/// `check`: `None` is a refusal.
fn log_in_at_once(place: &Place, at_limit: AtLimit, mut check: impl FnMut(&SessionManager, &[Option<Login>])) {
    let manager = builder(&place.url()).max_sessions_per_group(LIMIT).at_limit(at_limit).build().unwrap();
    let rounds = 8;
    let (go, mut said): (Vec<Signals>, _) = ((0..PROCESSES).map(|_| Signals::new()).collect(), Lines::new());
    let processes: Vec<_> = (0..PROCESSES)
        .map(|number| {
            let (go, said, manager) = (&go[number], &said, &manager);
            child(move || {
                for _ in 0..rounds {
                    go.wait();
                    // Every other client has a session before the login.
                    let anonymous = (number % 2 == 0).then(|| session_with(manager, &[("cart", "full")]));
                    said.send(&log_in_once(manager, anonymous.as_deref()));
                }
                String::new()
            })
        })
        .collect();
    for _ in 0..rounds {
        go.iter().for_each(Signals::send);
        let answers: Vec<Option<Login>> = go.iter().map(|_| outcome(&said.next())).collect();
        check(&manager, &answers);
        assert_eq!(manager.group("ada").clear().unwrap(), LIMIT as u64);
    }
    processes.into_iter().for_each(|process| drop(process.join()));
}

/// Logs in, and says what became of it in a line.
fn log_in_once(manager: &SessionManager, anonymous: Option<&str>) -> String {
    let mut session = manager.load(anonymous).unwrap();
    session.set_group_name("ada");
    let line = match session.save() {
        Ok(set_cookie) => {
            let ended: Vec<String> = session.ended_by_login().iter().map(PublicId::to_string).collect();
            format!("{} {}", cookie(&set_cookie.expect("a login has a cookie")), ended.join(" "))
        }
        Err(Error::TooManySessions { limit, .. }) => {
            assert_eq!(limit, LIMIT);
            if let Some(anonymous) = anonymous {
                let session = manager.load(anonymous).unwrap();
                assert_eq!((session.keys(), session.group_name()), (vec!["cart"], None), "nothing was changed");
            }
            "refused".to_owned()
        }
        Err(error) => panic!("{error}"),
    };
    let count = manager.group("ada").len().unwrap();
    assert!((1..=LIMIT).contains(&count), "{count} sessions");
    line
}

fn outcome(line: &str) -> Option<Login> {
    let (header, ended) = line.split_once(' ')?;
    let ended = ended.split_whitespace().map(|id| id.parse().expect("an id")).collect();
    Some(Login { header: header.to_owned(), ended })
}

fn listed(manager: &SessionManager) -> BTreeSet<PublicId> {
    manager.group("ada").sessions().unwrap().iter().map(|session| session.public_id()).collect()
}

// ---- values of a group ----

#[test]
fn a_role_that_one_process_changes_is_seen_by_the_next_load_in_all_others() {
    const READERS: usize = 8;
    in_own_process(|| {
        for place in Place::all_and_a_cluster() {
            let manager = manager(&place.url());
            let headers: Vec<String> = (0..READERS).map(|_| login(&manager, "ada")).collect();
            let stranger = login(&manager, "grace");
            let (go, mut said): (Vec<Signals>, _) = ((0..READERS).map(|_| Signals::new()).collect(), Lines::new());
            let role = |header: &str| manager.load(header).unwrap().group_value::<u32>("role").unwrap();
            let rounds = 100;
            let guard = manager.before_fork();
            let readers: Vec<_> = (0..READERS)
                .map(|number| {
                    let (go, said, role, headers, stranger) = (&go[number], &said, &role, &headers, &stranger);
                    child(move || {
                        for round in 0..rounds {
                            go.wait();
                            // Each process sees the user's sessions of all processes.
                            let seen = [role(&headers[number]), role(&headers[(number + round) % READERS])];
                            assert_eq!(role(stranger), None, "this is another user");
                            said.send(&format!("{seen:?}"));
                        }
                        String::new()
                    })
                })
                .collect();
            drop(guard);
            for round in 0..rounds as u32 {
                let expected = if round % 10 == 9 {
                    manager.group("ada").remove_value("role").unwrap();
                    None
                } else {
                    manager.group("ada").set_value("role", &round).unwrap();
                    Some(round)
                };
                go.iter().for_each(Signals::send);
                for _ in 0..READERS {
                    assert_eq!(said.next(), format!("{:?}", [expected; 2]), "round {round}");
                }
            }
            readers.into_iter().for_each(|reader| drop(reader.join()));
        }
    });
}

// ---- handles ----

const USERS: usize = 10;

#[test]
fn a_thousand_handles_are_asked_in_one_round_trip_and_exactly_those_of_ended_sessions_are_dead() {
    in_own_process(|| {
        let redis = Redis::start();
        let (manager, mut handles) = thousand_handles(&redis.url());
        let mut ask = || {
            let (commands, alive) = redis.commands(|| manager.are_alive(&mut handles).unwrap());
            assert_eq!(commands.len(), 1, "the commands of a round trip count as one: {commands:?}");
            alive
        };
        assert_eq!(ask(), [true; 1000]);
        log_out_in_another_process(&manager);
        assert_eq!(ask(), expected_alive());

        let cluster = Cluster::start(3);
        let (manager, mut handles) = thousand_handles(&cluster.url());
        manager.are_alive(&mut handles).unwrap();
        log_out_in_another_process(&manager);
        let before = cluster.requests();
        assert_eq!(manager.are_alive(&mut handles).unwrap(), expected_alive());
        let requests = cluster.requests() - before;
        assert!(requests <= 3, "one to each node, not {requests}");

        let sqlite = Place::sqlite();
        let (manager, mut handles) = thousand_handles(&sqlite.url());
        log_out_in_another_process(&manager);
        assert_eq!(manager.are_alive(&mut handles).unwrap(), expected_alive());
        assert_eq!(manager.are_alive(&mut handles).unwrap(), expected_alive(), "the dead stay dead");
    });
}

/// Logs 10 users in 100 times each, and gives the handles of these sessions.
fn thousand_handles(url: &str) -> (SessionManager, Vec<SessionHandle>) {
    let manager = manager(url);
    let handle = |number: usize| {
        let mut session = manager.load(None).unwrap();
        session.set_group_name(&(number % USERS).to_string());
        session.save().unwrap();
        session.to_handle().expect("it is saved")
    };
    let handles = (0..1000).map(handle).collect();
    (manager, handles)
}

/// Logs the users 3 and 7 out everywhere.
fn log_out_in_another_process(manager: &SessionManager) {
    let other = child_of(manager, || {
        let ended = ["3", "7"].map(|user| manager.group(user).clear().unwrap());
        format!("{ended:?}")
    });
    assert_eq!(other.join(), "[100, 100]");
}

fn expected_alive() -> Vec<bool> {
    (0..1000).map(|number| ![3, 7].contains(&(number % USERS))).collect()
}

// ---- the hook ----

/// The ends that the hook of this process was told. A forked process goes on with a copy.
type Told = Arc<Mutex<Vec<(PublicId, EndReason)>>>;

fn with_hook(place: &Place) -> (SessionManager, Told) {
    let told = Told::default();
    let hook = told.clone();
    let manager = builder(&place.url())
        .max_sessions_per_group(100)
        .on_end(move |end| hook.lock().unwrap().push((end.public_id, end.reason)))
        .build()
        .unwrap();
    (manager, told)
}

#[test]
fn the_hook_is_called_once_for_each_end_that_its_own_process_makes() {
    in_own_process(|| {
        for place in Place::all_and_a_cluster() {
            let (manager, told) = with_hook(&place);
            login(&manager, "nobody");
            let said = children_of(&manager, 4, |number| {
                let user = format!("user {number}");
                let headers: Vec<String> = (0..6).map(|_| login(&manager, &user)).collect();
                let ids: Vec<PublicId> = headers.iter().map(|header| public_id(&manager, header)).collect();
                assert_eq!(*told.lock().unwrap(), []);
                let _ = manager.destroy(&headers[0]).unwrap();
                let _ = manager.destroy(&headers[0]).unwrap(); // It has ended already.
                manager.load(&headers[1]).unwrap().destroy().unwrap();
                assert!(manager.group(&user).remove(ids[2]).unwrap());
                assert!(!manager.group(&user).remove(ids[2]).unwrap());
                let mut session = manager.load(None).unwrap();
                session.set_group_name(&user);
                session.limit_group(3, AtLimit::EndOldest);
                session.save().unwrap();
                assert_eq!(session.ended_by_login(), [ids[3]]);
                assert_eq!(manager.group(&user).clear_except(&session).unwrap(), 2);
                assert_eq!(manager.group(&user).clear().unwrap(), 1);

                let mut told = told.lock().unwrap().clone();
                // A clear tells them in any order.
                told[4..6].sort_by_key(|(id, _)| ids.iter().position(|other| other == id));
                let expected = [
                    (ids[0], EndReason::LoggedOut),
                    (ids[1], EndReason::LoggedOut),
                    (ids[2], EndReason::LoggedOutElsewhere),
                    (ids[3], EndReason::OverLimit),
                    (ids[4], EndReason::LoggedOutElsewhere),
                    (ids[5], EndReason::LoggedOutElsewhere),
                    (session.public_id(), EndReason::LoggedOutElsewhere),
                ];
                assert_eq!(told, expected);
                "done".to_owned()
            });
            assert_eq!(said, ["done"; 4]);
            assert_eq!(*told.lock().unwrap(), [], "the parent has ended nothing");
        }
    });
}

#[test]
fn of_processes_that_end_the_same_sessions_at_once_exactly_one_hook_is_told_of_each() {
    const ENDERS: usize = 4;
    in_own_process(|| {
        for place in Place::all_and_a_cluster() {
            let (manager, told) = with_hook(&place);
            let (mut to_enders, mut said): (Vec<Lines>, _) =
                ((0..ENDERS).map(|_| Lines::new()).collect(), Lines::new());
            let rounds = 30;
            let enders: Vec<_> = to_enders
                .iter_mut()
                .enumerate()
                .map(|(number, headers)| {
                    let (said, manager, told) = (&said, &manager, &told);
                    child(move || {
                        for _ in 0..rounds {
                            let headers = headers.next();
                            if number < 2 {
                                manager.group("ada").clear().unwrap();
                            } else {
                                headers.split(' ').for_each(|header| drop(manager.destroy(header).unwrap()));
                            }
                            let ids: Vec<String> =
                                told.lock().unwrap().drain(..).map(|(id, _)| id.to_string()).collect();
                            said.send(&ids.join(" "));
                        }
                        String::new()
                    })
                })
                .collect();
            for round in 0..rounds {
                let headers: Vec<String> = (0..8).map(|_| login(&manager, "ada")).collect();
                let mut ids: Vec<String> =
                    headers.iter().map(|header| public_id(&manager, header).to_string()).collect();
                let line = headers.join(" ");
                to_enders.iter().for_each(|ender| ender.send(&line));
                let lines: Vec<String> = (0..ENDERS).map(|_| said.next()).collect();
                let mut all_told: Vec<String> =
                    lines.iter().flat_map(|line| line.split_whitespace()).map(str::to_owned).collect();
                all_told.sort();
                ids.sort();
                assert_eq!(all_told, ids, "round {round}");
            }
            enders.into_iter().for_each(|ender| drop(ender.join()));
            assert_eq!(*told.lock().unwrap(), [], "the parent has ended nothing");
        }
    });
}
