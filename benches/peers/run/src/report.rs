//! The table and the chart.

use crate::behaviour::Behaviour;
use crate::load::Load;
use crate::server::Peer;
use std::fmt::Write;
use std::fs;
use std::process::Command;

/// The figures of one route in one round.
#[derive(Clone)]
pub struct Figures {
    requests_a_second: f64,
    p50: f64,
    p99: f64,
    /// What a request adds to the bare route, in microseconds.
    server_cpu: f64,
    redis_cpu: f64,
}

pub struct Row {
    peer: &'static Peer,
    pub reads: Vec<Figures>,
    pub writes: Vec<Figures>,
    /// Of a read, and of a read and write.
    pub round_trips: [f64; 2],
    pub behaviour: Option<Behaviour>,
}

impl Figures {
    pub fn of(load: &Load, bare: &Load) -> Figures {
        Figures {
            requests_a_second: load.requests_a_second,
            p50: load.p50.as_secs_f64() * 1e3,
            p99: load.p99.as_secs_f64() * 1e3,
            server_cpu: load.server_cpu - bare.server_cpu,
            redis_cpu: load.redis_cpu - bare.redis_cpu,
        }
    }

    fn medians(rounds: &[Figures]) -> Figures {
        let median = |figure: fn(&Figures) -> f64| {
            let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Figures {
            requests_a_second: median(|figures| figures.requests_a_second),
            p50: median(|figures| figures.p50),
            p99: median(|figures| figures.p99),
            server_cpu: median(|figures| figures.server_cpu),
            redis_cpu: median(|figures| figures.redis_cpu),
        }
    }
}

impl Row {
    pub fn new(peer: &'static Peer) -> Row {
        Row { peer, reads: Vec::new(), writes: Vec::new(), round_trips: [0.0; 2], behaviour: None }
    }

    fn routes(&self) -> [(&'static str, Figures, f64); 2] {
        let [reading, writing] = self.round_trips;
        [("read", Figures::medians(&self.reads), reading), ("read and write", Figures::medians(&self.writes), writing)]
    }
}

/// The whole page in Markdown.
pub fn table(rows: &[Row], redis: &str) -> String {
    let mut page = String::from(
        "# Beside other session libraries\n\nWritten by `bash benches/peers/run.sh`. \"Added\" is what a request costs \
         more than a request to the same server's route without a session. 16 connections, each with a session of its \
         own. Medians of 5 rounds, in which the servers take turns.\n\n",
    );
    page += "| library | request | requests a second | p50, ms | p99, ms | added server CPU, µs | \
             added Redis CPU, µs | round trips |\n|---|---|---|---|---|---|---|---|\n";
    for row in rows {
        for (route, figures, round_trips) in row.routes() {
            let Figures { requests_a_second, p50, p99, server_cpu, redis_cpu } = figures;
            let _ = writeln!(
                page,
                "| {} | {route} | {requests_a_second:.0} | {p50:.2} | {p99:.2} | {server_cpu:.0} | {redis_cpu:.0} \
                 | {round_trips} |",
                row.peer.name
            );
        }
    }
    page += "\nWhat happens where requests meet, and where Redis is silent (it is stopped for up to 15 seconds):\n\n\
             | library | two requests write different keys at once: both are kept | a logout beside a request under \
             way holds | a read while Redis is silent |\n|---|---|---|---|\n";
    for row in rows {
        let Some(Behaviour { kept_both, logouts_held, silent }) = &row.behaviour else { continue };
        let of = |(number, tries): (u32, u32)| format!("{number} of {tries}");
        let silent = silent.map_or("no answer in 15 s".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
        let _ = writeln!(page, "| {} | {} | {} | {silent} |", row.peer.name, of(*kept_both), of(*logouts_held));
    }
    page += "\n| library | versions | settings |\n|---|---|---|\n";
    for row in rows {
        let versions: Vec<String> = row.peer.packages.iter().map(|package| version(package)).collect();
        let _ = writeln!(page, "| {} | {} | {} |", row.peer.name, versions.join(", "), row.peer.settings);
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let _ = writeln!(
        page,
        "\nOn {cores} cores ({}), Redis {redis} over TCP, {}, Node.js {}.",
        processor(),
        output("rustc", "--version"),
        output("node", "--version")
    );
    page
}

/// Gives a package with its version, from the lock files.
fn version(package: &str) -> String {
    let after = |text: &str, start: &str, end: &str| {
        let (_, rest) = text.split_once(start)?;
        rest.split_once(end).map(|(version, _)| version.to_owned())
    };
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let version = after(&read("Cargo.lock"), &format!("name = \"{package}\"\nversion = \""), "\"");
    let of_node = || {
        let lock = read("express/package-lock.json");
        after(&lock, &format!("\"node_modules/{package}\": {{\n      \"version\": \""), "\"")
    };
    // `redis` is in both.
    let version = if package == "redis" { of_node() } else { version.or_else(of_node) };
    format!("{package} {}", version.unwrap_or_default())
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("an unknown processor".to_owned(), |(_, name)| name.to_owned())
}

fn output(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    output.map_or("not there".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A bar chart of the added CPU, in light and dark.
pub fn chart(rows: &[Row]) -> String {
    const LABELS: usize = 300;
    const WIDTH: f64 = 440.0;
    let bars: Vec<(String, [f64; 2])> = rows
        .iter()
        .flat_map(|row| row.routes().map(|(route, figures, _)| (row.peer.name, route, figures)))
        .map(|(name, route, figures)| {
            (format!("{name}: {route}"), [figures.server_cpu.max(0.0), figures.redis_cpu.max(0.0)])
        })
        .collect();
    let longest = bars.iter().map(|(_, parts)| parts.iter().sum::<f64>()).fold(1.0, f64::max);
    let scale = WIDTH / longest;
    let height = 60 + 26 * bars.len();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 820 {height}\" font-family=\"sans-serif\" \
         font-size=\"12\" role=\"img\">\n<title>CPU that a request with a session adds, in microseconds</title>\n\
         <style>text {{ fill: #222 }} .server {{ fill: #2f6fb0 }} .redis {{ fill: #c2543d }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} .server {{ fill: #6aa7e0 }} .redis {{ fill: \
         #e08a75 }} }}</style>\n\
         <text x=\"{LABELS}\" y=\"20\" font-weight=\"bold\">CPU that a request with a session adds, µs</text>\n\
         <rect class=\"server\" x=\"{LABELS}\" y=\"30\" width=\"10\" height=\"10\"/>\n\
         <text x=\"316\" y=\"39\">server</text>\n\
         <rect class=\"redis\" x=\"370\" y=\"30\" width=\"10\" height=\"10\"/>\n\
         <text x=\"386\" y=\"39\">Redis</text>\n"
    );
    for (number, (label, [server, redis])) in bars.iter().enumerate() {
        let y = 54 + 26 * number;
        let (server_width, redis_width, text_y) = (server * scale, redis * scale, y + 13);
        let redis_x = LABELS as f64 + server_width;
        let (end, label_end) = (redis_x + redis_width + 6.0, LABELS - 8);
        let _ = writeln!(
            svg,
            "<text x=\"{label_end}\" y=\"{text_y}\" text-anchor=\"end\">{label}</text>\
             <rect class=\"server\" x=\"{LABELS}\" y=\"{y}\" width=\"{server_width:.1}\" height=\"18\"/>\
             <rect class=\"redis\" x=\"{redis_x:.1}\" y=\"{y}\" width=\"{redis_width:.1}\" height=\"18\"/>\
             <text x=\"{end:.1}\" y=\"{text_y}\">{server:.0} + {redis:.0}</text>"
        );
    }
    svg + "</svg>\n"
}
