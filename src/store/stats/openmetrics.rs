//! Counters as a page for Prometheus.

use crate::store::stats::histogram::Histogram;
use crate::store::stats::{KINDS, Stats, label};
use std::fmt::Display;
use std::time::Duration;

impl Stats {
    /// The content type of the text that [`to_openmetrics`](Stats::to_openmetrics) gives.
    pub const OPENMETRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Returns the counters as OpenMetrics text, which Prometheus and others scrape.
    ///
    /// The names of all metrics begin with `mps_session_`. Durations are in seconds. Each kind of error has a line,
    /// even if no such error occurred. The number of [calls](Stats::calls) is
    /// `mps_session_store_call_duration_seconds_count`.
    ///
    /// Send the text with the content type [`OPENMETRICS_CONTENT_TYPE`](Stats::OPENMETRICS_CONTENT_TYPE). The text ends
    /// with the line `# EOF`, so metrics of your own have to come before it.
    ///
    /// The text has the counters of one process. For those of all workers, see [`StatsFolder`](crate::StatsFolder).
    ///
    /// # Examples
    /// ```
    /// # use multi_process_session::{Secret, SessionManager, Stats};
    /// # let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
    /// manager.ping()?;
    /// let page = manager.stats().to_openmetrics(); // with the content type `Stats::OPENMETRICS_CONTENT_TYPE`
    /// assert!(page.contains("\nmps_session_store_call_duration_seconds_count 1\n"));
    /// assert!(page.contains("\nmps_session_store_errors_total{kind=\"timeout\"} 0\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_openmetrics(&self) -> String {
        let mut page = Page::default();
        page.histogram("store_call_duration", "How long calls to the session store took.", &self.call_durations);
        page.family("store_errors", "counter", "", "Calls to the session store that failed, by kind.");
        for kind in KINDS {
            let labels = format!("{{kind=\"{}\"}}", label(kind));
            page.sample("store_errors_total", &labels, self.errors.get(&kind).unwrap_or(&0));
        }
        for (name, help, number) in [
            ("creations", "Sessions created.", self.created),
            ("refreshes", "Loads that extended the life of their session.", self.refreshed),
            ("ends", "Sessions ended by a call, such as a logout.", self.ended),
            ("not_found", "Loads with a token of ours whose session the store does not have.", self.not_found),
            ("gone", "Calls whose session ended or got a new id after its load.", self.gone),
            ("conflicts", "Saves in a transaction that met the change of another request.", self.conflicts),
            ("tokens_refused", "Tokens refused without asking the store.", self.refused),
            ("requests_tossed", "Requests with several live sessions, or with too many cookies.", self.tossed),
            ("refreshes_refused", "Loads whose refresh Redis refused.", self.refused_refreshes),
            ("store_connections_opened", "Connections to the session store that were opened.", self.connections),
            ("store_waits", "Calls that found all connections in use.", self.waits),
            ("store_lock_waits", "Calls that waited for another writer of the SQLite file.", self.lock_waits),
            ("store_round_trips", "Requests sent to Redis.", self.round_trips),
            ("store_retries", "Requests sent to Redis a second time.", self.retries),
        ] {
            page.family(name, "counter", "", help);
            page.sample(&format!("{name}_total"), "", number);
        }
        for (name, help, duration) in [
            ("store_wait_seconds", "The time that calls waited for a connection.", self.waited),
            ("store_lock_wait_seconds", "The time that calls waited for another writer.", self.lock_waited),
        ] {
            page.family(name, "counter", "seconds", help);
            page.sample(&format!("{name}_total"), "", seconds(duration));
        }
        for (name, help, number) in [
            ("store_connections_allowed", "Connections that may be open.", self.pool_size.into()),
            ("store_connections_open", "Connections that are open.", self.connections_open),
            ("store_connections_in_use", "Connections that are in use.", self.connections_in_use),
        ] {
            page.family(name, "gauge", "", help);
            page.sample(name, "", number);
        }
        page.text + "# EOF\n"
    }
}

/// A page that is being written.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// Begins a metric.
    fn family(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        self.text += &format!("# TYPE mps_session_{name} {kind}\n");
        if !unit.is_empty() {
            self.text += &format!("# UNIT mps_session_{name} {unit}\n");
        }
        self.text += &format!("# HELP mps_session_{name} {help}\n");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        self.text += &format!("mps_session_{name}{labels} {value}\n");
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        let name = format!("{name}_seconds");
        self.family(&name, "histogram", "seconds", help);
        let bucket = format!("{name}_bucket");
        for (bound, calls) in histogram.buckets() {
            // OpenMetrics wants a point in each bound: 1.0, not 1.
            self.sample(&bucket, &format!("{{le=\"{:?}\"}}", bound.as_secs_f64()), calls);
        }
        self.sample(&bucket, "{le=\"+Inf\"}", histogram.count());
        self.sample(&format!("{name}_sum"), "", seconds(histogram.sum()));
        self.sample(&format!("{name}_count"), "", histogram.count());
    }
}

fn seconds(duration: Duration) -> String {
    format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos())
}
