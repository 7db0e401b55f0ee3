//! The command line: our own options, and those that `cargo test` passes to every test program.

use std::time::Duration;

const USAGE: &str =
    "options of this test: [--store sqlite|redis|cluster|URL] [--kill-server] [--seal] [--minutes M] [--seed N]";

pub struct Options {
    pub runs: Vec<Run>,
    pub seed: u64,
    /// How many runs a filter left out.
    pub left_out: usize,
    pub only_list: bool,
    /// Whether this process does one run of several, and prints nothing else.
    pub is_part: bool,
}

#[derive(Clone, Debug)]
pub struct Run {
    pub store: String,
    pub kill_server: bool,
    /// Whether the values are sealed.
    pub seals: bool,
    pub time: Duration,
}

impl Run {
    pub fn name(&self) -> String {
        let kind = self.store.split(':').next().unwrap_or_default();
        let sealed = if self.seals { "_with_sealed_values" } else { "" };
        format!("torture_{kind}{}{sealed}", if self.kill_server { "_with_a_server_that_is_killed" } else { "" })
    }

    /// The options with which another process of this program does this run.
    pub fn arguments(&self, seed: u64) -> Vec<String> {
        let minutes = self.time.as_secs_f64() / 60.0;
        let options =
            ["--part", "--store", &self.store, "--minutes", &minutes.to_string(), "--seed", &seed.to_string()];
        let flags = [self.kill_server.then_some("--kill-server"), self.seals.then_some("--seal")];
        options.into_iter().chain(flags.into_iter().flatten()).map(str::to_owned).collect()
    }
}

impl Options {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
        let (mut store, mut kill_server, mut seals, mut minutes, mut seed) = (None, false, false, None, None);
        let (mut filters, mut skipped): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        let (mut only_list, mut is_part) = (false, false);
        let number = |word: Option<String>| word.and_then(|word| word.parse::<f64>().ok()).ok_or(USAGE);
        while let Some(word) = words.next() {
            match &*word {
                "--store" => store = Some(words.next().ok_or(USAGE)?),
                "--kill-server" => kill_server = true,
                "--seal" => seals = true,
                "--minutes" => minutes = Some(number(words.next())?),
                "--seed" => seed = Some(words.next().and_then(|word| word.parse().ok()).ok_or(USAGE)?),
                "--part" => is_part = true,
                "--list" => only_list = true,
                "--help" | "-h" => return Err(USAGE.to_owned()),
                // Options of the usual test programs.
                "--skip" => skipped.extend(words.next()),
                "--ignored" => skipped.push(String::new()),
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => drop(words.next()),
                flag if flag.starts_with('-') => {}
                _ => filters.push(word),
            }
        }
        let time = minutes.map_or(Duration::from_secs(40), |it: f64| Duration::from_secs_f64(it * 60.0));
        let run = |store: &str, kill_server, seals| Run { store: store.to_owned(), kill_server, seals, time };
        let all = match store {
            Some(store) => vec![run(&store, kill_server, seals)],
            None if kill_server || seals => vec![run("redis", kill_server, seals)],
            None => vec![
                run("sqlite", false, false),
                run("redis", false, true),
                run("cluster", false, true),
                run("redis", true, false),
            ],
        };
        let count = all.len();
        let is_meant = |run: &Run| {
            let matches = |word: &String| run.name().contains(word.as_str());
            (filters.is_empty() || filters.iter().any(matches)) && !skipped.iter().any(matches)
        };
        let runs: Vec<Run> = all.into_iter().filter(is_meant).collect();
        let clock = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_micros() as u64 % 1_000_000_000);
        Ok(Options { left_out: count - runs.len(), runs, seed: seed.unwrap_or(clock), only_list, is_part })
    }
}
