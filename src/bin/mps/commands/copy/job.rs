//! The work of a copy. The program holds a few hundred sessions at a time, however many there are.

use super::counts::Counts;
use super::sample::Sample;
use crate::failure::Failure;
use crate::interrupt;
use crate::opened::Opened;
use crate::parallel::in_parallel;
use crate::progress::Progress;
use multi_process_session::EndReason;
use multi_process_session::store::{GroupKey, GroupTag, Located, Restored, StoredRecord};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// How many sessions one thread takes at a time.
const SHARE: usize = 25;

pub(crate) struct Job {
    pub(crate) source: Opened,
    /// `None` if the target would only be made by the copy.
    pub(crate) target: Option<Opened>,
    pub(crate) is_dry_run: bool,
    pub(crate) threads: usize,
    pub(crate) counts: Counts,
    /// Some sessions that this run has found in the source.
    pub(crate) sample: Sample,
}

impl Job {
    /// Copies the sessions of the source that the target does not have yet, or has in an earlier state.
    pub(crate) fn copy(&self) -> Result<(), Failure> {
        self.make_target()?;
        let (progress, is_done) = (Progress::new("copying"), AtomicBool::new(false));
        thread::scope(|scope| {
            if progress.is_seen() {
                scope.spawn(|| self.count(&progress, &is_done));
            }
            let copy = |share: Vec<_>| self.copy_share(&share).inspect(|()| progress.add(share.len()));
            let copied = in_parallel(self.threads, copy, |hand| shares_of(&self.source, true, hand));
            is_done.store(true, Ordering::Relaxed);
            copied
        })
    }

    /// Ends the sessions of the target that the source does not have.
    pub(crate) fn delete(&self) -> Result<(), Failure> {
        let Some(target) = &self.target else { return Ok(()) };
        if self.counts.sessions() == 0 {
            let text = "the source has no live session, so --delete would end all sessions of the target; \
                        nothing was deleted; look whether --store and --namespace are right";
            return Err(Failure::Found(text.to_owned()));
        }
        self.check_files()?;
        let progress = Progress::new("comparing the target");
        let compare = |share: Vec<_>| self.delete_share(target, &share).inspect(|()| progress.add(share.len()));
        in_parallel(self.threads, compare, |hand| shares_of(target, false, hand))
    }

    /// Fails if the file of a store is not the one that was opened.
    pub(crate) fn check_files(&self) -> Result<(), Failure> {
        self.source.check_file()?;
        self.target.as_ref().map_or(Ok(()), Opened::check_file)
    }

    /// Makes the target if it is a file that is missing. From then on, the same file has to be there.
    fn make_target(&self) -> Result<(), Failure> {
        let Some(target) = self.target.as_ref().filter(|_| !self.is_dry_run) else { return Ok(()) };
        target.store.ping(&target.call()?).map_err(|error| target.failed(&error))?;
        target.check_file()
    }

    fn copy_share(&self, share: &[(Located, StoredRecord)]) -> Result<(), Failure> {
        self.check_files()?;
        share.iter().for_each(|(at, record)| self.sample.add(at, record));
        if self.is_dry_run {
            return self.compare_share(share);
        }
        let Some(target) = &self.target else { return Ok(()) };
        for (at, record) in share {
            interrupt::check()?;
            let restored = target.store.restore(&at.key(&target.namespace), record, &target.call()?);
            self.counts.add(restored.map_err(|error| target.failed(&error))?);
        }
        let users: BTreeSet<GroupTag> = share.iter().filter_map(|(at, _)| at.tag).collect();
        users.into_iter().try_for_each(|tag| self.copy_values(target, tag))
    }

    /// Copies the values of a user, which all sessions of the user see.
    fn copy_values(&self, target: &Opened, tag: GroupTag) -> Result<(), Failure> {
        interrupt::check()?;
        let from = GroupKey::new(&self.source.namespace, tag);
        let values = self.source.store.read_group(&from, &self.source.call()?);
        let values = values.map_err(|error| self.source.failed(&error))?;
        let to = GroupKey::new(&target.namespace, tag);
        // Most users have no values. But the target may still have some that have ended at the source.
        if values.nonces.is_empty() {
            let there = target.store.read_group(&to, &target.call()?).map_err(|error| target.failed(&error))?;
            if there.nonces.is_empty() {
                return Ok(());
            }
        }
        let restored = target.store.restore_group(&to, &values, &target.call()?);
        restored.map(drop).map_err(|error| target.failed(&error))
    }

    /// Counts what a copy would do, as far as the versions of the records tell.
    fn compare_share(&self, share: &[(Located, StoredRecord)]) -> Result<(), Failure> {
        let places: Vec<Located> = share.iter().map(|(at, _)| *at).collect();
        let there = self.target.as_ref().map_or(Ok(Vec::new()), |target| read(target, &places))?;
        for (at, record) in share {
            let found = there.iter().find(|(found, _)| found == at);
            self.counts.add(match found {
                None => Restored::Created,
                Some((_, found)) if found.state.version < record.state.version => Restored::Updated,
                Some(_) => Restored::Kept,
            });
        }
        Ok(())
    }

    fn delete_share(&self, target: &Opened, share: &[(Located, StoredRecord)]) -> Result<(), Failure> {
        let places: Vec<Located> = share.iter().map(|(at, _)| *at).collect();
        let alive: BTreeSet<_> = read(&self.source, &places)?.iter().map(|(at, _)| (at.id, at.tag)).collect();
        let ended: Vec<_> = places.iter().filter(|at| !alive.contains(&(at.id, at.tag))).collect();
        // The sample is read after the share. So if the sample is there, the source had its sessions when it was asked.
        if !ended.is_empty() {
            self.check_source()?;
        }
        self.check_files()?;
        for at in ended {
            interrupt::check()?;
            let is_ended = self.is_dry_run
                || target
                    .store
                    .delete(&at.key(&target.namespace), EndReason::LoggedOutElsewhere, &target.call()?)
                    .map_err(|error| target.failed(&error))?
                    .is_some();
            if is_ended {
                self.counts.add_deleted();
            }
        }
        // A user without a session at the source still has values there, for the next login.
        let users: BTreeSet<GroupTag> = places.iter().filter_map(|at| at.tag).collect();
        let mut users = users.into_iter().filter(|_| !self.is_dry_run);
        users.try_for_each(|tag| self.copy_values(target, tag))
    }

    /// Fails if the source has lost sessions that this run has found there, for instance by a restart without
    /// persistence. Otherwise the target would lose them too.
    fn check_source(&self) -> Result<(), Failure> {
        let expected = self.sample.expected();
        let alive = read(&self.source, &expected)?.len();
        if alive * 2 >= expected.len() {
            return Ok(());
        }
        Err(Failure::Store(format!(
            "the source has lost sessions: of {} that this run has found there, {alive} are left; no more sessions are \
             ended at the target",
            expected.len()
        )))
    }

    /// Counts the sessions of the source, so that the progress can be a bar. If that fails, the copy fails too.
    fn count(&self, progress: &Progress, is_done: &AtomicBool) {
        let mut sessions = 0;
        for page in self.source.pages(false) {
            let Ok(page) = page else { return };
            if is_done.load(Ordering::Relaxed) {
                return;
            }
            sessions += page.sessions.len() as u64;
        }
        progress.expect(sessions);
    }
}

/// Hands on all live sessions of a store, in shares.
fn shares_of(
    opened: &Opened,
    with_values: bool,
    hand: &mut dyn FnMut(Vec<(Located, StoredRecord)>) -> bool,
) -> Result<(), Failure> {
    for page in opened.pages(with_values) {
        let mut sessions = page?.sessions;
        while !sessions.is_empty() {
            let rest = sessions.split_off(sessions.len().min(SHARE));
            if !hand(std::mem::replace(&mut sessions, rest)) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads the live sessions at these places, without their values.
fn read(opened: &Opened, places: &[Located]) -> Result<Vec<(Located, StoredRecord)>, Failure> {
    let read = opened.store.read(&opened.namespace, places, false, &opened.call()?);
    read.map_err(|error| opened.failed(&error))
}
