//! A store that is open for an operator.

use crate::failure::Failure;
use crate::interrupt;
use crate::store_file::StoreFile;
use crate::store_url::{Source, sqlite_file};
use multi_process_session::store::{Call, Deadline, Located, Maintenance, Page, Position, Scan, StoredRecord, open};
use multi_process_session::{ConfigError, PublicId, StoreError};
use std::time::{Duration, Instant};

/// The longest rest between two pages, for a store that answers slowly.
const LONGEST_REST: Duration = Duration::from_secs(1);

pub(crate) struct Opened {
    pub(crate) store: Box<dyn Maintenance>,
    pub(crate) namespace: String,
    /// `None` for a store that is not a file.
    file: Option<StoreFile>,
    timeout: Duration,
    /// What messages call the store.
    name: &'static str,
}

/// What is the same for all stores of a command.
pub(crate) struct Settings<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) timeout: Duration,
    pub(crate) threads: usize,
    /// What messages call the store.
    pub(crate) name: &'static str,
}

impl Opened {
    /// Opens the store at this URL. This does not connect yet.
    pub(crate) fn at(url: &str, source: &Source<'_>, settings: &Settings<'_>) -> Result<Opened, Failure> {
        let usage = |error: &dyn std::fmt::Display| Failure::Usage(format!("{}: {error}", source.option));
        if url.starts_with("memory:") {
            return Err(usage(&"a store in memory belongs to the process that made it; nobody else can look into it"));
        }
        // One connection is for the scan, or for a look at the store.
        let pool_size = settings.threads as u32 + 1;
        Ok(Opened {
            store: open(url, pool_size, settings.timeout).map_err(|error| match error {
                // The library's text wants the password in the URL.
                ConfigError::StoreUser { password, .. } if !password.starts_with("sentinel_") => {
                    let (file, variable) = (source.password_option, source.password_variable);
                    usage(&format!("the URL names a user, but there is no password; give it with {file} or {variable}"))
                }
                error => usage(&error),
            })?,
            namespace: settings.namespace.to_owned(),
            file: sqlite_file(url).map(StoreFile::at),
            timeout: settings.timeout,
            name: settings.name,
        })
    }

    /// Opens a store that has to be there already. A mistyped path of a SQLite file would make a new file.
    pub(crate) fn existing(url: &str, source: &Source<'_>, settings: &Settings<'_>) -> Result<Opened, Failure> {
        let opened = Opened::at(url, source, settings)?;
        match sqlite_file(url).filter(|file| !file.exists()) {
            Some(file) => Err(Failure::Store(format!("{} failed: there is no file {}", settings.name, file.display()))),
            None => Ok(opened),
        }
    }

    /// Returns the error of a call as the reason to end the command.
    pub(crate) fn failed(&self, error: &StoreError) -> Failure {
        Failure::of_store(self.name, error)
    }

    /// Fails if the store is a file, and another file has its name now. The library would make a missing file anew, and
    /// a scan that begins in one file and ends in another one misses sessions.
    pub(crate) fn check_file(&self) -> Result<(), Failure> {
        let checked = self.file.as_ref().map_or(Ok(()), StoreFile::check);
        checked.map_err(|what| Failure::Store(format!("{} failed: {what}", self.name)))
    }

    pub(crate) fn call(&self) -> Result<Call, Failure> {
        self.call_within(self.timeout)
    }

    /// Makes a call that has to end sooner, if this time is shorter than the timeout.
    pub(crate) fn call_within(&self, timeout: Duration) -> Result<Call, Failure> {
        Ok(Call::until(Deadline::after(timeout.min(self.timeout)))?)
    }

    /// Returns all live sessions, page by page. Between two pages, the store rests for as long as a page took, so that
    /// other clients find it free at least half of the time.
    pub(crate) fn pages(&self, with_values: bool) -> impl Iterator<Item = Result<Page, Failure>> {
        let (mut next, mut rested) = (Some(None), Instant::now());
        std::iter::from_fn(move || {
            let from = next.take()?;
            interrupt::sleep_until(rested);
            let begun = Instant::now();
            let page = interrupt::check().and_then(|()| self.page(with_values, from.as_ref()));
            rested = Instant::now() + begun.elapsed().min(LONGEST_REST);
            if let Ok(page) = &page {
                next = page.next.clone().map(Some);
            }
            Some(page)
        })
    }

    fn page(&self, with_values: bool, from: Option<&Position>) -> Result<Page, Failure> {
        self.check_file()?;
        let scan = Scan { namespace: &self.namespace, with_values, from };
        let page = self.store.scan(&scan, &self.call()?).map_err(|error| self.failed(&error))?;
        self.check_file()?;
        Ok(page)
    }

    /// Finds a live session, with all that the store has of it.
    pub(crate) fn session(&self, id: PublicId) -> Result<(Located, StoredRecord), Failure> {
        let not_found = || Failure::Found(format!("{} has no live session with the id {id}", self.name));
        let failed = |error| self.failed(&error);
        let at = self.store.find(&self.namespace, id, &self.call()?).map_err(failed)?.ok_or_else(not_found)?;
        let mut found = self.store.read(&self.namespace, &[at], true, &self.call()?).map_err(failed)?;
        found.pop().ok_or_else(not_found)
    }
}
