//! What a run did, in numbers.

use super::chaos::Harm;
use super::history::{History, NEVER, Outcome};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

#[derive(Default)]
pub struct Figures {
    time: Duration,
    sessions: u64,
    answers: BTreeMap<(&'static str, String), u64>,
    /// In microseconds.
    latencies: BTreeMap<&'static str, Vec<u32>>,
    resent: u64,
    /// In nanoseconds: the longest time in which no operation at all succeeded.
    outage: u64,
    /// In nanoseconds: how long the machine stood still.
    stalls: Vec<u64>,
    harm: Harm,
}

impl Figures {
    pub fn add(&mut self, history: &History, harm: &Harm, time: Duration) {
        self.time += time;
        let mut successes = Vec::new();
        for operation in history.operations.iter().filter(|operation| operation.invoked < history.quiet_from) {
            let name = operation.call.name();
            let outcome = operation.outcome.as_ref().map_or("no answer (killed)", Outcome::name);
            *self.answers.entry((name, outcome.to_owned())).or_default() += 1;
            self.resent += u64::from(operation.resent);
            self.sessions += u64::from(name == "create");
            if operation.completed != NEVER {
                let latency = (operation.completed - operation.invoked) / 1000;
                self.latencies.entry(name).or_default().push(latency.try_into().unwrap_or(u32::MAX));
                if !matches!(operation.outcome, Some(Outcome::Fault(_))) {
                    successes.push(operation.completed);
                }
            }
        }
        successes.sort_unstable();
        let longest = successes.windows(2).map(|pair| pair[1] - pair[0]).max();
        self.outage = self.outage.max(longest.unwrap_or(0));
        self.stalls.extend(history.stalls.iter().map(|(from, to)| to - from));
        self.harm.workers += harm.workers;
        self.harm.connections += harm.connections;
        self.harm.locks += harm.locks;
        self.harm.servers += harm.servers;
        self.harm.silences += harm.silences;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operations: u64 = self.answers.values().sum();
        let per_second = operations as f64 / self.time.as_secs_f64();
        writeln!(f, "  {operations} operations on {} sessions, {per_second:.0} a second", self.sessions)?;
        writeln!(f, "  {:22} {:>9} {:>9} {:>9}  answers", "operation", "p50 ms", "p99 ms", "max ms")?;
        for (name, latencies) in &self.latencies {
            let mut latencies = latencies.clone();
            latencies.sort_unstable();
            let at = |part: f64| f64::from(latencies[((latencies.len() - 1) as f64 * part) as usize]) / 1000.0;
            write!(f, "  {name:22} {:9.2} {:9.2} {:9.1} ", at(0.5), at(0.99), at(1.0))?;
            let answers = self.answers.iter().filter(|((of, _), _)| of == name);
            let answers: Vec<String> = answers.map(|((_, outcome), count)| format!("{count} {outcome}")).collect();
            writeln!(f, " {}", answers.join(", "))?;
        }
        let Harm { workers, connections, locks, servers, silences } = self.harm;
        writeln!(
            f,
            "  killed: {workers} workers, {connections} connections, {servers} servers; {silences} servers stopped, \
             {locks} locks held; {} operations sent again",
            self.resent
        )?;
        let milliseconds = |nanoseconds: u64| nanoseconds / 1_000_000;
        write!(f, "  longest time in which nothing succeeded: {} ms", milliseconds(self.outage))?;
        let (stalls, longest) = (self.stalls.len(), self.stalls.iter().max().copied().unwrap_or(0));
        write!(f, "; the machine itself stood still {stalls} times, for {} ms at most", milliseconds(longest))
    }
}
