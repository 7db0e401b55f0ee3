//! Torture: many processes work on the same sessions. Meanwhile the processes, their connections and their server are
//! killed. The processes write down each operation, and afterwards a checker proves from this history that every
//! promise was kept.
//!
//! Without options, all kinds of stores are tortured at the same time, for one minute. You can also choose a store and
//! a time:
//!
//! ```sh
//! cargo test --all-features --test torture -- --store redis --minutes 30
//! cargo test --all-features --test torture -- --store cluster --minutes 30
//! cargo test --all-features --test torture -- --store redis --kill-server --minutes 10
//! cargo test --all-features --test torture -- --store sqlite --seal --minutes 10
//! cargo test --all-features --test torture -- --store redis://127.0.0.1:6379/9 --seed 42
//! ```
//!
//! Name only a Redis that has nothing else to do: the connections of all its clients are killed, and all keys with the
//! prefix `torture:` are deleted.
//!
//! A run goes in rounds of a minute. Each round has sessions of its own, and is checked when it is over. A seed repeats
//! what each worker does, but not how the operating system interleaves the workers.

#![allow(unreachable_pub)]

mod board;
mod chaos;
mod check;
mod faults;
mod figures;
mod history;
mod options;
mod random;
mod store;
#[allow(dead_code)] // `it` uses the rest
#[path = "../support/mod.rs"]
mod support;
mod worker;

use board::Board;
use chaos::Round;
use check::{Rules, Violation, check};
use figures::Figures;
use history::{History, Recorder, cookies};
use multi_process_session::{Refresh, SessionManager};
use options::{Options, Run};
use random::Random;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use store::{NAMESPACE, Place};
use worker::{COUNTS, GROUPS, Worker};

const ROUND: Duration = Duration::from_secs(60);
/// The library's own default.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How much longer a call may take on a busy machine.
const MARGIN: Duration = Duration::from_secs(6);
/// How long one thread may get only errors. The server is never silent or down for as long as this.
const OUTAGE: Duration = Duration::from_secs(12);
/// The number of the last file of the history, which is written when all workers have ended. No thread has this number.
const QUIET: u32 = 1_000_000;
/// How many violations of a kind are shown.
const SHOWN: usize = 3;
/// How many operations are shown of the first session with a violation.
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
    if let (true, [run]) = (options.is_part, &options.runs[..]) {
        return if is_passed(run, options.seed) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let start = Instant::now();
    println!("\nrunning {} tests", options.runs.len());
    let passed = match &options.runs[..] {
        [run] => usize::from(is_passed(run, options.seed)),
        runs => side_by_side(runs, options.seed),
    };
    let failed = options.runs.len() - passed;
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    let (left_out, time) = (options.left_out, start.elapsed().as_secs_f64());
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {left_out} filtered out; \
         finished in {time:.2}s\n"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Does several runs at the same time, each in a process of its own, since all of them fork. Returns how many passed.
fn side_by_side(runs: &[Run], seed: u64) -> usize {
    let me = std::env::current_exe().expect("a program has a path");
    let is_passed = |run: &Run| {
        let output = Command::new(&me).args(run.arguments(seed)).stderr(Stdio::inherit()).output();
        let output = output.expect("a program can be run");
        print!("{}", String::from_utf8_lossy(&output.stdout));
        output.status.success()
    };
    thread::scope(|scope| {
        let runs: Vec<_> = runs.iter().map(|run| scope.spawn(|| is_passed(run))).collect();
        runs.into_iter().map(|run| run.join().expect("no panic")).filter(|is_passed| *is_passed).count()
    })
}

/// Does one run in this process, and prints what it did.
fn is_passed(run: &Run, seed: u64) -> bool {
    println!("test {} ... seed {seed}", run.name());
    faults::watch();
    let result = torment(run, seed);
    println!("test {} ... {}", run.name(), if result.is_ok() { "ok" } else { "FAILED" });
    result.map_err(|error| println!("{error}")).is_ok()
}

fn torment(run: &Run, seed: u64) -> Result<(), String> {
    let mut place = Place::open(&run.store, run.kill_server)?;
    if run.kill_server && !place.has_own_server() {
        return Err("only a server of the test's own can be killed: --store redis".to_owned());
    }
    let manager = |refresh| {
        let builder = support::builder(&place.url).namespace(NAMESPACE).operation_timeout(timeout(run, &place));
        let builder = if run.seals { builder.seal_values().readable([COUNTS[0], "me"]) } else { builder };
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

/// The default timeout, where servers are silent or files are locked. Elsewhere no call may reach its timeout.
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

/// Loads every session by every cookie that it ever had, and lists every group. All workers have ended by then.
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
