//! One look at a store.

use super::live_count::LiveCount;
use crate::escape::escaped;
use crate::failure::Failure;
use crate::moment::utc;
use crate::opened::Opened;
use multi_process_session::StoreError;
use multi_process_session::store::Figure;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant, SystemTime};

/// The shortest time that a call has, however often the store is looked at.
const SHORTEST_CALL: Duration = Duration::from_secs(1);

pub(crate) struct Look {
    pub(crate) begun: Instant,
    pub(crate) at: SystemTime,
    /// How long the answer to a ping took.
    pub(crate) ping: Option<Duration>,
    /// How long it took to create a session and to end it.
    pub(crate) write: Option<Duration>,
    pub(crate) sessions: Option<u64>,
    pub(crate) figures: Vec<Figure>,
    /// What the store does not do, and why.
    pub(crate) errors: Vec<String>,
}

/// A figure, and how it changes.
pub(crate) struct Row<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: f64,
    pub(crate) per_second: Option<f64>,
}

impl Look {
    pub(crate) fn take(opened: &Opened, count: &mut LiveCount, every: Duration) -> Result<Look, Failure> {
        let mut look = Look {
            begun: Instant::now(),
            at: SystemTime::now(),
            ping: None,
            write: None,
            sessions: None,
            figures: Vec::new(),
            errors: Vec::new(),
        };
        // A ping would make a missing file anew.
        if let Err(failure) = opened.check_file() {
            look.errors.extend(failure.message());
            return Ok(look);
        }
        let call = || opened.call_within(every.max(SHORTEST_CALL));
        look.ping = look.timed("does not answer", opened.store.ping(&call()?));
        if look.ping.is_none() {
            return Ok(look);
        }
        let begun = Instant::now();
        let written = opened.store.check_writes(&opened.namespace, &call()?);
        look.write = look.answer("does not take writes", written).map(|()| begun.elapsed());
        let counted = count.go_on(opened, (every / 5).max(Duration::from_millis(100)))?;
        look.answer("cannot be scanned", counted);
        look.sessions = count.last;
        look.figures = look.answer("gives no figures", opened.store.figures(&call()?)).unwrap_or_default();
        Ok(look)
    }

    fn timed(&mut self, what: &str, answer: Result<(), StoreError>) -> Option<Duration> {
        let took = self.begun.elapsed();
        self.answer(what, answer).map(|()| took)
    }

    fn answer<T>(&mut self, what: &str, answer: Result<T, StoreError>) -> Option<T> {
        answer.map_err(|error| self.errors.push(format!("the store {what}: {error}"))).ok()
    }

    /// Says in one word how the store is.
    pub(crate) fn state(&self) -> &'static str {
        match (self.ping, self.write) {
            (None, _) => "down",
            (Some(_), None) => "no writes",
            (Some(_), Some(_)) => "up",
        }
    }

    /// Returns the number of live sessions and the figures, with their change since the look before.
    pub(crate) fn rows<'a>(&'a self, before: Option<&'a Look>) -> impl Iterator<Item = Row<'a>> {
        let seconds = before.map(|look| self.begun.duration_since(look.begun).as_secs_f64());
        let per_second = move |value: f64, earlier: Option<f64>| Some((value - earlier?) / seconds?);
        let sessions = self.sessions.map(|sessions| {
            let earlier = before.and_then(|look| look.sessions).map(|sessions| sessions as f64);
            let value = sessions as f64;
            Row { name: "live_sessions", value, per_second: per_second(value, earlier) }
        });
        let figures = self.figures.iter().map(move |Figure { name, value }| {
            let earlier = before.and_then(|look| look.figures.iter().find(|figure| figure.name == *name));
            Row { name, value: *value, per_second: per_second(*value, earlier.map(|figure| figure.value)) }
        });
        sessions.into_iter().chain(figures)
    }

    pub(crate) fn json(&self, before: Option<&Look>) -> Value {
        let milliseconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
        let figure = |row: Row<'_>| (row.name.to_owned(), json!({ "value": row.value, "per_second": row.per_second }));
        json!({
            "at": utc(self.at),
            "state": self.state(),
            "ping_milliseconds": milliseconds(self.ping),
            "write_milliseconds": milliseconds(self.write),
            "figures": self.rows(before).map(figure).collect::<Map<_, _>>(),
            "errors": self.errors,
        })
    }

    pub(crate) fn line(&self, before: Option<&Look>) -> String {
        let mut parts = vec![utc(self.at), self.state().to_owned()];
        for (what, took) in [("ping", self.ping), ("write", self.write)] {
            parts.extend(took.map(|took| format!("{what} {}", milliseconds(took))));
        }
        parts.extend(self.rows(before).map(|row| match row.change() {
            change if change.is_empty() => format!("{} {}", escaped(row.name), number(row.value)),
            change => format!("{} {} ({change})", escaped(row.name), number(row.value)),
        }));
        parts.extend(self.errors.iter().map(|error| escaped(error)));
        parts.join("  ")
    }
}

impl Row<'_> {
    /// Returns the change per second. It is empty if there is none.
    pub(crate) fn change(&self) -> String {
        match self.per_second.filter(|change| change.abs() >= 0.05) {
            Some(change) => format!("{change:+.1}/s"),
            None => String::new(),
        }
    }
}

pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

pub(crate) fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
