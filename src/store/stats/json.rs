//! Counters as JSON text, for the file of a process.

use crate::store::stats::histogram::Histogram;
use crate::store::stats::{KINDS, Stats, label};
use serde_json::{Map, Value};
use std::time::{Duration, UNIX_EPOCH};

/// Returns the text from which [`from_json`] reads the same counters.
pub(super) fn to_json(stats: &Stats) -> String {
    let mut stats = stats.clone();
    let errors: Map<_, _> = stats.errors.iter().map(|(kind, number)| (label(*kind).into(), (*number).into())).collect();
    let since = stats.since.map(|since| nanoseconds(since.duration_since(UNIX_EPOCH).unwrap_or_default()));
    let others = [
        ("since", since.into()),
        ("errors", errors.into()),
        ("call_durations", stats.call_durations.counts.to_vec().into()),
        ("call_durations_sum", nanoseconds(stats.call_durations.sum).into()),
        ("pool_size", stats.pool_size.into()),
        ("waited", nanoseconds(stats.waited).into()),
        ("lock_waited", nanoseconds(stats.lock_waited).into()),
    ];
    let numbers = stats.numbers().map(|(name, number)| (name, Value::from(*number)));
    let all: Map<_, _> = numbers.into_iter().chain(others).map(|(name, value)| (name.to_owned(), value)).collect();
    Value::Object(all).to_string()
}

/// Reads counters. Another version of this library may have written them: a number that it did not know is 0, and one
/// that only it knows is left out. Returns `None` if the text is something else.
pub(super) fn from_json(text: &[u8]) -> Option<Stats> {
    let all: Map<String, Value> = serde_json::from_slice(text).ok()?;
    let number = |name: &str| all.get(name).map_or(Some(0), Value::as_u64);
    let duration = |name: &str| number(name).map(Duration::from_nanos);
    let mut stats = Stats {
        call_durations: histogram(all.get("call_durations"), duration("call_durations_sum")?)?,
        pool_size: number("pool_size")?.try_into().ok()?,
        waited: duration("waited")?,
        lock_waited: duration("lock_waited")?,
        ..Stats::default()
    };
    if let Some(since) = all.get("since").filter(|since| !since.is_null()) {
        stats.since = UNIX_EPOCH.checked_add(Duration::from_nanos(since.as_u64()?));
    }
    for (name, value) in stats.numbers() {
        *value = number(name)?;
    }
    if let Some(errors) = all.get("errors") {
        let errors = errors.as_object()?;
        let known = KINDS.into_iter().filter_map(|kind| Some((kind, errors.get(label(kind))?.as_u64())));
        stats.errors = known.map(|(kind, number)| Some((kind, number?))).collect::<Option<_>>()?;
    }
    Some(stats)
}

fn histogram(counts: Option<&Value>, sum: Duration) -> Option<Histogram> {
    let Some(counts) = counts else { return Some(Histogram::default()) };
    let counts: Option<Vec<u64>> = counts.as_array()?.iter().map(Value::as_u64).collect();
    Some(Histogram { counts: counts?.try_into().ok()?, sum })
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_come_back_and_other_texts_are_refused() {
        let mut stats = Stats { since: Some(UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789)), ..full() };
        let text = to_json(&stats);
        assert_eq!(from_json(text.as_bytes()), Some(stats.clone()));
        stats.since = None;
        assert_eq!(from_json(to_json(&stats).as_bytes()), Some(stats));

        assert_eq!(from_json(b"{}"), Some(Stats::default()));
        assert_eq!(from_json(b"{\"of a later version\":[]}"), Some(Stats::default()));
        for other in ["", "[]", "{\"calls\":-1}", "{\"calls\":\"1\"}", "{\"errors\":1}", "{\"call_durations\":[1]}"] {
            assert_eq!(from_json(other.as_bytes()), None, "{other}");
        }
        assert_eq!(from_json(b"{\"errors\":{\"timeout\":null}}"), None);
        assert_eq!(from_json(b"{\"pool_size\":4294967296}"), None);
        for end in 0..text.len() {
            assert_eq!(from_json(&text.as_bytes()[..end]), None, "half of a text is refused");
        }
    }

    /// Counters that all have other values.
    fn full() -> Stats {
        let mut stats = Stats {
            errors: KINDS.into_iter().zip(100..).collect(),
            call_durations: Histogram {
                counts: std::array::from_fn(|bucket| 200 + bucket as u64),
                sum: Duration::from_nanos(300),
            },
            pool_size: 301,
            waited: Duration::from_micros(302),
            lock_waited: Duration::from_micros(303),
            ..Stats::default()
        };
        for ((_, number), value) in stats.numbers().into_iter().zip(1..) {
            *number = value;
        }
        stats
    }
}
