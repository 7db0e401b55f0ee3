//! Compares this library with the session libraries of other servers, over HTTP and one Redis.
//!
//! `bash benches/peers/run.sh` builds all servers, measures them by turns, and writes `results.md` and `chart.svg`.
//! With `--short` it measures for a few seconds and writes both into the build folder. That is a check that nothing is
//! broken. With `--short --ours` it builds and measures this library alone.

mod behaviour;
mod build;
mod chart;
mod contender;
mod cpu;
mod http;
mod load;
mod machine;
mod measure;
mod peer;
mod redis;
mod report;
mod server;

use contender::Contender;
use machine::Machine;
use redis::Redis;
use report::Report;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

/// How long and how often is measured.
struct Plan {
    warm_up: Duration,
    rounds: usize,
    /// The time for each route in a round.
    slice: Duration,
    /// How often each question about behaviour is asked.
    tries: usize,
    /// How long an answer is waited for while Redis is silent.
    patience: Duration,
}

const FULL: Plan = Plan {
    warm_up: Duration::from_secs(1),
    rounds: 7,
    slice: Duration::from_secs(2),
    tries: 5,
    patience: Duration::from_secs(15),
};

const SHORT: Plan = Plan {
    warm_up: Duration::from_millis(50),
    rounds: 1,
    slice: Duration::from_millis(200),
    tries: 1,
    patience: Duration::from_secs(5),
};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (plan, folder, is_ours_alone) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => (FULL, Path::new(env!("CARGO_MANIFEST_DIR")).to_owned(), false),
        ["--short"] => (SHORT, build::folder(), false),
        ["--short", "--ours"] => (SHORT, build::folder(), true),
        _ => {
            eprintln!("usage: run.sh [--short [--ours]]");
            return ExitCode::from(2);
        }
    };
    let machine = Machine::new();
    let peers = peer::PEERS.iter().filter(|peer| peer.is_ours() || !is_ours_alone);
    let built: Vec<_> = peers.map(|peer| (peer, build::build(peer))).collect();
    let mut redis = Redis::start();
    let mut contenders: Vec<Contender> =
        built.into_iter().map(|(peer, command)| Contender::start(peer, command, &redis)).collect();
    compare(&mut contenders, &mut redis, &plan);

    let report = Report { contenders: &contenders, plan: &plan, machine, redis: redis.version() };
    let page = report.page();
    println!("{page}");
    fs::write(folder.join("results.md"), page).expect("the folder can be written to");
    fs::write(folder.join("chart.svg"), chart::chart(&contenders)).expect("the folder can be written to");
    eprintln!("written: results.md and chart.svg in {}", folder.display());

    for contender in &contenders {
        if let Err(missing) = &contender.state {
            eprintln!("MISSING: {}: {missing}", contender.peer.name);
        }
    }
    if contenders.iter().all(Contender::is_all_right) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn compare(contenders: &mut [Contender], redis: &mut Redis, plan: &Plan) {
    for contender in &mut *contenders {
        contender.go_on("warm-up", |running| {
            measure::round(&running.server, &mut running.visitors, redis, plan.warm_up)?;
            running.figures.round_trips = measure::round_trips(&running.server, &mut running.visitors, redis)?;
            Ok(())
        });
    }
    for number in 0..plan.rounds {
        // Each round begins with another server.
        contenders.rotate_left(1);
        for contender in &mut *contenders {
            contender.go_on(&format!("round {} of {}", number + 1, plan.rounds), |running| {
                let round = measure::round(&running.server, &mut running.visitors, redis, plan.slice)?;
                running.figures.rounds.push(round);
                Ok(())
            });
        }
    }
    contenders.sort_by_key(|contender| contender.peer.place());
    for contender in &mut *contenders {
        contender.go_on("behaviour", |running| {
            for _ in 0..plan.tries {
                running.figures.kept_both.push(behaviour::keeps_both_writes(&running.server)?);
                running.figures.stayed_out.push(behaviour::stays_logged_out(&running.server)?);
            }
            Ok(())
        });
    }
    eprintln!("Redis is silent for {} s", plan.patience.as_secs());
    let running: Vec<_> = contenders.iter_mut().filter_map(|contender| contender.state.as_mut().ok()).collect();
    let clients = running.iter().map(|running| running.visitors[0].browser(&running.server)).collect();
    let answers = behaviour::answers_of_a_silent_redis(clients, redis, plan.patience);
    for (running, answer) in running.into_iter().zip(answers) {
        running.figures.silence = Some(answer);
    }
}
