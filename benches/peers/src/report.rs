//! The page of results.

use crate::Plan;
use crate::behaviour::Silence;
use crate::contender::Contender;
use crate::load::VISITORS;
use crate::machine::{self, Machine};
use crate::measure::{Cost, Figures, Round, Sample, median};
use std::fmt::Write;

pub struct Report<'a> {
    pub contenders: &'a [Contender],
    pub plan: &'a Plan,
    pub machine: Machine,
    /// The version of Redis.
    pub redis: String,
}

type Cell = fn(&Figures, &Plan) -> String;

/// The rows of the table.
const ROWS: [(&str, Cell); 16] = [
    ("**bare route**: requests a second", |figures, _| whole(figures.median(|round| round.bare.requests_a_second))),
    ("p50, p99 (ms)", |figures, _| latencies(figures, |round| &round.bare)),
    ("server CPU (µs)", |figures, _| tenths(figures.median(|round| round.bare.server))),
    ("**read**: requests a second", |figures, _| whole(figures.median(|round| round.read.requests_a_second))),
    ("p50, p99 (ms)", |figures, _| latencies(figures, |round| &round.read)),
    ("added server CPU (µs)", |figures, _| tenths(figures.median(Round::read_server))),
    ("added Redis CPU (µs)", |figures, _| tenths(figures.median(Round::read_redis))),
    ("round trips", |figures, _| tenths(figures.round_trips.read)),
    ("**read and write**: requests a second", |figures, _| {
        whole(figures.median(|round| round.count.requests_a_second))
    }),
    ("p50, p99 (ms)", |figures, _| latencies(figures, |round| &round.count)),
    ("added server CPU (µs)", |figures, _| tenths(figures.median(Round::count_server))),
    ("added Redis CPU (µs)", |figures, _| tenths(figures.median(Round::count_redis))),
    ("round trips", |figures, _| tenths(figures.round_trips.count)),
    ("**two requests write different keys at once**", |figures, _| {
        tried(&figures.kept_both, "both are kept", "one is lost")
    }),
    ("**logout while another request runs**", |figures, _| {
        tried(&figures.stayed_out, "it holds", "the user is logged in again")
    }),
    ("**Redis is silent**: the answer comes", |figures, plan| match &figures.silence {
        Some(Silence::Answered(time, status)) => format!("after {:.1} s ({status})", time.as_secs_f64()),
        Some(Silence::Failed(time, _)) if *time >= plan.patience => format!("not within {} s", plan.patience.as_secs()),
        Some(Silence::Failed(time, reason)) => format!("never; after {:.1} s: {reason}", time.as_secs_f64()),
        None => "not tried".to_owned(),
    }),
];

impl Report<'_> {
    pub fn page(&self) -> String {
        let mut page = String::from(
            "# This library beside others\n\n\
             `bash benches/peers/run.sh` wrote this page. [README.md](README.md) says how it measures.\n\n",
        );
        self.write_table(&mut page);
        self.write_ratios(&mut page);
        self.write_settings(&mut page);
        page
    }

    fn write_table(&self, page: &mut String) {
        let names: Vec<_> = self.contenders.iter().map(|contender| contender.peer.name).collect();
        *page += &row("", names.iter().map(|name| (*name).to_owned()));
        *page += &format!("|---{}|\n", "|--:".repeat(names.len()));
        for (label, cell) in ROWS {
            let cells = self.contenders.iter().map(|contender| match &contender.state {
                Ok(running) => cell(&running.figures, self.plan),
                Err(missing) => missing.word().to_owned(),
            });
            *page += &row(label, cells);
        }
        *page += "\n![Added CPU](chart.svg)\n\n";
        for contender in self.contenders {
            if let Err(missing) = &contender.state {
                let _ = writeln!(page, "{}: {missing}\n", contender.peer.name);
            }
        }
    }

    /// Ratios within a round are steadier than ratios of medians, if other programs use the machine, too.
    fn write_ratios(&self, page: &mut String) {
        *page += "## Ratios\n\nThe added CPU of this library, divided by that of the other server in the same round, \
                  as a median:\n\n";
        let costs: [(&str, Cost); 4] = [
            ("read, server", Round::read_server),
            ("read, Redis", Round::read_redis),
            ("read and write, server", Round::count_server),
            ("read and write, Redis", Round::count_redis),
        ];
        *page += &row("", costs.iter().map(|(name, _)| (*name).to_owned()));
        *page += &format!("|---{}|\n", "|--:".repeat(costs.len()));
        let running =
            || self.contenders.iter().filter_map(|contender| Some((contender.peer, contender.state.as_ref().ok()?)));
        for (peer, running_ours) in running().filter(|(peer, _)| peer.is_ours()) {
            for (other, running_other) in running().filter(|(other, _)| !other.is_ours()) {
                let ratio = |cost: Cost| {
                    let rounds = running_ours.figures.rounds.iter().zip(&running_other.figures.rounds);
                    format!("{:.2}", median(rounds.map(|(ours, others)| cost(ours) / cost(others)).collect()))
                };
                *page += &row(&format!("{} / {}", peer.name, other.name), costs.iter().map(|(_, cost)| ratio(*cost)));
            }
        }
    }

    fn write_settings(&self, page: &mut String) {
        *page += "\n## Versions and settings\n\n| | versions | settings |\n|---|---|---|\n";
        for contender in self.contenders {
            let versions = contender
                .peer
                .packages
                .iter()
                .map(|package| format!("{package} {}", machine::package_version(&contender.peer.program, package)));
            let versions = versions.collect::<Vec<_>>().join(", ");
            *page += &row(contender.peer.name, [versions, contender.peer.settings.to_owned()].into_iter());
        }
        let Plan { rounds, slice, tries, .. } = self.plan;
        let Machine { description, load_before } = &self.machine;
        let (redis, seconds) = (&self.redis, slice.as_secs_f64());
        *page += "\n";
        for line in [
            format!("Machine: {description}, Redis {redis}. Load average before the run: {load_before}."),
            format!("Load: {VISITORS} visitors, each with a session of 5 values and a connection that stays open."),
            "Redis, the servers and the load share the machine. Redis is reached over TCP.".to_owned(),
            format!("Rounds: {rounds}. In each, each route of each server is under load for {seconds} s."),
            format!("Each question about behaviour was asked {tries} times, that of the silent Redis once."),
        ] {
            *page += &format!("- {line}\n");
        }
    }
}

fn row(label: &str, cells: impl Iterator<Item = String>) -> String {
    cells.fold(format!("| {label} |"), |row, cell| row + " " + &cell + " |") + "\n"
}

fn latencies(figures: &Figures, sample: fn(&Round) -> &Sample) -> String {
    let [p50, p99] = [figures.median(|round| sample(round).p50), figures.median(|round| sample(round).p99)];
    format!("{:.2}, {:.2}", p50 / 1e3, p99 / 1e3)
}

fn tried(tries: &[bool], good: &str, bad: &str) -> String {
    match tries.iter().filter(|is_good| !**is_good).count() {
        0 => good.to_owned(),
        failed => format!("{bad} ({failed} of {})", tries.len()),
    }
}

fn whole(number: f64) -> String {
    let number = number.round() as u64;
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

fn tenths(number: f64) -> String {
    format!("{number:.1}")
}
