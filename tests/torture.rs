//! Torture: many processes at work on the same sessions, while they, their connections and their server are killed.
//! From what they wrote down about each operation it is then proved that every promise held.
//!
//! Without options it runs for a minute or two. By hand, for as long as you like:
//!
//! ```sh
//! cargo test --all-features --test torture -- --store redis --minutes 30
//! cargo test --all-features --test torture -- --store cluster --minutes 30
//! cargo test --all-features --test torture -- --store redis --kill-server --minutes 10
//! cargo test --all-features --test torture -- --store redis://127.0.0.1:6379/9 --seed 42
//! ```
//!
//! A Redis that you name is to have nothing else to do: the connections of all its clients are killed, and so is
//! whatever has the key prefix `torture:`.
//!
//! It goes in rounds of a minute, each with sessions of its own and checked when it is over. A seed repeats the plan of
//! every worker; how the operating system mixes them is another matter.

#![allow(missing_docs, unreachable_pub)]

mod support;

mod torture {
    pub mod board;
    pub mod chaos;
    pub mod check;
    pub mod faults;
    pub mod figures;
    pub mod history;
    pub mod options;
    pub mod random;
    pub mod store;
    pub mod worker;
}

use multi_process_session::{Refresh, SessionManager};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use torture::board::Board;
use torture::chaos::Round;
use torture::check::{Rules, Violation, check};
use torture::faults;
use torture::figures::Figures;
use torture::history::{History, Recorder, cookies};
use torture::options::{Options, Run};
use torture::random::Random;
use torture::store::{NAMESPACE, Place};
use torture::worker::{GROUPS, Worker};

const ROUND: Duration = Duration::from_secs(60);
/// The library's own default.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How much later a busy machine may notice that the time is over.
const MARGIN: Duration = Duration::from_secs(6);
/// For how long one thread may meet nothing but errors: longer than the server is silent, or down.
const OUTAGE: Duration = Duration::from_secs(12);
/// The history of what is looked at in the end, when all is quiet: more than there are threads.
const QUIET: u32 = 1_000_000;
/// So many violations of a kind are shown.
const SHOWN: usize = 3;
/// So many operations are shown of the first session that has one.
const MOST: usize = 200;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::FAILURE;
        }
    };
    if options.only_list {
        options.runs.iter().for_each(|run| println!("{}: test", run.name()));
        return ExitCode::SUCCESS;
    }
    faults::watch();
    let (start, mut failed) = (Instant::now(), 0);
    println!("\nrunning {} tests", options.runs.len());
    for run in &options.runs {
        println!("test {} ... seed {}", run.name(), options.seed);
        let result = torment(run, options.seed);
        println!("test {} ... {}", run.name(), if result.is_ok() { "ok" } else { "FAILED" });
        if let Err(error) = result {
            println!("{error}");
            failed += 1;
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    let (passed, left_out, time) = (options.runs.len() - failed, options.left_out, start.elapsed().as_secs_f64());
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {left_out} filtered out; \
         finished in {time:.2}s\n"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn torment(run: &Run, seed: u64) -> Result<(), String> {
    let mut place = Place::open(&run.store, run.kill_server)?;
    if run.kill_server && !place.has_own_server() {
        return Err("only a server of the test's own can be killed: --store redis".to_owned());
    }
    let manager = |refresh| {
        let builder = support::builder(&place.url).namespace(NAMESPACE).operation_timeout(timeout(run, &place));
        builder.refresh(refresh).build().map_err(|error| error.to_string())
    };
    let managers = [manager(Refresh::After(Duration::from_secs(60)))?, manager(Refresh::EveryLoad)?];
    let mut figures = Figures::default();
    let start = Instant::now();
    for round in 0.. {
        let left = run.time.saturating_sub(start.elapsed());
        if left.is_zero() || (round > 0 && left < ROUND / 4) {
            break;
        }
        let result = one_round(run, &mut place, &managers, seed + round, left.min(ROUND), &mut figures);
        if let Err(problems) = result {
            return Err(format!("{figures}\n\nwith --seed {}:\n{problems}", seed + round));
        }
        place.clean();
        if run.time > ROUND {
            println!("  round {} of seed {} ok after {:.0?}", round + 1, seed + round, start.elapsed());
        }
    }
    println!("{figures}");
    Ok(())
}

/// Where silence is part of the plan, the timeout is the default one; elsewhere nothing is to reach it.
fn timeout(run: &Run, place: &Place) -> Duration {
    if run.kill_server || place.is_sqlite() { TIMEOUT } else { TIMEOUT * 3 }
}

fn one_round(
    run: &Run,
    place: &mut Place,
    managers: &[SessionManager],
    seed: u64,
    time: Duration,
    figures: &mut Figures,
) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let epoch = Instant::now();
    let round = Round { managers, folder: folder.path(), epoch, time, seed, kill_server: run.kill_server };
    let harm = round.run(place);
    let quiet_from = u64::try_from(epoch.elapsed().as_nanos()).expect("no run is that long");
    look_at_all(&managers[0], folder.path(), epoch);
    let mut history = History::read(folder.path());
    history.quiet_from = quiet_from;
    figures.add(&history, &harm, time);
    let kinds = match (place.is_sqlite(), run.kill_server) {
        (true, _) => vec!["Timeout"],
        (false, true) => vec!["Unavailable", "Timeout"],
        (false, false) => vec!["Unavailable"],
    };
    let longest = (timeout(run, place) + MARGIN).as_nanos() as u64;
    let violations = check(&history, &Rules { kinds, longest, outage: OUTAGE.as_nanos() as u64 });
    report(&violations, &place.inspect(), &history)
}

/// When all is quiet: loads every session by every cookie that it ever had, and lists every group.
fn look_at_all(manager: &SessionManager, folder: &Path, epoch: Instant) {
    let cookies = cookies(folder);
    let board = Board::new(folder, 0);
    let worker = |number| Worker::new(manager, &board, Recorder::new(folder, QUIET + number, epoch), Random::new(&[]));
    std::thread::scope(|scope| {
        for (number, part) in cookies.chunks(cookies.len() / 4 + 1).enumerate() {
            let mut worker = worker(number as u32 + 1);
            scope.spawn(move || part.iter().for_each(|(session, cookie)| drop(worker.load(*session, cookie))));
        }
    });
    let mut worker = worker(0);
    for group in 0..GROUPS {
        worker.list(group);
        worker.count(group);
    }
}

fn report(violations: &[Violation], problems: &[String], history: &History) -> Result<(), String> {
    if violations.is_empty() && problems.is_empty() {
        return Ok(());
    }
    let mut kinds: BTreeMap<&str, Vec<&Violation>> = BTreeMap::new();
    violations.iter().for_each(|violation| kinds.entry(violation.what).or_default().push(violation));
    let mut lines = Vec::new();
    for (what, violations) in kinds {
        lines.push(format!("{} times: {what}", violations.len()));
        lines.extend(violations.iter().take(SHOWN).map(ToString::to_string));
    }
    lines.extend_from_slice(problems);
    if let Some(number) = violations.iter().map(|violation| violation.session).find(|number| *number != 0) {
        lines.push(format!("all that was done with session {number}:"));
        let mut operations = history.operations.iter().filter(|it| it.session == number).collect::<Vec<_>>();
        operations.sort_by_key(|operation| operation.invoked);
        lines.extend(operations.iter().take(MOST).map(|operation| format!("    {operation:?}")));
    }
    Err(lines.join("\n"))
}
