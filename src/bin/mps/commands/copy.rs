//! `mps copy`.

mod counts;
mod job;
mod sample;

use crate::arguments::{Copy, Global};
use crate::failure::Failure;
use crate::opened::{Opened, Settings};
use crate::output::Output;
use crate::store_url::{Source, sqlite_file};
use counts::Counts;
use job::Job;
use sample::Sample;

pub(crate) fn run(global: &Global, copy: &Copy, output: &mut Output) -> Result<(), Failure> {
    let job = job(global, copy)?;
    let copied = job.copy();
    let done = if copy.delete { copied.and_then(|()| job.delete()) } else { copied };
    let done = done.and_then(|()| job.check_files());
    let printed = print(&job.counts, copy, done.is_ok(), output);
    // If the copy has failed, this matters more than that nobody reads the output.
    done.and(printed)
}

fn job(global: &Global, copy: &Copy) -> Result<Job, Failure> {
    let (from, to) = (Source::of_store(global), Source::of_target(copy));
    let (from_url, to_url) = (from.url()?, to.url()?);
    if from_url == to_url {
        return Err(Failure::Usage("--to names the same store as --store".to_owned()));
    }
    let threads = copy.threads.map_or(if sqlite_file(&to_url).is_some() { 1 } else { 4 }, usize::from);
    let settings = |name| Settings { namespace: &global.namespace, timeout: global.timeout, threads, name };
    let source = Opened::existing(&from_url, &from, &settings("the source"))?;
    let target = Opened::at(&to_url, &to, &settings("the target"))?;
    // To open a SQLite file is to make it.
    let is_missing = sqlite_file(&to_url).is_some_and(|file| !file.exists());
    let target = Some(target).filter(|_| !(copy.dry_run && is_missing));
    Ok(Job { source, target, is_dry_run: copy.dry_run, threads, counts: Counts::default(), sample: Sample::default() })
}

fn print(counts: &Counts, copy: &Copy, is_complete: bool, output: &mut Output) -> Result<(), Failure> {
    let json = || counts.json(copy.dry_run, copy.delete, is_complete);
    output.print(json, || counts.text(copy.dry_run, copy.delete, is_complete))?;
    output.flush()
}
