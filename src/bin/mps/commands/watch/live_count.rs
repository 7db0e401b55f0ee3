//! Counts the live sessions again and again, a few at a time.

use crate::failure::Failure;
use crate::opened::Opened;
use multi_process_session::StoreError;
use multi_process_session::store::{Position, Scan};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct LiveCount {
    /// The result of the last scan that came to its end.
    pub(crate) last: Option<u64>,
    from: Option<Position>,
    so_far: u64,
}

impl LiveCount {
    /// Goes on with the scan for this time, or to its end. A scan of many sessions takes several looks.
    pub(crate) fn go_on(&mut self, opened: &Opened, time: Duration) -> Result<Result<(), StoreError>, Failure> {
        let begun = Instant::now();
        loop {
            let scan = Scan { namespace: &opened.namespace, with_values: false, from: self.from.as_ref() };
            let page = match opened.store.scan(&scan, &opened.call_within(time * 5)?) {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            self.so_far += page.sessions.len() as u64;
            self.from = page.next;
            if self.from.is_none() {
                (self.last, self.so_far) = (Some(self.so_far), 0);
                return Ok(Ok(()));
            }
            if begun.elapsed() >= time {
                return Ok(Ok(()));
            }
        }
    }
}
