//! The counters as OpenMetrics text, which is read here by the grammar of the specification, version 1.0.

use crate::support::place::Place;
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::{builder, manager, session_with};
use multi_process_session::{Histogram, Stats};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A metric of a page.
#[derive(Default)]
struct Family {
    kind: String,
    unit: String,
    help: String,
    samples: Vec<Sample>,
}

/// The name after that of the metric, such as `_total`; the labels; the value.
type Sample = (String, Vec<(String, String)>, f64);

/// Reads a page. Fails if it is not OpenMetrics text.
#[track_caller]
fn read(page: &str) -> BTreeMap<String, Family> {
    let lines = page.strip_suffix("# EOF\n").expect("a page ends with # EOF");
    assert!(lines.is_empty() || lines.ends_with('\n'));
    let (mut families, mut current) = (BTreeMap::<String, Family>::new(), String::new());
    for line in lines.lines() {
        if let Some(descriptor) = line.strip_prefix("# ") {
            let (what, rest) = descriptor.split_once(' ').expect(line);
            let (name, text) = rest.split_once(' ').expect(line);
            assert!(is_name(name), "{line}");
            if name != current {
                current = name.to_owned();
                let before = families.insert(current.clone(), Family::default());
                assert!(before.is_none(), "the lines of a metric stand together: {line}");
            }
            let family = families.get_mut(name).expect(line);
            assert!(family.samples.is_empty(), "a metric is described before its values: {line}");
            let place = match what {
                "TYPE" => &mut family.kind,
                "UNIT" => &mut family.unit,
                "HELP" => &mut family.help,
                _ => panic!("{line}"),
            };
            assert!(place.is_empty() && !text.is_empty(), "a metric is described once: {line}");
            assert!(!text.contains(['"', '\\']), "this has to be escaped: {line}");
            text.clone_into(place);
        } else {
            let (name, value) = line.rsplit_once(' ').expect(line);
            let (name, labels) = match name.split_once('{') {
                Some((name, labels)) => (name, read_labels(labels.strip_suffix('}').expect(line))),
                None => (name, Vec::new()),
            };
            let suffix = name.strip_prefix(&*current).unwrap_or_else(|| panic!("another metric: {line}"));
            assert!(is_name(name) && is_number(value), "{line}");
            let family = families.get_mut(&current).expect(line);
            family.samples.push((suffix.to_owned(), labels, value.parse().expect(line)));
        }
    }
    for (name, family) in &families {
        check(name, family);
    }
    families
}

#[track_caller]
fn check(name: &str, family: &Family) {
    assert!(!family.help.is_empty(), "{name}");
    assert!(family.unit.is_empty() || name.ends_with(&format!("_{}", family.unit)), "{name}: {}", family.unit);
    let reserved = ["_total", "_created", "_bucket", "_count", "_sum", "_info"];
    assert!(!reserved.iter().any(|suffix| name.ends_with(suffix)), "{name} could be taken for a value of a metric");
    for (at, (suffix, labels, value)) in family.samples.iter().enumerate() {
        let is_new = family.samples[..at].iter().all(|before| (&before.0, &before.1) != (suffix, labels));
        assert!(is_new && *value >= 0.0, "{name}{suffix}{labels:?}");
    }
    let suffixes: Vec<&str> = family.samples.iter().map(|(suffix, ..)| &**suffix).collect();
    match &*family.kind {
        "counter" => assert!(!suffixes.is_empty() && suffixes.iter().all(|suffix| *suffix == "_total"), "{name}"),
        "gauge" => assert_eq!(suffixes, [""], "{name}"),
        "histogram" => {
            let (buckets, rest) = family.samples.split_at(family.samples.len() - 2);
            let numbers = |(suffix, labels, calls): &Sample| {
                assert_eq!((&**suffix, labels.len(), &*labels[0].0), ("_bucket", 1, "le"));
                let bound = &labels[0].1;
                assert!(bound == "+Inf" || bound.contains('.') && is_number(bound), "{name}: {bound}");
                (bound.parse::<f64>().unwrap(), *calls)
            };
            let buckets: Vec<(f64, f64)> = buckets.iter().map(numbers).collect();
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name}: {buckets:?}");
            let (bound, calls) = *buckets.last().unwrap();
            assert_eq!((&*rest[0].0, &*rest[1].0), ("_sum", "_count"));
            assert_eq!((bound, calls), (f64::INFINITY, rest[1].2), "{name}");
        }
        kind => panic!("{name} is a {kind}"),
    }
}

fn read_labels(labels: &str) -> Vec<(String, String)> {
    let label = |label: &str| {
        let (name, value) = label.split_once('=').expect(label);
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect(label);
        assert!(is_name(name) && !value.contains(['"', '\\', ',']), "{label}");
        (name.to_owned(), value.to_owned())
    };
    labels.split(',').map(label).collect()
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_number(number: &str) -> bool {
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    [whole, part].iter().all(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The value of a counter or a gauge.
#[track_caller]
fn value(page: &BTreeMap<String, Family>, name: &str) -> f64 {
    let samples = &page.get(name).unwrap_or_else(|| panic!("there is no {name}")).samples;
    assert_eq!(samples.len(), 1, "{name}");
    samples[0].2
}

#[test]
fn every_counter_is_on_the_page() {
    let mut stats = Stats::default();
    assert!(read(&stats.to_openmetrics()).len() > 15, "a page of zeros has all metrics");
    // Each has a value of its own.
    (stats.created, stats.refreshed, stats.ended, stats.not_found, stats.gone) = (1, 2, 3, 4, 5);
    (stats.conflicts, stats.refused, stats.tossed, stats.refused_refreshes) = (6, 7, 8, 9);
    (stats.connections, stats.connections_open, stats.connections_in_use) = (10, 11, 12);
    (stats.pool_size, stats.waits, stats.lock_waits, stats.round_trips, stats.retries) = (13, 14, 15, 16, 17);
    (stats.waited, stats.lock_waited) = (Duration::from_micros(18), Duration::from_millis(190_500));
    let page = read(&stats.to_openmetrics());
    for (name, number) in [
        ("creations", 1.0),
        ("refreshes", 2.0),
        ("ends", 3.0),
        ("not_found", 4.0),
        ("gone", 5.0),
        ("conflicts", 6.0),
        ("tokens_refused", 7.0),
        ("requests_tossed", 8.0),
        ("refreshes_refused", 9.0),
        ("store_connections_opened", 10.0),
        ("store_connections_open", 11.0),
        ("store_connections_in_use", 12.0),
        ("store_connections_allowed", 13.0),
        ("store_waits", 14.0),
        ("store_lock_waits", 15.0),
        ("store_round_trips", 16.0),
        ("store_retries", 17.0),
        ("store_wait_seconds", 0.000_018),
        ("store_lock_wait_seconds", 190.5),
    ] {
        assert_eq!(value(&page, &format!("mps_session_{name}")), number, "{name}");
    }
    // Nothing else is there but the errors and the histogram.
    assert_eq!(page.len(), 19 + 2);
    assert!(Stats::OPENMETRICS_CONTENT_TYPE.starts_with("application/openmetrics-text; version=1.0.0;"));
}

#[test]
fn calls_and_errors_are_on_the_page() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = builder(&proxy.url()).build().unwrap();
    let header = session_with(&manager, &[("user", "ada")]);
    proxy.next(&[Fault::Answer(b"-OOM no\r\n")]);
    manager.load(&header).unwrap_err();
    let page = read(&manager.stats().to_openmetrics());
    let errors = &page["mps_session_store_errors"].samples;
    let errors: Vec<(&str, f64)> = errors.iter().map(|(_, labels, number)| (&*labels[0].1, *number)).collect();
    let expected = ["unavailable", "timeout", "rejected", "corrupt", "forked", "backend"];
    assert_eq!(errors, expected.map(|kind| (kind, if kind == "rejected" { 1.0 } else { 0.0 })));
    let calls = &page["mps_session_store_call_duration_seconds"].samples;
    assert_eq!(calls.len(), Histogram::BOUNDS.len() + 3);
    assert_eq!(calls.last().unwrap().2, 2.0);
}

#[test]
fn a_histogram_holds_the_durations_of_all_calls() {
    for url in [Place::redis(), Place::sqlite()].iter().map(Place::url).chain(["memory:".to_owned()]) {
        let manager = manager(&url);
        let header = session_with(&manager, &[("user", "ada")]);
        let before = manager.stats();
        let start = Instant::now();
        for _ in 0..100 {
            manager.load(&header).unwrap();
        }
        manager.load("sid=forged").unwrap();
        manager.group("ada").len().unwrap();
        let (took, stats) = (start.elapsed(), manager.stats());
        let durations = &stats.call_durations;
        assert_eq!((stats.calls, durations.count()), (before.calls + 101, before.calls + 101));
        let sum = durations.sum() - before.call_durations.sum();
        assert!(Duration::ZERO < sum && sum <= took, "{sum:?} within {took:?}");
        let up_to = durations.buckets().map(|(_, calls)| calls).collect::<Vec<_>>();
        assert!(up_to.is_sorted() && *up_to.last().unwrap() <= durations.count(), "{up_to:?}");
    }
}

#[test]
fn a_slow_call_is_in_a_late_bucket() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.socket());
    let manager = builder(&proxy.url()).operation_timeout(Duration::from_millis(300)).build().unwrap();
    proxy.next(&[Fault::Silence, Fault::Silence]);
    manager.ping().unwrap_err();
    let durations = manager.stats().call_durations;
    let (_, at_most_quarter) = durations.buckets().find(|(bound, _)| *bound == Duration::from_millis(250)).unwrap();
    assert_eq!((at_most_quarter, durations.count()), (0, 1));
    assert!(durations.sum() >= Duration::from_millis(250), "{durations:?}");
}
