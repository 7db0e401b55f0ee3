//! What an operator does with a store of the tests.

use multi_process_session::store::{
    Call, Deadline, Finding, Located, Maintenance, Restored, Scan, StoredRecord, Verdict, open,
};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Opens the store at this URL for an operator.
pub fn store(url: &str) -> Box<dyn Maintenance> {
    open(url, 2, TIMEOUT).expect("the URL is fine")
}

pub fn call() -> Call {
    Call::until(Deadline::after(TIMEOUT)).expect("random bytes")
}

/// Returns all sessions of the usual namespace, as a scan gives them.
pub fn scan(store: &dyn Maintenance) -> Vec<(Located, StoredRecord)> {
    let (mut sessions, mut from) = (Vec::new(), None);
    loop {
        let scan = Scan { namespace: "mps", with_values: true, from: from.as_ref() };
        let page = store.scan(&scan, &call()).expect("the store works");
        sessions.extend(page.sessions);
        from = page.next;
        if from.is_none() {
            return sessions;
        }
    }
}

/// Copies all sessions of the usual namespace, and gives how many were created and how many were updated.
pub fn copy(from: &dyn Maintenance, to: &dyn Maintenance) -> [usize; 2] {
    let copied = scan(from)
        .into_iter()
        .map(|(at, record)| to.restore(&at.key("mps"), &record, &call()).expect("the store works"));
    let copied: Vec<Restored> = copied.collect();
    [Restored::Created, Restored::Updated].map(|what| copied.iter().filter(|other| **other == what).count())
}

pub fn findings(url: &str) -> Vec<Finding> {
    store(url).findings("mps", &call()).expect("the store works")
}

/// The finding about this.
#[track_caller]
pub fn finding(url: &str, what: &str) -> Finding {
    let all = findings(url);
    let found = all.iter().find(|finding| finding.what == what);
    let found = found.unwrap_or_else(|| panic!("there is no finding about {what}: {all:?}"));
    assert_eq!(found.verdict == Verdict::Good, found.advice.is_empty(), "{found:?}");
    found.clone()
}
