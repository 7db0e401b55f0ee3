//! A folder in which processes leave their counters, so that one of them can show the sum.

use crate::store::stats::Stats;
use crate::store::stats::json::{from_json, to_json};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use std::{fs, io, process};

/// The file with the counters of a process.
const FILE: &str = "stats.json";
/// A process whose file is older than this is taken for ended, or stuck. Its connections no longer count.
const SILENCE: Duration = Duration::from_secs(60);

/// A folder to which all workers of a server write their counters, so that a scrape of any worker gets the sum.
///
/// Each worker [writes](StatsFolder::write) its counters every few seconds. The worker that Prometheus scrapes gives
/// the [total](StatsFolder::total). The counters of workers that have ended, or were killed, stay in the total. So the
/// total of a counter never goes down, until the next start of the server [clears](StatsFolder::clear) the folder.
///
/// The folder has a subfolder for each process, with one file of about 600 bytes. A process replaces its file in one
/// step, so if it is killed, a whole file is left. Only what it counted since its last write is lost.
///
/// Use a folder that only the application can write to, such as one below `/run`. The folder may be in memory: nothing
/// in it matters after a restart of the machine.
///
/// # Examples
/// ```
/// use multi_process_session::{Secret, SessionManager, StatsFolder};
///
/// # let temporary = tempfile::tempdir()?;
/// # let path = temporary.path().join("stats");
/// let manager = SessionManager::builder(Secret::generate()?).store_url("memory:").build()?;
/// let mut folder = StatsFolder::new(&path);
/// folder.clear()?; // once, before the server forks its workers
///
/// // In each worker: a thread does this every few seconds.
/// folder.write(&manager.stats())?;
///
/// // In the worker that is scraped.
/// let page = folder.total()?.to_openmetrics();
/// # assert!(page.ends_with("# EOF\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct StatsFolder {
    path: PathBuf,
}

impl StatsFolder {
    /// Makes a `StatsFolder` for this path. This does not touch the disk.
    pub fn new(path: impl Into<PathBuf>) -> StatsFolder {
        StatsFolder { path: path.into() }
    }

    /// Writes the counters of one manager of this process to the folder. They replace those of the write before. Makes
    /// the folder if it is missing.
    ///
    /// Let one thread of each process do this, at least once a minute. If two threads write, one of them may replace
    /// newer numbers by older ones.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub fn write(&mut self, stats: &Stats) -> io::Result<()> {
        // Process ids are used again, and two managers of one process count apart. The beginning tells them apart.
        let since = stats.since.and_then(|since| since.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let own = self.path.join(format!("{}-{}", process::id(), since.as_nanos()));
        fs::create_dir_all(&own)?;
        let next = own.join("next");
        fs::write(&next, to_json(stats))?;
        fs::rename(next, own.join(FILE))
    }

    /// Adds the counters of all processes that wrote to the folder since it was cleared.
    ///
    /// For `pool_size`, `connections_open` and `connections_in_use`, only the processes that wrote within the last
    /// minute count.
    ///
    /// # Errors
    /// The folder is missing or cannot be read. [`io::ErrorKind::InvalidData`]: a file holds something else.
    pub fn total(&self) -> io::Result<Stats> {
        // A rename within the folder that is listed could hide the file from the list (Linux: tmpfs), and then a
        // counter would go down. So each file is in a folder of its own, which stays where it is.
        let all = self.processes()?.into_iter().filter_map(|own| read(&own.join(FILE)).transpose());
        all.sum()
    }

    /// Removes the counters of all processes, and makes the folder if it is missing.
    ///
    /// Do this at the start of the server, before it forks its workers. Never do it while a worker runs: the next write
    /// of that worker brings back all that it has counted.
    ///
    /// # Errors
    /// The folder cannot be made or emptied.
    pub fn clear(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        self.processes()?.iter().try_for_each(fs::remove_dir_all)
    }

    /// The folders of the processes. Anything else in this folder is left alone.
    fn processes(&self) -> io::Result<Vec<PathBuf>> {
        let mut processes = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let parts = name.to_str().and_then(|name| name.split_once('-'));
            let is_process = parts.is_some_and(|(pid, since)| is_number(pid) && is_number(since));
            if is_process && entry.file_type()?.is_dir() {
                processes.push(entry.path());
            }
        }
        Ok(processes)
    }
}

/// Reads the counters of a process. Returns `None` if the process ended before it wrote a first time.
fn read(path: &Path) -> io::Result<Option<Stats>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{} holds no counters", path.display()));
    let mut stats = from_json(&text).ok_or_else(damaged)?;
    // A file in the future is fresh: the clock was put back.
    if fs::metadata(path)?.modified()?.elapsed().is_ok_and(|age| age > SILENCE) {
        (stats.pool_size, stats.connections_open, stats.connections_in_use) = (0, 0, 0);
    }
    Ok(Some(stats))
}
