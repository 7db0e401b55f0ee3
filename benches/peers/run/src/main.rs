//! Compares session libraries: runs a small server on each, by turns, against one Redis.
//!
//! Each round measures every server on every route for a moment. The figures are medians over the rounds. What a
//! request adds is the CPU that it costs more than a request to the bare route of the same server in the same round.

mod behaviour;
mod http;
mod load;
mod redis;
mod report;
mod server;

use crate::behaviour::Behaviour;
use crate::load::Load;
use crate::redis::Redis;
use crate::report::{Figures, Row};
use crate::server::{PEERS, Server};
use std::time::Duration;

/// The requests at once, each with a session of its own.
const CONNECTIONS: usize = 16;

fn main() {
    let has = |name: &str| std::env::args().any(|argument| argument == name);
    let (is_short, is_ours_alone) = (has("--short"), has("--ours"));
    let (rounds, slice) = if is_short { (1, Duration::from_millis(200)) } else { (5, Duration::from_secs(2)) };
    let redis = Redis::start();
    let servers: Vec<Server> = PEERS
        .iter()
        .filter(|peer| peer.is_ours() || !is_ours_alone)
        .filter_map(|peer| Server::start(peer, &redis))
        .collect();
    let mut rows: Vec<Row> = servers.iter().map(|server| Row::new(server.peer)).collect();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (server, row) in servers.iter().zip(&mut rows) {
            let [bare, read, write] = ["/bare", "/read?key=k", "/write?key=k&value="]
                .map(|path| Load::run(server, &redis, path, CONNECTIONS, slice));
            row.reads.push(Figures::of(&read, &bare));
            row.writes.push(Figures::of(&write, &bare));
        }
    }
    for (server, row) in servers.iter().zip(&mut rows) {
        eprintln!("{}: how it behaves", server.peer.name);
        row.round_trips = ["/read?key=k", "/write?key=k&value=x"].map(|path| redis.round_trips(server, path));
        row.behaviour = Some(Behaviour::of(server, &redis, is_short));
    }
    drop(servers);
    let (table, chart) = (report::table(&rows, &redis.version()), report::chart(&rows));
    println!("{table}");
    if !is_short && !is_ours_alone {
        std::fs::write("results.md", table).expect("results.md can be written");
        std::fs::write("chart.svg", chart).expect("chart.svg can be written");
    }
}
